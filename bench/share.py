"""Auditing's share of a model call that takes 1,200 ms, as in the analysis document.

Real HTTP requests go to a local endpoint in another process, which answers after 1,200 ms. Twelve
callers work side by side; every call takes the next of the four ways of auditing in turn, so all
are measured in the same seconds. Counted is the time spent in auditing: entering the block,
``complete`` and leaving it; for raw PyMongo the ``insert_one`` of the sample document.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Final
from urllib.parse import urlsplit

from affidavit import AuditLogger
from affidavit.demo.canned import CannedEndpoint
from bench.measure import Effort, median, percentile, progress
from bench.report import Figure
from bench.servers import SAFE, Documents, Helper, config, like_the_document, server, spool_folder
from bench.workload import ANSWER, PROMPT, English, sample

LATENCY_MS: Final = 1200.0
CALLERS: Final = 12
RAW: Final = "raw insert_one, majority + journal"
NONE: Final = "not audited"
LIMITS: Final = {"high_volume": 0.1, "direct": 0.4}
CLAIMED_MS: Final = 15.0


def run(effort: Effort) -> list[Figure]:
    """Measure on a replica set of one, so that direct writes wait for the majority."""
    latency_ms = effort.of(LATENCY_MS, LATENCY_MS, 60.0)
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=True))
        spool = stack.enter_context(spool_folder())
        client = stack.enter_context(mongod.client())
        endpoint = stack.enter_context(Helper("bench.share", str(latency_ms)))
        raw = like_the_document(client["raw"]).with_options(write_concern=SAFE)
        loggers = {
            mode: AuditLogger(mongod.database_uri(f"wadm_{mode}"), config(mode, spool))
            for mode in LIMITS
        }
        for logger in loggers.values():
            stack.callback(logger.close)
        ways: dict[str, _Way] = {
            mode: functools.partial(_audited, logger) for mode, logger in loggers.items()
        }
        ways[RAW] = lambda ask, texts: _inserted(raw, ask, texts)
        ways[NONE] = lambda ask, _texts: _timed(ask)
        run_ = _Run(str(endpoint.hello), latency_ms, ways)
        progress(f"calls of {latency_ms:g} ms, {CALLERS} at a time")
        took = run_.all(effort.of(20, 4, 4))
    return _figures(took)


_Ask = Callable[[], None]
_Texts = tuple[str, str]
_Way = Callable[[_Ask, _Texts], tuple[float, float]]
"""Makes one call; returns milliseconds of the whole and of auditing."""


class _Run:
    """Twelve callers going through the ways in turn."""

    def __init__(self, base_url: str, latency_ms: float, ways: dict[str, _Way]) -> None:
        self._url = urlsplit(base_url)
        self._latency_ms = latency_ms
        self._ways = ways
        self._took: dict[str, list[tuple[float, float]]] = defaultdict(list)
        english = English(3)
        self._texts = [(english.text(PROMPT), english.text(ANSWER)) for _ in range(64)]

    def all(self, calls_each: int) -> dict[str, list[tuple[float, float]]]:
        """Run; the first call of each way and caller is left out, since it connects."""
        threads = [
            threading.Thread(target=self._caller, args=(number, calls_each))
            for number in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
            time.sleep(
                self._latency_ms / 1000 / CALLERS
            )  # spread, as callers of an application are
        for thread in threads:
            thread.join()
        return self._took

    def _caller(self, number: int, calls_each: int) -> None:
        connection = HTTPConnection(self._url.hostname or "", self._url.port)
        names = itertools.islice(itertools.cycle(self._ways), number, None)
        for turn, name in zip(range(calls_each), names, strict=False):
            prompt, answer = self._texts[(number * 31 + turn) % len(self._texts)]
            took = self._ways[name](lambda p=prompt: self._ask(connection, p), (prompt, answer))  # type: ignore[misc]
            if turn >= len(self._ways) or calls_each <= len(self._ways):
                self._took[name].append(took)
        connection.close()

    def _ask(self, connection: HTTPConnection, prompt: str) -> None:
        body = {"model": "canned-large", "messages": [{"role": "user", "content": prompt}]}
        connection.request(
            "POST",
            f"{self._url.path}/chat/completions",
            json.dumps(body),
            {"content-type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status


def _audited(audit: AuditLogger, ask: _Ask, texts: _Texts) -> tuple[float, float]:
    clock = time.perf_counter
    start_s = clock()
    with audit.call(
        provider="canned",
        model="canned-large",
        message=texts[0],
        user_id="user_123",
        fields={"symbol": "BTCUSDT", "include_indicators": True},
    ) as call:
        asked_s = clock()
        ask()
        answered_s = clock()
        call.complete(text=texts[1], input_tokens=500, output_tokens=750, cost_usd=0.045)
    end_s = clock()
    return (end_s - start_s) * 1000, (asked_s - start_s + end_s - answered_s) * 1000


def _inserted(raw: Documents, ask: _Ask, texts: _Texts) -> tuple[float, float]:
    clock = time.perf_counter
    start_s = clock()
    ask()
    answered_s = clock()
    raw.insert_one(sample(*texts, "user_123", "BTCUSDT"))
    end_s = clock()
    return (end_s - start_s) * 1000, (end_s - answered_s) * 1000


def _timed(ask: _Ask) -> tuple[float, float]:
    start_s = time.perf_counter()
    ask()
    return (time.perf_counter() - start_s) * 1000, 0.0


def _figures(took: dict[str, list[tuple[float, float]]]) -> list[Figure]:
    raw_ms = median([part for _whole, part in took[RAW]])
    plain_ms = median([whole for whole, _part in took[NONE]])
    figures = []
    for mode, limit in LIMITS.items():
        added = [part for _whole, part in took[mode]]
        percent = median([part / whole * 100 for whole, part in took[mode]])
        figures.append(
            Figure(
                f"share.{mode}",
                f"share of a 1,200 ms call, {mode}, majority",
                percent,
                "%",
                "raw insert_one, same share",
                raw_ms / plain_ms * 100,
                median(added) / raw_ms,
                f"≤ {limit} %",
                percent <= limit,
                f"{median(added):.2f} ms p50, {percentile(added, 95):.2f} ms p95 of {len(added)}; "
                f"claimed +{CLAIMED_MS:g} ms, +1.25 %",
            )
        )
    return figures


def _endpoint(latency_ms: float) -> None:
    """Be the other process: the model's endpoint, until standard input ends."""
    with CannedEndpoint.start(latency_ms=latency_ms) as endpoint:
        print(json.dumps(endpoint.base_url), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _endpoint(float(sys.argv[1]))
