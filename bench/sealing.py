"""Sealing a real log: leaves a second with all reading and writing, and how long a record waits.

*From MongoDB*: a sealer meets a backlog of leaf batches of 1,000 and seals all of it: reading,
checking each signature, hashing, writing tiles and seals, journaled. *Record to sealed*: a logger
records at 100 calls a second while a sealer runs beside it; from the time in the record to the time
at which the store had the seal.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import bson

from affidavit import AuditLogger
from affidavit.config import AuditConfig
from affidavit.integrity.leaves import FIRST, build, from_document
from affidavit.integrity.note import Signer
from affidavit.sealer import keys
from affidavit.sealer.run import Runner, seal_once
from affidavit.sealer.sealing import Sealed, Sealer
from affidavit.store import connect, connect_seals
from affidavit.store.sealing import SealStore
from bench.measure import Effort, percentile, progress
from bench.report import Figure
from bench.servers import config, server, spool_folder
from bench.workload import Workload

LEAVES: Final = 100_000
"""Leaves a second."""

WITHIN_S: Final = 2.0
_BATCH: Final = 1000
_KEY: Final = Signer("bench", bytes(range(32)))


def run(effort: Effort) -> list[Figure]:
    """Measure both."""
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=False))
        spool = stack.enter_context(spool_folder())
        keys_in = Path(spool)
        key = AuditConfig(seal_key_file=str(keys_in / "log.key"))
        progress("sealing: a backlog in MongoDB")
        backlog = _backlog(mongod.database_uri("backlog"), key, effort.of(500_000, 200_000, 3_000))
        progress("sealing: from record to sealed")
        quick = AuditConfig(seal_key_file=str(keys_in / "quick.key"))
        uri = mongod.database_uri("quick")
        seconds = effort.of(30, 12, 1)
        with AuditLogger(uri, config("async", spool), seal="off") as audit:
            return [backlog, _waiting(audit, uri, quick, seconds)]


def _backlog(uri: str, key: AuditConfig, count: int) -> Figure:
    store = connect(uri, key)
    store.prepare(30)
    at_ms = int(time.time() * 1000)
    for first in range(0, count, _BATCH):
        leaves = os.urandom(32 * _BATCH)
        batch = build("w", first, leaves, [at_ms] * _BATCH, bytes(_BATCH), FIRST, _KEY)
        store.append_leaves([bson.encode(batch.as_document())], 10)
    seals = connect_seals(uri, key)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    made = seal_once(_sealer(seals, key))
    took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    last = seals.last_seal()
    assert last is not None
    assert last["size"] >= count
    seals.close()
    store.close()
    rate = last["size"] / took_s
    return Figure(
        "sealing.backlog",
        "leaves sealed from MongoDB, one sealer",
        rate,
        "leaves/s",
        target=f"≥ {LEAVES:,} leaves/s",
        met=rate >= LEAVES,
        note=f"{last['size']:,} leaves in {made} seals; {cpu_s / last['size'] * 1e6:.1f} µs of the "
        "sealer's processor each",
    )


def _sealer(seals: SealStore, key: AuditConfig) -> Sealer:
    return Sealer(seals, lambda: keys.open_key(seals, key), where="service")


def _waiting(audit: AuditLogger, uri: str, key: AuditConfig, seconds: float) -> Figure:
    load, stop = Workload(prompt=1350, answer=1150), threading.Event()
    seals, looking = connect_seals(uri, key), connect_seals(uri, key)
    told_at: dict[int, datetime] = {}

    def tell(done: Sealed) -> None:
        told_at[done.k] = datetime.now(UTC)

    runner = Runner(seals, _sealer(seals, key), stop, where="service")
    thread = threading.Thread(target=runner.run, args=(tell,))
    thread.start()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        load.call(audit)
        time.sleep(0.01)
    audit.flush(30)
    time.sleep(2.5)
    stop.set()
    thread.join()
    waited = [each for seal in looking.seals() for each in _waited_s(looking, seal, told_at)]
    seals.close()
    looking.close()
    p50, p99 = percentile(waited, 50), percentile(waited, 99)
    return Figure(
        "sealing.waiting",
        "from record to sealed, p99",
        p99,
        "s",
        target=f"≤ {WITHIN_S:g} s",
        met=p99 <= WITHIN_S,
        note=f"p50 {p50:.2f} s, longest {max(waited):.2f} s, of {len(waited):,} records",
    )


def _waited_s(seals: SealStore, seal: dict[str, Any], told_at: dict[int, datetime]) -> list[float]:
    at = told_at.get(seal["_id"])
    found: list[float] = []
    for item in seal["items"] if at is not None else ():
        document = next(seals.batches([item["b"]]))
        del document["sent_at"]
        batch = from_document(document)
        if batch.n and at is not None and not batch.w.startswith("cli"):
            found += [at.timestamp() - each / 1000 for each in batch.times_ms]
    return found
