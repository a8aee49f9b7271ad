"""Reading months of users together with what waits in bundles to be added to them.

A keeper adds bundles to the months of a sixteenth of all users at a time, so most of the newest
groups lie in bundles while calls arrive in great numbers, and nothing does a few minutes later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
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
            for values, sums in self._waiting(side, question, part)
        }
        if not waiting:
            return super().highest(side, question, part, counter, count)
        most = count + _MORE
        ranked = self.ranked(side, question, part, counter, most)
        totals = {key: value + waiting.get(key, 0) for key, value in ranked}
        # Whoever is not ranked has at most the last one's value, or nothing if all were ranked.
        below = ranked[-1][1] if len(ranked) == most else 0
        limit = sorted(totals.values(), reverse=True)[count - 1] if len(totals) >= count else None
        return [
            *totals,
            *(
                key
                for key, value in waiting.items()
                if key not in totals and (limit is None or value + below >= limit)
            ),
        ]

    def users(self, side: str, question: SumQuestion, part: Part) -> int:
        """Count the users, whatever their departments, that have a call in whole days."""

        def named(rows: Rows) -> set[str | None]:
            return {values["user_id"] for values, sums in rows if sums.calls} - {None}

        newest = named(self._waiting(side, question, part))
        if not newest:
            return super().users(side, question, part)
        return len(newest | named(super().of_users(side, question, part)))

    def _waiting(
        self, side: str, question: SumQuestion, part: Part, only: Sequence[Key] | None = None
    ) -> Rows:
        """Add up what bundles hold of whole days; each group once."""
        with translated(f"read {self._states.name}"):
            state = self._states.find_one({"_id": side}, max_time_ms=MAX_TIME_MS) or {}
        if not state.get("bundles"):
            return
        names = [name for name in question.by if name not in UNITS]
        timed = len(names) < len(question.by)
        by_day = bool(set(question.by) & _BY_DAY)
        counters = _counters(question)
        days = {m.text: m.days for m in self._months(side, question.tz, part)}
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for held in self._bundles(side, state, question, counters):
            columns = [held[name] for name in names]
            slots = held["slot"], held["day"]
            counted = [(name, held[name]) for name in (*counters, FIRST, LAST) if name in held]
            for place in _chosen(held, question, days, only):
                at = (slots[0][place], slots[1][place] if by_day else "") if timed else None
                key = (at, *(column[place] for column in columns))
                row = found.setdefault(key, {})
                for name, column in counted:
                    _add(row, name, column[place])
        for (at, *values), row in found.items():
            said: dict[str, Any] = dict(zip(names, values, strict=True))
            if at is not None:
                year, month = int(at[0][1:5]), int(at[0][6:8])
                said["at"] = (
                    start_of_day(date(year, month, int(at[1])), question.tz)
                    if by_day
                    else start_of_month(year, month, question.tz)
                )
            yield said, _sums(row)

    def _bundles(
        self, side: str, state: Document, question: SumQuestion, counters: Sequence[str]
    ) -> Iterator[Document]:
        """Give the bundles that are to be added: neither in the cells yet, nor left by the dead."""
        user = question.filters.get("user_id")
        pieces = state["bundles"] if user is None else [piece_of(user)]
        begin = {"$gte": f"b{min(pieces)}/", "$lt": f"b{max(pieces)}0"}
        wanted = (
            "piece", "serial", "slot", "day", *USERS.keys, *counters, FIRST, LAST,
        )  # fmt: skip
        merged = state.get("merged") or {}
        with translated("read rollups"):
            for held in self._cells[side].find(
                {"_id": begin},
                dict.fromkeys(wanted, 1),
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


def _add(row: dict[str, Any], name: str, value: Any) -> None:
    """Add a counter, or keep the first or the last time."""
    if value is None:
        return
    if name == FIRST:
        row[name] = min(row.get(name, value), value)
    elif name == LAST:
        row[name] = max(row.get(name, value), value)
    else:
        row[name] = row.get(name, 0) + int(value)
