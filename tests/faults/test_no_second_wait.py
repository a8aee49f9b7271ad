"""In an outage a caller waits once; later ones do not wait for what is still under way."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from affidavit import AuditLogger
from affidavit.store.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.serial
@pytest.mark.requirement("R6")
def test_a_second_batch_under_way_does_not_hold_up_later_callers(tmp_path: Path) -> None:
    """Two batches hang; once the first has failed, a new caller goes straight to the spool."""
    store = MemoryStore("memory:second-wait")
    audit = AuditLogger(store, spool_dir=str(tmp_path), write_timeout=1.0, redaction="off")
    audit.security_event(kind="warm", user_id="u")

    def crowd() -> list[threading.Thread]:
        """Enough callers at once for a batch that is sent by another thread."""
        threads = [
            threading.Thread(target=audit.security_event, kwargs={"kind": "k", "user_id": "u"})
            for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        return threads

    # While one record is sent the crowd gathers, and then goes as one batch.
    store.hang_s = 0.2
    alone = threading.Thread(target=audit.security_event, kwargs={"kind": "k", "user_id": "u"})
    alone.start()
    time.sleep(0.1)
    store.hang_s = 30.0
    first = crowd()
    time.sleep(0.6)
    second = crowd()
    for thread in first:
        thread.join()
    started_s = time.monotonic()
    audit.security_event(kind="later", user_id="u")
    waited_s = time.monotonic() - started_s
    for thread in (alone, *second):
        thread.join()
    store.hang_s = 0.0
    assert audit.flush(20), audit.stats()
    stats = audit.stats()
    audit.close()
    assert stats.lost == 0
    assert stats.recorded == stats.stored == len(store.documents()) == 83
    assert waited_s < 0.25
