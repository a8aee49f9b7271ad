"""Ledger records of one-off commands: set-up, adoption, and who read the log.

Writers of applications put theirs through their own queue and spool; a command has neither, so it
writes directly and says so when it cannot.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson.objectid import ObjectId

from affidavit.event import SCHEMA_VERSION, LedgerEvent
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated


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
        self.writer = f"cli-{secrets.token_hex(6)}"
        self._seq = 0

    def record(self, event: LedgerEvent, details: Mapping[str, Any]) -> None:
        """Insert one record, durable when this returns.

        Raises StoreRefused without the right to insert, StoreUnavailable without an answer.
        """
        document = {
            "_id": ObjectId(),
            "event_type": event.value,
            "timestamp": datetime.now(UTC),
            "actor": actor(),
            "details": dict(details),
            "schema_version": SCHEMA_VERSION,
            "writer": self.writer,
            "seq": self._seq,
        }
        with translated(f"insert into {self._collection.name}"):
            self._collection.insert_one(document)
        self._seq += 1

    def newest(self, event: LedgerEvent) -> dict[str, Any] | None:
        """Find the newest record of a kind."""
        with translated(f"read {self._collection.name}"):
            return self._collection.find_one(
                {"event_type": event.value}, sort=[("timestamp", -1), ("_id", -1)]
            )
