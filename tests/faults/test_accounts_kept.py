"""Counting stays exact when a process dies at an awkward moment; a store in memory shows it."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig, AuditLogger
from affidavit._engine.inbox import Item
from affidavit._engine.retry import dead_letters, retry
from affidavit.errors import StoreUnavailable
from affidavit.event import Dest
from affidavit.spool import owner
from affidavit.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from affidavit.store.base import Encoded, Verdict


def one_call(audit: AuditLogger, text: str = "answer") -> str:
    """Record one call."""
    with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
        call.complete(text=text)
    return call.call_id


def eventually(condition: Callable[[], object], timeout_s: float = 15.0) -> bool:
    """Wait for a condition."""
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.01)
    return False


def in_child(work: Callable[[], None]) -> None:
    """Run in a forked process that ends by SIGKILL of its own hand."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def adopted(store: MemoryStore) -> list[dict[str, Any]]:
    """What was said of writers taken over."""
    return [beat for beat in store.heartbeats if beat["state"] == "adopted"]


def told_of_adoption(store: MemoryStore) -> list[dict[str, Any]]:
    """What the ledger says of spools taken over; it is told a moment after the heartbeat."""
    return [d for d in store.documents(Dest.LEDGER) if d["event_type"] == "spool_adopted"]


def adds_up(numbers: dict[str, int]) -> bool:
    """The law of conservation."""
    parts = ("queued", "stored", "spooled", "dead_lettered", "lost")
    return numbers["recorded"] == sum(numbers[part] for part in parts)


class Dying(MemoryStore):
    """Kills its process at a batch with so many records, and leaves that in a file: it may land.

    Before, each batch takes ``pause_s``, so that the next records come together.
    """

    def __init__(self, name: str, under_way: Path, least: int = 1, pause_s: float = 0.0) -> None:
        super().__init__(name)
        self._under_way, self._least, self._pause_s = under_way, least, pause_s

    def append(self, batch: list[Encoded], timeout_s: float) -> list[Verdict]:  # type: ignore[override]
        """Kill, or insert as ever."""
        records = sum(record.dest is Dest.RECORDS for record in batch)
        if records >= self._least:
            self._under_way.write_bytes(pickle.dumps([tuple(record) for record in batch]))
            os.kill(os.getpid(), signal.SIGKILL)
        if records:
            time.sleep(self._pause_s)
        return super().append(batch, timeout_s)


@pytest.mark.requirement("R6")
def test_a_write_that_lands_after_its_process_died_counts_as_stored(tmp_path: Path) -> None:
    """The database may still be executing the last insert of a killed process."""
    config = AuditConfig(spool_dir=str(tmp_path / "spool"), async_writes=True)
    under_way = tmp_path / "under_way"

    in_child(
        lambda: (one_call(AuditLogger(Dying("memory:late", under_way), config)), time.sleep(5))
    )  # type: ignore[arg-type,return-value]
    sent = pickle.loads(under_way.read_bytes())  # noqa: S301 - our own file
    store = MemoryStore("memory:late")

    def land() -> None:
        from affidavit.store.base import Encoded

        store.append([Encoded(*record) for record in sent], 1.0)

    late = threading.Timer(0.6, land)
    late.start()
    with AuditLogger(store, config):
        assert eventually(lambda: adopted(store))
        late.join()
    final = adopted(store)[0]
    there = [r for r in store.documents() if r["writer"] == final["writer"]]
    assert final["counters"]["stored"] == len(there) == len(sent_records(sent))
    assert adds_up(final["counters"])


