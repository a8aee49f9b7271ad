"""What capturing an SDK's client costs: beyond ``audit.call`` for a call, and to a stream's chunks.

The real ``openai`` client asks the canned endpoint, which runs in a process of its own, over real
HTTP. Three ways take turns call by call: the client alone, the client inside a ``with audit.call``
block that reports the same, and the wrapped client. What is compared is always the difference of
neighbours in time. The logger is in high-volume mode, in which no caller waits for the database;
its writer works on while the next call runs, so the ways follow each other in every order.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import openai

from affidavit import AuditLogger
from affidavit.demo.canned import CannedEndpoint
from bench.measure import Effort, bootstrap_interval, median, percentile, progress
from bench.report import Figure
from bench.servers import Helper, config, server, spool_folder
from bench.workload import PROMPT, English

BEYOND_CALL_US: Final = 40.0
FIRST_CHUNK_MS: Final = 1.0

PLAIN: Final = "the client alone"
CALL: Final = "audit.call"
WRAPPED: Final = "wrapped"


def run(effort: Effort) -> list[Figure]:
    """Measure 3,000 calls and 600 streams of each kind, or fewer."""
    calls, streams = effort.of((3000, 600), (600, 100), (20, 5))
    load = English(11)
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=False))
        spool = stack.enter_context(spool_folder())
        endpoint = stack.enter_context(Helper("bench.wrapping", ""))
        url = str(endpoint.ask(0))
        audit = AuditLogger(mongod.database_uri("wadm"), config("high_volume", spool))
        stack.callback(audit.close)
        # Each way has a client, and so a connection, of its own: one that is used more often is
        # faster, whatever is around it.
        plain, audited, wrapped = (
            stack.enter_context(openai.OpenAI(base_url=url, api_key="k")) for _ in range(3)
        )
        audit.wrap(wrapped)
        ways: dict[str, Callable[[list[Any]], object]] = {
            PLAIN: lambda turns: _ask(plain, turns),
            CALL: lambda turns: _by_hand(audit, audited, turns),
            WRAPPED: lambda turns: _ask(wrapped, turns),
        }
        progress(f"{calls} calls in three ways")
        took = _in_turns(ways, load, calls, audit)
        progress(f"{streams} streams in two ways")
        firsts, rests = _streams({PLAIN: plain, WRAPPED: wrapped}, load, streams, audit)
        assert audit.flush(60)
        lost = audit.stats().lost
    assert lost == 0
    return [*_of_calls(took), *_of_streams(firsts, rests)]


def _ask(client: openai.OpenAI, turns: list[Any]) -> Any:
    return client.chat.completions.create(model="canned-large", messages=turns, temperature=0.2)


def _by_hand(audit: AuditLogger, client: openai.OpenAI, turns: list[Any]) -> None:
    """Report by hand what an application reports: the answer, its tokens and its end."""
    with audit.call(
        provider="openai",
        model="canned-large",
        messages=turns,
        parameters={"temperature": 0.2},
    ) as call:
        answer = _ask(client, turns)
        usage, choice = answer.usage, answer.choices[0]
        call.complete(
            text=choice.message.content,
            model=answer.model,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cached_tokens=usage.prompt_tokens_details.cached_tokens,
            finish_reason=choice.finish_reason,
        )


def _turns(load: English) -> list[Any]:
    """A system prompt and a question, 2 KB together."""
    text = load.text(PROMPT)
    return [
        {"role": "system", "content": text[:500]},
        {"role": "user", "content": text[500:]},
    ]


def _in_turns(
    ways: dict[str, Callable[[list[Any]], object]], load: English, count: int, audit: AuditLogger
) -> dict[str, list[tuple[float, float]]]:
    """Call each way in turn; microseconds of each call, and those its thread was at work."""
    names = list(ways)
    for name in names * 20:
        ways[name](_turns(load))
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    orders = list(itertools.permutations(names))
    clock, own = time.perf_counter_ns, time.thread_time_ns
    gc.collect()
    for number in range(count):
        turns = _turns(load)
        for name in orders[number % len(orders)]:
            cpu_ns, start_ns = own(), clock()
            ways[name](turns)
            took[name].append(((clock() - start_ns) / 1000, (own() - cpu_ns) / 1000))
        if number % 100 == 0:
            audit.flush(60)
    return took


def _streams(
    clients: dict[str, openai.OpenAI], load: English, count: int, audit: AuditLogger
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Read streams in turn; microseconds to the first chunk, and of each further one."""
    names = list(clients)
    firsts: dict[str, list[float]] = {name: [] for name in names}
    rests: dict[str, list[float]] = {name: [] for name in names}
    clock = time.perf_counter_ns
    for number in range(count + 10):
        turns = _turns(load)
        for name in names if number % 2 else names[::-1]:
            start_ns = clock()
            stream = clients[name].chat.completions.create(
                model="canned-large", messages=turns, stream=True
            )
            chunks = iter(stream)
            next(chunks)
            first_ns = clock()
            more = sum(1 for _ in chunks)
            end_ns = clock()
            if number >= 10:
                firsts[name].append((first_ns - start_ns) / 1000)
                rests[name].append((end_ns - first_ns) / 1000 / more)
        if number % 100 == 0:
            audit.flush(60)
    return firsts, rests


