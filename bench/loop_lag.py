"""How much later an event loop gets round to things while 500 calls a second are audited on it.

A probe sleeps 2 ms over and over and notes how late it wakes up. Idle is the loop with the probe
alone. Each audited call is a task of its own. In an outage, the database was killed just before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Final

from affidavit import AsyncAuditLogger
from affidavit.demo.mongod import Mongod
from bench.measure import Effort, interleaved, median, percentile
from bench.report import Figure
from bench.servers import MODES, config, server, spool_folder
from bench.workload import Workload

RATE: Final = 500.0
ALLOWED_MS: Final = 2.0
IDLE: Final = "idle"
OUTAGES: Final = ("direct", "high_volume")
"""Modes measured also while the database is away."""

_PROBE_S: Final = 0.002


def run(effort: Effort) -> list[Figure]:
    """Measure in every mode; also the same 500 tasks a second with auditing switched off."""
    seconds = effort.of(4.0, 1.0, 0.3)
    load = Workload()
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=False))
        spool = stack.enter_context(spool_folder())

        def audited(mode: str) -> Callable[[], list[float]]:
            uri = mongod.database_uri(f"wadm_{mode}")
            return lambda: asyncio.run(_audited(uri, mode, spool, load, seconds))

        variants: dict[str, Callable[[], list[float]]] = {
            IDLE: lambda: asyncio.run(_lags(seconds, None))
        }
        variants |= {mode: audited(mode) for mode in MODES}
        killed = stack.enter_context(server(replica_set=False))
        for mode in OUTAGES:
            variants[f"{mode}, outage"] = functools.partial(
                _in_outage, killed, mode, spool, load, seconds
            )
        runs = interleaved(variants, effort.of(4, 1, 1), label="loop lag")
    p99 = {name: [percentile(lags, 99) for lags in rounds] for name, rounds in runs.items()}
    idle = median(p99[IDLE])
    figures = []
    for mode in list(variants)[1:]:
        more = [ours - base for ours, base in zip(p99[mode], p99[IDLE], strict=True)]
        value = median(more)
        figures.append(
            Figure(
                f"lag.{mode.replace(', ', '.')}",
                f"event-loop lag p99 over idle, 500 calls/s, {mode}",
                value,
                "ms",
                "idle p99",
                idle,
                None,
                f"≤ idle + {ALLOWED_MS:g} ms",
                value <= ALLOWED_MS,
                f"p50 {median([percentile(lags, 50) for lags in runs[mode]]):.2f} ms",
            )
        )
    return figures


async def _audited(uri: str, mode: str, spool: str, load: Workload, seconds: float) -> list[float]:
    async with AsyncAuditLogger(uri, config(mode, spool)) as audit:
        await load.async_call(audit)
        lags = await _lags(seconds, lambda: load.async_call(audit))
        assert await audit.flush(30)
        stats = audit.stats()
        assert stats.lost == stats.dead_lettered == 0, stats
    return lags


def _in_outage(
    mongod: Mongod, mode: str, spool: str, load: Workload, seconds: float
) -> list[float]:
    """Kill the server when the logger is running; bring it back after the measurement."""

    async def measured() -> list[float]:
        uri = mongod.database_uri(f"wadm_{mode}")
        async with AsyncAuditLogger(uri, config(mode, spool)) as audit:
            await load.async_call(audit)
            assert await audit.flush(30)
            mongod.kill()
            lags = await _lags(seconds, lambda: load.async_call(audit))
            await asyncio.to_thread(mongod.restart)
            assert await audit.flush(60)
            stats = audit.stats()
            assert stats.lost == stats.dead_lettered == 0, stats
        return lags

    return asyncio.run(measured())


async def _lags(seconds: float, work: Callable[[], Awaitable[None]] | None) -> list[float]:
    """Milliseconds by which the probe woke up late, with ``work`` started 500 times a second."""
    lags: list[float] = []
    end_s = time.perf_counter() + seconds
    driver = asyncio.create_task(_drive(work, end_s)) if work is not None else None
    await asyncio.sleep(0.1)
    while (before_s := time.perf_counter()) < end_s:
        await asyncio.sleep(_PROBE_S)
        lags.append((time.perf_counter() - before_s - _PROBE_S) * 1000)
    if driver is not None:
        await driver
    return lags


async def _drive(work: Callable[[], Awaitable[None]], end_s: float) -> None:
    running: set[asyncio.Task[None]] = set()
    next_s = time.perf_counter()
    while (now_s := time.perf_counter()) < end_s:
        if now_s < next_s:
            await asyncio.sleep(next_s - now_s)
        task = asyncio.ensure_future(work())
        running.add(task)
        task.add_done_callback(running.discard)
        next_s = max(next_s + 1 / RATE, time.perf_counter() - 0.02)
    if running:
        await asyncio.wait(running)