def sent_records(sent: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those of a batch that are no ledger records."""
    return [record for record in sent if record[0] is Dest.RECORDS]


@pytest.mark.requirement("R6")
def test_the_ledger_names_the_numbers_that_are_lost(tmp_path: Path) -> None:
    """Whoever doubts the count of the lost can look for exactly these records."""
    config = AuditConfig(spool_dir=str(tmp_path / "spool"), async_writes=True)

    class Dying(MemoryStore):
        def append(self, batch: list[Encoded], timeout_s: float) -> list[Verdict]:  # type: ignore[override]
            if any(record.dest is Dest.RECORDS for record in batch):
                time.sleep(0.3)
                os.kill(os.getpid(), signal.SIGKILL)
            return super().append(batch, timeout_s)

    in_child(lambda: (one_call(AuditLogger(Dying("memory:named"), config)), time.sleep(5)))  # type: ignore[arg-type,return-value]
    store = MemoryStore("memory:named")
    with AuditLogger(store, config) as audit:
        assert eventually(lambda: told_of_adoption(store))
        audit.flush()
    report = next(d for d in store.documents(Dest.LEDGER) if d["event_type"] == "spool_adopted")
    named = [
        seq for first, last in report["details"]["lost_seqs"] for seq in range(first, last + 1)
    ]
    not_numbered = report["details"]["lost_unnumbered"]
    lost = report["details"]["records"]["lost"] + report["details"]["ledger"]["lost"]
    assert lost >= 2
    assert len(named) + not_numbered == lost


@pytest.mark.requirement("R6")
def test_more_lost_numbers_than_a_ledger_record_names_take_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other record of what was under way arrived: each of the rest is named all the same."""
    config = AuditConfig(spool_dir=str(tmp_path / "spool"), async_writes=True, seal="off")
    under_way = tmp_path / "under_way"

    def work() -> None:
        audit = AuditLogger(Dying("memory:parts", under_way, 8, 0.5), config)
        for _ in range(10):
            one_call(audit)
        time.sleep(5)

    in_child(work)
    sent = pickle.loads(under_way.read_bytes())  # noqa: S301 - our own file
    monkeypatch.setattr("affidavit._engine.adopt.MOST_NAMED", 3)
    store = MemoryStore("memory:parts")
    from affidavit.store.base import Encoded

    store.append([Encoded(*record) for record in sent[::2]], 1.0)
    with AuditLogger(store, config) as audit:
        assert eventually(lambda: any("records" in d["details"] for d in told_of_adoption(store)))
        audit.flush()
    told = told_of_adoption(store)
    assert len(told) > 1
    (whole,) = (each for each in told if "records" in each["details"])
    assert all(len(each["details"]["lost_seqs"]) <= 3 for each in told)
    named = [
        seq
        for each in told
        for first, last in each["details"]["lost_seqs"]
        for seq in range(first, last + 1)
    ]
    lost = whole["details"]["records"]["lost"] + whole["details"]["ledger"]["lost"]
    assert len(set(named)) == len(named)
    assert len(named) + whole["details"]["lost_unnumbered"] == lost
    assert {record[2] for record in sent[1::2]} <= {*named}


@pytest.mark.requirement("R6")
def test_a_kill_with_disk_and_memory_full_is_counted_once(tmp_path: Path) -> None:
    """Records held in memory and records already counted as lost are not counted twice."""
    config = AuditConfig(
        spool_dir=str(tmp_path / "spool"),
        write_timeout=0.1,
        max_spool_bytes=2**20,
        max_queue_bytes=2**20,
        max_field_size=20_000,
    )
    numbers, content = tmp_path / "numbers", tmp_path / "content"

    def fill_and_die() -> None:
        store = MemoryStore("memory:full")
        audit = AuditLogger(store, config)
        one_call(audit)
        store.unavailable = True
        while audit.stats().lost < 20:
            one_call(audit, "x" * 15_000)
        numbers.write_text(json.dumps(audit.stats().as_dict()))
        content.write_bytes(pickle.dumps((store._bodies, store._seqs)))

    in_child(fill_and_die)
    before = json.loads(numbers.read_text())
    assert before["queued"] > 10
    store = MemoryStore("memory:full")
    store._bodies, store._seqs = pickle.loads(content.read_bytes())  # noqa: S301 - our own file
    with AuditLogger(store, config):
        assert eventually(lambda: adopted(store))
    final = adopted(store)[0]["counters"]
    there = len([r for r in store.documents() if r["writer"] == before["writer"]])
    assert (final["recorded"], final["stored"]) == (before["recorded"], there)
    assert final["lost"] == before["queued"] + before["lost"]
    assert adds_up(final)


@pytest.mark.requirement("R6")
def test_a_spool_is_removed_only_after_its_numbers_are_safe(tmp_path: Path) -> None:
    """If the report cannot be written, the files stay, and the next one reports."""
    config = AuditConfig(spool_dir=str(tmp_path / "spool"), write_timeout=0.2)
    store = MemoryStore("memory:report")
    first = AuditLogger(store, config)
    store.unavailable = True
    one_call(first)
    first.close(0.1)
    store.unavailable = False

    class Mute(MemoryStore):
        def heartbeat(self, document: bytes, timeout_s: float) -> None:
            if b"adopted" in document:
                msg = "switched off"
                raise StoreUnavailable(msg)
            super().heartbeat(document, timeout_s)

    mute = Mute("memory:report")
    mute._bodies, mute._seqs = store._bodies, store._seqs
    second = AuditLogger(mute, config)
    assert eventually(lambda: len(store.documents()) == 2)
    time.sleep(0.5)
    second.close()
    assert list(tmp_path.rglob("*.counters")), "the numbers of the first writer are gone"
    with AuditLogger(store, config):
        assert eventually(lambda: adopted(store))
    assert adopted(store)[0]["counters"]["stored"] == 2
    assert not list(tmp_path.rglob("*.counters"))


@pytest.mark.requirement("R6")
def test_a_child_lets_go_of_the_spools_its_parent_took_over(tmp_path: Path) -> None:
    """Else they could not be taken over while the child lives, after the parent died."""
    config = AuditConfig(spool_dir=str(tmp_path / "spool"), write_timeout=0.2)
    store = MemoryStore("memory:locks")
    first = AuditLogger(store, config)
    store.unavailable = True
    one_call(first)
    first.close(0.1)
    store.unavailable = False

    class Stuck(MemoryStore):
        def heartbeat(self, document: bytes, timeout_s: float) -> None:
            if b"adopted" in document:
                msg = "switched off"
                raise StoreUnavailable(msg)

    parent = AuditLogger(Stuck("memory:locks"), config)
    running = parent._engine._running
    assert running is not None
    assert eventually(lambda: running.shipper._adopter._adopted)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write_end)
        os.read(read_end, 1)  # lives until the parent has closed
        os._exit(0)
    os.close(read_end)
    parent.close(0.1)
    folder = owner.dataset_folder(tmp_path / "spool", "memory:locks")
    left = len(list(folder.glob("*.lock")))
    free = owner.orphan_count(folder)
    os.close(write_end)
    os.waitpid(pid, 0)
    assert left >= 1
    assert free == left