def _of_calls(took: dict[str, list[tuple[float, float]]]) -> list[Figure]:
    figures = []
    plain = median([wall for wall, _ in took[PLAIN]])
    for at, key, what in (
        (0, "beyond_call", ""),
        (1, "beyond_call_cpu", ", the thread's own time"),
    ):
        ours, by_hand, alone = ([one[at] for one in took[n]] for n in (WRAPPED, CALL, PLAIN))
        beyond = _differences(ours, by_hand)
        low, high = bootstrap_interval(beyond, draws=500)
        value = median(beyond)
        figures.append(
            Figure(
                f"wrapping.{key}",
                f"wrapping a client, beyond audit.call, p50 of pairs{what}",
                value,
                "µs",
                "audit.call beyond the client alone",
                median(_differences(by_hand, alone)),
                None,
                "" if at else f"≤ {BEYOND_CALL_US:.0f} µs",
                None if at else value <= BEYOND_CALL_US,
                f"95 % interval {low:.0f} to {high:.0f} µs; a call takes {plain:,.0f} µs",
            )
        )
    return figures


def _of_streams(firsts: dict[str, list[float]], rests: dict[str, list[float]]) -> list[Figure]:
    delays = _differences(firsts[WRAPPED], firsts[PLAIN])
    low, high = bootstrap_interval(delays, draws=500)
    value = median(delays) / 1000
    return [
        Figure(
            "wrapping.first_chunk",
            "delay of a stream's first chunk, p50 of pairs",
            value,
            "ms",
            "the client alone",
            percentile(firsts[PLAIN], 50) / 1000,
            None,
            f"≤ {FIRST_CHUNK_MS:.0f} ms",
            value <= FIRST_CHUNK_MS,
            f"95 % interval {low:.0f} to {high:.0f} µs",
        ),
        Figure(
            "wrapping.further_chunk",
            "delay of each further chunk, p50 of pairs",
            median(_differences(rests[WRAPPED], rests[PLAIN])),
            "µs",
            "the client alone",
            percentile(rests[PLAIN], 50),
        ),
    ]


def _differences(ours: list[float], base: list[float]) -> list[float]:
    return [a - b for a, b in zip(ours, base, strict=True)]


def _endpoint() -> None:
    """Be the other process: tell the address, and serve until nobody asks any more."""
    with CannedEndpoint.start(latency_ms=0) as endpoint:
        print(json.dumps("ready"), flush=True)
        for _ in sys.stdin:
            print(json.dumps(endpoint.base_url), flush=True)


if __name__ == "__main__":
    _endpoint()
