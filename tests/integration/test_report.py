"""``affidavit report`` on a real log: its figures, its pages, its manifest and signature."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from bson.decimal128 import Decimal128

from affidavit import AuditConfig, AuditLogger
from affidavit.cli import run
from affidavit.event import LedgerEvent
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.forensics import MongoForensics
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.setup import ensure
from tests.support.documents import START, Numbered, old_call, old_security

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R37", "R13", "R15", "R18")

HOSTILE = "<script>alert(1)</script>|`x`[a](http://example.com)\x1b[31m\u202e"


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """A log with a month's calls and events, in November 2026, and a retention that keeps them."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    config = AuditConfig(ttl_days=36500)
    ensure(locate(database, config), config, 10)
    records = Numbered()
    documents = [old_call(START + timedelta(days=1)), old_security(START + timedelta(days=1))]
    for day in range(10):
        at = START + timedelta(days=day)
        documents += records.call(at, user_id=f"user_{day % 3}")
        documents += records.call(at, status="failed", user_id=HOSTILE, department=HOSTILE)
        documents.append(
            records.document(
                "security_event", at, user_id="user_1",
                details={"kind": HOSTILE if day else "jailbreak", "severity": "high"},
            )
        )  # fmt: skip
        limit = {"limit_type": "requests"}
        documents.append(
            records.document("rate_limit_exceeded", at, user_id="user_2", details=limit)
        )
    documents += records.call(datetime(2026, 12, 1, tzinfo=UTC))  # of the month after
    documents.append(
        records.document("annotation", START, kind="no_outcome", details={"kind": "no_outcome"})
    )
    database.llm_audit.insert_many(documents)
    return database


def noted(log: Log, event: LedgerEvent, **details: Any) -> None:
    """Add a ledger record of November."""
    Ledger(locate(log, AuditConfig())).record(event, details)
    newest = log.llm_audit_ledger.find_one({"event_type": event.value}, sort=[("_id", -1)])
    assert newest is not None
    log.llm_audit_ledger.update_one({"_id": newest["_id"]}, {"$set": {"timestamp": START}})


