"""What rollups hold: sums of calls by hour, day or month and a few keys, and how calls go in.

A *cell* is one document: a slot of time of the reporting zone, a value for each key of its shape,
and sums. An hour is one of the zone, so zones with half hours need no quarters. A user has one cell
a month, with each day inside it: the documents then grow with users and not with calls, and a
month's cell is one write where thirty would be.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Literal
from zoneinfo import ZoneInfo

from affidavit.event import EPOCH
from affidavit.tally.facts import Correction, Fact
from affidavit.tally.sums import COUNTERS, MEASURES, SKETCHES, Sums
from affidavit.tally.times import start_of_day, start_of_month

Slot = Literal["hour", "day", "month"]

_QUARTERS: Final = datetime(1973, 1, 1, tzinfo=UTC)
"""From then on every zone's offset is whole quarters of an hour, and so are all slots."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of cell."""

    letter: str
    """Begins the ``_id``, so that a span of time is one range of ids."""
    slot: Slot
    keys: tuple[str, ...]
    measures: frozenset[str]
    """Of :data:`affidavit.tally.sums.MEASURES`: what its sums hold."""

    @property
    def counters(self) -> frozenset[str]:
        """The counters its sums hold."""
        return frozenset(name for measure in self.measures for name in MEASURES[measure])

    @property
    def sketches(self) -> frozenset[str]:
        """The sketches its sums hold."""
        return self.measures & set(SKETCHES)


_PLAIN: Final = frozenset({"counts", "cost", "tokens"})

HOURS: Final = Shape("h", "hour", ("provider", "model"), _PLAIN | {"latency", "ttft"})
DAYS: Final = Shape(
    "d",
    "day",
    ("provider", "model", "status", "error_type", "finish_reason", "cost_status"),
    frozenset(MEASURES),
)
TEAMS: Final = Shape("t", "day", ("department", "tenant"), frozenset(MEASURES))
USERS: Final = Shape("u", "month", ("user_id", "department", "tenant"), _PLAIN)
SHAPES: Final = (HOURS, DAYS, TEAMS, USERS)


@dataclass(slots=True)
class Times:
    """The first and last time of something, in ms since 1970."""

    first_ms: int
    last_ms: int

    def widen(self, other: Times) -> None:
        """Let it hold another span too."""
        self.first_ms = min(self.first_ms, other.first_ms)
        self.last_ms = max(self.last_ms, other.last_ms)


@dataclass(slots=True)
class Part:
    """What is added to a cell, or to one day in it: counts by flat name, and times."""

    counts: dict[str, int] = field(default_factory=dict)
    """Counters by name, buckets of sketches as ``latency.57``; nothing is zero for lack of calls"""
    calls: Times | None = None
    corrections: Times | None = None

    def add(self, more: Iterable[tuple[str, int]], at: Times, *, corrects: bool) -> None:
        """Add what a call or a correction counts for."""
        counts = self.counts
        for name, value in more:
            counts[name] = counts.get(name, 0) + value
        held = self.corrections if corrects else self.calls
        if held is not None:
            held.widen(at)
        elif corrects:
            self.corrections = Times(at.first_ms, at.last_ms)
        else:
            self.calls = Times(at.first_ms, at.last_ms)


@dataclass(slots=True)
class Cell:
    """What is to be added to one document."""

    shape: Shape
    start: datetime
    """Of its slot, UTC."""
    values: tuple[str | None, ...]
    """For the shape's keys."""
    k: int = -1
    """The newest seal of which something is in here."""
    whole: Part = field(default_factory=Part)
    days: dict[str, Part] = field(default_factory=dict)
    """By day of the month as two digits; only of users."""


