"""Keeping rollups up with the log: what is sealed goes into the cells, in the order of the log.

Seals are taken in groups. A group is written down in the side's state, with what it leaves out,
before anything of it is applied; then each cell takes it if its own watermark is lower; then the
state goes on. Whoever dies in between leaves a group that the next one applies again, which changes
nothing twice. Two keepers at once do the same work, and that is all.

Months of users are many, and a group touches most of them a little. So what users add up to is kept
in bundles first, and after each group one sixteenth of all users is brought up to date with theirs.

A leaf may be sealed before its record is stored, in an outage above all. Such a seal is waited for;
after :data:`GRACE` its group goes on without the record, which is looked for from time to time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from affidavit.errors import StoreRefused
from affidavit.event import Document
from affidavit.integrity.leaves import RECORDS
from affidavit.store.rollups import SIDES, Numbers, RollupStore, as_list, as_numbers
from affidavit.store.sealing import SealStore
from affidavit.tally.bundles import unpack
from affidavit.tally.cells import USERS, Cell, Fold
from affidavit.tally.columns import Table
from affidavit.tally.facts import Correction, correction_of
from affidavit.tally.pace import HURRY, Pace
from affidavit.tally.times import local_day, start_of_day

MOST_LEAVES: Final = 50_000
"""Leaves of one group; a seal holds as many at most, and is never split."""

GRACE: Final = timedelta(seconds=60)
"""How long a sealed record that is not stored yet is waited for."""

LOOK_AGAIN: Final = timedelta(seconds=60)
"""How often records that did not come are looked for."""

GIVE_UP: Final = timedelta(days=7)
"""In a seal that is older when it is folded, what is missing is not looked for again."""

THEIRS: Final = timedelta(seconds=30)
"""So long another keeper's group is left to it."""

BUILDING: Final = timedelta(minutes=2)
"""Rebuilding that has done nothing for so long has ended; groups take seconds."""

PRUNE_EVERY: Final = timedelta(hours=1)
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_READ: Final = 20_000
_NOT_TOLD: Final = b"\xff"
"""Class of a leaf whose batch does not say it: its record is not waited for."""
_MOST_MISSING: Final = 1000
"""Runs of missing numbers that are remembered; the newest."""


@dataclass(slots=True)
class _Read:
    """What the store has of some seals, or of numbers that came late."""

    calls: Table = field(default_factory=Table)
    corrections: list[tuple[Correction, int]] = field(default_factory=list)
    missing: list[Numbers] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.calls) + len(self.corrections)

    def cut(self, before: int) -> None:
        """Leave out what is in seal ``before`` and those after it."""
        self.calls.cut(before)
        self.corrections = [each for each in self.corrections if each[1] < before]
        self.missing = [each for each in self.missing if each.k < before]

    def cells(self, state: Document, pace: Pace) -> tuple[list[Cell], list[Cell]]:
        """Sort it into cells; those of users apart."""
        fold = Fold(ZoneInfo(state["zone"]), state.get("since"))
        self.calls.fold(fold, pace)
        for correction, k in self.corrections:
            fold.add(correction, k)
        users = [cell for cell in fold.cells if cell.shape is USERS]
        return [cell for cell in fold.cells if cell.shape is not USERS], users


