"""For the tests of applications: real loggers over a store in memory.

Everything here implements the real interfaces: records go through the same snapshot, pipeline,
writer and spool as in production; only the database is replaced.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Unpack

from affidavit.config import AuditConfig, Settings
from affidavit.event import Dest
from affidavit.logger import AuditLogger
from affidavit.store.memory import MemoryStore

__all__ = ["Captured", "MemoryStore", "capture_events"]

_numbers = itertools.count()


class Captured:
    """A logger and what it has recorded."""

    def __init__(self, audit: AuditLogger, store: MemoryStore) -> None:
        self.audit = audit
        self.store = store

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records so far, in the order in which they were stored."""
        self.audit.flush()
        return self.store.documents(Dest.RECORDS)

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """All ledger records so far."""
        self.audit.flush()
        return self.store.documents(Dest.LEDGER)

    def of_call(self, call_id: str) -> list[dict[str, Any]]:
        """The records of one call."""
        return [record for record in self.records if record.get("call_id") == call_id]


@contextmanager
def capture_events(
    config: AuditConfig | None = None, **settings: Unpack[Settings]
) -> Iterator[Captured]:
    """Give a logger that records into memory; its spool lies in a directory of its own.

    ::

        with capture_events() as captured:
            my_application(captured.audit)
        assert captured.records[-1]["success"]
    """
    store = MemoryStore(f"memory:captured-{next(_numbers)}")
    with tempfile.TemporaryDirectory(prefix="affidavit-") as folder:
        resolved = AuditConfig.load(config, **settings)
        if resolved.spool_dir is None:
            resolved = AuditConfig.load(resolved, spool_dir=folder)
        with AuditLogger(store, resolved) as audit:
            yield Captured(audit, store)
