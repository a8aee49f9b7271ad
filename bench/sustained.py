"""Records a second from the first call until the last record is in the store, high volume.

One thread records as fast as it can and never pauses; the clock stops when ``flush`` says that all
is stored. A run has 28,000 records, which fit in the queue's 64 MiB: who records faster than the
database takes for longer than that is made to wait, and loses what still finds no room (documented
and counted). Records have 1.7 KB each in BSON. Beside it: raw PyMongo inserting the same documents
one by one, and in batches of 1,000, at the same write concern.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from typing import Final

from affidavit import AuditLogger
from affidavit._engine import Stats
from bench.measure import Effort, interleaved, median, ratios
from bench.report import Figure
from bench.servers import SAFE, Documents, config, like_the_document, server, spool_folder
from bench.workload import Workload

TARGETS: Final = {"off": 15_000, "default": 8_000}
"""Records a second by redaction preset; redaction is on by default."""

PROMPT: Final = 1280
ANSWER: Final = 1180
"""With these, both records of a call have about 1.7 KB of BSON."""

OURS: Final = "high_volume, redaction {}"
ONE_BY_ONE: Final = "raw insert_one"
BULK: Final = "raw insert_many of 1,000"


def run(effort: Effort) -> list[Figure]:
    """Measure."""
    count = effort.of(14_000, 5_000, 500)
    load = Workload(prompt=PROMPT, answer=ANSWER)
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=False))
        spool = stack.enter_context(spool_folder())
        client = stack.enter_context(mongod.client())
        raw = like_the_document(client["raw"]).with_options(write_concern=SAFE)
        loggers = {}
        for preset in TARGETS:
            uri = mongod.database_uri(f"wadm_{preset}")
            audit = AuditLogger(uri, config("high_volume", spool), redaction=preset)
            stack.callback(audit.close)
            load.call(audit)
            assert audit.flush(30)
            loggers[preset] = audit
        variants: dict[str, Callable[[], float]] = {
            OURS.format(preset): functools.partial(_ours, audit, load, count)
            for preset, audit in loggers.items()
        }
        variants[ONE_BY_ONE] = lambda: _one_by_one(raw, load, count // 20)
        variants[BULK] = lambda: _bulk(raw, load, count // 2)
        runs = interleaved(variants, effort.of(5, 1, 1), label="sustained")
        figures = []
        for preset, audit in loggers.items():
            logs = client[f"wadm_{preset}_audit"]["llm_logs"]
            size = logs.database.command("collStats", logs.name)["avgObjSize"]
            figures += _figures(preset, runs, audit.stats(), logs.count_documents({}), size)
    return figures


def _figures(
    preset: str, runs: dict[str, list[float]], stats: Stats, kept: int, size: float
) -> list[Figure]:
    ours, target = runs[OURS.format(preset)], TARGETS[preset]
    missing = stats.recorded - kept
    return [
        Figure(
            f"sustained.{preset}.rate",
            f"sustained until stored, high_volume, redaction {preset}, 1 thread",
            median(ours),
            "records/s",
            ONE_BY_ONE,
            median(runs[ONE_BY_ONE]),
            median(ratios(ours, runs[ONE_BY_ONE])),
            f"≥ {target:,}/s",
            median(ours) >= target,
            f"{size:,.0f} B a record; {median(ratios(ours, runs[BULK])):.2f}× {BULK}, "
            f"{median(runs[BULK]):,.0f}/s",
        ),
        Figure(
            f"sustained.{preset}.lost",
            f"of {stats.recorded:,} records, not in the store, redaction {preset}",
            missing,
            "records",
            target="0",
            met=missing == 0 and stats.lost == 0,
            note=f"{stats.replayed:,} went by the spool",
        ),
    ]


def _ours(audit: AuditLogger, load: Workload, count: int) -> float:
    start_s = time.perf_counter()
    for _ in range(count):
        load.call(audit)
    assert audit.flush(120), audit.stats()
    return count * 2 / (time.perf_counter() - start_s)


def _one_by_one(raw: Documents, load: Workload, count: int) -> float:
    start_s = time.perf_counter()
    for _ in range(count):
        for document in load.two_records():
            raw.insert_one(document)
    return count * 2 / (time.perf_counter() - start_s)


def _bulk(raw: Documents, load: Workload, count: int) -> float:
    batches = max(1, count // 500)
    start_s = time.perf_counter()
    for _ in range(batches):
        raw.insert_many([d for _ in range(500) for d in load.two_records()], ordered=False)
    return batches * 1000 / (time.perf_counter() - start_s)
