"""The kinds of faults: each does something bad to a process, a line or a disk, and then counts.

A kind is a function from a :class:`Stage` and a number of faults to a :class:`Row` of the table.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient

from tests.faults.stage import THREADS, Row, Stage
from tests.support.disk import DiskFloor

if TYPE_CHECKING:
    from tests.support.processes import WorkerProcess

WRITE_TIMEOUT_MS = 1000.0
"""The default of the setting, which the workers use."""

EXPOSED_MS = 100.0
"""Longest time that a record of the asynchronous modes stays in memory only, while the store
answers; when it stops answering, one write timeout more."""

EXPOSED_RECORDS = 1000
GRACE_MS = 250.0
"""What a busy machine of two cores may add to any time."""

P95_LIMIT_MS = 5.0


# -- processes are killed --------------------------------------------------------------------------


def application(stage: Stage, mode: str, kills: int) -> Row:
    """The application is killed at random moments; the next one takes over its spool."""
    return _kill_application(stage, Row("application killed", mode), kills, outage=False)


def application_in_outage(stage: Stage, mode: str, kills: int) -> Row:
    """The application is killed while the line to the database is cut, dead or slow."""
    row = Row("application killed in an outage", mode)
    return _kill_application(stage, row, kills, outage=True)


def _kill_application(stage: Stage, row: Row, kills: int, *, outage: bool) -> Row:
    chance, stalled_ms = stage.random, 0.0
    while row.kills < kills:
        one = stage.round(row)
        with DiskFloor(one.folder) as disk:
            for _ in range(min(10, kills - row.kills)):
                stage.proxy.heal()
                unlimited = 0.0 if row.mode in {"direct", "batch"} else 800.0
                job = one.job(
                    rate=chance.choice([50.0, 300.0, unlimited]),
                    facade=chance.choice(["sync", "async"]),
                )
                pid = stage.zygote.spawn(job)
                time.sleep(chance.uniform(0.05, 0.9))
                if outage:
                    _some_outage(stage)
                    time.sleep(chance.uniform(0.0, 1.3))
                one.killed.append((Path(job.acks), stage.zygote.kill(pid)))
                row.kills += 1
                row.faults += 1
        stalled_ms = max(stalled_ms, disk.longest_ms)
        stage.proxy.heal()
        with one.worker(rate=50.0) as last:
            one.wait_for_adoption(last)
            last.stop()
        one.count()
    exposed_ms = EXPOSED_MS + (WRITE_TIMEOUT_MS if outage else 0.0)
    # A machine that stalls stalls the writer: what is judged is what this log adds to it.
    if row.oldest_lost_ms > exposed_ms + GRACE_MS + 2 * stalled_ms:
        row.errors.append(
            f"a call was lost {row.oldest_lost_ms:.0f} ms after it had returned; the machine's "
            f"longest commit took {stalled_ms:.0f} ms"
        )
    if not outage and row.worst_loss > EXPOSED_RECORDS + 2 * THREADS:
        row.errors.append(f"one kill lost {row.worst_loss} records")
    return row


def _some_outage(stage: Stage) -> None:
    fault = stage.random.choice(["refuse", "hole", "up", "down", "slow", "cut"])
    if fault == "refuse":
        stage.proxy.refuse()
    elif fault == "cut":
        stage.proxy.cut()
    elif fault == "slow":
        stage.proxy.delay(stage.random.uniform(0.05, 0.8))
    else:
        stage.proxy.black_hole(*(() if fault == "hole" else (fault,)))


def mongod(stage: Stage, mode: str, kills: int) -> Row:
    """The database is killed under load and comes back."""
    row = Row("mongod killed", mode)
    while row.kills < kills:
        one = stage.round(row)
        facade = stage.random.choice(["sync", "async"])
        with one.worker(rate=200.0, facade=facade, threads=4) as worker:
            for _ in range(min(5, kills - row.kills)):
                time.sleep(stage.random.uniform(0.1, 0.8))
                stage.mongod.kill()
                row.kills += 1
                row.faults += 1
                time.sleep(stage.random.uniform(0.0, 1.5))
                stage.mongod.restart()
            time.sleep(0.3)
            _ended(row, worker)
        one.count()
    return row


def both(stage: Stage, mode: str, kills: int) -> Row:
    """The database and the application are killed within a moment; both come back."""
    row = Row("mongod and application killed", mode)
    while row.kills < kills:
        one = stage.round(row)
        for _ in range(min(3, -(-(kills - row.kills) // 2))):
            job = one.job(rate=300.0)
            pid = stage.zygote.spawn(job)
            time.sleep(stage.random.uniform(0.3, 0.9))
            stage.mongod.kill()
            time.sleep(stage.random.choice([0.0, stage.random.uniform(0, 0.3)]))
            one.killed.append((Path(job.acks), stage.zygote.kill(pid)))
            stage.mongod.restart()
            row.kills += 2
            row.faults += 2
        with one.worker(rate=50.0) as last:
            one.wait_for_adoption(last)
            last.stop()
        one.count()
    return row


def primary(stage: Stage, mode: str, kills: int) -> Row:
    """The primary of three is killed under load; another is elected, and the dead one returns."""
    row = Row("primary of three killed", mode)
    with MongoClient[dict[str, Any]](stage.three.uri, tz_aware=True) as client:
        while row.kills < kills:
            one = stage.round(row, stage.three.database_uri("DATABASE"))
            with one.worker(rate=100.0) as worker:
                for _ in range(min(3, kills - row.kills)):
                    time.sleep(stage.random.uniform(0.3, 1.2))
                    dying = stage.three.primary()
                    dying.kill()
                    row.kills += 1
                    row.faults += 1
                    stage.three.primary()
                    time.sleep(stage.random.uniform(0.0, 1.0))
                    dying.restart()
                time.sleep(0.5)
                _ended(row, worker)
            one.count(client)
    return row


def _ended(row: Row, worker: WorkerProcess) -> dict[str, Any]:
    """Stop a worker; its own last numbers must add up, with nothing waiting."""
    last = worker.stop()
    if not last["flushed"]:
        row.errors.append(f"not everything was in the store after 30 s: {last}")
    return last


# -- lines, disks, stopped processes ---------------------------------------------------------------


def network(stage: Stage, mode: str, faults: int) -> Row:
    """The line is cut, refused, slow, dead, or dead in one direction, for up to two seconds."""
    row = Row("network cut, delayed, dead", mode)
    one = stage.round(row)
    with one.worker(rate=200.0, facade=stage.random.choice(["sync", "async"])) as worker:
        for _ in range(faults):
            time.sleep(stage.random.uniform(0.1, 0.6))
            _some_outage(stage)
            row.faults += 1
            time.sleep(stage.random.uniform(0.1, 2.0))
            stage.proxy.heal()
        _ended(row, worker)
    one.count()
    return row


def mongod_stopped(stage: Stage, mode: str, seconds: float) -> Row:
    """The database is stopped (SIGSTOP), with its connections open, and goes on."""
    row = Row(f"mongod stopped for {seconds:g} s", mode)
    one = stage.round(row)
    with one.worker(rate=100.0) as worker:
        time.sleep(0.5)
        stage.mongod.freeze()
        row.faults += 1
        time.sleep(seconds)
        stage.mongod.thaw()
        time.sleep(0.5)
        _ended(row, worker)
    one.count()
    return row


def application_stopped(stage: Stage, mode: str, seconds: float) -> Row:
    """The application is stopped (SIGSTOP) and goes on; then it is killed soon after."""
    row = Row(f"application stopped for {seconds:g} s", mode)
    one = stage.round(row)
    with one.worker(rate=300.0) as worker:
        time.sleep(0.5)
        worker.freeze()
        row.faults += 1
        time.sleep(seconds)
        worker.thaw()
        time.sleep(stage.random.uniform(0.0, 0.05))
        worker.kill()
        one.killed.append((Path(worker.job.acks), time.monotonic()))
        row.kills += 1
    with one.worker(rate=50.0) as last:
        one.wait_for_adoption(last)
        last.stop()
    one.count()
    return row


def disk_full(stage: Stage, mode: str, seconds: float) -> Row:
    """The disk takes no more while the database is away; then both come back."""
    row = Row("disk full in an outage", mode)
    one = stage.round(row)
    with one.worker(rate=200.0, file_limit_bytes=400_000) as worker:
        time.sleep(0.5)
        stage.proxy.refuse()
        row.faults += 1
        time.sleep(seconds)
        stage.proxy.heal()
        time.sleep(0.5)
        worker.say("lift-limit")
        _ended(row, worker)
        if "disk" not in worker.said and "full" not in worker.said:
            row.errors.append(f"a full disk was not reported: {worker.said[-500:]}")
    one.count()
    return row


def spool_full(stage: Stage, mode: str, seconds: float) -> Row:
    """The spool reaches its bound, and memory its own: what fits nowhere is counted as lost."""
    row = Row("spool full in an outage", mode)
    one = stage.round(row)
    settings = {"max_spool_bytes": 1024**2, "max_queue_bytes": 1024**2}
    with one.worker(rate=300.0, text_bytes=6000, settings=settings) as worker:
        time.sleep(0.5)
        stage.proxy.refuse()
        row.faults += 1
        time.sleep(seconds)
        if "lost" not in worker.said:
            row.errors.append(f"a full spool was not reported: {worker.said[-500:]}")
        stage.proxy.heal()
        last = _ended(row, worker)
        if not last["lost"]:
            row.errors.append("the spool was not full: this round shows nothing")
    one.count()
    return row


def no_disk(stage: Stage, mode: str, faults: int) -> Row:
    """The spool's directory cannot be made; records wait in memory while the line is cut."""
    row = Row("spool directory unwritable", mode)
    one = stage.round(row)
    with one.worker(rate=100.0, spool_dir="/proc/affidavit") as worker:
        if "cannot be written" not in worker.said:
            row.errors.append("an unwritable directory was not reported")
        for _ in range(faults):
            time.sleep(0.3)
            stage.proxy.refuse()
            row.faults += 1
            time.sleep(1.0)
            stage.proxy.heal()
        time.sleep(0.3)
        _ended(row, worker)
    one.count()
    return row


