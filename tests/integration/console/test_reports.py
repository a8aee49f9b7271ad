"""Monthly reports of the service: made once by the clock, on demand, read, and checked outside."""

from __future__ import annotations

import io
import os
import time
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from affidavit import AuditConfig
from affidavit.cli import run
from affidavit.console import reporting
from affidavit.console.roles import Right, may
from affidavit.console.visitor import Role
from affidavit.errors import StoreRefused
from affidavit.store import open_log, service_of
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.rooms import HOSTILE, furnish
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.demo.mongod import Mongod

    Given = tuple[Served, str, Database[dict[str, Any]]]

pytestmark = pytest.mark.requirement("R37", "R21")


@pytest.fixture
def log(mongod: Mongod | GivenServer, tmp_path: Path) -> Iterator[Given]:
    """A service over a small sealed log of its own."""
    with fresh_database(mongod.uri) as database:
        furnish(database, tmp_path)
        uri = with_database(mongod.uri, database.name)
        settings = {"spool_dir": str(tmp_path / "served")}
        with serving(uri, audit=settings, state_dir=tmp_path / "state") as served:
            yield served, uri, database


def next_month(hours: float = 7) -> datetime:
    """A time so many hours after this month has ended (UTC)."""
    first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1) + timedelta(hours=hours)


def this_month() -> str:
    """Its name."""
    return f"{datetime.now(UTC):%Y-%m}"


def made_by_clock(uri: str, now: datetime, holder: str = "one") -> str | None:
    """What the clock does in one of the instances."""
    config = AuditConfig()
    with open_log(uri, config) as opened:
        return reporting.make_due(opened, config, service_of(opened), holder, now)


def got(served: Served, path: str, token: str | None = None) -> httpx.Response:
    """What the service answers."""
    with served.client(token) as client:
        return client.get(path)


def test_the_clock_makes_a_months_report_once(log: Given) -> None:
    """Not before spools had their time; then one, whoever looks again."""
    served, uri, database = log
    assert made_by_clock(uri, next_month(hours=5)) is None, "spools had no time"
    assert made_by_clock(uri, next_month()) == this_month()
    assert made_by_clock(uri, next_month(hours=30), "two") is None
    (one,) = got(served, "/api/v1/reports").json()["reports"]
    assert (one["name"], one["by"], one["whole"]) == (this_month(), reporting.CLOCK, True)
    noted = database.llm_audit_ledger.find_one({"details.command": "report"})
    assert noted is not None
    assert noted["details"]["filter"]["month"] == this_month()


def test_while_another_instance_makes_it_nobody_else_does(log: Given) -> None:
    """Its lease holds; when it has died, another goes on."""
    served, uri, _ = log
    service = served.backend.service
    assert service.take("monthly report", "another", 2.0)
    assert made_by_clock(uri, next_month()) is None
    time.sleep(2.1)
    assert made_by_clock(uri, next_month()) == this_month()


def test_two_that_were_equally_quick_keep_one(log: Given) -> None:
    """The second is refused, and nothing of it is left."""
    _, uri, database = log
    assert made_by_clock(uri, next_month()) == this_month()
    before = database.llm_audit_service.count_documents({"kind": "report body"})
    config = AuditConfig()
    with open_log(uri, config) as opened:
        document = reporting.made(opened, config, this_month(), {"visitor": "x"}, next_month())
        with pytest.raises(StoreRefused, match="quicker"):
            reporting.keep(service_of(opened), this_month(), document)
    assert database.llm_audit_service.count_documents({"kind": "report body"}) == before == 1


def test_a_log_without_records_gets_no_report(mongodb_uri: str) -> None:
    """There is nothing to say before the first call."""
    with serving(mongodb_uri) as served:
        assert served.backend.service.all(reporting.KIND) == []
        assert made_by_clock(mongodb_uri, next_month()) is None


