"""Keeping rollups in MongoDB; the contract is in :mod:`affidavit.store.rollups`.

A cell is updated where its watermark is lower than the group's, and else made. Where neither can
be, because it is there and has the group already, the server says "duplicate key", and that is as
good as done. So any number of keepers may apply one group, and each any number of times.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

from bson.decimal128 import Decimal128
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from affidavit.config import AuditConfig
from affidavit.event import Document, EventType, LedgerEvent
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.counting import FINISHED
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.zone import reporting_timezone
from affidavit.store.rollups import SIDES, Page
from affidavit.tally.bundles import bundle_id, pack
from affidavit.tally.cells import (
    ENDINGS,
    HOURS,
    MODELS,
    SHAPES,
    TEAMS,
    USERS,
    Cell,
    Part,
    slot_text,
)
from affidavit.tally.columns import ANSWERED, ASKED, OWN
from affidavit.tally.pace import HURRY, Pace
from affidavit.tally.times import local_day

MAX_TIME_MS: Final = 60_000
_AT_ONCE: Final = 1000
_HELD: Final = 10
"""Bundles that are handled as one: each is as long as many cells."""
_DUPLICATE: Final = 11_000
_BAD_HINT: Final = 2
_CURRENT: Final = "current"
_LARGE: Final = 2**53
_NUMBERED: Final = [("writer", 1), ("seq", 1)]

FIRST, LAST = "first_ms", "last_ms"
"""Times of the calls in a cell, in ms since 1970."""

CORRECTED_FIRST, CORRECTED_LAST = "corrected_first_ms", "corrected_last_ms"
"""The same of the calls that its corrections are about; absent without any."""


def _object(name: str, values: list[Any]) -> dict[str, Any]:
    """Give values of a part, or nothing where it is none."""
    return {"$cond": [{"$eq": [{"$type": f"${name}"}, "object"]}, values, None]}


_COST: Final = "$response_data.cost_usd"
_PLAIN_COST: Final = [
    {"$eq": [{"$type": _COST}, "decimal"]},
    {"$gt": [_COST, -_LARGE // 10**9]},
    {"$lt": [_COST, _LARGE // 10**9]},
]
"""As our writer stores it, and so small that a float has every nano-dollar."""

_SAID: Final[dict[str, Any]] = {
    "timestamp": {
        "$cond": [
            {"$eq": [{"$type": "$timestamp"}, "date"]},
            {"$toDouble": {"$toLong": "$timestamp"}},
            None,
        ]
    },
    "cost_usd": {
        "$cond": [
            {"$and": _PLAIN_COST},
            {"$toDouble": {"$round": [{"$multiply": [_COST, Decimal128("1E+9")]}, 0]}},
            [_COST],
        ]
    },
    # Whether there were any is all that counts, and they may be long.
    "tool_calls": {"$gt": ["$response_data.tool_calls", None]},
}
_ROW: Final = [
    *(_SAID.get(name, f"${name}") for name in OWN),
    _object("response_data", [_SAID.get(name, f"$response_data.{name}") for name in ANSWERED]),
    _object("request_data", [f"$request_data.{name}" for name in ASKED]),
]
_CORRECTS: Final = {"$eq": ["$event_type", EventType.CORRECTION.value]}
_READ: Final = {"_id": 0, "v": {"$cond": [_CORRECTS, "$seq", _ROW]}}
"""What a call counts for, value by value; of a correction its number."""

_CORRECTION: Final = {
    "_id": 1, "seq": 1, "event_type": 1, "effective_at": 1, "schema_version": 1, "call_id": 1,
    "user_id": 1, "department": 1, "tenant": 1, "status": 1, "error_type": 1, "finish_reason": 1,
    "cost_status": 1, "provider": 1, "model": 1,
    "request_data": {"provider": 1, "model": 1},
    "response_data": {"provider_used": 1},
    "details": {"cost_nano_diff": 1, "cost_status_before": 1},
}  # fmt: skip
"""What :func:`affidavit.tally.facts.correction_of` reads for the keys of cells."""

_FOLDED: Final = [
    {"event_type": {"$in": list(FINISHED)}, "success": {"$in": [True, False]}},
    {"event_type": EventType.CORRECTION.value},
]


class MongoRollups:
    """Rollups of one log; any number of threads may use it."""

    def __init__(self, location: Location, config: AuditConfig) -> None:
        """Reads and writes are by majority, as everywhere in this folder."""
        database, names = location.database, location.names
        self._location = location
        self._config = config
        self._records = database[names.records]
        self._batches = database[names.leaf_batches]
        self._states = database[names.rollup_states]
        self._cells = {side: database[names.rollups(side)] for side in SIDES}

    # -- states ----------------------------------------------------------------------------------

    def current(self) -> Document | None:
        """Give the side that answers questions."""
        return self.state(_CURRENT)

    def state(self, side: str) -> Document | None:
        """Give a side's state."""
        with translated(f"read {self._states.name}"):
            return self._states.find_one({"_id": side}, max_time_ms=MAX_TIME_MS)

    def begin(self, zone: str, since: datetime | None) -> Document:
        """Make the first state, then what names it: whoever finds the name finds the state."""
        current = {"_id": _CURRENT, "side": SIDES[0], "zone": zone}
        with translated(f"insert into {self._states.name}"):
            for document in (_fresh(SIDES[0], zone, since, -1), current):
                with contextlib.suppress(DuplicateKeyError):
                    self._states.insert_one(document)
        return self.current() or current

    def start_over(self, side: str, zone: str, since: datetime | None, k: int) -> None:
        """Empty a side; its state goes first, so that a half empty one is never gone on with."""
        with translated(f"write {self._states.name}"):
            self._states.delete_one({"_id": side})
            self._cells[side].delete_many({})
            self._states.insert_one(_fresh(side, zone, since, k, building=True))

    def switch(self, side: str) -> None:
        """Let this side answer."""
        state = self.state(side) or {}
        document = {"_id": _CURRENT, "side": side, "zone": state.get("zone", "UTC")}
        with translated(f"write {self._states.name}"):
            self._states.replace_one({"_id": _CURRENT}, document, upsert=True)
            self._states.update_one({"_id": side}, {"$set": {"building": False}})

    def write_down(self, state: Document, group: Document) -> bool:
        """Write down a group, where nobody has gone on in between."""
        same = {"_id": state["_id"], "serial": state["serial"], "pending": None}
        with translated(f"write {self._states.name}"):
            return bool(self._states.update_one(same, {"$set": {"pending": group}}).matched_count)

    def finish(self, side: str, serial: int, changes: Document) -> bool:
        """Note that a group is applied."""
        mine = {"_id": side, "pending.serial": serial}
        with translated(f"write {self._states.name}"):
            change = {"$set": {**changes, "pending": None}}
            return bool(self._states.update_one(mine, change).matched_count)

    def note(self, side: str, changes: Document) -> None:
        """Change other parts of a state."""
        with translated(f"write {self._states.name}"):
            self._states.update_one({"_id": side}, {"$set": changes})

    # -- cells -----------------------------------------------------------------------------------

    def add(
        self, side: str, cells: Iterable[Cell], late: int | None = None, pace: Pace = HURRY
    ) -> None:
        """Add to cells; a thousand at a time, or as few as the pace says."""
        self._write(side, (_update(cell, late) for cell in pace.through(cells)), pace.writes)

    def _write(self, side: str, writes: Iterable[InsertOne[Any] | UpdateOne], at_once: int) -> None:
        """Write what is not there yet."""
        left = iter(writes)
        with translated(f"write {self._cells[side].name}"):
            while some := list(islice(left, at_once)):
                try:
                    self._cells[side].bulk_write(some, ordered=False)
                except BulkWriteError as error:
                    failures: list[Mapping[str, Any]] = error.details["writeErrors"]
                    concern = error.details.get("writeConcernErrors")
                    if concern or any(each["code"] != _DUPLICATE for each in failures):
                        raise PyMongoError(str(error.code)) from None

    def hold(self, side: str, cells: Iterable[Cell], serial: int, pace: Pace = HURRY) -> set[str]:
        """Keep bundles; each is one insert, and one that is there already is the same."""
        pieces: set[str] = set()

        def inserts() -> Iterator[InsertOne[Any]]:
            for document in pace.through(pack(cells, serial)):
                pieces.add(document["piece"])
                yield InsertOne(document)

        self._write(side, inserts(), max(1, pace.writes // _HELD))
        return pieces

    def bundles(self, side: str, piece: str, after: int, upto: int) -> Iterator[Document]:
        """Give bundles, the oldest first."""
        asked = {"_id": {"$gte": bundle_id(piece, after + 1), "$lt": bundle_id(piece, upto + 1)}}
        with translated(f"read {self._cells[side].name}"):
            yield from self._cells[side].find(
                asked, sort=[("_id", 1)], batch_size=_HELD, max_time_ms=MAX_TIME_MS
            )

    def forget(self, side: str, piece: str, upto: int) -> None:
        """Remove bundles."""
        asked = {"_id": {"$gte": f"b{piece}/", "$lt": bundle_id(piece, upto + 1)}}
        with translated(f"write {self._cells[side].name}"):
            self._cells[side].delete_many(asked)

    def prune(self, side: str, since: datetime, zone: str) -> int:
        """Remove what lies before ``since``, in cells of users by days."""
        cells, tz = self._cells[side], ZoneInfo(zone)
        removed = 0
        with translated(f"write {cells.name}"):
            for shape in SHAPES:
                before = {"$gte": shape.letter, "$lt": slot_text(shape, since, tz)}
                removed += cells.delete_many({"_id": before}).deleted_count
            first = local_day(since, tz)
            gone = [f"{day:02d}" for day in range(1, first.day)]
            month = slot_text(USERS, since, tz)
            if gone:
                held = {"_id": {"$gte": f"{month}/", "$lt": f"{month}0"}}
                some = {"$or": [{f"d.{day}": {"$exists": True}} for day in gone]}
                cells.update_many({**held, **some}, _without(gone))
                removed += cells.delete_many({**held, "d": {}}).deleted_count
        return removed

    def sizes(self, side: str) -> dict[str, int]:
        """Count the cells of each kind, by the beginnings of their ids."""
        named = {
            "hours of models": HOURS,
            "days of models": MODELS,
            "days of departments": TEAMS,
            "days of endings": ENDINGS,
            "months of users": USERS,
        }
        cells = self._cells[side]
        with translated(f"count {cells.name}"):
            return {
                what: cells.count_documents(
                    {"_id": {"$gte": shape.letter, "$lt": f"{shape.letter}~"}},
                    maxTimeMS=MAX_TIME_MS,
                )
                for what, shape in named.items()
            }

    # -- what is folded --------------------------------------------------------------------------

    def calls(self, writer: str, first: int, many: int, pace: Pace = HURRY) -> Iterator[Page]:
        """Give finished calls and corrections without their texts."""
        asked = _numbers(writer, first, many) | {"$or": _FOLDED}
        for batch in self._by_number(asked, _READ, pace.rows):
            pace.rest()
            found = [document["v"] for document in batch]
            rows = [row for row in found if isinstance(row, list)]
            corrections: list[Document] = []
            if len(rows) < len(found):
                numbers = {"$in": [seq for seq in found if not isinstance(seq, list)]}
                corrects = {
                    "writer": writer, "seq": numbers, "event_type": EventType.CORRECTION.value
                }  # fmt: skip
                for some in self._by_number(corrects, _CORRECTION):
                    corrections += some
            yield Page(rows, corrections)

    def stored(self, writer: str, first: int, many: int, expected: int) -> set[int] | None:
        """Tell which numbers are stored, out of the index; None if as many as expected are."""
        asked = _numbers(writer, first, many)
        with translated("count records by their numbers"):
            if self._records.count_documents(asked, maxTimeMS=MAX_TIME_MS) >= expected:
                return None
        found = self._by_number(asked, {"_id": 0, "seq": 1})
        return {int(document["seq"]) for batch in found for document in batch}

    def _by_number(
        self, asked: Mapping[str, Any], wanted: Mapping[str, Any], at_once: int = HURRY.rows
    ) -> Iterator[list[Document]]:
        """Ask by the unique index, which another logger's collection may not have; in batches."""
        more = {"batch_size": at_once, "max_time_ms": MAX_TIME_MS}
        with translated("read records by their numbers"):
            try:
                found = self._records.find(asked, wanted, hint=_NUMBERED, **more)
                batch = list(islice(found, at_once))
            except OperationFailure as error:
                if error.code != _BAD_HINT:
                    raise
                found = self._records.find(asked, wanted, **more)
                batch = list(islice(found, at_once))
            while batch:
                yield batch
                batch = list(islice(found, at_once))

    def classes(self, batch_ids: Sequence[str]) -> dict[str, bytes]:
        """Tell the classes of leaves."""
        found: dict[str, bytes] = {}
        with translated(f"read {self._batches.name}"):
            for at in range(0, len(batch_ids), _AT_ONCE):
                group = list(batch_ids[at : at + _AT_ONCE])
                for document in self._batches.find({"_id": {"$in": group}}, {"k": 1}):
                    found[document["_id"]] = bytes(document.get("k", b""))
        return found

    def zone(self) -> str:
        """Tell the zone that was fixed at set-up."""
        return reporting_timezone(self._location, self._config)

    def retention(self) -> timedelta | None:
        """Tell what the newest set-up found."""
        newest = Ledger(self._location).newest(LedgerEvent.SETUP)
        period_s = (newest or {}).get("details", {}).get("ttl_s")
        return None if not isinstance(period_s, int | float) else timedelta(seconds=period_s)


def _numbers(writer: str, first: int, many: int) -> dict[str, Any]:
    return {"writer": writer, "seq": {"$gte": first, "$lt": first + many}}


def _fresh(
    side: str, zone: str, since: datetime | None, k: int, *, building: bool = False
) -> Document:
    now = datetime.now(UTC)
    return {
        "_id": side,
        "zone": zone,
        "since": since,
        "k": k,
        "serial": 0,
        "at": None,
        "folded_at": now,
        "missing": [],
        "bundles": {},
        "merged": {},
        "pending": None,
        "building": building,
    }


def _update(cell: Cell, late: int | None) -> UpdateOne:
    """Write the update of one cell; it is made where it is not there."""
    change: dict[str, dict[str, Any]] = {"$inc": {}, "$min": {}, "$max": {}}
    _put(change, "", cell.whole)
    for day, part in cell.days.items():
        _put(change, f"d.{day}.", part)
    values = dict(zip(cell.shape.keys, cell.values, strict=True))
    change["$setOnInsert"] = {"at": cell.start, **values}
    if late is None:
        chosen = {"_id": cell.id, "k": {"$lt": cell.k}}
        change["$set"] = {"k": cell.k}
    else:
        chosen = {"_id": cell.id, "late": {"$not": {"$gte": late}}}
        change["$set"] = {"late": late}
        change["$max"]["k"] = cell.k
    return UpdateOne(chosen, {verb: said for verb, said in change.items() if said}, upsert=True)


def _put(change: dict[str, dict[str, Any]], prefix: str, part: Part) -> None:
    for name, value in part.counts.items():
        # What is absurdly large is kept as a decimal, which does not overflow.
        fits = -_LARGE < value < _LARGE
        change["$inc"][f"{prefix}{name}"] = value if fits else Decimal128(str(value))
    for times, first, last in (
        (part.calls, FIRST, LAST),
        (part.corrections, CORRECTED_FIRST, CORRECTED_LAST),
    ):
        if times is not None:
            change["$min"][f"{prefix}{first}"] = times.first_ms
            change["$max"][f"{prefix}{last}"] = times.last_ms


def _without(days: Sequence[str]) -> list[dict[str, Any]]:
    """Take days out of cells of users, and add up what is left; doing it twice changes nothing."""
    parts = {"$map": {"input": {"$objectToArray": "$d"}, "in": "$$this.v"}}
    again: dict[str, Any] = {
        name: {"$sum": {"$map": {"input": parts, "in": f"$$this.{name}"}}}
        for name in sorted(USERS.counters)
    }
    for low, high in ((FIRST, LAST), (CORRECTED_FIRST, CORRECTED_LAST)):
        again[low] = {"$min": {"$map": {"input": parts, "in": f"$$this.{low}"}}}
        again[high] = {"$max": {"$map": {"input": parts, "in": f"$$this.{high}"}}}
    kept = {
        name: {"$cond": [{"$in": [said, [0, None]]}, "$$REMOVE", said]}
        for name, said in again.items()
    }
    return [{"$unset": [f"d.{day}" for day in days]}, {"$set": kept}]
