"""Coming in, staying in and going out, with a real server and a real database."""

from __future__ import annotations

import http.client
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from affidavit.console.auth import secret
from affidavit.console.visitor import Role, Scope
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.demo.mongod import Mongod


@pytest.fixture(scope="module")
def served(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One service for the tests that only look."""
    folder = tmp_path_factory.mktemp("served")
    with (
        fresh_database(mongod.uri) as database,
        serving(
            with_database(mongod.uri, database.name), audit={"spool_dir": str(folder)}
        ) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def _no_brakes(served: Served) -> None:
    """Failures of one test are not held against the next."""
    attempts = served.backend.doorman.attempts
    attempts.__init__()  # type: ignore[misc]


def csrf_of(page: httpx.Response) -> str:
    """The token that a page has for its forms."""
    found = re.search(r'<meta name="csrf" content="([^"]+)"', page.text)
    assert found is not None, page.text[:500]
    return found[1]


@pytest.mark.requirement("R13")
def test_nobody_sees_a_page_without_logging_in(served: Served) -> None:
    """A page leads to the log-in, and back to where one wanted to go."""
    with served.client("") as client:
        answer = client.get("/settings?a=b")
        assert answer.status_code == httpx.codes.SEE_OTHER
        assert answer.headers["location"] == "/login?next=%2Fsettings%3Fa%3Db"
        part = client.get("/settings", headers={"HX-Request": "true"})
        assert part.status_code == httpx.codes.UNAUTHORIZED
        assert part.headers["hx-redirect"].startswith("/login")


@pytest.mark.requirement("R13")
def test_a_program_without_a_token_is_told_what_to_send(served: Served) -> None:
    """Problem+json, and the scheme that is understood."""
    with served.client("") as client:
        answer = client.get("/api/v1/calls")
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        odd = client.get("/api/v1/calls", headers={"Authorization": "Basic dTpw"})
        assert odd.status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.requirement("R13")
def test_a_token_opens_a_session_whose_cookie_no_script_can_read(served: Served) -> None:
    """HttpOnly, SameSite, for this host alone; and the token is not in it."""
    with served.client("") as client:
        answer = client.post("/login", data={"token": served.token, "next": "/settings"})
        assert answer.status_code == httpx.codes.SEE_OTHER
        assert answer.headers["location"] == "/settings"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "domain" not in cookie
        assert served.token.lower() not in cookie
        assert client.get("/settings").status_code == httpx.codes.OK


@pytest.mark.requirement("R13")
def test_what_is_stored_of_tokens_and_sessions_lets_nobody_in(served: Served) -> None:
    """Whoever reads the database finds hashes."""
    with served.browser() as browser:
        cookie = browser.cookies[served.backend.doorman.cookie]
        kept = served.backend.log.location.database.llm_audit_service
        text = repr(list(kept.find()))
        assert served.token.rpartition("_")[2] not in text
        assert cookie not in text
        stored = kept.find_one({"kind": "session", "name": secret.hashed(cookie)})
        assert stored is not None
        browser.cookies.clear()
        browser.cookies.set(served.backend.doorman.cookie, stored["name"])
        assert browser.get("/settings").url.path == "/login"


@pytest.mark.requirement("R13")
def test_a_writers_token_opens_no_session(served: Served) -> None:
    """It may add records, and there is nothing for it to look at."""
    with served.client("") as client:
        answer = client.post("/login", data={"token": served.token_of(Role.WRITER)})
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "set-cookie" not in answer.headers


@pytest.mark.requirement("R13")
def test_logging_out_ends_the_session_for_good(served: Served) -> None:
    """The cookie is of no use afterwards, not even within the seconds that are remembered."""
    with served.browser() as browser:
        page = browser.get("/settings")
        cookie = browser.cookies[served.backend.doorman.cookie]
        left = browser.post("/logout", data={"csrf": csrf_of(page)})
        assert left.url.path == "/login"
        browser.cookies.set(served.backend.doorman.cookie, cookie)
        assert browser.get("/settings").url.path == "/login"


@pytest.mark.requirement("R13")
def test_a_session_ends_when_nobody_uses_it(served: Served) -> None:
    """An hour without use, whatever the cookie says."""
    sessions = served.backend.doorman.sessions
    cookie, session = sessions.open("somebody", Role.VIEWER, Scope(), by="link")
    assert sessions.find(cookie) is not None
    old = datetime.now(UTC) - timedelta(seconds=served.backend.serve.session_idle_s + 1)
    served.backend.service.change("session", session.hash, {"seen_at": old})
    assert sessions.find(cookie) is None


@pytest.mark.requirement("R13")
def test_a_session_ends_at_a_fixed_time_and_with_its_token(served: Served) -> None:
    """Use does not prolong it for ever, and it never outlives the token."""
    doorman = served.backend.doorman
    cookie, session = doorman.sessions.open("somebody", Role.VIEWER, Scope(), by="link")
    assert session.until - session.made_at == timedelta(
        seconds=served.backend.serve.session_longest_s
    )
    soon = datetime.now(UTC) + timedelta(minutes=5)
    _, short = doorman.sessions.open("x", Role.VIEWER, Scope(), by="token:1", until=soon)
    assert short.until == soon
    served.backend.service.change("session", session.hash, {"until": datetime.now(UTC)})
    assert doorman.sessions.find(cookie) is None


@pytest.mark.requirement("R13")
def test_ending_a_token_ends_its_sessions_at_once(served: Served) -> None:
    """An administrator ends it in the settings; the browser is out with its next request."""
    text, token = served.backend.doorman.tokens.make(
        "to be ended", Role.AUDITOR, Scope(), by="the tests", days=1
    )
    with served.browser(text) as theirs, served.browser() as mine:
        assert theirs.get("/settings").status_code == httpx.codes.OK
        page = mine.get("/settings")
        ended = mine.post(f"/settings/tokens/{token.id}/end", data={"csrf": csrf_of(page)})
        assert ended.status_code == httpx.codes.OK
        assert theirs.get("/settings").url.path == "/login"
        with served.client(text) as program:
            assert program.get("/api/v1/calls").status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.requirement("R13")
def test_a_form_without_the_sessions_own_token_changes_nothing(served: Served) -> None:
    """Missing, or of another session."""
    form = {"name": "forged", "role": "admin", "days": "30"}
    with served.browser() as mine, served.browser() as other:
        assert mine.post("/settings/tokens", data=form).status_code == httpx.codes.FORBIDDEN
        theirs = csrf_of(other.get("/settings"))
        forged = mine.post("/settings/tokens", data={**form, "csrf": theirs})
        assert forged.status_code == httpx.codes.FORBIDDEN
        odd: Any = {"X-CSRF-Token": b"\xe9" * 64}
        by_header = mine.post("/settings/tokens", data=form, headers=odd)
        assert by_header.status_code == httpx.codes.FORBIDDEN
    assert not [t for t in served.backend.doorman.tokens.all() if t.name == "forged"]


@pytest.mark.requirement("R13")
def test_a_page_of_another_site_can_not_send_a_form_here(served: Served) -> None:
    """The browser says where it comes from, also for the log-in, which has no session yet."""
    with served.client("") as client:
        for said in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            answer = client.post("/login", data={"token": served.token}, headers=said)
            assert answer.status_code == httpx.codes.FORBIDDEN
            assert "set-cookie" not in answer.headers


@pytest.mark.requirement("R13")
def test_another_name_for_this_machine_is_not_answered(served: Served) -> None:
    """A page elsewhere may have its own name lead to 127.0.0.1."""
    with served.client() as client:
        answer = client.get("/login", headers={"Host": "rebind.evil.example"})
        assert answer.status_code == httpx.codes.MISDIRECTED_REQUEST
        assert client.get("/healthz", headers={"Host": "10.1.2.3"}).status_code == httpx.codes.OK


@pytest.mark.requirement("R13")
def test_guessing_is_braked_by_address(served: Served) -> None:
    """Ten failures, and then one waits, with a form or a token; a known token goes on working."""
    known, unknown = (served.token_of(Role.AUDITOR) for _ in range(2))
    with served.client(known) as program:
        assert program.get("/api/v1/calls").is_success
    with served.client("") as client:
        for _ in range(10):
            wrong = client.post("/login", data={"token": "aff_0000000000_" + "x" * 43})
            assert wrong.status_code == httpx.codes.UNAUTHORIZED
        braked = client.post("/login", data={"token": served.token})
        assert braked.status_code == httpx.codes.TOO_MANY_REQUESTS
        assert int(braked.headers["retry-after"]) > 0
    with served.client(unknown) as program:
        assert program.get("/api/v1/calls").status_code == httpx.codes.TOO_MANY_REQUESTS
    with served.client(known) as program:
        assert program.get("/api/v1/calls").is_success


@pytest.mark.requirement("R13")
def test_every_answer_has_the_headers_that_keep_a_page_to_itself(served: Served) -> None:
    """Pages, errors, files and probes alike; nothing inline, no frames, nothing kept by caches."""
    with served.client() as client:
        for path in ("/login", "/nothing", "/healthz", "/api/v1/calls", "/api/v1/nothing"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert "no-store" in headers["cache-control"]
            assert "server" not in headers


@pytest.mark.requirement("R13")
def test_a_page_has_nothing_inline(served: Served) -> None:
    """No script, style or handler stands in the page itself: the policy would stop it."""
    with served.browser() as browser:
        for path in ("/login", "/settings", "/nothing"):
            page = browser.get(path).text
            assert not re.search(r"<script(?![^>]*\bsrc=)", page)
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)


@pytest.mark.requirement("R13")
def test_a_request_that_is_too_large_is_refused_before_it_is_read(served: Served) -> None:
    """It is enough that it is announced."""
    most = served.backend.serve.max_body_bytes
    with served.client() as client:
        announced = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
        announced.putrequest("POST", "/login")
        announced.putheader("Content-Length", str(most + 1))
        announced.endheaders()
        assert announced.getresponse().status == httpx.codes.REQUEST_ENTITY_TOO_LARGE
        announced.close()


@pytest.mark.requirement("R13")
def test_a_visitor_that_asks_too_often_is_told_to_wait(
    mongodb_uri: str,
) -> None:
    """Each by itself: another one is answered."""
    with serving(mongodb_uri, requests_per_minute=5) as few, few.client() as client:
        codes = [client.get("/settings").status_code for _ in range(7)]
        assert codes.count(httpx.codes.TOO_MANY_REQUESTS) == 2
        with few.client(few.token_of(Role.AUDITOR)) as other:
            assert other.get("/settings").status_code == httpx.codes.OK


@pytest.mark.requirement("R13")
def test_the_first_administrators_link_works_once(mongodb_uri: str) -> None:
    """Looking at it does not use it up; a second use, and every other link, is refused."""
    with serving(mongodb_uri, with_token=False) as fresh:
        bootstrap = fresh.backend.bootstrap
        assert bootstrap.is_needed()
        key, another = bootstrap.make(), bootstrap.make()
        with fresh.client("", follow_redirects=True) as browser:
            assert browser.get("/login/first", params={"key": key}).status_code == httpx.codes.OK
            page = browser.post("/login/first", data={"key": key})
            assert page.url.path == "/settings"
            made = browser.post(
                "/settings/tokens",
                data={"name": "me", "role": "admin", "days": "90", "csrf": csrf_of(page)},
            )
            token = re.search(r"aff_[0-9a-f]{10}_[\w-]{43}", made.text)
            assert token is not None
        assert not bootstrap.is_needed()
        for used in (key, another, ""):
            with fresh.client("") as browser:
                answer = browser.post("/login/first", data={"key": used})
                assert answer.status_code == httpx.codes.UNAUTHORIZED
                assert "set-cookie" not in answer.headers
        with fresh.browser(token[0]) as again:
            assert again.get("/settings").status_code == httpx.codes.OK


@pytest.mark.requirement("R13")
def test_no_first_link_where_an_administrator_has_a_token(mongodb_uri: str) -> None:
    """Made by the command, too; one with limits, of another role, or that ended is none."""
    with serving(mongodb_uri, with_token=False) as fresh:
        bootstrap, tokens = fresh.backend.bootstrap, fresh.backend.doorman.tokens
        fresh.token_of(Role.AUDITOR)
        fresh.token_of(Role.ADMIN, departments=("research",))
        assert bootstrap.is_needed()
        token = tokens.find(fresh.token_of(Role.ADMIN))
        assert token is not None
        assert not bootstrap.is_needed()
        tokens.end(token.id, by="the tests")
        assert bootstrap.is_needed()


@pytest.mark.requirement("R13")
def test_the_first_administrators_link_ends_after_an_hour(mongodb_uri: str) -> None:
    """By its own time, whether the store has removed it or not."""
    with serving(mongodb_uri, with_token=False) as fresh:
        key = fresh.backend.bootstrap.make()
        kept = fresh.backend.service
        kept.change("bootstrap", secret.hashed(key), {"until": datetime.now(UTC)})
        assert not fresh.backend.bootstrap.use(key)


@pytest.mark.requirement("R13")
def test_a_hostile_name_of_a_token_is_refused_or_harmless(served: Served) -> None:
    """Markup is shown as text; what would turn the display round is refused."""
    with served.browser() as browser:
        csrf = csrf_of(browser.get("/settings"))
        form: dict[str, Any] = {"role": "viewer", "days": "1", "csrf": csrf}
        shown = browser.post(
            "/settings/tokens", data={**form, "name": "<script>alert(1)</script>"}
        ).text
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown
        odd = browser.post("/settings/tokens", data={**form, "name": "a\u202eb"})
        assert odd.status_code == httpx.codes.BAD_REQUEST
        kept = browser.post("/settings/tokens", data={**form, "name": "kept", "days": "x"})
        assert kept.status_code == httpx.codes.BAD_REQUEST
        assert 'value="kept"' in kept.text


@pytest.mark.requirement("R13", "R15")
def test_making_and_ending_a_token_is_noted_in_the_ledger(served: Served) -> None:
    """Who gave whom which role, and who took it away."""
    with served.browser() as browser:
        csrf = csrf_of(browser.get("/settings"))
        form = {"name": "noted", "role": "analyst", "days": "7", "csrf": csrf}
        browser.post("/settings/tokens", data={**form, "departments": "trading, risk"})
    ledger = served.backend.log.location.database.llm_audit_ledger
    note = ledger.find_one({"details.command": "token make", "details.filter.name": "noted"})
    assert note is not None
    assert note["actor"]["visitor"] == "the tests' administrator"
    assert note["details"]["filter"]["departments"] == ["trading", "risk"]
