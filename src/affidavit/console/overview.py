"""What the overview shows, asked of the log part by part: a part that fails is missing, and said.

Every part is kept for some seconds and shared by whoever sees the same, so that many open pages
cost the database as much as one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from affidavit.console.kept import Kept
from affidavit.console.ranges import Range, read_range
from affidavit.console.series import Series, asker, series, total, usd
from affidavit.console.visitor import Scope
from affidavit.errors import AffidavitError, StoreUnavailable
from affidavit.event import EventType
from affidavit.monitor.history import read as read_history
from affidavit.monitor.metrics import METRICS, REQUIRED
from affidavit.sealer.health import Health, look
from affidavit.store import histogram_of
from affidavit.store.questions import SearchFilter
from affidavit.tally.sums import Sums

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.store.analytics import Engine

FRESH_S: Final = 5.0
"""So old a figure may be."""

SLOW_FRESH_S: Final = 30.0
"""The same of the time before, of charts, and of metrics, which change slowly."""

_HOUR: Final = timedelta(hours=1)
_LONG: Final = timedelta(days=400)
_SPARKS: Final = 40
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figures:
    """Calls of one span."""

    calls: int
    failed: int
    aborted: int
    cost_usd: Decimal
    unpriced: int
    tokens: int
    p50_ms: float | None
    p95_ms: float | None
    as_of: datetime
    """When they were counted."""

    @property
    def failure_rate(self) -> float | None:
        """Failed calls by those that failed or succeeded; whoever aborts did so by choice."""
        ended = self.calls - self.aborted
        return self.failed / ended if ended else None


@dataclass(frozen=True, slots=True)
class Gauge:
    """One of the five metrics."""

    name: str
    unit: str
    value: float | None
    points: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the page; None where a part is missing."""

    range: Range
    now: Figures | None = None
    before: Figures | None = None
    security: int | None = None
    security_before: int | None = None
    counters: dict[str, int] | None = None
    silent: int = 0
    health: Health | None = None
    series: Series | None = None
    gauges: Sequence[Gauge] = ()
    missing: dict[str, str] = field(default_factory=dict)
    """What could not be asked, by part: why, in words."""

    def change(self, name: str) -> float | None:
        """Give the change of a figure against the time before; None where nothing was then."""
        now, before = getattr(self.now, name, None), getattr(self.before, name, None)
        if now is None or not before:
            return None
        return float(now) / float(before) - 1

    @property
    def security_change(self) -> float | None:
        """The same of security events."""
        if self.security is None or not self.security_before:
            return None
        return self.security / self.security_before - 1

    @property
    def is_empty(self) -> bool:
        """Whether there are no calls now, nor were there in the time before."""
        known = self.now is not None and self.before is not None
        return known and not self.now.calls and not self.before.calls  # type: ignore[union-attr]


