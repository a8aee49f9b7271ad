"""Reading over HTTP: what is found, who may see what, and what is noted before it is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.analytics.facade import Analytics
from affidavit.store import open_log
from tests.conftest import with_database
from tests.support.api import SECRET, Api, call, ready
from tests.support.servers import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

pytestmark = pytest.mark.requirement("R13", "R20")

CALLS = "/api/v1/calls"
WHY = {"X-Access-Reason": "ticket 4711"}


@pytest.fixture(scope="module")
def api(mongod: Any) -> Iterator[Api]:
    """The service over some calls of two departments and two tenants."""
    with (
        fresh_database(mongod.uri) as database,
        ready(with_database(mongod.uri, database.name)) as api,
    ):
        documents = [
            call(
                _id=f"{number:024x}",
                department=("research", "sales")[number % 2],
                tenant=("one", "two")[number // 2 % 2],
                session_id=f"s{number % 3}",
                fields={"symbol": ("ABC", "XYZ")[number % 2], "try": number},
                latency_ms=100.0 * number,
                answer=None
                if number == 5
                else {
                    "text": f"answer {number} {SECRET}",
                    "cost_usd": f"0.0{number}",
                    "input_tokens": number,
                    "output_tokens": 1,
                    "finish_reason": "stop",
                },
                error={"type": "Timeout", "message": SECRET} if number == 5 else None,
            )
            for number in range(1, 9)
        ]
        assert api.as_().post("/api/v1/records", json=documents).status_code == 201
        yield api


def found(client: httpx.Client, **query: Any) -> set[int]:
    """The numbers of the calls that a search finds."""
    answer = client.get(CALLS, params=query)
    assert answer.status_code == 200, answer.text
    return {int(row["call_id"], 16) for row in answer.json()["rows"]}


def notes(api: Api) -> list[dict[str, Any]]:
    """Who read what, newest first."""
    location = api.backend.log.location
    ledger = location.database[location.names.ledger]
    return list(ledger.find({"event_type": "audit_access"}).sort("_id", -1))


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"department": "sales"}, {1, 3, 5, 7}),
        ({"tenant": "two", "department": "research"}, {2, 6}),
        ({"session_id": "s1"}, {1, 4, 7}),
        ({"field:symbol": "XYZ", "tenant": "one"}, {1, 5}),
        ({"field:try": "7"}, {7}),
        ({"error_type": "Timeout"}, {5}),
        ({"finish_reason": "stop", "department": "sales"}, {1, 3, 7}),
        ({"cost_min_usd": "0.03", "cost_max_usd": "0.06"}, {3, 4, 6}),
        ({"latency_min_ms": "600"}, {6, 7, 8}),
        ({"tokens_max": "3"}, {1, 2}),
        ({"status": "failed"}, {5}),
        ({"text": "ANSWER 7"}, {7}),
        ({"text": "answer", "cost_min_usd": "0.07"}, {7, 8}),
        ({"since": "1h", "until": "2h"}, None),
        ({"user_id": "nobody"}, set()),
        ({"user_id": '{"$ne": null}'}, set()),
        ({"text": "(a+)+$"}, set()),
    ],
)
def test_a_search_finds_what_was_asked(
    api: Api, query: dict[str, str], numbers: set[int] | None
) -> None:
    """Every dimension, ranges, fields of one's own, texts; operators and patterns are only text."""
    if numbers is None:
        assert api.as_().get(CALLS, params=query).status_code == 400
    else:
        assert found(api.as_(), **query) == numbers


