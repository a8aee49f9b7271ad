"""Confidence intervals of 95 percent: how far the truth may be from what a sample shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

Z: Final = 1.959964
"""Standard deviations around the mean that hold 95 percent."""

SMALL: Final = 30
"""Calls below which an interval is wide, and is said to be."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and where the truth lies, with 95 percent confidence."""

    value: float
    low: float
    high: float
    n: int
    """The size of the sample."""


def rate(part: int, n: int) -> Interval | None:
    """Give a rate with Wilson's score interval; None without a sample."""
    if n <= 0:
        return None
    share = part / n
    scale = 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / scale
    reach = Z / scale * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    # At the very edges rounding must not move the interval off the rate itself.
    return Interval(round(share, 6), round(min(low, share), 6), round(max(high, share), 6), n)


def mean(value: float, deviation: float | None, n: int, digits: int = 6) -> Interval | None:
    """Give a mean with Student's interval; None with fewer than two values."""
    if n < 2 or deviation is None:  # noqa: PLR2004 - one value says nothing about the next
        return None
    reach = student(n - 1) * deviation / math.sqrt(n)
    return Interval(
        round(value, digits), round(value - reach, digits), round(value + reach, digits), n
    )


def student(freedom: int) -> float:
    """Give Student's quantile for 95 percent, two-sided, within 0.1 percent.

    The first degrees are from the table; from then on it is the expansion around the normal one.
    """
    exact = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706}
    if freedom in exact:
        return exact[freedom]
    one = (Z**3 + Z) / 4
    two = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    three = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + one / freedom + two / freedom**2 + three / freedom**3
