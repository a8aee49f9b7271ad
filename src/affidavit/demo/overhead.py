"""What auditing costs a call: pairs of the same call, once plain and once audited.

It runs in a process of its own, so that nothing but the call and the audit log take its time.
Each pair makes the two calls in random order against the canned endpoint, whose latency is
fixed; the difference of the two is one measurement. Reported are the median difference and the
95 % interval of that median (bootstrap). The plain call has no auditing code at all.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from affidavit.demo.child import announce
from affidavit.demo.settings import VARIABLE, Settings, decode

CALL_LATENCY_MS = 60.0
"""Latency of the endpoint during the measurement."""

DOCUMENT_CALL_MS = 1200.0
"""The call of the original analysis, which the overhead is set against."""

_WARM_UP = 5
_RESAMPLES = 1000
_MESSAGES: list[Any] = [
    {"role": "system", "content": "You are a trading assistant."},
    {"role": "user", "content": "BTCUSDT: Analyze the trend on the daily chart. " * 20},
]


class Overhead(msgspec.Struct, frozen=True):
    """The measured overhead of auditing one call, in milliseconds."""

    pairs: int
    plain_ms: float
    audited_ms: float
    added_ms: float
    added_low_ms: float
    added_high_ms: float
    percent_of_1200_ms: float
    calls_recorded: int
    method: str = (
        "the same call by a plain and by a wrapped client of the openai SDK, in random order, "
        "against an endpoint of fixed latency, in a process of its own; median of the paired "
        "differences with its 95 % bootstrap interval"
    )


def summarise(plain: list[float], audited: list[float], calls_recorded: int) -> Overhead:
    """The result of paired times in milliseconds."""
    added = [with_audit - without for without, with_audit in zip(plain, audited, strict=True)]
    chance = random.Random(0)  # noqa: S311 - the same interval for the same times
    medians = sorted(
        statistics.median(chance.choices(added, k=len(added))) for _ in range(_RESAMPLES)
    )
    median = statistics.median(added)
    return Overhead(
        pairs=len(added),
        plain_ms=round(statistics.median(plain), 3),
        audited_ms=round(statistics.median(audited), 3),
        added_ms=round(median, 3),
        added_low_ms=round(medians[int(_RESAMPLES * 0.025)], 3),
        added_high_ms=round(medians[int(_RESAMPLES * 0.975) - 1], 3),
        percent_of_1200_ms=round(100 * median / DOCUMENT_CALL_MS, 3),
        calls_recorded=calls_recorded,
    )


async def measure(settings: Settings, pairs: int) -> Overhead:
    """Make the pairs of calls and record the audited ones."""
    import openai

    from affidavit import AsyncAuditLogger, AuditConfig

    base_url = next(iter(settings.providers.values())).base_url
    latency = {"x-canned-latency-ms": str(CALL_LATENCY_MS)}
    audit = AsyncAuditLogger(settings.mongodb_uri, AuditConfig(**settings.audit))
    asked: dict[str, Any] = {"base_url": base_url, "api_key": "none", "max_retries": 0}
    async with (
        openai.AsyncOpenAI(**asked) as plain,
        audit.wrap(openai.AsyncOpenAI(**asked)) as audited,
    ):
        times: dict[Any, list[float]] = {plain: [], audited: []}
        chance = random.Random(1)  # noqa: S311 - the order of the pairs
        for number in range(_WARM_UP + pairs):
            for sdk in chance.sample([plain, audited], 2):
                started = time.perf_counter()
                await sdk.chat.completions.create(
                    model="canned-large", messages=_MESSAGES, extra_headers=latency
                )
                if number >= _WARM_UP:
                    times[sdk].append((time.perf_counter() - started) * 1000)
        await audit.close()
    return summarise(times[plain], times[audited], _WARM_UP + pairs)


if __name__ == "__main__":
    result = asyncio.run(measure(decode(os.environ[VARIABLE]), int(sys.argv[2])))
    announce(Path(sys.argv[1]), msgspec.json.encode(result).decode())
