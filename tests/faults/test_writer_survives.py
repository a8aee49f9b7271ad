"""A writer thread that dies, a record that cannot be finished, a process that was stopped."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from affidavit import AuditLogger, _awaiting
from affidavit._engine.ticket import State, Ticket
from affidavit.pipeline.chain import Chain
from affidavit.store.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit._engine.writer import Writer
    from affidavit.event import Dest


pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    # The interpreter drops the exception where it hits a destructor; kill() is then asked again.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def one_call(audit: AuditLogger) -> str:
    """Record one call."""
    with audit.call(provider="p", model="m", message="hello" * 50, user_id="u") as call:
        call.complete(text="answer" * 50)
    return call.call_id


def kill(writer: Writer) -> None:
    """Let the thread die of an exception that nobody expects."""
    thread = writer.thread
    assert thread is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
    )


@pytest.mark.requirement("R6", "R12")
@pytest.mark.parametrize("mode", ["direct", "batch", "async", "high_volume"])
def test_a_writer_that_dies_again_and_again_under_load_loses_nothing(
    tmp_path: Path, mode: str
) -> None:
    """Also with a backlog, while a batch is under way on the other thread."""
    settings = {
        "direct": {},
        "batch": {"batch_writes": True},
        "async": {"async_writes": True},
        "high_volume": {"batch_writes": True, "async_writes": True},
    }[mode]
    store = MemoryStore(f"memory:dying-{mode}")
    store.hang_s = 0.02
    audit = AuditLogger(store, spool_dir=str(tmp_path), flush_interval=0.2, **settings)  # type: ignore[arg-type]
    stop, ids = threading.Event(), []

    def record() -> None:
        while not stop.is_set():
            ids.append(one_call(audit))
            if audit.config.async_writes:
                time.sleep(0.0005)

    threads = [threading.Thread(target=record) for _ in range(3)]
    for thread in threads:
        thread.start()
    running = audit._engine._running
    assert running is not None
    chance = random.Random(1)
    for restarts in range(1, 9):
        time.sleep(chance.uniform(0.02, 0.2))
        end_s, ask_s = time.monotonic() + 10, 0.0
        while running.core.writer_restarts < restarts and time.monotonic() < end_s:
            if time.monotonic() > ask_s:  # the interpreter ignores it inside a destructor
                kill(running.writer)
                ask_s = time.monotonic() + 1.0
            time.sleep(0.01)
        if running.core.writer_restarts < restarts:
            stop.set()
            faulthandler.dump_traceback(all_threads=True)
        assert running.core.writer_restarts == restarts
    stop.set()
    for thread in threads:
        thread.join()
    assert audit.flush(20), audit.stats()
    stats = audit.stats()
    audit.close()
    assert stats.stored == stats.recorded == 2 * len(ids) == len(store.documents())


@pytest.mark.requirement("R6")
def test_an_answer_that_died_with_the_writer_is_not_waited_for(tmp_path: Path) -> None:
    """The next thread sends the batch again: it is stored once all the same."""
    store = MemoryStore("memory:answer")
    audit = AuditLogger(store, spool_dir=str(tmp_path), batch_writes=True, async_writes=True)
    running = audit._engine._running
    assert running is not None
    sender = running.writer._sender
    plain, died = sender.land, threading.Event()

    def land() -> object:
        answer = plain()
        if not died.is_set():
            died.set()
            raise SystemExit
        return answer

    sender.land = land  # type: ignore[method-assign,assignment]
    store.hang_s = 0.05
    end_s, count = time.monotonic() + 10, 0
    while not died.is_set() and time.monotonic() < end_s:
        for _ in range(1500):  # a backlog, so that a batch is sent by another thread
            one_call(audit)
        count += 1500
        died.wait(0.5)
    assert died.is_set()
    assert audit.flush(20), audit.stats()
    audit.close()
    # Until another thread writes, the queue may fill: what found no room is counted.
    assert len(store.documents()) + audit.stats().lost == 2 * count


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("mode", ["direct", "batch"])
def test_a_record_that_cannot_be_finished_is_counted_and_the_others_are_kept(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One poisoned record neither stops the writer nor takes its neighbours with it."""
    plain, poison = Chain.finish, []

    def finish(self: Chain, dest: Dest, record_id: bytes, snapshot: bytes, seq: int) -> bytes:
        if record_id in poison:
            raise RuntimeError
        return plain(self, dest, record_id, snapshot, seq)

    monkeypatch.setattr(Chain, "finish", finish)
    store = MemoryStore(f"memory:poison-{mode}")
    audit = AuditLogger(store, spool_dir=str(tmp_path), batch_writes=mode == "batch")
    ids = []

    def record() -> None:
        ids.append(one_call(audit))

    for _ in range(3):
        threads = [threading.Thread(target=record) for _ in range(8)]
        with audit.call(provider="p", message="poison") as call:
            poison.append(call.intent_id)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            call.complete(text="x")
    assert audit.flush(10), audit.stats()
    stats = audit.stats()
    audit.close()
    assert (stats.recorded, stats.lost) == (2 * 27, 3)
    assert len(store.documents()) == stats.stored == 2 * 27 - 3
    assert {r["call_id"] for r in store.documents()} > set(ids)
    assert "RuntimeError" in caplog.text


@pytest.mark.requirement("R6")
def test_a_full_queue_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Records lost because the queue stayed full are counted, and not in silence."""
    store = MemoryStore("memory:said")
    audit = AuditLogger(store, spool_dir=str(tmp_path), async_writes=True, queue_wait=0.0)
    running = audit._engine._running
    assert running is not None
    audit.flush()
    running.core.inbox._max_bytes = 1
    store.hang_s = 0.3
    for _ in range(20):
        one_call(audit)
    assert audit.stats().lost > 0
    assert caplog.text.count("lost: the memory queue stayed full") == 1
    audit.close()


@pytest.mark.requirement("R6")
def test_time_spent_stopped_does_not_use_up_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was stopped for a minute still waits for the answer when it goes on."""
    ticket, waits = Ticket(), []
    real = ticket._lock

    class Stopping:
        """A lock on which the first wait seems to take a minute: the process was stopped."""

        def acquire(self, *, timeout: float) -> bool:
            waits.append(timeout)
            if len(waits) == 1:
                return False
            ticket._lock = real
            ticket.settle(State.SPOOLED)
            return real.acquire(timeout=timeout)

        def release(self) -> None:
            real.release()

    ticket._lock = Stopping()  # type: ignore[assignment]
    assert ticket.wait(2.0) is State.SPOOLED
    assert sum(waits) < 2.0


@pytest.mark.requirement("R6")
async def test_time_spent_stopped_does_not_use_up_a_wait_on_the_loop() -> None:
    """The same for a task: all timers are due at once when the process goes on."""
    ticket, loop = Ticket(), asyncio.get_running_loop()
    waiting = asyncio.ensure_future(_awaiting.settled(ticket, 1.0))
    await asyncio.sleep(0)
    shift = 60.0
    plain = loop.time
    loop.time = lambda: plain() + shift  # type: ignore[method-assign]
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    ticket.settle(State.STORED)
    assert await waiting is State.STORED