class Keeper:
    """Folds one side; for one thread. Without a side, the one that answers questions."""

    def __init__(
        self,
        seals: SealStore,
        rollups: RollupStore,
        *,
        side: str | None = None,
        most_leaves: int = MOST_LEAVES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pace: Pace = HURRY,
    ) -> None:
        """``pace``: gentle inside an application."""
        self._pace = pace
        self._seals = seals
        self._rollups = rollups
        self._side = side
        self._most_leaves = most_leaves
        self._clock = clock
        self._looked_at = self._pruned_at = _LONG_AGO
        self.k = -1
        """The newest seal that is known to be in the cells."""
        self.more = False
        """Whether the last group was cut off at its size."""

    def step(self) -> int | None:
        """Apply one group; tells how many calls it had, and None if there is nothing to do.

        Raises StoreError; then nothing is lost, and the next step goes on.
        """
        with self._pace.undisturbed():
            return self._step()

    def _step(self) -> int | None:
        state = self._state()
        now, pending = self._clock(), state.get("pending")
        if pending is not None:
            if now - pending["begun"] < THEIRS and self.k >= 0:
                return None
            if "piece" in pending:
                self._merge(state, pending)
                return 0
            read, late = self._read_again(state, pending)
        else:
            planned = self._plan(state, now)
            if planned is None:
                self._merge_next(state)
                self._prune(now)
                return None
            pending, read, late = planned
            if late and state.get("bundles"):
                # They belong to seals of which some may wait in bundles: those go first.
                self.settle()
                self._looked_at = _LONG_AGO
                return self._step()
            if not self._rollups.write_down(state, pending):
                return 0
        self._apply(state, pending, read, late)
        self._merge_next(self._state())
        return len(read) + len(late)

    def catch_up(self, tell: Callable[[int, int], None] | None = None) -> int:
        """Apply everything there is; returns how many calls. ``tell``: seal reached, calls."""
        total = 0
        while (count := self.step()) is not None:
            total += count
            if tell is not None:
                tell(self.k, total)
        self.settle()
        return total

    def settle(self) -> None:
        """Bring the months of all users up to date."""
        while self._merge_next(self._state()):
            pass

    # -- months of users -------------------------------------------------------------------------

    def _merge_next(self, state: Document) -> bool:
        """Bring the users of one piece up to date, that which waits longest; False if none does."""
        waiting, merged = state.get("bundles") or {}, state.get("merged") or {}
        if not waiting or state.get("pending") is not None:
            return False
        piece = min(waiting, key=lambda piece: (merged.get(piece, 0), piece))
        group = {
            "serial": state["serial"] + 1,
            "piece": piece,
            "to": waiting[piece],
            "begun": self._clock(),
        }
        if self._rollups.write_down(state, group):
            with self._pace.undisturbed():
                self._merge(state, group)
        return True

    def _merge(self, state: Document, pending: Document) -> None:
        """Add the bundles of a piece to its cells, of which each knows by its ``k`` what it has.

        Bundles go when all of them are added. Whoever finds but a part of them, comes later.
        """
        side, piece, upto = state["_id"], pending["piece"], pending["to"]
        merged = state.get("merged") or {}
        held = self._rollups.bundles(side, piece, merged.get(piece, 0), upto)
        # All are read before any is written: one connection serves both inside an application.
        cells = list(unpack(self._pace.through(held), ZoneInfo(state["zone"])))
        self._rollups.add(side, cells, pace=self._pace)
        self._rollups.forget(side, piece, upto)
        changes = {
            "serial": pending["serial"],
            "merged": merged | {piece: upto},
            "bundles": {p: n for p, n in state["bundles"].items() if p != piece},
        }
        self._rollups.finish(side, pending["serial"], changes)

    # -- what is next ----------------------------------------------------------------------------

    def _state(self) -> Document:
        side = self._side
        if side is None:
            current = self._rollups.current() or self._rollups.begin(
                self._rollups.zone(), self.floor()
            )
            side = current["side"]
        state = self._rollups.state(side)
        if state is None:  # begun a moment ago by another one, or removed by hand
            self._rollups.start_over(side, self._rollups.zone(), self.floor(), -1)
            state = self._rollups.state(side)
            assert state is not None  # noqa: S101 - it was made above
        return state

    def floor(self) -> datetime | None:
        """Tell the first day of which not all records have expired: its start."""
        kept = self._rollups.retention()
        if kept is None:
            return None
        zone = ZoneInfo(self._rollups.zone())
        return start_of_day(local_day(self._clock() - kept, zone), zone)

    def _plan(self, state: Document, now: datetime) -> tuple[Document, _Read, _Read] | None:
        """Choose the next group, and read what it has, and what has come late."""
        seals: list[Document] = []
        leaves, self.more = 0, False
        for seal in self._seals.seals(state["k"] + 1):
            if seals and leaves + seal["n"] > self._most_leaves:
                self.more = True
                break
            seals.append(seal)
            leaves += seal["n"]
        read = self._read(seals)
        young = [
            n.k
            for n in read.missing
            if now - next(s["at"] for s in seals if s["_id"] == n.k) < GRACE
        ]
        if young:  # their records may come at any moment
            seals = [seal for seal in seals if seal["_id"] < min(young)]
            read.cut(min(young))
        late = self._come_late(state, now)
        if not seals and not late:
            return None
        group = {
            "serial": state["serial"] + 1,
            "to": seals[-1]["_id"] if seals else state["k"],
            "at": seals[-1]["at"] if seals else state["at"],
            "late": as_list(late),
            "missing": as_list(read.missing),
            "begun": now,
        }
        return group, read, self._look_up(late)

    def _come_late(self, state: Document, now: datetime) -> list[Numbers]:
        """List those of the missing numbers that have a record now."""
        missing = as_numbers(state.get("missing", ()))
        if not missing or now - self._looked_at < LOOK_AGAIN:
            return []
        self._looked_at = now
        found: list[Numbers] = []
        for each in missing:
            there = self._rollups.stored(each.writer, each.first, each.many, each.many)
            found += [each] if there is None else _runs(each, there)
        return found

    def _read_again(self, state: Document, pending: Document) -> tuple[_Read, _Read]:
        """Read the group that somebody has written down."""
        seals = []
        for seal in self._seals.seals(state["k"] + 1):
            if seal["_id"] > pending["to"]:
                break
            seals.append(seal)
        left_out = {
            (n.writer, seq)
            for n in as_numbers(pending["missing"])
            for seq in range(n.first, n.first + n.many)
        }
        return self._read(seals, left_out), self._look_up(as_numbers(pending["late"]))

    # -- reading ---------------------------------------------------------------------------------

    def _read(
        self, seals: Iterable[Document], left_out: set[tuple[str, int]] | None = None
    ) -> _Read:
        """Read what seals hold, and find what is not there yet."""
        numbers: list[Numbers] = []
        expected: dict[Numbers, bytes] = {}
        for seal in seals:
            items = [item for item in seal["items"] if "b" in item]
            classes = self._rollups.classes([item["b"] for item in items])
            for item in items:
                writer, _, start = str(item["b"]).rpartition(":")
                into, count = int(item.get("from", 0)), int(item["n"])
                each = Numbers(seal["_id"], writer, int(start) + into, count)
                numbers.append(each)
                said = classes.get(item["b"], b"")[into : into + count]
                expected[each] = said.ljust(count, _NOT_TOLD)
        return self._look_up(numbers, expected, left_out)

    def _look_up(
        self,
        numbers: list[Numbers],
        expected: dict[Numbers, bytes] | None = None,
        left_out: set[tuple[str, int]] | None = None,
    ) -> _Read:
        """Read what has these numbers; ``expected`` are the classes of the leaves of each."""
        read = _Read()
        by_writer: dict[str, list[Numbers]] = {}
        for each in numbers:
            by_writer.setdefault(each.writer, []).append(each)
        for writer, runs in by_writer.items():
            runs.sort(key=lambda run: run.first)
            starts, seals = [run.first for run in runs], [run.k for run in runs]
            out = {seq for name, seq in left_out or () if name == writer}
            for some in _joined(runs):
                first, many = some[0].first, sum(run.many for run in some)
                told = expected or {}
                classes = b"".join(told.get(run, _NOT_TOLD * run.many) for run in some)
                # Looked for before it is read: what comes in between is missing, and comes late.
                stored = self._rollups.stored(writer, first, many, classes.count(RECORDS))
                if stored is not None:
                    absent = {
                        first + at for at, kind in enumerate(classes) if kind == RECORDS
                    } - stored
                    read.missing += [part for run in some for part in _runs(run, absent)]
                    out |= absent
                for page in self._rollups.calls(writer, first, many, self._pace):
                    self._pace.rest()
                    rows = [row for row in page.calls if row[0] not in out] if out else page.calls
                    ks = [seals[bisect_right(starts, row[0]) - 1] for row in rows]
                    read.calls.extend(rows, ks)
                    for document in page.corrections:
                        correction = correction_of(document)
                        if correction is not None and document["seq"] not in out:
                            k = seals[bisect_right(starts, document["seq"]) - 1]
                            read.corrections.append((correction, k))
        return read

    # -- afterwards ------------------------------------------------------------------------------

    def _apply(self, state: Document, pending: Document, read: _Read, late: _Read) -> None:
        """Add a group to cells and bundles, and note that it is there."""
        side, serial, pace = state["_id"], pending["serial"], self._pace
        cells, users = read.cells(state, pace)
        self._rollups.add(side, cells, pace=pace)
        pieces = self._rollups.hold(side, users, serial, pace)
        # Numbers that came late belong to seals that were folded before this group.
        for some in late.cells(state, pace) if late else ():
            self._rollups.add(side, some, serial, pace)
        self._finish(state, pending, pieces)

    def _finish(self, state: Document, pending: Document, pieces: Iterable[str]) -> None:
        late, now = set(as_numbers(pending["late"])), self._clock()
        still = [
            part for each in as_numbers(state.get("missing", ())) for part in _without(each, late)
        ]
        oldest = now - GIVE_UP
        # What is missing in old seals has expired, or never comes.
        lately = pending["at"] is not None and pending["at"] > oldest
        missing = [*still, *as_numbers(pending["missing"])] if lately else []
        changes = {
            "k": pending["to"],
            "serial": pending["serial"],
            "at": pending["at"],
            "folded_at": now,
            "missing": as_list(missing[-_MOST_MISSING:]),
            "bundles": (state.get("bundles") or {}) | dict.fromkeys(pieces, pending["serial"]),
        }
        self._rollups.finish(state["_id"], pending["serial"], changes)
        self.k = pending["to"]

    def _prune(self, now: datetime) -> None:
        if now - self._pruned_at < PRUNE_EVERY:
            return
        self._pruned_at = now
        since = self.floor()
        if since is None:
            return
        state = self._state()
        if state.get("since") is None or state["since"] < since:
            self.settle()
            # First said, then done: no question counts what is half removed.
            self._rollups.note(state["_id"], {"since": since})
            self._rollups.prune(state["_id"], since, state["zone"])


