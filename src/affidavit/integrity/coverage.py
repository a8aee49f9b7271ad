"""Which numbers of each writer the log holds, as ranges: memory grows with holes only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

Range = tuple[int, int]
"""First number and the one after the last."""


class Ranges:
    """A set of whole numbers, kept as ranges in order that never touch."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __iter__(self) -> Iterator[Range]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._ends[at]

    def __len__(self) -> int:
        return sum(end - start for start, end in self)

    def add(self, start: int, end: int) -> list[Range]:
        """Add a range; return the parts of it that were there before."""
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        before: list[Range] = []
        low, high = start, end
        for at in range(first, last):
            here, there = self._starts[at], self._ends[at]
            if max(here, start) < min(there, end):
                before.append((max(here, start), min(there, end)))
            low, high = min(low, here), max(high, there)
        self._starts[first:last] = [low]
        self._ends[first:last] = [high]
        return before

    def holes(self, start: int = 0) -> list[Range]:
        """Give the ranges that are missing between ``start`` and the highest number."""
        found: list[Range] = []
        at = start
        for here, there in self:
            if here > at:
                found.append((at, here))
            at = max(at, there)
        return found
