"""Answering from rollups what they can answer, and the rest from the records.

A question's span is cut into parts: whole slots of a shape that has its keys and measures, and what
is left at both ends, where a slot is asked for in part. Whether that is so is told by the times in
the cells: a slot of which everything lies within the span is taken whole. Ends are added up from
hours, where those fit, and else from the records. What is too new for the cells is added by its
numbers (:mod:`.rollup_tail`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from affidavit.store.analytics import (
    Dear,
    Different,
    Engine,
    Key,
    Limits,
    Scores,
    Source,
    SumQuestion,
    TooManyGroups,
    highest_of,
)
from affidavit.store.mongo.adoption import OLD
from affidavit.store.mongo.analytics import MongoCalls
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.counting import Stages
from affidavit.store.mongo.rollup_bundles import AllCells
from affidavit.store.mongo.rollup_standing import BUSY, Ends, Stand, Standing
from affidavit.store.mongo.rollup_tail import Tail
from affidavit.store.mongo.side_by_side import side_by_side
from affidavit.tally.cells import (
    ENDINGS,
    HOURS,
    MODELS,
    SHAPES,
    TEAMS,
    USERS,
    Shape,
    slot_end,
    slot_start,
)
from affidavit.tally.sums import Sums
from affidavit.tally.times import UNITS, offsets, time_key

PATIENCE_S: Final = 2.0
"""Longest wait for a group that is being added; then the records are asked."""

FRESH_S: Final = 1.0
"""So long what :meth:`RollupCalls.source` saw serves the sums that are asked after it."""

_LOOK_S: Final = 0.05
T = TypeVar("T")
Rows: TypeAlias = Callable[[], list[tuple[Key, Sums]]]
"""Asks the database for some groups."""

_PIECE: Final = timedelta(hours=6)
_PIECES: Final = 4
"""Records of more than six hours are added up in several pieces, four at most."""

_BY_DAY: Final = (MODELS, TEAMS, ENDINGS, USERS)
"""Shapes that answer questions by days; the smallest that fits does."""

_HOURLY: Final = frozenset({"hour", "hour_of_day"})


@dataclass(frozen=True, slots=True)
class Part:
    """A span, and the shape that has its sums; None: the records."""

    shape: Shape | None
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question is answered."""

    standing: Standing
    parts: tuple[Part, ...]

    @property
    def side(self) -> str:
        """The side whose cells are read."""
        return self.standing.side

    @property
    def is_raw(self) -> bool:
        """Whether everything comes from the records."""
        return all(part.shape is None for part in self.parts)

    def old(self, question: SumQuestion) -> bool:
        """Whether documents of older loggers are to be added."""
        return self.standing.has_old(_ceil(question.until))

    def beside(self, question: SumQuestion) -> list[tuple[datetime, datetime]]:
        """List the spans of the question that are not answered from all of its records."""
        spans, at = [], question.since
        for part in sorted(self.parts, key=lambda part: part.since):
            if part.shape is None:
                if at < part.since:
                    spans.append((at, part.since))
                at = max(at, part.until)
        return [*spans, (at, question.until)] if at < question.until else spans


class _OldCalls(MongoCalls):
    """Answers from the documents of older loggers alone: they have no numbers, and no leaves."""

    def _calls(self, question: SumQuestion) -> Stages:
        return [{"$match": OLD}, *super()._calls(question)]

    def _corrected(self, question: SumQuestion) -> Stages:  # noqa: ARG002 - those are ours
        return []


