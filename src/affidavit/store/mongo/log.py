"""Everything but writing, for one log: what the command line works with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Self

from bson.objectid import ObjectId

from affidavit.config import AuditConfig
from affidavit.event import Dest, LedgerEvent
from affidavit.store.analytics import Engine
from affidavit.store.erasing import ErasableStore
from affidavit.store.findings import Finding
from affidavit.store.forensics import Forensics
from affidavit.store.mongo import absent, adoption, doctor, setup, zone
from affidavit.store.mongo.connect import POOL_SIZE, locate
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.erasing import MongoErasing
from affidavit.store.mongo.forensics import MongoForensics, stored_ref
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.patient import PatientSeals
from affidavit.store.mongo.read import Reader
from affidavit.store.mongo.restoring import MongoRestoring
from affidavit.store.mongo.rollup_totals import RollupCalls
from affidavit.store.mongo.rollups import MongoRollups
from affidavit.store.planning import Plan, Step
from affidavit.store.restoring import RestorableStore
from affidavit.store.rollups import RollupStore
from affidavit.store.sealing import SealStore
from affidavit.tally.facts import FIELD

SEALS_TIMEOUT_S: Final = 60.0
"""Seconds that a command waits for one answer about the log's own collections."""


def _redacted(wanted: Mapping[str, Any], config: AuditConfig | None = None) -> dict[str, Any]:
    """Keep what was looked for, but no secret: the ledger never expires.

    Where identity is keyed, who was looked for is noted as the token that stands in the records.
    """
    noted = dict(wanted)
    if config is not None and config.identity == "keyed":
        from affidavit.pipeline.redact import act
        from affidavit.pipeline.redact.configured import policy_of
        from affidavit.pipeline.redact.record import KEYED

        key = policy_of(config).key
        for name in (*KEYED, "ip_address"):
            value = noted.get(name)
            if isinstance(value, str) and not value.startswith("keyed:"):
                noted[name] = act.identity(key, name, value) if key is not None else "[withheld]"
    if config is not None and isinstance(noted.get("ref"), str):
        noted["ref"] = stored_ref(config, noted["ref"])
    # A field of the application's own may hold anything, and so may the value it is chosen by.
    texts = [name for name in noted if name == "text" or name.startswith(FIELD)]
    for name in texts:
        if isinstance(noted[name], str):
            from affidavit.pipeline.redact import Policy, Redactor

            noted[name], _found = Redactor(Policy.read("default")).redact_text(noted[name])
    return noted


