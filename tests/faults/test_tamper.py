"""A sample of the tamper campaign, and expiry by MongoDB itself."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from affidavit import AuditConfig, AuditLogger
from affidavit.canonical.values import epoch_ms
from affidavit.demo.mongod import Mongod
from affidavit.integrity.findings import Kind
from affidavit.integrity.note import Signer
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import verify
from affidavit.store import connect_seals
from tests.faults import tamper
from tests.faults.tamper_log import seal

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from tests.support.servers import GivenServer

pytestmark = pytest.mark.requirement("R20", "R21")


@pytest.mark.timeout(300)
def test_two_hundred_acts_of_an_administrator_are_all_found(mongod: Mongod | GivenServer) -> None:
    """Every act is found against what lies outside, and an untouched log is never accused."""
    seed = 1 if os.environ.get("CI") else time.time_ns() % 1_000_000
    result = tamper.run(mongod.uri, 200, seed)
    assert result.acts >= 200
    assert not result.wrong, f"seed {seed}"
    assert all(row.acts for row in result.rows.values())
    assert "missed" in tamper.table(result).lower()


def test_what_mongodb_itself_expires_is_clean(tmp_path: Path) -> None:
    """The TTL index removes old bodies without a trace; the signed times say that it was due."""
    from pymongo import MongoClient

    # The monitor comes by every second, and not before everything is sealed.
    options = [
        "--setParameter",
        "ttlMonitorSleepSecs=1",
        "--setParameter",
        "ttlMonitorEnabled=false",
    ]
    with (
        Mongod.start(extra_args=options) as server,
        MongoClient[dict[str, Any]](server.uri, tz_aware=True) as client,
    ):
        database = client["wadm"]
        key = Signer("affidavit/ttl")
        now = datetime.now(UTC)
        for days_ago in (91, 1):
            _record(database, tmp_path, now - timedelta(days=days_ago))
            seal(database, key, now - timedelta(days=days_ago) + timedelta(minutes=5))
        before = database.llm_audit.count_documents({})
        client.admin.command("setParameter", 1, ttlMonitorEnabled=True)
        deadline_s = time.monotonic() + 60
        while database.llm_audit.count_documents({}) > before // 2:
            assert time.monotonic() < deadline_s, "the TTL monitor did not come by"
            time.sleep(0.2)
        store = connect_seals(database, AuditConfig())
        report = verify(store, Trust(key.vkey), now_ms=epoch_ms(datetime.now(UTC)))
        assert report.clean, report.findings
        assert report.counts["expired"] == before // 2
        database.llm_audit.delete_many({})
        early = verify(store, Trust(key.vkey), now_ms=epoch_ms(datetime.now(UTC)))
        assert set(early.kinds) <= {Kind.MISSING, Kind.DELETED_TOO_EARLY}
        assert not early.clean


def _record(database: Database[dict[str, Any]], spool: Path, at: datetime) -> None:
    with (
        time_machine.travel(at, tick=True),
        AuditLogger(database, spool_dir=str(spool), seal="off") as audit,
    ):
        for number in range(5):
            with audit.call(provider="p", model="m", message=f"{number}", user_id="u") as call:
                call.complete(text="t")
