"""Who read what, and what was lost or never came, from MongoDB's ledger and seals.

Readings and losses go over the ledger's index on kind and time. Gaps go over the seals' index on
gaps, which is as short as there are gaps, and not over time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bson.errors import InvalidId
from bson.objectid import ObjectId

from affidavit.errors import ConfigError
from affidavit.event import EPOCH, Document, LedgerEvent
from affidavit.store.auditing import Gap, Noted, Reading, ReadingsPage, ReadingsWanted
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated

MAX_TIME_MS: Final = 5000
_LONGEST: Final = 200
_CURSOR: Final = re.compile(r"(\d{1,14})-([0-9a-f]{24})")
_WHO: Final = ("actor.visitor", "actor.os_user", "actor.service", "actor.program")
_ASKED: Final = ("call_id", "id", "user_id", "session_id", "text", "ref", "ip_address", "reason")
_TELLING: Final = (
    LedgerEvent.RECORDS_LOST,
    LedgerEvent.WRITER_RESTARTED,
    LedgerEvent.SPOOL_ADOPTED,
    LedgerEvent.DEAD_LETTER,
    LedgerEvent.VERIFICATION_FAILED,
    LedgerEvent.KEY_ROTATION,
    LedgerEvent.ERASURE,
    LedgerEvent.HOLD,
    LedgerEvent.ADOPTION_CLOSED,
    LedgerEvent.LOG_IMPORTED,
    LedgerEvent.CONFIG_CHANGED,
)


class MongoAudit:
    """What :class:`affidavit.store.auditing.AuditStore` asks for."""

    def __init__(self, location: Location) -> None:
        """No I/O happens here."""
        database, names = location.database, location.names
        self._ledger = database[names.ledger]
        self._seals = database[names.seals]

    def readings(
        self, wanted: ReadingsWanted, limit: int = 50, cursor: str | None = None
    ) -> ReadingsPage:
        """Give readings, the newest first; see the contract."""
        match = _readings(wanted)
        if cursor is not None:
            at, last = _place(cursor)
            match["$and"].append(
                {"$or": [{"timestamp": {"$lt": at}}, {"timestamp": at, "_id": {"$lt": last}}]}
            )
        with translated("read who has read the log"):
            found = list(
                self._ledger.find(match, max_time_ms=MAX_TIME_MS)
                .sort([("timestamp", -1), ("_id", -1)])
                .limit(limit + 1)
            )
        rows = found[:limit]
        more = len(found) > limit and isinstance(rows[-1]["_id"], ObjectId)
        return ReadingsPage(tuple(map(_reading, rows)), _cursor(rows[-1]) if more else None)

    def noted(self, since: datetime, until: datetime, limit: int = 200) -> Sequence[Noted]:
        """Give losses, faults and changes of the log, the newest first."""
        parts = ("counters", "records", "ledger")
        losing = [{f"details.{part}.lost": {"$gt": 0}} for part in parts]
        match = {
            "timestamp": {"$gte": since, "$lt": until},
            "event_type": {"$in": [kind.value for kind in (*_TELLING, LedgerEvent.WRITER_STOP)]},
            "$or": [{"event_type": {"$ne": LedgerEvent.WRITER_STOP.value}}, *losing],
        }
        with translated("read what happened to the log"):
            found = self._ledger.find(match, max_time_ms=MAX_TIME_MS).sort("timestamp", -1)
            return [_noted(document) for document in found.limit(limit)]

    def gaps(self, since: datetime, until: datetime, limit: int = 200) -> Sequence[Gap]:
        """Give the gaps that were sealed in that time, the newest first."""
        only = {"$filter": {"input": "$items", "cond": {"$ifNull": ["$$this.gap", False]}}}
        stages: list[Mapping[str, Any]] = [
            {"$match": {"items.gap": {"$type": "string"}, "at": {"$gte": since, "$lt": until}}},
            {"$sort": {"_id": -1}},
            {"$limit": limit},
            {"$project": {"at": 1, "items": only}},
        ]
        with translated("read the gaps in the seals"):
            found = list(self._seals.aggregate(stages, maxTimeMS=MAX_TIME_MS))
        gaps = [
            Gap(seal["at"], seal["_id"], str(item["gap"]), int(item["s0"]), int(item["n"]))
            for seal in found
            for item in seal["items"]
        ]
        return gaps[:limit]


def _readings(wanted: ReadingsWanted) -> dict[str, Any]:
    span = {"$gte": wanted.since, "$lt": wanted.until}
    limits = {name: at for name, at in span.items() if at is not None}
    also: list[Mapping[str, Any]] = [{}]
    if wanted.who is not None:
        also.append({"$or": [{name: wanted.who} for name in _WHO]})
    if wanted.by is not None:
        ids = {"$in": list(wanted.by)}
        older = {"actor.account": None, "actor.visitor_id": ids}
        also.append({"$or": [{"actor.account": ids}, older]})
    if wanted.command is not None:
        also.append({"details.command": wanted.command})
    if wanted.text is not None:
        also.append({"$or": [{f"details.filter.{name}": wanted.text} for name in _ASKED]})
    match: dict[str, Any] = {"event_type": LedgerEvent.AUDIT_ACCESS.value, "$and": also}
    return match | ({"timestamp": limits} if limits else {})


def _reading(document: Document) -> Reading:
    actor, details = _part(document, "actor"), _part(document, "details")
    who = next((actor[n] for n in ("visitor", "os_user", "service") if actor.get(n)), "")
    count, wanted = details.get("count"), _part(details, "filter")
    return Reading(
        id=str(document["_id"]),
        at=document["timestamp"],
        who=str(who),
        how=str(actor.get("how") or actor.get("program") or ""),
        host=str(actor.get("host") or ""),
        command=str(details.get("command") or ""),
        wanted={str(k): v for k, v in wanted.items() if k != "reason" and v is not None},
        count=count if isinstance(count, int) else None,
        reason=str(details.get("reason") or wanted.get("reason") or ""),
    )


def _noted(document: Document) -> Noted:
    details = _part(document, "details")
    event = LedgerEvent(document["event_type"])
    lost = 0
    if event is LedgerEvent.RECORDS_LOST:
        lost = _whole(details.get("count"))
    elif event is LedgerEvent.WRITER_STOP:
        told = ("counters", "records", "ledger")
        lost = sum(_whole(_part(details, part).get("lost")) for part in told)
    plain = {
        str(name)[:_LONGEST]: value if isinstance(value, int | float) else str(value)[:_LONGEST]
        for name, value in details.items()
        if isinstance(value, str | int | float)
    }
    writer = str(details.get("writer") or document.get("writer") or "")
    return Noted(str(document["_id"]), document["timestamp"], event, writer, lost, plain)


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _cursor(row: Document) -> str:
    at: datetime = row["timestamp"]
    return f"{round((at - EPOCH).total_seconds() * 1000)}-{row['_id']}"


def _place(cursor: str) -> tuple[datetime, ObjectId]:
    found = _CURSOR.fullmatch(cursor)
    try:
        if found is not None:
            return datetime.fromtimestamp(int(found[1]) / 1000, UTC), ObjectId(found[2])
    except (InvalidId, ValueError, OverflowError, OSError):
        pass
    msg = "The page asked for is none of this list. Begin again with its first page."
    raise ConfigError(msg)
