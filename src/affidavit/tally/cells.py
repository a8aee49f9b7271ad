"""What rollups hold: sums of calls by hour, day or month and a few keys, and how calls go in.

A *cell* is one document: a slot of time of the reporting zone, a value for each key of its shape,
and sums. An hour is one of the zone, so zones with half hours need no quarters. A user has one cell
a month, with each day inside it: the documents then grow with users and not with calls, and a
month's cell is one write where thirty would be.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Literal
from zoneinfo import ZoneInfo

from affidavit.event import EPOCH, Status
from affidavit.tally.facts import Correction, Fact
from affidavit.tally.sketch import bucket_of
from affidavit.tally.sums import MEASURES, SKETCHES
from affidavit.tally.times import start_of_day, start_of_month

Slot = Literal["hour", "day", "month"]
Counts = tuple[tuple[str, int], ...]

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


_MS: Final = timedelta(milliseconds=1)
_PLAIN: Final = frozenset({"counts", "cost", "tokens"})

HOURS: Final = Shape("h", "hour", ("provider", "model"), _PLAIN | {"latency", "ttft"})
MODELS: Final = Shape("m", "day", ("provider", "model"), frozenset(MEASURES))
ENDINGS: Final = Shape(
    "e",
    "day",
    ("provider", "model", "status", "error_type", "finish_reason", "cost_status"),
    _PLAIN | {"latency", "ttft"},
)
TEAMS: Final = Shape("t", "day", ("department", "tenant"), frozenset(MEASURES))
USERS: Final = Shape("u", "month", ("user_id", "department", "tenant"), _PLAIN)
SHAPES: Final = (HOURS, MODELS, TEAMS, ENDINGS, USERS)


@dataclass(slots=True)
class Times:
    """The first and last time of something, in ms since 1970."""

    first_ms: int
    last_ms: int


@dataclass(slots=True)
class Part:
    """What is added to a cell, or to one day in it: counts by flat name, and times."""

    counts: dict[str, int] = field(default_factory=dict)
    """Counters by name, buckets of sketches as ``latency.57``; what is zero is left out."""
    calls: Times | None = None
    corrections: Times | None = None

    def add(self, more: Counts, at_ms: int, *, corrects: bool) -> None:
        """Add what a call or a correction counts for."""
        counts = self.counts
        for name, value in more:
            counts[name] = counts.get(name, 0) + value
        held = self.corrections if corrects else self.calls
        if held is None:
            self._set(Times(at_ms, at_ms), corrects=corrects)
        elif at_ms < held.first_ms:
            held.first_ms = at_ms
        elif at_ms > held.last_ms:
            held.last_ms = at_ms

    def absorb(self, counts: Mapping[str, int], times: Times) -> None:
        """Add what several calls count for, and their times."""
        held = self.counts
        if held:
            for name, value in counts.items():
                held[name] = held.get(name, 0) + value
        else:
            held.update(counts)
        if self.calls is None:
            self.calls = Times(times.first_ms, times.last_ms)
        else:
            self.calls.first_ms = min(self.calls.first_ms, times.first_ms)
            self.calls.last_ms = max(self.calls.last_ms, times.last_ms)

    def merge(self, other: Part) -> None:
        """Add what another one has."""
        for name, value in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + value
        for mine, its, corrects in (
            (self.calls, other.calls, False),
            (self.corrections, other.corrections, True),
        ):
            if its is None:
                continue
            if mine is None:
                self._set(Times(its.first_ms, its.last_ms), corrects=corrects)
            else:
                mine.first_ms = min(mine.first_ms, its.first_ms)
                mine.last_ms = max(mine.last_ms, its.last_ms)

    def _set(self, times: Times, *, corrects: bool) -> None:
        if corrects:
            self.corrections = times
        else:
            self.calls = times


@dataclass(slots=True)
class Cell:
    """What is to be added to one document."""

    shape: Shape
    slot: str
    """How its slot is named in the ``_id``."""
    start: datetime
    """Of its slot, UTC."""
    values: tuple[str | None, ...]
    """For the shape's keys."""
    k: int = -1
    """The newest seal of which something is in here."""
    own: Part = field(default_factory=Part)
    """Without what is in ``days``."""
    days: dict[str, Part] = field(default_factory=dict)
    """By day of the month as two digits; only of users."""

    @property
    def id(self) -> str:
        """The ``_id`` of the document."""
        return cell_id(self.slot, self.values)

    def day(self, day: str) -> Part:
        """Give the part of one day of the month."""
        return self.days.get(day) or self.days.setdefault(day, Part())

    @property
    def whole(self) -> Part:
        """Everything that is to be added."""
        if not self.days:
            return self.own
        if len(self.days) == 1:
            [part] = self.days.values()
            return part
        whole = Part()
        for part in self.days.values():
            whole.merge(part)
        return whole


