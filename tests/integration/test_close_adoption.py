"""Closing an adoption: what was taken over is committed to, and nothing more of it may come."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bson.objectid import ObjectId
from bson.regex import Regex

from affidavit import AuditConfig, AuditLogger
from affidavit.cli import run
from affidavit.integrity.note import Signer
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import verify
from affidavit.store import connect_seals, open_log
from affidavit.store.mongo import adoption
from tests.integration.test_erasure import seal
from tests.support.documents import old_call, old_security

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.integrity.findings import Report

Docs = dict[str, Any]
pytestmark = pytest.mark.requirement("R35", "R20")

AT = datetime.now(UTC).replace(microsecond=0) - timedelta(days=80)
KEY = Signer("affidavit/adopted")


@pytest.fixture
def log(
    database: Database[Docs], mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Database[Docs]:
    """Fifty documents of an older logger, some of ours, all of it sealed, and closed."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setattr(adoption, "PART_ROWS", 20)
    database.llm_audit.insert_many([
        *(old_call(AT + timedelta(minutes=n), user_id=f"old_{n}") for n in range(47)),
        old_security(AT),
        {"_id": "a text", "event_type": "llm_request", "odd": Regex("a.*")},
        {"_id": 7, "event_type": "llm_request", "no_time": True},
    ])  # fmt: skip
    with AuditLogger(database, spool_dir=str(tmp_path / "s"), seal="off") as audit:
        for _ in range(3):
            with audit.call(provider="p", message="m") as call:
                call.complete(text="t")
    return database


def close(database: Database[Docs]) -> None:
    """Close, and seal that."""
    assert run(["setup", "--close-adoption"]) == 0
    seal(database, KEY)


def checked(database: Database[Docs], *, later: timedelta = timedelta()) -> Report:
    """Verify the whole log."""
    now_ms = int((datetime.now(UTC) + later).timestamp() * 1000)
    return verify(connect_seals(database, AuditConfig()), Trust(KEY.vkey), now_ms=now_ms)


def test_until_then_old_documents_are_unproved(log: Database[Docs]) -> None:
    """And so is whatever comes in their shape."""
    seal(log, KEY)
    log.llm_audit.insert_one(old_call())
    report = checked(log)
    assert (report.findings, report.counts["unproved"]) == ([], 51)


def test_then_each_is_committed_to_and_none_is_changed(
    log: Database[Docs], capsys: pytest.CaptureFixture[str]
) -> None:
    """In parts; whoever closes again is told of the first time."""
    before = list(log.llm_audit.find())
    close(log)
    assert list(log.llm_audit.find()) == before
    report = checked(log)
    assert (report.findings, report.counts["unproved"], report.counts["adopted"]) == ([], 0, 50)
    assert log.llm_audit_ledger.count_documents({"event_type": "adoption_closed"}) == 3
    capsys.readouterr()
    assert run(["setup", "--close-adoption", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["closed"]
    assert (said["count"], said["without_form"]) == (50, 1)
    assert log.llm_audit_ledger.count_documents({"event_type": "adoption_closed"}) == 3


@pytest.mark.parametrize(
    "put",
    [
        old_call(),
        old_call(AT),
        {"event_type": "llm_request", "user_id": "x"},
        {"event_type": "llm_request", "writer": "w", "seq": 3, "timestamp": AT},
        {"event_type": "llm_request", "writer": "w", "seq": "3", "timestamp": AT},
    ],
    ids=["now", "backdated", "without time", "numbered", "oddly numbered"],
)
def test_what_comes_later_in_their_shape_is_inserted(log: Database[Docs], put: Docs) -> None:
    """Whatever time it claims to be of."""
    close(log)
    log.llm_audit.insert_one({**put, "_id": ObjectId()})
    report = checked(log)
    assert (report.kinds, report.exit_code) == ({"inserted": 1}, 17)


def test_what_was_altered_is_named(log: Database[Docs]) -> None:
    """By its id; also one whose id is no ObjectId."""
    close(log)
    log.llm_audit.update_one({"user_id": "old_5"}, {"$set": {"response_data.cost_usd": 0.001}})
    log.llm_audit.update_one({"_id": 7}, {"$set": {"no_time": False}})
    report = checked(log)
    assert (report.kinds, report.exit_code) == ({"altered": 2}, 14)
    hit = log.llm_audit.find_one({"user_id": "old_5"})
    assert hit is not None
    assert any(str(hit["_id"]) in finding.text for finding in report.findings)


def test_what_is_gone_is_missing_unless_its_time_had_come(log: Database[Docs]) -> None:
    """Retention is what the ledger says; what has no time never expires."""
    close(log)
    log.llm_audit.delete_many({"user_id": {"$regex": "^old_"}})
    report = checked(log)
    assert report.kinds == {"missing": 1}
    assert "47 documents" in report.findings[0].text
    report = checked(log, later=timedelta(days=11))
    assert (report.findings, report.counts["expired"]) == ([], 47)
    log.llm_audit.delete_one({"_id": 7})
    assert checked(log, later=timedelta(days=11)).kinds == {"missing": 1}


def test_a_closing_that_was_killed_half_way_does_not_count(log: Database[Docs]) -> None:
    """Nothing is closed by a part of it; the next one does it whole."""
    with open_log(log, AuditConfig()) as opened:
        opened.close_adoption()
    part = {"event_type": "adoption_closed", "details.part": 1}
    log.llm_audit_ledger.delete_one(part)
    seal(log, KEY)
    assert checked(log).counts["unproved"] == 50
    close(log)
    assert checked(log).counts["adopted"] == 50


@pytest.mark.requirement("R21")
def test_what_is_erased_after_closing_is_told_from_what_is_altered(log: Database[Docs]) -> None:
    """The ledger announces it; the digest of then fits no more, and that is said."""
    close(log)
    assert run(["erase", "--user", "old_5", "--reason", "r", "--yes"]) == 0
    seal(log, KEY)
    report = checked(log)
    assert (report.findings, report.counts["adopted"], report.counts["erased"]) == ([], 50, 1)
