"""Two people of one name are two: what each read, asked for and began is told apart by an id."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.console import evidencing
from affidavit.console.jobs import KEPT, Job
from affidavit.console.visitor import Role, Scope
from tests.support.pages import REASON, Pages, furnished

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from affidavit.demo.mongod import Mongod
    from tests.support.servers import GivenServer

pytestmark = pytest.mark.requirement("R13", "R21")

READINGS = "/integrity?view=readings"
LOOKED_FOR = "looked-for-by-a-namesake"


@pytest.fixture(scope="module")
def pages(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    """One service over one small log."""
    with furnished(mongod.uri, tmp_path_factory.mktemp("names")) as found:
        yield found


def auditor(pages: Pages, name: str, department: str = "research") -> str:
    """A token of an auditor who sees one department."""
    return pages.served.token_of(Role.AUDITOR, name=name, departments=(department,))


def told(client: httpx.Client) -> str:
    """Who read what, as one visitor is shown it."""
    answer = client.get(READINGS)
    assert answer.status_code == 200
    return answer.text.partition("<main")[2]


def test_a_namesake_s_readings_are_not_shown(pages: Pages) -> None:
    """Of two limited auditors of one name, each sees their own, by token and by session alike."""
    mine, theirs = auditor(pages, "Eva"), auditor(pages, "Eva", "sales")
    with pages.served.client(theirs) as other:
        assert other.get("/calls", params={"user_id": LOOKED_FOR}).status_code == 200
    with pages.served.client(mine) as client, pages.served.browser(mine) as browser:
        assert client.get("/calls", params={"user_id": "of-eva-herself"}).status_code == 200
        for each in (client, browser):
            assert LOOKED_FOR not in told(each)
            assert "of-eva-herself" in told(each)
    with pages.served.client() as everything:
        assert LOOKED_FOR in told(everything)


def test_a_person_of_an_issuer_is_known_by_it_and_not_by_their_name(pages: Pages) -> None:
    """Names at an issuer can be chosen; each session of one person shows what they read."""
    doorman, scope = pages.served.backend.doorman, Scope(departments=("research",))

    def session(account: str) -> str:
        cookie, _ = doorman.sessions.open(
            "Ida", Role.AUDITOR, scope, by="oidc", account=f"oidc:{account}"
        )
        return cookie

    with pages.served.client("") as client:
        client.cookies.set(doorman.cookie, session("a"))
        assert client.get("/calls", params={"user_id": "read-by-a"}).status_code == 200
    for account, seen in (("a", True), ("b", False)):
        with pages.served.client("") as client:
            client.cookies.set(doorman.cookie, session(account))
            assert ("read-by-a" in told(client)) is seen


def test_readings_of_older_versions_stay_readable(pages: Pages) -> None:
    """Without an account: to whoever sees the whole log; and to the token that they name."""
    token = auditor(pages, "Mia")
    public = token.split("_")[1]
    log = pages.served.backend.log
    older: dict[str, Any] = {"visitor": "Mia", "role": "auditor", "how": "token"}
    log.note_access("api search", {"user_id": "old-with-id"}, 1, {**older, "visitor_id": public})
    log.note_access("api search", {"user_id": "old-of-other"}, 1, {**older, "visitor_id": "0" * 10})
    log.note_access("api search", {"user_id": "oldest-by-name"}, 1, older)
    log.note_access("search", {"user_id": "by-the-command"}, 1)
    with pages.served.client() as everything:
        page = told(everything)
        for each in ("old-with-id", "old-of-other", "oldest-by-name", "by-the-command"):
            assert each in page
        by_name = everything.get(READINGS, params={"who": "Mia"}).text
        assert "oldest-by-name" in everything.get(f"{READINGS}&who=Mia").text, by_name[:200]
    with pages.served.client(token) as client:
        page = told(client)
    assert "old-with-id" in page
    for each in ("old-of-other", "oldest-by-name", "by-the-command"):
        assert each not in page


def test_sessions_of_older_versions_go_on(pages: Pages) -> None:
    """One without an account is its token's, or its own."""
    doorman = pages.served.backend.doorman
    kept = pages.database["llm_audit_service"]
    for by, account in (("token:0123456789", "token:0123456789"), ("oidc", "session:")):
        cookie, session = doorman.sessions.open("Old", Role.VIEWER, Scope(), by=by)
        kept.update_one({"_id": f"session:{session.hash}"}, {"$unset": {"account": 1}})
        found = doorman.sessions.find(cookie)
        assert found is not None
        assert found.account.startswith(account)
        with pages.served.client("") as client:
            client.cookies.set(doorman.cookie, cookie)
            assert client.get("/calls").status_code == 200


