"""Which of a writer's numbers are sealed: as leaves, or as a gap that may still be filled."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""Numbers from the first up to, and without, the second."""


class Ranges:
    """A set of whole numbers that come in long runs."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in spans:
            self.add(start, end)

    def __iter__(self) -> Iterator[Span]:
        return zip(self._starts, self._ends, strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    @property
    def top(self) -> int:
        """The number after the highest; 0 if there is none."""
        return self._ends[-1] if self._ends else 0

    def add(self, start: int, end: int) -> None:
        """Add the numbers from ``start`` up to ``end``."""
        if end <= start:
            return
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def within(self, start: int, end: int) -> list[Span]:
        """List the runs inside these bounds, cut to them."""
        found = []
        for at in range(bisect_right(self._ends, start), len(self._starts)):
            if self._starts[at] >= end:
                break
            found.append((max(start, self._starts[at]), min(end, self._ends[at])))
        return found

    def missing(self, start: int, end: int) -> list[Span]:
        """List the runs inside these bounds that are not in the set."""
        found = []
        for low, high in self.within(start, end):
            if start < low:
                found.append((start, low))
            start = high
        if start < end:
            found.append((start, end))
        return found


class Cover:
    """What is sealed of one writer."""

    __slots__ = ("gaps", "key", "leaves", "sealed")

    def __init__(
        self, leaves: Iterable[Span] = (), gaps: Iterable[Span] = (), key: bytes | None = None
    ) -> None:
        self.leaves = Ranges(leaves)
        """Numbers with a leaf of their own."""
        self.gaps = Ranges(gaps)
        """Numbers that a gap stands for; a leaf may have come later."""
        self.sealed = Ranges([*self.leaves, *self.gaps])
        self.key = key
        """The key by which the writer signs, once a batch of it was seen."""

    def add_leaves(self, start: int, end: int) -> None:
        """Note that these numbers have leaves now."""
        self.leaves.add(start, end)
        self.sealed.add(start, end)

    def add_gap(self, start: int, end: int) -> None:
        """Note that a gap stands for these numbers."""
        self.gaps.add(start, end)
        self.sealed.add(start, end)

    def pass_over(self, start: int, end: int) -> None:
        """Note that nothing can be sealed for these numbers, and nothing is to be waited for."""
        self.sealed.add(start, end)

    def copy(self) -> Cover:
        """Copy it, to try something out."""
        other = Cover(self.leaves, self.gaps, self.key)
        other.sealed = Ranges(self.sealed)
        return other

    def parts(self, start: int, end: int) -> list[tuple[int, int, bool]]:
        """Split what has no leaf yet into runs: from, to, and whether a gap stands there (late)."""
        found: list[tuple[int, int, bool]] = []
        for low, high in self.leaves.missing(start, end):
            late = self.gaps.within(low, high)
            found += [(a, b, True) for a, b in late]
            found += [(a, b, False) for a, b in self.gaps.missing(low, high)]
        return sorted(found)

    def holes(self, end: int | None = None) -> list[Span]:
        """List what is not sealed below ``end``, by default below the highest sealed number."""
        return self.sealed.missing(0, self.sealed.top if end is None else end)

    def flat(self) -> tuple[list[int], list[int]]:
        """Give leaves and gaps as flat lists of bounds, for a document."""
        return [n for span in self.leaves for n in span], [n for span in self.gaps for n in span]


def spans(flat: Sequence[int]) -> list[Span]:
    """Read a flat list of bounds."""
    return [(int(flat[at]), int(flat[at + 1])) for at in range(0, len(flat) - 1, 2)]