class Fold:
    """Sorts calls and corrections into cells."""

    def __init__(self, zone: ZoneInfo, since: datetime | None = None) -> None:
        """Whatever happened before ``since`` is left out."""
        self._zone = zone
        self.since = since
        self._slots: dict[int, Slots] = {}
        self._cells: dict[tuple[str, tuple[str | None, ...]], Cell] = {}

    @property
    def cells(self) -> Iterable[Cell]:
        """What was sorted, by document."""
        return self._cells.values()

    def add(self, fact: Fact | Correction, k: int) -> None:
        """Add what seal ``k`` holds."""
        corrects = isinstance(fact, Correction)
        call = fact.call if isinstance(fact, Correction) else fact
        if self.since is not None and call.at < self.since:
            return
        at_ms = (call.at - EPOCH) // _MS
        slots = self.slots(call.at)
        plain, timed, rest = contribution(fact)
        timed = plain + timed
        rest = timed + rest
        team, model = (call.department, call.tenant), (call.provider, call.model)
        ending = (*model, call.status, call.error_type, call.finish_reason, call.cost_status)
        for shape, values, counts in (
            (HOURS, model, timed),
            (MODELS, model, rest),
            (TEAMS, team, rest),
            (ENDINGS, ending, timed),
            (USERS, (call.user_id, *team), plain),
        ):
            cell = self.cell(shape, slots, values, k)
            part = cell.day(slots.day_of_month) if shape is USERS else cell.own
            part.add(counts, at_ms, corrects=corrects)

    def cell(self, shape: Shape, slots: Slots, values: tuple[str | None, ...], k: int) -> Cell:
        """Give the cell of a slot and values, to which something of seal ``k`` is added."""
        start, text = slots.of(shape)
        cell = self._cells.get((text, values))
        if cell is None:
            cell = self._cells[text, values] = Cell(shape, text, start, values)
        cell.k = max(cell.k, k)
        return cell

    def slots(self, at: datetime) -> Slots:
        """Tell the hour, day and month of a time."""
        if at < _QUARTERS:
            return Slots(at, self._zone)
        quarter = (at - EPOCH) // timedelta(minutes=15)
        found = self._slots.get(quarter)
        if found is None:
            found = self._slots[quarter] = Slots(at, self._zone)
        return found


class Slots:
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


def contribution(  # noqa: C901 - one measure after another
    fact: Fact | Correction,
) -> tuple[Counts, Counts, Counts]:
    """Tell what a call adds, what is zero left out: plain sums, those of time, and all others.

    It is what :class:`affidavit.tally.sums.Sums` would add, without making one: this is done for
    each call that is folded, and a test holds the two together.
    """
    if isinstance(fact, Correction):
        changed = (("cost_nano", fact.cost_nano),) if fact.cost_nano else ()
        return (*changed, *_PRICED) if fact.prices else changed, (), ()
    plain: list[tuple[str, int]] = [("calls", 1), (_STATUS.get(fact.status, "failed"), 1)]
    timed: list[tuple[str, int]] = []
    rest: list[tuple[str, int]] = []
    if fact.retries:
        plain += [("retried", 1), ("retries", fact.retries)]
    if fact.is_empty:
        plain.append(("empty", 1))
    if fact.is_cut:
        plain.append(("cut", 1))
    if fact.is_unpriced:
        plain.append(("unpriced", 1))
    if fact.cost_nano is not None:
        plain += [("priced", 1), *([("cost_nano", fact.cost_nano)] if fact.cost_nano else [])]
        plain += [("estimated", 1)] if fact.cost_status == "estimated" else []
        rest.append((f"spread.{bucket_of(fact.cost_nano)}", 1))
    plain += [(name, value) for name in _TOKENS if (value := getattr(fact, name))]
    if fact.is_completed:
        if fact.latency_ms is not None:
            _add_to(timed, "latency", "latency_us", round(fact.latency_ms * 1000), fact.latency_ms)
        if fact.ttft_ms is not None:
            _add_to(timed, "ttft", "ttft_us", round(fact.ttft_ms * 1000), fact.ttft_ms)
        if (speed := fact.tokens_per_s) is not None:
            rest.append((f"speed.{bucket_of(speed)}", 1))
    if fact.prompt_chars is not None:
        _add_to(rest, "prompt", "prompt_chars", fact.prompt_chars, fact.prompt_chars)
    if fact.answer_chars is not None:
        _add_to(rest, "answer", "answer_chars", fact.answer_chars, fact.answer_chars)
    return tuple(plain), tuple(timed), tuple(rest)


def _add_to(
    counts: list[tuple[str, int]], sketch: str, counter: str, whole: int, value: float
) -> None:
    counts.append((f"{sketch}.{bucket_of(value)}", 1))
    if whole:
        counts.append((counter, whole))


_PRICED: Final = (("priced", 1), ("unpriced", -1))
_TOKENS: Final = MEASURES["tokens"]
_STATUS: Final = {Status.COMPLETED.value: "completed", Status.ABORTED.value: "aborted"}