def test_pages_show_every_call_once(api: Api) -> None:
    """By the cursor of the page before."""
    client, shown, cursor = api.as_(), [], None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = client.get(CALLS, params=query).json()
        shown += [int(row["call_id"], 16) for row in page["rows"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(shown) == list(range(1, 9))


def test_rows_hold_no_content_unless_a_reason_is_given(api: Api) -> None:
    """Nor does a single call; with a reason they do."""
    for address in (CALLS, f"{CALLS}/{5:024x}", f"{CALLS}/{7:024x}"):
        client = api.as_("analyst")
        plain = client.get(address)
        assert SECRET not in plain.text
        assert "ABC" not in plain.text
        bare = client.get(address, params={"content": "true"})
        assert bare.status_code == 400
        assert SECRET not in bare.text
        told = client.get(address, params={"content": "true"}, headers=WHY)
        assert SECRET in told.text


def test_a_viewer_gets_content_by_no_way(api: Api) -> None:
    """Not by asking, by a text, by proof, bundle or export, nor in an error."""
    viewer = api.as_("viewer")
    for address, query in (
        (CALLS, {"content": "true"}),
        (CALLS, {"text": "answer"}),
        (f"{CALLS}/{5:024x}", {"content": "true"}),
        (f"{CALLS}/{5:024x}/proof", {}),
        (f"{CALLS}/{5:024x}/bundle", {}),
        ("/api/v1/exports", {}),
        ("/api/v1/log/checkpoint", {}),
    ):
        answer = viewer.get(address, params=query, headers=WHY)
        assert answer.status_code == 403, address
        assert SECRET not in answer.text
    assert viewer.post("/api/v1/exports", json={}).status_code == 403
    assert SECRET not in viewer.get(CALLS).text


def test_a_scope_is_not_widened_by_any_parameter(api: Api) -> None:
    """What lies outside is not found, and a call outside is not there at all."""
    sales = api.as_("auditor", departments=("sales",), tenants=("one",))
    assert found(sales) == {1, 5}
    assert found(sales, department="research") == set()
    assert found(sales, text="answer") == {1}
    assert sales.get(f"{CALLS}/{2:024x}").status_code == 404
    assert sales.get(f"{CALLS}/{2:024x}").json() == sales.get(f"{CALLS}/{99:024x}").json()
    assert sales.get(f"{CALLS}/{2:024x}/proof").status_code == 404
    assert sales.get(f"{CALLS}/{2:024x}/bundle", headers=WHY).status_code == 404
    assert sales.get(f"{CALLS}/{1:024x}").status_code == 200
    page = api.as_().get(CALLS, params={"limit": 2}).json()
    assert found(sales, cursor=page["next"]) <= {1, 5}
    assert found(api.as_("viewer", departments=())) == set()


def test_a_reading_is_noted_before_it_is_given_out(api: Api) -> None:
    """Who, what, why, and how many."""
    client = api.as_("analyst")
    client.get(f"{CALLS}/{3:024x}", params={"content": "true"}, headers=WHY)
    newest = notes(api)[0]
    details = newest["details"]
    assert details["command"] == "api call"
    assert details["filter"]["call_id"] == f"{3:024x}"
    assert details["filter"]["reason"] == "ticket 4711"
    assert details["count"] == 1
    assert "a analyst" in json.dumps(newest, default=str)


@pytest.mark.parametrize(
    "address",
    [
        f"{CALLS}?user_id[$ne]=x",
        f"{CALLS}?limit=0",
        f"{CALLS}?limit=100000",
        f"{CALLS}?cursor=xxxx",
        f"{CALLS}?content=maybe",
        f"{CALLS}?nonsense=1",
        "/api/v1/analytics/cost?by=nonsense",
        "/api/v1/analytics/cost?where=department",
        "/api/v1/analytics/cost?without=",
        "/api/v1/analytics/cost?without=department=x",
        "/api/v1/analytics/cost?without=nonsense",
        "/api/v1/analytics/cost?without=user&where=user=x",
        "/api/v1/analytics/cost?without=user&without=user",
        "/api/v1/analytics/cost?" + "&".join(["without=user"] * 17),
        "/api/v1/analytics/budget?without=user",
        "/api/v1/analytics/cost?last=1y",
        "/api/v1/analytics/cost?where=$where=1",
        "/api/v1/analytics/budget?by=model",
        "/api/v1/analytics/what_if",
        "/api/v1/alerts/history?since=nonsense",
    ],
)
def test_a_question_that_makes_no_sense_is_told_how(api: Api, address: str) -> None:
    """400 with problem+json."""
    answer = api.as_().get(address)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/calls/..%2f..%2fetc%2fpasswd",
        "/api/v1/log/tile/0/../../../etc/passwd",
        "/api/v1/log/tile/0/%2e%2e/000",
        "/api/v1/log/tile//etc/passwd",
        "/api/v1/log/tile/0/x001",
        "/api/v1/log/tile/9999/000",
        "/api/v1/exports/..%2f..%2fspool",
        "/api/v1/exports/0123456789abcdef/file",
        "/api/v1/calls/%00",
    ],
)
def test_a_path_leads_nowhere_else(api: Api, path: str) -> None:
    """No file is given out by its name."""
    answer = api.as_().get(path)
    assert answer.status_code in {400, 404, 409, 422}, answer.text
    assert "root:" not in answer.text


