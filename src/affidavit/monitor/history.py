"""The history of the metrics: kept in buckets of three sizes, and pruned.

A sample goes into one bucket of each size. Fine buckets are kept for a day, coarse ones for over a
year: about 2,900, 4,000 and 9,600 small documents, and no more, however long it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from affidavit.monitor.sample import Sample
from affidavit.store.monitoring import MonitorStore, Point

KEPT: Final[dict[int, timedelta]] = {
    30: timedelta(days=1),
    300: timedelta(days=14),
    3600: timedelta(days=400),
}
"""Seconds of a bucket, and how long such buckets are kept."""

PRUNE_EVERY: Final = timedelta(hours=1)
_ROUGHLY: Final = 400
"""As many points a question gets at most, unless it asks for one size of bucket."""


@dataclass(slots=True)
class History:
    """Keeps samples in a store. For one thread; several processes may keep theirs in one log."""

    store: MonitorStore
    _pruned_at: datetime | None = field(default=None, init=False)

    def keep(self, sample: Sample) -> None:
        """Add a sample, and now and then remove what is too old. Raises StoreError."""
        self.store.keep(sample.at, sample.ones(), KEPT)
        if self._pruned_at is None or sample.at - self._pruned_at >= PRUNE_EVERY:
            self.prune(sample.at)
            self._pruned_at = sample.at

    def prune(self, now: datetime) -> int:
        """Remove every bucket past its time; says how many. Raises StoreError."""
        return sum(self.store.prune(step, now - span) for step, span in KEPT.items())


def read(
    store: MonitorStore, metric: str, since: datetime, until: datetime, step: int | None = None
) -> Sequence[Point]:
    """Give a metric's buckets in a span of time, oldest first. Raises StoreError.

    Without ``step``, the finest buckets that are still kept for all of it and are not too many.
    """
    return store.history(metric, step or step_for(since, until), since, until)


def step_for(since: datetime, until: datetime) -> int:
    """Choose a size of bucket for a span of time."""
    for step, span in KEPT.items():
        if until - since <= min(span, timedelta(seconds=step * _ROUGHLY)):
            return step
    return max(KEPT)
