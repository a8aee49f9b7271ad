"""Tampering is noticed unasked where the log is sealed: by the service, and in an application."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from affidavit.cli import run
from affidavit.sealer import rolling

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20", "R21")


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """A database that the command and loggers of this test use."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("AFFIDAVIT_SPOOL_DIR", str(tmp_path / "spool"))
    return database


def call(audit: AuditLogger, count: int = 1) -> None:
    """Record some calls."""
    for _ in range(count):
        with audit.call(provider="p", model="m", message="hello", user_id="u") as one:
            one.complete(text="answer")


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until it holds."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def alter(log: Log) -> None:
    """Change one stored record, as an administrator does."""
    one = log.llm_audit.find_one({"event_type": "llm_response"})
    assert one is not None
    log.llm_audit.update_one({"_id": one["_id"]}, {"$set": {"model": "another"}})


def outcomes(log: Log) -> list[dict[str, Any]]:
    """What rolling verifications have kept."""
    return list(log.llm_audit_seals.find({"_id": {"$regex": "^verified:"}}).sort("_id", 1))


def test_the_service_notices_tampering_unasked(
    log: Log, mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, leaves a sealed ledger record, and status and doctor fail from then on."""
    with AuditLogger(mongodb_uri, seal="off") as audit:
        call(audit, 20)
    assert run(["seal", "--once"]) == 0
    alter(log)
    with subprocess.Popen(
        [sys.executable, "-m", "affidavit.cli", "seal"], stderr=subprocess.PIPE, text=True
    ) as service:
        try:
            wait_for(lambda: outcomes(log))
            time.sleep(2)
            service.send_signal(signal.SIGTERM)
            _, said = service.communicate(timeout=30)
        finally:
            service.kill()
    assert service.returncode == 0
    assert said.count("THE LOG DOES NOT HOLD: 1 altered") == 1
    noted = log.llm_audit_ledger.find_one({"event_type": "verification_failed"})
    assert noted is not None
    assert noted["details"]["found"] == {"altered": 1}
    assert "(llm_response)" in noted["details"]["first"]
    capsys.readouterr()
    assert run(["status"]) == 1
    assert "THE LOG DOES NOT HOLD" in capsys.readouterr().out
    assert run(["doctor", "--json"]) == 1
    found = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["sealed log"]["level"] == "wrong"
    assert run(["verify"]) == 14


def test_the_service_can_do_without(log: Log, mongodb_uri: str) -> None:
    """--no-rolling seals and verifies nothing."""
    with AuditLogger(mongodb_uri, seal="off") as audit:
        call(audit)
    with subprocess.Popen(
        [sys.executable, "-m", "affidavit.cli", "seal", "--no-rolling"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as service:  # fmt: skip
        try:
            wait_for(lambda: log.llm_audit_seals.find_one({"_id": 0}))
            time.sleep(7)
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
        finally:
            service.kill()
    assert outcomes(log) == []


def test_an_application_that_seals_notices_it_too(
    log: Log,
    mongodb_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Clean rounds are silent; after a change the Python log says what, and the ledger has it."""
    monkeypatch.setitem(rolling.Rolling.__init__.__kwdefaults__, "first_s", 0.5)
    monkeypatch.setattr(rolling, "REST_S", 0.5)
    with caplog.at_level(logging.ERROR, "affidavit"), AuditLogger(mongodb_uri) as audit:
        call(audit, 20)
        wait_for(lambda: outcomes(log))
        assert caplog.records == []
        assert outcomes(log)[0]["found"] == {}
        alter(log)
        wait_for(lambda: len(outcomes(log)) > 1)
        wait_for(lambda: log.llm_audit_ledger.find_one({"event_type": "verification_failed"}))
    assert [r.levelname for r in caplog.records if "THE LOG DOES NOT HOLD" in r.message] == [
        "ERROR"
    ]


@pytest.mark.parametrize("percent", [0, 1])
def test_the_setting_switches_it_off(
    log: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, percent: int
) -> None:
    """With rolling_percent=0 an application verifies nothing."""
    monkeypatch.setitem(rolling.Rolling.__init__.__kwdefaults__, "first_s", 0.2)
    with AuditLogger(mongodb_uri, rolling_percent=percent) as audit:
        call(audit)
        wait_for(lambda: log.llm_audit_seals.find_one({"_id": 0}))
        if percent:
            wait_for(lambda: outcomes(log))
        time.sleep(1.5)
    assert bool(outcomes(log)) == bool(percent)


def test_an_application_that_seals_anchors_too(
    log: Log, mongodb_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The newest checkpoint comes into the folder, and status shows how old the receipt is."""
    folder = tmp_path / "anchors"
    folder.mkdir()
    monkeypatch.setenv("AFFIDAVIT_ANCHOR_DIRECTORY", str(folder))
    with AuditLogger(mongodb_uri) as audit:
        call(audit, 3)
        wait_for(lambda: list(folder.iterdir()))
    assert run(["status"]) == 0
    shown = capsys.readouterr().out
    assert "anchor folder" in shown or str(folder) in shown
    assert "leaves" in shown
    assert run(["verify"]) == 0


def test_an_anchor_that_hangs_holds_up_neither_records_nor_closing(
    log: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application goes on and ends, whatever the anchor does."""
    from affidavit.anchors.directory import Directory

    entered = []

    def hang(*_: object) -> None:
        entered.append(1)
        time.sleep(30)

    monkeypatch.setattr(Directory, "anchor", hang)
    monkeypatch.setenv("AFFIDAVIT_ANCHOR_DIRECTORY", "/nowhere")
    with AuditLogger(mongodb_uri) as audit:
        call(audit)
        wait_for(lambda: entered)
        began_s = time.monotonic()
        call(audit, 5)
        wait_for(lambda: log.llm_audit.count_documents({}) == 12)
    assert time.monotonic() - began_s < 8


def test_wrong_settings_of_anchors_stop_no_logger(
    log: Log,
    mongodb_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The Python log names the setting, calls are recorded, and status says it and goes on."""
    monkeypatch.setenv("AFFIDAVIT_ANCHOR_WITNESSES", "https://w.example no-key")
    with caplog.at_level(logging.WARNING, "affidavit"), AuditLogger(mongodb_uri) as audit:
        call(audit)
    assert any("anchor_witnesses" in record.message for record in caplog.records)
    assert log.llm_audit.count_documents({}) == 2
    capsys.readouterr()
    assert run(["status"]) == 0
    told = capsys.readouterr()
    assert "anchor_witnesses" in told.err
    assert "writer" in told.out
