"""What pricing costs the writer: `python -m bench.pricing`.

Best of several short runs each, in microseconds, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from affidavit.event import Dest
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.price import Pricer
from affidavit.pipeline.snapshot import take
from affidavit.pricing import Usage, load, usage_of

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT_MS = round(AT.timestamp() * 1000)
USAGE = Usage(1000, 500, cache_read=200, reasoning=100)
RAW = {
    "prompt_tokens": 1000,
    "completion_tokens": 500,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 200, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 0},
}
CALL: dict[str, Any] = {
    "event_type": "llm_response",
    "timestamp": AT_MS,
    "user_id": "user_123",
    "provider": "openai",
    "model": "gpt-5-mini-2025-08-07",
    "status": "completed",
    "success": True,
    "input_tokens": 1000,
    "output_tokens": 500,
    "cached_tokens": 200,
    "reasoning_tokens": 100,
    "request_data": {"message_length": 400, "provider": "openai"},
    "response_data": {"text": "BTCUSDT moves sideways.", "cost_usd": None},
}


def best_us(work: Callable[[], object], count: int, runs: int = 41) -> float:
    """Microseconds for one piece of work."""
    found = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        for _ in range(count):
            work()
        found = min(found, (time.perf_counter() - started) / count * 1e6)
    return found


def stepping(outcome: dict[str, Any]) -> Callable[[], None]:
    """The price step of the pipeline, on one outcome again and again."""
    pricer, answer = Pricer(load), dict(outcome["response_data"])
    document = {**outcome, "response_data": answer}

    def step() -> None:
        answer["cost_usd"] = None
        pricer.price(document, AT_MS)

    return step


def size(outcome: dict[str, Any], pricer: Pricer | None) -> int:
    """Bytes of BSON of the finished record."""
    chain, snapshot = Chain("w", 10_240, None, pricer=pricer), take(outcome, plain=True)
    return len(chain.finish(Dest.RECORDS, b"i" * 12, snapshot, 1).body)


def loading_ms() -> tuple[float, float]:
    """Milliseconds to read the list, and the first price of a provider, in a fresh process."""
    code = (
        "import time; from affidavit.pricing import Usage, load"
        "; a = time.perf_counter(); b = load(); c = time.perf_counter()"
        "; b.price(Usage(1, 1), 'openai', 'gpt-5', 0)"
        "; print((c - a) * 1e3, (time.perf_counter() - c) * 1e3)"
    )
    runs = [
        tuple(map(float, subprocess.check_output([sys.executable, "-c", code], text=True).split()))
        for _ in range(5)
    ]
    return min(run[0] for run in runs), min(run[1] for run in runs)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="What pricing costs the writer.")
    parser.add_argument("--count", type=int, default=500, help="calls in a run")
    count = parser.parse_args().count
    book = load()
    captured = {**CALL, "response_data": {**CALL["response_data"], "usage_raw": RAW}}
    read_ms, first_ms = loading_ms()
    print(f"reading the list, once in a process      {read_ms:8.2f} ms")
    print(f"the first price of a provider            {first_ms:8.2f} ms")
    usage_us = best_us(lambda: usage_of(captured), count)
    print(f"a usage, read from a captured outcome    {usage_us:8.2f} us")
    model = "gpt-5-mini-2025-08-07"
    price_us = best_us(lambda: book.price(USAGE, "openai", model, AT_MS), count)
    print(f"its price                                {price_us:8.2f} us")
    for what, outcome in (("reported by hand", CALL), ("captured", captured)):
        step_us = best_us(stepping(outcome), count)
        print(f"the whole step, of a call {what:<15}{step_us:8.2f} us")
    more = size(CALL, Pricer(load)) - size(CALL, None)
    print(f"more in a priced outcome                 {more:5} bytes of BSON")
    print(f"genai-prices itself                      {theirs_us(count):8.2f} us")


def theirs_us(count: int) -> float:
    """Microseconds of the library for the same call."""
    import genai_prices

    usage = genai_prices.Usage(
        input_tokens=1000, output_tokens=500, cache_read_tokens=200, output_reasoning_tokens=100
    )

    def ask() -> object:
        return genai_prices.calc_price(
            usage, "gpt-5-mini-2025-08-07", provider_id="openai", genai_request_timestamp=AT
        )

    ask()
    return best_us(ask, max(1, count // 20))


if __name__ == "__main__":
    main()
