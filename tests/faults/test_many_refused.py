"""More records refused, or lost, than one ledger record names: all are named, none is accused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bson.objectid import ObjectId

from affidavit import AuditConfig, AuditLogger
from affidavit._engine import shipper
from affidavit._engine.core import MOST_NAMED
from affidavit.event import EventType
from tests.conftest import with_database
from tests.faults.test_refused_adoption import eventually
from tests.support.accounts import take_account
from tests.support.sealing import verified

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.demo.mongod import Mongod

pytestmark = [pytest.mark.requirement("R6", "R13", "R20"), pytest.mark.serial]

MANY = 1500


def record(audit: AuditLogger, ids: list[ObjectId]) -> None:
    """Record events with these ids, and wait until they are kept."""
    for each in ids:
        details = {"kind": "k", "severity": "low"}
        _, build = audit._event(EventType.SECURITY_EVENT, {}, details, call_id=str(each))
        audit._submit(each.binary, build, plain=True, wait=False)


def test_of_many_refused_records_every_one_is_named(
    private_mongod: Mongod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one batch has more of them than one ledger record names."""
    monkeypatch.setattr(shipper, "SHIP_RECORDS", 2 * MANY)
    uri = with_database(private_mongod.uri, "many")
    one = AuditConfig(spool_dir=str(tmp_path / "one"), write_timeout=0.3, seal="off")
    other = AuditConfig(spool_dir=str(tmp_path / "other"), write_timeout=0.3, seal="off")
    ids = [ObjectId() for _ in range(MANY)]
    with AuditLogger(uri, one) as first:
        record(first, ids)
        assert first.flush(60)
    with AuditLogger(uri, other) as second:
        record(second, [ObjectId()])
        assert second.flush(30)
        private_mongod.shut_down()
        record(second, ids)
        assert eventually(lambda: second.stats().spooled >= MANY)
        private_mongod.restart()
        assert eventually(lambda: second.stats().dead_lettered == MANY, 60)
        assert second.flush(30)
    with private_mongod.client() as client:
        database = client["many"]
        assert take_account(database, [], in_flight=2 * MANY + 100).errors == []
        told = list(database.llm_audit_ledger.find({"event_type": "dead_letter"}))
        named = [seq for each in told for seq in each["details"]["seqs"]]
        assert len(named) == len(set(named)) == MANY
        assert max(len(each["details"]["seqs"]) for each in told) <= MOST_NAMED
    report = verified(uri, one)
    assert report.findings == []
    assert report.counts["explained"] + report.counts["gaps"] == MANY
    assert report.counts["never_came"] == 0
