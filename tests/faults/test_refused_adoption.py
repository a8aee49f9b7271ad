"""Records of a killed process that the database refuses: kept, told, no accusation."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from bson.objectid import ObjectId

from affidavit import AuditConfig, AuditLogger
from affidavit.event import EventType
from affidavit.spool.dead import DeadLetters
from tests.conftest import with_database
from tests.support.accounts import take_account
from tests.support.sealing import verified

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from affidavit.demo.mongod import Mongod

pytestmark = [pytest.mark.requirement("R6", "R13", "R20"), pytest.mark.serial]

ADOPTED = "spool_adopted"


def record(audit: AuditLogger, *ids: ObjectId) -> None:
    """Record events with ids that somebody else has chosen, as the service does for its clients."""
    for each in ids:
        details = {"kind": "k", "severity": "low"}
        _, build = audit._event(EventType.SECURITY_EVENT, {}, details, call_id=str(each))
        ticket = audit._submit(each.binary, build, plain=True, wait=True)
        assert ticket is not None


def eventually(condition: Callable[[], object], timeout_s: float = 30.0) -> bool:
    """Wait for a condition."""
    give_up_s = time.monotonic() + timeout_s
    while time.monotonic() < give_up_s:
        if condition():
            return True
        time.sleep(0.05)
    return False


def killed(uri: str, config: AuditConfig, ids: list[ObjectId], up: Path, down: Path) -> int:
    """Fork a process that records these ids once ``down`` is there, and is killed; its id."""
    pid = os.fork()
    if pid == 0:
        try:
            audit = AuditLogger(uri, config)
            record(audit, ObjectId())
            audit.flush(10)
            up.touch()
            eventually(down.exists)
            record(audit, *ids)
            eventually(lambda: audit.stats().spooled >= len(ids))
            time.sleep(1)  # the batch of their leaves is closed, and in the spool with a next one
            record(audit, ObjectId())
            time.sleep(0.5)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    return pid


def test_what_is_refused_of_a_spool_taken_over_is_no_tampering(
    private_mongod: Mongod, tmp_path: Path
) -> None:
    """A client sent the same to two services while the database was away, and one was killed."""
    uri = with_database(private_mongod.uri, "refused")
    # Every other one, so that what is refused is no single range.
    ids = [ObjectId() for _ in range(12)]
    sent_again = ids[::2]
    one = AuditConfig(spool_dir=str(tmp_path / "one"), write_timeout=0.3, seal="off")
    other = AuditConfig(spool_dir=str(tmp_path / "other"), write_timeout=0.3, seal="off")
    up, down = tmp_path / "up", tmp_path / "down"
    pid = killed(uri, one, ids, up, down)
    assert eventually(up.exists)
    with AuditLogger(uri, other) as audit:
        record(audit, ObjectId())
        assert audit.flush(10)
        private_mongod.shut_down()
        down.touch()
        os.waitpid(pid, 0)
        record(audit, *sent_again)
        assert eventually(lambda: audit.stats().spooled >= len(sent_again))
        private_mongod.restart()
        assert eventually(lambda: audit.stats().spooled == 0)
    with private_mongod.client() as client:
        database = client["refused"]
        with AuditLogger(uri, one) as heir:
            assert eventually(lambda: database.llm_audit_ledger.find_one({"event_type": ADOPTED}))
            assert heir.flush(10)
        assert take_account(database, [], in_flight=100).errors == []
        adopted = database.llm_audit_ledger.find_one({"event_type": ADOPTED})
        assert adopted is not None
        numbers = adopted["details"]["records"]
        assert (numbers["dead_lettered"], numbers["lost"]) == (len(sent_again), 0)
        assert numbers["recorded"] == numbers["stored"] + numbers["dead_lettered"]
        told = database.llm_audit_ledger.find_one({"event_type": "dead_letter"})
        assert told is not None
        details = told["details"]
        assert details["writer"] == adopted["details"]["writer"]
        assert details["reasons"] == ["id_conflict"]
        assert sum(end - first + 1 for first, end in details["refused_seqs"]) == len(sent_again)
        (folder,) = (tmp_path / "one").iterdir()
        kept = DeadLetters(folder).all(adopted["details"]["writer"])
        assert {letter.record.record_id for letter in kept} == {each.binary for each in sent_again}
    report = verified(uri, one)
    assert report.findings == []
    # Where the sealer knew the leaves only as a gap, the ledger accounts for the numbers too.
    assert report.counts["explained"] + report.counts["gaps"] == len(sent_again)
    assert report.counts["never_came"] == 0
