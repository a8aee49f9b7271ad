"""The engine's promises, against a store in memory that can be switched off."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import time
from typing import TYPE_CHECKING

import bson
import pytest

from affidavit import AuditConfig, AuditLogger, AuditUnavailable
from affidavit._engine.breaker import Breaker
from affidavit._engine.stats import Latencies, Stats
from affidavit._engine.ticket import State, Ticket
from affidavit.errors import StoreRefused, StoreUnavailable
from affidavit.event import Dest
from affidavit.store.memory import MemoryStore
from affidavit.testing import capture_events

if TYPE_CHECKING:
    from pathlib import Path

MODES = {
    "direct": AuditConfig(),
    "batch": AuditConfig(batch_writes=True, flush_interval=0.3),
    "async": AuditConfig(async_writes=True),
    "high_volume": AuditConfig(batch_writes=True, async_writes=True, flush_interval=0.3),
}
every_mode = pytest.mark.parametrize("mode", MODES)


def one_call(audit: AuditLogger, message: str = "hello") -> str:
    """Record one call."""
    with audit.call(provider="p", model="m", message=message, user_id="u") as call:
        call.complete(text="answer")
    return call.call_id


def adds_up(stats: Stats) -> bool:
    """The law of conservation."""
    parts = stats.queued + stats.stored + stats.spooled + stats.dead_lettered + stats.lost
    return stats.recorded == parts


def eventually(condition: object, timeout_s: float = 10.0) -> bool:
    """Wait for a condition."""
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


@pytest.mark.requirement("R1", "R8", "R9", "R12")
@every_mode
def test_everything_recorded_arrives(mode: str) -> None:
    """In each mode, every call leaves its two records, and the numbers add up."""
    with capture_events(MODES[mode]) as captured:
        ids = [one_call(captured.audit) for _ in range(50)]
        records = captured.records
        stats = captured.audit.stats()
    assert sorted(r["call_id"] for r in records) == sorted(ids * 2)
    assert (stats.recorded, stats.stored, stats.lost) == (100, 100, 0)
    assert adds_up(stats)
    assert sorted(r["seq"] for r in records + captured.store.documents(Dest.LEDGER)) == list(
        range(len(records) + len(captured.store.documents(Dest.LEDGER)))
    )


@pytest.mark.requirement("R8")
def test_a_direct_call_returns_after_both_records_are_stored() -> None:
    """No flush is needed: when the block is left, the store has both."""
    with capture_events() as captured:
        call_id = one_call(captured.audit)
        now = [r for r in captured.store.documents() if r["call_id"] == call_id]
    assert [r["status"] for r in now] == ["initiated", "completed"]


@pytest.mark.requirement("R9")
def test_a_batch_goes_out_when_it_is_full() -> None:
    """Ten records go out although the interval is far away."""
    config = AuditConfig(batch_writes=True, batch_size=10, flush_interval=3600)
    with capture_events(config) as captured:
        store = captured.store
        for _ in range(4):
            one_call(captured.audit)
        # With the start record 9 wait; nothing has gone out.
        time.sleep(0.6)
        assert store.documents() == []
        one_call(captured.audit)
        assert eventually(lambda: len(store.documents()) == 10)


@pytest.mark.requirement("R9")
def test_at_a_low_rate_records_meet_in_the_spool_and_go_out_together() -> None:
    """High volume at 20 records a second: ten to an insert, not two."""
    config = AuditConfig(batch_writes=True, async_writes=True, flush_interval=3600)
    with capture_events(config) as captured:
        sizes: list[int] = []
        append = captured.store.append

        def counting(batch: object, timeout_s: float) -> object:
            sizes.append(len(batch))  # type: ignore[arg-type]
            return append(batch, timeout_s)  # type: ignore[arg-type]

        captured.store.append = counting
        for _ in range(20):
            one_call(captured.audit)
            time.sleep(0.12)
        assert eventually(lambda: sum(sizes) >= 30)
        assert min(sizes) >= 10


@pytest.mark.requirement("R9")
def test_a_smaller_batch_goes_out_after_the_interval() -> None:
    """Two records wait no longer than flush_interval."""
    config = AuditConfig(batch_writes=True, batch_size=1000, flush_interval=0.5)
    with capture_events(config) as captured:
        one_call(captured.audit)
        assert captured.store.documents() == []
        assert eventually(lambda: len(captured.store.documents()) == 2)


@pytest.mark.requirement("R6")
@every_mode
def test_an_outage_loses_nothing_and_is_replayed(mode: str) -> None:
    """Calls go on while the store is away; afterwards everything is there, once."""
    with capture_events(MODES[mode], write_timeout=0.2) as captured:
        one_call(captured.audit)
        assert captured.audit.flush()
        captured.store.unavailable = True
        ids = [one_call(captured.audit) for _ in range(20)]
        assert eventually(lambda: captured.audit.stats().spooled >= 40)
        assert adds_up(captured.audit.stats())
        captured.store.unavailable = False
        assert captured.audit.flush(10)
        stats = captured.audit.stats()
        records = captured.records
    assert stats.replayed >= 40
    assert (stats.lost, stats.spooled, stats.recorded) == (0, 0, stats.stored)
    assert sorted(r["call_id"] for r in records if r["call_id"] in ids) == sorted(ids * 2)


@pytest.mark.requirement("R6")
def test_during_an_outage_only_the_first_caller_waits() -> None:
    """One write_timeout, then the breaker sends straight to the spool."""
    with capture_events(write_timeout=0.4) as captured:
        one_call(captured.audit)
        captured.store.hang_s = 3600
        waits = []
        for _ in range(30):
            start = time.perf_counter()
            one_call(captured.audit)
            waits.append(time.perf_counter() - start)
        captured.store.hang_s = 0
        assert captured.audit.flush(10)
    assert waits[0] < 0.9
    assert sorted(waits)[-2] < 0.3
    assert captured.audit.config.write_timeout == 0.4


@pytest.mark.requirement("R6")
def test_what_waits_at_the_end_is_taken_over_by_the_next_process(tmp_path: Path) -> None:
    """Closing during an outage leaves a spool; the next logger replays and removes it."""
    store = MemoryStore("memory:handover")
    settings = AuditConfig(spool_dir=str(tmp_path), write_timeout=0.1)
    first = AuditLogger(store, settings)
    one_call(first)
    store.unavailable = True
    ids = [one_call(first) for _ in range(5)]
    first.close(0.2)
    assert list(tmp_path.rglob("*.db"))
    store.unavailable = False
    with AuditLogger(store, settings):
        assert eventually(lambda: len(store.documents()) == 12)
        assert eventually(
            lambda: "spool_adopted" in {d["event_type"] for d in store.documents(Dest.LEDGER)}
        )
    assert sorted(r["call_id"] for r in store.documents() if r["call_id"] in ids) == sorted(ids * 2)
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.requirement("R6")
def test_a_killed_process_leaves_an_exact_count_of_what_it_lost(tmp_path: Path) -> None:
    """Records in memory at a SIGKILL are counted lost by whoever adopts the spool."""
    settings = AuditConfig(
        spool_dir=str(tmp_path / "spool"), async_writes=True, batch_writes=True, batch_size=1000
    )
    pid = os.fork()
    if pid == 0:
        audit = AuditLogger(MemoryStore("memory:killed"), settings)
        for _ in range(10):
            one_call(audit)
        while audit.stats().spooled < 20:
            time.sleep(0.01)
        # Stop the writer from taking more, then record what will be lost.
        core = audit._engine._running.core
        core.inbox.move_into = lambda *_: time.sleep(60)
        for _ in range(4):
            one_call(audit)
        (tmp_path / "numbers").write_text(json.dumps(audit.stats().as_dict()))
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    before = json.loads((tmp_path / "numbers").read_text())
    store = MemoryStore("memory:killed")
    with AuditLogger(store, settings) as audit:
        assert eventually(lambda: any(h["state"] == "adopted" for h in store.heartbeats))
        audit.flush()
    final = next(h for h in store.heartbeats if h["state"] == "adopted")["counters"]
    stored = len([r for r in store.documents() if r["writer"] == before["writer"]])
    assert final["recorded"] == before["recorded"] == 28
    assert final["stored"] == stored
    assert final["lost"] == 28 - stored == before["queued"]


@pytest.mark.requirement("R6")
def test_a_refused_record_becomes_a_dead_letter_with_its_reason() -> None:
    """The others of the batch are stored; the ledger says what happened."""
    with capture_events(AuditConfig(batch_writes=True, flush_interval=3600)) as captured:
        with captured.audit.call(provider="p", message="refuse me") as call:
            captured.store.reject[call.intent_id] = "validation"
            call.complete(text="x")
        captured.audit.flush()
        stats = captured.audit.stats()
        assert [r["event_type"] for r in captured.records] == ["llm_response"]
        assert (stats.dead_lettered, stats.stored, stats.lost) == (1, 1, 0)
        assert adds_up(stats)
        letters = [d for d in captured.ledger if d["event_type"] == "dead_letter"]
    assert letters[0]["details"]["reasons"] == ["validation"]


@pytest.mark.requirement("R6")
def test_refuse_stops_the_call_before_it_is_made() -> None:
    """The model is not asked, and the log says why."""
    with capture_events(on_failure="refuse", write_timeout=0.2) as captured:
        one_call(captured.audit)
        captured.store.unavailable = True
        asked = False
        with (
            pytest.raises(AuditUnavailable, match="do not call the model"),
            captured.audit.call(provider="p", message="hi"),
        ):
            asked = True
        assert not asked
        captured.store.unavailable = False
        assert captured.audit.flush(10)
        assert captured.records[-1]["error_type"] == "AuditUnavailable"


@pytest.mark.requirement("R6")
def test_refuse_accepts_the_spool_where_that_counts_as_durable() -> None:
    """With durable='spool' the call goes on during an outage."""
    with capture_events(on_failure="refuse", durable="spool", write_timeout=0.2) as captured:
        captured.store.unavailable = True
        assert one_call(captured.audit)
        captured.store.unavailable = False


@pytest.mark.requirement("R6")
def test_refuse_needs_the_store_at_start() -> None:
    """An unreachable store is an error at once, with the remedy."""
    store = MemoryStore("memory:away")
    store.unavailable = True
    with pytest.raises(AuditUnavailable, match="on_failure='spool'"):
        AuditLogger(store, on_failure="refuse")


@pytest.mark.requirement("R6")
def test_without_refuse_an_unreachable_store_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The application starts, and its records wait in the spool."""
    store = MemoryStore("memory:away-but-ok")
    store.unavailable = True
    audit = AuditLogger(store, write_timeout=0.1)
    one_call(audit)
    assert audit.stats().spooled == 2
    assert "spool" in caplog.text
    store.unavailable = False
    assert audit.flush()
    audit.close()
    assert len(store.documents()) == 2


