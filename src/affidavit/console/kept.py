"""Answers kept for some seconds, so that a page that many look at asks once.

Keys hold whatever an answer depends on, the visitor's scope first of all. One asker of a key makes
the answer, the others wait for it; a failure is not kept.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

_MOST: Final = 512


class _Place:
    """One key: its lock, and what was made last."""

    __slots__ = ("at_s", "lock", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.at_s = float("-inf")
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
            if self._clock() - place.at_s >= age_s:
                place.value = make()
                place.at_s = self._clock()
            return cast("T", place.value)