class MongoLog:
    """One log in MongoDB, for reading and for its administration. No I/O happens on opening."""

    def __init__(
        self,
        target: object,
        config: AuditConfig,
        uri: str | None = None,
        connections: int = POOL_SIZE,
    ) -> None:
        """``target`` is what AuditLogger takes. Raises ConfigError for one it cannot use.

        ``connections`` is how many a pool of its own has at most.
        """
        self.config = config
        self.location = locate(target, config, uri, connections)
        self.reader = Reader(self.location, config.legacy_timezone)
        self._ledger: Ledger | None = None
        self._reached = False
        self._set_up: Mapping[str, Any] | None = None
        self._noting = threading.Lock()

    @property
    def calls(self) -> Engine:
        """What answers questions about finished calls."""
        return RollupCalls(self.location, self.config.legacy_timezone)

    @property
    def rollups(self) -> RollupStore:
        """What keeps rollups; over the same connections."""
        return MongoRollups(self.location, self.config)

    @property
    def reporting_timezone(self) -> str:
        """The time zone of this log's days and months, fixed when it was set up."""
        return zone.fixed(self._setup, self.config)

    @property
    def kept(self) -> timedelta | None:
        """How long records are kept, as set-up left it; None where nothing expires or is known."""
        ttl_s = self._setup.get("ttl_s")
        return timedelta(seconds=ttl_s) if isinstance(ttl_s, int) else None

    @property
    def _setup(self) -> Mapping[str, Any]:
        if self._set_up is None:
            self._set_up = zone.newest(self.location)
        return self._set_up

    @property
    def seals(self) -> SealStore:
        """The log's own collections, over the same connections.

        Raises StoreUnavailable where no server answers in the driver's own time for that.
        """
        if not self._reached:  # the limit on each question below counts instead of that time
            with translated("ask it anything"):
                self.location.database.client.admin.command("ping")
            self._reached = True
        return PatientSeals.over(self.location, SEALS_TIMEOUT_S)

    @property
    def restoring(self) -> RestorableStore:
        """The collections, to be filled from an export; over the same connections."""
        return MongoRestoring(self.location)

    @property
    def erasing(self) -> ErasableStore:
        """The records, to be erased by a user with the role for it; over the same connections."""
        return MongoErasing(self.location)

    @property
    def forensics(self) -> Forensics:
        """What is asked after an incident; over the same connections."""
        return MongoForensics(self.location, self.config)

    def check_there(self) -> None:
        """Raise ConfigError where there is no log; see :mod:`affidavit.store.mongo.absent`."""
        absent.check(self.location)

    @property
    def dataset(self) -> str:
        """A stable name without secrets; the spool's folder is named after it."""
        return self.location.dataset

    def note_access(
        self,
        command: str,
        wanted: Mapping[str, Any],
        count: int | None,
        by: Mapping[str, Any] | None = None,
    ) -> None:
        """Note in the ledger who read what; call it before showing.

        ``by`` says for whom this process reads, where it is not whoever runs it.
        Raises StoreRefused without the right to insert: nothing is read unseen.
        """
        details = {"command": command, "filter": _redacted(wanted, self.config), "count": count}
        self._note(LedgerEvent.AUDIT_ACCESS, details, by)

    def changes(self, limit: int = 50) -> list[dict[str, Any]]:
        """Give the ledger records about set-up and changed settings, the newest first."""
        kinds = (LedgerEvent.SETUP, LedgerEvent.CONFIG_CHANGED, LedgerEvent.ADOPTION)
        return Ledger(self.location).latest(kinds, limit)

    def note_retry(self, stored: int, refused: int) -> None:
        """Note in the ledger that dead letters were sent again."""
        self._note(LedgerEvent.DEAD_LETTER, {"retried_stored": stored, "retried_refused": refused})

    def note_repricing(self, details: Mapping[str, Any]) -> None:
        """Note in the ledger that calls were priced again, by which book and to what sum."""
        self._note(LedgerEvent.REPRICING, details)

    def note_key_rotation(self, old: str, new: str) -> None:
        """Note in the ledger that the log's key is about to change; both are vkeys."""
        self._note(LedgerEvent.KEY_ROTATION, {"from": old, "to": new})

    def correct_retried(self, writer: str, retried: Mapping[Dest, int]) -> None:
        """Correct a writer's newest heartbeat: so many of its dead letters are stored by now.

        ``retried`` counts all there ever were. The writer may be gone and tell nothing any more;
        one that runs says the same in its next heartbeat. A copy is inserted, a millisecond newer.
        """
        beats = self.location.database[self.location.names.writers]
        with translated("correct the counters of a writer"):
            newest = beats.find_one({"writer": writer}, sort=[("at", -1)])
            if newest is None:
                return  # older than 24 hours: nothing adds it up any more
            known = newest.get("retried", {})
            for dest, name in ((Dest.RECORDS, "counters"), (Dest.LEDGER, "ledger_counters")):
                counters = newest.get(name, {})
                more = retried.get(dest, 0) - known.get(dest.value, 0)
                moved = max(0, min(more, counters.get("dead_lettered", 0)))
                if moved:
                    counters["dead_lettered"] -= moved
                    counters["stored"] += moved
            at = newest["at"] + timedelta(milliseconds=1)
            told = {dest.value: count for dest, count in retried.items()}
            beats.insert_one({**newest, "_id": ObjectId(), "at": at, "retried": told})

    def _note(
        self, event: LedgerEvent, details: Mapping[str, Any], by: Mapping[str, Any] | None = None
    ) -> None:
        with self._noting:  # numbers of ledger records are given one after the other
            if self._ledger is None:
                self._ledger = Ledger(self.location)
            self._ledger.record(event, details, by)

    def plan(
        self, *, enforce: bool = False, change_ttl: bool = False, with_roles: bool = False
    ) -> Plan:
        """Say what set-up would do; see :func:`affidavit.store.mongo.plan.plan_setup`."""
        return setup.plan_setup(
            self.location,
            self.config,
            enforce=enforce,
            change_ttl=change_ttl,
            with_roles=with_roles,
        )

    def apply(self, plan: Plan, progress: Callable[[Step], None] | None = None) -> Plan:
        """Carry out a plan; see :func:`affidavit.store.mongo.setup.apply`."""
        return setup.apply(self.location, plan, self.config, progress=progress)

    def close_adoption(self, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
        """End the taking over; see :func:`affidavit.store.mongo.adoption.close`."""
        return adoption.close(self.location, progress)

    def examine(self) -> list[Finding]:
        """Check everything on the database's side."""
        return doctor.examine(self.location, self.config)

    def close(self) -> None:
        """Close the client if it is ours."""
        self.location.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