def rebuild(
    seals: SealStore,
    rollups: RollupStore,
    since: datetime | None = None,
    tell: Callable[[int, int], None] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Build the other side from the log, and let it answer from then on; returns the calls.

    Questions are answered by the present side meanwhile. ``since`` leaves out what happened before
    that time, a day's start; seals older than that by more than a day are not read. Raises
    StoreRefused while another process does this.
    """
    zone, floor = rollups.zone(), Keeper(seals, rollups).floor()
    if floor is not None and (since is None or since < floor):
        since = floor
    current = rollups.current()
    side = SIDES[0] if current is None or current["side"] == SIDES[1] else SIDES[1]
    other = rollups.state(side)
    if other is not None and other.get("building") and clock() - other["folded_at"] < BUILDING:
        msg = (
            f"Rollups are being made anew at the moment (seen {other['folded_at']:%H:%M:%S} UTC). "
            "Wait for it; one that was stopped is forgotten after two minutes."
        )
        raise StoreRefused(msg)
    rollups.start_over(side, zone, since, -1 if since is None else _before(seals, since))
    total = Keeper(seals, rollups, side=side, clock=clock).catch_up(tell)
    rollups.switch(side)
    return total


def _before(seals: SealStore, since: datetime) -> int:
    """Find the last seal made a day before a time; a record is sealed after it happened."""
    last = seals.last_seal()
    low, high = -1, -1 if last is None else int(last["_id"])
    while low < high:
        middle = (low + high + 1) // 2
        seal = next(iter(seals.seals(middle)), None)
        if seal is None or seal["at"] >= since - timedelta(days=1):
            high = middle - 1
        else:
            low = middle
    return low


def _joined(runs: list[Numbers]) -> Iterable[list[Numbers]]:
    """Put runs together that follow each other, up to what is read at a time."""
    held = [runs[0]]
    for before, run in pairwise(runs):
        if run.first == before.first + before.many and run.first - held[0].first < _MOST_READ:
            held.append(run)
            continue
        yield held
        held = [run]
    yield held


def _runs(within: Numbers, chosen: set[int]) -> list[Numbers]:
    """List the runs of chosen numbers within others."""
    found: list[Numbers] = []
    for seq in range(within.first, within.first + within.many):
        if seq not in chosen:
            continue
        if found and found[-1].first + found[-1].many == seq:
            found[-1] = found[-1]._replace(many=found[-1].many + 1)
        else:
            found.append(Numbers(within.k, within.writer, seq, 1))
    return found


def _without(numbers: Numbers, others: set[Numbers]) -> list[Numbers]:
    """List the runs of numbers that are in none of the others."""
    gone = {
        seq
        for other in others
        if other.writer == numbers.writer
        for seq in range(other.first, other.first + other.many)
    }
    return _runs(numbers, set(range(numbers.first, numbers.first + numbers.many)) - gone)
