"""A disk that is full while the store answers: what was sent cannot be removed from the spool."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from affidavit.errors import SpoolError
from affidavit.spool.sqlite import SqliteSpool
from affidavit.store.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.requirement("R6")
def test_what_cannot_be_removed_is_sent_again_seldom_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the log nor the database is flooded; when there is room again, all is in order."""
    store = MemoryStore("memory:full-disk")
    sent: list[int] = []
    plain, plain_remove = store.append, SqliteSpool.remove
    full = True

    def append(batch: Any, timeout_s: float) -> Any:
        sent.append(len(batch))
        return plain(batch, timeout_s)

    def remove(self: SqliteSpool, batch: Any) -> None:
        if full:
            msg = "The spool cannot be written: disk full."
            raise SpoolError(msg)
        plain_remove(self, batch)

    monkeypatch.setattr(store, "append", append)
    monkeypatch.setattr(SqliteSpool, "remove", remove)
    audit = AuditLogger(store, spool_dir=str(tmp_path), batch_writes=True, batch_size=10)
    for number in range(20):
        with audit.call(provider="p", message="m", user_id="u") as call:
            if number == 7:
                store.reject[call.intent_id] = "validation"
            call.complete(text="t")
    time.sleep(3.0)
    stats = audit.stats()
    assert (stats.recorded, stats.stored, stats.dead_lettered) == (40, 0, 1)
    assert (stats.spooled, stats.queued) == (39, 0)
    assert len(store.documents()) == 39
    assert len(sent) <= 4
    problems = [r for r in caplog.records if "disk full" in r.getMessage()]
    assert len(problems) == 1
    assert "step of the shipper" not in caplog.text
    full = False
    assert audit.flush(10), audit.stats()
    stats = audit.stats()
    audit.close()
    numbers = (stats.stored, stats.spooled, stats.dead_lettered, stats.queued, stats.lost)
    assert numbers == (39, 0, 1, 0, 0)
    assert len(store.documents()) == 39
