"""Acknowledged records a second: one caller, and 32 at a time, on two kinds of server.

Every record counted here was confirmed by the store (journaled; majority on the replica set)
before its caller went on. A call of ours is two records; raw PyMongo inserts two documents of the
same sizes, one after the other, as an application would that writes both. Raw PyMongo looks for no
secrets, so the target at 32 callers is for ``redaction="off"``; the default is shown beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from pymongo import AsyncMongoClient

from affidavit import AsyncAuditLogger, AuditLogger
from bench.measure import Effort, interleaved, median, ratios
from bench.report import Figure
from bench.servers import SAFE, Documents, config, like_the_document, server, spool_folder
from bench.workload import Workload

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection

CALLERS: Final = 32
RAW_1: Final = "raw insert_one, 1 caller"
OURS_1: Final = "direct, 1 caller"
RAW_32: Final = "raw AsyncMongoClient, 32 tasks"
THREADS: Final = "direct, 32 threads, redaction off"
TASKS: Final = "direct, 32 tasks, redaction off"
REDACTING: Final = "direct, 32 threads, redaction default"


def run(effort: Effort) -> list[Figure]:
    """Measure on a standalone server and on a replica set of one."""
    figures = []
    for replica_set in (False, True):
        figures += _on_server(effort, replica_set=replica_set)
    return figures


def _on_server(effort: Effort, *, replica_set: bool) -> list[Figure]:
    kind = "replica set" if replica_set else "standalone"
    key = "set" if replica_set else "standalone"
    seconds = effort.of(2.0, 0.6, 0.1)
    load = Workload()
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=replica_set))
        spool = stack.enter_context(spool_folder())
        client = stack.enter_context(mongod.client())
        raw = like_the_document(client["raw"]).with_options(write_concern=SAFE)
        audit = AuditLogger(mongod.database_uri("wadm"), config("direct", spool))
        stack.callback(audit.close)
        bare = AuditLogger(
            mongod.database_uri("wadm_bare"), config("direct", spool), redaction="off"
        )
        stack.callback(bare.close)
        for logger in (audit, bare):
            load.call(logger)
        uri = mongod.uri
        variants: dict[str, Callable[[], float]] = {
            RAW_1: lambda: _raw_one(raw, load, seconds),
            OURS_1: lambda: _one(lambda: load.call(audit), seconds) * 2,
            RAW_32: lambda: asyncio.run(_raw_tasks(uri, load, seconds)),
            THREADS: lambda: _threads(bare, load, seconds),
            REDACTING: lambda: _threads(audit, load, seconds),
            TASKS: lambda: asyncio.run(
                _tasks(mongod.database_uri("wadm_async"), spool, load, seconds)
            ),
        }
        runs = interleaved(variants, effort.of(5, 2, 1), label=kind)
        stats = audit.stats()
        for each_stats in (stats, bare.stats()):
            assert each_stats.lost == each_stats.dead_lettered == 0, each_stats
    note = f"{stats.spooled + stats.replayed} went by the spool" if stats.replayed else ""
    each = [1e6 / rate for rate in runs[OURS_1]]
    each_raw = [1e6 / rate for rate in runs[RAW_1]]
    ratio = median(ratios(each, each_raw))
    figures = [
        Figure(
            f"throughput.{key}.one",
            f"direct, 1 caller, time a record, {kind}",
            median(each),
            "µs",
            "raw insert_one",
            median(each_raw),
            ratio,
            "≤ 1.5×",
            ratio <= 1.5,
            note,
        )
    ]
    for name, short in ((THREADS, "threads"), (TASKS, "tasks"), (REDACTING, "redacting")):
        targeted = name != REDACTING
        ratio = median(ratios(runs[name], runs[RAW_32]))
        figures.append(
            Figure(
                f"throughput.{key}.{short}",
                f"{name}, acknowledged, {kind}",
                median(runs[name]),
                "records/s",
                RAW_32,
                median(runs[RAW_32]),
                ratio,
                "≥ 2.5×" if targeted else "",
                ratio >= 2.5 if targeted else None,
            )
        )
    return figures


def _one(call: Callable[[], object], seconds: float) -> float:
    """Call one after the other; calls a second."""
    start_s = now_s = time.perf_counter()
    count = 0
    while now_s - start_s < seconds:
        call()
        count += 1
        now_s = time.perf_counter()
    return count / (now_s - start_s)


def _raw_one(raw: Documents, load: Workload, seconds: float) -> float:
    def both() -> None:
        for document in load.two_records():
            raw.insert_one(document)

    return _one(both, seconds) * 2


def _threads(audit: AuditLogger, load: Workload, seconds: float) -> float:
    counts = [0] * CALLERS
    go = threading.Barrier(CALLERS + 1)
    end_s = 0.0

    def work(place: int) -> None:
        go.wait()
        while time.perf_counter() < end_s:
            load.call(audit)
            counts[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(CALLERS)]
    for thread in threads:
        thread.start()
    start_s = time.perf_counter()
    end_s = start_s + seconds
    go.wait()
    for thread in threads:
        thread.join()
    return sum(counts) * 2 / (time.perf_counter() - start_s)


async def _in_tasks(work: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Repeat ``work`` in 32 tasks; rounds a second."""
    start_s = time.perf_counter()

    async def repeat() -> int:
        count = 0
        while time.perf_counter() - start_s < seconds:
            await work()
            count += 1
        return count

    done = await asyncio.gather(*(repeat() for _ in range(CALLERS)))
    return sum(done) / (time.perf_counter() - start_s)


async def _raw_tasks(uri: str, load: Workload, seconds: float) -> float:
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        raw: AsyncCollection[dict[str, Any]] = client["raw"].get_collection(
            "llm_audit", write_concern=SAFE
        )
        await asyncio.gather(*(raw.find_one({}) for _ in range(CALLERS)))  # open connections

        async def both() -> None:
            for document in load.two_records():
                await raw.insert_one(document)

        return await _in_tasks(both, seconds) * 2


async def _tasks(uri: str, spool: str, load: Workload, seconds: float) -> float:
    async with AsyncAuditLogger(uri, config("direct", spool), redaction="off") as audit:
        await load.async_call(audit)
        return await _in_tasks(lambda: load.async_call(audit), seconds) * 2