class Asking:
    """Asks for overviews of one log. Any number of threads may."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._kept = Kept()
        self._busy: dict[tuple[Any, ...], int] = {}
        self._counting = threading.Lock()

    def is_busy(self, span: Range, scope: Scope) -> bool:
        """Whether this very overview is being added up, so that asking again would only wait."""
        return _key(span, scope) in self._busy

    def overview(self, span: Range, scope: Scope, *, charts: bool = True) -> Overview:
        """Give the overview of a span as somebody of this scope sees it. Never raises StoreError.

        Once the database does not answer, the other parts are not asked: each would wait as long.
        """
        key = _key(span, scope)
        with self._counting:
            self._busy[key] = self._busy.get(key, 0) + 1
        try:
            return self._overview(span, scope, charts=charts)
        finally:
            with self._counting:
                left = self._busy.pop(key) - 1
                if left:
                    self._busy[key] = left

    def _overview(self, span: Range, scope: Scope, *, charts: bool) -> Overview:
        missing: dict[str, str] = {}
        away: list[str] = []

        def part(name: str, make: Callable[[], T]) -> T | None:
            if away:
                missing[name] = away[0]
                return None
            try:
                return make()
            except StoreUnavailable as error:
                # One question that took too long is not the whole database.
                missing[name] = str(error)
                if not self._backend.pulse.ask():
                    away.append(str(error))
            except AffidavitError as error:
                missing[name] = str(error)
            return None

        key = _key(span, scope)
        backend, seen = self._backend, _within(scope)
        keep = self._kept.get

        @cache
        def calls() -> Engine:
            return asker(backend.log, span)

        def security(since: datetime, until: datetime) -> int:
            asked = SearchFilter(
                event_type=EventType.SECURITY_EVENT.value,
                since=since,
                until=until,
                departments=scope.departments,
                tenants=scope.tenants,
            )
            return sum(each.count for each in histogram_of(backend.log, asked, _LONG))

        def figures(since: datetime, until: datetime) -> Figures:
            return _figures(total(backend.log, calls(), seen, since, until))

        def drawn() -> Series:
            return series(backend.log, seen, span, calls())

        ends, before = (span.since, span.until), span.before
        now = part("calls", lambda: keep((key, "now"), FRESH_S, lambda: figures(*ends)))
        counted = part("counters", lambda: keep("counters", FRESH_S, self._counters))
        return Overview(
            span,
            now,
            part("before", lambda: keep((key, "was"), SLOW_FRESH_S, lambda: figures(*before))),
            part("security", lambda: keep((key, "sec"), FRESH_S, lambda: security(*ends))),
            part("before", lambda: keep((key, "secw"), SLOW_FRESH_S, lambda: security(*before))),
            None if counted is None else counted[0],
            0 if counted is None else counted[1],
            part("integrity", lambda: keep("health", FRESH_S, self._health)),
            part("charts", lambda: keep((key, "series"), SLOW_FRESH_S, drawn)) if charts else None,
            part("metrics", lambda: keep("gauges", SLOW_FRESH_S, self._gauges)) or (),
            missing,
        )

    def _counters(self) -> tuple[dict[str, int], int]:
        status = self._backend.log.reader.status()
        return dict(status.totals), sum(writer.silent for writer in status.writers)

    def _health(self) -> Health:
        return look(self._backend.log.seals, datetime.now(UTC), self._backend.config.seal_vkey)

    def _gauges(self) -> list[Gauge]:
        until = datetime.now(UTC)
        found = []
        for name in REQUIRED:
            points = read_history(self._backend.monitor, name, until - _HOUR, until)
            means = [point.mean for point in points]
            last = points[-1].last if points else None
            found.append(Gauge(name, METRICS[name].unit, last, _thinned(means)))
        return found


def _key(span: Range, scope: Scope) -> tuple[Any, ...]:
    """Name what an overview depends on."""
    return scope, span.preset or (span.since, span.until)


def asked_range(query: Any) -> Range:
    """Read the time of the overview; the last day unless it says."""
    return read_range(query, "24h")


def _figures(sums: Sums) -> Figures:
    return Figures(
        calls=sums.calls,
        failed=sums.failed,
        aborted=sums.aborted,
        cost_usd=usd(sums),
        unpriced=sums.unpriced,
        tokens=sums.tokens,
        p50_ms=sums.latency.percentile(50),
        p95_ms=sums.latency.percentile(95),
        as_of=datetime.now(UTC),
    )


def _within(scope: Scope) -> SearchFilter:
    return SearchFilter(departments=scope.departments, tenants=scope.tenants)


def _thinned(values: list[float]) -> tuple[float, ...]:
    """Give so many of the values as a small drawing shows, each the mean of some."""
    if len(values) <= _SPARKS:
        return tuple(values)
    size = -(-len(values) // _SPARKS)
    groups = [values[at : at + size] for at in range(0, len(values), size)]
    return tuple(sum(group) / len(group) for group in groups)