def test_a_report_on_demand_is_read_taken_along_and_checked(
    log: Given, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun by a form, shown as a page, its files as the command checks them; readings noted."""
    served, _, database = log
    with served.browser() as browser:
        page = browser.get("/reports")
        assert "No report yet" in page.text
        csrf = page.text.partition('name="csrf" content="')[2].partition('"')[0]
        answer = browser.post("/reports", data={"month": "this", "csrf": csrf})
        assert answer.is_success, answer.text[:500]
        until_s = time.monotonic() + 30
        while 'href="/reports/20' not in (page := browser.get("/reports")).text:
            assert time.monotonic() < until_s, page.text
            time.sleep(0.1)
        path = page.text.partition('href="/reports/20')[2].partition('"')[0]
        shown = browser.get(f"/reports/20{path}")
        assert "By provider and model" in shown.text
        assert "The month is not over" in shown.text
        assert HOSTILE not in shown.text, "what users wrote is text"
        given = browser.get(f"/reports/20{path}/file")
    with zipfile.ZipFile(io.BytesIO(given.content)) as packed:
        packed.extractall(tmp_path / "taken")
    (folder,) = (tmp_path / "taken").iterdir()
    names = {each.name for each in folder.iterdir()}
    assert {"report.html", "report.md", "report.json", "manifest.json"} <= names
    monkeypatch.chdir(tmp_path)
    assert run(["report", "--check", str(folder)]) == 0
    assert "The files are those that were written" in capsys.readouterr().out
    readings = list(database.llm_audit_ledger.find({"details.command": "report"}))
    assert len(readings) == 3, "made, read, taken along"


def test_where_the_logs_key_is_a_report_is_signed(mongodb_uri: str, tmp_path: Path) -> None:
    """By the sealer's key of this host."""
    with serving(mongodb_uri, schedules=True, state_dir=tmp_path) as served:
        with served.backend.audit.call(provider="p", message="hello") as call:
            call.complete(text="answer")
        until_s = time.monotonic() + 60
        while served.backend.log.seals.last_seal() is None:
            assert time.monotonic() < until_s
            time.sleep(0.2)
        with served.client() as client:
            begun = client.post("/api/v1/reports", json={"month": "this"})
        assert begun.status_code == httpx.codes.ACCEPTED, begun.text
        while (job := got(served, begun.headers["Location"]).json())["state"] == "running":
            assert time.monotonic() < until_s
            time.sleep(0.2)
        assert job["state"] == "done"
        assert got(served, f"/api/v1/reports/{job['report']}").json()["signed"]


@pytest.mark.requirement("R20")
def test_who_sees_a_part_sees_no_report(log: Given) -> None:
    """A report is of the whole log."""
    served, uri, _ = log
    assert made_by_clock(uri, next_month()) == this_month()
    for role in Role:
        whole, part = served.token_of(role), served.token_of(role, departments=("trading",))
        path = f"/api/v1/reports/{this_month()}"
        expected = httpx.codes.OK if may(role, Right.INTEGRITY) else httpx.codes.FORBIDDEN
        for each in ("/api/v1/reports", path, f"{path}/file"):
            assert got(served, each, whole).status_code == expected, (role, each)
            assert got(served, each, part).status_code == httpx.codes.FORBIDDEN


@pytest.mark.parametrize("month", ["2026-13", "yesterday", "", "9999-99", "$where"])
def test_a_month_that_is_none_is_refused(log: Given, month: str) -> None:
    """With what to write instead, and nothing begun."""
    served, _, _ = log
    with served.client() as client:
        answer = client.post("/api/v1/reports", json={"month": month})
    assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
    assert "is no month" in answer.json()["detail"]
    assert got(served, "/api/v1/reports/2020-01").status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize(
    ("month", "told"), [("2099-01", "has not begun"), ("1999-01", "no record")]
)
def test_a_month_without_anything_gets_no_report(log: Given, month: str, told: str) -> None:
    """One that has not begun, and one from before the log: no signed paper about nothing."""
    served, _, _ = log
    with served.client() as client:
        answer = client.post("/api/v1/reports", json={"month": month})
    assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
    assert told in answer.json()["detail"]


def test_a_months_report_tells_what_the_verification_beside_sealing_found(log: Given) -> None:
    """An outcome with damage stands at the top, though nobody asked for a verification."""
    served, uri, _ = log
    seals = served.backend.log.seals
    now = datetime.now(UTC)
    seals.add_receipt({
        "_id": f"verified:{int(now.timestamp() * 1000):015d}", "at": now, "found": {"altered": 2},
        "first": "record x is altered", "by": {"host": os.uname().nodename},
    })  # fmt: skip
    assert made_by_clock(uri, next_month()) == this_month()
    told = got(served, f"/api/v1/reports/{this_month()}").json()["sections"]
    (summary,) = (each for each in told if each["title"] == "Summary")
    rows = dict(summary["tables"][0]["rows"])
    assert "THE LOG DOES NOT HOLD" in rows["integrity"]
    assert "2 altered" in rows["integrity"]
