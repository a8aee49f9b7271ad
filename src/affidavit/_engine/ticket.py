"""A caller's claim on one record: what became of it, and waiting for that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Final

SLICE_S: Final = 0.25
"""Seconds of one slice of a wait."""


class State(IntEnum):
    """Where a record is; the order is from least to most certain."""

    QUEUED = 0
    LOST = 1
    DEAD = 2
    """Refused by the store for good, kept as a dead letter."""
    HELD = 3
    """In memory only, because the disk is not usable."""
    SPOOLED = 4
    STORED = 5


class Ticket:
    """Settled once by an engine thread; waited for by at most one caller.

    A plain lock is the cheapest thing to wait on: held from the start, released when settled.
    """

    __slots__ = ("_callback", "_guard", "_lock", "state")

    def __init__(self) -> None:
        self.state = State.QUEUED
        self._lock = threading.Lock()
        self._lock.acquire()
        self._guard = threading.Lock()
        self._callback: Callable[[], object] | None = None

    def settle(self, state: State) -> None:
        """Note what became of the record and wake whoever waits. Only the first call counts."""
        with self._guard:
            if self.state is not State.QUEUED:
                return
            self.state = state
            callback = self._callback
        self._lock.release()
        if callback is not None:
            callback()

    def wait(self, timeout_s: float) -> State:
        """Wait at most ``timeout_s``; ``QUEUED`` means that time ran out.

        It waits in slices: a process that was stopped meanwhile has used up one of them, not all.
        """
        while self.state is State.QUEUED and timeout_s > 0:
            slice_s = min(timeout_s, SLICE_S)
            if self._lock.acquire(timeout=slice_s):
                self._lock.release()
                break
            timeout_s -= slice_s
        return self.state

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Call back from an engine thread once settled; at once if it is already."""
        with self._guard:
            if self.state is State.QUEUED:
                self._callback = callback
                return
        callback()