class RollupCalls:
    """Answers from rollups where they fit, else from the records; for any number of threads."""

    def __init__(self, location: Location, legacy_timezone: str | None = None) -> None:
        """``legacy_timezone`` says where an older logger's naive local times were local."""
        self._location = location
        self._raw: Engine = MongoCalls(location, legacy_timezone)
        self._old = _OldCalls(location, legacy_timezone)
        self._cells = AllCells(location)
        self._tail = Tail(location, legacy_timezone)
        self._stand = Stand(location, self._cells, self._tail)
        self._seen: tuple[Standing | str, float] = "", float("-inf")

    # -- the contract ----------------------------------------------------------------------------

    def source(self, question: SumQuestion) -> Source:
        """Say where the sums of this question come from, and why not from rollups.

        What is asked within a second after it is answered as of the same moment.
        """
        standing = self._settled()
        self._seen = standing, time.monotonic()
        plan = self.plan(question, standing)
        if isinstance(plan, str):
            found = self._raw.source(question)
            return found._replace(notes=(*found.notes, plan)) if plan else found
        return self._raw.source(question) if plan.is_raw else Source("rollups", plan.standing.as_of)

    def sums(self, question: SumQuestion) -> Iterator[tuple[Key, Sums]]:
        """Give each group once; see :class:`affidavit.store.analytics.Totals`."""
        [found] = self.together([question])
        yield from found.items()

    def highest(self, question: SumQuestion, counter: str, count: int) -> list[tuple[Key, Sums]]:
        """Give the groups with the highest value of a counter, the highest first.

        Groups that have the same are in the order of their keys. Of users the server ranks, and
        only those that are wanted leave it.
        """

        def best_users(plan: Plan, question: SumQuestion) -> list[tuple[Key, Sums]] | None:
            part = self._of_users(plan, question)
            if part is None or not question.by or set(question.by) & set(UNITS):
                return None
            newest: dict[Key, Sums] = {}
            self._merge(question, newest, self._tail_of(plan, question))
            # Nobody else can be among the first: what is newest changes the sums of these alone.
            first = count + len(newest)
            keys = self._cells.highest(plan.side, question, part, counter, first)
            keys = list(dict.fromkeys([*keys, *newest]))
            rows = self._cells.of_users(plan.side, question, part, keys)
            return highest_of([*_named(question, rows), *newest.items()], counter, count)

        found = self._steadily(question, best_users)
        return highest_of(self.sums(question), counter, count) if found is None else found

    def only(self, question: SumQuestion, keys: Sequence[Key]) -> Iterator[tuple[Key, Sums]]:
        """Give the sums of some groups; those of users are looked up one by one."""

        def of_users(plan: Plan, question: SumQuestion) -> dict[Key, Sums] | None:
            part = self._of_users(plan, question)
            if part is None or not question.by or set(question.by) & set(UNITS):
                return None
            found: dict[Key, Sums] = {}
            rows = self._cells.of_users(plan.side, question, part, keys)
            self._merge(question, found, _named(question, rows))
            self._merge(question, found, self._tail_of(plan, question))
            return found

        found = self._steadily(question, of_users) if keys else {}
        chosen = set(keys)
        rows = self.sums(question) if found is None else found.items()
        yield from ((key, sums) for key, sums in rows if key in chosen)

    def together(self, questions: Sequence[SumQuestion]) -> list[dict[Key, Sums]]:
        """Give the sums of several questions: what rollups answer, as of one moment."""
        found = self._at_rest(lambda standing: self._rolled(standing, questions)) or {}
        return [
            found[n] if n in found else dict(self._raw.sums(question))
            for n, question in enumerate(questions)
        ]

    def _rolled(
        self, standing: Standing, questions: Sequence[SumQuestion]
    ) -> dict[int, dict[Key, Sums]] | None:
        """Answer those questions that rollups can, by their place; None where it is none."""
        asked = [
            (n, plan, question)
            for n, question in enumerate(questions)
            if isinstance(plan := self.plan(question, standing), Plan) and not plan.is_raw
        ]
        found = self._added_up([(plan, question) for _, plan, question in asked])
        return {n: each for (n, *_), each in zip(asked, found, strict=True)} or None

    def distinct(self, question: SumQuestion, of: str) -> Iterator[tuple[Key, int]]:
        """Count different values; of users over whole days from rollups, else from the records."""
        count = None
        if of == "user_id" and not question.by:
            by_user = replace(question, by=("user_id",), measures=frozenset({"counts"}))
            count = self._steadily(by_user, self._users)
        if count is None:
            yield from self._raw.distinct(question, of)
        elif count:
            yield (), count

    def counted(self, question: SumQuestion, of: Sequence[str]) -> Mapping[str, Different]:
        """Count different values of several keys, from the records."""
        return self._raw.counted(question, of)

    def _users(self, plan: Plan, question: SumQuestion) -> int | None:
        part = self._of_users(plan, question)
        if part is None:
            return None
        count = self._cells.users(plan.side, question, part)
        newest = {key for key, sums in self._tail_of(plan, question) if sums.calls and key[0]}
        if newest:
            rows = self._cells.of_users(plan.side, question, part, sorted(newest, key=str))
            newest -= {key for key, sums in _named(question, rows) if sums.calls}
        return count + len(newest)

    @staticmethod
    def _of_users(plan: Plan, question: SumQuestion) -> Part | None:
        """Give the one part of a plan that is of users' cells alone."""
        part = plan.parts[0] if len(plan.parts) == 1 and not plan.old(question) else None
        return part if part is not None and part.shape is USERS else None

    def dearest(self, question: SumQuestion, count: int) -> list[Dear]:
        """List the calls that cost most, from the records."""
        return self._raw.dearest(question, count)

    def corrected(self, question: SumQuestion) -> Iterator[tuple[Key, int]]:
        """Count corrections, from the records."""
        return self._raw.corrected(question)

    def scores(self, question: SumQuestion) -> Iterator[tuple[Key, str, Scores]]:
        """Add up scores, from the records."""
        return self._raw.scores(question)

    def limits(self, question: SumQuestion) -> Iterator[tuple[Key, str, Limits]]:
        """Count rate-limit hits, from the records."""
        return self._raw.limits(question)

    # -- whether, and from what ------------------------------------------------------------------

    def plan(self, question: SumQuestion, standing: Standing | str) -> Plan | str:
        """Say from which cells a question is answered, or why not; nothing where it need not be."""
        if standing and not any(_fits(shape, question) for shape in SHAPES):
            return "Rollups do not have these keys or measures."
        if isinstance(standing, str):
            return standing
        if standing.zone != question.zone:
            return f"Rollups are kept by the days of {standing.zone}."
        since, until = _ceil(question.since), _ceil(question.until)
        parts: list[Part] = []
        if standing.floor is not None and since < standing.floor:
            parts.append(Part(None, since, min(standing.floor, until)))
            since = standing.floor
        if since < until:
            parts += self._cover(standing, question, since, until)
        return Plan(standing, tuple(parts))

    def _settled(self) -> Standing | str:
        """Look while no group is being added: sums read meanwhile would hold a part of it."""
        end_s = time.monotonic() + PATIENCE_S
        while (standing := self._stand.look()) == BUSY and time.monotonic() < end_s:
            time.sleep(_LOOK_S)
        return standing

    def _steadily(
        self, question: SumQuestion, ask: Callable[[Plan, SumQuestion], T | None]
    ) -> T | None:
        """Ask the cells at rest for one question; None: the records must be asked."""

        def planned(standing: Standing) -> T | None:
            plan = self.plan(question, standing)
            return None if isinstance(plan, str) or plan.is_raw else ask(plan, question)

        return self._at_rest(planned)

    def _at_rest(self, ask: Callable[[Standing], T | None]) -> T | None:
        """Ask the cells at rest, again where one was added to; None: the records must be asked."""
        end_s = time.monotonic() + PATIENCE_S
        standing, at_s = self._seen
        is_shared = time.monotonic() - at_s < FRESH_S
        if not is_shared:
            standing = self._settled()
        while not isinstance(standing, str):
            answer = ask(standing)
            if answer is None or self._stand.is_still(standing):
                return answer
            if time.monotonic() >= end_s:
                return None
            standing = self._settled()
            if is_shared:
                self._seen = standing, time.monotonic()
        return None

    def _cover(
        self, standing: Standing, question: SumQuestion, since: datetime, until: datetime
    ) -> list[Part]:
        """Cut a span into whole slots and what is left at the ends."""
        shape = next((each for each in _BY_DAY if _fits(each, question)), None)
        if shape is None:
            return self._finer(standing, question, since, until)
        slots, ends = self._whole(standing, MODELS, question.tz, since, until)
        found = [Part(shape, *slots)] if slots else []
        return [*found, *(p for end in ends for p in self._finer(standing, question, *end))]

    def _finer(
        self, standing: Standing, question: SumQuestion, since: datetime, until: datetime
    ) -> list[Part]:
        if not _fits(HOURS, question) or not _whole_hours(question.tz, since, until):
            return [Part(None, since, until)]
        slots, ends = self._whole(standing, HOURS, question.tz, since, until)
        found = [Part(HOURS, *slots)] if slots else []
        return [*found, *(Part(None, *end) for end in ends)]

    def _whole(
        self, standing: Standing, shape: Shape, zone: ZoneInfo, since: datetime, until: datetime
    ) -> tuple[tuple[datetime, datetime] | None, list[tuple[datetime, datetime]]]:
        """Give the span of the slots that can be taken whole, and the spans beside it.

        What the days hold is read of the models' cells: they are few, and have every call.
        """
        start, last = (slot_start(shape.slot, at, zone) for at in (since, until))
        end = until if last == until else slot_end(shape.slot, last, zone)
        cut = [at for at, is_cut in ((start, start < since), (last, last < until)) if is_cut]
        held = self._ends(standing, shape, zone, cut)
        ends: list[tuple[datetime, datetime]] = []
        if start < since:
            after = slot_end(shape.slot, start, zone)
            times = held[start]
            if times is not None and times[0] < since <= times[1]:
                ends.append((since, min(after, until)))
            if times is None or times[0] < since:
                start = after
        if last < until and last >= start:
            times = held[last]
            if times is not None and times[0] < until <= times[1]:
                ends.append((max(last, since), until))
            if times is None or times[1] >= until:
                end = last
        return ((start, end) if start < end else None), ends

    def _ends(
        self, standing: Standing, shape: Shape, zone: ZoneInfo, starts: Sequence[datetime]
    ) -> dict[datetime, Ends]:
        """Tell the first and last time in some slots; each is read once for a standing."""
        known = standing.ends
        new = [start for start in starts if (shape.letter, start) not in known]
        if new:
            slots = [(start, slot_end(shape.slot, start, zone)) for start in dict.fromkeys(new)]
            for start, times in self._cells.ends(standing.side, shape, slots).items():
                known[shape.letter, start] = times
        return {start: known[shape.letter, start] for start in starts}

    # -- adding up -------------------------------------------------------------------------------

    def _added_up(self, asked: Sequence[tuple[Plan, SumQuestion]]) -> list[dict[Key, Sums]]:
        """Add up the parts of each question; those of all of them are asked for side by side."""
        asks: list[tuple[int, Rows]] = [
            (n, rows)
            for n, (plan, question) in enumerate(asked)
            for rows in self._rows_of(plan, question)
        ]
        found: list[dict[Key, Sums]] = [{} for _ in asked]
        answers = side_by_side([rows for _, rows in asks])
        for (n, _), answer in zip(asks, answers, strict=True):
            self._merge(asked[n][1], found[n], answer)
        return found

    def _rows_of(self, plan: Plan, question: SumQuestion) -> list[Rows]:
        """Give what is to be asked for a question; groups may come several times."""
        # What takes longest, the records, is begun first.
        parts = sorted(_cut(plan.parts), key=lambda part: part.shape is not None)
        asks: list[Rows] = [partial(self._sums_of, plan, part, question) for part in parts]
        if plan.standing.tail:
            asks.append(partial(self._tail_of, plan, question))
        if plan.old(question):
            spans = (replace(question, since=s, until=u) for s, u in plan.beside(question))
            asks += [partial(self._old_of, span) for span in spans]
        return asks

    def _old_of(self, question: SumQuestion) -> list[tuple[Key, Sums]]:
        return list(self._old.sums(question))

    def _tail_of(self, plan: Plan, question: SumQuestion) -> list[tuple[Key, Sums]]:
        return list(self._tail.sums(plan.standing.tail, question, plan.beside(question)))

    def _sums_of(self, plan: Plan, part: Part, question: SumQuestion) -> list[tuple[Key, Sums]]:
        if part.shape is None:
            span = replace(question, since=part.since, until=part.until)
            return list(self._raw.sums(span))
        if part.shape is USERS:
            rows = self._cells.of_users(plan.side, question, part)
        else:
            rows = self._cells.of_slots(plan.side, question, part)
        return list(_named(question, rows))

    @staticmethod
    def _merge(
        question: SumQuestion, found: dict[Key, Sums], more: Iterable[tuple[Key, Sums]]
    ) -> None:
        for key, sums in more:
            held = found.get(key)
            if held is None:
                if len(found) >= question.limit:
                    raise TooManyGroups(question.by, question.limit)
                found[key] = sums
            else:
                held.merge(sums)


