"""A log of a million calls to ask questions of: made by the product's own steps, in large pieces.

Each call is an intent and an outcome as the writer finishes them (:class:`.Chain`), with its leaf
in a signed batch; only the queue and the single inserts between are left out. Users follow Zipf's
law, hours a working day; texts are passages of an English-like supply, none of them cut twice at
the same place but by chance. Two processes share the work. Then the log is sealed by the sealer.
"""

from __future__ import annotations

import functools
import itertools
import math
import multiprocessing
import os
import queue
import sys
import time
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

import msgspec
import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo.write_concern import WriteConcern

from affidavit import _records
from affidavit.event import Dest, LedgerEvent
from affidavit.integrity.leaves import FIRST, Signer, build
from affidavit.pipeline import build as parts
from affidavit.pipeline.chain import Chain
from bench.workload import English

DAYS: Final = 90
USERS: Final = 10_000
WRITERS: Final = 8
"""Writer ids the calls are spread over, as over the processes of a service."""

END: Final = datetime(2026, 11, 23, 20, tzinfo=UTC)
"""The newest call; fixed, so that days and months are the same in every run."""

_BATCH: Final = 1000
_SUPPLY: Final = 6_000_000
_DEPARTMENTS: Final = (
    "trading", "research", "risk", "compliance", "sales", "support", "legal", "treasury",
    "engineering", "marketing", "operations", "people",
)  # fmt: skip
_TENANTS: Final = ("madrid", "porto", "lima")
_HOURS: Final = (1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 16, 14, 14, 16, 16, 14, 10, 7, 5, 4, 3, 2, 1)
_ERRORS: Final = ("RateLimitError", "APITimeoutError", "APIConnectionError", "BadRequestError")


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is asked: how often, how fast, and at what price."""

    provider: str
    name: str
    weight: int
    median_ms: float
    per_input: Decimal
    """Dollars per token."""
    per_output: Decimal
    streams: bool


def _model(
    provider: str, name: str, weight: int, median_ms: float, asked: str, answered: str
) -> Model:
    million = Decimal(1_000_000)
    return Model(
        provider,
        name,
        weight,
        median_ms,
        Decimal(asked) / million,
        Decimal(answered) / million,
        streams=weight % 2 == 0,
    )


MODELS: Final = (
    _model("openai", "gpt-5", 18, 2400, "1.25", "10"),
    _model("openai", "gpt-5-mini", 22, 900, "0.25", "2"),
    _model("openai", "gpt-4.1", 9, 1400, "2", "8"),
    _model("anthropic", "claude-sonnet-4-5", 20, 2100, "3", "15"),
    _model("anthropic", "claude-haiku-4-5", 12, 800, "1", "5"),
    _model("anthropic", "claude-opus-4-1", 3, 4200, "15", "75"),
    _model("gcp.vertex_ai", "gemini-2.5-pro", 6, 2600, "1.25", "10"),
    _model("gcp.vertex_ai", "gemini-2.5-flash", 7, 700, "0.30", "2.50"),
    _model("mistral_ai", "mistral-large", 2, 1500, "2", "6"),
    _model("local", "llama-3.3-70b", 1, 3100, "0", "0"),
)


def load(uri: str, calls: int, text: int, *, piece: int = 0, processes: int = 2) -> None:
    """Store ``calls`` calls of about ``text`` characters in a log that is set up.

    Each ``piece`` of one log has writers of its own.
    """
    started_s = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        done = 0
        for count in _pieces(pool, uri, calls, text, piece):
            done += count
            rate = done / (time.monotonic() - started_s)
            if done // 20_000 > (done - count) // 20_000:
                say(f"loaded {done:,} of {calls:,} calls, {rate:,.0f}/s")
    say(f"loaded {done:,} calls in {time.monotonic() - started_s:.0f} s")


def _pieces(pool: Any, uri: str, calls: int, text: int, piece: int) -> Iterator[int]:
    """Run all writers, and tell how many calls each piece stored."""
    per_writer = [calls // WRITERS + (each < calls % WRITERS) for each in range(WRITERS)]
    tasks = [
        (uri, piece * WRITERS + each, count, text) for each, count in enumerate(per_writer) if count
    ]
    counter = multiprocessing.get_context("spawn").Manager().Queue()
    result = pool.starmap_async(_write, [(*task, counter) for task in tasks], chunksize=1)
    left = calls
    while left:
        if result.ready():
            result.get()  # a writer that failed says why
        try:
            count = counter.get(timeout=5)
        except queue.Empty:
            continue
        left -= count
        yield count
    result.get()


def _write(uri: str, number: int, count: int, text: int, told: Any) -> None:
    """Be one writer: its first record names its key, then calls, oldest first."""
    client: pymongo.MongoClient[Any] = pymongo.MongoClient(uri)
    database = client.get_default_database().with_options(write_concern=WriteConcern(w=1, j=False))
    writer = Writer(f"bench{number:07d}", database)
    writer.start()
    source = Calls(number, text)
    for done, at in enumerate(source.times(count), 1):
        writer.call(*source.call(at))
        if done % _BATCH == 0 or done == count:
            writer.flush()
            told.put(_BATCH if done % _BATCH == 0 else done % _BATCH)
    client.close()


class Writer:
    """Finishes records as the writer's thread does, and inserts a thousand at a time."""

    def __init__(self, name: str, database: Any) -> None:
        self._signer, self._name = Signer(name), name
        self._chain = Chain(name, 10_240, None)
        self._records = database["llm_audit"]
        self._ledger = database["llm_audit_ledger"]
        self._batches = database["llm_audit_leaf_batches"]
        self._seq, self._prev = 0, FIRST
        self._held: list[RawBSONDocument] = []
        self._leaves: list[tuple[bytes, int, int]] = []

    def start(self) -> None:
        """Write the ledger record that names the key."""
        document = {
            "event_type": LedgerEvent.WRITER_START.value,
            "timestamp": _ms(END - timedelta(days=DAYS)),
            "actor": {"program": "bench"},
            "details": {"leaf_key": self._signer.vkey},
            "schema_version": 1,
        }
        made = self._finish(Dest.LEDGER, _records.new_id(), document)
        self._ledger.insert_one(made)
        self._send()

    def call(self, intent: tuple[Any, ...], outcome: tuple[Any, ...], call_id: bytes) -> None:
        """Add the two records of a call."""
        self._held.append(self._finish(Dest.RECORDS, call_id, intent))
        self._held.append(self._finish(Dest.RECORDS, _records.new_id(), outcome))

    def _finish(self, dest: Dest, record_id: bytes, said: Any) -> RawBSONDocument:
        snapshot = msgspec.msgpack.encode(said)
        made = self._chain.finish(dest, record_id, snapshot, self._seq)
        self._leaves.append((made.leaf, made.time_ms, int(dest is Dest.LEDGER)))
        self._seq += 1
        return RawBSONDocument(made.body)

    def flush(self) -> None:
        """Store what was added, and its leaves."""
        if self._held:
            self._records.insert_many(self._held, ordered=False)
            self._held = []
        self._send()

    def _send(self) -> None:
        first = self._seq - len(self._leaves)
        for at in range(0, len(self._leaves), _BATCH):
            leaves, times, classes = zip(*self._leaves[at : at + _BATCH], strict=True)
            made = build(
                self._name, first + at, leaves, times, bytes(classes), self._prev, self._signer
            )
            self._prev = made.digest
            self._batches.insert_one({**made.as_document(), "sent_at": datetime.now(UTC)})
        self._leaves = []


