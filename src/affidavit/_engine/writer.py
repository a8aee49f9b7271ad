"""The writer thread: numbers and finishes records, and routes them.

What happens to a batch, by mode:

============  =================================================================================
direct        sent at once, two batches at a time at most; the caller is woken by the store's
              confirmation
async         the same; nobody waits
batch         into the spool (fsync wakes the caller); the shipper sends them on
high_volume   gathered for at most 100 ms or 1,000 records; sent if a batch is due, else spooled;
              under a backlog sent by :class:`Sender` while the next batch is being finished
============  =================================================================================

Whenever the store does not answer, the batch goes to the spool and the breaker opens. If this
thread dies, the watchdog starts another one on the same :class:`Writer`, which goes on with
``in_hand``: numbers were given, so nothing is sent under two of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from affidavit._engine.core import Core, logger
from affidavit._engine.inbox import Item
from affidavit._engine.sender import LEAST_TIMEOUT_S, LIMIT, Sender
from affidavit._engine.ticket import State
from affidavit._engine.turns import SHORT_S, Turns
from affidavit.errors import StoreError, StoreUnavailable
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.price import pricer_of
from affidavit.pipeline.redact.configured import redactor_of
from affidavit.pipeline.said import fingerprints_of
from affidavit.spool.counters import Slot
from affidavit.store.base import Encoded, Verdict

TAKE: Final = 200
"""Records finished in one go; small enough that a waiting caller is served soon."""

GATHER_S: Final = 0.01
QUIET_S: Final = 1.0
"""Seconds without a record after which the writer sleeps until it is woken."""

EXPOSED_S: Final = 0.1
"""Longest time a record of the high-volume mode stays in memory while the writer keeps up."""

EXPOSED_RECORDS: Final = 1000
MAX_SEND: Final = 1000
MANY: Final = 8
"""Records from which a batch of the direct mode goes by another thread, beside one under way."""

FLIGHT: Final = 500
"""Records the high-volume mode sends at a time under a backlog, while it finishes as many more: so
large that the database's fsync counts little, so small that a full queue moves every few
milliseconds.
"""

WATCH_S: Final = 2.0
"""Longest sleep of an idle writer, which then looks whether the shipper's thread lives."""

_SLOW_NOTE_S: Final = 60.0


class _InHand:
    """A record the writer has taken and not yet settled."""

    __slots__ = ("encoded", "item", "seq")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.seq = -1
        self.encoded: Encoded | None = None


