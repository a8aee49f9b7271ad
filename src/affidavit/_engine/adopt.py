"""Taking over the spools of processes that are gone, and counting exactly what they lost.

Of a killed process's records, those in its spool are replayed. Whether one of the last batch had
reached the store is not guessed: the store is asked which sequence numbers are there. What is
neither stored nor spooled nor a dead letter was in memory, and is recorded as lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import bson
from bson.objectid import ObjectId

from affidavit._engine.core import MOST_NAMED, Core, logger
from affidavit._engine.ticket import State
from affidavit.errors import SpoolError, StoreError
from affidavit.event import Dest, LedgerEvent
from affidavit.spool.counters import Slot
from affidavit.spool.dead import DeadLetters
from affidavit.spool.owner import OwnedSpool, orphans, other_datasets
from affidavit.spool.sqlite import SqliteSpool
from affidavit.store.base import Encoded

QUESTION_TIMEOUT_S: Final = 10.0
SETTLE_S: Final = 1.0
"""Seconds between two questions that must agree before absent records count as lost."""

Ship = Callable[[Any, str], tuple[int, int] | None]
ShipLeaves = Callable[[SqliteSpool], bool]


@dataclass(slots=True)
class _Orphan:
    """A spool taken over, until it is empty and accounted for."""

    owned: OwnedSpool
    missing: list[int] | None = None
    """Numbers that were nowhere when the store was asked last."""
    ask_at_s: float = math.inf
    refused_told: bool = False
    """The ledger names what the store refused of it."""


class _Lost(NamedTuple):
    """What a process took with it."""

    seqs: list[list[int]]
    unnumbered: int
    by_dest: dict[Dest, int]


class Adopter:
    """Owns adopted spools until they are empty; lives on the shipper's thread."""

    def __init__(self, core: Core, ship: Ship, ship_leaves: ShipLeaves) -> None:
        self._core = core
        self._ship = ship
        self._ship_leaves = ship_leaves
        self._adopted: list[_Orphan] = []
        self._told: set[str] = set()

    @property
    def due_s(self) -> float:
        """When, on the monotonic clock, a question is to be asked again; infinite if none is."""
        return min((orphan.ask_at_s for orphan in self._adopted), default=math.inf)

    def run(self) -> None:
        """Look for orphans and empty those already taken; stops early when the store is away."""
        core = self._core
        if core.owned is None:
            return
        try:
            self._take(core.owned.folder, core.store.dataset)
            others = other_datasets(core.owned.folder)
            earlier = [(folder, name) for folder, name in others if core.store.is_same_log(name)]
            for folder, name in earlier:
                self._take(folder, name)
            for orphan in self._adopted.copy():
                if core.stopping.is_set() or core.breaker.is_open:
                    return
                if self._empty(orphan):
                    self._adopted.remove(orphan)
            for folder, _name in earlier:
                _bring_letters(folder, core.owned.folder)
        except SpoolError as error:
            logger.warning("affidavit: a spool left behind cannot be taken over: %s", error)

    def _take(self, folder: Path, dataset: str) -> None:
        """Take over the orphans of one folder: ours, or one named after an earlier host list."""
        taken, damaged = orphans(folder, dataset, self._core.config.max_spool_bytes)
        self._adopted += map(_Orphan, taken)
        for problem in damaged:
            if problem not in self._told:
                self._told.add(problem)
                logger.warning("affidavit: %s It is left where it is.", problem)

    def release(self) -> None:
        """Give up what is not empty yet; the next process goes on with it."""
        for orphan in self._adopted:
            orphan.owned.release(delete=False)
        self._adopted.clear()

    def abandon(self) -> None:
        """In a forked child: let go of the inherited locks without touching the files."""
        for orphan in self._adopted:
            orphan.owned.abandon()

    def bury(self, writer: str, refused: Sequence[tuple[Encoded, str]]) -> None:
        """Keep refused records of an adopted spool as dead letters of their own writer."""
        owned = next(o.owned for o in self._adopted if o.owned.writer == writer)
        DeadLetters(owned.folder).bury(writer, refused)

    def _empty(self, orphan: _Orphan) -> bool:
        """Replay, count the losses, report, delete; False if that is not finished yet."""
        core, owned = self._core, orphan.owned
        if time.monotonic() < orphan.ask_at_s < math.inf:
            return False
        orphan.ask_at_s = math.inf
        while owned.spool.count:
            if core.stopping.is_set():
                return False
            shipped = self._ship(owned.spool, owned.writer)
            if shipped is None:
                return False
            owned.counters.add(Slot.REPLAYED, Dest.RECORDS, shipped[0])
        try:
            lost = self._count_lost(orphan)
            # The leaves come last but one: a leaf without a record wants its reason in the ledger.
            told = lost is not None and self._tell_refused(orphan)
            safe = told and self._ship_leaves(owned.spool)
            if lost is None or not safe or not self._report(owned, lost):
                return False
        except StoreError as error:
            core.breaker.trip(str(error))
            return False
        owned.release(delete=True)
        return True

    def _count_lost(self, orphan: _Orphan) -> _Lost | None:
        """Count records that were in memory only; asks the store where the counters cannot know.

        None if it is too early to tell: the server may still be at work on what the process sent
        last. Absent records are asked for again after a pause, past a majority write.
        """
        owned, core = orphan.owned, self._core
        counters = owned.counters
        settled, next_seq = counters.settled, counters.next_seq
        recorded = counters.get(Slot.RECORDED, None)
        unnumbered = counters.get(Slot.UNNUMBERED, None)
        not_taken = max(0, recorded - next_seq - unnumbered)
        if not not_taken and settled >= next_seq:
            return _Lost([], 0, dict.fromkeys(Dest, 0))
        ask = core.store.present
        dead = {
            letter.record.seq: letter.record.dest
            for letter in DeadLetters(owned.folder).all(owned.writer)
        }
        in_records = ask(owned.writer, Dest.RECORDS, settled, QUESTION_TIMEOUT_S)
        in_ledger = ask(owned.writer, Dest.LEDGER, 0, QUESTION_TIMEOUT_S)
        known = dead.keys() | in_records | in_ledger
        missing = [seq for seq in range(settled, next_seq) if seq not in known]
        if missing and missing != orphan.missing:
            orphan.missing = missing
            orphan.ask_at_s = time.monotonic() + SETTLE_S
            self._beat(owned, "adopting", {})
            return None
        lost = len(missing) + not_taken - counters.lost_above
        already = counters.get(Slot.LOST, Dest.LEDGER)
        dead_ledger = sum(1 for dest in dead.values() if dest is Dest.LEDGER)
        known_ledger = len(in_ledger) + dead_ledger + already
        lost_ledger = min(lost, max(0, counters.get(Slot.RECORDED, Dest.LEDGER) - known_ledger))
        by_dest = {Dest.RECORDS: lost - lost_ledger, Dest.LEDGER: lost_ledger}
        return _Lost(_ranges(missing), not_taken, by_dest)

    def _tell_refused(self, orphan: _Orphan) -> bool:
        """Name in the ledger every dead letter of the writer that is gone, also its own.

        It may have been killed before it could. False if the records are not safe.
        """
        core, owned = self._core, orphan.owned
        if orphan.refused_told:
            return True
        letters = DeadLetters(owned.folder).all(owned.writer)
        reasons = sorted({letter.reason for letter in letters})
        ranges = _ranges(sorted(letter.record.seq for letter in letters))
        tickets = [
            # Not as ``seqs``: those are numbers of the one who says so.
            core.ledger(
                LedgerEvent.DEAD_LETTER,
                {
                    "writer": owned.writer,
                    "refused_seqs": ranges[at : at + MOST_NAMED],
                    "reasons": reasons,
                },
            )
            for at in range(0, len(ranges), MOST_NAMED)
        ]
        if any(ticket.wait(QUESTION_TIMEOUT_S) < State.SPOOLED for ticket in tickets):
            return False
        orphan.refused_told = True
        return True

    def _report(self, owned: OwnedSpool, lost: _Lost) -> bool:
        """Write the last numbers; False if they are not safe, and so the files must stay."""
        core, counters = self._core, owned.counters
        dead = [x.record.dest for x in DeadLetters(owned.folder).all(owned.writer)]
        tallies = {}
        for dest in Dest:
            gone = lost.by_dest[dest] + counters.get(Slot.LOST, dest)
            buried = sum(1 for d in dead if d is dest)
            recorded = counters.get(Slot.RECORDED, dest)
            tallies[dest] = {
                "recorded": recorded,
                "queued": 0,
                "stored": recorded - gone - buried,
                "spooled": 0,
                "replayed": counters.get(Slot.REPLAYED, dest),
                "dead_lettered": buried,
                "lost": gone,
            }
        numbers = {"records": tallies[Dest.RECORDS], "ledger": tallies[Dest.LEDGER]}
        self._beat(owned, "adopted", numbers)
        total = sum(lost.by_dest.values())
        if total:
            core.ledger(LedgerEvent.RECORDS_LOST, {"writer": owned.writer, "count": total})
        for at in range(MOST_NAMED, len(lost.seqs), MOST_NAMED):
            more = {"writer": owned.writer, "lost_seqs": lost.seqs[at : at + MOST_NAMED]}
            told = core.ledger(LedgerEvent.SPOOL_ADOPTED, more)
            if told.wait(QUESTION_TIMEOUT_S) < State.SPOOLED:
                return False
        details = {
            "writer": owned.writer,
            **numbers,
            # First and last numbers of what was absent: a record that arrives after all shows.
            "lost_seqs": lost.seqs[:MOST_NAMED],
            "lost_unnumbered": lost.unnumbered + counters.get(Slot.UNNUMBERED, None),
        }
        ticket = core.ledger(LedgerEvent.SPOOL_ADOPTED, details)
        if ticket.wait(QUESTION_TIMEOUT_S) < State.SPOOLED:
            return False
        if total:
            logger.error(
                "affidavit: the process of writer %s ended with %d records in memory; they are "
                "lost, and counted in the ledger.",
                owned.writer,
                total,
            )
        return True

    def _beat(self, owned: OwnedSpool, state: str, numbers: dict[str, dict[str, int]]) -> None:
        """Insert a heartbeat for a writer that is gone; it is held by a majority afterwards."""
        core, counters = self._core, owned.counters
        retried = DeadLetters(owned.folder).retried(owned.writer)
        for dest, count in retried.items():
            counters.set_retried(dest, count)
        heartbeat = {
            "_id": ObjectId(),
            "writer": owned.writer,
            "at": datetime.now(UTC),
            **core.actor(),
            "state": state,
            "adopted_by": core.writer,
            "counters": numbers.get("records") or counters.as_dict(),
            "ledger_counters": numbers.get("ledger") or counters.as_dict(Dest.LEDGER),
            "retried": {dest.value: count for dest, count in retried.items()},
        }
        core.store.heartbeat(bson.encode(heartbeat), QUESTION_TIMEOUT_S)


def _bring_letters(earlier: Path, folder: Path) -> None:
    """Bring the dead letters of writers that are gone to where the log's are looked for now.

    Those of one that still records under the earlier name stay: it counts by them.
    """
    letters = DeadLetters(earlier)
    for writer in letters.writers():
        if not (earlier / f"{writer}.lock").exists():
            DeadLetters(folder).take_over(letters, writer)


def _ranges(seqs: list[int]) -> list[list[int]]:
    """Fold ascending numbers into ranges, each its first and its last."""
    found: list[list[int]] = []
    for seq in seqs:
        if found and found[-1][1] == seq - 1:
            found[-1][1] = seq
        else:
            found.append([seq, seq])
    return found
