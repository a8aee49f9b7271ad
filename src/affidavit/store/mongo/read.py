"""The read side: searching, one call, the newest records, writers' state, and sums.

Nothing here writes. Reading over a view or by a role without records' insert right works alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import pymongo
from bson.decimal128 import Decimal128
from bson.errors import InvalidId
from bson.objectid import ObjectId

from affidavit.errors import ConfigError
from affidavit.event import DIMENSIONS, Document
from affidavit.store.mongo import legacy
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.filters import (
    REQUEST,
    RESPONSE,
    Cursor,
    advance,
    meets,
    query,
)
from affidavit.store.mongo.indexes import CORRECTION, JOINED
from affidavit.store.mongo.names import SEALER
from affidavit.store.mongo.shape import as_call, contains, plain
from affidavit.store.mongo.views import OF_OUTCOME
from affidavit.store.questions import (
    CallRecords,
    GroupBy,
    LogStatus,
    Page,
    SearchFilter,
    Usage,
    WriterStatus,
)

MAX_TIME_MS: Final = 15_000
"""A question that takes longer is stopped by the server."""

SILENT_S: Final = 60.0
"""A running writer beats every 10 s; after this it is shown as silent."""

TAIL_WINDOW_S: Final = 60.0
"""How far back a tail looks for records that arrive late."""

KNOWN_TIME_S: Final = 1.0
"""Seconds a look for ids may take: whoever records waits for it."""

_ROUNDS: Final = 20
_NEWEST: Final = [("timestamp", -1)]
_TEXTUAL: Final = ("request_data", "response_data", "details", "error_message")

METADATA: Final = (
    *("event_type", "call_id", "timestamp", "completed_at", "schema_version"),
    *(*DIMENSIONS, "client_info", "client_ip", "user_agent"),
    *("status", "success", "error_type", "provider", "model"),
    *(*OF_OUTCOME, "kind", "odd", "writer", "seq", "truncated.bytes"),
    *("redactions.kind", "redactions.count", "redactions.action"),
    *("request_data.message_length", "request_data.provider", "request_data.model"),
    *("response_data.response_length", "response_data.provider_used"),
    *("response_data.tokens_used", "response_data.cost_usd", "response_data.processing_time_ms"),
    *("details.kind", "details.severity", "details.limit_type"),
    *("details.cost_nano_diff", "details.cost_status_now", "effective_at"),
)
"""Fields that hold nothing a user or a model wrote: all that somebody without the right to content
is given, and all that is read of a record for them."""

_FIELDS: Final = dict.fromkeys(METADATA, 1)
_Shown: TypeAlias = dict[str, int] | None


class Reader:
    """Answers questions about one log. Any number of threads may use it."""

    def __init__(self, location: Location, legacy_timezone: str | None = None) -> None:
        """``legacy_timezone`` says where an older logger's naive local times were local."""
        database, names = location.database, location.names
        self._records = database[names.records]
        self._writers = database[names.writers]
        self._outcomes = database[names.outcomes]
        self._zone = ZoneInfo(legacy_timezone) if legacy_timezone else None

    # -- lists -----------------------------------------------------------------------------------

    def search(
        self,
        wanted: SearchFilter,
        page_size: int = 50,
        cursor: str | None = None,
        *,
        content: bool = True,
    ) -> Page:
        """Find calls and events, newest first.

        Without ``content``, rows hold only :data:`METADATA`, and no more is read. Raises
        ConfigError for a cursor that no search gave, and for a text without content,
        StoreUnavailable when it takes too long, StoreRefused without the right to read.
        """
        if wanted.text is not None and not content:
            msg = "Looking for a text reads contents. Leave text out, or ask with content."
            raise ConfigError(msg)
        place = Cursor.decode(cursor) if cursor else None
        shown = None if content else _FIELDS
        rows: list[Document] = []
        with translated("search the records"):
            for _ in range(_ROUNDS):
                batch = self._leading(wanted, place, page_size, shown)
                taken: list[Document] = []
                for record, row in self._rows(batch, wanted, shown):
                    taken.append(record)
                    if row is not None:
                        rows.append(row)
                    if len(rows) == page_size:
                        break
                place = advance(place, taken)
                if len(batch) < page_size and len(taken) == len(batch):
                    place = None
                if place is None or len(rows) == page_size:
                    break
        return Page(tuple(rows), place.encode() if place else None)

    def tail(
        self, wanted: SearchFilter, seen: set[Any], since: datetime | None, limit: int = 20
    ) -> tuple[list[Document], datetime]:
        """Return records not ``seen`` yet, oldest first, and the time to pass next.

        The first call, without ``since``, gives the newest ``limit``. Records that arrive more
        than a minute after they were made (from a spool) are not shown; a search finds them.
        """
        conditions = query(wanted, self._zone, leads="all")
        if since is not None:
            window = {"timestamp": {"$gte": since - timedelta(seconds=TAIL_WINDOW_S)}}
            conditions = {"$and": [conditions, window]}
        found = self._records.find(conditions, max_time_ms=MAX_TIME_MS).sort(_NEWEST)
        with translated("read the newest records"):
            fresh = [r for r in found.limit(0 if since else limit) if r["_id"] not in seen]
            times = [t for r in fresh if isinstance(t := r.get("timestamp"), datetime)]
            latest = max(times, default=since) or datetime.now(UTC)
            if since is None:  # what is older than the first lines is not to follow them
                start = latest - timedelta(seconds=TAIL_WINDOW_S)
                edge = {"timestamp": {"$gte": start, "$lte": min(times, default=start)}}
                seen.update(r["_id"] for r in self._records.find(edge, {"_id": 1}))
        seen.update(record["_id"] for record in fresh)
        # Records of one millisecond come in no order from the index; their ids know it.
        fresh.sort(
            key=lambda r: (
                at if isinstance(at := r.get("timestamp"), datetime) else latest,
                str(r["_id"]),
            )
        )
        return [self._shown(record) for record in fresh], latest

    def _leading(
        self, wanted: SearchFilter, place: Cursor | None, limit: int, shown: _Shown
    ) -> list[Document]:
        conditions = query(wanted, self._zone, place)
        found = self._records.find(conditions, shown, max_time_ms=MAX_TIME_MS)
        return list(found.sort(_NEWEST).limit(limit))

    def _rows(
        self, batch: list[Document], wanted: SearchFilter, shown: _Shown
    ) -> Iterator[tuple[Document, Document | None]]:
        """Pair each leading record with its row, or with None where it gives none."""
        intents, outcomes = self._partners(batch, wanted, shown)
        text = wanted.text.lower() if wanted.text else None
        by_outcome = wanted.event_type == RESPONSE
        for record in batch:
            kind, call_id = record.get("event_type"), record.get("call_id")
            if text is not None and not self._holds(record, text):
                yield record, None
            elif kind == RESPONSE and not by_outcome:
                intent = intents.get(call_id)
                # Found by its intent too: shown there, at the time of the request.
                twice = text is not None and intent is not None and self._holds(intent, text)
                yield record, None if twice else self._call(intent, record, wanted)
            elif kind == REQUEST:
                yield record, self._call(record, outcomes.get(call_id), wanted)
            else:
                event = self._shown(record)
                yield record, event if meets(wanted, event) else None

    def _call(
        self, intent: Document | None, outcome: Document | None, wanted: SearchFilter
    ) -> Document | None:
        if intent is None:
            assert outcome is not None  # noqa: S101 - one of the two is the record that was found
            call = self._shown(outcome)
        else:
            late = None if outcome is None else self._shown(outcome)
            call = as_call(self._shown(intent), late)
        fits = wanted.status in {None, call.get("status")} and meets(wanted, call)
        return call if fits else None

    def _partners(
        self, batch: list[Document], wanted: SearchFilter, shown: _Shown
    ) -> tuple[dict[Any, Document], dict[Any, Document]]:
        """Fetch the other record of each call in the batch: intents, and outcomes, by call id."""
        tied = [record for record in batch if record.get("call_id") is not None]
        answered = [record["call_id"] for record in tied if record["event_type"] == RESPONSE]
        asked = [record["call_id"] for record in tied if record["event_type"] == REQUEST]
        intents = self._by_call(
            {"_id": {"$in": list(_object_ids(answered))}, "event_type": REQUEST}, answered, shown
        )
        outcomes = self._by_call({"call_id": {"$in": asked}, "event_type": RESPONSE}, asked, shown)
        if wanted.departments is None and wanted.tenants is None:
            return intents, outcomes
        return _seen(intents, wanted), _seen(outcomes, wanted)

    def _by_call(
        self, conditions: dict[str, Any], ids: list[Any], shown: _Shown
    ) -> dict[Any, Document]:
        if not ids:
            return {}
        found = self._records.find(conditions, shown, max_time_ms=MAX_TIME_MS)
        return {record.get("call_id"): record for record in found}

    def _holds(self, record: Document, text: str) -> bool:
        parts = plain({name: record.get(name) for name in _TEXTUAL})
        return contains(parts, text)

    def _shown(self, record: Document) -> Document:
        shown: Document = plain(legacy.read(record, self._zone))
        return shown

    # -- one call --------------------------------------------------------------------------------

    def call(
        self, call_id: str, within: SearchFilter | None = None, *, content: bool = True
    ) -> CallRecords | None:
        """Return everything about a call, or None; an old document's ``_id`` works as well.

        Of ``within`` only the departments and tenants count: a call outside them is None, and so
        are its single records. Without ``content`` only :data:`METADATA` is read.
        """
        return self._records_of(call_id, within, content=content, led=False)

    def _records_of(
        self, call_id: str, within: SearchFilter | None, *, content: bool, led: bool
    ) -> CallRecords | None:
        """Read it; ``led`` here by one of its later records, it leads nowhere else."""
        ids = [*_object_ids([call_id]), call_id]
        fields = None if content else _FIELDS
        with translated("read a call"):
            intent = self._records.find_one({"_id": {"$in": ids}}, fields, max_time_ms=MAX_TIME_MS)
            tied = list(
                self._records.find(
                    {"call_id": call_id, "event_type": {"$in": list(JOINED)}},
                    fields,
                    max_time_ms=MAX_TIME_MS,
                ).sort("timestamp", 1)
            )
            tied += self._records.find(
                {"call_id": call_id, "event_type": CORRECTION}, fields, max_time_ms=MAX_TIME_MS
            ).sort("timestamp", 1)
            later = (*JOINED, CORRECTION)
            leads = intent is not None and intent.get("event_type") in later
            if intent is not None and leads and intent.get("call_id") and not led:
                # It was the id of one of its later records. Those can name each other in a ring.
                return self._records_of(intent["call_id"], within, content=content, led=True)
        if within is not None:
            if intent is not None and not within.sees(intent):
                return None
            # What belongs to a call that may be seen, and names no department itself, may be too.
            tied = [r for r in tied if within.sees(r) or (intent is not None and _is_bare(r))]
        if intent is None and not tied:
            return None
        shown = [self._shown(record) for record in tied]
        first = None if intent is None else self._shown(intent)
        outcomes = tuple(r for r in shown if r["event_type"] == RESPONSE)
        if first is None:
            call = outcomes[0] if outcomes else shown[0]
        elif first.get("event_type") == REQUEST:
            call = as_call(first, outcomes[0] if outcomes else None)
        else:
            call = first
        rest = tuple(r for r in shown if r["event_type"] != RESPONSE)
        return CallRecords(call, first, outcomes, rest)

    def known(self, ids: Iterable[bytes]) -> dict[bytes, tuple[str | None, str | None]]:
        """Tell which of these records are stored, each with its department and tenant.

        Raises StoreUnavailable after a second: whoever records goes on without.
        """
        wanted = [ObjectId(each) for each in ids]
        if not wanted:
            return {}
        with translated("look for records"), pymongo.timeout(KNOWN_TIME_S):
            found = self._records.find({"_id": {"$in": wanted}}, {"department": 1, "tenant": 1})
            return {r["_id"].binary: (r.get("department"), r.get("tenant")) for r in found}

    # -- state and sums --------------------------------------------------------------------------

    def status(self) -> LogStatus:
        """Add up the newest heartbeat of each writer of the last 24 hours."""
        newest: list[Mapping[str, Any]] = [
            {"$sort": {"writer": 1, "at": -1}},
            {"$group": {"_id": "$writer", "newest": {"$first": "$$ROOT"}}},
        ]
        with translated("read the writers' heartbeats"):
            each = self._writers.aggregate(newest, maxTimeMS=MAX_TIME_MS)
            found = [group["newest"] for group in each if group["_id"] != SEALER]
        now = datetime.now(UTC)
        writers, totals = [], dict[str, int]()
        for beat in sorted(found, key=lambda beat: beat["at"], reverse=True):
            age_s = (now - beat["at"]).total_seconds()
            silent = beat.get("state") == "running" and age_s > SILENT_S
            writers.append(WriterStatus(beat["writer"], beat, age_s, silent))
            for name, count in beat.get("counters", {}).items():
                if isinstance(count, int):
                    totals[name] = totals.get(name, 0) + count
        return LogStatus(tuple(writers), totals)

    def usage(
        self, group_by: GroupBy, since: datetime | None, until: datetime | None
    ) -> list[Usage]:
        """Count finished calls and add up their cost by group, the dearest first."""
        limits = {k: v for k, v in (("$gte", since), ("$lt", until)) if v is not None}
        field = {"provider": "response_data.provider_used"}.get(group_by, group_by)
        # An older logger stored dollars as binary floating point: read them as the decimal meant.
        cost = {
            "$convert": {
                "input": "$response_data.cost_usd",
                "to": "decimal",
                "onError": None,
                "onNull": None,
            }
        }
        stages: list[Mapping[str, Any]] = [
            *([{"$match": {"timestamp": limits}}] if limits else []),
            {
                "$group": {
                    "_id": f"${field}",
                    "calls": {"$sum": 1},
                    "failed": {"$sum": {"$cond": ["$success", 0, 1]}},
                    "cost": {"$sum": cost},
                    "tokens": {"$sum": "$response_data.tokens_used"},
                    "mean_ms": {"$avg": "$response_data.processing_time_ms"},
                }
            },
        ]
        with translated("add up costs"):
            groups = list(self._outcomes.aggregate(stages, maxTimeMS=4 * MAX_TIME_MS))
        rows = [_usage(group) for group in groups]
        return sorted(rows, key=lambda row: (-row.cost_usd, -row.calls, str(row.group)))