class Writer:
    """Owns sequence numbers, the pipeline and everything between queue and spool or store."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._chain = Chain(
            core.writer,
            core.config.max_field_size,
            None,
            redactor_of(core.config),
            fingerprints_of(core.config),
            pricer_of(core.config),
        )
        self._config = core.config
        self._mode = core.mode
        self._timeout_s = core.config.write_timeout
        self._batch_size = core.config.batch_size
        self._slow_ms = core.config.slow_query_threshold
        self._slow_noted_s = 0.0
        self._traffic_until_s = 0.0
        self._sender = self._new_sender()
        self._turns = Turns(self._used_by_others_s)
        self.in_hand: list[_InHand] = []
        self.thread: threading.Thread | None = None
        self.watch: Callable[[], object] = lambda: None
        """Called between steps, every :data:`WATCH_S` at least: looks after the other thread."""

    def start(self) -> None:
        """Start a thread, or another one after a death."""
        if self.thread is not None:
            # What was under way is sent again: its answer may have died with that thread.
            self._sender.stop()
            self._sender = self._new_sender()
        if self._mode != "batch":
            self._sender.start()
        self.thread = threading.Thread(
            target=self._run, name=f"affidavit-writer-{self._core.writer}", daemon=True
        )
        self.thread.start()

    def _new_sender(self) -> Sender:
        core = self._core
        # The high-volume mode looks by itself, every few milliseconds.
        tell = (lambda: None) if self._mode == "high_volume" else core.inbox.wake
        return Sender(core.store, core.second_connection, tell, f"affidavit-sender-{core.writer}")

    def _used_by_others_s(self) -> float:
        return time.process_time() - time.thread_time() - self._sender.used_s()

    def forget_spooled(self, until_seq: int) -> None:
        """Settle what the thread that died had spooled already; called before another starts."""
        while self.in_hand and self.in_hand[0].encoded and self.in_hand[0].seq <= until_seq:
            ticket = self.in_hand[0].item.ticket
            self._settled(1)
            if ticket is not None:
                ticket.settle(State.SPOOLED)

    # -- the loop --------------------------------------------------------------------------------

    def _run(self) -> None:
        core = self._core
        self._prepare()
        if self.in_hand:  # left by a thread that died
            core.inbox.drop_first_if(self.in_hand[-1].item)
        while not self._step():
            pass

    def _step(self) -> bool:
        """Wait, take and route once; True when stopping and nothing is left."""
        core = self._core
        self.watch()
        stopping = core.stopping.is_set()
        if not stopping:
            self._wait()
        taken = core.inbox.move_into(self.in_hand, TAKE, _InHand)
        try:
            self._finish_and_route()
        except Exception as error:
            # The text could hold content of a record; its type is enough to find the cause.
            logger.error("affidavit: a batch failed with %s; it is spooled.", type(error).__name__)
            self._trip(StoreUnavailable(f"The store failed with {type(error).__name__}."))
            self._put_all_aside()
        if stopping and not taken and not self.in_hand:
            self._core.leaves.close()
            self._sender.stop()
            return True
        return False

    def _wait(self) -> None:
        """Wait for records.

        Waking a sleeping thread was measured to cost the caller up to a quarter of a paced call.
        So in the high-volume mode, where nobody waits for an answer, the writer looks by itself
        every few milliseconds while there is traffic, and asks to be woken only when there has
        been none for a second.
        """
        core = self._core
        if self._mode != "high_volume":
            core.inbox.wait(self._wait_s())
        elif core.inbox.depth < TAKE:
            now_s = time.monotonic()
            if core.inbox.depth:
                self._traffic_until_s = now_s + QUIET_S
            elif not self.in_hand and now_s > self._traffic_until_s:
                core.inbox.wait(self._wait_s())
            time.sleep(GATHER_S)

    def _wait_s(self) -> float:
        leaves_s = self._core.leaves.wait_s()
        records_s = self._records_wait_s()
        return records_s if leaves_s is None else min(leaves_s, records_s)

    def _records_wait_s(self) -> float:
        if self._sender.flying:
            return EXPOSED_S  # landing wakes this thread; this is for the case that it did not
        if self.in_hand:
            return max(0.001, self.in_hand[0].item.at_s + EXPOSED_S - time.monotonic())
        return WATCH_S

    def _prepare(self) -> None:
        """Wait for the shipper to make the store ready; spool from the start if that takes long."""
        core = self._core
        if not core.tried.wait(self._timeout_s):
            self._trip(StoreUnavailable("The database does not answer yet."))

    def _finish_and_route(self) -> None:
        core = self._core
        if self._chain.compression_level is None and core.prepared.is_set():
            self._decide_compression()
        counters, finish, leaves = core.counters, self._chain.finish, core.leaves
        poisoned: list[tuple[_InHand, str]] = []
        yield_at_s = time.perf_counter() + SHORT_S
        for hand in self.in_hand:
            if hand.encoded is None:
                item = hand.item
                if hand.seq < 0:  # else the thread before this one died after giving a number
                    hand.seq = counters.next_seq
                    counters.next_seq = hand.seq + 1
                try:
                    done = finish(item.dest, item.record_id, item.snapshot, hand.seq)
                except Exception as error:
                    poisoned.append((hand, type(error).__name__))
                    continue
                hand.encoded = Encoded(item.dest, item.record_id, hand.seq, done.body)
                leaves.add(hand.seq, done.leaf, done.time_ms, item.dest)
                if time.perf_counter() >= yield_at_s:
                    # Give the application's threads their turn: without this, a batch of this
                    # work was measured to hold up an event loop for 90 ms. Not after each record:
                    # a sleep of nothing takes 60 to 85 us, as long as the record's own work.
                    time.sleep(0)
                    yield_at_s = self._next_turn_s()
        for hand, reason in poisoned:
            self._lose(hand, reason)
        leaves.close_if_due()
        if self.in_hand:
            self._route(force=core.stopping.is_set())

    def _next_turn_s(self) -> float:
        """Tell when to give way again; turns are long only where callers wait for nothing."""
        now_s = time.perf_counter()
        backlog = self._mode == "high_volume" and self._core.inbox.depth >= TAKE
        return now_s + (self._turns.next_s(now_s) if backlog else SHORT_S)

    def _lose(self, hand: _InHand, reason: str) -> None:
        """Count a record that nothing can be made of; its neighbours go on without it."""
        item = hand.item
        self.in_hand.remove(hand)
        self._core.lose([Encoded(item.dest, item.record_id, hand.seq, b"")])
        self._settled(0)
        if item.ticket is not None:
            item.ticket.settle(State.LOST)
        # The error's text could hold content of the record.
        logger.error("affidavit: a record is lost: finishing it failed with %s.", reason)

    def _decide_compression(self) -> None:
        wanted = self._config.compress_large_fields and not self._core.store.compresses_blocks()
        self._chain.compression_level = self._config.compression_level if wanted else None

    # -- routing ---------------------------------------------------------------------------------

    def _route(self, *, force: bool) -> None:
        """Send or spool what is in hand; a record leaves ``in_hand`` only when it is settled."""
        if not self.in_hand:
            return
        if self._mode == "batch":
            self._put_aside(len(self.in_hand))
        elif self._mode != "high_volume":
            self._route_at_once(force=force)
        elif self._may_route(force=force) and self._is_due(force=force):
            if not self._is_batch(force=force):
                self._land_all()
                self._put_aside(len(self.in_hand))
            elif self._core.inbox.depth and self._waiting >= FLIGHT:
                self._launch()
            else:
                self._send()

    @property
    def _waiting(self) -> int:
        """Records in hand that are not under way."""
        return len(self.in_hand) - self._sender.flying

    def _route_at_once(self, *, force: bool) -> None:
        """Direct and async: whatever has come goes out now, on another thread where that pays."""
        while self._sender.landed:
            self._land()
        if not self._waiting:
            return
        if force or self._core.breaker.is_open:
            self._send()
            return
        if self._sender.under_way >= LIMIT:
            return  # the landing of one wakes this thread
        start = self._sender.flying
        part = self.in_hand[start : start + MAX_SEND]
        timeout_s = self._time_left_s(part)
        if len(part) >= MANY and timeout_s >= LEAST_TIMEOUT_S:
            self._sender.launch(_encoded(part), timeout_s)
        elif not start or timeout_s < LEAST_TIMEOUT_S:
            # Few callers: sent from here, which saves waking another thread and back.
            self._send()

    def _may_route(self, *, force: bool) -> bool:
        """Settle what has landed; False while it is better to go on collecting."""
        while self._sender.landed:
            self._land()
        if self._sender.flying and self._waiting < FLIGHT and not force:
            return False
        backlog = self._core.inbox.depth >= TAKE
        return self._waiting > 0 and (force or not backlog or self._waiting >= FLIGHT)

    def _launch(self) -> None:
        """Send the oldest in hand on another thread, and go on with the next."""
        if self._sender.under_way >= LIMIT:
            self._land()
        if self._core.breaker.is_open:
            self._send()
            return
        start = self._sender.flying
        part = self.in_hand[start : start + FLIGHT]
        self._sender.launch(_encoded(part), self._time_left_s(part))

    def _land_all(self) -> None:
        while self._sender.flying:
            self._land()

    def _land(self) -> None:
        part = self.in_hand[: self._sender.oldest]
        try:
            verdicts, took_ms = self._sender.land()
        except StoreError as error:
            self._trip(error)
            # The one behind it would keep later callers waiting until its own time is out, too.
            self._put_all_aside()
        else:
            self._sent(part, verdicts, took_ms)

    def _is_due(self, *, force: bool) -> bool:
        age_s = time.monotonic() - self.in_hand[0].item.at_s
        many = len(self.in_hand) >= EXPOSED_RECORDS
        return force or many or age_s >= EXPOSED_S or self._is_batch(force=force)

    def _is_batch(self, *, force: bool) -> bool:
        """Whether what is in hand is a batch by itself; less than one goes to the spool.

        There the shipper counts: at low rates records meet in the spool, and go out ten at a time.
        """
        wanted = force or self._core.flush_wanted.is_set()
        return wanted or len(self.in_hand) >= self._batch_size

    def _send(self) -> None:
        """Send to the store; whatever it does not confirm in time goes to the spool."""
        self._land_all()
        while self.in_hand:
            part = self.in_hand[:MAX_SEND]
            timeout_s = self._time_left_s(part)
            if self._core.breaker.is_open or timeout_s < LEAST_TIMEOUT_S:
                self._put_aside(len(part))
            else:
                self._send_part(part, timeout_s)

    def _time_left_s(self, part: list[_InHand]) -> float:
        """A caller waits ``write_timeout`` in all; records nobody waits for get it whole."""
        waited = [hand.item.at_s for hand in part if hand.item.ticket is not None]
        if not waited:
            return self._timeout_s
        return self._timeout_s - (time.monotonic() - min(waited))

    def _send_part(self, part: list[_InHand], timeout_s: float) -> None:
        started_s = time.monotonic()
        try:
            verdicts = self._core.store.append(_encoded(part), timeout_s)
        except StoreError as error:
            self._trip(error)
            self._put_aside(len(part))
        else:
            self._sent(part, verdicts, (time.monotonic() - started_s) * 1000)

    def _sent(self, part: list[_InHand], verdicts: Sequence[Verdict], took_ms: float) -> None:
        """Settle a batch the store has answered for."""
        core, batch = self._core, _encoded(part)
        now_s = time.monotonic()
        stored, refused = core.sort_verdicts(batch, verdicts)
        core.tally(Slot.STORED, stored)
        dead = core.bury(refused) if refused else State.DEAD
        self._settled(len(part))
        gone = {record.seq for record, _reason in refused}
        for hand, record in zip(part, batch, strict=True):
            core.latencies.add((now_s - hand.item.at_s) * 1000)
            if hand.item.ticket is not None:
                hand.item.ticket.settle(dead if record.seq in gone else State.STORED)
        self._note_slow(took_ms)

    def _put_all_aside(self) -> None:
        """Spool everything in hand, also what is under way: its answer does not count any more."""
        self._sender.abandon()
        self._put_aside(len(self.in_hand))

    def _put_aside(self, count: int) -> None:
        part = self.in_hand[:count]
        state = self._core.put_aside(_encoded(part))
        self._settled(count)
        for hand in part:
            if hand.item.ticket is not None:
                hand.item.ticket.settle(state)
        self._core.ship_wake.set()

    def _settled(self, count: int) -> None:
        """The first ``count`` in hand are accounted for; so is everything numbered before them."""
        del self.in_hand[:count]
        counters = self._core.counters
        unsettled = [counters.next_seq]
        if self.in_hand and self.in_hand[0].seq >= 0:
            unsettled.append(self.in_hand[0].seq)
        if self._core.held and (held := self._core.first_unsettled()) is not None:
            unsettled.append(held)
        counters.settled = min(unsettled)
        if counters.lost_above and counters.settled > self._core.lost_until:
            counters.lost_above = 0

    def _trip(self, error: StoreError) -> None:
        if self._core.breaker.trip(str(error)):
            logger.warning("affidavit: %s Records go to the local spool until it answers.", error)
        self._core.ship_wake.set()

    def _note_slow(self, took_ms: float) -> None:
        if took_ms < self._slow_ms:
            return
        core = self._core
        core.slow_writes += 1
        now_s = time.monotonic()
        if now_s - self._slow_noted_s >= _SLOW_NOTE_S:
            self._slow_noted_s = now_s
            logger.warning(
                "affidavit: a write took %.0f ms, over slow_query_threshold of %g ms "
                "(%d slow ones so far).",
                took_ms,
                self._slow_ms,
                core.slow_writes,
            )


def _encoded(part: Sequence[_InHand]) -> list[Encoded]:
    return [hand.encoded for hand in part if hand.encoded is not None]
