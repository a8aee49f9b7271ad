"""Brakes: how often somebody may try to come in, and how much one visitor may ask.

Each process counts for itself. Memory is bounded: whoever sends from many addresses pushes out the
oldest counts, and meets the one count of all together.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MOST: Final = 10_000


class Buckets:
    """So much at once, and so much a second, for each key. Any number of threads may ask."""

    def __init__(
        self, burst: float, per_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> int:
        """Give how many seconds to wait before one more is free; 0: now. Takes nothing."""
        with self._lock:
            missing = 1.0 - self._left(key)
        return 0 if missing <= 0 else math.ceil(missing / self._per_s)

    def take(self, key: str) -> int:
        """Take one, if it is free; gives the seconds to wait, 0 where it was taken."""
        with self._lock:
            left = self._left(key)
            if left < 1.0:
                return math.ceil((1.0 - left) / self._per_s)
            self._held[key] = (left - 1.0, self._clock())
            self._held.move_to_end(key)
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
        return 0

    def _left(self, key: str) -> float:
        found = self._held.get(key)
        if found is None:
            return self._burst
        left, at_s = found
        return min(self._burst, left + (self._clock() - at_s) * self._per_s)


class Attempts:
    """Failed attempts to come in: by address, and of all together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = Buckets(10, 1 / 30, clock)
        self._all = Buckets(300, 5, clock)

    def wait_s(self, address: str) -> int:
        """Give how long this address must wait before it may try again; 0: not at all."""
        return max(self._each.wait_s(address), self._all.wait_s(""))

    def failed(self, address: str) -> None:
        """Count one that failed."""
        self._each.take(address)
        self._all.take("")
