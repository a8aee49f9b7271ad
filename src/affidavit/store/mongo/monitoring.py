"""What monitoring reads of MongoDB; the contract is in :mod:`affidavit.store.monitoring`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.read_concern import ReadConcern

from affidavit.errors import StoreRefused
from affidavit.event import Document
from affidavit.store.mongo import advising, indexes
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import UNAUTHORIZED, translated
from affidavit.store.mongo.names import SEALER
from affidavit.store.monitoring import (
    Beats,
    Day,
    Effort,
    IndexUse,
    Plan,
    Point,
    Server,
    Size,
    SlowShape,
    Work,
)

MAX_TIME_MS: Final = 5000
"""A question of monitoring that takes longer is stopped: it must not become the load it watches."""

APP_NAME: Final = "affidavit"
"""What our own clients call themselves; see :mod:`affidavit.store.mongo.connect`."""

_ITS_OWN: Final = frozenset({"admin", "config", "local"})
"""Databases that hold the server's own affairs."""

_NOT_HERE: Final = frozenset({20, 59, 115, 303, 8000, 40324})
"""Codes of servers that do not know a command or will not do it, for anybody."""

_DUPLICATE: Final = 11000
_IN_CACHE: Final = "bytes currently in the cache"
_WRITTEN: Final = "bytes written from cache"
_UNWANTED: Final = (
    *("electionMetrics", "flowControl", "globalLock", "latchAnalysis", "locks"),
    *("metrics", "mirroredReads", "network", "opLatencies", "opcounters", "opcountersRepl"),
    *("repl", "tcmalloc", "transactions", "transportSecurity", "twoPhaseCommitCoordinator"),
)
"""Sections of serverStatus that nobody here reads."""

_CLUSTER: Final = "An administrator can grant the role clusterMonitor (on admin)."
_STATS: Final = (
    "An administrator can grant the log's role for monitoring: `affidavit setup --roles` makes it."
)


