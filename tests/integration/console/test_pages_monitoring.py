"""The page of monitoring: metrics, alerts, silences, writers, indexes, and Prometheus' text."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from affidavit import AuditConfig, AuditLogger
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.promtool import promtool
from tests.support.rooms import Room, furnish
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.demo.mongod import Mongod

pytestmark = pytest.mark.requirement("R25")

Given = tuple[Served, Room, "Database[dict[str, Any]]"]


@pytest.fixture(scope="module")
def room(mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """One service over one small log, with a budget that is over."""
    folder = tmp_path_factory.mktemp("watched")
    budgets = json.dumps({"user": {"ana": "0.001"}, "department": {"sales": "0.001"}})
    settings = {"spool_dir": str(folder / "served"), "budgets": budgets}
    with fresh_database(mongod.uri) as database:
        held = furnish(database, folder)
        uri = with_database(mongod.uri, database.name)
        with serving(uri, audit=settings, state_dir=folder / "state") as served:
            look(served)
            yield served, held, database


def look(served: Served) -> None:
    """Let a monitor look twice: samples are kept, and the budgets fire."""
    from affidavit.monitor.configured import monitor_for

    backend = served.backend
    watching = monitor_for(backend.config, backend.log)
    try:
        watching.step()
        watching.step()
    finally:
        watching.close()


def shown(answer: httpx.Response) -> str:
    """The page's own part."""
    assert answer.status_code == httpx.codes.OK, answer.text[:2000]
    return answer.text.partition("<main")[2]