@pytest.mark.requirement("R6")
def test_what_only_memory_holds_at_the_end_is_counted_as_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing with store and spool out of reach: the log says so at once, the ledger later."""
    config = AuditConfig(
        spool_dir=str(tmp_path / "spool"), write_timeout=0.1, max_spool_bytes=2**20
    )
    store = MemoryStore("memory:end")
    audit = AuditLogger(store, config)
    one_call(audit)
    store.unavailable = True
    while not audit.stats().queued:
        one_call(audit, "x" * 10_000)
    for _ in range(5):
        one_call(audit, "x" * 10_000)
    before = audit.stats()
    assert before.queued >= 10
    audit.close(0.2)
    assert "lost" in caplog.text
    store.unavailable = False
    with AuditLogger(store, config):
        assert eventually(lambda: adopted(store))
    final = adopted(store)[0]["counters"]
    there = len([r for r in store.documents() if r["writer"] == before.writer])
    assert (final["recorded"], final["stored"]) == (before.recorded, there)
    assert final["lost"] == before.queued
    assert adds_up(final)


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("retried", [0, 1, 2])
def test_dead_letters_that_were_retried_before_an_adoption_are_counted_once(
    tmp_path: Path, retried: int
) -> None:
    """The process that counted them dead is gone, and so is the one that stored some of them."""
    config = AuditConfig(spool_dir=str(tmp_path / "spool"), write_timeout=0.2)
    store = MemoryStore(f"memory:retried-{retried}")
    first = AuditLogger(store, config)
    for _ in range(2):
        with first.call(provider="p", message="hello") as call:
            store.reject[call.intent_id] = "validation"
            call.complete()
    assert first.stats().dead_lettered == 2
    store.unavailable = True
    first.close(0.1)
    store.unavailable = False
    store.reject.clear()
    letters = dead_letters(config, store.dataset)
    retry(store, letters, letters.all()[:retried])
    with AuditLogger(store, config):
        assert eventually(lambda: adopted(store))
    final = adopted(store)[0]
    counters = final["counters"]
    assert (counters["recorded"], counters["stored"]) == (4, 2 + retried)
    assert (counters["dead_lettered"], counters["lost"]) == (2 - retried, 0)
    assert adds_up(counters)
    assert final["retried"]["records"] == retried
    there = [r for r in store.documents() if r["writer"] == final["writer"]]
    assert len(there) == counters["stored"]


@pytest.mark.requirement("R6")
def test_last_numbers_that_cannot_be_told_are_left_for_the_next(tmp_path: Path) -> None:
    """A writer whose last heartbeat fails leaves its counters, and its heir reports them."""
    config = AuditConfig(spool_dir=str(tmp_path / "spool"))

    class Mute(MemoryStore):
        def heartbeat(self, document: bytes, timeout_s: float) -> None:
            msg = "switched off"
            raise StoreUnavailable(msg)

    mute = Mute("memory:untold")
    audit = AuditLogger(mute, config)
    one_call(audit)
    audit.flush()
    writer = audit.stats().writer
    audit.close()
    store = MemoryStore("memory:untold")
    store._bodies, store._seqs = mute._bodies, mute._seqs
    with AuditLogger(store, config):
        assert eventually(lambda: adopted(store))
    final = adopted(store)[0]
    assert final["writer"] == writer
    assert (final["counters"]["stored"], final["counters"]["lost"]) == (2, 0)


def _record_in_child(directory: str, results: str) -> None:
    store = MemoryStore("memory:multiprocessing")
    audit = AuditLogger(
        store, spool_dir=directory, async_writes=True, batch_writes=True, flush_interval=60.0
    )
    plain = store.append

    def append(batch: Any, timeout_s: float) -> Any:
        verdicts = plain(batch, timeout_s)
        with open(results, "w", encoding="ascii") as file:  # noqa: PTH123 - one line
            file.write(str(len(store.documents())))
        return verdicts

    store.append = append  # type: ignore[method-assign]
    for _ in range(10):
        one_call(audit)


@pytest.mark.requirement("R6", "R12")
def test_a_child_of_multiprocessing_drains_when_it_ends(tmp_path: Path) -> None:
    """Such a child ends past ``atexit``; what is in memory is sent all the same."""
    results = tmp_path / "stored"
    process = multiprocessing.get_context("fork").Process(
        target=_record_in_child, args=(str(tmp_path / "spool"), str(results))
    )
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert results.read_text() == "20"


@pytest.mark.requirement("R6")
def test_records_that_race_with_closing_neither_raise_nor_vanish(tmp_path: Path) -> None:
    """Each record is stored, or the log says that it came too late."""
    store = MemoryStore("memory:race")
    errors: list[BaseException] = []
    for _ in range(12):
        audit = AuditLogger(store, spool_dir=str(tmp_path / "spool"), async_writes=True)
        stop = threading.Event()

        def record(audit: AuditLogger = audit, stop: threading.Event = stop) -> None:
            try:
                while not stop.is_set():
                    one_call(audit)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=record) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        audit.close()
        time.sleep(0.002)
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    stopped = [beat for beat in store.heartbeats if beat["state"] == "stopped"]
    assert len(stopped) == 12
    there = Counter(record["writer"] for record in store.documents())
    for beat in stopped:
        counters = beat["counters"]
        assert counters["stored"] == counters["recorded"] == there[beat["writer"]]
    assert not list(tmp_path.rglob("*.counters"))


@pytest.mark.requirement("R6")
def test_the_numbers_add_up_at_every_moment(tmp_path: Path) -> None:
    """``stats()`` is asked while four threads record and the store comes and goes."""
    store = MemoryStore("memory:always")
    audit = AuditLogger(
        store, spool_dir=str(tmp_path / "spool"), batch_writes=True, flush_interval=0.05
    )
    stop = threading.Event()

    def record() -> None:
        while not stop.is_set():
            one_call(audit)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = []
    end_s = time.monotonic() + 2
    while time.monotonic() < end_s:
        seen.append(audit.stats().as_dict())
        store.unavailable = int(time.monotonic() * 5) % 2 == 0
    stop.set()
    for thread in threads:
        thread.join()
    store.unavailable = False
    audit.close()
    assert len(seen) > 50
    assert [numbers for numbers in seen if not adds_up(numbers)] == []
    parts = ("queued", "stored", "spooled", "lost")
    assert [numbers for numbers in seen if min(numbers[part] for part in parts) < 0] == []


@pytest.mark.requirement("R6")
def test_a_caller_that_met_the_writer_just_before_it_closed_is_turned_away(tmp_path: Path) -> None:
    """It holds the old queue in its hand: the record is refused there, without an error."""
    audit = AuditLogger(MemoryStore("memory:stale"), spool_dir=str(tmp_path / "spool"))
    one_call(audit)
    running = audit._engine._running
    assert running is not None
    audit.close()
    late = Item(Dest.RECORDS, b"x" * 12, b"", None, time.monotonic())
    assert running.core.inbox.put(late) is False