def _usage(group: Mapping[str, Any]) -> Usage:
    cost, mean_ms = group["cost"], group["mean_ms"]
    exact = cost.to_decimal() if isinstance(cost, Decimal128) else Decimal(str(cost))
    return Usage(
        group=None if group["_id"] is None else str(group["_id"]),
        calls=int(group["calls"]),
        failed=int(group["failed"]),
        cost_usd=exact,
        tokens=int(group["tokens"]),
        mean_ms=None if mean_ms is None else round(float(str(mean_ms)), 1),
    )


def metadata(row: Document) -> Document:
    """Keep of a row or record what :data:`METADATA` names."""
    kept: Document = {"_id": row.get("_id")}
    for place in METADATA:
        name, _, inner = place.partition(".")
        value = row.get(name)
        if not inner:
            if name in row:
                kept[name] = value
        elif isinstance(value, dict):
            part = kept.setdefault(name, {})
            if inner in value:
                part[inner] = value[inner]
        elif isinstance(value, list):
            rows = kept.setdefault(name, [{} for _ in value])
            for made, item in zip(rows, value, strict=True):
                if isinstance(item, dict) and inner in item:
                    made[inner] = item[inner]
    return kept


def _seen(records: dict[Any, Document], wanted: SearchFilter) -> dict[Any, Document]:
    return {call_id: record for call_id, record in records.items() if wanted.sees(record)}


def _is_bare(record: Document) -> bool:
    return record.get("department") is None and record.get("tenant") is None


def _object_ids(texts: Iterable[Any]) -> Iterator[ObjectId]:
    for text in texts:
        with contextlib.suppress(InvalidId, TypeError):
            yield ObjectId(text)
