"""Prices over time: which of several hold at a moment, and from when until when that is so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from affidavit.pricing.rates import Price, Prices

DAY_MS: Final = 86_400_000
ALWAYS: Final = (-(2**62), 2**62)
"""A span that holds every time."""


class When(NamedTuple):
    """When a price holds: from a moment on, or daily between two times of day; both in UTC."""

    since_ms: int | None = None
    until_ms: int | None = None
    daily_from_ms: int | None = None
    """Milliseconds after midnight; an interval may go over midnight."""
    daily_to_ms: int = 0

    def holds(self, at_ms: int) -> bool:
        """Whether it is so at this time."""
        if self.since_ms is not None and at_ms < self.since_ms:
            return False
        if self.until_ms is not None and at_ms >= self.until_ms:
            return False
        if self.daily_from_ms is None:
            return True
        clock = at_ms % DAY_MS
        if self.daily_to_ms < self.daily_from_ms:
            return clock >= self.daily_from_ms or clock < self.daily_to_ms
        return self.daily_from_ms <= clock < self.daily_to_ms

    def changes(self, at_ms: int) -> Iterable[int]:
        """Give the moments around this one at which that may change."""
        if self.since_ms is not None:
            yield self.since_ms
        if self.until_ms is not None:
            yield self.until_ms
        if self.daily_from_ms is not None:
            midnight = at_ms - at_ms % DAY_MS
            for clock in (self.daily_from_ms, self.daily_to_ms):
                yield from (midnight + clock - DAY_MS, midnight + clock, midnight + clock + DAY_MS)


FOR_EVER: Final = When()


class Dated(NamedTuple):
    """Prices, and when they hold."""

    when: When
    prices: Prices


def standard_at(dated: Sequence[Dated], at_ms: int) -> Prices:
    """Choose the last of several that holds; where none does, the first."""
    for each in reversed(dated):
        if each.when.holds(at_ms):
            return each.prices
    return dated[0].prices if dated else {}


def with_variants(prices: Prices, variants: Sequence[Dated], at_ms: int) -> Prices:
    """Replace single prices by those of a tier; of two that hold, the first says it."""
    if not variants:
        return prices
    instead: dict[str, Price] = {}
    for each in variants:
        if each.when.holds(at_ms):
            for kind, price in each.prices.items():
                instead.setdefault(kind, price)
    return {**prices, **instead} if instead else prices


def steady(whens: Iterable[When], at_ms: int) -> tuple[int, int]:
    """Give the span around a moment in which none of these changes: from, and until before."""
    low, high = ALWAYS
    for when in whens:
        for change in when.changes(at_ms):
            if change <= at_ms:
                low = max(low, change)
            else:
                high = min(high, change)
    return low, high