class Fold:
    """Sorts calls and corrections into cells."""

    def __init__(self, zone: ZoneInfo, since: datetime | None = None) -> None:
        """Whatever happened before ``since`` is left out."""
        self._zone = zone
        self._since = since
        self._slots: dict[int, _Slots] = {}
        self.cells: dict[str, Cell] = {}

    def add(self, fact: Fact | Correction, k: int) -> None:
        """Add what seal ``k`` holds."""
        corrects = isinstance(fact, Correction)
        call = fact.call if isinstance(fact, Correction) else fact
        if self._since is not None and call.at < self._since:
            return
        at_ms = (call.at - EPOCH) // timedelta(milliseconds=1)
        at = Times(at_ms, at_ms)
        slots = self.slots(call.at)
        counters, buckets = _contribution(fact)
        for shape in SHAPES:
            start, text = slots.of(shape)
            values = tuple(getattr(call, name) for name in shape.keys)
            cell = self._cell(shape, start, text, values)
            cell.k = max(cell.k, k)
            known, sketches = _HOLDS[shape.letter]
            more = [(name, value) for name, value in counters if name in known]
            if shape is USERS:
                day = cell.days.get(slots.day_of_month)
                if day is None:
                    day = cell.days[slots.day_of_month] = Part()
                day.add(more, at, corrects=corrects)
            elif sketches:
                more += [(f"{name}.{bucket}", n) for name, bucket, n in buckets if name in sketches]
            cell.whole.add(more, at, corrects=corrects)

    def _cell(
        self, shape: Shape, start: datetime, text: str, values: tuple[str | None, ...]
    ) -> Cell:
        name = cell_id(text, values)
        cell = self.cells.get(name)
        if cell is None:
            cell = self.cells[name] = Cell(shape, start, values)
        return cell

    def slots(self, at: datetime) -> _Slots:
        """Tell the hour, day and month of a time."""
        if at < _QUARTERS:
            return _Slots(at, self._zone)
        quarter = (at - EPOCH) // timedelta(minutes=15)
        found = self._slots.get(quarter)
        if found is None:
            found = self._slots[quarter] = _Slots(at, self._zone)
        return found


_HOLDS: Final = {shape.letter: (shape.counters, shape.sketches) for shape in SHAPES}


class _Slots:
    """The slots that hold a time: their starts, and how ids name them."""

    __slots__ = ("_named", "day_of_month")

    def __init__(self, at: datetime, zone: ZoneInfo) -> None:
        self._named = {
            shape.letter: (start := slot_start(shape.slot, at, zone), slot_text(shape, start, zone))
            for shape in SHAPES
        }
        self.day_of_month = f"{at.astimezone(zone):%d}"

    def of(self, shape: Shape) -> tuple[datetime, str]:
        """Give the slot of a shape: its start and its name."""
        return self._named[shape.letter]


def slot_start(slot: Slot, at: datetime, zone: ZoneInfo) -> datetime:
    """Give the start of the hour, day or month of the zone that holds a time; UTC."""
    local = at.astimezone(zone)
    if slot == "hour":
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return (at - into).astimezone(UTC)
    if slot == "day":
        return start_of_day(local.date(), zone)
    return start_of_month(local.year, local.month, zone)


def slot_end(slot: Slot, start: datetime, zone: ZoneInfo) -> datetime:
    """Give the start of the slot after the one that begins at ``start``; UTC."""
    local = start.astimezone(zone)
    if slot == "hour":
        return slot_start("hour", start + timedelta(hours=1), zone)
    if slot == "day":
        return start_of_day(local.date() + timedelta(days=1), zone)
    return start_of_month(local.year, local.month + 1, zone)


def slot_text(shape: Shape, start: datetime, zone: ZoneInfo) -> str:
    """Name a slot as ids of its shape begin; names sort as times do."""
    if shape.slot == "hour":
        return f"{shape.letter}{start.astimezone(UTC):%Y-%m-%dT%H:%M}"
    local = start.astimezone(zone)
    return f"{shape.letter}{local:%Y-%m-%d}" if shape.slot == "day" else f"u{local:%Y-%m}"


def cell_id(slot: str, values: tuple[str | None, ...]) -> str:
    """Make the ``_id`` of a cell; of a user's, those of one user share a beginning.

    Values are hashed: they may be long, and fields of their own have them.
    """
    return f"{slot}/{digest(values[:1])}{digest(values[1:])}"


_digests: dict[tuple[str | None, ...], str] = {}
_MOST_DIGESTS: Final = 50_000


def digest(values: tuple[str | None, ...]) -> str:
    """Hash values to 22 characters, 128 bits."""
    found = _digests.get(values)
    if found is None:
        if len(_digests) >= _MOST_DIGESTS:
            _digests.clear()
        hashed = sha256(json.dumps(values).encode()).digest()[:16]
        found = _digests[values] = urlsafe_b64encode(hashed).decode().rstrip("=")
    return found


def _contribution(
    fact: Fact | Correction,
) -> tuple[list[tuple[str, int]], list[tuple[str, int, int]]]:
    """Tell what a call adds: counters that are not zero, and buckets; as Sums has it."""
    sums = Sums.of((fact,))
    counters = [(name, value) for name in COUNTERS if (value := getattr(sums, name))]
    buckets = [
        (name, bucket, n) for name in SKETCHES for bucket, n in getattr(sums, name).buckets.items()
    ]
    return counters, buckets