@pytest.mark.requirement("R6")
def test_a_store_that_fails_in_unforeseen_ways_counts_as_away() -> None:
    """Neither set-up nor an append that raises anything at all stops the threads."""
    store = MemoryStore("memory:unforeseen")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    store.prepare = broken
    audit = AuditLogger(store, write_timeout=0.2)
    one_call(audit)
    assert audit.stats().spooled == 2
    del store.prepare
    assert audit.flush()
    store.append = broken
    one_call(audit)
    assert (audit.stats().spooled, audit.stats().lost) == (2, 0)
    del store.append
    assert audit.flush()
    audit.close()
    assert len(store.documents()) == 4


@pytest.mark.requirement("R6")
def test_a_store_that_cannot_be_set_up_gets_no_records() -> None:
    """Heartbeats that get through do not make it "up": records wait in the spool."""
    store = MemoryStore("memory:unfit")

    def refuse(_timeout_s: float) -> None:
        raise StoreRefused("a capped collection cannot hold the log.")

    store.prepare = refuse
    audit = AuditLogger(store, write_timeout=0.2)
    for _ in range(10):
        one_call(audit)
        time.sleep(0.1)
    stats = audit.stats()
    assert (stats.stored, stats.spooled, stats.lost) == (0, 20, 0)
    assert "capped" in stats.store
    del store.prepare
    assert audit.flush()
    audit.close()
    assert len(store.documents()) == 20