class Page(HTMLParser):
    """Reads a page: its tags, its texts, and its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)


def report(capsys: Any, *more: str) -> str:
    """What the command prints for November."""
    capsys.readouterr()
    assert run(["report", "--month", "2026-11", *more]) == 0
    out: str = capsys.readouterr().out
    return out


def test_the_figures_are_those_of_the_questions(log: Log, capsys: Any) -> None:
    """Costs, use, performance, limits, security and losses of one month, exactly."""
    noted(log, LedgerEvent.SPOOL_ADOPTED, writer="w", records={"lost": 3}, ledger={"lost": 1})
    noted(log, LedgerEvent.WRITER_STOP, counters={"lost": 2})
    found = json.loads(report(capsys, "--json"))
    cost = found["answers"]["cost by model"]["totals"]
    assert (cost["calls"], Decimal(cost["cost_usd"])) == (21, 21 * Decimal("0.045"))
    assert found["answers"]["usage by department"]["totals"]["users"] == 4
    assert found["answers"]["performance by model"]["totals"]["failed"] == 10
    assert found["answers"]["limits by user"]["totals"]["hits"] == 10
    assert {row["kind"]: row["events"] for row in found["security"]} == {
        HOSTILE: 9, "jailbreak": 1, "prompt_injection": 1,
    }  # fmt: skip
    assert (found["records_lost"], found["unfinished_calls"]) == (6, 1)
    assert found["integrity"]["verified"] is None


@pytest.mark.requirement("R20", "R21")
def test_the_page_is_self_contained_and_what_users_wrote_is_text(log: Log, capsys: Any) -> None:
    """No script, no address from elsewhere, and hostile names as they are, visibly."""
    noted(log, LedgerEvent.RECORDS_LOST, writer=HOSTILE, count=1)
    html = report(capsys, "--format", "html")
    page = Page()
    page.feed(html)
    assert not {"script", "img", "link", "iframe", "a", "form", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {
        "src", "href", "action",
    }]  # fmt: skip
    assert any("<script>alert(1)</script>" in text for text in page.texts)
    assert "\x1b" not in html
    assert "\u202e" not in html
    for title in ("Costs", "Use", "Performance", "Incidents", "Losses", "Integrity"):
        assert title in page.texts


def test_markdown_keeps_its_tables_whatever_users_wrote(log: Log, capsys: Any) -> None:
    """Each row of a table has the cells of its head, and nothing becomes a link or a tag."""
    text = report(capsys)
    cells = 0
    for line in text.splitlines():
        bars = line.replace("\\|", "").count("|")
        if line.startswith("| ---"):
            cells = bars
        elif line.startswith("|") and cells and bars != cells:
            previous = text.splitlines()[text.splitlines().index(line) + 1]
            assert previous.startswith("| ---"), line  # the head of the next table
    assert "<script>" not in text.replace("\\<", "")
    assert "](http" not in text.replace("\\]", "")
    assert "0.945 USD" in text


def test_a_report_in_a_folder_is_signed_and_can_be_checked(
    log: Log, capsys: Any, tmp_path: Path
) -> None:
    """The key of the log signs the manifest; any byte that changes is noticed."""
    with AuditLogger() as audit, audit.call(provider="p") as call:
        call.complete(text="x")
    assert run(["seal", "--once"]) == 0
    report(capsys, "--format", "html", "--out", "november")
    folder = tmp_path / "november"
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "report.json", "manifest.json", "manifest.note", "log.vkey", "checkpoint",
        "README.txt",
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    vkey = (folder / "log.vkey").read_text().strip()
    assert run(["report", "--check", "november", "--vkey", vkey]) == 0
    assert "signed   by the log's key, as given" in capsys.readouterr().out
    assert run(["report", "--check", "november"]) == 0
    assert "compare it" in capsys.readouterr().out
    (folder / "manifest.note").rename(tmp_path / "note")
    assert run(["report", "--check", "november", "--vkey", vkey]) == 1
    assert "The manifest is not signed" in capsys.readouterr().out
    (tmp_path / "note").rename(folder / "manifest.note")
    (folder / "README.txt").write_text("Trust me.")
    (folder / "report.html").write_text("Nothing was spent.")
    (folder / "extra.html").write_text("Look here instead.")
    assert run(["report", "--check", "november"]) == 1
    told = capsys.readouterr().out
    assert "report.html is not the file" in told
    assert "README.txt is not the file" in told
    assert "extra.html is not named" in told


def test_a_manifest_that_was_made_anew_is_not_signed(log: Log, capsys: Any, tmp_path: Path) -> None:
    """Also with a key of one's own in the folder, for who knows the log's key."""
    from affidavit.integrity.note import Signer, sign_note

    assert run(["seal", "--once"]) == 0
    report(capsys, "--out", "november")
    folder = tmp_path / "november"
    vkey = (folder / "log.vkey").read_text().strip()
    whole = folder.joinpath("manifest.json").read_text().replace("2026-11", "2026-10")
    folder.joinpath("manifest.json").write_text(whole)
    assert run(["report", "--check", "november"]) == 1
    assert "not the one that was signed" in capsys.readouterr().out
    from hashlib import sha256

    other = Signer("affidavit/other")
    (folder / "log.vkey").write_text(other.vkey + "\n")
    digest = sha256((other.vkey + "\n").encode()).hexdigest()
    manifest = json.loads(whole)
    manifest["files"]["log.vkey"]["sha256"] = digest
    whole = json.dumps(manifest)
    folder.joinpath("manifest.json").write_text(whole)
    note = sign_note(f"affidavit report v1\n{sha256(whole.encode()).hexdigest()}\n", other)
    (folder / "manifest.note").write_text(str(note))
    assert run(["report", "--check", "november"]) == 0  # nobody can tell, and it says so
    assert run(["report", "--check", "november", "--vkey", vkey]) == 1
    assert "not signed by the log's key" in capsys.readouterr().out


def test_without_the_key_a_report_is_unsigned_and_says_so(
    log: Log, capsys: Any, tmp_path: Path
) -> None:
    """A host that only reads."""
    assert run(["report", "--month", "2026-11", "--out", "plain"]) == 0
    assert "is not signed" in capsys.readouterr().err
    assert not (tmp_path / "plain" / "manifest.note").exists()
    assert run(["report", "--check", "plain"]) == 0
    assert "nobody can tell who made" in capsys.readouterr().err


def test_a_verification_is_told_and_decides_the_exit_code(
    database: Log, mongodb_uri: str, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing wrong: 0. A record altered: 1, and the report says so at its top."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    with AuditLogger() as audit, audit.call(provider="p") as call:
        call.complete(text="x", cost_usd="0.1")
    assert run(["seal", "--once"]) == 0
    capsys.readouterr()
    assert run(["report", "--month", "this", "--verify"]) == 0
    out = capsys.readouterr().out
    assert "verified, nothing is wrong" in out
    assert "The month is not over" in out
    database.llm_audit.update_one({"event_type": "llm_response"}, {"$set": {"user_id": "other"}})
    assert run(["report", "--month", "this", "--verify"]) == 1
    assert "THE LOG DOES NOT HOLD: 1 altered" in capsys.readouterr().out


def test_each_report_is_noted_in_the_ledger(log: Log, capsys: Any) -> None:
    """Who asked, and for which month."""
    report(capsys)
    (found,) = log.llm_audit_ledger.find({"details.command": "report"})
    assert found["details"]["filter"] == {"month": "2026-11", "format": "md", "verify": False}


def test_more_groups_than_a_report_holds_leave_the_totals(
    log: Log, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report says what is left out, and that it is not whole."""
    import dataclasses

    from affidavit.analytics import questions

    narrow = questions.SumQuestion
    monkeypatch.setattr(
        questions,
        "SumQuestion",
        lambda *given, **named: dataclasses.replace(narrow(*given, **named), limit=1),
    )
    found = json.loads(report(capsys, "--json"))
    assert not found["whole"]
    assert found["answers"]["cost by user"]["totals"]["calls"] == 21
    assert any("cost by user: there are more groups" in text for text in found["missing"])
    assert "more groups" in report(capsys)


