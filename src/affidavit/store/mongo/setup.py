"""Carrying out a plan, and the quick look of a writer that starts.

Every command is safe to run twice and by several workers at once: what somebody else has just made
counts as made. What exists in another shape is a clash; it is reported and stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from affidavit.config import AuditConfig
from affidavit.errors import SetupClash, StoreRefused
from affidavit.event import LedgerEvent
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import UNAUTHORIZED, code_name, translated
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.plan import VERSION, look, plan_setup
from affidavit.store.planning import Plan, SetupState, State, Step

logger: Final = logging.getLogger("affidavit")

__all__ = ["apply", "ensure", "plan_setup"]

_MADE_BY_ANOTHER: Final = frozenset({48, 51002})  # NamespaceExists; the role is there
_CLASHES: Final = frozenset({67, 68, 85, 86, 11000})
_PLAIN: Final = frozenset({"storageEngine", "indexOptionDefaults"})


def apply(
    location: Location,
    plan: Plan,
    config: AuditConfig,
    *,
    progress: Callable[[Step], None] | None = None,
) -> Plan:
    """Carry out what a plan has to do, note it in the ledger, and return the plan as it went.

    Raises StoreRefused when a right is missing, with the command an administrator can run, and
    SetupClash, before anything is done, where a name is taken by what cannot hold the log.
    """
    if blocked := _blocked(plan):
        raise SetupClash("; ".join(step.note for step in blocked) + ". Nothing was changed.")
    went: list[Step] = []
    for step in plan.steps:
        after = _run(location, step) if step.state is State.TODO else step
        went.append(after)
        if progress is not None:
            progress(after)
    changed = [step.key for step in plan.in_state(State.TODO)]
    done = Plan(tuple(went), plan.details, plan.recorded, plan.adoption)
    ledger = Ledger(location)
    if changed or not plan.recorded:
        ledger.record(LedgerEvent.SETUP, _details(location, done, changed, config))
    if plan.adoption is not None and ledger.newest(LedgerEvent.ADOPTION) is None:
        ledger.record(LedgerEvent.ADOPTION, plan.adoption)
    return done


def ensure(location: Location, config: AuditConfig, timeout_s: float) -> SetupState:
    """Find a finished set-up, which takes one query, or do it where that is allowed.

    With the writer role alone the query is all it may do, and all it needs.
    Raises StoreRefused when set-up is needed and not allowed; StoreUnavailable without an answer.
    """
    with pymongo.timeout(timeout_s):
        newest = Ledger(location).newest(LedgerEvent.SETUP)
        details: Mapping[str, Any] = (newest or {}).get("details", {})
        if details.get("setup_version", 0) >= VERSION:
            return _state(details)
        if not config.auto_setup:
            if details:
                return _state(details)
            raise StoreRefused(
                f"{location.database.name} is not set up for the log, and auto_setup is off. "
                "Run `affidavit setup` once; records wait in the spool until then."
            )
        try:
            plan = plan_setup(location, config, quick=True)
            apply(location, plan, config)
        except SetupClash as error:
            raise StoreRefused(f"{error} Records wait in the spool until then.") from error
        except StoreRefused as error:
            if details:  # an older set-up of ours, which this user may not bring up to date
                return _state(details)
            raise StoreRefused(
                f"{location.database.name} is not set up for the log, and this database user may "
                "not do it. Let an administrator run `affidavit setup` once (`--plan` shows the "
                f"commands); records wait in the spool until then. Cause: {error}"
            ) from error
        if plan.details["left_to_setup"]:
            logger.warning(
                "affidavit: %s holds documents of another logger. It is written to as it is, "
                "without our validator and indexes, until an operator runs `affidavit setup`.",
                location.names.records,
            )
        made = Ledger(location).newest(LedgerEvent.SETUP)
        return _state((made or {}).get("details", {}), made_now=True)


def _blocked(plan: Plan) -> list[Step]:
    """List the collections whose place is taken by what cannot hold them, such as a view."""
    return [s for s in plan.in_state(State.CLASH) if s.key.startswith("collection:")]


def _state(details: Mapping[str, Any], *, made_now: bool = False) -> SetupState:
    return SetupState(
        block_compressor=str(details.get("block_compressor", "")),
        ttl_days=details.get("ttl_days"),
        enforced=bool(details.get("enforced")),
        clashes=tuple(str(clash["note"]) for clash in details.get("clashes", ())),
        made_now=made_now,
    )


def _run(location: Location, step: Step) -> Step:
    """Carry out one step; the returned step says how it went."""
    assert step.command is not None  # noqa: S101 - a step without a command is never "todo"
    try:
        _command(location, step.command)
    except OperationFailure as error:
        if error.code in _MADE_BY_ANOTHER:
            return step.marked(State.DONE, "made by another process at the same moment")
        if error.code in _CLASHES:
            return step.marked(State.CLASH, f"MongoDB says code {error.code}, {code_name(error)}")
        if error.code == UNAUTHORIZED:
            raise StoreRefused(
                f"The database user may not make {step.what}. An administrator can run: "
                f"{step.mongosh}"
            ) from error
        plain = _without_storage(step.command)
        if plain == step.command:
            with translated(f"make {step.what}"):
                raise
        return _run_plain(location, step, plain)
    except PyMongoError:
        with translated(f"make {step.what}"):
            raise
    return step.marked(State.DONE)


def _run_plain(location: Location, step: Step, plain: Mapping[str, Any]) -> Step:
    """Do it again without storage options, which managed services refuse."""
    with translated(f"make {step.what}"):
        _command(location, plain)
    return step.marked(State.DONE, "made without zstd blocks, which this server refuses")


def _command(location: Location, command: Mapping[str, Any]) -> None:
    location.database.command({**command, "writeConcern": {"w": "majority"}})


def _without_storage(command: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in command.items() if key not in _PLAIN}
    if "indexes" in plain:
        plain["indexes"] = [
            {key: value for key, value in index.items() if key not in _PLAIN}
            for index in plain["indexes"]
        ]
    return plain


def _details(
    location: Location, plan: Plan, changed: list[str], config: AuditConfig
) -> dict[str, Any]:
    """Say what the ledger's ``setup`` record says."""
    found = look(location)
    period_s = _period_s(found.indexes.get(location.names.records, ()))
    # Ours is a period that we made or changed, now or earlier, and that nobody changed since.
    ours = "ttl" in changed or (
        bool(found.record.get("ttl_ours")) and found.record.get("ttl_s") == period_s
    )
    return {
        **plan.details,
        "ttl_s": period_s,
        "ttl_days": None if period_s is None else period_s // 86_400,
        "ttl_ours": ours,
        "ttl_wanted_days": config.ttl_days,
        "block_compressor": _block_compressor(location),
        "changed": changed,
        "clashes": [
            {"key": step.key, "note": step.note, "remedy": step.mongosh}
            for step in plan.in_state(State.CLASH)
        ],
        "package": _package_version(),
    }


def _period_s(held: Any) -> int | None:
    for index in held:
        if list(index["key"].items()) == [("timestamp", 1)] and "expireAfterSeconds" in index:
            return int(index["expireAfterSeconds"])
    return None


def _block_compressor(location: Location) -> str:
    """Ask the storage engine; empty where it does not say (other engines, missing right)."""
    try:
        stats = location.database.command("collStats", location.names.records)
    except PyMongoError:
        return ""
    created = str(stats.get("wiredTiger", {}).get("creationString", ""))
    for option in created.split(","):
        name, _, value = option.partition("=")
        if name == "block_compressor":
            return value or "none"
    return ""


def _package_version() -> str:
    try:
        return version("affidavit")
    except PackageNotFoundError:
        return "unknown"
