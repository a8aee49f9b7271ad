"""The state of alerts in MongoDB; the contract is in :mod:`affidavit.store.alerting`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pymongo
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from affidavit.event import EPOCH, Document, EventType, LedgerEvent
from affidavit.store.alerting import Held, KeptSilence
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.ledger import Ledger

MAX_TIME_MS: Final = 10_000

_STATE: Final = "alerts"
_SILENCE: Final = "silence:"
_HISTORY: Final = "alert-history:"
_SEVERE: Final = ("high", "critical")
_NOTED_WITHIN: Final = timedelta(days=1)


class MongoAlerts:
    """What :class:`affidavit.store.alerting.AlertStore` asks for."""

    def __init__(self, location: Location) -> None:
        """No I/O happens here."""
        self._location = location
        self._kept = location.database[location.names.monitor]
        self._records = location.database[location.names.records]
        self._noted = location.database[location.names.ledger]
        self._ledger: Ledger | None = None

    def ping(self, for_s: float) -> None:
        """Ask the primary, which alone could keep anything."""
        with translated("say that it is there"), pymongo.timeout(for_s):
            self._location.client.admin.command("ping")

    # -- who acts --------------------------------------------------------------------------------

    def take(self, holder: str, for_s: float) -> Held | None:
        """Become the holder by one atomic update, which compares with the server's own clock."""
        me = {"$literal": holder}
        mine, over = {"$eq": ["$holder", me]}, {"$lte": ["$until", "$$NOW"]}
        raised = {"$add": ["$fence", 1]}
        change = {
            "holder": me,
            "fence": {"$cond": [mine, "$fence", raised]},
            "until": {"$add": ["$$NOW", int(for_s * 1000)]},
        }
        wanted = {"_id": _STATE, "$expr": {"$or": [mine, over]}}
        with translated(f"take the lease in {self._kept.name}"):
            found = self._taken(wanted, change)
            if found is None:  # another holds it, or nobody ever has
                try:
                    self._kept.insert_one({"_id": _STATE, "fence": 0, "until": EPOCH})
                except DuplicateKeyError:
                    return None
                found = self._taken(wanted, change)
        return None if found is None else Held(int(found["fence"]), dict(found.get("state") or {}))

    def _taken(self, wanted: Mapping[str, Any], change: Mapping[str, Any]) -> Document | None:
        return self._kept.find_one_and_update(
            wanted,
            [{"$set": change}],
            return_document=ReturnDocument.AFTER,
            maxTimeMS=MAX_TIME_MS,
        )

    def save(self, holder: str, fence: int, state: Mapping[str, Any], for_s: float) -> bool:
        """Replace the state where the fence is still ours."""
        until = {"$add": ["$$NOW", int(for_s * 1000)]}
        change = {"state": {"$literal": dict(state)}, "until": until}
        with translated(f"keep alerts in {self._kept.name}"):
            done = self._kept.update_one(_mine(holder, fence), [{"$set": change}])
        return done.matched_count == 1

    def release(self, holder: str, fence: int) -> None:
        """Let the lease end now."""
        with translated(f"release the lease in {self._kept.name}"):
            self._kept.update_one(_mine(holder, fence), [{"$set": {"until": "$$NOW"}}])

    def peek(self) -> tuple[Document, str | None]:
        """Read the state; who acts is judged by the server's clock."""
        acts = {"$cond": [{"$gt": ["$until", "$$NOW"]}, "$holder", None]}
        stages: list[Mapping[str, Any]] = [
            {"$match": {"_id": _STATE}},
            {"$project": {"state": 1, "acts": acts}},
        ]
        with translated(f"read {self._kept.name}"):
            found = next(iter(self._kept.aggregate(stages, maxTimeMS=MAX_TIME_MS)), {})
        return dict(found.get("state") or {}), found.get("acts")

    # -- silences --------------------------------------------------------------------------------

    def silences(self, now: datetime, within_s: float | None = None) -> Sequence[KeptSilence]:
        """Give the silences that have not ended, as the primary has them."""
        wanted = {"_id": _from(_SILENCE), "until": {"$gt": now}}
        # A limit of None would lift the one that holds around this.
        limit = contextlib.nullcontext() if within_s is None else pymongo.timeout(within_s)
        with translated(f"read {self._kept.name}"), limit:
            found = list(self._kept.find(wanted, max_time_ms=MAX_TIME_MS))
        return [_silence(document) for document in found]

    def add_silence(self, silence: KeptSilence) -> None:
        """Keep a silence."""
        document = {name: getattr(silence, name) for name in _SILENCE_FIELDS}
        with translated(f"insert into {self._kept.name}"):
            self._kept.insert_one({"_id": _SILENCE + silence.name, **document})

    def end_silence(self, name: str, now: datetime) -> KeptSilence | None:
        """End a silence now."""
        with translated(f"update {self._kept.name}"):
            found = self._kept.find_one_and_update(
                {"_id": _SILENCE + name, "until": {"$gt": now}},
                {"$set": {"until": now}},
                return_document=ReturnDocument.AFTER,
                maxTimeMS=MAX_TIME_MS,
            )
        return None if found is None else _silence(found)

    # -- history ---------------------------------------------------------------------------------

    def remember(self, entry_id: str, at: datetime, entry: Mapping[str, Any]) -> None:
        """Add to the history; ids begin with the time, so that no other index is needed."""
        document = {"_id": f"{_at(at)}:{entry_id}", "at": at, **entry}
        with (
            translated(f"insert into {self._kept.name}"),
            contextlib.suppress(DuplicateKeyError),
        ):
            self._kept.insert_one(document)

    def history(self, since: datetime, limit: int) -> Sequence[Document]:
        """Give what happened since then, newest first."""
        wanted = {"_id": {"$gte": _at(since), "$lt": _end(_HISTORY)}}
        with translated(f"read {self._kept.name}"):
            found = self._kept.find(wanted, max_time_ms=MAX_TIME_MS).sort("_id", -1).limit(limit)
            return [{k: v for k, v in document.items() if k != "_id"} for document in found]

    def forget(self, before: datetime) -> int:
        """Remove what is old."""
        with translated(f"remove from {self._kept.name}"):
            old = self._kept.delete_many({"_id": {"$gte": _HISTORY, "$lt": _at(before)}})
            ended = self._kept.delete_many({"_id": _from(_SILENCE), "until": {"$lt": before}})
        return old.deleted_count + ended.deleted_count

    def note(self, event: LedgerEvent, details: Mapping[str, Any], at: datetime) -> None:
        """Add a ledger record once: whoever died in between is followed by one that asks."""
        asked = {
            "event_type": event.value,
            "timestamp": {"$gte": at - _NOTED_WITHIN},
            "details.change": details["change"],
        }
        with translated(f"read {self._noted.name}"):
            known = self._noted.find_one(asked, {"_id": 1}, max_time_ms=MAX_TIME_MS)
        if known is None:
            if self._ledger is None:
                self._ledger = Ledger(self._location)
            self._ledger.record(event, details)

    # -- what only the database knows ------------------------------------------------------------

    def severe_events(self, since: datetime) -> Mapping[str, int]:
        """Count them by the index on kind of record and time."""
        stages: list[Mapping[str, Any]] = [
            {
                "$match": {
                    "event_type": EventType.SECURITY_EVENT.value,
                    "timestamp": {"$gte": since},
                    "details.severity": {"$in": list(_SEVERE)},
                }
            },
            {"$group": {"_id": "$details.kind", "count": {"$sum": 1}}},
        ]
        with translated("count security events"):
            found = self._records.aggregate(stages, maxTimeMS=MAX_TIME_MS)
            return {str(group["_id"]): int(group["count"]) for group in found}

    def ledger_records(self, event: LedgerEvent, since: datetime) -> int:
        """Count them by the index on kind of record and time."""
        wanted = {"event_type": event.value, "timestamp": {"$gte": since}}
        with translated(f"read {self._noted.name}"):
            return self._noted.count_documents(wanted, maxTimeMS=MAX_TIME_MS)


_SILENCE_FIELDS: Final = ("rule", "subject", "since", "until", "by", "reason")


def _silence(document: Mapping[str, Any]) -> KeptSilence:
    fields = {name: document[name] for name in _SILENCE_FIELDS}
    return KeptSilence(name=str(document["_id"]).removeprefix(_SILENCE), **fields)


def _mine(holder: str, fence: int) -> dict[str, Any]:
    return {"_id": _STATE, "holder": holder, "fence": fence}


def _from(prefix: str) -> dict[str, str]:
    return {"$gte": prefix, "$lt": _end(prefix)}


def _end(prefix: str) -> str:
    return prefix + "~"


def _at(moment: datetime) -> str:
    return f"{_HISTORY}{int(moment.timestamp() * 1000):015d}"