def _cut(parts: Iterable[Part]) -> Iterator[Part]:
    """Cut long spans of the records into pieces, of which more than one can be added up at once."""
    for part in parts:
        length = part.until - part.since
        many = min(_PIECES, -(-length // _PIECE)) if part.shape is None else 1
        # Records count in milliseconds, and so do the ends of pieces.
        each = timedelta(milliseconds=length // many // timedelta(milliseconds=1))
        starts = [part.since + n * each for n in range(many)]
        for since, until in zip(starts, [*starts[1:], part.until], strict=True):
            yield Part(part.shape, since, until)


def _named(
    question: SumQuestion, rows: Iterable[tuple[dict[str, Any], Sums]]
) -> Iterator[tuple[Key, Sums]]:
    """Name the groups: values as they are, and units of the slot's start."""
    labels: dict[tuple[str, datetime], str] = {}
    corrected = "cost" in question.measures
    for values, sums in rows:
        if not sums.calls and not corrected:
            continue
        key: list[str | None] = []
        for name in question.by:
            if name not in UNITS:
                key.append(values[name])
                continue
            at = values["at"]
            label = labels.get((name, at))
            if label is None:
                label = labels[name, at] = time_key(name, at, question.tz)
            key.append(label)
        yield tuple(key), sums


def _fits(shape: Shape, question: SumQuestion) -> bool:
    times = set(question.by) & set(UNITS)
    keys = (set(question.by) - times) | set(question.filters) | set(question.within)
    return (
        keys <= set(shape.keys)
        and question.measures <= shape.measures
        and (shape is HOURS or not times & _HOURLY)
    )


def _whole_hours(zone: ZoneInfo, since: datetime, until: datetime) -> bool:
    """Whether hours of the zone stay hours: one zone's clock goes back by half of one."""
    found = offsets(zone, since - timedelta(hours=2), until + timedelta(hours=2))
    return len({offset % timedelta(hours=1) for _, offset in found}) == 1


def _ceil(at: datetime) -> datetime:
    """Round up to milliseconds, in which records count."""
    return at.astimezone(UTC) + timedelta(microseconds=-at.microsecond % 1000)
