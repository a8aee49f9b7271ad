"""``affidavit reconcile`` on a real log: what was recorded beside what a provider says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from affidavit.cli import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requirement("R13", "R16")

HEAD = "start_time_iso,num_model_requests,model,input_tokens,output_tokens,project_id\n"


@pytest.fixture
def today(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A log with two calls to OpenAI, one to another provider and one that failed; its day."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    with AuditLogger() as audit:
        for tokens in (100, 50):
            with audit.call(provider="openai", model="gpt-4o-mini-2024-07-18") as call:
                call.complete(input_tokens=tokens, output_tokens=10, cost_usd="0.000021")
        with audit.call(provider="anthropic", model="claude-haiku-4-5") as call:
            call.complete(input_tokens=7, output_tokens=7, cost_usd="0.1")
        with audit.call(provider="openai", model="gpt-4o-mini-2024-07-18") as call:
            call.fail(ValueError("no answer"))
    now = datetime.now(UTC)
    if now + timedelta(seconds=30) > now.replace(hour=23, minute=59, second=59):
        now += timedelta(hours=1)  # the calls are of this day, and so is the export
    return f"{now:%Y-%m-%d}"


def test_an_export_that_agrees_is_clean(today: str, capsys: Any, tmp_path: Path) -> None:
    """Exit code 0, and the comparison is noted in the ledger."""
    line = f"{today}T00:00:00+00:00,2,gpt-4o-mini-2024-07-18,150,20,proj_1\n"
    (tmp_path / "usage.csv").write_text(HEAD + line, "utf-8")
    (tmp_path / "cost.csv").write_text(
        "start_time_iso,amount_value,amount_currency,line_item\n"
        f'{today}T00:00:00+00:00,0.000042,usd,"gpt-4o-mini-2024-07-18, input"\n',
        "utf-8",
    )
    assert run(["reconcile", "--provider", "openai", "usage.csv", "cost.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["clean"]
    assert (found["logged"]["calls"], found["logged"]["cost_usd"]) == (3, "0.000042000")
    assert found["difference"] == {
        "requests": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": "0.000000000",
    }  # fmt: skip
    assert run(["search", "--since", "1h"]) == 0  # and the log is read as before


def test_a_call_past_the_log_is_found(today: str, capsys: Any, tmp_path: Path) -> None:
    """Exit code 1, with the day, the model, and by how much."""
    lines = (
        f"{today}T00:00:00+00:00,2,gpt-4o-mini-2024-07-18,150,20,proj_1\n"
        f"{today}T00:00:00+00:00,1,gpt-5-mini,999,1,proj_2\n"
    )
    (tmp_path / "usage.csv").write_text(HEAD + lines, "utf-8")
    assert run(["reconcile", "--provider", "openai", "usage.csv"]) == 1
    told = capsys.readouterr().out
    assert "gpt-5-mini" in told
    assert "billed, not logged" in told
    assert "1 requests, 999 input and 1 output tokens" in told
    assert (
        run(["reconcile", "--provider", "openai", "usage.csv", "--only", "project_id=proj_1"]) == 0
    )


def test_where_nothing_was_billed_every_logged_call_differs(
    today: str, capsys: Any, tmp_path: Path
) -> None:
    """A project that no row has is named; headings alone bill nothing of the days asked for."""
    line = f"{today}T00:00:00+00:00,2,gpt-4o-mini-2024-07-18,1500,20,proj_1\n"
    (tmp_path / "usage.csv").write_text(HEAD + line, "utf-8")
    asked = ["reconcile", "--provider", "openai"]
    assert run([*asked, "usage.csv", "--only", "project_id=nope"]) == 1
    told = capsys.readouterr()
    assert "logged, not billed" in told.out
    assert "differs  -2 requests, -150 input and -20 output tokens, - USD" in told.out
    assert "No row of usage.csv has project_id=nope" in told.err
    (tmp_path / "usage.csv").write_text(HEAD, "utf-8")
    after = datetime.fromisoformat(today) + timedelta(days=1)
    assert run([*asked, "usage.csv", "--since", today, "--until", f"{after:%Y-%m-%d}"]) == 1
    assert "logged, not billed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--provider", "mistral", "a.csv"], "'mistral' is unknown"),
        (["--provider", "openai", "absent.csv"], "cannot be read"),
        (["--provider", "openai", "a.csv"], "a.csv, line 2, column cost"),
        (["--provider", "openai", "a.csv", "--tolerance", "much"], "no percentage"),
        (["--provider", "openai", "a.csv", "--only", "x"], "no column and value"),
        (["--provider", "openai", "b.csv", "--since", "2026-11-02"], "leave out"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    mongodb_uri: str, capsys: Any, tmp_path: Path, monkeypatch: Any, arguments: Any, told: str
) -> None:
    """Exit code 2 and one line that says what."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("date,cost\n2026-11-01,lots\n", "utf-8")
    (tmp_path / "b.csv").write_text("date,cost\n2026-11-01,1\n", "utf-8")
    assert run(["reconcile", *arguments]) == 2
    assert told in capsys.readouterr().err
