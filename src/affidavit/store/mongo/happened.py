"""What happened in a span of time beside the calls: counts from MongoDB, over indexes by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from affidavit.event import NO_OUTCOME, Document, EventType, LedgerEvent
from affidavit.store.forensics import MOST_GROUPS, MOST_NOTABLE, Happened
from affidavit.store.mongo.filters import query
from affidavit.store.mongo.legacy import SECURITY_PREFIX
from affidavit.store.questions import SearchFilter

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from pymongo.collection import Collection

    Held = Collection[dict[str, Any]]

MAX_TIME_MS: Final = 60_000
"""A month's report is no list that somebody waits for: it may take longer than a page."""

ORDINARY: Final = frozenset(
    {
        LedgerEvent.WRITER_START,
        LedgerEvent.WRITER_STOP,
        LedgerEvent.SETUP,
        LedgerEvent.ADOPTION,
        LedgerEvent.AUDIT_ACCESS,
    }
)
"""Kinds of ledger records that are counted only; all others are given too."""

_AFTER_PREFIX: Final = SECURITY_PREFIX[:-1] + chr(ord(SECURITY_PREFIX[-1]) + 1)
"""The first text after all that begin so; ``security_event`` begins so too."""


def happened(
    collections: tuple[Held, Held, Held], zone: ZoneInfo | None, since: datetime, until: datetime
) -> Happened:
    """Count in records, ledger and heartbeats; the caller translates the driver's errors."""
    records, ledger, writers = collections
    span = {"timestamp": {"$gte": since, "$lt": until}}
    counts = _ledger_counts(ledger, span)
    rest = [kind.value for kind in LedgerEvent if kind not in ORDINARY]
    found = ledger.find({"event_type": {"$in": rest}, **span}, max_time_ms=MAX_TIME_MS)
    notable: list[Document] = list(found.sort("timestamp", 1).limit(MOST_NOTABLE))
    return Happened(
        _security(records, zone, since, until),
        _lost(ledger, span),
        _lost_running(writers),
        records.count_documents(
            {"event_type": EventType.ANNOTATION.value, "kind": NO_OUTCOME, **span},
            maxTimeMS=MAX_TIME_MS,
        ),
        counts,
        tuple(notable),
        sum(counts.get(kind, 0) for kind in rest) - len(notable),
        _readings(ledger, span),
    )


def _ledger_counts(ledger: Held, span: Mapping[str, Any]) -> dict[str, int]:
    kinds = {"event_type": {"$in": [kind.value for kind in LedgerEvent]}}
    stages: list[Mapping[str, Any]] = [
        {"$match": {**kinds, **span}},
        {"$group": {"_id": "$event_type", "count": {"$sum": 1}}},
    ]
    groups = ledger.aggregate(stages, maxTimeMS=MAX_TIME_MS)
    return {str(group["_id"]): int(group["count"]) for group in groups}


def _lost(ledger: Held, span: Mapping[str, Any]) -> int:
    """Add up what writers told at their end, and what was found of those that had none."""
    told = ("counters", "records", "ledger")
    lost = {"$add": [{"$ifNull": [f"$details.{part}.lost", 0]} for part in told]}
    ended = [LedgerEvent.WRITER_STOP.value, LedgerEvent.SPOOL_ADOPTED.value]
    stages: list[Mapping[str, Any]] = [
        {"$match": {"event_type": {"$in": ended}, **span}},
        {"$group": {"_id": None, "lost": {"$sum": lost}}},
    ]
    return sum(int(group["lost"]) for group in ledger.aggregate(stages, maxTimeMS=MAX_TIME_MS))


def _lost_running(writers: Held) -> int:
    stages: list[Mapping[str, Any]] = [
        {"$sort": {"writer": 1, "at": -1}},
        {"$group": {"_id": "$writer", "newest": {"$first": "$$ROOT"}}},
        {"$match": {"newest.state": "running"}},
        {"$group": {"_id": None, "lost": {"$sum": "$newest.counters.lost"}}},
    ]
    return sum(int(group["lost"]) for group in writers.aggregate(stages, maxTimeMS=MAX_TIME_MS))


def _security(
    records: Held, zone: ZoneInfo | None, since: datetime, until: datetime
) -> tuple[tuple[str, str, int], ...]:
    """Count security events, those of an older logger by the kind in their name."""
    # A range and no pattern: with one, MongoDB reads the records of the whole span by time.
    kinds = {"event_type": {"$gte": SECURITY_PREFIX, "$lt": _AFTER_PREFIX}}
    wanted = query(SearchFilter(since=since, until=until), zone, leads="all")
    stages: list[Mapping[str, Any]] = [
        {"$match": {"$and": [kinds, wanted]}},
        {
            "$group": {
                "_id": {
                    "type": "$event_type",
                    "kind": "$details.kind",
                    "severity": "$details.severity",
                },
                "count": {"$sum": 1},
            }
        },
        {"$sort": {"count": -1}},
        {"$limit": MOST_GROUPS},
    ]
    counted = Counter[tuple[str, str]]()
    for group in records.aggregate(stages, maxTimeMS=MAX_TIME_MS):
        named = group["_id"]
        kind = named.get("kind") or str(named.get("type")).removeprefix(SECURITY_PREFIX)
        counted[str(kind), str(named.get("severity") or "not said")] += int(group["count"])
    return tuple((kind, severity, n) for (kind, severity), n in counted.most_common())


def _readings(ledger: Held, span: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    who = {"$ifNull": ["$actor.os_user", {"$ifNull": ["$actor.service", "$actor.program"]}]}
    stages: list[Mapping[str, Any]] = [
        {"$match": {"event_type": LedgerEvent.AUDIT_ACCESS.value, **span}},
        {"$group": {"_id": {"who": who, "by": "$details.command"}, "count": {"$sum": 1}}},
        {"$sort": {"count": -1, "_id.who": 1, "_id.by": 1}},
        {"$limit": MOST_GROUPS},
    ]
    return tuple(
        (str(group["_id"].get("who")), str(group["_id"].get("by")), int(group["count"]))
        for group in ledger.aggregate(stages, maxTimeMS=MAX_TIME_MS)
    )
