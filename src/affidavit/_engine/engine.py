"""Starting, forking and stopping a writer, and the way in for records."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from affidavit._engine.core import Core, logger
from affidavit._engine.inbox import Item
from affidavit._engine.shipper import HEARTBEAT_S, Shipper
from affidavit._engine.stats import Stats
from affidavit._engine.ticket import State, Ticket
from affidavit._engine.writer import Writer
from affidavit.config import AuditConfig
from affidavit.errors import AuditUnavailable, SpoolError, StoreError
from affidavit.event import Dest, LedgerEvent
from affidavit.spool import owner
from affidavit.store.base import Store

CLOSE_S: Final = 5.0
"""Seconds :meth:`Engine.close` may spend on sending what waits; the rest stays in the spool."""

_POLL_S: Final = 0.002


class Companion(Protocol):
    """Work beside a writer, over its second connection; it must never raise."""

    def start(self, name: str) -> None:
        """Begin, on a thread of its own."""

    def stop(self) -> None:
        """End soon; returns at once."""

    def finish(self, deadline_s: float) -> None:
        """After the last record was sent: do what is left, until this monotonic time at most."""


Accompany = Callable[[Core], "Companion | None"]
"""Makes the companion of a writer that starts, if it has one."""


class _Running:
    """One started writer: shared state, its two threads, and perhaps a companion."""

    def __init__(self, core: Core, heartbeat_s: float, accompany: Accompany | None) -> None:
        self.core = core
        self.companion = accompany(core) if accompany is not None else None
        self.writer = Writer(core)
        self.shipper = Shipper(core, self.writer, heartbeat_s=heartbeat_s)
        self.writer.watch = self.shipper.revive  # and the shipper watches the writer

    def start(self) -> None:
        """Start both threads; the writer's start record is the first it takes."""
        self.core.ledger(
            LedgerEvent.WRITER_START,
            {"config": self.core.settings(), "leaf_key": self.core.leaves.signer.vkey},
        )
        self.writer.start()
        self.shipper.start()
        if self.companion is not None:
            self.companion.start(self.core.writer)


