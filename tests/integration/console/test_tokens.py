"""Tokens without a browser: over HTTP, and by the command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.cli import run
from affidavit.console.visitor import Role
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from affidavit.demo.mongod import Mongod

pytestmark = pytest.mark.requirement("R13")

PATH = "/api/v1/tokens"


@pytest.fixture(scope="module")
def served(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One service for all of these."""
    with (
        fresh_database(mongod.uri) as database,
        serving(
            with_database(mongod.uri, database.name),
            audit={"spool_dir": str(tmp_path_factory.mktemp("tokens"))},
        ) as running,
    ):
        yield running


def made(client: httpx.Client, **wanted: Any) -> dict[str, Any]:
    """Make one over HTTP."""
    answer = client.post(PATH, json={"name": "a program", "role": "viewer", **wanted})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def noted(served: Served, command: str) -> list[dict[str, Any]]:
    """What the ledger has of a command, oldest first."""
    ledger = served.backend.log.location.database[served.backend.log.location.names.ledger]
    return list(ledger.find({"details.command": command}).sort("timestamp", 1))


def test_an_administrator_makes_lists_and_ends_tokens_over_http(served: Served) -> None:
    """It works at once, is told once, is in the list without its secret, and ends at once."""
    with served.client() as admin:
        token = made(admin, departments=["research"], days=3)
        assert token["state"] == "works"
        assert (token["departments"], token["tenants"]) == (["research"], None)
        with served.client(token["token"]) as owner:
            assert owner.get("/api/v1/calls").status_code == 200
            listed = admin.get(PATH)
            assert token["id"] in {each["id"] for each in listed.json()["tokens"]}
            assert token["token"] not in listed.text
            assert listed.headers["cache-control"] == "no-store"
            ended = admin.delete(f"{PATH}/{token['id']}")
            assert ended.json()["state"] == "ended"
            assert owner.get("/api/v1/calls").status_code == 401
        again = admin.delete(f"{PATH}/{token['id']}")
        assert (again.status_code, again.json()["title"]) == (404, "Not found")


def test_each_act_is_noted_before_it_is_done(served: Served) -> None:
    """Who made what token with what limits, and who ended it."""
    with served.client() as admin:
        token = made(admin, name="noted one", tenants=["acme"])
        admin.delete(f"{PATH}/{token['id']}")
    making, ending = noted(served, "token make")[-1], noted(served, "token end")[-1]
    assert making["details"]["filter"]["name"] == "noted one"
    assert making["details"]["filter"]["tenants"] == ["acme"]
    assert ending["details"]["filter"]["id"] == token["id"]
    assert {each["actor"]["visitor"] for each in (making, ending)} == {"the tests' administrator"}


@pytest.mark.parametrize("role", [Role.WRITER, Role.VIEWER, Role.ANALYST, Role.AUDITOR])
def test_nobody_but_an_administrator_may(served: Served, role: Role) -> None:
    """Neither list, nor make, nor end."""
    with served.client(served.token_of(role)) as client:
        assert client.get(PATH).status_code == 403
        assert client.post(PATH, json={"name": "x", "role": "admin"}).status_code == 403
        assert client.delete(f"{PATH}/0123456789").status_code == 403


def test_a_limited_administrator_keeps_their_limits_over_http(served: Served) -> None:
    """They make, see and end tokens within what they see, and no other."""
    limited = served.token_of(Role.ADMIN, departments=("research",), name="limited")
    with served.client() as admin, served.client(limited) as client:
        wide = made(admin, name="sees all")
        other = made(admin, name="sees sales", departments=["sales"])
        for limits in ({}, {"departments": ["research", "sales"]}, {"tenants": ["acme"]}):
            wanted = {"name": "from limits", "role": "viewer", **limits}
            assert client.post(PATH, json=wanted).status_code == 400, limits
        own = made(client, name="from limits", departments=["research"])
        listed = {each["id"] for each in client.get(PATH).json()["tokens"]}
        assert own["id"] in listed
        assert not listed & {wide["id"], other["id"]}
        assert client.delete(f"{PATH}/{wide['id']}").status_code == 403
        assert client.delete(f"{PATH}/{own['id']}").status_code == 200


def test_the_page_shows_a_limited_administrator_their_own_scope(served: Served) -> None:
    """Names, sessions and prefixes of those who see more are not theirs to know."""
    narrow = served.token_of(Role.ADMIN, departments=("research",), name="narrow one")
    wide = served.token_of(Role.VIEWER, name="somebody who sees all")
    served.token_of(Role.VIEWER, departments=("sales",), name="somebody of sales")
    inside = served.token_of(Role.VIEWER, departments=("research",), name="somebody of research")
    with served.browser(wide), served.browser(inside), served.browser(narrow) as browser:
        page = browser.get("/settings").text
        assert "somebody of research" in page
        assert "narrow one" in page
        assert "somebody who sees all" not in page
        assert "somebody of sales" not in page
        assert "administrator&#39;s" not in page
        assert served.token.split("_")[1] not in page


