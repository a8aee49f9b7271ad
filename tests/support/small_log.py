"""A small sealed log in plain dictionaries, made with the real formats: to tamper with, quickly."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from affidavit.canonical import leaf_of
from affidavit.canonical.values import epoch_ms
from affidavit.integrity.checkpoint import Checkpoint, sign_checkpoint
from affidavit.integrity.leaves import FIRST, Signer, build, gap_leaf
from affidavit.integrity.merkle import Frontier
from affidavit.integrity.tiles import Growth

Docs = dict[str, Any]
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
DAY_S = 86_400


class Writer:
    """A writer with its key, its numbers and its chain of batches."""

    def __init__(self, name: str) -> None:
        self.name, self.seq, self.prev = name, 0, FIRST
        self.signer = Signer(name)


class SmallLog:
    """A log whose parts lie open: ``held`` by collection, ``leaf_batches``, ``log``, ``tiles``."""

    def __init__(self, origin: str = "affidavit/test", retention_days: int | None = 90) -> None:
        self.signer = Signer(origin)
        self.held: dict[str, list[Docs]] = {"records": [], "ledger": []}
        self.leaf_batches: dict[str, Docs] = {}
        self.log: list[Docs] = []
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.who: Docs | None = {"_id": "log", "origin": origin, "vkey": self.signer.vkey}
        self.at = START
        self.writers: dict[str, Writer] = {}
        self._tree, self._growth = Frontier(), Growth()
        ttl_s = None if retention_days is None else retention_days * DAY_S
        self.command({"ttl_s": ttl_s})

    # -- making one ------------------------------------------------------------------------------

    def command(self, details: Docs, kind: str = "setup") -> None:
        """Add the ledger record of a command, sealed by itself."""
        writer = Writer(f"cli-{len(self.held['ledger'])}")
        record = {"event_type": kind, "actor": {"leaf_key": writer.signer.vkey}, "details": details}
        self.seal([self.batch(writer, [("ledger", record)])])

    def start(self, name: str) -> Writer:
        """Start a writer: its first record names its key."""
        writer = self.writers[name] = Writer(name)
        record = {"event_type": "writer_start", "details": {"leaf_key": writer.signer.vkey}}
        self.seal([self.batch(writer, [("ledger", record)])])
        return writer

    def say(self, by: str, kind: str, details: Docs) -> None:
        """Add a ledger record of a writer, sealed by itself."""
        record = {"event_type": kind, "details": details}
        self.seal([self.batch(self.writers[by], [("ledger", record)])])

    def calls(self, writer: Writer, count: int) -> Docs:
        """Store so many outcomes in one batch; give its item, for a seal."""
        return self.batch(writer, [("records", self.outcome(n)) for n in range(count)])

    def outcome(self, n: int) -> Docs:
        """One record of the usual kind."""
        return {
            "event_type": "llm_response",
            "call_id": f"{n:024x}",
            "user_id": f"user_{n % 7}",
            "provider": "p",
            "model": "m",
            "status": "completed",
            "success": True,
            "input_tokens": n,
            "request_data": {"message": f"question {n}", "symbol": "BTC"},
            "response_data": {"text": f"answer {n}", "cost_usd": Decimal128("0.000012300")},
        }

    def batch(self, writer: Writer, records: Sequence[tuple[str, Docs]]) -> Docs:
        """Store records and their leaf batch; give its item, for a seal."""
        s0, leaves, times, classes = writer.seq, [], [], []
        for dest, record in records:
            self.at += timedelta(seconds=1)
            document = {
                "_id": ObjectId(),
                **record,
                "timestamp": self.at,
                "schema_version": 1,
                "writer": writer.name,
                "seq": writer.seq,
                "salt": bytes(16),
            }
            writer.seq += 1
            self.held[dest].append(document)
            leaves.append(leaf_of(document, dest))
            times.append(epoch_ms(self.at))
            classes.append(1 if dest == "ledger" else 0)
        made = build(writer.name, s0, leaves, times, bytes(classes), writer.prev, writer.signer)
        writer.prev = made.digest
        self.leaf_batches[made.id] = {**made.as_document(), "sent_at": self.at}
        return {"b": made.id, "n": made.n}

    def seal(self, items: Sequence[Docs], **more: Any) -> str:
        """Seal items; give the signed checkpoint."""
        i0 = self._tree.size
        for item in items:
            if "gap" in item:
                leaves = [gap_leaf(item["gap"], item["s0"], item["n"], item["t"])]
            else:
                h, start = self.leaf_batches[item["b"]]["h"], item.get("from", 0)
                leaves = [h[32 * at : 32 * at + 32] for at in range(start, start + item["n"])]
            self._tree.extend(leaves)
            for tile, data in self._growth.extend(leaves):
                self.tiles[tile.level, tile.number] = data
        size, root = self._tree.size, self._tree.root()
        note = sign_checkpoint(Checkpoint(self.signer.name, size, root), self.signer)
        self.log.append(
            {
                "_id": len(self.log),
                "i0": i0,
                "n": size - i0,
                "items": [dict(item) for item in items],
                "frontier": self._tree.hashes,
                "size": size,
                "root": root,
                "cp": note,
                "vkey": self.signer.vkey,
                "at": self.at,
                **more,
            }
        )
        return note

    @property
    def checkpoint(self) -> str:
        """The newest signed checkpoint."""
        return str(self.log[-1]["cp"])

    def copy(self) -> SmallLog:
        """An independent copy, to tamper with."""
        return copy.deepcopy(self)

    # -- reading it ------------------------------------------------------------------------------

    def identity(self) -> Docs | None:
        """The identity, if there is one."""
        return self.who

    def seals(self, from_k: int = 0) -> Iterator[Docs]:
        """The seals in order."""
        yield from (seal for seal in self.log if seal["_id"] >= from_k)

    def batches(self, ids: Sequence[str]) -> Iterator[Docs]:
        """Batches by id."""
        yield from (self.leaf_batches[name] for name in ids if name in self.leaf_batches)

    def batches_of(self, writer: str) -> Iterator[Docs]:
        """Batches of a writer."""
        yield from (batch for batch in self.leaf_batches.values() if batch["w"] == writer)

    def records(self, writer: str, s0: int, n: int) -> Iterator[tuple[str, Docs]]:
        """Records by number."""
        found = [
            (dest, document)
            for dest, documents in self.held.items()
            for document in documents
            if document.get("writer") == writer
            and isinstance(document.get("seq"), int | float)
            and s0 <= document["seq"] < s0 + n
        ]
        yield from sorted(found, key=lambda pair: pair[1]["seq"])

    def strays(self, writer: str, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Docs]]:
        """Records outside the ranges."""
        for dest, documents in self.held.items():
            for document in documents:
                seq = document.get("seq")
                if document.get("writer") != writer or not isinstance(seq, int | float):
                    continue
                if not any(start <= seq < end for start, end in ranges):
                    yield dest, document

    def unnumbered(self) -> Iterator[tuple[str, Docs]]:
        """Records without writer or number."""
        for dest, documents in self.held.items():
            for document in documents:
                text = isinstance(document.get("writer"), str)
                if not text or not isinstance(document.get("seq"), int | float):
                    yield dest, document

    def ledger(self, event_type: str) -> Iterator[Docs]:
        """Ledger records of a kind."""
        yield from (d for d in self.held["ledger"] if d["event_type"] == event_type)

    def known_writers(self) -> set[str]:
        """Every writer."""
        everything = [*self.held["records"], *self.held["ledger"]]
        return {d["writer"] for d in everything if isinstance(d.get("writer"), str)}

    def tile(self, level: int, number: int) -> bytes | None:
        """A whole tile."""
        return self.tiles.get((level, number))
