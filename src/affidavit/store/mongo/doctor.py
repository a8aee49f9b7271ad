"""Looking at the database for ``affidavit doctor``: each finding with its remedy. Changes nothing.

Every check works with whatever rights there are; what may not be looked at is said to be so.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from affidavit.config import AuditConfig
from affidavit.errors import StoreError, StoreRefused
from affidavit.event import LedgerEvent
from affidavit.store.findings import Finding, Level
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import cause, translated
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.plan import VERSION, plan_setup
from affidavit.store.mongo.read import Reader
from affidavit.store.mongo.roles import MAY, PURPOSE, privileges, role_name
from affidavit.store.planning import State

OLDEST_SERVER: Final = (6, 0)
CLOCK_NOTE_S: Final = 1.0
CLOCK_WRONG_S: Final = 30.0
_START: Final = "Start the server, or correct --uri (or AFFIDAVIT_MONGODB_URI)."
_LOGIN: Final = (
    "The server runs and answers. Correct user, password (percent-encoded) or authSource in --uri "
    "(or AFFIDAVIT_MONGODB_URI): authSource names the database in which the user was made."
)
_DANGEROUS: Final = frozenset(
    {"collMod", "dropCollection", "remove", "renameCollectionSameDB", "update"}
)


def examine(location: Location, config: AuditConfig, timeout_s: float = 10.0) -> list[Finding]:
    """Check connection, server, clock, rights, set-up and writers, in this order."""
    try:
        # The client's own time-out for finding a server holds here, which an address may shorten.
        with translated("answer a ping"):
            findings = list(_server(location))
    except StoreRefused as error:
        return [Finding("connection", Level.WRONG, str(error), _LOGIN)]
    except StoreError as error:
        return [Finding("connection", Level.WRONG, str(error), _START)]
    findings += _write_concern(location)
    for check, look in (
        ("rights", _rights),
        ("set-up", lambda place: _setup(place, config)),
        ("writers", _writers),
    ):
        try:
            with pymongo.timeout(timeout_s):
                findings += look(location)
        except StoreError as error:
            findings.append(Finding(check, Level.NOTE, str(error)))
        except PyMongoError as error:
            findings.append(Finding(check, Level.NOTE, f"not looked at: {cause(error)}"))
    return findings


def _server(location: Location) -> Iterator[Finding]:
    admin = location.client.admin
    admin.command("ping")  # opens the connection, so that the next answer is timed alone
    before, started_s = datetime.now(UTC), time.perf_counter()
    hello = admin.command("hello")
    took_s = time.perf_counter() - started_s
    yield Finding("connection", Level.OK, f"{location.dataset} answers in {took_s * 1000:.1f} ms")
    server = str(admin.command("buildInfo").get("version", "unknown"))
    kind = f"replica set {hello['setName']}" if hello.get("setName") else "standalone server"
    versions = (
        f"MongoDB {server} ({kind}), PyMongo {pymongo.version}, Python {platform.python_version()}"
    )
    numbers = tuple(int(part) for part in server.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_SERVER:
        yield Finding(
            "versions",
            Level.WRONG,
            versions,
            "Use MongoDB 6.0 or newer: partial indexes and the views need it.",
        )
    else:
        yield Finding("versions", Level.OK, versions)
    yield _clock(hello.get("localTime"), before, took_s)


def _clock(theirs: Any, before: datetime, took_s: float) -> Finding:
    if not isinstance(theirs, datetime):
        return Finding("clock", Level.NOTE, "the server does not tell its time")
    ours = before.timestamp() + took_s / 2
    offset_s = theirs.replace(tzinfo=UTC).timestamp() - ours
    text = f"the server's clock is {offset_s:+.3f} s from this one's"
    remedy = "Let both machines keep time by NTP: records carry this machine's time."
    if abs(offset_s) > CLOCK_WRONG_S:
        return Finding("clock", Level.WRONG, text, remedy)
    if abs(offset_s) > CLOCK_NOTE_S + took_s:
        return Finding("clock", Level.NOTE, text, remedy)
    return Finding("clock", Level.OK, text)


def _write_concern(location: Location) -> Iterator[Finding]:
    given = dict(location.client.write_concern.document)
    used = "the log is written with w=majority, j=true"
    if given and given.get("w") != "majority":
        yield Finding(
            "write concern",
            Level.NOTE,
            f"the address says {given}; {used} whatever it says for other work",
        )
    else:
        yield Finding("write concern", Level.OK, used)


def _rights(location: Location) -> Iterator[Finding]:
    """Judge by the roles of ours that the user has; without one, by what an application needs."""
    status = location.client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    names = location.names
    if not status["authenticatedUsers"]:
        yield Finding(
            "rights",
            Level.NOTE,
            "no login: the server may run without access control",
            "In production, turn access control on and use the roles of `affidavit setup --roles`.",
        )
        return
    user = status["authenticatedUsers"][0]["user"]
    here = {
        r["role"] for r in status["authenticatedUserRoles"] if r["db"] == location.database.name
    }
    ours = [role for role in PURPOSE if role_name(names, role) in here]
    needed = _needed(location, ours)
    held = {
        name: _actions(status["authenticatedUserPrivileges"], location.database.name, name)
        for name in {*needed, names.records}
    }
    missing = [
        f"{action} on {name}"
        for name, wanted in needed.items()
        for action in sorted(wanted - held[name])
    ]
    if ours and missing:
        yield Finding(
            "rights",
            Level.WRONG,
            f"{user} lacks: {', '.join(missing)}",
            f"The role {role_name(names, ours[0])} is not as this version makes it: "
            "`affidavit setup --roles` brings it up to date.",
        )
    elif ours:
        may = "; ".join(MAY[role] for role in ours)
        yield Finding("rights", Level.OK, f"{user} {may}")
    elif missing == [f"insert on {names.records}"]:
        yield Finding("rights", Level.OK, f"{user} {MAY['reader']}")
    elif missing:
        yield Finding(
            "rights",
            Level.WRONG,
            f"{user} lacks: {', '.join(missing)}",
            f"Grant the role {role_name(names, 'writer')} (applications) or "
            f"{role_name(names, 'reader')} (people); `affidavit setup --roles` makes them.",
        )
    else:
        yield Finding("rights", Level.OK, f"{user} {MAY['writer']}")
    excess = sorted((held[names.records] & _DANGEROUS) - needed.get(names.records, set()))
    if excess:
        yield Finding(
            "rights",
            Level.NOTE,
            f"{user} could also {', '.join(excess)} on {names.records}",
            f"An application needs no more than {role_name(names, 'writer')}.",
        )


def _needed(location: Location, held: Sequence[str]) -> dict[str, set[str]]:
    """Add up what these roles may do on each collection; without a role, what a writer must."""
    names = location.names
    if not held:
        return {name: {"find", "insert"} for name in (names.records, names.ledger, names.writers)}
    needed: dict[str, set[str]] = {}
    for role in held:
        for privilege in privileges(location.database.name, names, role):
            name = privilege["resource"]["collection"]
            if name:  # else a right on the database as a whole
                needed.setdefault(name, set()).update(privilege["actions"])
    return needed


def _actions(privileges: Any, database: str, collection: str) -> set[str]:
    held: set[str] = set()
    for privilege in privileges:
        resource: Mapping[str, Any] = privilege["resource"]
        everything = resource.get("anyResource") or (
            resource.get("db") in {"", database} and resource.get("collection") in {"", collection}
        )
        if everything:
            held.update(privilege["actions"])
    return held


def _setup(location: Location, config: AuditConfig) -> Iterator[Finding]:
    newest = Ledger(location).newest(LedgerEvent.SETUP)
    if newest is None:
        yield Finding(
            "set-up",
            Level.WRONG,
            "no set-up is on record",
            "Run `affidavit setup` (`--plan` shows what it does).",
        )
    else:
        version = newest["details"].get("setup_version", 0)
        if version < VERSION:
            yield Finding(
                "set-up",
                Level.WRONG,
                f"set-up is of version {version}, not {VERSION}",
                "Run `affidavit setup`.",
            )
        when = f"{newest['timestamp']:%Y-%m-%d %H:%M} UTC"
        yield Finding("set-up", Level.OK, f"set up at {when}")
    try:
        plan = plan_setup(location, config, quick=True)
    except StoreError:
        yield Finding(
            "set-up",
            Level.NOTE,
            "this user may not look at indexes and validators",
            f"Run doctor as a user with {role_name(location.names, 'setup')}.",
        )
        return
    groups = (
        ("collections", "collection:"),
        ("validators", "validator:"),
        ("indexes", "index:"),
        ("retention", "ttl"),
        ("views", "view:"),
    )
    for name, prefix in groups:
        steps = [step for step in plan.steps if step.key.startswith(prefix)]
        for step in steps:
            if step.state is State.CLASH:
                yield Finding(name, Level.WRONG, f"{step.what}: {step.note}", step.mongosh)
            elif step.state is State.TODO:
                yield Finding(
                    name,
                    Level.WRONG,
                    f"{step.what} is missing or out of date",
                    "Run `affidavit setup`.",
                )
        if all(step.state is State.DONE for step in steps):
            notes = "; ".join(step.note for step in steps if step.note)
            yield Finding(name, Level.OK, f"all {len(steps)} in place" + (notes and f" ({notes})"))


def _writers(location: Location) -> Iterator[Finding]:
    try:
        status = Reader(location).status()
    except OperationFailure as error:
        yield Finding("writers", Level.NOTE, f"not looked at (code {error.code})")
        return
    for writer in status.writers:
        if writer.silent:
            yield Finding(
                "writers",
                Level.WRONG,
                f"writer {writer.writer} on {writer.heartbeat.get('host')} is silent since "
                f"{writer.age_s:.0f} s",
                "See whether that process lives; what it had spooled is taken over by the next one "
                "on that machine.",
            )
    lost, dead = status.totals.get("lost", 0), status.totals.get("dead_lettered", 0)
    if lost:
        yield Finding(
            "writers",
            Level.WRONG,
            f"{lost} records were lost in the last 24 hours",
            "`affidavit status` shows by which writer, the ledger when and why.",
        )
    if dead:
        yield Finding(
            "writers",
            Level.WRONG,
            f"{dead} records were refused by the database",
            "`affidavit dead-letters list` shows why, `… retry` sends them again.",
        )
    running = sum(w.heartbeat.get("state") == "running" and not w.silent for w in status.writers)
    yield Finding("writers", Level.OK, f"{running} running, {len(status.writers)} in 24 hours")
