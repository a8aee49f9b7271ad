"""What one step is about to seal: items and leaves in order, and what is then covered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any

from affidavit.event import Document
from affidavit.integrity.errors import BadBatch
from affidavit.integrity.leaves import REBUILT, LeafBatch, check, from_document, gap_leaf
from affidavit.integrity.merkle import HASH_SIZE
from affidavit.sealer.cover import Cover


class Taken(Enum):
    """What became of a batch."""

    WHOLE = "sealed whole"
    OVERLAPS = "some of its numbers are sealed already"
    KEY_UNKNOWN = "nothing is known yet about the key that signed it"


class Draft:
    """Gathers a seal; nothing of it holds until the store has taken that."""

    def __init__(
        self,
        cover_of: Callable[[str], Cover],
        log_keys: set[bytes],
        now: datetime,
    ) -> None:
        self._cover_of = cover_of
        self._log_keys = log_keys
        self.now = now
        self._now_ms = int(now.timestamp() * 1000)
        self.items: list[dict[str, Any]] = []
        self.leaves: list[bytes] = []
        self.covers: dict[str, Cover] = {}
        self.looked: dict[str, datetime] = {}
        self.refused: list[dict[str, str]] = []
        self.batches = self.rebuilt = self.gaps = self.late = 0

    def cover(self, writer: str) -> Cover:
        """Give what would be sealed of a writer; for changing."""
        cover = self.covers.get(writer)
        if cover is None:
            cover = self.covers[writer] = self._cover_of(writer).copy()
        return cover

    def take(self, document: Document, key: bytes | None = None) -> Taken:
        """Check a batch and add what is not sealed of it. Raises BadBatch.

        ``key`` is the one that its writer's first record names, where the writer is new here.
        """
        batch = from_document(document)
        if batch.made == REBUILT:
            if batch.key not in self._log_keys:
                msg = "it says that the log made it, and is signed by another key"
                raise BadBatch(msg)
            check(batch)
        else:
            known = self.cover(batch.w).key
            if key is None and known != batch.key:
                return Taken.KEY_UNKNOWN
            check(batch, key or known)
            self.cover(batch.w).key = batch.key
        return self._add(batch)

    def _add(self, batch: LeafBatch) -> Taken:
        cover, end = self.cover(batch.w), batch.s0 + batch.n
        parts = cover.parts(batch.s0, end)
        for start, stop, late in parts:
            item: dict[str, Any] = {"b": batch.id, "n": stop - start}
            if start > batch.s0:
                item["from"] = start - batch.s0
            if late:
                item["late"] = True
                self.late += stop - start
            self.items.append(item)
            h, first = batch.h, (start - batch.s0) * HASH_SIZE
            last = (stop - batch.s0) * HASH_SIZE
            self.leaves += [h[at : at + HASH_SIZE] for at in range(first, last, HASH_SIZE)]
        whole = sum(stop - start for start, stop, _ in parts) == batch.n
        cover.add_leaves(batch.s0, end)
        self.batches += bool(parts)
        return Taken.WHOLE if whole else Taken.OVERLAPS

    def agree(self, document: Document, other: Document, start: int, end: int) -> bool:
        """Whether two batches have the same leaves where both have the numbers in these bounds."""
        try:
            one, two = from_document(document), from_document(other)
        except BadBatch:
            return False
        low = max(one.s0, two.s0, start)
        high = min(one.s0 + one.n, two.s0 + two.n, end)
        return low >= high or _part(one, low, high) == _part(two, low, high)

    def gap(self, writer: str, start: int, end: int) -> None:
        """Add one leaf for numbers that did not come."""
        n = end - start
        self.items.append({"gap": writer, "s0": start, "n": n, "t": self._now_ms})
        self.leaves.append(gap_leaf(writer, start, n, self._now_ms))
        self.cover(writer).add_gap(start, end)
        self.gaps += n

    def refuse(self, batch_id: object, why: str) -> None:
        """Note that a batch is wrong."""
        self.refused.append({"b": str(batch_id)[:300], "why": why[:200]})


def _part(batch: LeafBatch, low: int, high: int) -> bytes:
    return batch.h[(low - batch.s0) * HASH_SIZE : (high - batch.s0) * HASH_SIZE]
