"""Starting what is measured: a ``mongod``, loggers with a spool of their own, helper processes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern

from affidavit import AuditConfig
from affidavit.demo.mongod import Mongod

if TYPE_CHECKING:
    import pymongo
    from pymongo.database import Database

SAFE: Final = WriteConcern(w="majority", j=True)
"""The write concern our own records have; raw PyMongo is measured with the same."""

MODES: Final = ("direct", "batch", "async", "high_volume")

Documents = Collection[dict[str, Any]]


@contextlib.contextmanager
def server(*, replica_set: bool) -> Iterator[Mongod]:
    """Run a fresh ``mongod``, standalone or as a replica set of one."""
    with Mongod.start(replica_set="bench" if replica_set else None) as mongod:
        yield mongod


@contextlib.contextmanager
def spool_folder() -> Iterator[str]:
    """Make a folder for spools on the disk where the database is, too."""
    with tempfile.TemporaryDirectory(prefix="affidavit-bench-") as folder:
        yield folder


def config(mode: str, spool: str) -> AuditConfig:
    """Give the settings of one of the four modes."""
    if mode == "high_volume":
        return AuditConfig.high_volume(spool_dir=spool)
    return AuditConfig(batch_writes=mode == "batch", async_writes=mode == "async", spool_dir=spool)


def like_the_document(
    database: Database[dict[str, Any]], name: str = "llm_audit", block_compressor: str = ""
) -> Documents:
    """Make a collection as the analysis document has it: its four indexes, MongoDB's defaults.

    ``block_compressor`` overrides WiredTiger's default (snappy).
    """
    options: dict[str, Any] = {}
    if block_compressor:
        engine = {"configString": f"block_compressor={block_compressor}"}
        options["storageEngine"] = {"wiredTiger": engine}
    database.drop_collection(name)
    collection = database.create_collection(name, **options)
    collection.create_index([("user_id", 1), ("timestamp", -1)])
    collection.create_index([("timestamp", -1)])
    collection.create_index([("event_type", 1), ("timestamp", -1)])
    collection.create_index([("timestamp", 1)], expireAfterSeconds=7_776_000)
    return collection


def stored_bytes(
    client: pymongo.MongoClient[dict[str, Any]], collection: Documents
) -> dict[str, float]:
    """Give bytes on disk after a checkpoint: ``data``, ``indexes`` and ``count`` of documents."""
    client.admin.command("fsync")
    stats = collection.database.command("collStats", collection.name)
    return {
        "data": stats["storageSize"],
        "indexes": stats["totalIndexSize"],
        "count": stats["count"],
        "bson": stats.get("avgObjSize", 0),
    }


class Helper:
    """Another process of this benchmark, spoken to in lines of JSON: one question, one answer."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        self.hello = self._answer()

    def ask(self, question: object) -> Any:
        """Send a question and wait for the answer."""
        json.dump(question, self._input)
        self._input.write("\n")
        self._input.flush()
        return self._answer()

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            msg = f"a helper process of the benchmark ended early (code {self._process.poll()})"
            raise RuntimeError(msg)
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._input.close()  # the helper ends when there is nothing more to read
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