class Calls:
    """A repeatable supply of calls: who asks which model what, and what becomes of it."""

    def __init__(self, seed: int, text: int, users: int = USERS) -> None:
        self._random = Random(f"calls {seed}")
        self._supply = _supply()
        self._text = text
        self._users = list(itertools.accumulate(1 / rank for rank in range(1, users + 1)))
        self._models = list(itertools.accumulate(model.weight for model in MODELS))
        self._hours = list(itertools.accumulate(_HOURS))

    def times(self, count: int) -> Iterator[datetime]:
        """Give the times of this writer's calls, in order: working hours, quiet weekends."""
        start = END - timedelta(days=DAYS)
        random, made = self._random, 0
        weights = [
            0.3 if (start + timedelta(days=day)).weekday() > 4 else 1.0 for day in range(DAYS)
        ]
        total = sum(weights)
        for day in range(DAYS):
            # What is due up to this day, so that roundings do not add up.
            due = round(count * sum(weights[: day + 1]) / total) - made
            made += due
            moments = sorted(self._moment(random) for _ in range(due))
            yield from (start + timedelta(days=day, seconds=each) for each in moments)

    def _moment(self, random: Random) -> float:
        hour = bisect(self._hours, random.random() * self._hours[-1])
        return (hour + random.random()) * 3600

    def call(self, at: datetime) -> tuple[tuple[Any, ...], tuple[Any, ...], bytes]:
        """Make the parts of an intent and an outcome, and the call's id."""
        random, model = self._random, self.model()
        who = self.somebody()
        who |= {
            "environment": "production",
            "service": "assistant",
            "session_id": f"{who['user_id']}-{at:%y%m%d}{at.hour // 4}",
        }
        prompt, answer = self.texts()
        record_id = _records.new_id()
        call_id = record_id.hex()
        fields = {"symbol": random.choice(("BTCUSDT", "ETHUSDT", "SOLUSDT"))}
        intent: tuple[Any, ...] = (
            parts.INTENT, call_id, _ms(at), who, {}, {},
            (model.provider, model.name, prompt, None, None), len(prompt), fields,
        )  # fmt: skip
        took_ms = round(model.median_ms * math.exp(random.gauss(0, 0.6)), 3)
        status, error, report = self._ending(model, answer, took_ms)
        outcome: tuple[Any, ...] = (
            parts.OUTCOME, call_id, _ms(at) + round(took_ms), who, {}, {},
            model.provider, model.name, len(prompt), fields, status, error, report, {}, took_ms,
        )  # fmt: skip
        return intent, outcome, record_id

    def texts(self) -> tuple[str, str]:
        """Make a prompt, and an answer of twice its length."""
        return self._passage(self._text // 3), self._passage(self._text * 2 // 3)

    def somebody(self) -> dict[str, str]:
        """Choose who calls."""
        rank = bisect(self._users, self._random.random() * self._users[-1])
        return {
            "user_id": f"user_{rank:05d}",
            "department": _DEPARTMENTS[rank * 7 % len(_DEPARTMENTS)],
            "tenant": _TENANTS[rank % len(_TENANTS)],
        }

    def model(self) -> Model:
        """Choose which model is called."""
        return MODELS[bisect(self._models, self._random.random() * self._models[-1])]

    def _ending(
        self, model: Model, answer: str, took_ms: float
    ) -> tuple[str, tuple[str, str] | None, dict[str, Any]]:
        random = self._random
        drawn = random.random()
        if drawn < 0.03:
            kind = random.choice(_ERRORS)
            return "failed", (kind, "the provider did not answer"), {}
        asked, answered = random.randint(80, 4000), random.randint(20, 1200)
        cost = (model.per_input * asked + model.per_output * answered).quantize(Decimal("1e-9"))
        report: dict[str, Any] = {
            "text": answer,
            "input_tokens": asked,
            "output_tokens": answered,
            "cached_tokens": asked // 2 if drawn > 0.7 else None,
            # Of one call in fifty nobody knows the price.
            "cost_usd": None if drawn > 0.98 else str(cost),
            "finish_reason": "length" if drawn > 0.97 else "stop",
            "time_to_first_token_ms": round(took_ms * 0.2, 3) if model.streams else None,
        }
        if drawn < 0.045:
            error = ("GeneratorExit", "GeneratorExit")
            return "aborted", error, {**report, "cost_usd": None, "finish_reason": None}
        return "completed", None, report

    def _passage(self, length: int) -> str:
        at = int(self._random.random() * (len(self._supply) - length))
        return self._supply[at : at + length]


@functools.cache
def _supply() -> str:
    """Make the texts that passages are cut from, once in a process."""
    return English(os.getpid()).text(_SUPPLY)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def say(text: str) -> None:
    """Say on standard error how far it is."""
    print(f"  {datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)
