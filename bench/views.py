"""How fast the two views answer at 100,000 calls and 10,000 old documents.

A ``mongod`` of its own is loaded with a month of calls of 1.7 KB of text, and each question is
asked 15 times; the median stands beside its limit. The sum is given with and without the index it
is made for. Alone: ``python -m bench.views``.
"""

from __future__ import annotations

import random
import statistics
import struct
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bson import Decimal128, ObjectId

from affidavit.config import AuditConfig
from affidavit.demo.mongod import Mongod
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.setup import ensure
from bench.measure import Effort
from bench.report import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database

CALLS = 100_000
OLD = 10_000
USERS = 200
TEXT = (500, 1200)  # characters of question and answer: 1.7 KB together
RUNS = 15
PROVIDERS = ("anthropic", "openai", "local")
_WORDS_SEED = 7


def main() -> int:
    """Measure and print; exit code 1 when a limit is missed."""
    figures = run(Effort.QUICK if "--quick" in sys.argv else Effort.FULL)
    for figure in figures:
        verdict = {True: "ok", False: "MISSED", None: ""}[figure.met]
        print(
            f"{figure.what:34s} {figure.value:8.1f} {figure.unit:5s} {figure.target:9s} {verdict}"
        )
        if figure.note:
            print(f"{'':34s} {figure.note}")
    return int(any(figure.met is False for figure in figures))


def run(effort: Effort) -> list[Figure]:
    """Load a month, ask each question, and give the medians; a quick look takes a tenth."""
    calls, old = effort.of(CALLS, CALLS // 10, 200), effort.of(OLD, OLD // 10, 20)
    with ExitStack() as stack:
        server = stack.enter_context(Mongod.start())
        with server.client() as client:
            # The demo's server has a small cache; a server that holds a log has at least this.
            client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig="cache_size=1G")
        config = AuditConfig(ttl_days=3650)
        location = locate(server.database_uri("affidavit_bench_views"), config)
        stack.callback(location.close)
        ensure(location, config, 30)
        load(location.database, calls=calls, old=old)
        size = f"at {calls:,} calls and {old:,} old documents"
        return [_size(location.database), *_answers(location.database, size)]


def load(database: Database[dict[str, Any]], *, calls: int, old: int) -> None:
    """Insert a month of calls and, before it, twenty days of an older logger's documents."""
    records = database["llm_audit"]
    batch: list[dict[str, Any]] = []
    for document in documents(calls=calls, old=old):
        batch.append(document)
        if len(batch) >= 2000:
            records.insert_many(batch, ordered=False)
            batch = []
    if batch:
        records.insert_many(batch, ordered=False)


def documents(*, calls: int, old: int) -> Iterator[dict[str, Any]]:
    """Make the documents, in the order of time; one call in 1,000 has no outcome."""
    source = random.Random(_WORDS_SEED)
    words = [
        "".join(source.choices("etaoinshrdlucmfw", k=source.randint(2, 9))) for _ in range(4000)
    ]
    texts = [[_text(source, words, size) for _ in range(1500)] for size in TEXT]
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
    for number in range(old):
        at = start - timedelta(days=20) * (1 - number / old)
        yield _old(number, at.replace(tzinfo=None), source.choice(texts[0]))
    seq = 0
    for number in range(calls):
        at = start + timedelta(days=30) * (number / calls)
        question, answer = source.choice(texts[0]), source.choice(texts[1])
        for document in _call(number, at, question, answer):
            yield {**document, "writer": "bench", "seq": seq}
            seq += 1


