"""The memory queue between callers and the writer: bounded in bytes, never blocking for long."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from affidavit._engine.ticket import Ticket
from affidavit.event import Dest
from affidavit.spool.counters import Counters, Slot

ITEM_OVERHEAD: Final = 400
"""Bytes an item costs beside its snapshot (tuple, ids, ticket)."""


class Item(NamedTuple):
    """One record on its way to the writer."""

    dest: Dest
    record_id: bytes
    snapshot: bytes
    ticket: Ticket | None
    at_s: float
    """``time.monotonic()`` when it was handed over."""


class Inbox:
    """Callers put, the writer takes."""

    def __init__(self, max_bytes: int, counters: Counters) -> None:
        self._max_bytes = max_bytes
        self._counters = counters
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes waiting."""
        return self._bytes

    @property
    def depth(self) -> int:
        """Items waiting."""
        return self._queue.qsize()

    def put(self, item: Item) -> bool:
        """Take a record in and count it as recorded; False, uncounted, if there is no room."""
        size = len(item.snapshot) + ITEM_OVERHEAD
        with self._lock:
            waiting = self._bytes
            if waiting and waiting + size > self._max_bytes:
                return False
            self._bytes = waiting + size
            # Counted before it can be taken, so that "queued" is never negative.
            self._counters.add(Slot.RECORDED, item.dest)
            self._queue.put(item)
        return True

    def count_lost(self, dest: Dest) -> None:
        """Count a record that found no room: recorded, and lost."""
        self._counters.add(Slot.UNNUMBERED, dest)
        self._counters.add(Slot.LOST, dest)
        self._counters.add(Slot.RECORDED, dest)

    def wake(self) -> None:
        """Make a waiting :meth:`take` return, with whatever is there."""
        self._queue.put(None)

    def take(self, limit: int, timeout_s: float | None, gather_s: float = 0.0) -> list[Item]:
        """Wait for a first record, then take what else is there, at most ``limit``.

        With ``gather_s``, pause that long after the first so that more can come together.
        """
        try:
            first = self._queue.get(timeout=timeout_s) if timeout_s else self._queue.get_nowait()
        except Empty:
            return []
        taken = [] if first is None else [first]
        if gather_s and self._queue.qsize() < limit:
            time.sleep(gather_s)
        try:
            while len(taken) < limit:
                item = self._queue.get_nowait()
                if item is not None:
                    taken.append(item)
        except Empty:
            pass
        if taken:
            size = sum(len(item.snapshot) + ITEM_OVERHEAD for item in taken)
            with self._lock:
                self._bytes -= size
        return taken