class MongoMonitor:
    """Implements :class:`affidavit.store.monitoring.MonitorStore` for one log."""

    def __init__(self, location: Location) -> None:
        """No I/O happens here."""
        database, names = location.database, location.names
        self.location = location
        # What the server tells of itself it tells at once, and refuses to say by majority.
        self._local = database.with_options(read_concern=ReadConcern("local"))
        self._admin = location.client.get_database("admin", read_concern=ReadConcern("local"))
        self._writers = database[names.writers]
        self._records = database[names.records]
        self._outcomes = database[names.outcomes]
        self._metrics = database[names.metrics]
        self._monitor = database[names.monitor]

    @property
    def log(self) -> str:
        """Database and records collection."""
        return f"{self.location.database.name}.{self.location.names.records}"

    @property
    def apart(self) -> bool:
        """Whether the log's hosts are others than the application's."""
        return self.location.apart

    # -- parts of a reading ----------------------------------------------------------------------

    def clock_offset_s(self) -> float:
        """Compare clocks; the way there and back counts half."""
        before = datetime.now(UTC)
        with translated("tell its time"):
            there = self._admin.command("hello", maxTimeMS=MAX_TIME_MS)["localTime"]
        after = datetime.now(UTC)
        there = there if there.tzinfo else there.replace(tzinfo=UTC)
        return float((there - (before + (after - before) / 2)).total_seconds())

    def beats(self, window_s: float) -> Sequence[Beats]:
        """Read the newest heartbeats; the server jumps from writer to writer by the index."""
        newest: list[Mapping[str, Any]] = [
            {"$sort": {"writer": 1, "at": -1}},
            {"$group": {"_id": "$writer", "newest": {"$first": "$$ROOT"}}},
        ]
        since = datetime.now(UTC) - timedelta(seconds=2 * window_s)
        wanted = {"_id": 0, "writer": 1, "at": 1, "counters.stored": 1}
        with translated("read the writers' heartbeats"):
            groups = list(self._writers.aggregate(newest, maxTimeMS=MAX_TIME_MS))
            each = self._writers.find({"at": {"$gte": since}}, wanted, max_time_ms=MAX_TIME_MS)
            window = list(each.sort("at", 1))
        found = [group["newest"] for group in groups if group["_id"] != SEALER]
        return [_with_earlier(beat, window, window_s) for beat in found]

    def sizes(self) -> Sequence[Size]:
        """Ask for each collection's size, the records' first."""
        fixed, others = self._collections()
        found = [self._size(name) for name in fixed]
        for name in others:
            with contextlib.suppress(StoreRefused):  # a role knows the log's own collections only
                found.append(self._size(name))
        return [size for size in found if size is not None]

    def _collections(self) -> tuple[list[str], list[str]]:
        """Name the log's collections: those it always has, and others, where they may be listed."""
        names = self.location.names
        fixed = [
            *(names.records, names.ledger, names.writers, names.leaf_batches),
            *(names.seals, names.tiles, names.monitor, names.metrics),
        ]
        try:
            listed = self._local.list_collection_names(
                filter={"type": "collection", "name": {"$regex": f"^{names.records}_"}}
            )
        except OperationFailure:
            return fixed, []
        return fixed, sorted(set(listed) - set(fixed))

    def _size(self, name: str) -> Size | None:
        stages: list[Mapping[str, Any]] = [
            {"$collStats": {"storageStats": {}}},
            {"$project": _SIZES},
        ]
        with _withheld("tell the sizes of collections ($collStats)", _STATS):
            try:
                shards = list(self._local[name].aggregate(stages, maxTimeMS=MAX_TIME_MS))
            except OperationFailure as error:
                if error.code == 26:  # noqa: PLR2004 - NamespaceNotFound: it was never needed
                    return None
                raise
        if not shards:
            return None

        def added(part: str) -> int | None:
            found = [_whole(shard.get(part)) for shard in shards]
            return None if None in found else sum(number or 0 for number in found)

        count, data, indexes = (added(part) or 0 for part in ("count", "data", "indexes"))
        return Size(name, count, data, indexes, added("cache"), added("written"))

    def work(self) -> Work:
        """Ask for `top`: microseconds by collection since the server started."""
        with _withheld("tell the time it spends by collection (`top`)", _CLUSTER):
            totals = self._admin.command("top")["totals"]
        ours, everything = [0, 0, 0], [0, 0, 0]
        for namespace, told in totals.items():
            database, _, collection = namespace.partition(".")
            if not isinstance(told, Mapping) or database in _ITS_OWN:
                continue
            is_ours = self._is_ours(database, collection)
            writes = sum(int(told[kind]["count"]) for kind in ("insert", "update", "remove"))
            effort = (int(told["total"]["time"]), int(told["total"]["count"]), writes)
            for place, number in enumerate(effort):
                everything[place] += number
                ours[place] += number if is_ours else 0
        return Work(Effort(*ours), Effort(*everything))

    def _is_ours(self, database: str, collection: str) -> bool:
        names = self.location.names
        return database == self.location.database.name and (
            collection in {names.records, names.calls, names.outcomes}
            or collection.startswith(f"{names.records}_")
        )

    def server(self) -> Server:
        """Ask for the few parts of serverStatus that are needed."""
        without = dict.fromkeys(_UNWANTED, 0)
        with _withheld("tell its own state (`serverStatus`)", _CLUSTER):
            told = self._admin.command({"serverStatus": 1, **without})
        local = told["localTime"]
        connections, engine = told["connections"], told.get("wiredTiger", {})
        cache = engine.get("cache", {})
        return Server(
            started_at=(local if local.tzinfo else local.replace(tzinfo=UTC))
            - timedelta(milliseconds=int(told["uptimeMillis"])),
            connections=int(connections["current"]),
            connections_left=int(connections["available"]),
            cache_bytes=_whole(cache.get(_IN_CACHE)),
            written_bytes=_whole(cache.get(_WRITTEN)),
            cpu_us=_cpu_us(told.get("extra_info", {})),
            syncs=_whole(engine.get("log", {}).get("log sync operations")),
        )

    def own_connections(self) -> int:
        """Count connections by the name their client gave."""
        stages: list[Mapping[str, Any]] = [
            {"$currentOp": {"allUsers": True, "idleConnections": True}},
            {"$match": {"appName": APP_NAME}},
            {"$count": "found"},
        ]
        with _withheld("tell whose its connections are ($currentOp)", _CLUSTER):
            found = list(self._admin.aggregate(stages, maxTimeMS=MAX_TIME_MS))
        return int(found[0]["found"]) if found else 0

    def slow_operations(self, since: datetime, over_ms: float) -> int:
        """Count in the profiler's collection."""
        advising.look_for_profiler(self._local)
        asked = advising.slow(self.location.names.records, self._local.name, since, over_ms)
        with _withheld("show its profiler's collection", advising.PROFILER):
            return self._local["system.profile"].count_documents(asked, maxTimeMS=MAX_TIME_MS)

    def last_day(self) -> Day:
        """Add up the outcomes of 24 hours, from the covering index where there is one."""
        since = {"timestamp": {"$gte": datetime.now(UTC) - timedelta(days=1)}}
        cost = {
            "$convert": {
                "input": "$response_data.cost_usd",
                "to": "decimal",
                "onError": None,
                "onNull": None,
            }
        }
        added: list[Mapping[str, Any]] = [
            {"$match": since},
            {"$group": {"_id": None, "calls": {"$sum": 1}, "cost": {"$sum": cost}}},
        ]
        with translated("add up the last day"):
            groups = list(self._outcomes.aggregate(added, maxTimeMS=MAX_TIME_MS))
            records = self._records.count_documents(since, maxTimeMS=MAX_TIME_MS)
        if not groups:
            return Day(0, Decimal(0), records)
        spent = groups[0]["cost"]
        exact = spent.to_decimal() if isinstance(spent, Decimal128) else Decimal(str(spent))
        return Day(int(groups[0]["calls"]), exact, records)

    # -- history ---------------------------------------------------------------------------------

    def keep(self, at: datetime, values: Mapping[str, float], steps: Iterable[int]) -> None:
        """Add to each step's bucket in one command; a bucket that has this ``at`` stays as is."""
        if not values:
            return
        updates = [
            UpdateOne(
                {"_id": _bucket(step, at), "last_at": {"$lt": at}},
                {
                    "$set": {"last_at": at, **{f"v.{n}.last": v for n, v in values.items()}},
                    "$inc": {f"v.{n}.{part}": add for n, v in values.items()
                             for part, add in (("n", 1), ("sum", v))},
                    "$min": {f"v.{n}.low": v for n, v in values.items()},
                    "$max": {f"v.{n}.high": v for n, v in values.items()},
                },
                upsert=True,
            )
            for step in steps
        ]  # fmt: skip
        with translated(f"write to {self._metrics.name}"):
            try:
                self._metrics.bulk_write(updates, ordered=False)
            except BulkWriteError as error:
                if any(failed["code"] != _DUPLICATE for failed in error.details["writeErrors"]):
                    raise

    def history(self, metric: str, step: int, since: datetime, until: datetime) -> Sequence[Point]:
        """Read the buckets by their names, which sort by time."""
        asked = {"_id": {"$gte": _bucket(step, since), "$lte": _bucket(step, until)}}
        with translated(f"read {self._metrics.name}"):
            found = self._metrics.find(asked, {f"v.{metric}": 1}, max_time_ms=MAX_TIME_MS)
            return [
                _point(document["_id"], told)
                for document in found.sort("_id", 1)
                if (told := document.get("v", {}).get(metric)) is not None
            ]

    def prune(self, step: int, before: datetime) -> int:
        """Remove old buckets."""
        asked = {"_id": {"$gte": f"{step:05d}:", "$lt": _bucket(step, before)}}
        with translated(f"remove from {self._metrics.name}"):
            return int(self._metrics.delete_many(asked).deleted_count)

    # -- advice ----------------------------------------------------------------------------------

    def indexes(self) -> Sequence[IndexUse]:
        """Read every index; see :mod:`affidavit.store.mongo.advising`."""
        fixed, others = self._collections()
        found = advising.indexes(self._local, [*fixed, *others])
        names = self.location.names
        made = {
            names.records: indexes.of_records(1),
            names.ledger: indexes.of_ledger(),
            names.writers: indexes.of_writers(),
            names.leaf_batches: indexes.of_leaf_batches(),
            names.seals: indexes.of_seals(),
            names.service: indexes.of_service(),
        }
        purposes = {(name, each.name): each.why for name, all_ in made.items() for each in all_}
        return [
            replace(each, purpose=purposes.get((each.collection, each.name), "")) for each in found
        ]

    def plans(self, *, run: bool) -> Sequence[Plan]:
        """Explain each question of the read side."""
        return advising.plans(self.location, run=run)

    def slow_shapes(self, since: datetime, over_ms: float) -> Sequence[SlowShape]:
        """Read the profiler's collection."""
        return advising.slow_shapes(self._local, self.location.names.records, since, over_ms)

    # -- notes -----------------------------------------------------------------------------------

    def add_note(self, kind: str, document: Document) -> str:
        """Insert a note."""
        name = f"{kind}:{ObjectId()}"
        noted = {"_id": name, "kind": kind, "at": datetime.now(UTC), **document}
        with translated(f"insert into {self._monitor.name}"):
            self._monitor.insert_one(noted)
        return name

    def notes(self, kind: str, limit: int = 50) -> Sequence[Document]:
        """Read notes, newest first: their names hold the time."""
        asked = {"_id": {"$gte": f"{kind}:", "$lt": f"{kind};"}}
        with translated(f"read {self._monitor.name}"):
            found = self._monitor.find(asked, max_time_ms=MAX_TIME_MS)
            return list(found.sort("_id", -1).limit(limit))


