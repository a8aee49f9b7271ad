"""Verifying a real log: every seal, leaf, root and signature, and every record against its leaf.

A logger writes records of 1.7 KB, a sealer seals them, all in one MongoDB. *One process* verifies
the whole; *two* share the records, their start and end included; *leaves only* replays the tree and
reads no record but the ledger's. The best of several runs counts: what else the machine does is
no part of it.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from affidavit import AuditLogger
from affidavit.config import AuditConfig
from affidavit.evidence.apart import Apart, seldom_collected
from affidavit.integrity.findings import Report
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import Scope, verify
from affidavit.sealer import keys
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import connect_seals
from affidavit.store.sealing import SealStore
from bench.measure import Effort, progress
from bench.report import Figure
from bench.servers import config, server, spool_folder
from bench.workload import Workload

ONE: Final = 25_000
"""Records a second, by one process."""

TWO: Final = 2 * ONE
LEAVES: Final = 100_000
PROMPT: Final = 1280
ANSWER: Final = 1180
"""With these, both records of a call have about 1.7 KB of BSON."""

_AT_ONCE: Final = 2_000


def run(effort: Effort) -> list[Figure]:
    """Measure the three."""
    count, runs = effort.of(200_000, 40_000, 600), effort.of(5, 3, 1)
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=False))
        spool = stack.enter_context(spool_folder())
        uri = mongod.database_uri("verified")
        key = AuditConfig(seal_key_file=str(Path(spool) / "log.key"))
        progress(f"verifying: writing and sealing {count:,} records")
        _write(uri, spool, count)
        seals = stack.enter_context(contextlib.closing(connect_seals(uri, key)))
        seal_once(Sealer(seals, lambda: keys.open_key(seals, key), where="service"))
        found = []
        for name, what, limit, jobs, scope in (
            ("one", "one process", ONE, 1, Scope()),
            ("two", "two processes", TWO, 2, Scope()),
            ("leaves", "leaves only", LEAVES, 1, Scope(sample=1)),
        ):
            progress(f"verifying: {what}")
            found.append(_figure(seals, (uri, jobs), scope, runs, (name, what, limit)))
        return found


def _write(uri: str, spool: str, count: int) -> None:
    load = Workload(prompt=PROMPT, answer=ANSWER)
    with AuditLogger(uri, config("async", spool), redaction="off", seal="off") as audit:
        for number in range(count // 2):
            load.call(audit)
            if number % _AT_ONCE == 0:
                assert audit.flush(60), audit.stats()


def _figure(
    seals: SealStore,
    place: tuple[str, int],
    scope: Scope,
    runs: int,
    named: tuple[str, str, int],
) -> Figure:
    rates, each_us = [], []
    for _ in range(runs):
        started_s, cpu_s = time.perf_counter(), time.process_time()
        report = _verified(seals, place, scope)
        took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
        rates.append(report.size / took_s)
        each_us.append(cpu_s / report.size * 1e6)
    (name, what, limit), jobs = named, place[1]
    here = f"{min(each_us):.1f} µs of this process's processor each"
    beside = "" if jobs == 1 else ", beside the two that read"
    return Figure(
        f"verifying.{name}",
        f"a whole log verified from MongoDB, {what}",
        max(rates),
        "leaves/s" if scope.sample else "records/s",
        target=f"≥ {limit:,}/s",
        met=max(rates) >= limit,
        note=f"{report.size:,} leaves, {report.counts['matched']:,} records of 1.7 KB read; "
        f"{here}{beside}; best of {runs}",
    )


def _verified(seals: SealStore, place: tuple[str, int], scope: Scope) -> Report:
    uri, jobs = place
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    apart = contextlib.nullcontext() if jobs == 1 else Apart(uri, AuditConfig(), jobs)
    with apart as comparer, seldom_collected():  # as the command does it
        report = verify(seals, Trust(), now_ms=now_ms, scope=scope, comparer=comparer)
    assert report.clean, report.findings
    assert scope.sample or report.counts["matched"] >= report.size - 1, report.counts
    return report