def test_a_namesake_takes_no_content_away(pages: Pages) -> None:
    """An export with content is for the account that gave the reason."""
    first, second = auditor(pages, "Lea"), auditor(pages, "Lea")
    with pages.served.client(first) as client, pages.served.browser(first) as browser:
        wanted = {"content": True, "reason": REASON, "filter": {"since": "1h"}}
        path = client.post("/api/v1/exports", json=wanted).headers["Location"]
        until_s = time.monotonic() + 20
        while client.get(path).json()["state"] == "running":
            assert time.monotonic() < until_s
            time.sleep(0.1)
        assert client.get(f"{path}/file").status_code == 200
        assert browser.get(f"{path}/file").status_code == 200, "the same account"
    with pages.served.client(second) as client:
        assert client.get(path).status_code == 200
        assert client.get(f"{path}/file").status_code == 403


def running(pages: Pages, kind: str, by: tuple[str, str], **wanted: Any) -> Job:
    """Work of another process that runs."""
    now = datetime.now(UTC)
    job = Job(kind, f"{time.monotonic_ns():x}", *by, now, wanted, heard_at=now)
    pages.served.backend.service.put(kind, job.name, job.as_document(), now + KEPT)
    return job


def cancelled(pages: Pages, job: Job) -> bool:
    """Whether somebody has asked that it ends."""
    return pages.served.backend.service.get(f"{job.kind} cancelled", job.name) is not None


@pytest.mark.parametrize("written", ["token:{id}", "{id}"], ids=["account", "older"])
def test_a_verification_is_ended_by_who_began_it_or_sees_the_whole_log(
    pages: Pages, written: str
) -> None:
    """Not by another auditor who sees a part, whatever they are called."""
    mine, other = auditor(pages, "Noa"), auditor(pages, "Noa")
    kind, account = evidencing.VERIFICATION, written.format(id=mine.split("_")[1])
    for token, may in ((other, False), (mine, True), (pages.served.token_of(Role.AUDITOR), True)):
        job = running(pages, kind, ("Noa", account))
        with pages.served.client(token) as client:
            answer = client.post(f"/integrity/verify/{job.name}/cancel")
            assert answer.status_code == (303 if may else 403)
            page = client.get(f"/integrity?view=verify&job={job.name}").text
            assert (f'action="/integrity/verify/{job.name}/cancel"' in page) is True
            assert ('class="button small danger"' in page) is may
        assert cancelled(pages, job) is may
        pages.served.backend.service.remove(kind, job.name)


def test_an_export_is_ended_by_who_began_it_or_sees_the_whole_log(pages: Pages) -> None:
    """By the page and over HTTP."""
    mine, other = auditor(pages, "Ute"), auditor(pages, "Ute")
    scope = {"scope": {"departments": ["research"]}}
    for token, may in ((other, False), (mine, True), (pages.served.token_of(Role.AUDITOR), True)):
        job = running(pages, "export", ("Ute", f"token:{mine.split('_')[1]}"), **scope)
        with pages.served.client(token) as client:
            button = f'action="/calls/exports/{job.name}/cancel"'
            assert (button in client.get("/calls/exports").text) is may
            answers = {
                client.post(f"/calls/exports/{job.name}/cancel").status_code,
                client.delete(f"/api/v1/exports/{job.name}").status_code,
            }
        assert answers == ({303, 204} if may else {403})
        assert cancelled(pages, job) is may
        pages.served.backend.service.remove("export", job.name)
