"""Indexes, plans and slow questions of the log's collections, as the server tells them.

Nothing here changes anything. Explaining a question needs no more rights than asking it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from bson.objectid import ObjectId
from pymongo.errors import OperationFailure

from affidavit.errors import StoreRefused
from affidavit.event import EventType, LedgerEvent
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import UNAUTHORIZED, translated
from affidavit.store.mongo.filters import query
from affidavit.store.mongo.indexes import CORRECTION, JOINED
from affidavit.store.monitoring import IndexUse, Plan, SlowShape
from affidavit.store.questions import SearchFilter

if TYPE_CHECKING:
    from pymongo.database import Database

PLAN_MS: Final = 1000
"""A question that is run to be explained is stopped after so long."""

PROFILER: Final = (
    "An administrator can switch it on (db.setProfilingLevel(1, {slowms: 50})) and grant find on "
    "system.profile; without it slow writes are still counted by each writer itself."
)
_KEPT: Final = ("unique", "partialFilterExpression", "expireAfterSeconds", "sparse", "hidden")
_NEWEST: Final = {"timestamp": -1}
_MOST_SLOW: Final = 2000
_NOT_FOUND: Final = 26


# -- indexes -------------------------------------------------------------------------------------


def indexes(database: Database[dict[str, Any]], collections: Iterable[str]) -> list[IndexUse]:
    """Read every index with its size and uses, as far as the server tells them."""
    found: list[IndexUse] = []
    refused: OperationFailure | None = None
    for name in collections:
        try:
            specs = list(database[name].list_indexes())
        except OperationFailure as error:
            if error.code == UNAUTHORIZED:
                refused = error
                continue
            with translated("list indexes"):
                raise
        if not specs:
            continue
        sizes, uses = _sizes(database, name), _uses(database, name)
        for spec in specs:
            ops, since = uses.get(spec["name"], (None, None))
            found.append(
                IndexUse(
                    collection=name,
                    name=spec["name"],
                    keys=tuple(spec["key"].items()),
                    size_bytes=sizes.get(spec["name"]),
                    uses=ops,
                    since=since,
                    options={option: spec[option] for option in _KEPT if option in spec},
                )
            )
    if not found and refused is not None:
        msg = (
            "The server refuses to list the indexes: this user has no right to it. "
            "`affidavit setup --roles` makes a role for monitoring."
        )
        raise StoreRefused(msg)
    return found


def _sizes(database: Database[dict[str, Any]], name: str) -> Mapping[str, int]:
    stages: list[Mapping[str, Any]] = [
        {"$collStats": {"storageStats": {}}},
        {"$project": {"sizes": "$storageStats.indexSizes"}},
    ]
    try:
        shards = list(database[name].aggregate(stages))
    except OperationFailure:  # no right, or a service that refuses it: shown as not known
        return {}
    added: dict[str, int] = {}
    for shard in shards:
        for index, size in shard.get("sizes", {}).items():
            added[index] = added.get(index, 0) + int(size)
    return added


def _uses(database: Database[dict[str, Any]], name: str) -> dict[str, tuple[int, datetime]]:
    try:
        shards = list(database[name].aggregate([{"$indexStats": {}}]))
    except OperationFailure:  # the same
        return {}
    added: dict[str, tuple[int, datetime]] = {}
    for told in shards:
        ops, since = int(told["accesses"]["ops"]), told["accesses"]["since"]
        before = added.get(told["name"])
        both = (ops, since) if before is None else (before[0] + ops, max(before[1], since))
        added[told["name"]] = both
    return added


# -- plans ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """One shape of question that the read side asks."""

    name: str
    command: Mapping[str, Any]
    collection: str


def questions(location: Location) -> Iterator[Question]:
    """Write each question of the read side, about values that newer records have.

    A search by text is not among them: it reads everything in its span of time, as is said.
    """
    database, names = location.database, location.names
    newest = database[names.records].find_one(
        {"event_type": EventType.LLM_RESPONSE.value}, sort=[("timestamp", -1)], max_time_ms=PLAN_MS
    )
    value = _values(newest or {})
    since = datetime.now(UTC) - timedelta(days=1)
    searches: dict[str, SearchFilter] = {
        "search, newest": SearchFilter(),
        "search by user": SearchFilter(user_id=value["user_id"]),
        "search by user and time": SearchFilter(user_id=value["user_id"], since=since),
        "search by time": SearchFilter(since=since),
        "search by kind": SearchFilter(event_type=EventType.RATE_LIMIT_EXCEEDED.value),
        "search by security event": SearchFilter(event_type=EventType.SECURITY_EVENT.value),
        "search by department": SearchFilter(department=value["department"]),
        "search by provider": SearchFilter(provider=value["provider"]),
        "search by model": SearchFilter(model=value["model"]),
        "search by status": SearchFilter(status="failed"),
        "search by cost": SearchFilter(cost_min_usd=Decimal(0)),
        "search within a department": SearchFilter(departments=(value["department"],)),
    }
    for name, wanted in searches.items():
        yield _find(name, names.records, query(wanted, None), _NEWEST)
    yield _find("tail", names.records, query(SearchFilter(), None, leads="all"), _NEWEST)
    call_id = value["call_id"]
    joined = {"call_id": {"$in": [call_id]}, "event_type": {"$in": list(JOINED)}}
    yield _find("records of a call", names.records, joined, {"timestamp": 1})
    corrected = {"event_type": CORRECTION, "call_id": {"$in": [call_id]}}
    yield _find("corrections of a call", names.records, corrected)
    corrected = {"event_type": CORRECTION, "effective_at": {"$gte": since}}
    yield _find("corrections of a span", names.records, corrected)
    yield _find("a call by its id", names.records, {"_id": {"$in": [ObjectId(), call_id]}})
    of_writer = {"writer": value["writer"], "seq": {"$gte": 0, "$lt": 1000}}
    yield _find("records by number", names.records, of_writer, {"writer": 1, "seq": 1})
    begun = {
        "event_type": EventType.LLM_REQUEST.value,
        "timestamp": {"$gte": since},
        "call_id": {"$type": "string"},
    }
    yield _find("calls begun, for the sweep", names.records, begun, {"timestamp": 1})
    seen = {"event_type": LedgerEvent.AUDIT_ACCESS.value}
    yield _find("ledger by kind", names.ledger, seen, _NEWEST)
    yield _find(
        "leaf batches by time",
        names.leaf_batches,
        {"sent_at": {"$gte": since}},
        {"sent_at": 1, "_id": 1},
    )
    said = {"said.h": {"$exists": True, "$in": [b"-"]}}
    yield _find("requests that had a text", names.records, said)
    yield _find("leaf batches of a writer", names.leaf_batches, {"w": "-"}, {"w": 1, "s0": 1})
    yield _find("gaps of a writer", names.seals, {"items.gap": "-"}, {"_id": 1})
    yield _find("the seal of a batch", names.seals, {"items.b": {"$in": ["-:0"]}})
    heartbeats: list[Mapping[str, Any]] = [
        {"$sort": {"writer": 1, "at": -1}},
        {"$group": {"_id": "$writer", "newest": {"$first": "$$ROOT"}}},
    ]
    yield _aggregate("newest heartbeats", names.writers, heartbeats)
    costs: list[Mapping[str, Any]] = [
        {"$match": {"timestamp": {"$gte": since}}},
        {"$group": {"_id": "$user_id", "cost": {"$sum": "$response_data.cost_usd"}}},
    ]
    yield _aggregate("costs by user", names.outcomes, costs)
    of_user: list[Mapping[str, Any]] = [{"$match": {"user_id": value["user_id"]}}, {"$limit": 50}]
    yield _aggregate("the view of calls, by user", names.calls, of_user)


def plans(location: Location, *, run: bool) -> list[Plan]:
    """Explain each question; one whose collection is not there is left out."""
    found = []
    with translated("explain the questions of the read side"):
        for question in questions(location):
            plan = _explain(location, question, run=run)
            if plan is not None:
                found.append(plan)
    return found


def _explain(location: Location, question: Question, *, run: bool) -> Plan | None:
    verbosity = "executionStats" if run else "queryPlanner"
    # A limit inside the question is not heeded; this one ends it, and what it had come to is told.
    command = {"explain": question.command, "verbosity": verbosity, "maxTimeMS": PLAN_MS}
    try:
        told = location.database.command(command)
    except OperationFailure as error:
        if error.code == _NOT_FOUND:
            return None
        if not run:
            raise
        return _explain(location, question, run=False)  # over time: its plan is known all the same
    stages: list[str] = []
    names: list[str] = []
    for tree in _winning(told):
        for stage in _walk(tree):
            stages.append(str(stage["stage"]))
            if "indexName" in stage:
                names.append(str(stage["indexName"]))
    if "EOF" in stages:  # there is no such collection
        return None
    stats: Mapping[str, Any] = next(_named(told, "executionStats"), {})
    return Plan(
        shape=question.name,
        collection=question.collection,
        index=names[0] if names else "_id_" if "IDHACK" in stages else None,
        stages=tuple(dict.fromkeys(stages)),
        examined=stats.get("totalDocsExamined"),
        keys=stats.get("totalKeysExamined"),
        returned=stats.get("nReturned"),
    )


def _values(newest: Mapping[str, Any]) -> dict[str, Any]:
    named = ("user_id", "department", "provider", "model", "call_id", "writer")
    return {name: newest.get(name) or "-" for name in named}


def _find(
    name: str, collection: str, asked: Mapping[str, Any], sort: Mapping[str, int] | None = None
) -> Question:
    command = {"find": collection, "filter": asked, "limit": 50}
    return Question(name, {**command, "sort": sort} if sort else command, collection)


def _aggregate(name: str, collection: str, pipeline: Sequence[Mapping[str, Any]]) -> Question:
    command = {"aggregate": collection, "pipeline": list(pipeline), "cursor": {}}
    return Question(name, command, collection)


def _winning(told: Any) -> Iterator[Any]:
    """Find every winning plan in an answer: of a find, of a pipeline, of each shard."""
    yield from _named(told, "winningPlan")


def _named(told: Any, name: str) -> Iterator[Any]:
    if isinstance(told, Mapping):
        for key, part in told.items():
            if key == name:
                yield part
            elif key != "rejectedPlans":
                yield from _named(part, name)
    elif isinstance(told, list):
        for part in told:
            yield from _named(part, name)


def _walk(tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, Mapping):
        if isinstance(tree.get("stage"), str):
            yield tree
        for key, part in tree.items():
            if key not in {"rejectedPlans", "slotBasedPlan"}:
                yield from _walk(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from _walk(part)


# -- the profiler --------------------------------------------------------------------------------


def look_for_profiler(database: Database[dict[str, Any]]) -> None:
    """Raise StoreRefused where the profiler is off or may not be asked."""
    with translated("tell whether its profiler is on"):
        try:
            level = database.command("profile", -1)["was"]
        except OperationFailure as error:
            msg = f"The server refuses to tell whether its profiler is on. {PROFILER}"
            raise StoreRefused(msg) from error
    if level == 0:
        msg = f"The server's profiler is off for {database.name}. {PROFILER}"
        raise StoreRefused(msg)


def slow(records: str, database: str, since: datetime, over_ms: float) -> dict[str, Any]:
    """Ask the profiler's collection for slow operations on the log."""
    ours = re.compile(f"^{re.escape(database)}\\.{re.escape(records)}(_|$)")
    return {"ts": {"$gte": since}, "millis": {"$gt": over_ms}, "ns": ours}