@pytest.mark.requirement("R6")
def test_without_a_disk_records_wait_in_bounded_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An unusable spool directory is a warning; an outage is bridged in memory."""
    (tmp_path / "file").write_text("")
    store = MemoryStore("memory:nodisk")
    audit = AuditLogger(store, spool_dir=str(tmp_path / "file"), write_timeout=0.1)
    assert "AFFIDAVIT_SPOOL_DIR" in caplog.text
    one_call(audit)
    store.unavailable = True
    one_call(audit)
    assert (audit.stats().spool, audit.stats().queued, audit.stats().lost) == ("memory", 2, 0)
    store.unavailable = False
    assert audit.flush()
    audit.close()
    assert len(store.documents()) == 4


@pytest.mark.requirement("R6")
def test_a_spool_directory_open_to_others_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the remedy; recording goes on, and a private one is used without a word."""
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o755)
    for directory in (loose, loose, tmp_path / "private"):
        with AuditLogger(MemoryStore("memory:loose"), spool_dir=str(directory)) as audit:
            one_call(audit)
    said = [r.getMessage() for r in caplog.records if "open to other users" in r.getMessage()]
    assert len(said) == 1
    assert f"chmod 700 {loose}" in said[0]


@pytest.mark.requirement("R6")
def test_a_full_spool_falls_back_to_memory_and_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is lost while memory lasts, and the log says that the spool is full."""
    with capture_events(max_spool_bytes=2**20, write_timeout=0.1) as captured:
        captured.store.unavailable = True
        for _ in range(150):
            one_call(captured.audit, "x" * 10_000)
        stats = captured.audit.stats()
        assert stats.lost == 0
        assert stats.queued > 0
        assert adds_up(stats)
        assert "max_spool_bytes" in caplog.text
        captured.store.unavailable = False
        assert captured.audit.flush(20)
        assert captured.audit.stats().stored == 300


@pytest.mark.requirement("R6", "R12")
def test_when_nothing_takes_more_records_are_counted_lost(tmp_path: Path) -> None:
    """No disk, no store, memory full: each loss is counted, and the callers go on."""
    (tmp_path / "file").write_text("")
    store = MemoryStore("memory:nothing")
    audit = AuditLogger(
        store,
        spool_dir=str(tmp_path / "file"),
        write_timeout=0.1,
        max_queue_bytes=2**20,
        async_writes=True,
    )
    one_call(audit)
    store.unavailable = True
    for _ in range(200):
        one_call(audit, "x" * 9000)
    assert eventually(lambda: audit.stats().lost > 0)
    stats = audit.stats()
    assert adds_up(stats)
    store.unavailable = False
    audit.close()


@pytest.mark.requirement("R12")
def test_a_full_queue_makes_the_caller_wait_briefly_and_then_counts() -> None:
    """The caller is held up for queue_wait at most."""
    with capture_events(async_writes=True, max_queue_bytes=2**20, queue_wait=0.03) as captured:
        one_call(captured.audit)
        captured.audit.flush()
        core = captured.audit._engine._running.core
        core.inbox._max_bytes = 1
        real, core.inbox.move_into = core.inbox.move_into, lambda *_: time.sleep(0.01) or 0
        captured.audit.security_event(kind="first fills the queue")
        start = time.perf_counter()
        captured.audit.security_event(kind="second finds it full")
        assert 0.03 <= time.perf_counter() - start < 0.3
        assert captured.audit.stats().lost == 1
        assert adds_up(captured.audit.stats())
        core.inbox.move_into = real


@pytest.mark.requirement("R6")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_writer_thread_is_replaced_and_reported() -> None:
    """Calls go on; the ledger says that it happened."""
    with capture_events(write_timeout=0.5) as captured:
        one_call(captured.audit)
        writer = captured.audit._engine._running.writer
        dead = writer.thread
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(dead.ident), ctypes.py_object(SystemExit)
        )
        captured.audit.security_event(kind="wakes the thread")
        assert eventually(lambda: not dead.is_alive())
        assert eventually(lambda: writer.thread is not dead and writer.thread.is_alive())
        one_call(captured.audit)
        assert eventually(lambda: captured.audit.stats().writer_restarts == 1)
        assert captured.audit.flush()
        assert adds_up(captured.audit.stats())
        # It is counted before the new thread starts, and told after that.
        assert eventually(lambda: "writer_restarted" in {d["event_type"] for d in captured.ledger})
        assert len(captured.records) == 5


@pytest.mark.requirement("R6")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("mode", ["direct", "batch", "high_volume"])
def test_a_dead_shipper_thread_is_replaced_and_reported(mode: str) -> None:
    """Else what is in the spool would wait for the end of the process; also without traffic."""
    with capture_events(MODES[mode], write_timeout=0.5) as captured:
        one_call(captured.audit)
        shipper = captured.audit._engine._running.shipper
        for restarts in (1, 2):
            dead = shipper.thread
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(dead.ident), ctypes.py_object(SystemExit)
            )
            assert eventually(lambda: not dead.is_alive())  # noqa: B023 - asked at once
            one_call(captured.audit)
            assert eventually(
                lambda: shipper.thread is not dead and shipper.thread.is_alive()  # noqa: B023
            )
            # Counted by the thread that starts it, a moment after it runs.
            assert eventually(lambda: captured.audit.stats().writer_restarts == restarts)  # noqa: B023
        assert captured.audit.flush(10)
        assert adds_up(captured.audit.stats())
        noted = [d for d in captured.ledger if d["event_type"] == "writer_restarted"]
        assert [d["details"]["thread"] for d in noted] == ["shipper", "shipper"]
        assert len(captured.records) == 6


@pytest.mark.requirement("R6")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("at", ["removed", "before the removal"])
def test_a_shipper_that_dies_around_a_removal_counts_each_record_once(
    at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stored and taken out of the spool, and the thread that would count it is gone."""
    with capture_events(batch_writes=True, flush_interval=0.1) as captured:
        one_call(captured.audit)
        assert captured.audit.flush(10)
        core = captured.audit._engine._running.core
        plain, died = core.owned.spool.remove, []

        def remove(batch: object) -> None:
            if at == "removed":
                plain(batch)  # type: ignore[arg-type]
            if not died:
                died.append(batch)
                raise SystemExit
            if at != "removed":
                plain(batch)  # type: ignore[arg-type]

        monkeypatch.setattr(core.owned.spool, "remove", remove)
        for _ in range(5):
            one_call(captured.audit)
        assert eventually(lambda: died and captured.audit.stats().writer_restarts == 1)
        one_call(captured.audit)
        assert captured.audit.flush(10), captured.audit.stats()
        stats = captured.audit.stats()
        assert (stats.stored, stats.spooled, stats.queued) == (14, 0, 0)
        assert adds_up(stats)
        assert len(captured.records) == 14


