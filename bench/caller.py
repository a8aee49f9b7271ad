"""What one audited call costs its caller: in a burst of 5,000 and at 100 calls a second.

A call is two records of ours; raw PyMongo writes the same content as one document. The floor is
what any asynchronous logger pays at least: ``bson.encode`` and ``SimpleQueue.put`` of it.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Final

import bson

from affidavit import AuditLogger
from bench.measure import Effort, interleaved, median, paced, percentile, progress, ratios
from bench.report import Figure
from bench.servers import MODES, SAFE, config, like_the_document, server, spool_folder
from bench.workload import Workload

BURST: Final = 5000
RATE: Final = 100.0

RAW: Final = "raw insert_one, default"
RAW_SAFE: Final = "raw insert_one, majority + journal"
FLOOR: Final = "bson.encode + SimpleQueue.put"

_PEER: Final = {"direct": RAW_SAFE, "batch": RAW_SAFE, "async": FLOOR, "high_volume": FLOOR}


def run(effort: Effort) -> list[Figure]:
    """Measure; the burst's and the paced runs' medians of paired rounds."""
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=False))
        spool = stack.enter_context(spool_folder())
        client = stack.enter_context(mongod.client())
        load = Workload()
        loggers = {
            mode: AuditLogger(mongod.database_uri(f"wadm_{mode}"), config(mode, spool))
            for mode in MODES
        }
        for logger in loggers.values():
            stack.callback(logger.close)
        raw = like_the_document(client["raw"])
        raw_safe = like_the_document(client["raw_safe"]).with_options(write_concern=SAFE)
        queue: SimpleQueue[bytes] = SimpleQueue()
        once: dict[str, Callable[[], object]] = {
            mode: _caller(load, logger) for mode, logger in loggers.items()
        }
        once[RAW] = lambda: raw.insert_one(load.sample())
        once[RAW_SAFE] = lambda: raw_safe.insert_one(load.sample())
        ready = itertools.cycle([load.sample() for _ in range(512)])
        once[FLOOR] = lambda: queue.put(bson.encode(next(ready)))
        for name, call in once.items():  # the first calls set up, connect and import
            progress(f"warming up {name}")
            _timed(call, range(effort.of(200, 200, 5)))
            _settle(loggers.get(name), queue)

        def burst(name: str) -> Callable[[], list[float]]:
            waits = name not in {"async", "high_volume", FLOOR}
            count = (effort.of(1000, 200, 20)) if waits else effort.of(BURST, BURST, 200)
            return lambda: _and_settle(once[name], range(count), loggers.get(name), queue)

        def at_rate(name: str) -> Callable[[], list[float]]:
            duration_s = effort.of(2.5, 0.7, 0.1)
            return lambda: _and_settle(
                once[name], paced(RATE, duration_s), loggers.get(name), queue
            )

        bursts = interleaved({n: burst(n) for n in once}, effort.of(5, 2, 1), label="burst")
        paces = interleaved({n: at_rate(n) for n in once}, effort.of(3, 1, 1), label="100 calls/s")
        lost = {mode: logger.stats().lost for mode, logger in loggers.items()}
        missing = sum(
            logger.stats().recorded - logger.stats().stored for logger in loggers.values()
        )
    figures = [*_figures("burst", bursts), *_figures("paced", paces)]
    figures.append(
        Figure(
            "caller.burst.lost",
            f"records lost in bursts of {BURST:,} calls, high_volume",
            lost["high_volume"],
            "records",
            target="0",
            met=lost["high_volume"] == 0,
        )
    )
    figures.append(
        Figure(
            "caller.lost",
            "records lost or not stored at the end, all modes",
            sum(lost.values()) + missing,
            "records",
            target="0",
            met=sum(lost.values()) + missing == 0,
        )
    )
    return figures


def _caller(load: Workload, logger: AuditLogger) -> Callable[[], object]:
    return lambda: load.call(logger)


def _timed(call: Callable[[], object], times: Iterable[int]) -> list[float]:
    """Call once for each of ``times``; microseconds of each call."""
    clock = time.perf_counter_ns
    took = []
    for _ in times:
        start_ns = clock()
        call()
        took.append((clock() - start_ns) / 1000)
    return took


def _and_settle(
    call: Callable[[], object],
    times: Iterable[int],
    logger: AuditLogger | None,
    queue: SimpleQueue[bytes],
) -> list[float]:
    took = _timed(call, times)
    _settle(logger, queue)
    return took


def _settle(logger: AuditLogger | None, queue: SimpleQueue[bytes]) -> None:
    """Let what was left behind finish, so that it does not burden the next measurement."""
    if logger is not None and not logger.flush(60):
        msg = "the store did not take in a minute what was recorded"
        raise RuntimeError(msg)
    while not queue.empty():
        queue.get_nowait()


def _figures(kind: str, runs: dict[str, list[list[float]]]) -> list[Figure]:
    limits = {"burst": 30, "paced": 150}
    p50 = {name: [percentile(took, 50) for took in rounds] for name, rounds in runs.items()}
    p99 = {name: [percentile(took, 99) for took in rounds] for name, rounds in runs.items()}
    what = "burst" if kind == "burst" else "100 calls/s"
    figures = []
    for name in runs:
        value, peer = median(p50[name]), _PEER.get(name, "")
        limit = limits[kind] if name == "high_volume" else None
        figures.append(
            Figure(
                f"caller.{kind}.{name}",
                f"caller's cost, {what}, {name}, p50",
                value,
                "µs",
                peer,
                median(p50[peer]) if peer else None,
                median(ratios(p50[name], p50[peer])) if peer else None,
                f"≤ {limit} µs" if limit else "",
                value <= limit if limit else None,
                f"p99 {median(p99[name]):,.0f} µs",
            )
        )
    return figures
