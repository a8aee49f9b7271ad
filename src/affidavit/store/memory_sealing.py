"""The log's own collections in memory, beside the records of a :class:`.memory.MemoryStore`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from affidavit.errors import StoreUnavailable
from affidavit.event import Dest, Document
from affidavit.store.memory import MemoryStore
from affidavit.store.sealing import BatchName


class MemorySeals:
    """Keeps seals and tiles in dictionaries; see :class:`affidavit.store.sealing.SealStore`."""

    _beside: ClassVar[WeakKeyDictionary[MemoryStore, MemorySeals]] = WeakKeyDictionary()

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._identity: Document | None = None
        self._seals: list[Document] = []
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._marks: list[Document] = []
        self._receipts: dict[str, Document] = {}
        self.damage: list[Document] = []
        """What :meth:`note_damage` was told; it stands beside the ledger, not in it."""

    @classmethod
    def beside(cls, store: MemoryStore) -> MemorySeals:
        """Return the one that belongs to a store, made at first use."""
        found = cls._beside.get(store)
        if found is None:
            found = cls._beside.setdefault(store, cls(store))
        return found

    @property
    def dataset(self) -> str:
        """The store's name."""
        return self._store.dataset

    def identity(self) -> Document | None:
        """Give the log's identity."""
        self._answer()
        return None if self._identity is None else dict(self._identity)

    def claim(self, origin: str, vkey: str) -> Document:
        """Make this the identity unless there is one."""
        self._answer()
        with self._lock:
            if self._identity is None:
                now = datetime.now(UTC)
                self._identity = {"_id": "log", "origin": origin, "vkey": vkey, "created_at": now}
            return dict(self._identity)

    def last_seal(self) -> Document | None:
        """Give the newest seal."""
        self._answer()
        return dict(self._seals[-1]) if self._seals else None

    def seals(self, from_k: int = 0) -> Iterator[Document]:
        """Give the seals from ``from_k`` on."""
        self._answer()
        yield from [dict(seal) for seal in self._seals[from_k:]]

    def add_seal(self, document: Document) -> bool:
        """Add a seal; False if another one has its number."""
        self._answer()
        with self._lock:
            if document["_id"] != len(self._seals):
                return False
            self._seals.append(dict(document))
            return True

    def items_of(self, writer: str) -> Iterator[Document]:
        """Give what is sealed of one writer."""
        for item in self._items():
            if writer in {item.get("gap"), item.get("b", "").rpartition(":")[0]}:
                yield item

    def seals_of(self, writer: str) -> Iterator[Document]:
        """Give the seals that hold something of one writer."""
        for seal in self.seals():
            named = (
                {item.get("gap"), item.get("b", "").rpartition(":")[0]} for item in seal["items"]
            )
            if any(writer in names for names in named):
                yield seal

    def sealed(self, batch_ids: Sequence[str]) -> set[str]:
        """Tell which batches a seal names."""
        return set(batch_ids) & {item["b"] for item in self._items() if "b" in item}

    def add_receipt(self, document: Document) -> bool:
        """Add a receipt; False if its id is taken."""
        self._answer()
        kept = dict(document)
        return self._receipts.setdefault(kept["_id"], kept) is kept

    def newest_receipt(self, prefix: str) -> Document | None:
        """Give the newest receipt of this kind."""
        self._answer()
        found = [name for name in self._receipts if prefix <= name < f"{prefix}~"]
        return dict(self._receipts[max(found)]) if found else None

    def note_damage(self, details: Document) -> None:
        """Keep what was found."""
        self._answer()
        self.damage.append(dict(details))

    def batch_names(self, since: datetime | None = None) -> Iterator[BatchName]:
        """Name the batches sent since then."""
        self._answer()
        names = [BatchName(d["_id"], d["sent_at"]) for d in list(self._store.leaf_batches.values())]
        names.sort(key=lambda name: (name.sent_at, name.id))
        yield from (name for name in names if since is None or name.sent_at >= since)

    def batches(self, ids: Sequence[str]) -> Iterator[Document]:
        """Give these batches."""
        self._answer()
        held = self._store.leaf_batches
        yield from [dict(held[each]) for each in ids if each in held]

    def batches_since(self, sent_at: datetime) -> Iterator[Document]:
        """Give the batches sent since then."""
        return self.batches([name.id for name in self.batch_names(sent_at)])

    def batches_of(self, writer: str) -> Iterator[Document]:
        """Give the batches of one writer."""
        self._answer()
        mine = [dict(d) for d in list(self._store.leaf_batches.values()) if d["w"] == writer]
        yield from sorted(mine, key=lambda batch: int(batch["s0"]))

    def all_batch_ids(self) -> Iterator[BatchName]:
        """Name every batch."""
        return self.batch_names()

    def add_batch(self, document: Document) -> bool:
        """Add a batch; False if its id is taken."""
        self._answer()
        stamped: dict[str, Any] = {**document, "sent_at": datetime.now(UTC)}
        return self._store.leaf_batches.setdefault(document["_id"], stamped) is stamped

    def records(self, writer: str, s0: int, n: int) -> Iterator[tuple[str, Document]]:
        """Give the records of these numbers."""
        wanted = range(s0, s0 + n)
        found = [
            (dest.value, document)
            for dest in Dest
            for document in self._numbered(dest)
            if document["writer"] == writer and document["seq"] in wanted
        ]
        yield from sorted(found, key=lambda each: (each[1]["seq"], each[0]))

    def all_records(self, dest: str) -> Iterator[Document]:
        """Give every numbered record of one collection."""
        yield from sorted(self._numbered(Dest(dest)), key=lambda d: (d["writer"], d["seq"]))

    def strays(
        self, writer: str, ranges: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[str, Document]]:
        """Give the records of a writer outside these ranges."""
        for dest in Dest:
            for document in self._numbered(dest):
                seq = document["seq"]
                inside = any(start <= seq < end for start, end in ranges)
                if document["writer"] == writer and not inside:
                    yield dest.value, document

    def unnumbered(self) -> Iterator[tuple[str, Document]]:
        """Give the records without a number."""
        self._answer()
        for dest in Dest:
            for document in map(_aware, self._store.documents(dest)):
                if "writer" not in document or "seq" not in document:
                    yield dest.value, document

    def of_call(self, call_id: str) -> Iterator[tuple[str, Document]]:
        """Give the records of one call."""
        for document in self._numbered(Dest.RECORDS):
            if document.get("call_id") == call_id:
                yield Dest.RECORDS.value, document

    def last_number(self, writer: str) -> int | None:
        """Give the highest number of a writer."""
        numbers = (d["seq"] for dest in Dest for d in self._numbered(dest) if d["writer"] == writer)
        return max(numbers, default=None)

    def known_writers(self) -> set[str]:
        """Name every writer."""
        return {document["writer"] for dest in Dest for document in self._numbered(dest)}

    def ledger(self, event_type: str, since: datetime | None = None) -> Iterator[Document]:
        """Give the ledger's records of one kind."""
        found = [d for d in self._numbered(Dest.LEDGER) if d["event_type"] == event_type]
        found.sort(key=lambda document: document["timestamp"])
        yield from (d for d in found if since is None or d["timestamp"] >= since)

    def writers(self) -> dict[str, Document]:
        """Give the newest heartbeat of each writer."""
        self._answer()
        return {beat["writer"]: _aware(beat) for beat in list(self._store.heartbeats)}

    def sealer_seen(self) -> Document | None:
        """Give the newest mark of a sealer."""
        self._answer()
        return self._marks[-1] if self._marks else None

    def mark_sealer(self, document: Document) -> None:
        """Keep a mark."""
        self._answer()
        self._marks.append({"at": datetime.now(UTC), **document})

    def put_tiles(self, tiles: Sequence[tuple[int, int, bytes]]) -> None:
        """Keep whole tiles."""
        self._answer()
        for level, number, hashes in tiles:
            self._tiles.setdefault((level, number), hashes)

    def tile(self, level: int, number: int) -> bytes | None:
        """Give the hashes of a tile."""
        self._answer()
        return self._tiles.get((level, number))

    def close(self) -> None:
        """Nothing to give back."""

    def _items(self) -> list[Document]:
        self._answer()
        return [item for seal in self._seals for item in seal["items"]]

    def _numbered(self, dest: Dest) -> list[Document]:
        self._answer()
        return [_aware(d) for d in self._store.documents(dest) if "writer" in d and "seq" in d]

    def _answer(self) -> None:
        if self._store.unavailable:
            msg = "The store does not answer (switched off)."
            raise StoreUnavailable(msg)


def _aware(document: Document) -> Document:
    """Give times the zone that BSON's plain decoding leaves out."""
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for name, value in document.items()
    }
