"""The leaves of finished records, gathered into signed batches that prove them later.

A leaf is the hash of a record's entry (:mod:`affidavit.canonical`). The writer adds each as it
finishes the record; a batch is closed at 1,000 leaves, half a second after its first, or when its
records go to the spool, and then with them, in one transaction. The shipper sends the rest. No
caller waits for a batch, and none needs to survive: what dies with the process is rebuilt from the
stored records by the sealer, which says so.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

import bson

from affidavit.event import Dest
from affidavit.integrity.leaves import Signer, build

MOST: Final = 1000
"""Leaves of one batch."""

OPEN_S: Final = 0.5
"""Longest time a batch stays open."""

_KEPT: Final = 1000
"""Closed batches kept in memory while they can go nowhere; the oldest are rebuilt by the sealer."""

_CLASS: Final = {Dest.RECORDS: 0, Dest.LEDGER: 1}


class LeafLog:
    """One writer's leaves. The writer's thread adds and closes; the shipper takes from ``closed``.

    Sequence numbers in a batch have no hole: a number without a record closes the batch before it.
    """

    def __init__(self, writer: str) -> None:
        self.signer = Signer(writer)
        self.closed: deque[bytes] = deque(maxlen=_KEPT)
        """Batches to be sent, as BSON; a deque is safe between one that adds and one that takes."""
        self._writer = writer
        self._prev = bytes(32)
        self._first_seq = 0
        self._open: list[tuple[bytes, int, int]] = []
        """Leaf, time and class of each; one list, so that a thread that dies leaves it whole."""
        self._due_s = 0.0

    def add(self, seq: int, leaf: bytes, time_ms: int, dest: Dest) -> None:
        """Add the leaf of a finished record; numbers come in ascending order."""
        count = len(self._open)
        if count and (seq != self._first_seq + count or count >= MOST):
            self.close()
        if not self._open:
            self._first_seq = seq
            self._due_s = time.monotonic() + OPEN_S
        self._open.append((leaf, time_ms, _CLASS[dest]))

    def wait_s(self) -> float | None:
        """Tell in how many seconds the open batch is due; None if none is open."""
        return max(0.0, self._due_s - time.monotonic()) if self._open else None

    def close_if_due(self) -> None:
        """Close the open batch if it is full or old enough."""
        if self._open and (len(self._open) >= MOST or time.monotonic() >= self._due_s):
            self.close()

    def close(self) -> None:
        """Sign what is open and leave it for the shipper."""
        if self._open:
            self.closed.append(self._signed())

    def take(self) -> list[bytes]:
        """Close what is open and hand over everything closed, for the spool."""
        self.close()
        taken: list[bytes] = []
        while self.closed:
            try:
                taken.append(self.closed.popleft())
            except IndexError:  # the shipper was faster
                break
        return taken

    def _signed(self) -> bytes:
        gathered, self._open = self._open, []
        leaves, times_ms, classes = zip(*gathered, strict=True)
        batch = build(
            self._writer,
            self._first_seq,
            leaves,
            times_ms,
            bytes(classes),
            self._prev,
            self.signer,
        )
        self._prev = batch.digest
        return bson.encode(batch.as_document())
