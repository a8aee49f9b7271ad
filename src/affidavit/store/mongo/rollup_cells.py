"""Reading cells: sums of whole slots, and of days within the months of users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from bson.decimal128 import Decimal128

from affidavit.event import Document, utc_from_ms
from affidavit.store.analytics import Key, SumQuestion, TooManyGroups
from affidavit.store.mongo import counting
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.rollups import CORRECTED_FIRST, CORRECTED_LAST, FIRST, LAST
from affidavit.store.mongo.side_by_side import side_by_side
from affidavit.store.rollups import SIDES
from affidavit.tally.cells import MODELS, USERS, Shape, digest, slot_end, slot_start, slot_text
from affidavit.tally.sums import SKETCHES, Sums
from affidavit.tally.times import UNITS, local_day, start_of_day

if TYPE_CHECKING:
    from affidavit.store.mongo.rollup_totals import Part

    Rows = Iterator[tuple[dict[str, Any], Sums]]
    Stages = list[dict[str, Any]]

MAX_TIME_MS: Final = 60_000
_CURRENT: Final = "current"
_BY_DAY: Final = frozenset({"day", "week", "weekday"})
_ROUND: Final = frozenset({"hour_of_day", "weekday"})
"""Units that come again and again: the many slots of one are added up before they leave."""


@dataclass(frozen=True, slots=True)
class _Month:
    """A month of users' cells, and which of its days are asked for; None: all there are."""

    start: datetime
    text: str
    days: tuple[str, ...] | None


