"""A distribution as counts in buckets whose bounds grow by a fixed ratio.

Bucket ``i`` holds values above ``GAMMA ** (i - 1)`` up to ``GAMMA ** i``; what is told of a value
in it is off by at most :data:`RELATIVE_ERROR`. Sketches merge by adding counts, in any order. The
same formula runs in a database's pipeline, so the bucket of a value is part of the contract.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

GAMMA: Final = 1.04
LN_GAMMA: Final = math.log(GAMMA)
RELATIVE_ERROR: Final = (GAMMA - 1) / (GAMMA + 1)
"""0.0196: under the two percent that are promised."""

SMALLEST: Final = 0.001
"""Values below it count as zero, in a bucket of their own."""

LARGEST: Final = 1e15
"""Values above it are counted as this one."""

ZERO: Final = -200
"""The bucket of zero; the smallest other one is -176."""

NUDGE: Final = 1e-9
"""Taken off before rounding up: a value on a bound falls into one bucket, whoever computes it."""


def bucket_of(value: float) -> int:
    """Tell the bucket of a finite value; what is not positive counts as zero."""
    if value < SMALLEST:
        return ZERO
    return math.ceil(math.log(min(value, LARGEST)) / LN_GAMMA - NUDGE)


def value_of(bucket: int) -> float:
    """Give the value that stands for a bucket: never off by more than :data:`RELATIVE_ERROR`."""
    if bucket == ZERO:
        return 0.0
    return float(2 * GAMMA**bucket / (GAMMA + 1))


@dataclass(slots=True)
class Sketch:
    """Counts by bucket."""

    buckets: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Iterable[float]) -> Sketch:
        """Count some values."""
        sketch = cls()
        for value in values:
            sketch.add(value)
        return sketch

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.buckets.values())

    def add(self, value: float, times: int = 1) -> None:
        """Count a value."""
        bucket = bucket_of(value)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + times

    def merge(self, other: Sketch | Mapping[int, int]) -> None:
        """Add the counts of another one."""
        counts = other.buckets if isinstance(other, Sketch) else other
        for bucket, count in counts.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def percentile(self, percent: float) -> float | None:
        """Estimate a percentile by nearest rank, 0 < percent <= 100; None without values.

        The exact one, ``sorted(values)[ceil(percent / 100 * n) - 1]``, lies in the same bucket.
        """
        count = self.count
        if count == 0:
            return None
        rank = max(1, math.ceil(percent / 100 * count))
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return value_of(bucket)
        return None  # pragma: no cover - the counts add up to at least the rank

    def spread(self) -> float | None:
        """Estimate the standard deviation of a sample; None with fewer than two values."""
        count = self.count
        if count < 2:  # noqa: PLR2004 - one value has no spread
            return None
        mean = math.fsum(value_of(b) * n for b, n in sorted(self.buckets.items())) / count
        squares = math.fsum(n * (value_of(b) - mean) ** 2 for b, n in sorted(self.buckets.items()))
        return math.sqrt(squares / (count - 1))
