"""Counting the records of a search by interval of time, in the database.

Calls count at the time of their outcome. The search's own conditions choose, so whatever a list can
be narrowed to can be drawn, within a few seconds or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from bson.decimal128 import Decimal128

from affidavit.errors import ConfigError
from affidavit.event import EPOCH, EventType, Status
from affidavit.store.intervals import MOST, Interval
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.filters import REQUEST, RESPONSE, query
from affidavit.store.mongo.legacy import SECURITY_PREFIX
from affidavit.store.questions import SearchFilter

MAX_TIME_MS: Final = 5000
"""A chart that takes longer is left out."""

_CALLS: Final = frozenset({None, REQUEST, RESPONSE})
_AFTER: Final = SECURITY_PREFIX[:-1] + chr(ord(SECURITY_PREFIX[-1]) + 1)
"""The first text after all kinds of security events, those of older loggers included."""


def histogram(
    location: Location, legacy_timezone: str | None, wanted: SearchFilter, step: timedelta
) -> list[Interval]:
    """Count what a search finds between its two times, by intervals of ``step`` since 1970, UTC.

    Raises ConfigError for a search without both times, for one of a text or of calls that have not
    ended, and for too many intervals; StoreUnavailable when it takes too long, StoreRefused without
    the right to read.
    """
    since, until = wanted.since, wanted.until
    if since is None or until is None or wanted.text is not None:
        msg = "Intervals are counted between two times, and not of a text. Give since and until."
        raise ConfigError(msg)
    if wanted.status == Status.INITIATED:
        msg = "Calls that have not ended are in no interval. Leave the status out."
        raise ConfigError(msg)
    if (until - since) / step > MOST:
        msg = f"That makes more than {MOST:,} intervals. Ask for longer ones."
        raise ConfigError(msg)
    zone = ZoneInfo(legacy_timezone) if legacy_timezone else None
    stages = _stages(wanted, zone, step)
    records = location.database[location.names.records]
    with translated("count records by time"):
        groups = list(records.aggregate(stages, maxTimeMS=MAX_TIME_MS))
    return [_interval(group, step) for group in groups]


def _stages(
    wanted: SearchFilter, zone: ZoneInfo | None, step: timedelta
) -> list[Mapping[str, Any]]:
    match: dict[str, Any]
    if wanted.event_type in _CALLS:
        # Outcomes, and finished documents of older loggers; intents carry no `success`.
        ended = {"success": {"$in": [True, False]}}
        search = query(replace(wanted, event_type=None), zone, leads="outcomes")
        match = {"$and": [search, ended]}
    elif wanted.event_type == EventType.SECURITY_EVENT:
        # A range and no pattern: with one, the server may read all records of the time.
        search = query(replace(wanted, event_type=None), zone, leads="all")
        match = {"$and": [{"event_type": {"$gte": SECURITY_PREFIX, "$lt": _AFTER}}, search]}
    else:
        match = query(wanted, zone)
    cost = {
        "$convert": {
            "input": "$response_data.cost_usd", "to": "decimal", "onError": None, "onNull": None,
        }
    }  # fmt: skip
    quiet = [Status.COMPLETED.value, Status.ABORTED.value]
    refused = {"$and": [{"$eq": ["$success", False]}, {"$not": {"$in": ["$status", quiet]}}]}
    step_ms = int(step / timedelta(milliseconds=1))
    number = {"$floor": {"$divide": [{"$subtract": ["$timestamp", EPOCH]}, step_ms]}}
    return [
        {"$match": match},
        {
            "$group": {
                "_id": number,
                "count": {"$sum": 1},
                "failed": {"$sum": {"$cond": [refused, 1, 0]}},
                "cost": {"$sum": cost},
            }
        },
        {"$sort": {"_id": 1}},
    ]


def _interval(group: Mapping[str, Any], step: timedelta) -> Interval:
    at: datetime = EPOCH + step * int(group["_id"])
    cost = group["cost"]
    exact = cost.to_decimal() if isinstance(cost, Decimal128) else Decimal(str(cost))
    return Interval(at, int(group["count"]), int(group["failed"]), exact)