def test_budgets_are_held_against_what_was_spent(
    log: Log, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the settings have some, by user or by department."""
    budgets = {"user": {"*": "0.1", "user_1": 5}, "department": {"research": 1}}
    monkeypatch.setenv("AFFIDAVIT_BUDGETS", json.dumps(budgets))
    answers = json.loads(report(capsys, "--json"))["answers"]
    states = {row["user"]: row["state"] for row in answers["budget by user"]["rows"]}
    assert (states["user_0"], states["user_1"]) == ("over", "within")
    rows = {row["department"]: row for row in answers["budget by department"]["rows"]}
    assert Decimal(rows["research"]["budget_usd"]) == 1
    assert "| user\\_0 | 0.1 |" in report(capsys)


def test_a_user_without_a_name_is_not_all(log: Log, capsys: Any) -> None:
    """An empty text is shown as one; "all" are all."""
    log.llm_audit.update_many({"user_id": "user_0"}, {"$set": {"user_id": ""}})
    out = report(capsys)
    assert '| "" |' in out
    section = out.partition("### By user")[2].partition("###")[0]
    assert section.count("| all |") == 1


def test_large_amounts_have_marks_between_their_thousands(log: Log, capsys: Any) -> None:
    """In sentences and in tables, as the counts beside them; no place of an amount is lost."""
    dear = {"response_data.cost_usd": Decimal128("1234567.125")}
    log.llm_audit.update_one({"event_type": "llm_response", "user_id": HOSTILE}, {"$set": dear})
    out = report(capsys)
    assert "cost 1,234,568.025 USD" in out
    assert "| 1,234,568.025 |" in out
    assert "1234568" not in out


def test_an_empty_month_is_a_report_too(log: Log, capsys: Any) -> None:
    """All zero, and no error."""
    capsys.readouterr()
    assert run(["report", "--month", "2020-02"]) == 0
    out = capsys.readouterr().out
    assert "No rate limit was hit" in out
    assert "| calls | 0 |" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--month", "2026-13"], "is no month"),
        (["--month", "yesterday"], "is no month"),
        (["--month", "2099-01"], "has not begun"),
        (["--format", "pdf"], "Use one of md, html"),
        (["--check", "absent"], "is no report"),
        (["--out", "."], "Name a folder that does not exist yet"),
    ],
)
def test_what_cannot_be_made_is_refused(
    log: Log, capsys: Any, arguments: list[str], told: str
) -> None:
    """Exit code 2 and the next step."""
    assert run(["report", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_what_happened_is_counted_by_kind(log: Log) -> None:
    """Ledger records of losses and changes are given; ordinary ones are counted only."""
    noted(log, LedgerEvent.CONFIG_CHANGED, since="w", changed={})
    noted(log, LedgerEvent.WRITER_START)
    noted(log, LedgerEvent.AUDIT_ACCESS, command="search", filter={})
    store = MongoForensics(locate(log, AuditConfig()), AuditConfig())
    found = store.happened(START, START + timedelta(days=1))
    assert found.ledger == {"config_changed": 1, "writer_start": 1, "audit_access": 1}
    assert [record["event_type"] for record in found.notable] == ["config_changed"]
    assert [(command, times) for _, command, times in found.readings] == [("search", 1)]
