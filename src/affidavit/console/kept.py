"""Answers kept for some seconds, so that a page that many look at asks once.

Keys hold whatever an answer depends on, the visitor's scope first of all. One asker of a key makes
the answer, the others wait for it; a failure is not kept. What took long to make is kept for
longer, so that a page that is live never keeps the database busy.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

TIMES: Final = 10
"""An answer is kept for so many times as long as it took to make, at least."""

LONGEST_S: Final = 600.0
_MOST: Final = 512


class _Place:
    """One key: its lock, and what was made last."""

    __slots__ = ("at_s", "lock", "took_s", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.at_s = float("-inf")
        self.took_s = 0.0
        self.value: Any = None


class Kept:
    """A bounded number of answers; for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()

    def get(self, key: Hashable, age_s: float, make: Callable[[], T]) -> T:
        """Give the answer of a key that is not older than so many seconds, else make it."""
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > _MOST:
                self._places.popitem(last=False)
        with place.lock:
            least_s = min(LONGEST_S, TIMES * place.took_s)
            began_s = self._clock()
            if began_s - place.at_s >= max(age_s, least_s):
                place.value = make()
                place.at_s = self._clock()
                place.took_s = place.at_s - began_s
            return cast("T", place.value)