def _inside(name: str) -> dict[str, Any]:
    """Add one number of the storage engine over a collection and its indexes."""
    each = {"$ifNull": [{"$objectToArray": "$storageStats.indexDetails"}, []]}
    numbers = {"$map": {"input": each, "as": "index", "in": f"$$index.v.cache.{name}"}}
    return {"$add": [f"$storageStats.wiredTiger.cache.{name}", {"$sum": numbers}]}


_SIZES: Final[dict[str, Any]] = {
    "count": "$storageStats.count",
    "data": "$storageStats.storageSize",
    "indexes": "$storageStats.totalIndexSize",
    "cache": _inside(_IN_CACHE),
    "written": _inside(_WRITTEN),
}


def _with_earlier(beat: Document, window: Sequence[Document], window_s: float) -> Beats:
    """Find the oldest heartbeat of the same writer in the window before this one."""
    start = beat["at"] - timedelta(seconds=window_s)
    for other in window:
        if other.get("writer") == beat.get("writer") and start <= other["at"] < beat["at"]:
            return Beats(beat, other["at"], int(other.get("counters", {}).get("stored", 0)))
    return Beats(beat)


def _bucket(step: int, at: datetime) -> str:
    """Name a bucket: its step, and the time it begins; names sort by both."""
    begins = int(at.timestamp()) // step * step
    return f"{step:05d}:{datetime.fromtimestamp(begins, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _point(name: str, told: Mapping[str, float]) -> Point:
    step, _, begins = name.partition(":")
    count = int(told["n"])
    return Point(
        at=datetime.strptime(begins, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
        seconds=int(step),
        count=count,
        mean=float(told["sum"]) / count,
        low=float(told["low"]),
        high=float(told["high"]),
        last=float(told["last"]),
    )


def _cpu_us(told: Mapping[str, Any]) -> int | None:
    """Give the process's time in user and system mode together; Linux only."""
    parts = [_whole(told.get(f"{mode}_time_us")) for mode in ("user", "system")]
    return None if None in parts else sum(part or 0 for part in parts)


def _whole(found: Any) -> int | None:
    return int(found) if isinstance(found, int | float) else None


@contextlib.contextmanager
def _withheld(doing: str, remedy: str) -> Iterator[None]:
    """Say in words what a server or a role withholds; ``doing`` completes "refuses to …"."""
    with translated(doing):
        try:
            yield
        except OperationFailure as error:
            if error.code == UNAUTHORIZED:
                msg = f"The server refuses to {doing}: this user has no right to it. {remedy}"
                raise StoreRefused(msg) from error
            if error.code in _NOT_HERE:
                msg = (
                    f"The server refuses to {doing}, to anybody (code {error.code}); "
                    "managed services and mongos do so."
                )
                raise StoreRefused(msg) from error
            raise
