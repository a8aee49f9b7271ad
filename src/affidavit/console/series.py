"""Sums over a span of time and its intervals, for tiles and charts: kept for some seconds.

Spans of over half a day come from rollups where those can answer, by hours or days of the reporting
time zone; shorter ones, and what rollups do not have, are counted from the records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from affidavit.console.ranges import Range
from affidavit.event import EPOCH, EventType
from affidavit.store import calls_of, histogram_of
from affidavit.store.analytics import SumQuestion
from affidavit.store.questions import SearchFilter
from affidavit.tally.sums import Sums
from affidavit.tally.times import start_of_day

if TYPE_CHECKING:
    from affidavit.store.analytics import Engine
    from affidavit.store.intervals import Interval
    from affidavit.store.mongo.log import MongoLog

FINE: Final = timedelta(hours=12)
"""Up to here intervals are minutes, counted from the records."""

BY_HOURS: Final = timedelta(days=8)
_NANO: Final = Decimal(10) ** 9
_ROLLED: Final = frozenset(
    {"provider", "model", "department", "tenant", "error_type", "finish_reason", "status"}
)
"""Filters that rollups may answer, each day by itself."""

_BARS: Final = frozenset({"failed", "cost_nano"})
_TILES: Final = _BARS | {"aborted", "unpriced", "tokens"}
"""Counters that charts and tiles show."""

_CALLS: Final = frozenset({None, EventType.LLM_REQUEST.value, EventType.LLM_RESPONSE.value})


@dataclass(frozen=True, slots=True)
class Point:
    """One interval."""

    at: datetime
    calls: int
    failed: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Series:
    """The intervals of a span, empty ones included."""

    points: tuple[Point, ...]
    step_s: int

    def chart(self, name: str, label: str, zoom: str | None = None) -> dict[str, Any]:
        """Give the values of one measure as a chart's data (see ``_macros.html``)."""
        measures: Mapping[str, tuple[str, str]] = {
            "calls": ("number", "1"),
            "failed": ("number", "bad"),
            "cost_usd": ("usd", "2"),
        }
        unit, tone = measures[name]
        values = [float(getattr(point, name)) for point in self.points]
        return {
            "kind": "bars",
            "unit": unit,
            "x": [int(point.at.timestamp()) for point in self.points],
            "step_s": self.step_s,
            "series": [{"name": label, "values": values, "tone": tone}],
            "zoom": zoom,
        }


def usd(sums: Sums) -> Decimal:
    """Give the cost of some calls in dollars."""
    return Decimal(sums.cost_nano) / _NANO


def asker(log: MongoLog, span: Range) -> Engine:
    """Give what answers several questions about a span, from one look at the rollups."""
    engine = calls_of(log)
    engine.source(SumQuestion(span.since, span.until, zone=log.reporting_timezone))
    return engine


def total(
    log: MongoLog, engine: Engine, wanted: SearchFilter, since: datetime, until: datetime
) -> Sums:
    """Add up what tiles show of the calls of a span, of what the search's scope lets be seen."""
    made = Sums()
    question = _question(log, wanted, (since, until), ("latency", "tokens"), _TILES)
    for _key, sums in engine.sums(question):
        made.merge(sums)
    return made


def series(
    log: MongoLog, wanted: SearchFilter, span: Range, engine: Engine | None = None
) -> Series:
    """Count what a search finds in a span, by intervals; ask ``engine`` where there is one.

    Raises ConfigError where it cannot be drawn, StoreError.
    """
    if span.length <= FINE or not _is_rolled(wanted):
        step_s = span.step_s
        asked = replace(wanted, since=span.since, until=span.until)
        found = histogram_of(log, asked, timedelta(seconds=step_s))
        return _filled(found, span, step_s)
    unit = "hour" if span.length <= BY_HOURS else "day"
    question = _question(log, wanted, (span.since, span.until), (), _BARS, (unit,))
    zone = ZoneInfo(log.reporting_timezone)
    points: dict[datetime, Point] = {}
    for (key,), sums in (engine or calls_of(log)).sums(question):
        if key is not None:
            at = _begin(unit, key, zone)
            points[at] = Point(at, sums.calls, sums.failed, usd(sums))
    return Series(tuple(_every(points, unit, span, zone)), 3600 if unit == "hour" else 86_400)


def _is_rolled(wanted: SearchFilter) -> bool:
    """Whether a search is of calls alone, by nothing but what rollups know."""
    asked = wanted.as_details()
    kind = asked.pop("event_type", None)
    for name in ("since", "until", "departments", "tenants"):
        asked.pop(name, None)
    return kind in _CALLS and asked.keys() <= _ROLLED


def _question(
    log: MongoLog,
    wanted: SearchFilter,
    span: tuple[datetime, datetime],
    measures: tuple[str, ...],
    needs: frozenset[str],
    by: tuple[str, ...] = (),
) -> SumQuestion:
    asked = wanted.as_details()
    scope = {"department": wanted.departments, "tenant": wanted.tenants}
    return SumQuestion(
        *span,
        by,
        {name: asked[name] for name in _ROLLED if name in asked},
        log.reporting_timezone,
        frozenset({"counts", "cost", *measures}),
        within={name: values for name, values in scope.items() if values is not None},
        needs=needs,
    )


def _filled(found: list[Interval], span: Range, step_s: int) -> Series:
    held = {each.at: each for each in found}
    step = timedelta(seconds=step_s)
    at = EPOCH + step * ((span.since - EPOCH) // step)
    points = []
    while at < span.until:
        each = held.get(at)
        points.append(
            Point(at, 0, 0, Decimal(0))
            if each is None
            else Point(at, each.count, each.failed, each.cost_usd)
        )
        at += step
    return Series(tuple(points), step_s)


def _begin(unit: str, key: str, zone: ZoneInfo) -> datetime:
    if unit == "hour":
        return datetime.fromisoformat(key).astimezone(UTC)
    return start_of_day(date.fromisoformat(key), zone)


def _every(points: Mapping[datetime, Point], unit: str, span: Range, zone: ZoneInfo) -> list[Point]:
    """Put empty intervals between those that have something."""
    made = []
    at = span.since.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    if unit == "day":
        at = at.replace(hour=0)
    moment = at.astimezone(UTC)
    while moment < span.until:
        made.append(points.get(moment, Point(moment, 0, 0, Decimal(0))))
        if unit == "hour":
            moment += timedelta(hours=1)
        else:
            day = moment.astimezone(zone).date() + timedelta(days=1)
            moment = start_of_day(day, zone)
    return made