def csrf_of(page: httpx.Response) -> str:
    """The token of a session's forms."""
    found = re.search(r'<meta name="csrf" content="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("view", ["now", "writers", "database", "history"])
def test_every_view_is_a_page(room: Given, view: str) -> None:
    """Nothing is missing, no word is left as its key, no style stands in the page."""
    served, _, _ = room
    with served.client() as client:
        page = shown(client.get(f"/monitoring?view={view}"))
    assert "could not be had" not in page
    assert "style=" not in page
    texts = re.sub(r"<[^>]+>", " ", page)
    assert not re.findall(r"\bmonitoring\.[a-z_.]+", texts)


def test_metrics_and_alerts_are_shown_with_thresholds(room: Given) -> None:
    """The five metrics, and a budget that fires, with whom it is about."""
    served, _, _ = room
    with served.client() as client:
        page = shown(client.get("/monitoring"))
    for name in ("Writes a minute", "Size of the log", "Write latency p95", "Growth a day"):
        assert name in page
    assert "Part of a user" in page
    assert "Firing" in page
    assert "<bdi>ana</bdi>" in page
    assert "warning from" in page


def test_budgets_are_bounded_and_come_by_how_near_to_their_limit_they_are(
    mongod: Mongod | GivenServer, tmp_path: Path
) -> None:
    """Twenty of thirty, the dearest first; all of them on demand; thresholds have units."""
    settings = {"spool_dir": str(tmp_path), "budgets": json.dumps({"user": {"*": "0.1"}})}
    with fresh_database(mongod.uri) as database:
        uri = with_database(mongod.uri, database.name)
        with AuditLogger(uri, AuditConfig(seal="off", **settings)) as audit:
            for number in range(30):
                with audit.call(provider="p", model="m", user_id=f"user-{number:02d}") as call:
                    call.complete(text="", cost_usd=f"{number}.5")
        with (
            serving(uri, audit=settings, state_dir=tmp_path / "state") as served,
            served.browser() as client,
        ):
            look(served)
            page = shown(client.get("/monitoring"))
            part = page.partition('id="budgets"')[2].partition("</section>")[0]
            users = re.findall(r"user-\d\d", part)
            assert users == [f"user-{number:02d}" for number in range(29, 9, -1)]
            assert "30 fire" in page
            assert "Show all 30" in part
            assert "user-" not in page.partition('id="budgets"')[0]
            every = shown(client.get("/monitoring?all=budgets"))
            assert len(set(re.findall(r"user-\d\d", every))) == 30
            assert "any write" in page
            assert "3600" not in page.partition('id="silences"')[0]
            spanish = client.get("/monitoring", headers={"Accept-Language": "es"}).text
            assert "cualquier escritura" in spanish


def test_a_visitor_of_one_department_is_not_told_of_others(room: Given) -> None:
    """Budgets of others, and sums over every department, are left out."""
    served, _, _ = room
    with served.client(served.token_of("viewer", departments=("research",))) as client:
        page = shown(client.get("/monitoring"))
        text = client.get("/metrics").text
    assert "<bdi>ana</bdi>" not in page
    assert "<bdi>sales</bdi>" not in page
    assert "affidavit_cost_last_day_dollars{" not in text
    with served.client(served.token_of("viewer", departments=("sales",))) as client:
        page = shown(client.get("/monitoring"))
    assert "<bdi>sales</bdi>" in page


def test_alerts_are_silenced_with_an_end_and_a_reason_and_ended_early(room: Given) -> None:
    """Both are told to the ledger, under the visitor's name; without a reason nothing is done."""
    served, _, database = room
    with served.browser() as client:
        token = csrf_of(client.get("/monitoring"))
        form = {"csrf": token, "rule": "budget_user", "for": "2h", "subject": "ana", "reason": ""}
        refused = client.post("/monitoring/silences", data=form)
        assert refused.status_code == httpx.codes.BAD_REQUEST
        assert "Give a reason" in refused.text
        assert 'value="ana"' in refused.text  # what was typed is kept
        told = client.post("/monitoring/silences", data={**form, "reason": "a drill <b>"})
        page = shown(told)
        assert "a drill &lt;b&gt;" in page
        noted = database.llm_audit_ledger.find_one({"event_type": "alert_silenced"})
        assert noted is not None
        assert noted["details"]["by"] == "the tests' administrator"
        assert noted["details"]["subject"] == "[withheld]"
        end = re.search(r'action="(/monitoring/silences/\w+/end)"', page)
        assert end is not None
        page = shown(client.post(end[1], data={"csrf": token}))
        assert "Nothing is silenced." in page
        gone = client.post(end[1], data={"csrf": token})
        assert gone.status_code == httpx.codes.BAD_REQUEST


def test_a_silence_needs_the_right_and_the_token_of_the_session(room: Given) -> None:
    """A viewer sees no form and is refused; a form from elsewhere changes nothing."""
    served, _, database = room
    form = {"rule": "*", "for": "2h", "reason": "x"}
    before = database.llm_audit_monitor.count_documents({})
    with served.client(served.token_of("viewer")) as client:
        assert "/monitoring/silences" not in client.get("/monitoring").text
        assert client.post("/monitoring/silences", data=form).status_code == 403
        assert client.post("/monitoring/test").status_code == 403
    with served.browser() as client:
        assert client.post("/monitoring/silences", data=form).status_code == 403
    assert database.llm_audit_monitor.count_documents({}) == before


def test_a_test_is_sent_and_its_end_is_said(room: Given) -> None:
    """Without a target, the page says how to name one."""
    served, _, _ = room
    with served.browser() as client:
        token = csrf_of(client.get("/monitoring"))
        page = shown(client.post("/monitoring/test", data={"csrf": token}))
    assert "Test of delivery" in page


def test_writers_and_sealing_are_told(room: Given) -> None:
    """Who is alive, what is in memory, on disk and lost; who seals and how late."""
    served, _, _ = room
    with served.client() as client:
        page = shown(client.get("/monitoring?view=writers"))
    assert "Sealed leaves" in page
    assert "No anchor is configured" in page
    assert re.search(r"Stopped|Running", page)


def test_indexes_and_what_to_consider_are_shown(room: Given) -> None:
    """Each index with its size and uses; lines to run are shown, and none is run."""
    served, _, _ = room
    with served.client() as client:
        page = shown(client.get("/monitoring?view=database"))
    assert "outcome_costs" in page or "user_id_1_timestamp_-1" in page
    assert "Collections" in page


def test_prometheus_reads_the_metrics_with_a_token(room: Given) -> None:
    """The same text as `affidavit metrics`; nobody without a token."""
    served, _, _ = room
    with served.client(served.token_of("viewer")) as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "audit_writes_per_minute" in answer.text
    assert "main_db_impact_percentage" in answer.text
    with served.client("") as client:
        assert client.get("/metrics").status_code == httpx.codes.UNAUTHORIZED
    with served.client(served.token_of("writer")) as client:
        assert client.get("/metrics").status_code == httpx.codes.FORBIDDEN
    checked = promtool("check", "metrics", text=answer.text)
    assert "error" not in checked.stderr.lower(), checked.stderr


def test_a_dead_database_is_said_and_the_page_recovers_by_itself(
    private_mongod: Mongod, tmp_path: Path
) -> None:
    """Each page answers in words, soon, with nothing from inside; and is whole again afterwards."""
    uri = with_database(private_mongod.uri, "away")
    with (
        serving(uri, audit={"spool_dir": str(tmp_path)}, state_dir=tmp_path) as served,
        served.browser() as client,
    ):
        shown(client.get("/monitoring"))
        private_mongod.kill()
        for path in ("/monitoring", "/integrity", "/cost", "/integrity?view=readings"):
            began_s = time.monotonic()
            answer = client.get(path)
            assert time.monotonic() - began_s < 15
            allowed = {httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE}
            assert answer.status_code in allowed, (path, answer.text)
            assert "Traceback" not in answer.text
            said = ("does not answer", "has not answered", "away")
            assert any(text in answer.text for text in said), (path, answer.text)
        private_mongod.restart()
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s:
            answer = client.get("/monitoring")
            if answer.status_code == httpx.codes.OK and "could not be had" not in answer.text:
                return
            time.sleep(0.5)
    raise AssertionError(answer.text[:2000])
