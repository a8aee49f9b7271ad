"""Reading months of users together with what waits in bundles to be added to them.

A keeper adds bundles to the months of a sixteenth of all users at a time, so most of the newest
groups lie in bundles while calls arrive in great numbers, and nothing does a few minutes later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from affidavit.event import Document
from affidavit.store.analytics import Key, SumQuestion
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.rollup_cells import _BY_DAY, MAX_TIME_MS, Cells, _counters, _sums
from affidavit.store.mongo.rollups import FIRST, LAST
from affidavit.tally.bundles import piece_of
from affidavit.tally.cells import USERS
from affidavit.tally.sums import Sums
from affidavit.tally.times import UNITS, start_of_day, start_of_month

if TYPE_CHECKING:
    from affidavit.store.mongo.rollup_totals import Part

    Rows = Iterator[tuple[dict[str, Any], Sums]]

_MORE: Final = 200
"""Groups that are ranked beyond those asked for: what waits rarely lifts one from below them."""

_AT_ONCE: Final = 100


class AllCells(Cells):
    """Cells, and bundles; any number of threads may use it."""

    def of_users(
        self, side: str, question: SumQuestion, part: Part, only: Sequence[Key] | None = None
    ) -> Rows:
        """Add up whole days of users' months and of what waits; a group may come twice."""
        yield from super().of_users(side, question, part, only)
        yield from self._waiting(side, question, part, only)

    def highest(
        self, side: str, question: SumQuestion, part: Part, counter: str, count: int
    ) -> list[Key]:
        """Name the groups that can have the highest values of one counter; some more than asked."""
        waiting = {
            tuple(values[name] for name in question.by): getattr(sums, counter)
            for values, sums in self._waiting(side, question, part, counters=[counter])
        }
        if not waiting:
            return super().highest(side, question, part, counter, count)
        most = count + _MORE
        ranked = self.ranked(side, question, part, counter, most)
        totals = {key: value + waiting.pop(key, 0) for key, value in ranked}
        below = 0
        if len(ranked) < most:  # whoever is not ranked has nothing beside what waits
            totals |= waiting
            waiting = {}
        else:  # whoever is not ranked has as much as the last one at most
            below = ranked[-1][1]
        if len(totals) < count:
            return list(totals)
        limit = sorted(totals.values(), reverse=True)[count - 1]
        return [
            *(key for key, value in totals.items() if value >= limit),
            *(key for key, value in waiting.items() if value + below >= limit),
        ]

    def users(self, side: str, question: SumQuestion, part: Part) -> int:
        """Count the users, whatever their departments, that have a call in whole days."""

        def named(rows: Rows) -> set[str | None]:
            return {values["user_id"] for values, sums in rows if sums.calls} - {None}

        newest = named(self._waiting(side, question, part, counters=["calls"]))
        if not newest:
            return super().users(side, question, part)
        return len(newest | named(super().of_users(side, question, part)))

    def _waiting(
        self,
        side: str,
        question: SumQuestion,
        part: Part,
        only: Sequence[Key] | None = None,
        counters: Sequence[str] | None = None,
    ) -> Rows:
        """Add up what bundles hold of whole days; each group once.

        With ``counters`` nothing but these is added up, and no times.
        """
        with translated(f"read {self._states.name}"):
            state = self._states.find_one({"_id": side}, max_time_ms=MAX_TIME_MS) or {}
        if not state.get("bundles"):
            return
        names = [name for name in question.by if name not in UNITS]
        slots = [] if len(names) == len(question.by) else ["slot"]
        slots += ["day"] if set(question.by) & _BY_DAY else []
        days = {month.text: month.days for month in self._months(side, question.tz, part)}
        wanted = [*_counters(question), FIRST, LAST] if counters is None else counters
        added = _Added(wanted)
        for held in self._bundles(side, state, question, wanted):
            added.add(held, _chosen(held, question, days, only), [*slots, *names])
        for key, row in added.rows():
            said: dict[str, Any] = dict(zip(names, key[len(slots) :], strict=True))
            if slots:
                year, month = int(key[0][1:5]), int(key[0][6:8])
                said["at"] = (
                    start_of_month(year, month, question.tz)
                    if len(slots) == 1
                    else start_of_day(date(year, month, int(key[1])), question.tz)
                )
            yield said, _sums(row)

    def _bundles(
        self, side: str, state: Document, question: SumQuestion, wanted: Sequence[str]
    ) -> Iterator[Document]:
        """Give the bundles that are to be added: neither in the cells yet, nor left by the dead."""
        user = question.filters.get("user_id")
        pieces = state["bundles"] if user is None else [piece_of(user)]
        begin = {"$gte": f"b{min(pieces)}/", "$lt": f"b{max(pieces)}0"}
        keys = {*question.by, *question.filters, *question.within} & set(USERS.keys)
        fields = ("piece", "serial", "slot", "day", *sorted(keys), *wanted)
        merged = state.get("merged") or {}
        with translated("read rollups"):
            for held in self._cells[side].find(
                {"_id": begin},
                dict.fromkeys(fields, 1),
                batch_size=_AT_ONCE,
                max_time_ms=MAX_TIME_MS,
            ):
                newest = state["bundles"].get(held["piece"], -1)
                if merged.get(held["piece"], 0) < held["serial"] <= newest:
                    yield held


def _chosen(
    held: Document,
    question: SumQuestion,
    days: dict[str, tuple[str, ...] | None],
    only: Sequence[Key] | None,
) -> Sequence[int]:
    """Choose the entries of a bundle that a question is about."""
    whole = {slot for slot, some in days.items() if some is None}
    some = {(slot, day) for slot, each in days.items() for day in each or ()}
    places: Sequence[int] = [
        n
        for n, at in enumerate(zip(held["slot"], held["day"], strict=True))
        if at in some or at[0] in whole
    ]
    allowed = [(name, {value}) for name, value in question.filters.items()]
    allowed += [(name, set(values)) for name, values in question.within.items()]
    if only is not None:
        named = [(n, name) for n, name in enumerate(question.by) if name not in UNITS]
        allowed += [(name, {key[n] for key in only}) for n, name in named]
    for name, values in allowed:
        column = held[name]
        places = [n for n in places if column[n] in values]
    return places


class _Added:
    """Entries of bundles added up by group: a column for each counter, as they come."""

    def __init__(self, names: Sequence[str]) -> None:
        self._groups: dict[tuple[Any, ...], int] = {}
        self._columns: dict[str, list[Any]] = {name: [] for name in names}

    def add(self, held: Document, places: Sequence[int], keys: Sequence[str]) -> None:
        """Add the entries at some places of a bundle."""
        found, begun = self._groups, len(self._groups)
        named = [[held[key][n] for n in places] for key in keys]
        each = zip(*named, strict=True) if named else repeat((), len(places))
        groups = [found.setdefault(key, len(found)) for key in each]
        for name, column in self._columns.items():
            timed = name in {FIRST, LAST}
            column.extend([None if timed else 0] * (len(found) - begun))
            values = held.get(name)
            if values is None:
                continue
            if timed:
                outer = min if name == FIRST else max
                for group, place in zip(groups, places, strict=True):
                    value, known = values[place], column[group]
                    if value is not None:
                        column[group] = value if known is None else outer(known, value)
            else:
                for group, place in zip(groups, places, strict=True):
                    column[group] += int(values[place])

    def rows(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Give each group, and what it adds up to."""
        columns = zip(*self._columns.values(), strict=True)
        for key, values in zip(self._groups, columns, strict=False):
            yield key, dict(zip(self._columns, values, strict=True))
