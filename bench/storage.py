"""Bytes on disk for a call: data and indexes, ours beside the sample document of the analysis.

Ours: two records, as ``AuditLogger`` writes them in its collection. The sample document: inserted
once, in a collection with MongoDB's default compression and the document's four indexes. Both hold
the same texts (:mod:`bench.workload` says how they are made), users and fields; sizes are those of
``collStats`` after a checkpoint, of 20,000 calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from affidavit import AuditLogger
from affidavit.demo.mongod import Mongod
from bench.measure import Effort, progress
from bench.report import Figure
from bench.servers import Documents, config, like_the_document, server, spool_folder, stored_bytes
from bench.workload import calls, sample

SIZES: Final = {"150": (150, 0), "1700": (750, 950), "4500": (2000, 2500)}
"""Characters of prompt and answer. The first is the document's own example, without the answer."""

NAMES: Final = {"150": "150 characters", "1700": "1.7 KB of text", "4500": "4.5 KB of text"}
LIMIT: Final = 0.80
_PAGE: Final = 1000


def run(effort: Effort) -> list[Figure]:
    """Measure the three sizes."""
    count = effort.of(20_000, 2_000, 100)
    figures = []
    for size in SIZES:
        with server(replica_set=False) as mongod, spool_folder() as spool:
            figures += _of_size(mongod, spool, size, count)
    return figures


def _of_size(mongod: Mongod, spool: str, size: str, count: int) -> list[Figure]:
    progress(f"storage: {NAMES[size]}, {count:,} calls, sample document")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(mongod.client())
        sample_ = like_the_document(client["document"])
        insert(sample_, (sample(*call) for call in calls(count, *SIZES[size], seed=7)))
        theirs = stored_bytes(client, sample_)
        progress(f"storage: {NAMES[size]}, {count:,} calls, Affidavit")
        audit = AuditLogger(mongod.database_uri("wadm"), config("high_volume", spool))
        stack.callback(audit.close)
        record(audit, count, *SIZES[size])
        ours = stored_bytes(client, client["wadm_audit"]["llm_logs"])
        assert ours["count"] == 2 * count == 2 * theirs["count"], (ours, theirs)
    each = {name: ours[name] / count for name in ("data", "indexes")}
    their_each = {name: theirs[name] / count for name in ("data", "indexes")}
    total, their_total = sum(each.values()), sum(their_each.values())
    ratio, limited = total / their_total, size != "150"
    return [
        Figure(
            f"storage.{size}",
            f"bytes a call, {NAMES[size]}",
            total,
            "B",
            "sample document, snappy, 4 indexes",
            their_total,
            ratio,
            f"≤ {LIMIT:.2f}×" if limited else "(printed)",
            ratio <= LIMIT if limited else None,
            f"data {each['data']:.0f} + indexes {each['indexes']:.0f}; "
            f"sample {their_each['data']:.0f} + {their_each['indexes']:.0f}",
        )
    ]


def record(audit: AuditLogger, count: int, prompt: int, answer: int) -> None:
    """Record ``count`` calls with texts of their own, and wait until they are stored."""
    for number, (asked, answered, user, symbol) in enumerate(calls(count, prompt, answer, seed=7)):
        if number % 2000 == 0:  # the size is in question here, not how much the queue holds
            audit.flush(120)
        with audit.call(
            provider="anthropic",
            message=asked,
            user_id=user,
            ip_address="192.168.1.100",
            user_agent="WADM Frontend/1.0",
            fields={"symbol": symbol, "include_indicators": True, "include_market_data": True},
        ) as call:
            call.complete(
                text=answered,
                tokens_used=1250,
                cost_usd=0.045,
                fields={"context_symbols": [symbol]},
            )
    if not audit.flush(120) or audit.stats().lost:
        msg = f"not everything was stored: {audit.stats()}"
        raise RuntimeError(msg)


def insert(collection: Documents, documents: Iterable[dict[str, Any]]) -> None:
    """Insert documents in batches."""
    for page in pages(documents):
        collection.insert_many(page)


def pages(documents: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut a stream of documents into lists of 1,000."""
    stream = iter(documents)
    while page := list(islice(stream, _PAGE)):
        yield page
