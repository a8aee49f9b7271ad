"""The memory queue between callers and the writer: bounded in bytes, never blocking for long."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, TypeVar

from affidavit._engine.ticket import Ticket
from affidavit.event import Dest
from affidavit.spool.counters import Counters, Slot

ITEM_OVERHEAD: Final = 400
"""Bytes an item costs beside its snapshot (tuple, ids, ticket)."""

T = TypeVar("T")


class Item(NamedTuple):
    """One record on its way to the writer."""

    dest: Dest
    record_id: bytes
    snapshot: bytes
    ticket: Ticket | None
    at_s: float
    """``time.monotonic()`` when it was handed over."""


class Inbox:
    """Callers put, the writer takes. An item is removed only once the writer has it in hand.

    So a writer thread that dies at any point loses nothing: the next one goes on.
    """

    def __init__(self, max_bytes: int, counters: Counters) -> None:
        self._max_bytes = max_bytes
        self._counters = counters
        self._queue: deque[Item] = deque()
        self._lock = threading.Lock()
        self._bytes = 0
        self._is_shut = False
        self._writer_waits = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    @property
    def size_bytes(self) -> int:
        """Bytes waiting."""
        return self._bytes

    @property
    def depth(self) -> int:
        """Items waiting."""
        return len(self._queue)

    def put(self, item: Item) -> bool:
        """Take a record in and count it as recorded; False, uncounted, if there is no room."""
        size = len(item.snapshot) + ITEM_OVERHEAD
        with self._lock:
            waiting = self._bytes
            if self._is_shut or (waiting and waiting + size > self._max_bytes):
                return False
            self._bytes = waiting + size
            # Counted before it can be taken, so that "queued" is never negative.
            self._counters.add_recorded(item.dest)
            self._queue.append(item)
            if self._writer_waits:
                self._writer_waits = False
                self._wake.put(None)
        return True

    def count_lost(self, dest: Dest) -> None:
        """Count a record that found no room: recorded, and lost."""
        self._counters.add(Slot.UNNUMBERED, dest)
        self._counters.add(Slot.LOST, dest)
        with self._lock:
            self._counters.add_recorded(dest)

    def shut(self) -> None:
        """Take nothing more: what comes from now on would find no writer."""
        with self._lock:
            self._is_shut = True

    def wake(self) -> None:
        """Make a waiting :meth:`wait` return, with whatever is there."""
        self._wake.put(None)

    def wait(self, timeout_s: float) -> None:
        """Wait until something is there, somebody calls :meth:`wake`, or time runs out."""
        with self._lock:
            if self._queue:
                return
            self._writer_waits = True
        with contextlib.suppress(Empty):
            self._wake.get(timeout=timeout_s)
        self._writer_waits = False

    def move_into(self, hand: list[T], limit: int, take: Callable[[Item], T]) -> int:
        """Move up to ``limit`` items into the writer's hand, oldest first; return how many.

        ``take`` wraps an item for the hand; it must not fail.
        """
        queue, moved, size = self._queue, 0, 0
        while queue and moved < limit:
            item = queue[0]
            hand.append(take(item))
            queue.popleft()
            size += len(item.snapshot) + ITEM_OVERHEAD
            moved += 1
        if moved:
            with self._lock:
                self._bytes -= size
        return moved

    def drop_first_if(self, item: Item) -> None:
        """Remove the head if it is ``item``: a thread died between taking and removing it."""
        if self._queue and self._queue[0] is item:
            self._queue.popleft()
            with self._lock:
                self._bytes -= len(item.snapshot) + ITEM_OVERHEAD
