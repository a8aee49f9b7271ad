"""The log's own collections in MongoDB; the contract is in :mod:`affidavit.store.sealing`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any, Final, TypeVar

from bson import decode_all
from bson.objectid import ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from affidavit.event import Dest, Document, LedgerEvent
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.indexes import CORRECTION, JOINED
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.names import SEALER
from affidavit.store.sealing import BatchName

MAX_TIME_MS: Final = 60_000
"""A single answer that takes longer is stopped by the server."""

_IDENTITY: Final = "log"
_SEALS: Final = {"_id": {"$gte": 0}}
"""Numbers only: the identity's ``_id`` is a text."""

_BY: Final = [("writer", 1), ("seq", 1)]
_T = TypeVar("_T")
_IN_GROUPS: Final = 1000
_RECORDS_AT_ONCE: Final = 250
"""Records of one answer: some 400 KB, which stay in the processor's cache while they are read."""

_WORTH_A_THREAD: Final = 1000
"""So many records are read with a thread that asks ahead."""

_DUPLICATE: Final = 11000


class MongoSeals:
    """Leaf batches, seals and tiles of one log; any number of threads may use it."""

    def __init__(self, location: Location) -> None:
        """Reads and writes are by majority, as everywhere in this folder."""
        database, names = location.database, location.names
        self._location = location
        self._records = {
            Dest.RECORDS.value: database[names.records],
            Dest.LEDGER.value: database[names.ledger],
        }
        self._writers = database[names.writers]
        self._batches = database[names.leaf_batches]
        self._seals = database[names.seals]
        self._tiles = database[names.tiles]

    @property
    def dataset(self) -> str:
        """Where the log lies, without secrets."""
        return self._location.dataset

    # -- the log ---------------------------------------------------------------------------------

    def identity(self) -> Document | None:
        """Give the log's identity."""
        with translated(f"read {self._seals.name}"):
            return self._seals.find_one({"_id": _IDENTITY}, max_time_ms=MAX_TIME_MS)

    def claim(self, origin: str, vkey: str) -> Document:
        """Insert the identity unless there is one; give the one there is."""
        document = {
            "_id": _IDENTITY, "origin": origin, "vkey": vkey, "created_at": datetime.now(UTC)
        }  # fmt: skip
        with translated(f"insert into {self._seals.name}"):
            with contextlib.suppress(DuplicateKeyError):
                self._seals.insert_one(document)
            found = self._seals.find_one({"_id": _IDENTITY}, max_time_ms=MAX_TIME_MS)
        # None: a majority has not seen it yet, and the insert above says that there is one.
        return found if found is not None else document

    def last_seal(self) -> Document | None:
        """Give the newest seal."""
        with translated(f"read {self._seals.name}"):
            return self._seals.find_one(_SEALS, sort=[("_id", -1)], max_time_ms=MAX_TIME_MS)

    def seals(self, from_k: int = 0) -> Iterator[Document]:
        """Give the seals from ``from_k`` on."""
        with translated(f"read {self._seals.name}"):
            yield from self._seals.find({"_id": {"$gte": from_k}}).sort("_id", 1)

    def add_seal(self, document: Document) -> bool:
        """Insert a seal; its ``_id`` decides who was first."""
        with translated(f"insert into {self._seals.name}"):
            try:
                self._seals.insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    def items_of(self, writer: str) -> Iterator[Document]:
        """Give what is sealed of one writer."""
        first, after = f"{writer}:", f"{writer};"
        for seal in self.seals_of(writer):
            for item in seal["items"]:
                if not isinstance(item, dict):
                    continue  # whatever stands there: who reads it says so
                if item.get("gap") == writer or first <= str(item.get("b", "")) < after:
                    yield item

    def seals_of(self, writer: str) -> Iterator[Document]:
        """Give the seals of one writer; two index ranges, merged by the seals' order."""
        first, after = f"{writer}:", f"{writer};"
        named = {"$or": [
            {"items": {"$elemMatch": {"b": {"$gte": first, "$lt": after}}}},
            {"items.gap": writer},
        ]}  # fmt: skip
        wanted = {"items": 1, "i0": 1, "n": 1}
        with translated(f"read {self._seals.name}"):
            yield from self._seals.find(named, wanted).sort("_id", 1)

    def sealed(self, batch_ids: Sequence[str]) -> set[str]:
        """Tell which batches a seal names."""
        wanted = set(batch_ids)
        found: set[str] = set()
        with translated(f"read {self._seals.name}"):
            for group in _groups(batch_ids):
                for seal in self._seals.find({"items.b": {"$in": group}}, {"items.b": 1}):
                    named = (item.get("b") for item in seal["items"] if isinstance(item, dict))
                    found.update(wanted.intersection(filter(_is_text, named)))
        return found

    # -- receipts of anchors ---------------------------------------------------------------------

    def add_receipt(self, document: Document) -> bool:
        """Insert a receipt among the seals."""
        return self.add_seal(document)

    def newest_receipt(self, prefix: str) -> Document | None:
        """Give the newest receipt of this kind; ids are asked for by a range of the one index."""
        named = {"_id": {"$gte": prefix, "$lt": f"{prefix}~"}}
        with translated(f"read {self._seals.name}"):
            return self._seals.find_one(named, sort=[("_id", -1)], max_time_ms=MAX_TIME_MS)

    def note_damage(self, details: Document) -> None:
        """Insert a record into the ledger, by a writer of its own."""
        Ledger(self._location).record(LedgerEvent.VERIFICATION_FAILED, details)

    # -- leaf batches ----------------------------------------------------------------------------

    def batch_names(self, since: datetime | None = None) -> Iterator[BatchName]:
        """Name the batches sent since then, from the index alone."""
        asked = {} if since is None else {"sent_at": {"$gte": since}}
        with translated(f"read {self._batches.name}"):
            found = self._batches.find(asked, {"_id": 1, "sent_at": 1}).sort(
                [("sent_at", 1), ("_id", 1)]
            )
            for document in found:
                if isinstance(document["_id"], str):  # nothing of ours is anything else
                    yield BatchName(document["_id"], _time(document.get("sent_at")))

    def batches(self, ids: Sequence[str]) -> Iterator[Document]:
        """Give these batches."""
        with translated(f"read {self._batches.name}"):
            for group in _groups(ids):
                yield from self._batches.find({"_id": {"$in": group}})

    def batches_since(self, sent_at: datetime) -> Iterator[Document]:
        """Give the batches sent since then."""
        with translated(f"read {self._batches.name}"):
            yield from self._batches.find({"sent_at": {"$gte": sent_at}}).sort(
                [("sent_at", 1), ("_id", 1)]
            )

    def batches_of(self, writer: str) -> Iterator[Document]:
        """Give the batches of one writer."""
        with translated(f"read {self._batches.name}"):
            yield from self._batches.find({"w": writer}).sort([("w", 1), ("s0", 1)])

    def all_batch_ids(self) -> Iterator[BatchName]:
        """Name every batch."""
        return self.batch_names()

    def add_batch(self, document: Document) -> bool:
        """Insert a batch, stamped with the time of this attempt."""
        with translated(f"insert into {self._batches.name}"):
            try:
                self._batches.insert_one({**document, "sent_at": datetime.now(UTC)})
            except DuplicateKeyError:
                return False
        return True

    # -- what is proved --------------------------------------------------------------------------

    def records(self, writer: str, s0: int, n: int) -> Iterator[tuple[str, Document]]:
        """Give the records of these numbers, out of both collections."""
        asked = {"writer": writer, "seq": {"$gte": s0, "$lt": s0 + n}}
        many = n >= _WORTH_A_THREAD
        with translated("read records by their numbers"):
            yield from _merged(
                self._numbered(Dest.RECORDS.value, asked, ahead=many),
                self._numbered(Dest.LEDGER.value, asked),
            )

    def _numbered(
        self, dest: str, asked: Mapping[str, Any], *, ahead: bool = False
    ) -> Iterator[tuple[str, Document]]:
        """Read records in the order of their index, decoding many at a time."""
        collection = self._records[dest]
        raw: Iterator[Any] = collection.find_raw_batches(
            asked, sort=_BY, batch_size=_RECORDS_AT_ONCE
        )  # bytes, whatever its annotation says
        for part in _read_ahead(raw) if ahead else raw:
            for document in decode_all(part, collection.codec_options):
                yield dest, document

    def all_records(self, dest: str) -> Iterator[Document]:
        """Give every numbered record of a collection, in the order of its unique index."""
        with translated("read records by their numbers"):
            yield from (
                self._records[dest]
                .find({"writer": {"$type": "string"}, "seq": {"$exists": True}})
                .sort(_BY)
            )

    def strays(
        self, writer: str, ranges: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[str, Document]]:
        """Give a writer's records outside these ranges; the index is asked for the holes only."""
        ends = [None, *(end for _, end in ranges)]
        starts = [*(start for start, _ in ranges), None]
        holes = [
            {name: bound for name, bound in (("$gte", low), ("$lt", high)) if bound is not None}
            for low, high in zip(ends, starts, strict=True)
        ]
        # A range of numbers holds no NaN, and without any bound everything is asked for.
        asked = [{"seq": hole or {"$exists": True}} for hole in holes] + [{"seq": math.nan}]
        with translated("read records by their numbers"):
            for dest, collection in self._records.items():
                for group in _groups(asked):
                    for document in collection.find({"writer": writer, "$or": group}):
                        yield dest, document

    def unnumbered(self) -> Iterator[tuple[str, Document]]:
        """Give the records without a usable writer or number."""
        odd = {
            "$or": [
                {"writer": {"$not": {"$type": "string"}}},
                {"seq": {"$not": {"$type": "number"}}},
            ]
        }
        with translated("read records without a number"):
            for dest, collection in self._records.items():
                for document in collection.find(odd):
                    yield dest, document

    def of_call(self, call_id: str) -> Iterator[tuple[str, Document]]:
        """Give the records of one call; three questions that an index answers."""
        records = self._records[Dest.RECORDS.value]
        found: dict[Any, Document] = {}
        with translated("read the records of a call"):
            for kinds in ({"$in": list(JOINED)}, CORRECTION):
                for document in records.find({"call_id": call_id, "event_type": kinds}):
                    found[document["_id"]] = document
            if ObjectId.is_valid(call_id):
                for document in records.find({"_id": ObjectId(call_id)}):
                    found[document["_id"]] = document
        for document in sorted(
            found.values(), key=lambda d: (str(d.get("timestamp")), str(d["_id"]))
        ):
            yield Dest.RECORDS.value, document

    def last_number(self, writer: str) -> int | None:
        """Give the highest number that is stored: one look at each unique index."""
        numbers = []
        with translated("read records by their numbers"):
            for collection in self._records.values():
                newest = collection.find_one(
                    {"writer": writer, "seq": {"$exists": True}},
                    {"_id": 0, "writer": 1, "seq": 1},
                    sort=[("writer", -1), ("seq", -1)],
                    max_time_ms=MAX_TIME_MS,
                )
                if newest is not None:
                    numbers.append(int(newest["seq"]))
        return max(numbers, default=None)

    def known_writers(self) -> set[str]:
        """Name every writer, by jumping through the unique index from one to the next."""
        names: set[str] = set()
        with translated("list the writers"):
            for collection in self._records.values():
                last = ""
                while True:
                    found = collection.find_one(
                        {"writer": {"$gt": last}, "seq": {"$exists": True}},
                        {"_id": 0, "writer": 1},
                        sort=_BY,
                        max_time_ms=MAX_TIME_MS,
                    )
                    if found is None:
                        break
                    last = str(found["writer"])
                    names.add(last)
        return names

    def ledger(self, event_type: str, since: datetime | None = None) -> Iterator[Document]:
        """Give the ledger's records of one kind, oldest first."""
        asked: dict[str, Any] = {"event_type": LedgerEvent(event_type).value}
        if since is not None:
            asked["timestamp"] = {"$gte": since}
        with translated("read the ledger"):
            yield from self._records[Dest.LEDGER.value].find(asked).sort("timestamp", 1)

    # -- marks of life ---------------------------------------------------------------------------

    def writers(self) -> dict[str, Document]:
        """Give the newest heartbeat of each writer; there are 24 hours of them."""
        # In this form the server jumps from writer to writer through the index.
        newest: list[dict[str, Any]] = [
            {"$sort": {"writer": 1, "at": -1}},
            {"$group": {"_id": "$writer", "beat": {"$first": "$$ROOT"}}},
        ]
        with translated("read the heartbeats"):
            found = self._writers.aggregate(newest, maxTimeMS=MAX_TIME_MS)
            return {str(each["_id"]): each["beat"] for each in found if each["_id"] != SEALER}

    def sealer_seen(self) -> Document | None:
        """Give the newest mark of a sealer."""
        with translated("read the heartbeats"):
            return self._writers.find_one(
                {"writer": SEALER}, sort=[("writer", -1), ("at", -1)], max_time_ms=MAX_TIME_MS
            )

    def mark_sealer(self, document: Document) -> None:
        """Insert a mark beside the heartbeats of writers."""
        mark = {
            "_id": ObjectId(), "writer": SEALER, "at": datetime.now(UTC), **document
        }  # fmt: skip
        with translated("leave a mark among the heartbeats"):
            self._writers.insert_one(mark)

    # -- tiles -----------------------------------------------------------------------------------

    def put_tiles(self, tiles: Sequence[tuple[int, int, bytes]]) -> None:
        """Insert whole tiles; those that are there stay."""
        if not tiles:
            return
        documents = [{"_id": f"{level}/{number}", "h": h} for level, number, h in tiles]
        with translated(f"insert into {self._tiles.name}"):
            try:
                self._tiles.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                failures: list[Mapping[str, Any]] = error.details["writeErrors"]
                concern = error.details.get("writeConcernErrors")
                if concern or any(failure["code"] != _DUPLICATE for failure in failures):
                    raise PyMongoError(str(error.code)) from None

    def tile(self, level: int, number: int) -> bytes | None:
        """Give the hashes of a whole tile."""
        with translated(f"read {self._tiles.name}"):
            found = self._tiles.find_one({"_id": f"{level}/{number}"}, max_time_ms=MAX_TIME_MS)
        h = None if found is None else found.get("h")
        return bytes(h) if isinstance(h, bytes) else None

    def close(self) -> None:
        """Close the client if it is ours."""
        self._location.close()


def _groups(ids: Sequence[_T]) -> Iterator[list[_T]]:
    left = iter(ids)
    while group := list(islice(left, _IN_GROUPS)):
        yield group


def _read_ahead(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Ask for the next answer while the one before is worked on: a third faster for whole logs."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "affidavit-read-ahead") as pool:  # ends with who reads from here
        ahead = pool.submit(next, parts, None)
        while (part := ahead.result()) is not None:
            ahead = pool.submit(next, parts, None)
            yield part


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _merged(
    records: Iterator[tuple[str, Document]], ledger: Iterator[tuple[str, Document]]
) -> Iterator[tuple[str, Document]]:
    """Merge by number; of the same number, the ledger's first. Few are of the ledger."""
    for entry in ledger:
        number = _number(entry[1])
        for record in records:
            if _number(record[1]) >= number:
                records = chain((record,), records)
                break
            yield record
        yield entry
    yield from records


def _number(document: Document) -> float:
    """Give the number of a record, whatever kind of number stands there."""
    seq = document["seq"]
    return seq if isinstance(seq, int | float) else float(str(seq))


def _time(value: object) -> datetime:
    """Give a time that was found in the store, whatever stands there."""
    return value if isinstance(value, datetime) else datetime.now(UTC)