class Engine:
    """Takes records in and makes sure that each is stored, spooled or counted.

    ``open_store`` is called once per process, so that a forked child gets a client of its own.
    Thread-safe. After a fork the child starts afresh, with its own writer id, at its first record.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        config: AuditConfig,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        accompany: Accompany | None = None,
    ) -> None:
        self._accompany = accompany
        self._open_store = open_store
        self.config = config
        self._heartbeat_s = heartbeat_s
        self._start_lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False
        self._lost_after_close = 0
        self._last: Stats | None = None

    # -- life ------------------------------------------------------------------------------------

    def start(self, *, check: bool = False) -> None:
        """Start the writer if it is not running; cheap when it is.

        With ``check`` (under ``on_failure="refuse"``) the store must answer now, and the spool be
        usable where it counts as durable; raises AuditUnavailable otherwise.
        """
        with self._start_lock:
            if self._running is None and not self._closed:
                self._running = self._begin(check=check)

    def _begin(self, *, check: bool) -> _Running:
        store = self._open_store()
        config, writer = self.config, secrets.token_hex(6)
        directory = Path(config.spool_dir) if config.spool_dir else owner.default_directory()
        owned, problem = None, ""
        try:
            owned = owner.create(directory, store.dataset, writer, config.max_spool_bytes)
        except SpoolError as error:
            problem = str(error)
            if check:
                msg = f"Auditing cannot start under on_failure='refuse': {problem}"
                raise AuditUnavailable(msg) from error
            logger.warning(
                "affidavit: %s Until then, records wait in at most %d bytes of memory while the "
                "database is away.",
                problem,
                config.max_queue_bytes,
            )
        else:
            _warn_of_open_folders(directory, owned.folder)
        core = Core(config, store, writer, owned, problem)
        if check:
            try:
                store.prepare(max(config.write_timeout, 5.0))
            except StoreError as error:
                if owned is not None:
                    owned.release(delete=True)
                store.close()
                msg = (
                    f"Auditing cannot start under on_failure='refuse': {error} "
                    "Bring the database up, or set on_failure='spool'."
                )
                raise AuditUnavailable(msg) from error
            core.prepared.set()
        running = _Running(core, self._heartbeat_s, self._accompany)
        running.start()
        _engines.add(self)
        _drain_with_multiprocessing()
        return running

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Drain the queue, send what can be sent in time, and stop. The rest is in the spool."""
        with self._start_lock:
            running, self._running = self._running, None
            self._closed = True
        _engines.discard(self)
        if running is None:
            return
        core, deadline_s = running.core, time.monotonic() + timeout_s
        core.ledger(LedgerEvent.WRITER_STOP, {"counters": core.counters.as_dict()})
        core.inbox.shut()
        core.stopping.set()
        if running.companion is not None:
            running.companion.stop()
        core.inbox.wake()
        core.ship_wake.set()
        for thread in (running.writer.thread, running.shipper.thread):
            if thread is not None and thread is not threading.current_thread():
                thread.join(max(0.1, deadline_s + 2.0 - time.monotonic()))
        if any(
            t is not None and t.is_alive() for t in (running.writer.thread, running.shipper.thread)
        ):
            logger.error(
                "affidavit: the writer did not stop in time. What it has spooled stays on disk, "
                "and the next process goes on with it."
            )
            core.store.close()  # what still waits for an answer fails now, and is spooled
            return
        try:
            told = running.shipper.finish(deadline_s)
        except SpoolError as error:
            core.note_problem(str(error))
            told = False
        if running.companion is not None:
            running.companion.finish(deadline_s)
        self._last = self._stats_of(core)
        if core.owned is not None:
            # What is left, or could not be told, is for the next process to send and to report.
            spool = core.owned.spool
            core.owned.release(delete=told and not spool.count and not spool.leaf_count)
        core.store.close()

    def forked(self) -> None:
        """In the child of a fork: forget everything inherited; records of the parent stay its."""
        self._start_lock = threading.Lock()
        running, self._running = self._running, None
        if running is not None and running.core.owned is not None:
            running.core.owned.abandon()
            running.shipper.abandon()
        _left_by_fork.append(running)  # closing an inherited client or file would hurt the parent

    # -- the way in ------------------------------------------------------------------------------

    def submit(self, dest: Dest, record_id: bytes, snapshot: bytes, *, wait: bool) -> Ticket | None:
        """Hand a record over. Waits at most ``queue_wait`` when the queue is full.

        Returns a ticket if ``wait`` asks for one. Never raises.
        """
        ticket = Ticket() if wait else None
        item = Item(dest, record_id, snapshot, ticket, time.monotonic())
        running = self._running
        if running is not None and running.core.inbox.put(item):
            return ticket
        if not self.try_put(item):
            give_up_s = item.at_s + self.config.queue_wait
            while time.monotonic() < give_up_s:
                time.sleep(_POLL_S)
                if self.try_put(item):
                    return ticket
            self.give_up(item)
        return ticket

    def try_put(self, item: Item) -> bool:
        """Hand a record over without waiting; False if the queue is full."""
        running = self._running
        if running is None:
            self.start()
            running = self._running
            if running is None:
                return False
        return running.core.inbox.put(item)

    def give_up(self, item: Item) -> None:
        """Count a record as lost because the queue stayed full, or the logger was closed."""
        running = self._running
        if running is not None:
            running.core.inbox.count_lost(item.dest)
            running.core.note_queue_full()
        else:
            self._lost_after_close += 1
            if self._lost_after_close == 1:
                logger.error(
                    "affidavit: a record came after close() and is lost, and so will be others; "
                    "stats().lost counts them. Close later."
                )
        if item.ticket is not None:
            item.ticket.settle(State.LOST)

    # -- looking at it ---------------------------------------------------------------------------

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything recorded so far is in the store; False if time ran out."""
        running = self._running
        if running is None:
            return True
        core, give_up_s = running.core, time.monotonic() + timeout_s
        pause_s = 0.001
        while True:
            queued = core.counters.queued(None) - len(core.held)
            waiting = core.counters.spooled(None) + len(core.held)
            if queued <= 0 and waiting <= 0:
                core.flush_wanted.clear()
                return True
            if time.monotonic() >= give_up_s:
                core.flush_wanted.clear()
                return False
            core.flush_wanted.set()
            core.inbox.wake()
            core.ship_wake.set()
            time.sleep(pause_s)
            pause_s = min(0.05, pause_s * 2)

    def stats(self) -> Stats:
        """Give the numbers of this process's writer."""
        running = self._running
        if running is None and not self._closed and self.config.enabled:
            self.start()
            running = self._running
        return self._stats_of(running.core) if running is not None else self._stats_at_rest()

    def _stats_at_rest(self) -> Stats:
        """Give the numbers of a logger that is closed, or switched off and never started."""
        last = self._last or Stats.nothing(self.config.mode)
        late = self._lost_after_close
        return replace(last, recorded=last.recorded + late, lost=last.lost + late)

    def _stats_of(self, core: Core) -> Stats:
        return Stats(
            writer=core.writer,
            mode=core.mode,
            **core.counters.as_dict(),
            queue_bytes=core.inbox.size_bytes,
            spool_bytes=core.owned.spool.size_bytes if core.owned is not None else 0,
            spool="disk" if core.owned is not None else "memory",
            store=core.breaker.reason or "up",
            outages=core.breaker.opened_count,
            slow_writes=core.slow_writes,
            writer_restarts=core.writer_restarts,
            write_latency_p50_ms=core.latencies.percentile(50),
            write_latency_p95_ms=core.latencies.percentile(95),
            write_latency_p99_ms=core.latencies.percentile(99),
            ledger=core.counters.as_dict(Dest.LEDGER),
        )

    @property
    def room_bytes(self) -> int:
        """Bytes that can be taken in now: of the queue's, and of the spool's while it is needed."""
        running = self._running
        if running is None:
            return 0 if self._closed else self.config.max_queue_bytes
        core = running.core
        room = self.config.max_queue_bytes - core.inbox.size_bytes
        if core.breaker.is_open and core.owned is not None:
            room = min(room, self.config.max_spool_bytes - core.owned.spool.size_bytes)
        return max(0, room)

    @property
    def store_is_up(self) -> bool:
        """Whether the store answered last time."""
        running = self._running
        return running is not None and not running.core.breaker.is_open


_engines: set[Engine] = set()
"""Those that run. Held until closed: a logger that went out of scope has records to drain too."""

_left_by_fork: list[object] = []


_warned_of: set[Path] = set()


def _warn_of_open_folders(*folders: Path) -> None:
    """Say once per process which folders of the spool other users may look into."""
    for folder, problem in owner.open_to_others(*folders):
        if folder not in _warned_of:
            _warned_of.add(folder)
            logger.warning(
                "affidavit: the spool directory %s. The files in it are private (0600), but others "
                "see their names, and with the right to write could remove them. Run "
                "`chmod 700 %s`, or set spool_dir to a directory of this user alone.",
                problem,
                folder,
            )


def _after_fork() -> None:
    for engine in list(_engines):
        engine.forked()


@atexit.register
def _drain() -> None:
    """At interpreter exit: everything in memory goes to the store or the spool."""
    for engine in list(_engines):
        with contextlib.suppress(Exception):
            engine.close()


def _drain_with_multiprocessing() -> None:
    """A forked child of multiprocessing ends past ``atexit``, but it calls these finalizers."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _drain, exitpriority=0)


os.register_at_fork(after_in_child=_after_fork)
logging.getLogger("affidavit").addHandler(logging.NullHandler())