@pytest.mark.requirement("R6")
def test_a_forked_child_records_under_its_own_name(tmp_path: Path) -> None:
    """Parent and child both go on; neither sends the other's records."""
    settings = AuditConfig(spool_dir=str(tmp_path / "spool"))
    with capture_events(settings) as captured:
        one_call(captured.audit)
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            one_call(captured.audit)
            writers = sorted({r["writer"] for r in captured.store.documents()})
            os.write(write_end, json.dumps(writers).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        child_saw = json.loads(os.read(read_end, 10_000))
        os.close(read_end)
        os.close(write_end)
        one_call(captured.audit)
        parent = {r["writer"] for r in captured.records}
    assert len(parent) == 1
    assert len(child_saw) == 2
    assert parent < set(child_saw)


@pytest.mark.requirement("R6")
def test_records_after_close_are_counted_in_the_log_not_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The application is not broken by its own shutdown order."""
    with capture_events() as captured:
        one_call(captured.audit)
    one_call(captured.audit)
    assert "after close()" in caplog.text
    stats = captured.audit.stats()
    assert (stats.recorded, stats.stored, stats.lost) == (4, 2, 2)
    assert adds_up(stats)


@pytest.mark.requirement("R7")
def test_disabled_auditing_records_nothing_and_still_gives_ids() -> None:
    """enabled=False costs nothing and changes no code."""
    with capture_events(enabled=False) as captured:
        assert len(one_call(captured.audit)) == 24
        assert captured.audit.stats().recorded == 0
        assert captured.store.documents() == []
        assert captured.store.documents(Dest.LEDGER) == []


@pytest.mark.requirement("R6")
def test_start_and_stop_are_in_the_ledger_with_the_configuration() -> None:
    """An auditor sees which settings were in force."""
    with capture_events(ttl_days=17) as captured:
        one_call(captured.audit)
        captured.audit.flush()
    ledger = captured.store.documents(Dest.LEDGER)
    assert [d["event_type"] for d in ledger] == ["writer_start", "writer_stop"]
    assert ledger[0]["details"]["config"]["ttl_days"] == 17
    assert captured.store.heartbeats[-1]["state"] == "stopped"
    assert captured.store.heartbeats[-1]["counters"]["stored"] == 2


@pytest.mark.requirement("R6")
def test_the_last_numbers_are_told_again_when_the_store_was_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One answer that does not come in time on closing leaves no writer without its numbers."""
    refused: list[str] = []
    with capture_events() as captured:
        one_call(captured.audit)
        captured.audit.flush()
        take = captured.store.heartbeat

        def heartbeat(document: bytes, timeout_s: float) -> None:
            state = str(bson.decode(document)["state"])
            if state == "stopped" and not refused:
                refused.append(state)
                raise StoreUnavailable("It did not answer in time.")
            take(document, timeout_s)

        monkeypatch.setattr(captured.store, "heartbeat", heartbeat)
    assert refused
    assert captured.store.heartbeats[-1]["state"] == "stopped"


@pytest.mark.requirement("R6")
def test_a_changed_setting_is_in_the_ledger(tmp_path: Path) -> None:
    """Compared with the last start of the same service; unchanged ones say nothing."""
    store = MemoryStore("memory:changed")
    for ttl_days, service in ((90, "a"), (90, "a"), (30, "a"), (7, "b")):
        with AuditLogger(store, spool_dir=str(tmp_path), ttl_days=ttl_days, service=service) as a:
            one_call(a)
            a.flush()
    changes = [d for d in store.documents(Dest.LEDGER) if d["event_type"] == "config_changed"]
    assert [c["details"]["changed"] for c in changes] == [{"ttl_days": {"before": 90, "now": 30}}]


@pytest.mark.requirement("R1", "R12")
@every_mode
def test_many_threads_share_one_logger(mode: str) -> None:
    """Eight threads, no loss, no number twice."""
    with capture_events(MODES[mode]) as captured:
        threads = [
            threading.Thread(target=lambda: [one_call(captured.audit) for _ in range(40)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = captured.records
    assert len(records) == 640
    assert len({r["seq"] for r in records}) == 640


def test_a_ticket_settles_once() -> None:
    """The first state counts, and a late callback is called at once."""
    ticket, told = Ticket(), []
    assert ticket.wait(0.01) is State.QUEUED
    ticket.settle(State.SPOOLED)
    ticket.settle(State.LOST)
    ticket.when_settled(lambda: told.append(1))
    assert (ticket.wait(1), ticket.wait(1), told) == (State.SPOOLED, State.SPOOLED, [1])


@pytest.mark.requirement("R6")
def test_the_breaker_backs_off_and_closes() -> None:
    """Pauses grow to a bound; one answer closes it."""
    breaker = Breaker()
    assert breaker.trip("away")
    assert not breaker.trip("still away")
    for _ in range(10):
        breaker.trip("still away")
    assert 1.5 < breaker.retry_at_s - time.monotonic() < 2.5
    assert not breaker.may_try()
    assert breaker.close()
    assert breaker.may_try()
    assert not breaker.close()


def test_percentiles_are_by_nearest_rank() -> None:
    """A hundred latencies give the obvious answers; none gives none."""
    latencies = Latencies()
    assert latencies.percentile(50) is None
    for ms in range(1, 101):
        latencies.add(float(ms))
    assert [latencies.percentile(p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