def forked(stage: Stage, mode: str, faults: int) -> Row:
    """The application forks while its threads record; the child records with its own writer."""
    row = Row("fork in mid-use", mode)
    one = stage.round(row)
    with one.worker(rate=200.0) as worker:
        for _ in range(faults):
            time.sleep(0.1)
            worker.say("fork 5")
            row.faults += 1
        _ended(row, worker)
    one.count()
    return row


def writer_dies(stage: Stage, mode: str, faults: int) -> Row:
    """The writer thread dies of an unexpected exception; the watchdog starts another one."""
    row = Row("writer thread killed", mode)
    one = stage.round(row)
    with one.worker(rate=200.0) as worker:
        for number in range(faults):
            time.sleep(stage.random.uniform(0.05, 0.4))
            if number % 3 == 0:  # also while it waits for work
                worker.say("pause")
                time.sleep(0.15)
            worker.say("kill-writer")
            worker.say("resume")
            row.faults += 1
            _wait_for_restart(row, worker, row.faults)
        _ended(row, worker)
        if "writer thread had died" not in worker.said:
            row.errors.append("the watchdog said nothing")
    one.count()
    return row


def _wait_for_restart(row: Row, worker: WorkerProcess, restarts: int) -> None:
    end_s = time.monotonic() + 5
    while worker.say("stats")["writer_restarts"] < restarts:
        if time.monotonic() > end_s:
            row.errors.append("the writer thread was not started again within 5 s")
            return
        time.sleep(0.05)