def test_answers_are_those_of_the_command(api: Api) -> None:
    """The same question by the library gives the same figures."""
    with open_log(api.backend.uri, api.backend.config) as log:
        asked = Analytics(lambda: log)
        same = asked.cost(("department",), last="24h", where={"tenant": "one"}).as_dict()
    given = api.as_().get(
        "/api/v1/analytics/cost",
        params={"by": "department", "last": "24h", "where": "tenant=one"},
    )
    told = given.json()
    assert (told["rows"], told["totals"]) == (same["rows"], same["totals"])
    assert isinstance(told["totals"]["cost_usd"], str)
    with open_log(api.backend.uri, api.backend.config) as log:
        where = {"conversation": None, "session": None}
        same = Analytics(lambda: log).cost(("department",), last="24h", where=where).as_dict()
    params = {"by": "department", "last": "24h", "without": ["conversation", "session"]}
    told = api.as_().get("/api/v1/analytics/cost", params=params).json()
    assert (told["rows"], told["totals"]) == (same["rows"], same["totals"])


@pytest.mark.parametrize(
    "question",
    ["cost", "calls", "usage", "people", "limits", "performance", "providers", "budget"],
)
def test_every_question_is_kept_to_the_scope(api: Api, question: str) -> None:
    """Nothing of another department is counted."""
    one = api.as_("viewer", departments=("sales",))
    told = one.get(f"/api/v1/analytics/{question}")
    assert told.status_code == 200, told.text
    whole = json.dumps({name: told.json()[name] for name in ("rows", "totals")})
    assert "research" not in whole
    if question == "cost":
        assert told.json()["totals"]["calls"] == 4


def test_alerts_are_listed_silenced_and_tested(api: Api) -> None:
    """A silence is made, listed, ended; only who may, may."""
    client = api.as_()
    rules = {row["rule"] for row in client.get("/api/v1/alerts").json()["alerts"]}
    assert {"daily_requests", "audit_collection_size"} <= rules
    made = client.post(
        "/api/v1/alerts/silences", json={"rule": "*", "for_s": 60, "reason": "a test"}
    )
    assert made.status_code == 201
    listed = client.get("/api/v1/alerts").json()["silences"]
    assert [each["name"] for each in listed] == [made.json()["name"]]
    assert client.delete(f"/api/v1/alerts/silences/{made.json()['name']}").status_code == 200
    assert client.delete(f"/api/v1/alerts/silences/{made.json()['name']}").status_code == 404
    wrong = client.post("/api/v1/alerts/silences", json={"rule": "nonsense", "for_s": 60})
    assert wrong.status_code == 400
    assert client.post("/api/v1/alerts/test").json() == {
        "targets": [{"target": "log", "failure": None}]
    }
    assert client.get("/api/v1/alerts/history").json() == {"history": []}
    for role in ("viewer", "auditor"):
        assert api.as_(role).post("/api/v1/alerts/test").status_code == 403


def test_a_target_of_alerts_comes_from_nobody_who_asks(api: Api) -> None:
    """No route takes an address that the service would then ask: there is nothing to forge."""
    described = json.dumps(api.as_().get("/api/v1/openapi.json").json())
    for name in ("url", "webhook", "callback", "href"):
        assert f'"name": "{name}"' not in described
    answer = api.as_().post("/api/v1/alerts/test", json={"url": "http://169.254.169.254/"})
    assert answer.json() == {"targets": [{"target": "log", "failure": None}]}
