"""What the threads of one running writer share. Replaced as a whole after a fork."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from bson.objectid import ObjectId

from affidavit._engine.breaker import Breaker
from affidavit._engine.inbox import Inbox, Item
from affidavit._engine.leaves import LeafLog
from affidavit._engine.stats import Latencies
from affidavit._engine.ticket import State, Ticket
from affidavit.config import AuditConfig
from affidavit.errors import SpoolError
from affidavit.event import SCHEMA_VERSION, Dest, EventType, LedgerEvent
from affidavit.spool.counters import Counters, Slot
from affidavit.spool.dead import DeadLetters
from affidavit.spool.owner import OwnedSpool
from affidavit.store.base import Encoded, Outcome, Store, Verdict

NOTE_EVERY_S: Final = 60.0
MOST_NAMED: Final = 1000
"""Numbers, or ranges of them, that one ledger record names; what is more goes into another one."""

logger: Final = logging.getLogger("affidavit")

_encode = msgspec.msgpack.Encoder().encode


class Core:
    """One writer's shared state; see the table in the folder's docstring for who owns what."""

    def __init__(
        self,
        config: AuditConfig,
        store: Store,
        writer: str,
        owned: OwnedSpool | None,
        spool_problem: str,
    ) -> None:
        self.config = config
        self.mode = config.mode
        self.store = store
        self.writer = writer
        self.owned = owned
        self.spool_problem = spool_problem
        self.counters = owned.counters if owned is not None else Counters.in_memory()
        self.inbox = Inbox(config.max_queue_bytes, self.counters)
        self.leaves = LeafLog(writer)
        self.breaker = Breaker()
        self.latencies = Latencies()
        self.held_lock = threading.Lock()
        self.second_connection = threading.Lock()
        """Held by the shipper while it works, else by a second batch of the writer: so the log
        never uses more than two connections."""
        self.ship_wake = threading.Event()
        self.flush_wanted = threading.Event()
        self.stopping = threading.Event()
        self.prepared = threading.Event()
        """The store is set up and answered."""
        self.tried = threading.Event()
        """The first try to prepare the store has ended, well or badly."""
        self.held: list[Encoded] = []
        """Records that found no disk; guarded by ``held_lock``, shipped by the shipper."""
        self.held_bytes = 0
        self.lost_until = -1
        """The highest number that was given and then lost; the writer's thread sets it."""
        self.queue_full_noted_s = -math.inf
        self.slow_writes = 0
        self.writer_restarts = 0
        self._retried_ns = 0
        self.started_s = time.monotonic()

    # -- tallies -------------------------------------------------------------------------------

    def tally(self, slot: Slot, batch: Sequence[Encoded]) -> None:
        """Count a batch under one slot."""
        ledger = sum(1 for record in batch if record.dest is Dest.LEDGER)
        if ledger:
            self.counters.add(slot, Dest.LEDGER, ledger)
        if len(batch) > ledger:
            self.counters.add(slot, Dest.RECORDS, len(batch) - ledger)

    def first_unsettled(self) -> int | None:
        """The lowest number held in memory only, or None."""
        with self.held_lock:
            return min((record.seq for record in self.held), default=None)

    # -- where records go when the store does not take them -------------------------------------

    def put_aside(self, batch: Sequence[Encoded]) -> State:
        """Keep records durably on disk; in bounded memory where there is no disk; else lost.

        Their leaves go with them, in the same transaction. For the writer's thread.
        """
        if not batch:
            return State.SPOOLED
        if self.owned is not None:
            leaves = self.leaves.take()
            try:
                self.owned.spool.append(batch, leaves)
            except SpoolError as error:
                self.leaves.closed.extendleft(reversed(leaves))
                self.note_problem(str(error))
            else:
                self.tally(Slot.SPOOLED_IN, batch)
                return State.SPOOLED
        return self._hold(batch)

    def _hold(self, batch: Sequence[Encoded]) -> State:
        size = sum(len(record.body) for record in batch)
        with self.held_lock:
            fits = self.held_bytes + size <= self.config.max_queue_bytes
            if fits:
                self.held.extend(batch)
                self.held_bytes += size
        if fits:
            return State.HELD
        self.lose(batch)
        logger.error(
            "affidavit: %d records lost: neither the store nor the spool nor memory takes more. "
            "Bring the database back or free disk space; `affidavit doctor` shows which.",
            len(batch),
        )
        return State.LOST

    def lose(self, batch: Sequence[Encoded]) -> None:
        """Count records as lost that have a number not yet settled."""
        self.lost_until = max(self.lost_until, *(record.seq for record in batch))
        self.counters.lost_above += len(batch)
        self.tally(Slot.LOST, batch)

    def note_queue_full(self) -> None:
        """Say, once a minute at most, that records are lost at the very entrance."""
        now_s = time.monotonic()
        if now_s - self.queue_full_noted_s >= NOTE_EVERY_S:
            self.queue_full_noted_s = now_s
            logger.error(
                "affidavit: records are lost: the memory queue stayed full for queue_wait. "
                "stats() counts them. Raise max_queue_bytes, or record less.",
            )

    def give_up_held(self) -> None:
        """On closing: spool what memory still holds if the disk takes it now; else it is lost."""
        with self.held_lock:
            batch, self.held = self.held, []
            self.held_bytes = 0
        if not batch:
            return
        if self.owned is not None:
            with contextlib.suppress(SpoolError):
                self.owned.spool.append(batch)
                self.tally(Slot.SPOOLED_IN, batch)
                return
        self.lose(batch)
        logger.error(
            "affidavit: %d records lost on closing: the store does not answer, and the spool takes "
            "no more. Bring the database back before the application ends.",
            len(batch),
        )

    def spool_leaves(self) -> None:
        """On closing: spool the leaf batches that could not be sent. Else the sealer makes them."""
        leaves = self.leaves.take()
        if leaves and self.owned is not None:
            with contextlib.suppress(SpoolError):
                self.owned.spool.append([], leaves)

    def bury(self, refused: Sequence[tuple[Encoded, str]]) -> State:
        """Keep records the store refused for good as dead letters, with the reason."""
        records = [record for record, _reason in refused]
        reasons = sorted({reason for _record, reason in refused})
        try:
            self._dead_letters().bury(self.writer, refused)
        except SpoolError as error:
            self.tally(Slot.LOST, records)
            logger.error(  # noqa: TRY400 - the trace would add nothing for an operator
                "affidavit: %d records lost: the store refuses them (%s) and the dead letters "
                "cannot be written: %s",
                len(records),
                ", ".join(reasons),
                error,
            )
            return State.LOST
        self.tally(Slot.DEAD, records)
        logger.error(
            "affidavit: the store refused %d records (%s); they are kept as dead letters. "
            "`affidavit dead-letters list` shows them.",
            len(records),
            ", ".join(reasons),
        )
        if any(record.dest is Dest.RECORDS for record in records):
            # All of them: whoever verifies takes a number that nobody names for a missing record.
            seqs = [record.seq for record in records]
            for at in range(0, len(seqs), MOST_NAMED):
                named = {"seqs": seqs[at : at + MOST_NAMED], "reasons": reasons}
                self.ledger(LedgerEvent.DEAD_LETTER, named)
        return State.DEAD

    def note_retried(self) -> None:
        """Take over how many of this writer's dead letters another process has stored meanwhile.

        Cheap where there is nothing to take over: the file is read only after it has changed.
        """
        counters = self.counters
        waiting = [d for d in Dest if counters.get(Slot.DEAD, d) > counters.retried(d)]
        if self.owned is None or not waiting:
            return
        letters = DeadLetters(self.owned.folder)
        try:
            changed = letters.changed_ns()
            if changed == self._retried_ns:
                return
            for dest, count in letters.retried(self.writer).items():
                counters.set_retried(dest, count)
            self._retried_ns = changed
        except SpoolError as error:
            self.note_problem(str(error))

    def _dead_letters(self) -> DeadLetters:
        if self.owned is None:
            raise SpoolError(self.spool_problem)
        return DeadLetters(self.owned.folder)

    def sort_verdicts(
        self, batch: Sequence[Encoded], verdicts: Sequence[Verdict]
    ) -> tuple[list[Encoded], list[tuple[Encoded, str]]]:
        """Split a batch into what is stored and what was refused."""
        stored: list[Encoded] = []
        refused: list[tuple[Encoded, str]] = []
        for record, verdict in zip(batch, verdicts, strict=True):
            if verdict.outcome is Outcome.STORED:
                stored.append(record)
            else:
                refused.append((record, verdict.reason))
        return stored, refused

    # -- notes of the log about itself -----------------------------------------------------------

    def ledger(self, event: LedgerEvent, details: dict[str, Any]) -> Ticket:
        """Record something that happened to the log; goes the same way as every record."""
        record_id = ObjectId()
        document = {
            "event_type": event.value,
            "timestamp": time.time_ns() // 1_000_000,
            "actor": self.actor(),
            "details": details,
            "schema_version": SCHEMA_VERSION,
        }
        ticket = Ticket()
        item = Item(Dest.LEDGER, record_id.binary, _encode(document), ticket, time.monotonic())
        if not self.inbox.put(item):
            self.inbox.count_lost(Dest.LEDGER)
            ticket.settle(State.LOST)
        return ticket

    def annotate(self, call_id: str, kind: str, details: dict[str, Any]) -> None:
        """Add an annotation of our own to a call; goes the same way as every record."""
        document = {
            "event_type": EventType.ANNOTATION.value,
            "call_id": call_id,
            "timestamp": time.time_ns() // 1_000_000,
            "user_id": None,
            "kind": kind,
            "details": {"kind": kind, **details},
            "schema_version": SCHEMA_VERSION,
        }
        item = Item(Dest.RECORDS, ObjectId().binary, _encode(document), None, time.monotonic())
        if not self.inbox.put(item):
            self.inbox.count_lost(Dest.RECORDS)

    def settings(self) -> dict[str, Any]:
        """Give the settings in force as the ledger shows them: plain values, no password."""
        return {k: v for k, v in self.config.public().items() if k != "spool_dir"}

    def actor(self) -> dict[str, Any]:
        """Tell who writes: host, process and program, no more."""
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "program": os.path.basename(sys.argv[0] or "python"),  # noqa: PTH119 - argv is text
            "service": self.config.service,
        }

    def note_problem(self, text: str) -> None:
        """Say once what is wrong with the spool; again only when the text changes."""
        if text != self.spool_problem:
            self.spool_problem = text
            logger.warning("affidavit: %s", text)
