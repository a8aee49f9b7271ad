"""Sealing while writers are killed and the database goes away: in the end all is explained."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig, AuditLogger, canonical
from affidavit.integrity.leaves import from_document
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import verify
from affidavit.sealer import keys, rolling
from affidavit.sealer.run import Runner, seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import connect_seals
from tests.conftest import with_database
from tests.support.processes import WorkerProcess
from tests.support.sealing import check_log, sealed_numbers
from tests.support.watching import until
from tests.support.worker import MODES, Job

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.demo.mongod import Mongod
    from affidavit.store.sealing import SealStore

pytestmark = [pytest.mark.requirement("R20", "R21"), pytest.mark.serial]


def sealing(uri: str, stop: threading.Event) -> threading.Thread:
    """A sealer of its own connections, which goes on until it is told to stop."""

    def run() -> None:
        config = AuditConfig()
        store = connect_seals(uri, config)
        sealer = Sealer(store, lambda: keys.open_key(store, config), where="service")
        Runner(store, sealer, stop, where="service").run()
        store.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def brought(seals: SealStore) -> dict[tuple[str, int], bytes]:
    """Every leaf that a batch brought."""
    leaves = {}
    for name in seals.all_batch_ids():
        batch = from_document(_plain(next(seals.batches([name.id]))))
        leaves.update({(batch.w, batch.s0 + at): leaf for at, leaf in enumerate(batch.leaves)})
    return leaves


def gaps_of(seals: SealStore) -> dict[str, set[int]]:
    """Every number that a gap stands for."""
    gaps: dict[str, set[int]] = {}
    for item in itertools.chain.from_iterable(seal["items"] for seal in seals.seals()):
        if "gap" in item:
            numbers = range(item["s0"], item["s0"] + item["n"])
            gaps.setdefault(item["gap"], set()).update(numbers)
    return gaps


def unexplained(seals: SealStore) -> list[str]:
    """What is not sealed once with the leaf of what is stored, nor in a gap; and the reverse."""
    sealed, wrong = sealed_numbers(seals), []
    leaves, gaps = brought(seals), gaps_of(seals)
    seen: dict[str, set[int]] = {}
    for dest in ("records", "ledger"):
        for document in seals.all_records(dest):
            place = (document["writer"], document["seq"])
            seen.setdefault(place[0], set()).add(place[1])
            entry = canonical.entry_of(document, dest)
            if entry is None or sealed.get(place) != 1:
                wrong.append(f"{place} is not sealed once")
            elif leaves.get(place) != canonical.leaf_hash(entry):
                wrong.append(f"{place} has another leaf")
    numbered = {place for place in sealed if " " not in place[0]}
    there = {(writer, number) for writer, numbers in seen.items() for number in numbers}
    wrong += [f"{place} is sealed, and not there" for place in numbered - there]
    for writer, numbers in seen.items():
        missing = set(range(max(numbers) + 1)) - numbers - gaps.get(writer, set())
        wrong += [f"{writer} {number} is neither there nor a gap" for number in missing]
    return wrong


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "sent_at"}


@pytest.mark.timeout(300)
def test_eight_writers_with_kills_and_late_spools_leave_nothing_unexplained(
    private_mongod: Mongod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in every mode, also while the database is away; others send their spools later.

    Meanwhile the log is verified round and round, and nobody is accused; nor at the end.
    """
    monkeypatch.setattr(rolling, "REST_S", 0.2)
    uri = with_database(private_mongod.uri, "sealed")
    stop = threading.Event()

    def job(number: int, mode: str) -> Job:
        return Job(
            uri, str(tmp_path / "spool"), str(tmp_path / f"acks{number}"), mode=mode, rate=60.0,
            seed=number, settings={"seal": "off"},
        )  # fmt: skip

    workers = [WorkerProcess(job(n, mode)) for n, mode in enumerate([*MODES, *MODES])]
    sealer = sealing(uri, stop)
    config, told = AuditConfig(), list[str]()
    with contextlib.ExitStack() as opened:
        looking = opened.enter_context(contextlib.closing(connect_seals(uri, config)))
        rounds = opened.enter_context(rolling.Rolling(
            looking, lambda: keys.open_key(looking, config, create=False).vkey, 20, where="service",
            tell=told.append, first_s=1.0,
        ))  # fmt: skip
        try:
            time.sleep(2)
            for each in workers[:3]:
                each.kill()
            private_mongod.kill()
            time.sleep(2)
            for each in workers[3:6]:
                each.kill()
            private_mongod.restart()
            workers += [WorkerProcess(job(8 + n, mode)) for n, mode in enumerate(MODES)]
            time.sleep(3)
            until(lambda: rounds.rounds > 1, "the second round, while others write", 90)
            for each in workers[6:]:
                each.stop()
        finally:
            stop.set()
            sealer.join(60)
        with AuditLogger(uri, spool_dir=str(tmp_path / "spool"), seal="off") as audit:
            audit.flush(10)
        store = opened.enter_context(contextlib.closing(connect_seals(uri, config)))
        for late in (timedelta(minutes=2), timedelta(hours=2)):  # also what was late is sealed
            clock = functools.partial(_later, late)
            seal_once(Sealer(store, lambda: keys.open_key(store, config), clock=clock))
        assert check_log(store) > 500
        assert unexplained(store) == []
        rounds.stop()
        assert [text for text in told if "DOES NOT HOLD" in text] == []
        vkey, now_ms = keys.open_key(store, config).vkey, int(time.time() * 1000)
        report = verify(store, Trust(vkey), now_ms=now_ms)
        assert (report.findings, report.counts["matched"] > 500) == ([], True)
        print(Counter(event for seal in store.seals() for event in _kinds(seal)))


def _later(by: timedelta) -> datetime:
    return datetime.now(UTC) + by


def _kinds(seal: dict[str, Any]) -> list[str]:
    return ["gap" if "gap" in i else "late" if "late" in i else "batch" for i in seal["items"]]


def test_a_record_is_sealed_within_seconds(private_mongod: Mongod, tmp_path: Path) -> None:
    """From the call's record to the signed checkpoint, while several record; a generous limit."""
    uri = with_database(private_mongod.uri, "quick")
    stop = threading.Event()
    with AuditLogger(uri, spool_dir=str(tmp_path), seal="off") as audit:
        sealer, calls = sealing(uri, stop), 0
        try:
            end_s = time.monotonic() + 6
            while time.monotonic() < end_s or calls < 200:
                with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
                    call.complete(text="answer")
                calls += 1
                time.sleep(0.01)
            with contextlib.closing(connect_seals(uri, AuditConfig())) as store:
                until(lambda: len(_waited_s(store)) >= 2 * calls, "the last call's seal", 30)
        finally:
            stop.set()
            sealer.join(60)
    with contextlib.closing(connect_seals(uri, AuditConfig())) as store:
        waited = sorted(_waited_s(store))
    p50_s, p99_s = waited[len(waited) // 2], waited[-len(waited) // 100]
    print(f"record to sealed: p50 {p50_s:.2f} s, p99 {p99_s:.2f} s")
    assert p99_s < 5.0


def _waited_s(store: SealStore) -> list[float]:
    """Seconds from each record's time to its seal's."""
    found = []
    for seal in store.seals():
        for item in seal["items"]:
            batch = from_document(_plain(next(store.batches([item["b"]]))))
            start = item.get("from", 0)
            times_ms = batch.times_ms[start : start + item["n"]]
            found += [seal["at"].timestamp() - time_ms / 1000 for time_ms in times_ms]
    return found
