"""The roles, each with no more than its work needs.

None of those for daily work may update, delete, drop, rename or change records: whoever holds the
writer's password can add to the log and cannot rewrite it. One may update records, to erase content
from them; what else it changes is found by any verification.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import OperationFailure

from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.names import Names
from affidavit.store.mongo.shell import command_line
from affidavit.store.planning import State, Step

if TYPE_CHECKING:
    from pymongo.database import Database

DERIVED: Final = ("rollups_a", "rollups_b", "rollup_states")
"""Collections that can be computed again from records at any time."""

_MAKE: Final = (
    "collMod",
    "collStats",
    "createCollection",
    "createIndex",
    "find",
    "indexStats",
    "listIndexes",
)
_SEE: Final = ("collStats", "find", "indexStats", "listIndexes")
_KEEP: Final = (
    "collStats",
    "createCollection",
    "createIndex",
    "find",
    "insert",
    "listIndexes",
    "remove",
    "update",
)

PURPOSE: Final = {
    "setup": (
        "makes collections, indexes, validators and views; reads records, to count old ones and "
        "those a retention would remove; cannot write or remove them"
    ),
    "writer": "for applications: reads, and inserts records, ledger records and heartbeats",
    "reader": "for people: reads, and notes each reading in the ledger",
    "sealer": (
        "for the sealer: reads, inserts seals, tiles, leaf batches built again, heartbeats, and "
        "ledger records of what it finds, and keeps rollups up, which can be computed again"
    ),
    "privacy": (
        "for erasing content on request: reads, replaces records, and tells the ledger; a change "
        "that is no erasure is found by `affidavit verify`"
    ),
    "monitor": (
        "for monitoring: reads, sees sizes and uses of indexes, keeps metrics and alerts, and "
        "inserts ledger records"
    ),
    "service": "for background work: computes the derived collections, and touches nothing else",
    "console": (
        "for `affidavit serve`: reads, inserts records, ledger records and heartbeats, and keeps "
        "tokens, sessions and saved views; sealing and watching are the roles sealer and monitor"
    ),
}

MAY: Final = {
    "setup": "may set the log up and read it, and not add records",
    "writer": "may read and add records",
    "reader": "may read the log and not add records",
    "sealer": "may read the log and add seals",
    "privacy": "may read the log and erase content from records",
    "monitor": "may read the log and keep what monitoring knows",
    "service": "may compute derived collections, and not read the log",
    "console": "may read the log, add records, and keep the service's accounts",
}
"""The same about a user who has the role, in the words of ``affidavit doctor``."""


def role_name(names: Names, role: str) -> str:
    """Name a role; like every collection, it starts with the records collection's name."""
    return f"{names.records}_{role}"


def privileges(database: str, names: Names, role: str) -> list[dict[str, Any]]:
    """List what one role may do."""
    prefix = names.records
    leaf_batches, seals, tiles = names.leaf_batches, names.seals, names.tiles
    derived = [f"{prefix}_{name}" for name in DERIVED]
    known = [names.monitor, names.metrics]
    sources = [names.records, names.ledger, names.writers, leaf_batches, seals, tiles, *known]
    views = [names.calls, names.outcomes]

    def allow(collections: Iterable[str], *actions: str) -> list[dict[str, Any]]:
        return [
            {"resource": {"db": database, "collection": name}, "actions": sorted(actions)}
            for name in collections
        ]

    def read_and_insert(*into: str) -> list[dict[str, Any]]:
        rest = [name for name in (*sources, *derived, *views) if name not in into]
        return [*allow(into, "find", "insert"), *allow(rest, "find")]

    if role == "setup":
        made = [
            name for name in (*sources, *derived, *views, names.service) if name != names.ledger
        ]
        return [
            *allow(made, *_MAKE),
            *allow([names.ledger], *_MAKE, "insert"),
            *allow([""], "listCollections"),
        ]
    if role in {"writer", "reader", "console"}:
        records = [] if role == "reader" else [names.records]
        own = [names.service] if role == "console" else []
        return [
            *read_and_insert(*records, names.ledger, leaf_batches, names.writers),
            *allow(own, "find", "insert", "remove", "update"),
        ]
    if role == "sealer":
        into = {seals, tiles, leaf_batches, names.writers, names.ledger}
        return [
            *allow(sorted(into), "find", "insert"),
            *allow([name for name in (*sources, *views) if name not in into], "find"),
            *allow(derived, "find", "insert", "remove", "update"),
        ]
    if role == "privacy":
        told = [names.ledger, leaf_batches]
        held = {names.records, *told}
        rest = [name for name in (*sources, *derived, *views) if name not in held]
        return [
            *allow([names.records], "bypassDocumentValidation", "find", "update"),
            *allow(told, "find", "insert"),
            *allow(rest, "find"),
        ]
    if role == "monitor":
        told = [names.ledger, leaf_batches]
        seen = [name for name in (*sources, *derived) if name not in {*known, *told}]
        return [
            *allow(known, *_SEE, "insert", "remove", "update"),
            *allow(told, *_SEE, "insert"),
            *allow(seen, *_SEE),
            *allow([*views, "system.profile"], "find"),
            *allow([""], "listCollections"),
        ]
    return allow(derived, *_KEEP)


def steps(location: Location) -> list[Step]:
    """Plan the roles: make those that are missing, bring up to date those that differ."""
    database, names = location.database, location.names
    found = _existing(database, names)
    planned = []
    for role, purpose in PURPOSE.items():
        name = role_name(names, role)
        wanted = privileges(database.name, names, role)
        verb = "updateRole" if name in found else "createRole"
        command = {verb: name, "privileges": wanted, "roles": []}
        done = name in found and _comparable(found[name]) == _comparable(wanted)
        planned.append(
            Step(
                f"role:{name}",
                f"role {name}",
                purpose,
                State.DONE if done else State.TODO,
                command,
                command_line(database.name, command),
            )
        )
    return planned


def _existing(database: Database[dict[str, Any]], names: Names) -> dict[str, list[dict[str, Any]]]:
    wanted = [{"role": role_name(names, role), "db": database.name} for role in PURPOSE]
    try:
        answer = database.command("rolesInfo", wanted, showPrivileges=True)
    except OperationFailure as error:
        if error.code != 13:  # noqa: PLR2004 - Unauthorized: whoever may not look is told at apply
            raise
        return {}
    return {role["role"]: role["privileges"] for role in answer["roles"]}


def _comparable(held: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, frozenset[str]]]:
    return {
        (p["resource"].get("db", ""), p["resource"].get("collection", ""), frozenset(p["actions"]))
        for p in held
    }