def slow_shapes(
    database: Database[dict[str, Any]], records: str, since: datetime, over_ms: float
) -> list[SlowShape]:
    """Group the profiler's slow questions by shape; values are left behind."""
    look_for_profiler(database)
    wanted = {"ns": 1, "command": 1, "millis": 1, "planSummary": 1}
    with translated("read its profiler's collection"):
        asked = slow(records, database.name, since, over_ms)
        each = database["system.profile"].find(asked, wanted, max_time_ms=5000)
        entries = list(each.limit(_MOST_SLOW))
    found: dict[tuple[Any, ...], list[tuple[int, str]]] = {}
    for entry in entries:
        shape = _shape(entry.get("command", {}))
        if shape is not None:
            key = (entry["ns"].partition(".")[2], *shape)
            told = (int(entry["millis"]), str(entry.get("planSummary", "")))
            found.setdefault(key, []).append(told)
    return [
        SlowShape(
            collection=key[0],
            equal=key[1],
            ranged=key[2],
            sort=key[3],
            count=len(each),
            slowest_ms=max(took for took, _ in each),
            summary=max(each)[1],
        )
        for key, each in sorted(found.items(), key=lambda item: -max(item[1])[0])
    ]


def _shape(command: Mapping[str, Any]) -> tuple[Any, Any, Any] | None:
    """Give a question's fields: asked by one value, by a range, and sorted by."""
    if "find" in command:
        conditions, sort = command.get("filter", {}), command.get("sort", {})
    elif "aggregate" in command and isinstance(command.get("pipeline"), list):
        stages = command["pipeline"]
        conditions = next((s["$match"] for s in stages if "$match" in s), {})
        sort = next((s["$sort"] for s in stages if "$sort" in s), {})
    else:
        return None
    equal: dict[str, None] = {}
    ranged: dict[str, None] = {}
    for name, asked in _conditions(conditions):
        is_range = isinstance(asked, Mapping) and not {"$eq", "$in"} & set(asked)
        (ranged if is_range else equal)[name] = None
    only_ranged = tuple(sorted(name for name in ranged if name not in equal))
    return tuple(sorted(equal)), only_ranged, tuple((n, int(w)) for n, w in sort.items())


def _conditions(asked: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the fields that all must hold; alternatives ($or) name none for certain."""
    for name, value in asked.items():
        if name == "$and" and isinstance(value, list):
            for part in value:
                yield from _conditions(part)
        elif not name.startswith("$"):
            yield name, value
