"""How auditing changes the speed of other work on the same database.

A separate process does the application's own work on ``wadm.trades``: two finds by index and one
insert in turn, 300 operations a second. This process makes 50 audited calls a second, or none.
Each of the 20 rounds has every condition once, in turning order; each is compared with the same
round without auditing.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from random import Random
from time import perf_counter, sleep
from typing import Any, Final

import pymongo

from affidavit import AuditLogger
from bench.measure import Effort, bootstrap_interval, interleaved, median, paced, percentile, ratios
from bench.report import Figure
from bench.servers import Helper, config, server, spool_folder
from bench.workload import Workload

CALLS_PER_S: Final = 50.0
OPERATIONS_PER_S: Final = 300.0
LIMIT: Final = 1.15
OFF: Final = "off"
MODES: Final = ("direct", "high_volume")
_TRADES: Final = 20_000


def run(effort: Effort) -> list[Figure]:
    """Measure: 20 rounds of off, direct and high volume, or 3 short ones."""
    rounds, seconds = effort.of((20, 2.0), (3, 0.7), (1, 0.2))
    load = Workload()
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=True))
        spool = stack.enter_context(spool_folder())
        uri = mongod.database_uri("wadm")
        other = stack.enter_context(Helper("bench.foreground", uri))
        loggers = {}
        for mode in MODES:
            # In the very database of the other work, also in high volume: the harder case.
            loggers[mode] = AuditLogger(uri, config(mode, spool), separate_database=False)
            stack.callback(loggers[mode].close)
            load.call(loggers[mode])

        def measured(audit: AuditLogger | None) -> Callable[[], dict[str, float]]:
            def once() -> dict[str, float]:
                with _audited(audit, load):
                    sleep(0.15)  # both run before the measurement begins
                    return dict(other.ask(seconds))

            return once

        conditions = {OFF: measured(None)} | {m: measured(loggers[m]) for m in MODES}
        other.ask(0.5)
        runs = interleaved(conditions, rounds, label="other work")
        lost = sum(logger.stats().lost for logger in loggers.values())
    assert lost == 0
    off = [found["p95"] for found in runs[OFF]]
    figures = []
    for mode in MODES:
        on = [found["p95"] for found in runs[mode]]
        pairs = ratios(on, off)
        low, high = bootstrap_interval(pairs)
        figures.append(
            Figure(
                f"foreground.{mode}",
                f"other work's p95 on the same database, 50 calls/s, {mode}",
                median(on),
                "ms",
                "auditing off",
                median(off),
                median(pairs),
                f"95 % interval ≤ {LIMIT:.2f}×",
                high <= LIMIT,
                f"{rounds} pairs, median ratio, 95 % interval {low:.3f} to {high:.3f}",
            )
        )
    return figures


@contextlib.contextmanager
def _audited(audit: AuditLogger | None, load: Workload) -> Iterator[None]:
    """Make 50 audited calls a second meanwhile, each from a thread that then ends waiting."""
    if audit is None:
        yield
        return
    done = threading.Event()

    def work() -> None:
        for _ in paced(CALLS_PER_S, 3600):
            if done.is_set():
                return
            load.call(audit)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _other_work(uri: str) -> None:
    """Be the other process: for each number of seconds read, work so long and print p50 and p95."""
    rng = Random(5)
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        trades = client.get_default_database()["trades"]
        trades.insert_many([_trade(rng) for _ in range(_TRADES)])
        trades.create_index([("symbol", 1), ("at", -1)])
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            took = []
            for number in paced(OPERATIONS_PER_S, float(line)):
                start_s = perf_counter()
                if number % 3 == 2:
                    trades.insert_one(_trade(rng))
                else:
                    symbol = f"S{rng.randrange(200)}"
                    list(trades.find({"symbol": symbol}).sort("at", -1).limit(20))
                took.append((perf_counter() - start_s) * 1000)
            answer = {"p50": percentile(took, 50), "p95": percentile(took, 95)}
            print(json.dumps(answer), flush=True)


def _trade(rng: Random) -> dict[str, Any]:
    return {
        "symbol": f"S{rng.randrange(200)}",
        "at": rng.randrange(10**9),
        "price": rng.random(),
        "quantity": rng.random(),
        "side": "buy",
        "venue": "x" * 40,
    }


if __name__ == "__main__":
    _other_work(sys.argv[1])