def _text(source: random.Random, words: list[str], size: int) -> str:
    return " ".join(source.choices(words, k=size // 4))[:size]


def _old(number: int, at: datetime, question: str) -> dict[str, Any]:
    return {
        "event_type": "llm_request",
        "user_id": f"user_{number % USERS}",
        "timestamp": at,
        "client_ip": "10.0.0.1",
        "request_data": {"message": question, "message_length": len(question),
                         "provider": "anthropic"},
        "response_data": {"response_length": 2500, "provider_used": "anthropic",
                          "tokens_used": 1250, "cost_usd": 0.045, "processing_time_ms": 1500},
        "status": "completed",
        "success": True,
        "error_message": None,
        "completed_at": at + timedelta(seconds=1.5),
    }  # fmt: skip


def _call(number: int, at: datetime, question: str, answer: str) -> Iterator[dict[str, Any]]:
    identity = _object_id(at, 2 * number)
    provider = PROVIDERS[number % len(PROVIDERS)]
    brief = {"message_length": len(question), "provider": provider, "model": f"{provider}-1",
             "symbol": "BTCUSDT", "include_indicators": True}  # fmt: skip
    common = {
        "call_id": str(identity),
        "user_id": f"user_{number * 7919 % USERS}",
        "department": "research",
        "client_info": {"ip_address": "192.168.1.100", "user_agent": "WADM Frontend/1.0"},
        "schema_version": 1,
        "provider": provider,
        "model": f"{provider}-1",
    }
    yield {
        "_id": identity,
        "event_type": "llm_request",
        "timestamp": at,
        "status": "initiated",
        "request_data": {"message": question, **brief},
        **common,
    }
    if number % 1000 == 999:
        return
    success = number % 50 != 0
    ended = at + timedelta(milliseconds=1200)
    yield {
        "_id": _object_id(ended, 2 * number + 1),
        "event_type": "llm_response",
        "timestamp": ended,
        "status": "completed" if success else "failed",
        "success": success,
        "error_message": None if success else "the provider did not answer",
        "input_tokens": 300,
        "output_tokens": 700,
        "request_data": brief,
        "response_data": {"text": answer, "response_length": len(answer),
                          "provider_used": provider, "tokens_used": 1000,
                          "cost_usd": Decimal128(Decimal(number % 977) / 10_000),
                          "processing_time_ms": 1200.0},
        **common,
    }  # fmt: skip


def _object_id(at: datetime, number: int) -> ObjectId:
    return ObjectId(struct.pack(">I", int(at.timestamp())) + b"bench" + number.to_bytes(3, "big"))


def _size(database: Database[dict[str, Any]]) -> Figure:
    database.client.admin.command("fsync")
    stats = database.command("collStats", "llm_audit")
    data, index = stats["storageSize"] / stats["count"], stats["totalIndexSize"] / stats["count"]
    note = f"{data:.0f} of data, {index:.0f} of its indexes, all blocks zstd"
    return Figure("views.record_bytes", "a record on disk", data + index, "bytes", note=note)


def _answers(database: Database[dict[str, Any]], size: str) -> list[Figure]:
    calls, outcomes = database["llm_calls"], database["llm_outcomes"]
    month = {"$match": {"timestamp": {"$gte": datetime.now(UTC) - timedelta(days=31)}}}
    cost = {"$sum": "$response_data.cost_usd"}

    def total(group: str | None, **options: Any) -> Callable[[], object]:
        stages = [month, {"$group": {"_id": group, "cost": cost}}]
        return lambda: list(outcomes.aggregate(stages, **options))

    def succeeded() -> object:
        return list(calls.find({"event_type": "llm_request", "success": True}).limit(50))

    questions: list[tuple[str, str, float | None, Callable[[], object]]] = [
        ("newest", "newest 50 calls", 20, lambda: list(calls.find().limit(50))),
        ("user", "one user's last 50 calls", 20,
         lambda: list(calls.find({"user_id": "user_7"}).limit(50))),
        ("succeeded", "an old logger's query, 50 calls", None, succeeded),
        ("outcomes", "newest 50 outcomes", None,
         lambda: list(outcomes.find().sort("timestamp", -1).limit(50))),
        ("cost", "a month's cost", 500, total(None)),
        ("cost_user", "a month's cost by user", 500, total("$user_id")),
        ("cost_provider", "a month's cost by provider", 500,
         total("$response_data.provider_used")),
        ("cost_scan", "a month's cost without its index", None, total(None, hint={"$natural": 1})),
    ]  # fmt: skip
    return [_figure(*question, size) for question in questions]


def _figure(
    key: str, what: str, limit_ms: float | None, ask: Callable[[], object], size: str
) -> Figure:
    ask()
    took_ms = []
    for _ in range(RUNS):
        started_s = time.perf_counter()
        ask()
        took_ms.append((time.perf_counter() - started_s) * 1000)
    median_ms = statistics.median(took_ms)
    return Figure(
        f"views.{key}",
        what,
        median_ms,
        "ms",
        target="" if limit_ms is None else f"≤ {limit_ms:g} ms",
        met=None if limit_ms is None else median_ms <= limit_ms,
        note=f"{size}; slowest of {RUNS}: {max(took_ms):.0f} ms",
    )


if __name__ == "__main__":
    sys.exit(main())
