"""The page of costs and providers: every view, its downloads, its scope, and what it keeps safe."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from affidavit.console.costs import VIEWS
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.rooms import HOSTILE, SECRET, Room, furnish
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from affidavit.demo.mongod import Mongod

pytestmark = pytest.mark.requirement("R13", "R14", "R16", "R18")


@pytest.fixture(scope="module")
def room(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Room, Database[dict[str, Any]]]]:
    """One service over one small log, with budgets."""
    folder = tmp_path_factory.mktemp("rooms")
    budgets = {"user": {"ana": "0.005", "*": "100"}, "department": {"research": "1", "sales": "9"}}
    settings = {"spool_dir": str(folder / "served"), "budgets": json.dumps(budgets)}
    with fresh_database(mongod.uri) as database:
        held = furnish(database, folder)
        uri = with_database(mongod.uri, database.name)
        with serving(uri, audit=settings, state_dir=folder / "state") as served:
            yield served, held, database


Given = tuple[Served, Room, "Database[dict[str, Any]]"]


def shown(answer: httpx.Response) -> str:
    """The page's own part, if it is one."""
    assert answer.status_code == httpx.codes.OK, answer.text[:2000]
    return answer.text.partition("<main")[2]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_a_page_and_a_hostile_name_is_only_text(room: Given, view: str) -> None:
    """Markup, escapes and overrides of direction from records do nothing; no content is shown."""
    served, _, _ = room
    more = "&provider_to=openai&model_to=gpt-4o" if view == "what-if" else ""
    with served.client() as client:
        page = shown(client.get(f"/cost?view={view}&last=24h{more}"))
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert SECRET not in page
    assert "style=" not in page
    assert "as of" in page
    assert "cost." not in re.sub(r"(cost\.html|\d+ cost\.)", "", re.sub(r"<[^>]+>", " ", page))


def test_costs_are_listed_with_shares_and_totals(room: Given) -> None:
    """Rows, the total, and where they come from."""
    served, _, _ = room
    with served.client() as client:
        page = shown(client.get("/cost?by=department&last=24h"))
    assert "research" in page
    assert "sales" in page
    assert "From the records" in page
    assert "$0.03" in page  # twelve calls less the two that have no price
    assert re.search(r"2 calls have no price", page)


def test_a_download_is_the_answer_that_was_shown(room: Given) -> None:
    """CSV and JSON have the same rows, whatever was recorded meanwhile; both are noted."""
    served, _, database = room
    with served.client() as client:
        page = shown(client.get("/cost?by=user&last=24h"))
        links = re.findall(r'href="(/cost/answer\.(?:csv|json)\?[^"]+)"', page)
        assert len(links) == 2
        before = database.llm_audit_ledger.count_documents({"event_type": "audit_access"})
        table, plain = (client.get(link.replace("&amp;", "&")) for link in links)
    assert table.headers["content-type"].startswith("text/csv")
    assert "attachment" in table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    told = plain.json()
    assert len(rows) == len(told["rows"]) == 3
    assert {row["cost_usd"] for row in rows} == {row["cost_usd"] for row in told["rows"]}
    assert "\x1b" not in table.text
    assert {row["user"][:3] for row in rows} >= {"ana", "bob"}
    assert told["totals"]["calls"] == 12
    after = database.llm_audit_ledger.count_documents({"event_type": "audit_access"})
    assert after == before + 2


def test_budgets_stand_beside_what_was_spent_and_what_will_be(room: Given) -> None:
    """A budget that is over is said in words, not by colour alone."""
    served, _, _ = room
    with served.client() as client:
        page = shown(client.get("/cost?view=budgets&who=user"))
    assert "Over" in page
    assert "Projected" in page


def test_a_visitor_of_one_department_sees_nothing_of_another(room: Given) -> None:
    """In no view, under no filter, in no download: not a name, not a sum."""
    served, _, _ = room
    token = served.token_of("viewer", departments=("sales",))
    with served.client(token) as client:
        for view in VIEWS:
            page = shown(client.get(f"/cost?view={view}&last=24h&by=department&who=department"))
            assert "research" not in page.replace("research&#39;", "")
            assert "ana" not in re.findall(r"<bdi>(.*?)</bdi>", page)
        page = shown(client.get("/cost?by=user&last=24h&department=research"))
        assert "No calls in this time" in page
        told = client.get("/cost/answer.json?by=user&last=24h").json()
    assert [row["user"] for row in told["rows"]] == ["bob"]
    assert told["totals"]["calls"] == 6
    assert told["asked"]["within"] == {"department": ["sales"]}


def test_each_reading_is_noted_under_the_visitors_name(room: Given) -> None:
    """Who asked what stands in the ledger."""
    served, _, database = room
    token = served.token_of("viewer", name="the finance lead")
    with served.client(token) as client:
        shown(client.get("/cost?by=model&last=24h"))
    noted = database.llm_audit_ledger.find_one(
        {"event_type": "audit_access", "actor.visitor": "the finance lead"}
    )
    assert noted is not None
    assert noted["details"]["filter"]["question"] == "cost"


@pytest.mark.parametrize(
    "query",
    [
        "month=2026-99",
        "since=2026-11-02&until=2026-11-01",
        "view=what-if&provider_to=nobody&model_to=x",
        "last=99999d",
    ],
)
def test_a_question_that_makes_no_sense_is_answered_in_words(room: Given, query: str) -> None:
    """The page says what is wrong and keeps what was typed."""
    served, _, _ = room
    with served.client() as client:
        answer = client.get(f"/cost?{query}")
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "This question cannot be answered." in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("query", ["by[$ne]=1", "department[$gt]=", "by=field:x", "view=../x"])
def test_operators_and_unknown_words_choose_nothing(room: Given, query: str) -> None:
    """They are texts, or left out; nothing breaks."""
    served, _, _ = room
    with served.client() as client:
        answer = client.get(f"/cost?last=24h&{query}")
        assert answer.status_code == httpx.codes.OK
        shown(answer)


def test_a_writer_may_not_see_costs(room: Given) -> None:
    """The right is asked for, on the page and on its downloads."""
    served, _, _ = room
    with served.client(served.token_of("writer")) as client:
        assert client.get("/cost").status_code == httpx.codes.FORBIDDEN
        assert client.get("/cost/answer.csv").status_code == httpx.codes.FORBIDDEN


def test_the_page_speaks_spanish(room: Given) -> None:
    """Words, thousands and money are those of the language that is asked for."""
    served, _, _ = room
    with served.client() as client:
        page = shown(client.get("/cost?last=24h", headers={"Accept-Language": "es"}))
    assert "Llamadas" in page
    assert "US$" in page
    assert HOSTILE not in page
