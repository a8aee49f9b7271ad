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
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from affidavit.event import EPOCH, Document, LedgerEvent
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
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.rollup_cells import Cells
from affidavit.store.mongo.rollup_tail import Run, Tail
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

LATE: Final = timedelta(seconds=60)
"""Rollups that are further behind the log are not asked."""

SENT_WITHIN: Final = timedelta(seconds=2)
"""In which a writer sends the leaf batch of a record; what is older is in the answer."""

PATIENCE_S: Final = 2.0
"""Longest wait for a group that is being added; then the records are asked."""

FRESH_S: Final = 1.0
"""So long the plan of :meth:`RollupCalls.source` serves the sums that are asked after it."""

_LOOK_S: Final = 0.05
_BUSY: Final = "Calls are being added to the rollups at this moment."
T = TypeVar("T")

SMALL = 20_000
"""Documents up to which the records are asked: they are added up as quickly, to the last second."""

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

    side: str
    parts: tuple[Part, ...]
    as_of: datetime
    old: bool
    """Whether documents of older loggers are to be added."""
    tail: tuple[Run, ...]
    """Records that are not in the cells yet."""
    serial: int
    """Of the last group that was added to the cells."""

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
        return [{"$match": {"_id": {"$exists": False}}}]


class RollupCalls:
    """Answers from rollups where they fit, else from the records; for any number of threads."""

    def __init__(self, location: Location, legacy_timezone: str | None = None) -> None:
        """``legacy_timezone`` says where an older logger's naive local times were local."""
        self._location = location
        self._raw: Engine = MongoCalls(location, legacy_timezone)
        self._old = _OldCalls(location, legacy_timezone)
        self._cells = Cells(location)
        self._tail = Tail(location, legacy_timezone)
        self._planned: tuple[SumQuestion, Plan | str, float] | None = None

    # -- the contract ----------------------------------------------------------------------------

    def source(self, question: SumQuestion) -> Source:
        """Say where the sums of this question come from, and why not from rollups."""
        plan = self._settled(question)
        self._planned = question, plan, time.monotonic()
        if isinstance(plan, str):
            found = self._raw.source(question)
            return found._replace(notes=(*found.notes, plan)) if plan else found
        if all(part.shape is None for part in plan.parts):
            return self._raw.source(question)
        return Source("rollups", plan.as_of)

    def sums(self, question: SumQuestion) -> Iterator[tuple[Key, Sums]]:
        """Give each group once; see :class:`affidavit.store.analytics.Totals`."""
        found = self._steadily(question, self._added_up)
        yield from self._raw.sums(question) if found is None else found.items()

    def highest(self, question: SumQuestion, counter: str, count: int) -> list[tuple[Key, Sums]]:
        """Give the groups with the highest value of a counter, the highest first.

        Groups that have the same are in the order of their keys. Of users the server ranks, and
        only those that are wanted leave it.
        """

        def best_users(plan: Plan, question: SumQuestion) -> list[tuple[Key, Sums]] | None:
            part = self._of_users(plan)
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
            part = self._of_users(plan)
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
        part = self._of_users(plan)
        if part is None:
            return None
        count = self._cells.users(plan.side, question, part)
        newest = {key for key, sums in self._tail_of(plan, question) if sums.calls and key[0]}
        if newest:
            rows = self._cells.of_users(plan.side, question, part, sorted(newest, key=str))
            newest -= {key for key, sums in _named(question, rows) if sums.calls}
        return count + len(newest)

    @staticmethod
    def _of_users(plan: Plan) -> Part | None:
        """Give the one part of a plan that is of users' cells alone."""
        part = plan.parts[0] if len(plan.parts) == 1 and not plan.old else None
        return part if part is not None and part.shape is USERS else None

    def dearest(self, question: SumQuestion, count: int) -> list[Dear]:
        """List the calls that cost most, from the records."""
        return self._raw.dearest(question, count)

    def scores(self, question: SumQuestion) -> Iterator[tuple[Key, str, Scores]]:
        """Add up scores, from the records."""
        return self._raw.scores(question)

    def limits(self, question: SumQuestion) -> Iterator[tuple[Key, str, Limits]]:
        """Count rate-limit hits, from the records."""
        return self._raw.limits(question)

    # -- whether, and from what ------------------------------------------------------------------

    def plan(self, question: SumQuestion) -> Plan | str:  # noqa: PLR0911 - each has its reason
        """Say from which cells a question is answered, or why not; nothing where it need not be."""
        if self._is_small():
            return ""
        if not any(_fits(shape, question) for shape in SHAPES):
            return "Rollups do not have these keys or measures."
        state = self._cells.state()
        if state is None:
            return "There are no rollups yet: `affidavit rollups run` makes them."
        if state["zone"] != question.zone:
            return f"Rollups are kept by the days of {state['zone']}."
        if state["pending"] is not None:
            return _BUSY
        as_of = datetime.now(UTC) - SENT_WITHIN
        behind = self._behind(state)
        if behind:
            return behind
        tail = self._tail.runs(state)
        if tail is None:
            return "Much is not in the rollups yet; `affidavit rollups status`."
        since, until = _ceil(question.since), _ceil(question.until)
        parts: list[Part] = []
        floor = state.get("since")
        if floor is not None and since < floor:
            parts.append(Part(None, since, min(floor, until)))
            since = floor
        if since < until:
            parts += self._cover(state["_id"], question, since, until)
        old = self._has_old(until)
        return Plan(state["_id"], tuple(parts), as_of, old, tail, state["serial"])

    def _settled(self, question: SumQuestion) -> Plan | str:
        """Plan while no group is being added: sums read meanwhile would hold a part of it."""
        end_s = time.monotonic() + PATIENCE_S
        while (plan := self.plan(question)) == _BUSY and time.monotonic() < end_s:
            time.sleep(_LOOK_S)
        return plan

    def _steadily(
        self, question: SumQuestion, ask: Callable[[Plan, SumQuestion], T | None]
    ) -> T | None:
        """Ask the cells at rest, again where one was added to; None: the records must be asked."""
        end_s = time.monotonic() + PATIENCE_S
        known = self._known(question)
        while True:
            plan, known = self._settled(question) if known is None else known, None
            if isinstance(plan, str) or all(part.shape is None for part in plan.parts):
                return None
            answer = ask(plan, question)
            now = self._cells.state() or {"_id": "", "serial": 0, "pending": None}
            if (now["_id"], now["serial"], now["pending"]) == (plan.side, plan.serial, None):
                return answer
            if time.monotonic() >= end_s:
                return None

    def _known(self, question: SumQuestion) -> Plan | str | None:
        """Give the plan whose source was told a moment ago; what it says of cells is looked at."""
        asked, plan, at_s = self._planned or (None, "", 0.0)
        return plan if asked == question and time.monotonic() - at_s < FRESH_S else None

    def _has_old(self, until: datetime) -> bool:
        """Whether set-up has found documents of another logger that may be of this time."""
        adoption = Ledger(self._location).newest(LedgerEvent.ADOPTION)
        if adoption is None:
            return False
        first = adoption["details"].get("first")
        # Their times are local: a day more.
        return not isinstance(first, datetime) or first - timedelta(days=1) < until

    def _is_small(self) -> bool:
        """Whether there are few records, by the server's own count."""
        records = self._location.database[self._location.names.records]
        with translated("count the records"):
            return records.estimated_document_count(maxTimeMS=5000) < SMALL

    def _behind(self, state: Document) -> str:
        """Say how far rollups are behind, if that is too far; three look-ups by index."""
        names, database = self._location.names, self._location.database
        now = datetime.now(UTC)
        seals, batches = database[names.seals], database[names.leaf_batches]
        with translated("look how far the log is sealed"):
            last = seals.find_one(
                {"_id": {"$gte": 0}}, {"mark": 1}, sort=[("_id", -1)], max_time_ms=5000
            )
            if last is None:
                return "The log is not sealed, so there are no rollups."
            if last["_id"] > state["k"]:
                first = seals.find_one({"_id": state["k"] + 1}, {"at": 1}, max_time_ms=5000)
                if first is not None and now - first["at"] > LATE:
                    behind = last["_id"] - state["k"]
                    return f"Rollups are {behind} seals behind; `affidavit rollups status`."
            newer = {"sent_at": {"$gt": last.get("mark") or EPOCH}}
            waits = batches.find_one(newer, {"sent_at": 1}, sort=[("sent_at", 1)], max_time_ms=5000)
        if waits is not None and now - waits["sent_at"] > LATE:
            return "The sealer is more than a minute behind the log; `affidavit status`."
        return ""

    def _cover(
        self, side: str, question: SumQuestion, since: datetime, until: datetime
    ) -> list[Part]:
        """Cut a span into whole slots and what is left at the ends."""
        shape = next((each for each in _BY_DAY if _fits(each, question)), None)
        if shape is None:
            return self._finer(side, question, since, until)
        slots, ends = self._whole(side, MODELS, question.tz, since, until)
        found = [Part(shape, *slots)] if slots else []
        return [*found, *(p for end in ends for p in self._finer(side, question, *end))]

    def _finer(
        self, side: str, question: SumQuestion, since: datetime, until: datetime
    ) -> list[Part]:
        if not _fits(HOURS, question) or not _whole_hours(question.tz, since, until):
            return [Part(None, since, until)]
        slots, ends = self._whole(side, HOURS, question.tz, since, until)
        found = [Part(HOURS, *slots)] if slots else []
        return [*found, *(Part(None, *end) for end in ends)]

    def _whole(
        self, side: str, shape: Shape, zone: ZoneInfo, since: datetime, until: datetime
    ) -> tuple[tuple[datetime, datetime] | None, list[tuple[datetime, datetime]]]:
        """Give the span of the slots that can be taken whole, and the spans beside it.

        What the days hold is read of the models' cells: they are few, and have every call.
        """
        start, last = (slot_start(shape.slot, at, zone) for at in (since, until))
        end = until if last == until else slot_end(shape.slot, last, zone)
        ends: list[tuple[datetime, datetime]] = []
        if start < since:
            after = slot_end(shape.slot, start, zone)
            times = self._cells.times(side, shape, start, after)
            if times is not None and times[0] < since <= times[1]:
                ends.append((since, min(after, until)))
            if times is None or times[0] < since:
                start = after
        if last < until and last >= start:
            times = self._cells.times(side, shape, last, end)
            if times is not None and times[0] < until <= times[1]:
                ends.append((max(last, since), until))
            if times is None or times[1] >= until:
                end = last
        return ((start, end) if start < end else None), ends

    # -- adding up -------------------------------------------------------------------------------

    def _added_up(self, plan: Plan, question: SumQuestion) -> dict[Key, Sums]:
        found: dict[Key, Sums] = {}
        for part in plan.parts:
            self._merge(question, found, self._sums_of(plan, part, question))
        self._merge(question, found, self._tail_of(plan, question))
        if plan.old:
            for since, until in plan.beside(question):
                span = replace(question, since=since, until=until)
                self._merge(question, found, self._old.sums(span))
        return found

    def _tail_of(self, plan: Plan, question: SumQuestion) -> Iterator[tuple[Key, Sums]]:
        return self._tail.sums(plan.tail, question, plan.beside(question))

    def _sums_of(self, plan: Plan, part: Part, question: SumQuestion) -> Iterable[tuple[Key, Sums]]:
        if part.shape is None:
            span = replace(question, since=part.since, until=part.until)
            return self._raw.sums(span)
        if part.shape is USERS:
            rows = self._cells.of_users(plan.side, question, part)
        else:
            rows = self._cells.of_slots(plan.side, question, part)
        return _named(question, rows)

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
