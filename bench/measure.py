"""Statistics and pacing that all sections share."""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class Effort(Enum):
    """How much is measured."""

    FULL = 0
    QUICK = 1
    """A minute or two for everything; the noise is large."""
    TINY = 2
    """Just enough to see that the measurement itself works."""

    def of(self, full: T, quick: T, tiny: T) -> T:
        """Choose a size."""
        return (full, quick, tiny)[self.value]


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the percentile by nearest rank; ``values`` must not be empty."""
    ordered = sorted(values)
    rank = math.ceil(percent / 100 * len(ordered)) - 1
    return ordered[min(len(ordered) - 1, max(0, rank))]


def median(values: Sequence[float]) -> float:
    """Give the median."""
    return float(statistics.median(values))


def ratios(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Divide round by round, so that noise that hits a whole round cancels out."""
    return [a / b for a, b in zip(ours, peer, strict=True)]


def bootstrap_interval(
    values: Sequence[float],
    statistic: Callable[[Sequence[float]], float] = median,
    *,
    draws: int = 4000,
    confidence: float = 0.95,
    seed: int = 20250626,
) -> tuple[float, float]:
    """Give the percentile bootstrap interval of a statistic of ``values``."""
    rng = random.Random(seed)
    size = len(values)
    found = sorted(statistic(rng.choices(values, k=size)) for _ in range(draws))
    tail = (1 - confidence) / 2
    return found[int(tail * draws)], found[min(draws - 1, int((1 - tail) * draws))]


def interleaved(
    variants: Mapping[str, Callable[[], T]],
    rounds: int,
    *,
    pause_s: float = 0.0,
    label: str = "",
) -> dict[str, list[T]]:
    """Run all variants in turn, ``rounds`` times; every other round runs backwards.

    Neighbours in time are compared with each other, and neither always comes first.
    """
    results: dict[str, list[T]] = {name: [] for name in variants}
    for number in range(rounds):
        names = list(variants) if number % 2 == 0 else list(variants)[::-1]
        for name in names:
            progress(f"{label} {number + 1}/{rounds}: {name}")
            results[name].append(variants[name]())
            if pause_s:
                time.sleep(pause_s)
    return results


def paced(rate: float, duration_s: float) -> Iterator[int]:
    """Yield 0, 1, 2 … at ``rate`` a second. Behind time it goes on at once, without bunching up."""
    step_s = 1 / rate
    next_s = time.perf_counter()
    for number in range(max(1, round(rate * duration_s))):
        now_s = time.perf_counter()
        if next_s > now_s:
            time.sleep(next_s - now_s)
        else:
            next_s = now_s
        yield number
        next_s += step_s


def progress(text: str) -> None:
    """Say on standard error what is being done."""
    print(f"  {text}", file=sys.stderr, flush=True)
