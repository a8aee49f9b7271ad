"""Closing in an outage: bounded, and nothing of it is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from pymongo import MongoClient

from affidavit import AuditLogger

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.demo.mongod import Mongod


@pytest.mark.serial
@pytest.mark.requirement("R6")
@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_closing_in_an_outage_takes_little_more_than_its_timeout(
    private_mongod: Mongod, tmp_path: Path, fault: str
) -> None:
    """A deployment waits for close(); the driver's good-bye to a dead server must not add to it."""
    uri = private_mongod.database_uri("closing")
    audit = AuditLogger(uri, spool_dir=str(tmp_path), write_timeout=0.3)
    for _ in range(5):
        with audit.call(provider="p", message="m", user_id="u") as call:
            call.complete(text="t")
    assert audit.flush(20)
    assert audit.stats().stored == 10
    if fault == "killed":
        private_mongod.kill()
    else:
        private_mongod.freeze()
    with audit.call(provider="p", message="m", user_id="u") as call:
        call.complete(text="t")
    started_s = time.monotonic()
    audit.close(1.0)
    took_s = time.monotonic() - started_s
    if fault == "killed":
        private_mongod.restart()
    else:
        private_mongod.thaw()
    with AuditLogger(uri, spool_dir=str(tmp_path)), MongoClient(private_mongod.uri) as client:
        end_s = time.monotonic() + 15
        while client["closing"]["llm_audit"].count_documents({}) < 12:
            assert time.monotonic() < end_s, "what was spooled did not arrive"
            time.sleep(0.05)
    assert took_s < 1.0 + 3.0  # a probe that is under way ends first


@pytest.mark.requirement("R6")
def test_closing_does_not_wait_for_a_question_of_the_sealer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may hold the connection it shares with the shipper for as long as a dead line lets it."""
    audit = AuditLogger("memory:shared", spool_dir=str(tmp_path), seal="off")
    with audit.call(provider="p", message="m", user_id="u") as call:
        call.complete(text="t")
    running = audit._engine._running
    assert running is not None
    with running.core.second_connection:
        started_s = time.monotonic()
        audit.close(1.0)
        took_s = time.monotonic() - started_s
    assert took_s < 1.5
    assert "did not stop in time" not in caplog.text
