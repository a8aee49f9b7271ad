"""Comparing what is in the database with what set-up wants: reads only, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from affidavit.config import AuditConfig
from affidavit.event import LedgerEvent
from affidavit.store.mongo import adoption, indexes, roles, ttl, validator, views, zone
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.shell import command_line
from affidavit.store.planning import Plan, State, Step
from affidavit.store.rollups import SIDES

VERSION: Final = 6
"""Of what set-up makes; raised when an upgrade has something to add."""

LARGE: Final = 200_000
"""Documents from which a starting writer leaves building indexes to an administrator: it takes
seconds to minutes, and an index built on a huge collection at a busy time has taken databases down.
"""

_LARGE: Final = "the collection is large, so this is left to `affidavit setup`, at a quiet time"
_THEIRS: Final = (
    "holds documents of another logger, so this is left to `affidavit setup`, at a quiet time"
)

_INDEX_DEFAULTS: Final = {"storageEngine": indexes.ZSTD}


@dataclass(frozen=True, slots=True)
class Found:
    """What was in the database when the plan was made."""

    location: Location
    collections: Mapping[str, Mapping[str, Any]]
    indexes: Mapping[str, list[dict[str, Any]]]
    record: Mapping[str, Any] = field(default_factory=dict)
    """Details of the newest ``setup`` record; empty when there is none."""

    def shell(self, command: Mapping[str, Any]) -> str:
        """Write a command for mongosh."""
        return command_line(self.location.database.name, command)

    def step(
        self,
        key: str,
        what: str,
        why: str,
        state: State,
        command: Mapping[str, Any] | None = None,
        note: str = "",
    ) -> Step:
        """Make a step, with its command as a line for mongosh."""
        return Step(key, what, why, state, command, self.shell(command) if command else "", note)


def look(location: Location) -> Found:
    """See which collections and indexes are there, and what the ledger says of earlier set-ups."""
    names, database = location.names, location.database
    with translated("list collections and indexes"):
        wanted = [
            *(names.records, names.ledger, names.writers),
            *(names.leaf_batches, names.seals, names.tiles),
            *(names.rollup_states, *(names.rollups(side) for side in SIDES)),
            *(names.monitor, names.metrics, names.service),
            *(names.calls, names.outcomes),
        ]
        listed = database.list_collections(filter={"name": {"$in": wanted}})
        collections = {entry["name"]: entry for entry in listed}
        found = {
            name: [dict(index) for index in database[name].list_indexes()]
            for name, entry in collections.items()
            if entry["type"] == "collection"
        }
        newest = Ledger(location).newest(LedgerEvent.SETUP)
    return Found(location, collections, found, (newest or {}).get("details", {}))


def plan_setup(
    location: Location,
    config: AuditConfig,
    *,
    enforce: bool = False,
    change_ttl: bool = False,
    with_roles: bool = False,
    quick: bool = False,
) -> Plan:
    """Say what is missing. Reads only.

    ``enforce`` refuses old documents from now on; ``change_ttl`` confirms a retention that removes
    records; ``quick`` is for a logger that starts: it takes estimates where counting could take
    long, and leaves a collection that holds another logger's documents as it is.
    Raises StoreRefused without the right to look, StoreUnavailable without an answer.
    """
    found = look(location)
    names = location.names
    enforced = enforce or _is_enforced(found)
    old = None
    with translated("look for older documents"):
        if names.records in found.indexes:
            old = _adoption(found, config.legacy_timezone, quick=quick)
    rules = validator.of_records(enforced=enforced)
    level = "strict" if enforced else "moderate"
    with translated("look at the oldest records"):
        retention = ttl.step(
            found,
            config.ttl_days,
            confirmed=change_ttl,
            asked=config.source("ttl_days") != "default",
        )
    guard = _collection(found, names.records, rules, level, "every call and event, append-only")
    built = _indexes(found, names.records, _wanted(config), retention)
    theirs = quick and (old is not None or bool(found.record.get("left_to_setup")))
    if theirs:
        guard, built = (_left(part, f"{names.records} {_THEIRS}") for part in (guard, built))
    elif quick and _is_large(found):
        built = _left(built, _LARGE)
    steps = [
        *guard,
        *built,
        *ttl.others(found, config.ttl_days),
        *_collection(
            found, names.ledger, validator.of_ledger(), "strict", "what happens to the log"
        ),
        *_indexes(found, names.ledger, indexes.of_ledger()),
        *_collection(found, names.writers, None, "", "heartbeats of writers"),
        *_indexes(found, names.writers, indexes.of_writers()),
        *_collection(found, names.leaf_batches, None, "", "signed hashes of what was written"),
        *_indexes(found, names.leaf_batches, indexes.of_leaf_batches()),
        *_collection(found, names.seals, None, "", "the log's identity and its checkpoints"),
        *_indexes(found, names.seals, indexes.of_seals()),
        *_collection(found, names.tiles, None, "", "hashes of the tree, for proofs"),
        *_collection(found, names.rollup_states, None, "", "how far the rollups are"),
        *_rollups(found),
        *_collection(found, names.monitor, None, "", "what monitoring keeps for itself"),
        *_collection(found, names.metrics, None, "", "history of the metrics, pruned"),
        *_collection(found, names.service, None, "", "tokens and sessions of the service"),
        *_indexes(found, names.service, indexes.of_service()),
        _view(found, names.calls, views.calls(names.records), "one document per call"),
        _view(found, names.outcomes, views.outcomes(), "finished calls, for sorting and sums"),
    ]
    steps += zone.steps(found.record, config)
    if with_roles:
        with translated("look at roles"):
            steps += roles.steps(location)
    details = {
        "setup_version": VERSION,
        "enforced": enforced,
        "index_optimization": config.index_optimization,
        "left_to_setup": theirs,
        zone.NAME: zone.fixed(found.record, config),
    }
    current = found.record.get("setup_version", 0) >= VERSION
    return Plan(tuple(steps), details, recorded=current, adoption=old)


def _rollups(found: Found) -> list[Step]:
    """Plan the cells of both sides. They need no index but that of ``_id``.

    Ids begin with the kind of cell and its time, so a span of time is one range of them; those of
    users go on with the user, so one user's year is twelve short ranges.
    """
    why = "sums of calls, which questions are answered from; can be computed again"
    return [
        step
        for side in SIDES
        for step in _collection(found, found.location.names.rollups(side), None, "", why)
    ]


def _wanted(config: AuditConfig) -> list[indexes.Index]:
    wanted = indexes.of_records(config.ttl_days)
    return [index for index in wanted if config.index_optimization or not index.optional]


def _is_large(found: Found) -> bool:
    names, database = found.location.names, found.location.database
    if names.records not in found.indexes:
        return False
    with translated("count the records"):
        return database[names.records].estimated_document_count() > LARGE


def _left(steps: list[Step], note: str) -> list[Step]:
    """Turn what is to be done into something an administrator decides."""
    return [step.marked(State.CLASH, note) if step.state is State.TODO else step for step in steps]


def _is_enforced(found: Found) -> bool:
    entry = found.collections.get(found.location.names.records, {})
    return validator.title(entry.get("options", {}).get("validator")) == validator.ENFORCED


def _adoption(found: Found, legacy_timezone: str | None, *, quick: bool) -> dict[str, Any] | None:
    location = found.location
    known = location.names.ledger in found.indexes and Ledger(location).newest(LedgerEvent.ADOPTION)
    if known or not adoption.has_old(location, first_time=not found.record):
        return None
    return {**adoption.survey(location, quick=quick), "legacy_timezone": legacy_timezone}


def _collection(
    found: Found, name: str, rules: Mapping[str, Any] | None, level: str, why: str
) -> list[Step]:
    """Plan a collection and its validator."""
    checks = {"validator": rules, "validationLevel": level, "validationAction": "error"}
    entry = found.collections.get(name)
    key, what = f"collection:{name}", f"collection {name}"
    if entry is None:
        command = {
            "create": name,
            "storageEngine": indexes.ZSTD,
            "indexOptionDefaults": _INDEX_DEFAULTS,
            **(checks if rules else {}),
        }
        return [found.step(key, what, why, State.TODO, command)]
    options = entry.get("options", {})
    if entry["type"] != "collection" or options.get("capped"):
        return [found.step(key, what, why, State.CLASH, None, _cannot_hold(name, entry))]
    zstd = "zstd" in str(options.get("storageEngine", ""))
    note = "" if zstd else "kept as it is; its blocks are not compressed with zstd"
    steps = [found.step(key, what, why, State.DONE, None, note)]
    if rules:
        steps.append(_validator(found, name, options, checks))
    return steps


def _cannot_hold(name: str, entry: Mapping[str, Any]) -> str:
    """Say why what is there cannot hold the log, and what helps: not all of it can be renamed."""
    options = entry.get("options", {})
    elsewhere = "give the log another name with --collection (setting `collection`)"
    if options.get("capped"):
        kind, or_else = "capped collection", "rename it"
    elif entry["type"] == "view":
        kind, or_else = f"view on {options.get('viewOn')}", "drop the view, which holds no data"
    else:
        kind, or_else = f"{entry['type']} collection", "move it away"
    return f"{name} is a {kind}, which cannot hold the log; {elsewhere}, or {or_else}"


def _validator(
    found: Found, name: str, options: Mapping[str, Any], checks: Mapping[str, Any]
) -> Step:
    key, what = f"validator:{name}", f"validator of {name}"
    why = "the database refuses malformed records"
    command = {"collMod": name, **checks}
    held = options.get("validator")
    same = (
        held == checks["validator"] and options.get("validationLevel") == checks["validationLevel"]
    )
    if same and options.get("validationAction", "error") == "error":
        return found.step(key, what, why, State.DONE, command)
    if held and not validator.title(held):
        note = "it has a validator of its own, which is kept; the command would replace it"
        return found.step(key, what, why, State.CLASH, command, note)
    return found.step(key, what, why, State.TODO, command)


def _indexes(found: Found, name: str, wanted: Any, retention: Step | None = None) -> list[Step]:
    """Plan the indexes of a collection; the retention of records has a plan of its own."""
    planned = []
    for index in wanted:
        if index.expire_s is not None and retention is not None:
            planned.append(retention)
            continue
        planned.append(_index(found, name, index))
    return planned


def _index(found: Found, name: str, index: indexes.Index) -> Step:
    key, what = f"index:{name}.{index.name}", f"index {index.name} of {name}"
    command = index.command(name)
    for held in found.indexes.get(name, ()):
        if index.matches(held) and held.get("expireAfterSeconds", index.expire_s) == index.expire_s:
            return found.step(key, what, index.why, State.DONE, command)
    for held in found.indexes.get(name, ()):
        same_keys = list(held["key"].items()) == list(index.keys)
        if index.matches(held) and index.expire_s is None:
            # It also expires documents; whether at the right age is reported on its own.
            return found.step(key, what, index.why, State.DONE, command, f"as {held['name']}")
        if held["name"] == index.name or same_keys:
            drop = found.shell({"dropIndexes": name, "index": held["name"]})
            step = found.step(
                key,
                what,
                index.why,
                State.CLASH,
                command,
                f"index {held['name']} is in its place with other options; "
                "the command replaces it, at a quiet time",
            )
            return replace(step, mongosh=f"{drop}; {step.mongosh}")
    return found.step(key, what, index.why, State.TODO, command)


def _view(found: Found, name: str, pipeline: views.Pipeline, why: str) -> Step:
    records = found.location.names.records
    key, what = f"view:{name}", f"view {name}"
    entry = found.collections.get(name)
    if entry is None:
        command = {"create": name, "viewOn": records, "pipeline": pipeline}
        return found.step(key, what, why, State.TODO, command)
    change = {"collMod": name, "viewOn": records, "pipeline": pipeline}
    options = entry.get("options", {})
    if entry["type"] != "view" or options.get("viewOn") != records:
        note = f"{name} is there and is no view on {records}; rename it to get ours"
        return found.step(key, what, why, State.CLASH, None, note)
    state = State.DONE if options.get("pipeline") == pipeline else State.TODO
    return found.step(key, what, why, state, change)
