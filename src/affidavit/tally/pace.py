"""How a long sum is made beside an application: in short spells, with rests between them.

One thread of an interpreter runs at a time, and one that has much to do is only interrupted after
5 ms; reading a thousand documents is not interrupted at all. An event loop in the same process
would wait for it. So what works inside an application takes little in one go, and lets others have
their turn in between.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

SPELL_S: Final = 0.0005
"""Longest spell of work before others have their turn, as in the writer."""

REST_S: Final = 0.001
"""Length of a rest: long enough for an event loop to get round to what is due."""


class Pace:
    """Tells how much to do at a time. For one thread; this one is in a hurry and never rests."""

    rows: int = 5000
    """Documents read at a time."""
    writes: int = 1000
    """Documents written at a time."""

    def rest(self) -> None:
        """Let others have their turn, if it is time; called often."""

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Make many objects while nobody looks which of them are garbage.

        The interpreter looks after each few hundred new ones, and again and again at those that
        stay. For sums of many thousand calls, of which none is garbage, that was half of the time.
        """
        looked = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if looked:
                gc.enable()

    def through(self, things: Iterable[T]) -> Iterator[T]:
        """Give what there is, with rests in between."""
        for thing in things:
            yield thing
            self.rest()


class Gentle(Pace):
    """Rests after each :data:`SPELL_S`, and handles few documents at a time."""

    rows = 100
    writes = 50

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``clock`` tells seconds."""
        self._clock = clock
        self._sleep = sleep
        self._since_s = clock()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Change nothing: who else is in the process may need it."""
        yield

    def rest(self) -> None:
        """Sleep for a moment where the last rest is a spell ago."""
        if self._clock() - self._since_s >= SPELL_S:
            self._sleep(REST_S)
            self._since_s = self._clock()


HURRY: Final = Pace()
"""For a process of its own."""