def outage(stage: Stage, mode: str, seconds: float) -> Row:
    """The database is away for ``seconds`` at 100 calls a second: nobody waits, all arrive."""
    row = Row(f"outage of {seconds:g} s at 100 calls/s", mode)
    one = stage.round(row)
    with one.worker(rate=100.0, threads=4, call_s=0.01) as worker:
        time.sleep(1.0)
        before = len(worker.returned)
        stage.proxy.black_hole()
        row.faults += 1
        with DiskFloor(one.folder) as disk:
            time.sleep(seconds)
        during = worker.returned[before:]
        stage.proxy.heal()
        _ended(row, worker)
    account = one.count()
    waits = sorted(call.waited_ms for call in during)
    # Each of the four threads had at most one call under way when the line died.
    first, rest = waits[-4:], waits[:-4]
    row.longest_wait_ms, row.p95_wait_ms = first[-1], rest[int(len(rest) * 0.95)]
    if first[-1] > WRITE_TIMEOUT_MS + GRACE_MS:
        row.errors.append(f"a caller waited {first[-1]:.0f} ms")
    # A disk that stalls stalls everybody: what is judged is what this log adds to it.
    if rest[-1] > WRITE_TIMEOUT_MS / 2 + 2 * disk.longest_ms:
        row.errors.append(
            f"callers waited again: {rest[-4:]} ms; the disk's longest commit took "
            f"{disk.longest_ms:.0f} ms"
        )
    # A call is two records, each with an fsync, and meets those of the other callers.
    limit_ms = max(P95_LIMIT_MS, 4 * disk.p95_ms)
    if row.p95_wait_ms > limit_ms:
        row.errors.append(
            f"p95 of a caller's wait in the outage is {row.p95_wait_ms:.1f} ms, over "
            f"{limit_ms:.1f} ms; one commit of this disk takes {disk.p95_ms:.1f} ms"
        )
    if len(during) < 0.9 * (seconds - 1.5) * 100:
        row.errors.append(f"only {len(during)} calls in {seconds} s")
    if account.missing:
        row.errors.append(f"{len(account.missing)} calls did not arrive")
    return row
