"""What batching, compression and truncation save: the document's 60 %, 40 % and 30 %.

Writes are counted by the server itself: insert commands, documents, and bytes of its journal.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import pymongo

from affidavit import AuditLogger
from affidavit.pipeline.clean import Cleaner
from affidavit.pipeline.compress import compress_fields
from bench.measure import Effort, paced, progress
from bench.report import Figure
from bench.servers import config, like_the_document, server, spool_folder, stored_bytes
from bench.storage import insert
from bench.workload import English, Workload, sample

_Client = pymongo.MongoClient[dict[str, Any]]
BATCH: Final = 10
LONG: Final = 30_000
"""Characters of an answer that truncation cuts to 10 KB."""


def run(effort: Effort) -> list[Figure]:
    """Measure the three savings."""
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=False))
        client = stack.enter_context(mongod.client())
        spool = stack.enter_context(spool_folder())
        figures = _batching(client, mongod.database_uri(""), spool, effort.of(6.0, 1.0, 0.2))
        figures += _compression(client, effort.of(4000, 500, 100))
        figures += _truncation(client, effort.of(3000, 400, 100))
    return figures


# -- fewer writes ------------------------------------------------------------------------------


def _batching(client: _Client, uri: str, spool: str, seconds: float) -> list[Figure]:
    used = {}
    latency_p95_ms = connections = 0.0
    for mode in ("direct", "batch", "high_volume"):
        progress(f"writes: {mode}, 100 calls/s")
        load = Workload()
        with AuditLogger(f"{uri}wadm_{mode}", config(mode, spool)) as audit:
            load.call(audit)
            audit.flush(30)
            before, count = _counters(client), 0
            for _ in paced(100, seconds):
                load.call(audit)
                count += 1
            audit.flush(30)
            after = _counters(client)
            used[mode] = {name: (after[name] - before[name]) / count for name in after}
            if mode == "direct":
                latency_p95_ms = audit.stats().write_latency_p95_ms or 0.0
                connections = _connections(client, audit, load)
    names = {
        "commands": "insert commands",
        "documents": "documents inserted",
        "journal": "bytes of journal",
    }
    figures = [
        Figure(
            f"writes.{mode}.{name}",
            f"{what} a call, {mode}, batch_size {BATCH}, 100 calls/s",
            used[mode][name],
            "B" if name == "journal" else "",
            "direct",
            used["direct"][name],
            used[mode][name] / used["direct"][name],
        )
        for mode in ("batch", "high_volume")
        for name, what in names.items()
    ]
    figures.append(
        Figure("writes.latency_p95", "write latency p95, direct, 100 calls/s", latency_p95_ms, "ms")
    )
    figures.append(
        Figure(
            "writes.connections",
            "connections to the server, direct, 32 callers",
            connections,
            "",
            note="those the driver watches the server with included (one or two)",
        )
    )
    return figures


def _connections(client: _Client, audit: AuditLogger, load: Workload) -> int:
    """Count the logger's connections as the server sees them, after 32 callers at once."""
    threads = [threading.Thread(target=load.call, args=(audit,)) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleConnections": True}},
        {"$match": {"appName": "affidavit"}},
    ]
    return len(list(client.admin.aggregate(pipeline)))


def _counters(client: _Client) -> dict[str, float]:
    status = client.admin.command("serverStatus")
    return {
        "commands": status["metrics"]["commands"]["insert"]["total"],
        "documents": status["metrics"]["document"]["inserted"],
        "journal": status["wiredTiger"]["log"]["log bytes written"],
    }


# -- compression -------------------------------------------------------------------------------


def _compression(client: _Client, count: int) -> list[Figure]:
    sizes = {}
    for block in ("none", "snappy", "zstd"):
        progress(f"compression: {block} blocks")
        sizes[block] = _size(client, _documents(count, 2000, 2500), block)
    figures = [
        Figure(
            f"compression.zstd.{peer}",
            f"data of a 4.5 KB call in zstd blocks, beside {peer}",
            sizes["zstd"],
            "B",
            f"{peer} blocks",
            sizes[peer],
            sizes["zstd"] / sizes[peer],
        )
        for peer in ("none", "snappy")
    ]
    for answer in (2_500, 10_000, 50_000):
        for block in ("snappy", "zstd"):
            progress(f"compression: fields of {answer:,} characters inside {block} blocks")
            some = max(100, count * 2500 // answer)
            plain = _size(client, _documents(some, 500, answer), block)
            packed = _size(client, _compressed(some, answer), block)
            figures.append(
                Figure(
                    f"compression.field.{block}.{answer}",
                    f"the same with fields compressed, answer of {answer:,}, {block} blocks",
                    packed,
                    "B",
                    "plain fields",
                    plain,
                    packed / plain,
                    note="compress_large_fields acts from 4 KiB on, and never in zstd blocks",
                )
            )
    return figures


def _documents(count: int, prompt: int, answer: int) -> Iterator[dict[str, Any]]:
    english = English(11)
    for _ in range(count):
        yield sample(english.text(prompt), english.text(answer), "user_1", "BTCUSDT")


def _compressed(count: int, answer: int) -> Iterator[dict[str, Any]]:
    for document in _documents(count, 500, answer):
        document["response_data"] = compress_fields(document["response_data"], 9)
        yield document


def _size(client: _Client, documents: Iterator[dict[str, Any]], block: str) -> float:
    collection = like_the_document(client["size"], block_compressor=block)
    insert(collection, documents)
    found = stored_bytes(client, collection)
    return found["data"] / found["count"]


# -- truncation --------------------------------------------------------------------------------


def _truncation(client: _Client, count: int) -> list[Figure]:
    """Cut at 10 KB in mixes with more and more answers of 30 KB; the others have 2.5 KB."""
    figures = []
    for percent in (0, 1, 5, 20):
        progress(f"truncation: {percent} % long answers")
        whole = _size(client, _mix(count, percent, cut=False), "zstd")
        cut = _size(client, _mix(count, percent, cut=True), "zstd")
        figures.append(
            Figure(
                f"truncation.{percent}",
                f"data of a call cut at 10 KB, {percent} % of answers have 30 KB",
                cut,
                "B",
                "not cut",
                whole,
                cut / whole,
            )
        )
    return figures


def _mix(count: int, percent: int, *, cut: bool) -> Iterator[dict[str, Any]]:
    english, rng, cleaner = English(13), Random(13), Cleaner(10_240)
    for _ in range(count):
        length = LONG if rng.random() * 100 < percent else 2500
        document = sample(english.text(2000), english.text(length), "user_1", "BTCUSDT")
        if cut:
            response = {"text": document["response_data"]["text"]}
            cleaner.clean(response, b"")
            document["response_data"]["text"] = response["text"]
        yield document
