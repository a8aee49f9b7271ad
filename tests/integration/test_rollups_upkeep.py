"""Who keeps rollups up: the sealer's command and thread, a command of their own, and with what."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig, AuditLogger
from affidavit.analytics.keeper import Keeper
from affidavit.analytics.upkeep import Turns, Upkeep
from affidavit.cli import run
from affidavit.errors import StoreRefused, StoreUnavailable
from affidavit.store import open_log
from affidavit.store.mongo.plan import VERSION
from tests.support.rollups import cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R13", "R14")


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """A database whose address is in the environment; loggers leave sealing to the command."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("AFFIDAVIT_SEAL", "off")
    monkeypatch.chdir(tmp_path)
    return database


def record(count: int = 3, **settings: Any) -> None:
    """Record some calls."""
    with AuditLogger(**settings) as audit:
        for _ in range(count):
            with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
                call.complete(text="answer", input_tokens=1, output_tokens=2, cost_usd="0.01")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """Run a command with --json and read what it prints."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until it holds."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def counted(database: Log) -> int:
    """The calls that the months of users hold."""
    return sum(cell["calls"] for name, cell in cells(database).items() if name[0] == "u")


def test_sealing_once_folds_once(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """What `affidavit seal --once` has sealed is in the rollups when it ends."""
    record(4)
    assert run(["seal", "--once"]) == 0
    assert counted(log) == 4
    said = asked(capsys, "rollups", "status")
    assert (said["k"], said["side"], said["late"]) == (said["sealed"], "a", False)
    assert said["cells"] == {
        "hours of models": 1,
        "days of models": 1,
        "days of departments": 1,
        "days of endings": 1,
        "months of users": 1,
    }
    assert asked(capsys, "rollups", "run")["calls"] == 0


def test_the_sealing_service_keeps_up(log: Log, mongodb_uri: str) -> None:
    """`affidavit seal` folds beside sealing, from its start on."""
    record(3)
    command = [sys.executable, "-m", "affidavit.cli", "seal", "--uri", mongodb_uri]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as service:
        wait_for(lambda: counted(log) == 3)
        service.terminate()
        assert service.wait(30) == 0


def test_an_application_that_seals_keeps_up(log: Log) -> None:
    """A logger that seals its own log folds it too, in small pieces."""
    with AuditLogger(seal="auto") as audit:
        with audit.call(provider="p", message="hello", user_id="u") as call:
            call.complete(text="answer")
        audit.flush(10)
        wait_for(lambda: counted(log) == 1)


def test_rebuilding_by_command_gives_the_same(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """It tells how far it is, changes the side that answers, and begins where it is told to."""
    record(5)
    assert run(["seal", "--once"]) == 0
    before = cells(log)
    capsys.readouterr()
    assert run(["rollups", "rebuild"]) == 0
    printed = capsys.readouterr()
    assert "of 5 calls" in printed.out
    assert "seal 0: 5 calls" in printed.err
    assert cells(log, "b") == before
    assert asked(capsys, "rollups", "status")["side"] == "b"
    said = asked(capsys, "rollups", "rebuild", "--from", "2d")
    assert (said["calls"], said["side"]) == (5, "a")
    assert said["since"] is not None
    assert run(["rollups", "rebuild", "--from", "yesterday"]) == 2


def test_status_tells_what_is_wrong(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Without rollups, and behind the seals, it ends with 1 and says what that means."""
    record(2)
    asked(capsys, "rollups", "status", code=1)
    assert run(["seal", "--once"]) == 0
    log.llm_audit_rollup_states.update_one({"_id": "a"}, {"$set": {"k": -1}})
    log.llm_audit_seals.update_many({"_id": {"$gte": 0}}, [{"$set": {"at": {
        "$dateSubtract": {"startDate": "$at", "unit": "minute", "amount": 5}}}}])  # fmt: skip
    capsys.readouterr()
    assert run(["rollups", "status"]) == 1
    assert "questions go to the records" in capsys.readouterr().out


def test_an_older_set_up_serves_a_newer_writer(log: Log) -> None:
    """Collections that an older set-up did not make come with the first cells; set-up adds them."""
    record(1)
    for name in ("rollups_a", "rollups_b", "rollup_states"):
        log.drop_collection(f"llm_audit_{name}")
    older = {"$set": {"details.setup_version": VERSION - 1}}
    log.llm_audit_ledger.update_many({"event_type": "setup"}, older)
    record(2, auto_setup=False)
    assert run(["seal", "--once"]) == 0
    assert counted(log) == 3
    assert run(["setup"]) == 0
    assert log.llm_audit_ledger.count_documents({"event_type": "setup"}) == 2
    assert "llm_audit_rollups_b" in log.list_collection_names()


def test_indexes_beyond_the_id_are_not_needed(log: Log) -> None:
    """Set-up makes both sides, and each has the one index that every collection has."""
    record(1)
    for side in "ab":
        assert list(log[f"llm_audit_rollups_{side}"].index_information()) == ["_id_"]


class _Refusing:
    """A keeper that meets one error after another, and then nothing to do."""

    more = False

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.steps = 0

    def step(self) -> int | None:
        self.steps += 1
        if self.errors:
            raise self.errors.pop(0)
        return None


def test_trouble_with_rollups_stays_with_them() -> None:
    """Whatever goes wrong is told once in plain words, without content, and nothing is raised."""
    told: list[str] = []
    keeper: Any = _Refusing(StoreUnavailable("away"), ValueError("secret"), KeyError("secret"))
    with Upkeep(keeper, told.append, every_s=0.01):
        wait_for(lambda: keeper.steps > 6)
    assert told == [
        "away", "Keeping rollups failed (ValueError).", "Keeping rollups failed (KeyError)."
    ]  # fmt: skip


def test_a_user_who_may_not_is_not_asked_again_and_again() -> None:
    """After a refusal it rests for minutes: rights do not change by the second."""
    keeper: Any = _Refusing(StoreRefused("no right"))
    turns = Turns(keeper, every_s=0)
    for _ in range(5):
        turns.turn()
    assert keeper.steps == 1
    assert "no right" in turns.trouble
    assert turns.wait_s() > 500


def test_it_is_cheap_when_nothing_is_new(log: Log, mongodb_uri: str) -> None:
    """An idle look reads two small documents and the end of the seals, and writes nothing."""
    record(1)
    assert run(["seal", "--once"]) == 0
    before = list(log.llm_audit_rollup_states.find())
    with open_log(mongodb_uri, AuditConfig()) as opened:
        keeper = Keeper(opened.seals, opened.rollups)
        keeper.step()
        log.command("profile", 2)
        for _ in range(3):
            assert keeper.step() is None
        log.command("profile", 0)
    asked_for = [entry["op"] for entry in log["system.profile"].find({"ns": {"$ne": ""}})]
    assert len(asked_for) <= 12
    assert set(asked_for) <= {"query", "command"}
    assert list(log.llm_audit_rollup_states.find()) == before
