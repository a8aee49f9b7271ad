"""What the questions after an incident take, and what keyed hashes of texts cost.

A ``mongod`` of its own is loaded with a month of calls; each question is asked seven times, and the
best is given, since other work on the machine can only add. Alone: ``python -m bench.forensics``,
with ``--quick`` for a fifth of the calls.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from affidavit.analytics import forensics as questions
from affidavit.config import AuditConfig
from affidavit.demo.mongod import Mongod
from affidavit.pipeline.said import Fingerprints
from affidavit.store.forensics import Trail
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.forensics import MongoForensics
from affidavit.store.mongo.setup import ensure
from bench.measure import Effort
from bench.report import Figure
from bench.views import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.database import Database

RUNS = 7
CALLS_OF_A_SESSION = 10
_PRINTS = Fingerprints(bytes(32))


def main() -> int:
    """Measure and print."""
    for figure in run(Effort.QUICK if "--quick" in sys.argv else Effort.FULL):
        print(f"{figure.what:58s} {figure.value:10.2f} {figure.unit:5s} {figure.note}")
    return 0


def run(effort: Effort) -> list[Figure]:
    """Load a month, with hashes in every request, and ask each question."""
    calls = effort.of(100_000, 20_000, 200)
    with ExitStack() as stack:
        server = stack.enter_context(Mongod.start())
        config = AuditConfig(ttl_days=3650)
        location = locate(server.database_uri("affidavit_bench_forensics"), config)
        stack.callback(location.close)
        ensure(location, config, 30)
        passage = _load(location.database, calls)
        store = MongoForensics(location, config)
        return [
            *_hashing(passage),
            _index(location.database, calls),
            *_asked(store, passage, f"{calls:,} calls"),
        ]


def _load(database: Database[dict[str, Any]], calls: int) -> str:
    """Insert the calls; give the text of a request in the middle of the month."""
    records, middle, passage, seen = database["llm_audit"], calls // 2, "", 0
    source = documents(calls=calls, old=0)
    while batch := list(islice(source, 2000)):
        for document in batch:
            document["session_id"] = f"session_{seen // CALLS_OF_A_SESSION}"
            if document["event_type"] == "llm_request":
                seen += 1
                document["said"] = _PRINTS.of_record(document)
                if seen == middle:
                    passage = document["request_data"]["message"]
        records.insert_many(batch, ordered=False)
    return passage


def _hashing(text: str) -> Iterator[Figure]:
    document = {"event_type": "llm_request", "request_data": {"message": text}}
    made = _PRINTS.of_record(document)
    assert made is not None
    note = f"a request of {len(text)} characters, {len(made['h'])} hashes"
    yield _figure("hash", "hashing a request", lambda: _PRINTS.of_record(document), note)


def _index(database: Database[dict[str, Any]], calls: int) -> Figure:
    sizes = database.command("collStats", "llm_audit")["indexSizes"]
    return Figure(
        "forensics.index", "index of hashes, for each call", sizes["said.h_1"] / calls, "bytes"
    )


def _asked(store: MongoForensics, passage: str, note: str) -> Iterator[Figure]:
    now = datetime.now(UTC)
    middle, month = now - timedelta(days=15), now - timedelta(days=31)
    week = now - timedelta(days=7)
    address, session = Trail(ip_address="192.168.1.100", since=week), "session_1"
    cases: list[tuple[str, str, Callable[[], object]]] = [
        ("user", "a user's first 200 entries", lambda: store.timeline(Trail(user_id="user_7"))),
        ("around", "ten minutes around a moment",
         lambda: store.timeline(questions.around(middle, timedelta(minutes=10)))),
        ("session.week", "a session, within a week (no index)",
         lambda: store.timeline(Trail(session_id=session, since=week))),
        ("session.month", "a session, within a month (no index)",
         lambda: store.timeline(Trail(session_id=session, since=month))),
        ("shared", "who shared an address, within a week (no index)",
         lambda: store.sharers(address)),
        ("said.hash", "a text, by its hashes",
         lambda: questions.said(store, passage, _PRINTS)),
        ("said.text", "a text that nobody said, in all requests (no index)",
         lambda: questions.said(store, "nobody said this", None)),
        ("happened", "a month's events and ledger, for a report",
         lambda: store.happened(month, now)),
    ]  # fmt: skip
    for key, what, ask in cases:
        yield _figure(key, what, ask, note)


def _figure(key: str, what: str, ask: Callable[[], object], note: str) -> Figure:
    best = min(_timed(ask) for _ in range(RUNS))
    return Figure(f"forensics.{key}", what, 1000 * best, "ms", note=note)


def _timed(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
