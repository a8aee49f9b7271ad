"""Ledger records of one-off commands: set-up, adoption, and who read the log.

Writers of applications put theirs through their own queue and spool; a command has neither, so it
writes directly and says so when it cannot.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bson.objectid import ObjectId
from pymongo.errors import PyMongoError

from affidavit import canonical
from affidavit.event import SCHEMA_VERSION, Dest, LedgerEvent
from affidavit.integrity.leaves import FIRST, LEDGER, Signer, build
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated

MAX_TIME_MS: Final = 5000


def actor() -> dict[str, Any]:
    """Tell who runs this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in small containers
        user = f"uid {os.getuid()}"
    return {
        "os_user": user,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "program": Path(sys.argv[0] or "python").name,
    }


class Ledger:
    """One command's own writer: a fresh id, and sequence numbers from 0 in order."""

    def __init__(self, location: Location) -> None:
        self._collection = location.database[location.names.ledger]
        self._leaf_batches = location.database[location.names.leaf_batches]
        self.writer = f"cli-{secrets.token_hex(6)}"
        self._seq = 0
        self._signer: Signer | None = None
        self._prev = FIRST

    def record(
        self,
        event: LedgerEvent,
        details: Mapping[str, Any],
        by: Mapping[str, Any] | None = None,
    ) -> None:
        """Insert one record, durable when this returns, and its leaf.

        ``by`` adds to what is told of this process for whom it acts.
        Raises StoreRefused without the right to insert, StoreUnavailable without an answer.
        """
        if self._signer is None:
            self._signer = Signer(self.writer)
        document = {
            "_id": ObjectId(),
            "event_type": event.value,
            "timestamp": datetime.now(UTC),
            "actor": {**actor(), **(by or {}), "leaf_key": self._signer.vkey},
            "details": dict(details),
            "schema_version": SCHEMA_VERSION,
            "writer": self.writer,
            "seq": self._seq,
            "salt": canonical.new_salt(),
        }
        with translated(f"insert into {self._collection.name}"):
            self._collection.insert_one(document)
        self._add_leaf(document, self._signer)
        self._seq += 1

    def _add_leaf(self, document: Mapping[str, Any], signer: Signer) -> None:
        """Insert the leaf of a record; where that fails, the sealer makes it from the record."""
        leaf = canonical.leaf_of(document, Dest.LEDGER.value)
        time_ms = canonical.epoch_ms(document["timestamp"])
        batch = build(self.writer, self._seq, leaf, [time_ms], bytes([LEDGER]), self._prev, signer)
        self._prev = batch.digest
        with contextlib.suppress(PyMongoError):
            self._leaf_batches.insert_one({**batch.as_document(), "sent_at": datetime.now(UTC)})

    def newest(self, event: LedgerEvent) -> dict[str, Any] | None:
        """Find the newest record of a kind."""
        with translated(f"read {self._collection.name}"):
            return self._collection.find_one(
                {"event_type": event.value}, sort=[("timestamp", -1), ("_id", -1)]
            )

    def latest(self, events: Iterable[LedgerEvent], limit: int) -> list[dict[str, Any]]:
        """Find the newest records of some kinds."""
        with translated(f"read {self._collection.name}"):
            wanted = {"event_type": {"$in": [event.value for event in events]}}
            found = self._collection.find(wanted, max_time_ms=MAX_TIME_MS)
            return list(found.sort([("timestamp", -1), ("_id", -1)]).limit(limit))