@pytest.mark.parametrize("blank", [" ", " , ", ","])
def test_a_field_of_blanks_makes_no_token_without_limits(served: Served, blank: str) -> None:
    """It is refused; a field that is left empty means all, as stands beside it."""
    form = {"name": f"form {blank!r}", "role": "viewer", "days": "1"}
    with served.client() as admin:
        for name in ("departments", "tenants"):
            answer = admin.post("/settings/tokens", data={**form, name: blank})
            assert answer.status_code == 400, answer.text
            assert f"The {name} that were given name none" in answer.text
        assert "Empty: all." in answer.text
        assert form["name"] not in {t["name"] for t in admin.get(PATH).json()["tokens"]}
        empty = {"departments": "", "tenants": ""}
        assert admin.post("/settings/tokens", data={**form, **empty}).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "king"},
        {"days": 0},
        {"days": 367},
        {"name": ""},
        {"name": "\u202eevil"},
        {"departments": []},
        {"departments": [" "]},
        {"departments": ["x" * 501]},
        {"departments": [f"d{n}" for n in range(101)]},
        {"surplus": 1},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_what_can_not_be_a_token_is_refused_in_words(served: Served, wrong: dict[str, Any]) -> None:
    """Each with problem+json, and nothing is made."""
    with served.client() as admin:
        before = len(admin.get(PATH).json()["tokens"])
        answer = admin.post(PATH, json={"name": "x", "role": "viewer", **wrong})
        assert answer.status_code in {400, 422}
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(admin.get(PATH).json()["tokens"]) == before


# -- the command -----------------------------------------------------------------------------------


def command(served: Served, *arguments: str) -> int:
    """Run `affidavit tokens …` on the service's log."""
    return run(["tokens", *arguments, "--uri", served.backend.uri])


def test_the_command_makes_a_token_that_works(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """The secret alone is on standard output; the ledger has who ran it."""
    limits = ("--department", "research", "--department", "sales", "--tenant", "acme")
    asked = ("create", "from a shell", "--role", "analyst", *limits, "--days", "2")
    assert command(served, *asked) == 0
    out, err = capsys.readouterr()
    text = out.strip()
    assert len(out.splitlines()) == 1
    assert "shown this once" in err
    with served.client(text) as client:
        assert client.get("/api/v1/calls").status_code == 200
    token = served.backend.doorman.tokens.find(text)
    assert token is not None
    assert token.role is Role.ANALYST
    assert token.scope.as_document() == {"departments": ["research", "sales"], "tenants": ["acme"]}
    assert round((token.until - token.made_at).total_seconds()) == 2 * 86_400
    note = noted(served, "token make")[-1]
    assert note["details"]["filter"]["name"] == "from a shell"
    assert note["actor"]["os_user"] in token.made_by
    assert "visitor" not in note["actor"]


def test_the_command_lists_and_ends_tokens(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON and as a table; a session that the token opened ends with it."""
    assert command(served, "create", "to be ended", "--role", "viewer", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    with served.browser(made["token"]) as browser:
        assert command(served, "list", "--json") == 0
        listed = capsys.readouterr().out
        assert made["token"] not in listed
        assert made["id"] in {each["id"] for each in json.loads(listed)}
        assert command(served, "revoke", made["prefix"]) == 0
        assert "has ended" in capsys.readouterr().out
        served.backend.doorman.forget_token(made["id"])  # as it does by itself after 5 s
        assert browser.get("/calls").url.path == "/login"
    assert command(served, "list") == 0
    assert made["id"] not in capsys.readouterr().out
    assert command(served, "list", "--all") == 0
    assert made["id"] in capsys.readouterr().out
    assert command(served, "revoke", made["id"]) == 1
    assert "no token of this id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("create", "x", "--role", "king"), "writer, viewer"),
        (("create", "x", "--role", "viewer", "--days", "400"), "1 to 366"),
        (("create", " ", "--role", "viewer"), "A name has"),
        (("create", "x", "--role", "viewer", "--department", ""), "departments that were given"),
        (("create", "x", "--role", "viewer", "--tenant", " "), "tenants that were given"),
    ],
)
def test_the_command_says_what_is_wrong(
    served: Served, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], said: str
) -> None:
    """One line and the exit code of wrong arguments; nothing is made."""
    assert command(served, *asked) == 2
    assert said in capsys.readouterr().err