class Cells:
    """Reads the cells of one log; any number of threads may use it."""

    def __init__(self, location: Location) -> None:
        database, names = location.database, location.names
        self._states = database[names.rollup_states]
        self._cells = {side: database[names.rollups(side)] for side in SIDES}

    def state(self) -> Document | None:
        """Give the state of the side that answers, in one question."""
        with translated(f"read {self._states.name}"):
            found = {each["_id"]: each for each in self._states.find({}, max_time_ms=MAX_TIME_MS)}
        current = found.get(_CURRENT)
        return None if current is None else found.get(current["side"])

    def times(
        self, side: str, shape: Shape, start: datetime, end: datetime
    ) -> tuple[datetime, datetime] | None:
        """Tell the first and the last time of what some slots hold; None where they are empty."""
        return self.ends(side, shape, [(start, end)])[start]

    def ends(
        self, side: str, shape: Shape, spans: Sequence[tuple[datetime, datetime]]
    ) -> dict[datetime, tuple[datetime, datetime] | None]:
        """Tell that of several spans of slots, by where each begins, in one question."""
        wanted = {"at": 1, FIRST: 1, LAST: 1, CORRECTED_FIRST: 1, CORRECTED_LAST: 1}
        # A day more on both sides, because days are named in the zone's own time.
        asked = [
            {
                "_id": {
                    "$gte": f"{shape.letter}{start - timedelta(days=1):%Y-%m-%d}",
                    "$lt": f"{shape.letter}{end + timedelta(days=2):%Y-%m-%d}",
                },
                "at": {"$gte": start, "$lt": end},
            }
            for start, end in spans
        ]
        match = {"$or": asked} if len(asked) > 1 else asked[0]
        with translated(f"read {self._cells[side].name}"):
            found = list(self._cells[side].find(match, wanted, max_time_ms=MAX_TIME_MS))
        told: dict[datetime, tuple[datetime, datetime] | None] = {}
        for start, end in spans:
            held = [each for each in found if start <= each["at"] < end]
            first = [each[n] for each in held for n in (FIRST, CORRECTED_FIRST) if n in each]
            last = [each[n] for each in held for n in (LAST, CORRECTED_LAST) if n in each]
            told[start] = (utc_from_ms(min(first)), utc_from_ms(max(last))) if first else None
        return told

    # -- hours and days --------------------------------------------------------------------------

    def of_slots(self, side: str, question: SumQuestion, part: Part) -> Rows:
        """Add up whole slots; by the slot's start, where a unit of time is asked for."""
        shape = part.shape
        assert shape is not None  # noqa: S101 - whoever calls has looked
        low, high = (slot_text(shape, at, question.tz) for at in (part.since, part.until))
        match = {"_id": {"$gte": low, "$lt": high}, **_chosen(question)}
        names = _named(question)
        if question.measures & set(SKETCHES):
            yield from self._with_sketches(side, question, match, names)
            return
        sums = _added(question)
        stages: Stages = [
            {"$match": match},
            {"$group": {"_id": {n: f"${n}" for n in names}, **sums}},
        ]
        if set(question.by) & set(UNITS) <= _ROUND:
            stages += _round(question, sums)
        for row in self._run(side, question, stages):
            yield row["_id"] | ({"at": row["at"]} if "at" in row else {}), _sums(row)

    def _with_sketches(
        self, side: str, question: SumQuestion, match: dict[str, Any], names: Sequence[str]
    ) -> Rows:
        """Add up here: the database cannot add fields whose names it does not know."""
        wanted = [*names, *_counters(question), FIRST, LAST]
        sketches = [name for name in SKETCHES if name in question.measures]
        found: dict[tuple[Any, ...], tuple[dict[str, Any], Sums]] = {}
        with translated("read rollups"):
            rows = self._cells[side].find(
                match,
                dict.fromkeys((*wanted, *sketches), 1) | {"_id": 0},
                batch_size=5000,
                max_time_ms=MAX_TIME_MS,
            )
            for row in rows:
                values = {name: row.get(name) for name in names}
                sums = _sums(row)
                for name in sketches:
                    buckets = {int(b): int(n) for b, n in row.get(name, {}).items()}
                    getattr(sums, name).buckets = buckets
                held = found.setdefault(tuple(values.values()), (values, sums))
                if held[1] is not sums:
                    held[1].merge(sums)
                if len(found) > question.limit * _SLOTS_A_GROUP:
                    raise TooManyGroups(question.by, question.limit)
        yield from found.values()

    # -- users -----------------------------------------------------------------------------------

    def of_users(
        self, side: str, question: SumQuestion, part: Part, only: Sequence[Key] | None = None
    ) -> Rows:
        """Add up whole days of users' months; ``only`` some groups, by the question's keys."""
        months = self._months(side, question.tz, part)
        names = _named(question)
        chosen = _only(question, only)
        if set(question.by) & _BY_DAY:
            yield from self._day_by_day(side, question, months, names)
            return
        stages = _united(
            self._cells[side].name,
            [_of_month(question, month, names, _counters(question), chosen) for month in months],
        )
        stages.append({"$group": {"_id": {n: f"${n}" for n in names}, **_added(question)}})
        for row in self._run(side, question, stages):
            yield row["_id"], _sums(row)

    def highest(
        self, side: str, question: SumQuestion, part: Part, counter: str, count: int
    ) -> list[Key]:
        """Name the groups with the highest value of one counter; nothing else is added up."""
        return [key for key, _ in self.ranked(side, question, part, counter, count)]

    def ranked(
        self, side: str, question: SumQuestion, part: Part, counter: str, count: int
    ) -> list[tuple[Key, int]]:
        """Give the groups with the highest value of one counter, and that value."""
        months = self._months(side, question.tz, part)
        names = _named(question)
        group = {n: f"${n}" for n in names} if len(names) > 1 else f"${names[0]}"

        def best(piece: tuple[str, str]) -> list[tuple[Key, int]]:
            stages: Stages = [
                {"$match": {**_within(months, piece), **_chosen(question)}},
                {"$group": {"_id": group, "v": {"$sum": _by_month(months, counter)}}},
                {"$sort": {"v": -1, "_id": 1}},
                {"$limit": count},
            ]
            found = []
            for row in self._cells[side].aggregate(stages, maxTimeMS=MAX_TIME_MS):
                values = row["_id"] if len(names) > 1 else {names[0]: row["_id"]}
                found.append((tuple(values.get(name) for name in question.by), _whole(row["v"])))
            return found

        pieces = _pieces(question, names)
        with translated("read rollups"):
            rows = [
                row for piece in side_by_side([partial(best, each) for each in pieces])
                for row in piece
            ]  # fmt: skip
        rows.sort(key=lambda row: (-row[1], [(value is not None, value or "") for value in row[0]]))
        return rows[:count]

    def users(self, side: str, question: SumQuestion, part: Part) -> int:
        """Count the users, whatever their departments, that have a call in whole days."""
        months = self._months(side, question.tz, part)

        def counted(piece: tuple[str, str]) -> int:
            parts = [
                _of_month(question, month, ["user_id"], ["calls"], {}, piece=piece, lean=True)
                for month in months
            ]
            stages = _united(self._cells[side].name, parts)
            stages += [
                {"$match": {"user_id": {"$ne": None}, "calls": {"$gt": 0}}},
                {"$group": {"_id": "$user_id"}},
                {"$count": "n"},
            ]
            rows = self._cells[side].aggregate(stages, maxTimeMS=MAX_TIME_MS)
            return sum(int(row["n"]) for row in rows)

        with translated("read rollups"):
            pieces = _pieces(question, ["user_id"])
            return sum(side_by_side([partial(counted, each) for each in pieces]))

    def _day_by_day(
        self, side: str, question: SumQuestion, months: list[_Month], names: Sequence[str]
    ) -> Rows:
        for month in months:
            match = _matching(question, month, {})
            days = "d" if month.days is None else [f"d.{day}" for day in month.days]
            wanted = [*names, *([days] if isinstance(days, str) else days)]
            with translated("read rollups"):
                rows = self._cells[side].find(
                    match, dict.fromkeys(wanted, 1), batch_size=5000, max_time_ms=MAX_TIME_MS
                )
                first = local_day(month.start, question.tz)
                for row in rows:
                    for day, held in row.get("d", {}).items():
                        values = {name: row.get(name) for name in names}
                        at = start_of_day(first.replace(day=int(day)), question.tz)
                        yield values | {"at": at}, _sums(held, _counters(question))

    def _months(self, side: str, zone: ZoneInfo, part: Part) -> list[_Month]:
        """Cut a span of days into months; one with nothing outside of the span is taken whole."""
        found = []
        start = slot_start("month", part.since, zone)
        while start < part.until:
            end = slot_end("month", start, zone)
            inside = max(start, part.since), min(end, part.until)
            beside = [(start, inside[0]), (inside[1], end)]
            whole = all(
                low >= high or self.times(side, MODELS, low, high) is None for low, high in beside
            )
            days = None if whole else tuple(_days(*inside, zone))
            found.append(_Month(start, slot_text(USERS, start, zone), days))
            start = end
        return found

    def _run(self, side: str, question: SumQuestion, stages: Stages) -> Iterator[Document]:
        limit = question.limit * _SLOTS_A_GROUP
        with translated("read rollups"):
            rows = self._cells[side].aggregate(stages, maxTimeMS=MAX_TIME_MS, batchSize=10_000)
            for n, row in enumerate(rows):
                if n == limit:
                    raise TooManyGroups(question.by, question.limit)
                yield row


