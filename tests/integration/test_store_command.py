"""`affidavit store`: indexes and baselines, on a real database."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from affidavit.cli import run
from affidavit.config import AuditConfig
from affidavit.monitor.advice import judge_plans
from affidavit.store import monitor_of, open_log
from affidavit.store.mongo import advising

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

SLOW = {
    "event_type": "security_event",
    "timestamp": datetime(2026, 11, 23, tzinfo=UTC),
    "user_id": None,
}
"""A record of an older logger."""


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """A log with twenty calls, its address in the environment, an empty working directory."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    with AuditLogger(database) as audit:
        for number in range(20):
            with audit.call(provider="anthropic", model="m", user_id=f"u{number % 3}") as call:
                call.complete(text="Sideways.", cost_usd="0.01")
    return database


def shown(capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> Any:
    """What `affidavit store indexes --json` says."""
    capsys.readouterr()
    assert run(["store", "indexes", "--json", *options]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.requirement("R26")
def test_an_index_that_set_up_did_not_make_is_found_unused(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its size, and the commands; the index itself stays."""
    log.llm_audit.create_index("request_data.symbol")
    found = shown(capsys)["advice"]
    [ours] = [each for each in found if each["index"] == "request_data.symbol_1"]
    assert (ours["kind"], ours["sure"]) == ("unused", False)  # watched for a moment only
    assert ours["size_bytes"] > 0
    assert 'dropIndex("request_data.symbol_1")' in ours["commands"][1]
    assert "request_data.symbol_1" in log.llm_audit.index_information()


@pytest.mark.requirement("R26")
def test_a_use_is_seen(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """By the server's own count."""
    log.llm_audit.create_index("request_data.symbol")
    list(log.llm_audit.find({"request_data.symbol": "BTC"}).hint("request_data.symbol_1"))
    told = shown(capsys)
    [index] = [each for each in told["indexes"] if each["name"] == "request_data.symbol_1"]
    assert index["uses"] == 1
    assert "request_data.symbol_1" not in {each["index"] for each in told["advice"]}


@pytest.mark.requirement("R26")
def test_a_slow_question_without_an_index_is_found_by_the_profiler(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fields, and the command that makes an index for them; values are left behind."""
    monkeypatch.setenv("AFFIDAVIT_SLOW_QUERY_THRESHOLD", "1")
    log.command("profile", 2)
    slow = {"conversation_id": "c-9", "$expr": {"$function": {
        "body": "function() { sleep(5); return true; }", "args": [], "lang": "js",
    }}}  # fmt: skip
    log.llm_audit.insert_one({**SLOW, "conversation_id": "c-9"})
    list(log.llm_audit.find(slow).sort("timestamp", -1))
    log.command("profile", 1, slowms=10_000)
    told = shown(capsys, code=1)
    log.command("profile", 0)
    [found] = [each for each in told["advice"] if "conversation_id" in each["index"]]
    assert found["kind"] == "missing"
    assert '"conversation_id": 1, "timestamp": -1' in found["commands"][0]
    assert "c-9" not in json.dumps(found)


@pytest.mark.requirement("R26", "R33")
def test_a_question_that_takes_long_is_stopped_and_its_plan_shown(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at plans must not become the load that it warns of."""
    body = "function() { sleep(500); return true; }"
    slow = {"$expr": {"$function": {"body": body, "args": [], "lang": "js"}}}
    command = {"find": "llm_audit", "filter": slow}
    question = advising.Question("a slow one", command, "llm_audit")
    monkeypatch.setattr(advising, "PLAN_MS", 100)
    monkeypatch.setattr(advising, "questions", lambda _: iter([question]))
    with open_log(log, AuditConfig()) as opened:
        started_s = time.monotonic()
        [plan] = monitor_of(opened).plans(run=True)
    assert time.monotonic() - started_s < 12.0  # 40 records would take 20 s
    assert plan.scans


@pytest.mark.requirement("R26", "R33")
def test_a_question_that_lost_its_index_is_found(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dropped index shows as a collection that is read whole, or as another index."""
    assert shown(capsys, "--accept")["plan_findings"] == []
    log.llm_audit.drop_index("call_id_1")
    log.llm_audit.drop_index("call_id_1_effective_at_1")
    told = shown(capsys, code=1)
    [finding] = [each for each in told["plan_findings"] if each["shape"] == "records of a call"]
    assert finding["kind"] in {"scan", "changed"}
    with open_log(log, AuditConfig()) as opened:
        assert "records of a call" in {each.shape for each in judge_plans(monitor_of(opened))}


@pytest.mark.requirement("R26")
def test_every_question_of_the_read_side_has_an_index(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """None reads a whole collection in a log that is set up."""
    plans = shown(capsys)["plans"]
    assert len(plans) > 15
    assert [plan["shape"] for plan in plans if plan["index"] is None] == []
    assert {"search by cost", "search within a department"} <= {plan["shape"] for plan in plans}


@pytest.mark.requirement("R26")
def test_of_a_log_that_was_just_set_up_no_index_is_called_unused(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """Set-up says of each what it is for, and a moment without a use says nothing."""
    told = shown(capsys)
    assert [each for each in told["advice"] if each["kind"] == "unused"] == []
    assert [each["name"] for each in told["indexes"] if not each["purpose"]] == ["_id_"] * sum(
        each["name"] == "_id_" for each in told["indexes"]
    )


@pytest.mark.requirement("R26")
def test_a_question_without_an_index_is_named_as_what_it_is(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its words, not as an index that somebody could look for."""
    log.llm_audit.drop_index("call_id_1")
    log.llm_audit.drop_index("call_id_1_effective_at_1")
    log.llm_audit.drop_index("timestamp_1")
    log.llm_audit.drop_index("timestamp_-1")
    assert run(["store", "indexes"]) == 1
    printed = capsys.readouterr().out
    assert 'MISSING an index of llm_audit for the question "tail": it reads' in printed
    assert "llm_audit.for:" not in printed


@pytest.mark.requirement("R26")
def test_the_tables_say_what_the_setting_does(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Indexes, questions, advice; and that nothing is done."""
    assert run(["store", "indexes"]) == 0
    printed = capsys.readouterr()
    assert "user_id_1_timestamp_-1" in printed.out
    assert "REDUNDANT llm_audit.timestamp_-1" in printed.out
    assert "index_optimization is true" in printed.out
    assert "profiler is off" in printed.err


@pytest.mark.requirement("R28", "R22")
@pytest.mark.serial
def test_a_baseline_is_measured_kept_compared_and_reported(
    log: Log, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Twice, in collections of its own that are gone afterwards."""
    before = set(log.list_collection_names())
    for label in ("before", "after"):
        assert run(["store", "baseline", "record", "--calls", "100", "--label", label]) == 0
    assert set(log.list_collection_names()) == before
    assert log.llm_audit.count_documents({}) == 40
    capsys.readouterr()
    report = tmp_path / "report.md"
    assert run(["store", "baseline", "compare", "--json", "--out", str(report)]) in {0, 1}
    told = json.loads(capsys.readouterr().out)
    assert (told["then"]["label"], told["now"]["label"]) == ("before", "after")
    [call] = [e for e in told["overhead"] if (e["what"], e["percentile"]) == ("call", 50)]
    assert 0 < call["low_ms"] <= call["high_ms"] < 15
    assert len(told["change"]) == 8
    assert "## What auditing costs" in report.read_text(encoding="utf-8")
    assert run(["store", "baseline", "compare", "--with", "before"]) in {0, 1}
    assert run(["store", "baseline", "compare", "--with", "nothing"]) == 2


@pytest.mark.requirement("R28")
def test_without_a_baseline_there_is_nothing_to_compare(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next step is said."""
    assert run(["store", "baseline", "compare"]) == 2
    assert "baseline record" in capsys.readouterr().err
