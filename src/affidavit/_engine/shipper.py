"""The shipper thread: sends what waits in the spool, beats the heart, watches the writer.

Everything slow or repeated happens here, so that no caller ever waits for it: probing a store that
was away, replaying, folding the spool's log back, taking over spools of dead processes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import bson
from bson.objectid import ObjectId

from affidavit._engine.adopt import Adopter
from affidavit._engine.core import Core, logger
from affidavit._engine.stats import RECENT_S
from affidavit._engine.sweep import SWEEP_AFTER_S, SWEEP_EVERY_S, Sweeper
from affidavit._engine.writer import Writer
from affidavit.errors import SpoolError, StoreError, StoreRefused, StoreUnavailable
from affidavit.event import Dest, LedgerEvent
from affidavit.spool.counters import Slot
from affidavit.spool.sqlite import SqliteSpool
from affidavit.store.base import Encoded

TICK_S: Final = 0.25
SHIP_RECORDS: Final = 1000
SHIP_BYTES: Final = 8 * 1024**2
SHIP_LEAF_BATCHES: Final = 100
LEAVES_AGAIN_S: Final = 5.0
"""Pause after leaf batches could not be sent."""

SHIP_TIMEOUT_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 2.0
REMOVE_AGAIN_S: Final = 2.0
"""Pause after a batch was stored and could not be removed from the spool."""

_AGAIN_S: Final = 0.2
"""Pause before the last numbers are told again."""

HEARTBEAT_S: Final = 10.0
ADOPT_S: Final = 30.0


class Shipper:
    """Owns removal from the spool, adopted spools and the heartbeat."""

    def __init__(self, core: Core, writer: Writer, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._core = core
        self._writer = writer
        self._adopter = Adopter(core, self._ship_from, self._ship_leaves)
        self._heartbeat_s = heartbeat_s
        self._next_heartbeat_s = 0.0
        self._next_adoption_s = 0.0
        self._sweeper = Sweeper(core)
        self._next_sweep_s = time.monotonic() + SWEEP_AFTER_S
        self._behind = False
        self._shipped_until = -1
        """The highest number that went through the spool of our own."""
        self._remove_again_s = 0.0
        self._buried: dict[int, Dest] = {}
        """Dead letters that are still in the spool, and where they belonged."""
        self._leaves_refused = False
        self._leaves_again_s = 0.0
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self.thread = threading.Thread(
            target=self._run, name=f"affidavit-shipper-{self._core.writer}", daemon=True
        )
        self.thread.start()

    def _run(self) -> None:
        core = self._core
        if not core.prepared.is_set():
            self._probe(SHIP_TIMEOUT_S)
        core.tried.set()
        while not core.stopping.is_set():
            core.ship_wake.wait(self._pause_s())
            core.ship_wake.clear()
            # A question of the sealer may hold it for seconds; closing must not wait for that.
            if core.stopping.is_set() or not core.second_connection.acquire(timeout=TICK_S):
                core.ship_wake.set()
                continue
            try:
                self.step()
            except Exception as error:  # the thread must outlive anything a single step does
                # The text could hold content of a record; its type and place must do.
                place = error.__traceback__.tb_lineno if error.__traceback__ else 0
                kind = type(error).__name__
                logger.error("affidavit: a step of the shipper failed (%s, %d).", kind, place)
                time.sleep(TICK_S)
            finally:
                core.second_connection.release()

    def _pause_s(self) -> float:
        if self._core.breaker.is_open:
            return max(0.01, min(TICK_S, self._core.breaker.retry_at_s - time.monotonic()))
        return TICK_S

    def step(self) -> None:
        """Do whatever is due now; on closing, end after the question under way."""
        core = self._core
        self._watch_writer()
        core.note_retried()
        if not core.breaker.may_try():
            return
        if not core.prepared.is_set() and core.breaker.is_open:
            self._probe(PROBE_TIMEOUT_S)
        while core.breaker.may_try() and self._is_due() and self.ship_once():
            if core.stopping.is_set():
                return
        if core.stopping.is_set():
            return
        may_send_leaves = core.prepared.is_set() and not core.breaker.is_open
        if may_send_leaves and time.monotonic() >= self._leaves_again_s:
            self._ship_leaves(core.owned.spool if core.owned is not None else None)
        if core.stopping.is_set():
            return
        self._regular_duties(time.monotonic())
        if core.owned is not None:
            try:
                core.owned.spool.tidy()
            except SpoolError as error:
                core.note_problem(str(error))

    def _regular_duties(self, now_s: float) -> None:
        core = self._core
        if not core.prepared.is_set():
            return  # a heartbeat that got through would call a store "up" that takes no records
        if now_s >= self._next_heartbeat_s and not self._behind:
            self._next_heartbeat_s = now_s + self._heartbeat_s
            self.beat("running")
        elif core.breaker.is_open and core.breaker.may_try():
            self.beat("running")  # nothing waits, but somebody has to notice that it is back
        if core.breaker.is_open:
            return
        if now_s >= min(self._next_adoption_s, self._adopter.due_s):
            self._next_adoption_s = now_s + ADOPT_S
            self._adopter.run()
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + SWEEP_EVERY_S
            self._sweeper.run()

    # -- shipping --------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        core = self._core
        if core.held:
            return True
        spool = core.owned.spool if core.owned is not None else None
        if spool is None or not spool.count:
            self._behind = False
            core.flush_wanted.clear()
            return False
        if time.monotonic() < self._remove_again_s:
            return False
        if core.mode in {"direct", "async"} or core.flush_wanted.is_set() or core.breaker.is_open:
            return True
        if spool.count >= core.config.batch_size:
            return True
        age_s = time.time() - (spool.oldest_ms or 0) / 1000
        return age_s >= core.config.flush_interval

    def ship_once(self) -> bool:
        """Send one batch of what waits; False if there was nothing or the store is away."""
        core = self._core
        if core.held:
            return self._ship_held()
        if core.owned is None:
            return False
        return self._ship_from(core.owned.spool, core.writer) is not None

    def _ship_from(self, spool: Any, writer: str) -> tuple[int, int] | None:
        """Send the oldest batch of a spool: (records stored, dead); None if the store is away."""
        core = self._core
        batch = spool.read(SHIP_RECORDS, SHIP_BYTES)
        if not batch:
            return None
        sent = self._send(batch)
        if sent is None:
            return None
        stored, refused = sent
        mine = writer == core.writer
        if refused and not mine:
            self._adopter.bury(writer, refused)
        elif refused:
            self._bury(refused)
        try:
            spool.remove(batch)
        except SpoolError as error:  # a full disk: the batch is safe, and is sent again later
            core.note_problem(str(error))
            self._remove_again_s = time.monotonic() + REMOVE_AGAIN_S
            return None
        if mine:
            self._shipped_until = batch[-1].seq
            core.tally(Slot.SPOOLED_OUT, batch)
            core.tally(Slot.STORED, stored)
            core.tally(Slot.REPLAYED, stored)
            self._buried.clear()
        return sum(1 for record in stored if record.dest is Dest.RECORDS), len(refused)

    def _bury(self, refused: Sequence[tuple[Encoded, str]]) -> None:
        """Bury each record once, also if it could not be removed from the spool then."""
        fresh = [(record, reason) for record, reason in refused if record.seq not in self._buried]
        if fresh:
            self._core.bury(fresh)
            self._buried.update((record.seq, record.dest) for record, _reason in fresh)

    def _ship_held(self) -> bool:
        core = self._core
        batch = core.held[:SHIP_RECORDS]
        sent = self._send(batch)
        if sent is None:
            return False
        stored, refused = sent
        with core.held_lock:
            del core.held[: len(batch)]
            core.held_bytes -= sum(len(record.body) for record in batch)
        core.tally(Slot.STORED, stored)
        if refused:
            core.bury(refused)
        return True

    def _ship_leaves(self, spool: SqliteSpool | None) -> bool:
        """Send the leaf batches in memory, then those of a spool; False if any are left."""
        core, waiting = self._core, self._core.leaves.closed
        while waiting:
            some = [waiting.popleft() for _ in range(min(len(waiting), SHIP_LEAF_BATCHES))]
            if not self._send_leaves(some):
                waiting.extendleft(reversed(some))
                return False
        while spool is not None and spool.leaf_count:
            bodies = spool.read_leaves(SHIP_LEAF_BATCHES)
            if not self._send_leaves(bodies):
                return False
            try:
                spool.remove_leaves(len(bodies))
            except SpoolError as error:  # sent again later, which is harmless
                core.note_problem(str(error))
                return False
        return True

    def _send_leaves(self, bodies: list[bytes]) -> bool:
        core = self._core
        try:
            core.store.append_leaves(bodies, PROBE_TIMEOUT_S)
        except StoreRefused as error:
            # No reason to hold up records: the sealer makes these batches again from them.
            if not self._leaves_refused:
                self._leaves_refused = True
                logger.warning(
                    "affidavit: %s The proofs of this process's records are made by the sealer "
                    "instead. Run `affidavit setup` to let the writer bring its own.",
                    error,
                )
            return True
        except StoreError:
            # Records need not go another way for this: whether the store is away is theirs to find.
            self._leaves_again_s = time.monotonic() + LEAVES_AGAIN_S
            return False
        return True

    def _send(self, batch: list[Encoded]) -> tuple[list[Encoded], list[tuple[Encoded, str]]] | None:
        core = self._core
        probing = core.breaker.is_open
        if probing:
            self._behind = True
        started_s = time.monotonic()
        try:
            if not core.prepared.is_set():
                self._prepare(SHIP_TIMEOUT_S)
            verdicts = core.store.append(batch, PROBE_TIMEOUT_S if probing else SHIP_TIMEOUT_S)
        except StoreError as error:
            core.breaker.trip(str(error))
            return None
        took_ms = (time.monotonic() - started_s) * 1000
        if took_ms > core.config.slow_query_threshold:
            core.slow_writes += 1
        if core.breaker.close():
            logger.warning("affidavit: the store answers again; replaying what was spooled.")
        return core.sort_verdicts(batch, verdicts)

    def _probe(self, timeout_s: float) -> None:
        core = self._core
        try:
            self._prepare(timeout_s)
        except StoreError as error:
            if core.breaker.trip(str(error)):
                logger.warning("affidavit: %s Records go to the local spool.", error)
        else:
            if core.breaker.close():
                logger.warning("affidavit: the store answers again.")

    def _prepare(self, timeout_s: float) -> None:
        """Make the store ready. Whatever goes wrong counts as "away": records are spooled."""
        try:
            self._core.store.prepare(timeout_s)
        except StoreError:
            raise
        except Exception as error:
            msg = f"The store cannot be prepared ({type(error).__name__})."
            raise StoreUnavailable(msg) from error
        self._note_changed_settings()
        self._core.prepared.set()

    def _note_changed_settings(self) -> None:
        """Tell the ledger which settings differ from the last start of the same service."""
        core = self._core
        last = core.store.last_start(core.config.service, core.writer, PROBE_TIMEOUT_S)
        if last is None:
            return
        # An older release may have written it, or rules of redaction may have taken it away.
        details = last.get("details")
        before = details.get("config") if isinstance(details, dict) else None
        if not isinstance(before, dict):
            return
        now = core.settings()
        changed = {
            name: {"before": before.get(name), "now": now.get(name)}
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
        }
        if changed:
            noted = {"since": last.get("writer"), "changed": changed}
            core.ledger(LedgerEvent.CONFIG_CHANGED, noted)

    # -- heartbeat and watchdog ------------------------------------------------------------------

    def beat(self, state: str) -> bool:
        """Insert a heartbeat with the counters; False if the store did not take it."""
        core = self._core
        try:
            core.store.heartbeat(bson.encode(self._heartbeat(state)), PROBE_TIMEOUT_S)
        except StoreError as error:
            if core.breaker.trip(str(error)):
                logger.warning("affidavit: %s Records go to the local spool.", error)
            return False
        if core.breaker.close():
            logger.warning("affidavit: the store answers again.")
        return True

    def _heartbeat(self, state: str) -> dict[str, Any]:
        core = self._core
        core.note_retried()
        return {
            "_id": ObjectId(),
            "writer": core.writer,
            "at": datetime.now(UTC),
            **core.actor(),
            "state": state,
            "mode": core.mode,
            "counters": core.counters.as_dict(),
            "ledger_counters": core.counters.as_dict(Dest.LEDGER),
            "retried": {dest.value: core.counters.retried(dest) for dest in Dest},
            "queue_bytes": core.inbox.size_bytes,
            "spool_bytes": core.owned.spool.size_bytes if core.owned is not None else 0,
            "slow_writes": core.slow_writes,
            "outages": core.breaker.opened_count,
            "breaker": "open" if core.breaker.is_open else "closed",
            "latency_ms": {
                "p50": core.latencies.percentile(50),
                "p95": core.latencies.percentile(95),
                "p99": core.latencies.percentile(99),
            },
            "latency_recent_ms": {
                "p50": core.latencies.percentile(50, RECENT_S),
                "p95": core.latencies.percentile(95, RECENT_S),
                "p99": core.latencies.percentile(99, RECENT_S),
                "count": core.latencies.count(RECENT_S),
            },
            "oldest_spooled_ms": self._oldest_spooled_ms(),
            "pool": _pool(core.store.pool_use()),
        }

    def _oldest_spooled_ms(self) -> int:
        """Tell for how long the oldest record of the spool has waited; 0 where none does."""
        owned = self._core.owned
        since_ms = owned.spool.oldest_ms if owned is not None else None
        return 0 if since_ms is None else max(0, time.time_ns() // 1_000_000 - since_ms)

    def _watch_writer(self) -> None:
        thread = self._writer.thread
        if thread is None or thread.is_alive() or self._core.stopping.is_set():
            return
        self._core.writer_restarts += 1
        logger.error("affidavit: the writer thread had died; a new one goes on where it stopped.")
        self._reconcile()
        self._writer.start()
        details = {"restarts": self._core.writer_restarts, "thread": "writer"}
        self._core.ledger(LedgerEvent.WRITER_RESTARTED, details)

    def _reconcile(self) -> None:
        """Find out what the dead thread had spooled: it may have died before it counted that."""
        core = self._core
        if core.owned is None:
            return
        try:
            spooled = core.owned.spool.recount()
        except SpoolError as error:
            core.note_problem(str(error))
            return
        core.counters.correct_spooled(spooled.by_dest)
        self._writer.forget_spooled(max(spooled.last_seq, self._shipped_until))

    def revive(self) -> None:
        """Start another thread if the one there was has died; called by the writer's thread.

        That one alone appends to the spool, so nothing moves while it counts here.
        """
        core = self._core
        if self.thread is None or self.thread.is_alive() or core.stopping.is_set():
            return
        self._count_removed()
        try:
            self.start()
        except RuntimeError:  # the system gives no thread now: asked again at the next step
            return
        core.writer_restarts += 1
        logger.error("affidavit: the shipper thread had died; a new one goes on where it stopped.")
        details = {"restarts": core.writer_restarts, "thread": "shipper"}
        core.ledger(LedgerEvent.WRITER_RESTARTED, details)

    def _count_removed(self) -> None:
        """Count what the dead thread had sent and removed from the spool, and not counted yet."""
        core, counters = self._core, self._core.counters
        if core.owned is None:
            return
        try:
            there = core.owned.spool.recount().by_dest
        except SpoolError as error:
            core.note_problem(str(error))
            return
        for dest in Dest:
            gone = counters.spooled(dest) - there[dest]
            if gone > 0:
                dead = min(gone, sum(1 for place in self._buried.values() if place is dest))
                counters.add(Slot.SPOOLED_OUT, dest, gone)
                counters.add(Slot.STORED, dest, gone - dead)
                counters.add(Slot.REPLAYED, dest, gone - dead)
                self._buried = {seq: d for seq, d in self._buried.items() if d is not dest}

    def abandon(self) -> None:
        """In a forked child: let go of what this thread owned in the parent."""
        self._adopter.abandon()

    def finish(self, deadline_s: float) -> bool:
        """On closing, from the closing thread: send what still waits while the store answers.

        False if the last numbers could not be told to the store.
        """
        core = self._core
        spool = core.owned.spool if core.owned is not None else None
        while time.monotonic() < deadline_s and not core.breaker.is_open:
            if not self.ship_once():
                break
        core.give_up_held()
        hopeless = core.breaker.is_open or not core.prepared.is_set()
        if hopeless or time.monotonic() >= deadline_s or not self._ship_leaves(spool):
            core.spool_leaves()
        self._adopter.release()
        return not core.breaker.is_open and core.prepared.is_set() and self._last_beat(deadline_s)

    def _last_beat(self, deadline_s: float) -> bool:
        """Tell the last numbers; a store that was there a moment ago may only be slow."""
        while not self.beat("stopped"):
            if time.monotonic() + _AGAIN_S >= deadline_s:
                return False
            time.sleep(_AGAIN_S)
        return True


def _pool(use: tuple[int, int] | None) -> dict[str, int] | None:
    return None if use is None else {"in_use": use[0], "size": use[1]}