_SLOTS_A_GROUP: Final = 20
"""Several slots may make one group (hours of a day): rows that are read at most, for each."""

_ALL: Final = ("/", "0")
"""Where ids of a month begin and end, after its text: ``/`` is followed by ``0``."""

_HALVES: Final = (("/", "/V"), ("/V", "0"))
"""The same in two pieces: ids go on with a hash of the user, whose first letter halves them."""

_SPAN: Final = {FIRST: {"$min": f"${FIRST}"}, LAST: {"$max": f"${LAST}"}}


def _days(since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[str]:
    day, last = local_day(since, zone), local_day(until - timedelta(milliseconds=1), zone)
    while day <= last:
        yield f"{day:%d}"
        day += timedelta(days=1)


def _named(question: SumQuestion) -> list[str]:
    """Name the fields of a cell by which it is grouped."""
    names = [name for name in question.by if name not in UNITS]
    return [*names, "at"] if len(names) < len(question.by) else names


def _counters(question: SumQuestion) -> list[str]:
    return sorted(question.counters)


def _added(question: SumQuestion) -> dict[str, Any]:
    """Add up the counters that are wanted, and find the first and the last time."""
    sums = {name: {"$sum": f"${name}"} for name in _counters(question)}
    return sums if question.needs else sums | _SPAN


def _round(question: SumQuestion, sums: Mapping[str, Any]) -> Stages:
    """Add up slots of the same hour of the day, or weekday; one of their starts names them."""
    if not set(question.by) & set(UNITS):
        return []
    names = [name for name in question.by if name not in UNITS]
    each = {name: f"$_id.{name}" for name in names} | counting.grouped(question)
    return [
        {"$set": {"at": "$_id.at"}},
        *counting.times(question),
        {"$group": {"_id": each, "at": {"$min": "$at"}, **sums}},
    ]


def _chosen(question: SumQuestion) -> dict[str, Any]:
    """Choose cells by filters, and by what the asker may see: both hold where both name a key."""
    allowed = [{name: {"$in": list(each)}} for name, each in question.within.items()]
    return {**question.filters, **({"$and": allowed} if allowed else {})}


def _only(question: SumQuestion, only: Sequence[Key] | None) -> dict[str, Any]:
    """Choose some groups: exactly where there is one key, else by each key, which is enough."""
    if only is None:
        return {}
    return {
        name: {"$in": sorted({key[n] for key in only}, key=lambda v: v or "")}
        for n, name in enumerate(question.by)
    }


def _pieces(question: SumQuestion, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Say in which pieces users are added up: no user is in two, groups of others could be."""
    in_pieces = "user_id" in names and "user_id" not in question.filters
    return _HALVES if in_pieces else (_ALL,)


def _within(months: Sequence[_Month], piece: tuple[str, str]) -> dict[str, Any]:
    """Choose a piece of some months' cells. Months follow each other: whole, they are one range."""
    low, high = piece
    if piece == _ALL:
        return {"_id": {"$gte": f"{months[0].text}{low}", "$lt": f"{months[-1].text}{high}"}}
    ranges = [(f"{month.text}{low}", f"{month.text}{high}") for month in months]
    return {"$or": [{"_id": {"$gte": begin, "$lt": end}} for begin, end in ranges]}


def _matching(
    question: SumQuestion,
    month: _Month,
    chosen: Mapping[str, Any],
    piece: tuple[str, str] = _ALL,
) -> dict[str, Any]:
    """Choose the cells of a month; those of some users by the beginning of their ids."""
    low, high = (f"{month.text}{end}" for end in piece)
    if "user_id" in question.filters:  # then it is the whole
        low = f"{low}{digest((question.filters['user_id'],))}"
        high = f"{low}~"
    match: dict[str, Any] = {"_id": {"$gte": low, "$lt": high}, **_chosen(question)}
    match |= {name: value for name, value in chosen.items() if name not in question.filters}
    users = chosen.get("user_id", {}).get("$in")
    if users is not None:  # a short range of the index for each
        begin = [f"{month.text}/{digest((user,))}" for user in users]
        ranges = {"$or": [{"_id": {"$gte": each, "$lt": f"{each}~"}} for each in begin]}
        match["$and"] = [*match.get("$and", ()), ranges]
    if month.days is not None:
        match["$or"] = [{f"d.{day}": {"$exists": True}} for day in month.days]
    return match


def _of_month(
    question: SumQuestion,
    month: _Month,
    names: Sequence[str],
    counters: Sequence[str],
    chosen: Mapping[str, Any],
    *,
    piece: tuple[str, str] = _ALL,
    lean: bool = False,
) -> Stages:
    """Write the stages that give a month's cells of users, with sums of the chosen days."""
    match = _matching(question, month, chosen, piece)
    fields: dict[str, Any] = {"_id": 0, **dict.fromkeys(names, 1)}
    if month.days is None:
        fields |= dict.fromkeys(counters, 1)
        if not lean and not question.needs:
            fields |= {FIRST: 1, LAST: 1}
        return [{"$match": match}, {"$project": fields}]
    if lean:
        del match["$or"]  # adding up zeros is quicker than looking first
    for name in counters:
        # It passes over days that are absent, in half the time of an $add that replaces them.
        fields[name] = {"$sum": [f"$d.{day}.{name}" for day in month.days]}
    if not lean and not question.needs:
        fields[FIRST] = {"$min": [f"$d.{day}.{FIRST}" for day in month.days]}
        fields[LAST] = {"$max": [f"$d.{day}.{LAST}" for day in month.days]}
    return [{"$match": match}, {"$project": fields}]


def _by_month(months: Sequence[_Month], counter: str) -> Any:
    """Write what a cell adds to a counter; only the first and the last month can be in part."""
    first, last = months[0], months[-1]
    if len(months) == 1:
        return _of_days(first, counter)
    said: Any = f"${counter}"
    if last.days is not None:
        said = {"$cond": [{"$lt": ["$_id", last.text]}, said, _of_days(last, counter)]}
    if first.days is not None:
        said = {"$cond": [{"$lt": ["$_id", months[1].text]}, _of_days(first, counter), said]}
    return said


def _of_days(month: _Month, counter: str) -> Any:
    if month.days is None:
        return f"${counter}"
    return {"$sum": [f"$d.{day}.{counter}" for day in month.days]}


def _united(name: str, months: list[Stages]) -> Stages:
    """Put the months behind each other."""
    first, *others = months
    return [*first, *({"$unionWith": {"coll": name, "pipeline": stages}} for stages in others)]


def _sums(row: Mapping[str, Any], only: Sequence[str] | None = None) -> Sums:
    sums = Sums()
    for name in _SUMMED if only is None else (*only, FIRST, LAST):
        value = row.get(name)
        if value is not None:
            setattr(sums, name, _whole(value))
    return sums


_SUMMED: Final = tuple(frozenset(Sums.__slots__) - frozenset(SKETCHES))


def _whole(value: Any) -> int:
    return int(value.to_decimal()) if isinstance(value, Decimal128) else int(value)
