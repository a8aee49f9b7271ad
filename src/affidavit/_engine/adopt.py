"""Taking over the spools of processes that are gone, and counting exactly what they lost.

Of a killed process's records, those in its spool are replayed. Whether one of the last batch had
reached the store is not guessed: the store is asked which sequence numbers are there. What is
neither stored nor spooled nor a dead letter was in memory, and is recorded as lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import bson
from bson.objectid import ObjectId

from affidavit._engine.core import Core, logger
from affidavit.errors import SpoolError, StoreError
from affidavit.event import Dest, LedgerEvent
from affidavit.spool.counters import Slot
from affidavit.spool.dead import DeadLetters
from affidavit.spool.owner import OwnedSpool, orphans
from affidavit.store.base import Encoded

QUESTION_TIMEOUT_S: Final = 10.0

Ship = Callable[[Any, str], tuple[int, int] | None]


class Adopter:
    """Owns adopted spools until they are empty; lives on the shipper's thread."""

    def __init__(self, core: Core, ship: Ship) -> None:
        self._core = core
        self._ship = ship
        self._adopted: list[OwnedSpool] = []
        self._told: set[str] = set()

    def run(self) -> None:
        """Look for orphans and empty those already taken; stops early when the store is away."""
        core = self._core
        if core.owned is None:
            return
        try:
            taken, damaged = orphans(
                core.owned.folder, core.store.dataset, core.config.max_spool_bytes
            )
            self._adopted += taken
            for problem in damaged:
                if problem not in self._told:
                    self._told.add(problem)
                    logger.warning("affidavit: %s It is left where it is.", problem)
            while self._adopted and not core.stopping.is_set():
                if not self._empty(self._adopted[0]):
                    return
                self._adopted.pop(0)
        except SpoolError as error:
            logger.warning("affidavit: a spool left behind cannot be taken over: %s", error)

    def release(self) -> None:
        """Give up what is not empty yet; the next process goes on with it."""
        for owned in self._adopted:
            owned.release(delete=False)
        self._adopted.clear()

    def bury(self, writer: str, refused: Sequence[tuple[Encoded, str]]) -> None:
        """Keep refused records of an adopted spool as dead letters of their own writer."""
        assert self._core.owned is not None  # noqa: S101 - adoption needs a folder
        DeadLetters(self._core.owned.folder).bury(writer, refused)

    def _empty(self, owned: OwnedSpool) -> bool:
        """Count the losses, replay, report, delete. False if the store went away meanwhile."""
        core = self._core
        try:
            lost = self._count_lost(owned)
        except StoreError as error:
            core.breaker.trip(str(error))
            return False
        while owned.spool.count:
            if core.stopping.is_set():
                return False
            shipped = self._ship(owned.spool, owned.writer)
            if shipped is None:
                return False
            owned.counters.add(Slot.REPLAYED, Dest.RECORDS, shipped[0])
        self._report(owned, lost)
        owned.release(delete=True)
        return True

    def _count_lost(self, owned: OwnedSpool) -> dict[Dest, int]:
        """Count records that were in memory only; asks the store where the counters cannot know."""
        counters, core = owned.counters, self._core
        settled, next_seq = counters.settled, counters.next_seq
        recorded = counters.get(Slot.RECORDED, None)
        unnumbered = counters.get(Slot.UNNUMBERED, None)
        not_taken = max(0, recorded - next_seq - unnumbered)
        if not not_taken and settled >= next_seq:
            return {Dest.RECORDS: 0, Dest.LEDGER: 0}
        ask = core.store.present
        waiting = owned.spool.seqs(0)
        dead = {
            letter.record.seq: letter.record.dest
            for letter in DeadLetters(owned.folder).all(owned.writer)
        }
        in_records = ask(owned.writer, Dest.RECORDS, settled, QUESTION_TIMEOUT_S)
        in_ledger = ask(owned.writer, Dest.LEDGER, 0, QUESTION_TIMEOUT_S)
        missing = {
            seq
            for seq in range(settled, next_seq)
            if not (seq in waiting or seq in dead or seq in in_records or seq in in_ledger)
        }
        lost = len(missing) + not_taken
        already = counters.get(Slot.LOST, Dest.LEDGER)
        waiting_ledger = owned.spool.count_of(Dest.LEDGER)
        dead_ledger = sum(1 for dest in dead.values() if dest is Dest.LEDGER)
        known_ledger = len(in_ledger) + waiting_ledger + dead_ledger + already
        lost_ledger = min(lost, max(0, counters.get(Slot.RECORDED, Dest.LEDGER) - known_ledger))
        return {Dest.RECORDS: lost - lost_ledger, Dest.LEDGER: lost_ledger}

    def _report(self, owned: OwnedSpool, lost: dict[Dest, int]) -> None:
        core, counters = self._core, owned.counters
        dead = [x.record.dest for x in DeadLetters(owned.folder).all(owned.writer)]
        tallies = {}
        for dest in Dest:
            gone = lost[dest] + counters.get(Slot.LOST, dest)
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
        details = {
            "writer": owned.writer,
            "records": tallies[Dest.RECORDS],
            "ledger": tallies[Dest.LEDGER],
        }
        heartbeat = {
            "_id": ObjectId(),
            "writer": owned.writer,
            "at": datetime.now(UTC),
            **core.actor(),
            "state": "adopted",
            "adopted_by": core.writer,
            "counters": tallies[Dest.RECORDS],
            "ledger_counters": tallies[Dest.LEDGER],
        }
        core.ledger(LedgerEvent.SPOOL_ADOPTED, details)
        total = sum(lost.values())
        if total:
            core.ledger(LedgerEvent.RECORDS_LOST, {"writer": owned.writer, "count": total})
            logger.error(
                "affidavit: the process of writer %s ended with %d records in memory; they are "
                "lost, and counted in the ledger.",
                owned.writer,
                total,
            )
        try:
            core.store.heartbeat(bson.encode(heartbeat), QUESTION_TIMEOUT_S)
        except StoreError as error:
            core.breaker.trip(str(error))
