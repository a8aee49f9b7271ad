"""A store in memory, with the same contract: for tests, and to see the contract without a server.

``memory:<name>`` gives every caller in the process the same store. Faults can be switched on:
``unavailable`` makes every operation raise StoreUnavailable, ``hang_s`` makes it take that long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import bson

from affidavit.errors import StoreUnavailable
from affidavit.event import NO_OUTCOME, Dest, Document, EventType, LedgerEvent
from affidavit.store.base import STORED, Encoded, Outcome, Verdict
from affidavit.store.unchecked import OF_ANOTHER, claim_of, is_unchecked


def closes(record: dict[str, Any]) -> bool:
    """Whether a record ends a call, or already flags that nothing ended it."""
    return record["event_type"] == EventType.LLM_RESPONSE or (
        record["event_type"] == EventType.ANNOTATION and record.get("kind") == NO_OUTCOME
    )


class MemoryStore:
    """Keeps records in dictionaries; see :class:`affidavit.store.base.Store`."""

    _shared: ClassVar[dict[str, MemoryStore]] = {}

    def __init__(self, name: str = "memory:") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._bodies: dict[Dest, dict[bytes, bytes]] = {dest: {} for dest in Dest}
        self._seqs: dict[tuple[Dest, str, int], bytes] = {}
        self.leaf_batches: dict[str, dict[str, Any]] = {}
        self.heartbeats: list[dict[str, Any]] = []
        self.unavailable = False
        self.hang_s = 0.0
        self.reject: dict[bytes, str] = {}

    @classmethod
    def named(cls, name: str) -> MemoryStore:
        """Return the store of that name, made at first use."""
        return cls._shared.setdefault(name, cls(name))

    @property
    def dataset(self) -> str:
        """A stable name of where records go."""
        return self._name

    def is_same_log(self, dataset: str) -> bool:
        """Whether that name of a dataset means this store."""
        return dataset == self._name

    def documents(self, dest: Dest = Dest.RECORDS) -> list[dict[str, Any]]:
        """Decode everything stored, in the order of insertion."""
        with self._lock:
            return [bson.decode(body) for body in self._bodies[dest].values()]

    def prepare(self, timeout_s: float) -> None:
        """Check that the store answers."""
        self._answer(timeout_s)

    def append(self, batch: Sequence[Encoded], timeout_s: float) -> list[Verdict]:
        """Insert the records; see the contract."""
        self._answer(timeout_s)
        with self._lock:
            return [self._one(record) for record in batch]

    def pool_use(self) -> tuple[int, int] | None:
        """Tell nothing: there are no connections."""
        return None

    def append_leaves(self, batches: Sequence[bytes], timeout_s: float) -> None:
        """Keep leaf batches."""
        self._answer(timeout_s)
        with self._lock:
            for body in batches:
                document = bson.decode(body)
                self.leaf_batches.setdefault(
                    document["_id"], {**document, "sent_at": datetime.now(UTC)}
                )

    def heartbeat(self, document: bytes, timeout_s: float) -> None:
        """Keep one heartbeat."""
        self._answer(timeout_s)
        self.heartbeats.append(bson.decode(document))

    def present(self, writer: str, dest: Dest, since_seq: int, timeout_s: float) -> set[int]:
        """Tell which sequence numbers of a writer are stored."""
        self._answer(timeout_s)
        with self._lock:
            return {s for (d, w, s) in self._seqs if d is dest and w == writer and s >= since_seq}

    def open_intents(self, since_ms: int, until_ms: int, limit: int, timeout_s: float) -> list[str]:
        """List calls begun in that time that have no outcome and no flag."""
        self._answer(timeout_s)
        records = self.documents()
        closed = {r.get("call_id") for r in records if closes(r)}
        begun = [
            str(r["call_id"])
            for r in records
            if r["event_type"] == EventType.LLM_REQUEST
            and since_ms <= int(r["timestamp"].replace(tzinfo=UTC).timestamp() * 1000) < until_ms
        ]
        return [call_id for call_id in begun if call_id not in closed][:limit]

    def last_start(self, service: str | None, but: str, timeout_s: float) -> Document | None:
        """Return the newest start record of that service by another writer."""
        self._answer(timeout_s)
        for record in reversed(self.documents(Dest.LEDGER)):
            if (
                record["event_type"] == LedgerEvent.WRITER_START
                and record["writer"] != but
                and record["actor"]["service"] == service
            ):
                return dict(record)
        return None

    def compresses_blocks(self) -> bool:
        """Fields stay as they are: nothing is saved here."""
        return True

    def close(self) -> None:
        """Nothing to give back."""

    def _answer(self, timeout_s: float) -> None:
        hang_s = self.hang_s  # as it is now: others may change it meanwhile
        if hang_s:
            time.sleep(min(hang_s, timeout_s))
            if hang_s >= timeout_s:
                msg = "The store did not answer in time (asked to hang)."
                raise StoreUnavailable(msg)
        if self.unavailable:
            msg = "The store does not answer (switched off)."
            raise StoreUnavailable(msg)

    def _one(self, record: Encoded) -> Verdict:
        reason = self.reject.get(record.record_id)
        if reason is not None:
            return Verdict(Outcome.REJECTED, reason)
        bodies = self._bodies[record.dest]
        known = bodies.get(record.record_id)
        if known is not None:
            return STORED if known == record.body else Verdict(Outcome.REJECTED, "id_conflict")
        if is_unchecked(record) and self._is_of_another(record):
            return OF_ANOTHER
        document = bson.decode(record.body)
        place = (record.dest, document["writer"], document["seq"])
        if place in self._seqs:
            return Verdict(Outcome.REJECTED, "seq_conflict")
        bodies[record.record_id] = record.body
        self._seqs[place] = record.record_id
        return STORED

    def _is_of_another(self, record: Encoded) -> bool:
        claim = claim_of(record)
        call = self._bodies[Dest.RECORDS].get(claim.call) if claim is not None else None
        if claim is None or call is None:
            return False
        document = bson.decode(call)
        return claim.whose != (document.get("department"), document.get("tenant"))
