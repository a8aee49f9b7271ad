"""What somebody found who tried to break the service; each stays mended."""

from __future__ import annotations

import io
import time
import zipfile
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.console.config import ServeConfig
from affidavit.console.listen import listening
from affidavit.errors import ConfigError
from tests.support.pages import REASON, Pages, furnished
from tests.support.rooms import sealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from affidavit.demo.mongod import Mongod
    from tests.support.servers import GivenServer

pytestmark = pytest.mark.requirement("R13")

THEIRS = "what another department noted and nobody else may read"


@pytest.fixture(scope="module")
def pages(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    """One service over one small log."""
    with furnished(mongod.uri, tmp_path_factory.mktemp("broken")) as found:
        yield found


def record(pages: Pages, *documents: dict[str, Any]) -> None:
    """Record some documents as an application without limits does."""
    with pages.served.client(pages.served.token_of("writer")) as client:
        answer = client.post("/api/v1/records", json=list(documents))
    assert answer.status_code == 201, answer.text


def sealed_wholly(pages: Pages, call_id: str) -> None:
    """Seal until every record of a call is proved; its writer closes a batch about every second."""
    until_s = time.monotonic() + 30
    with pages.served.client() as client:
        while True:
            sealed(pages.database, pages.key)
            found = client.get(f"/api/v1/calls/{call_id}/proof").json()
            if found["records"] and not found["left_out"]:
                return
            assert time.monotonic() < until_s, found
            time.sleep(0.2)


def auditor_of(pages: Pages, department: str) -> httpx.Client:
    """An auditor who sees one department."""
    return pages.served.client(pages.served.token_of("auditor", departments=(department,)))


def said_in(packed: bytes) -> bytes:
    """Everything in a zip file."""
    with zipfile.ZipFile(io.BytesIO(packed)) as inside:
        return b"\n".join(inside.read(name) for name in inside.namelist())


def _annotation(call_id: str, **more: Any) -> dict[str, Any]:
    about = {"type": "annotation", "call_id": call_id, "kind": "review", "name": "looked at"}
    return {**about, **more}


def evidence_of(client: httpx.Client, call_id: str) -> list[httpx.Response]:
    """The evidence of a call by each of the three ways to it."""
    form = {"reason": REASON, "call_id": call_id}
    return [
        client.get(f"/api/v1/calls/{call_id}/bundle", headers={"X-Access-Reason": REASON}),
        client.post(f"/calls/{call_id}/evidence", data=form),
        client.post("/integrity/bundle", data=form),
    ]


def test_evidence_holds_no_record_of_another_department(pages: Pages) -> None:
    """A call that is one's own may have a note of others; it is left out of files and proofs."""
    call_id = token_hex(12)
    call = {"type": "call", "_id": call_id, "provider": "openai", "message": "mine"}
    theirs = _annotation(call_id, department="sales", note=THEIRS)
    record(pages, {**call, "department": "research"}, theirs, _annotation(call_id, note="bare"))
    sealed_wholly(pages, call_id)
    with auditor_of(pages, "research") as client:
        for answer in evidence_of(client, call_id):
            assert answer.status_code == 200, answer.text[:500]
            said = said_in(answer.content)
            assert b"mine" in said
            assert b"bare" in said
            assert THEIRS.encode() not in said
        proof = client.get(f"/api/v1/calls/{call_id}/proof").json()
    assert len(proof["records"]) == 3
    with pages.served.client() as client:
        for answer in evidence_of(client, call_id):
            assert THEIRS.encode() in said_in(answer.content)


def test_a_note_of_one_s_own_opens_no_answer_of_others(pages: Pages) -> None:
    """Of an outcome without an intent, a note by another department gives only the note."""
    call_id = token_hex(12)
    outcome = {"type": "outcome", "call_id": call_id, "provider": "openai", "department": "sales"}
    record(
        pages,
        {**outcome, "answer": {"text": THEIRS}},
        _annotation(call_id, department="research", note="ours"),
    )
    sealed_wholly(pages, call_id)
    with auditor_of(pages, "research") as client:
        for answer in evidence_of(client, call_id):
            if answer.status_code == 200:
                assert THEIRS.encode() not in said_in(answer.content)


def test_records_that_name_each_other_in_a_ring_lead_nowhere(pages: Pages) -> None:
    """A record that is about itself, or about one that is about it, is shown and ends there."""
    alone, one, other = token_hex(12), token_hex(12), token_hex(12)
    record(pages, _annotation(alone, _id=alone))
    record(pages, _annotation(other, _id=one), _annotation(one, _id=other))
    with pages.served.client() as client:
        for call_id in (alone, one, other):
            for path in (f"/api/v1/calls/{call_id}", f"/calls/{call_id}"):
                assert client.get(path).status_code == 200, path


def test_an_administrator_with_limits_gives_nobody_more(pages: Pages) -> None:
    """A token that they make sees what they see, and they end nobody who sees more."""
    token = pages.served.token_of("admin", departments=("research",))
    wide = pages.served.backend.doorman.tokens.find(pages.served.token)
    assert wide is not None
    form = {"name": "made with limits", "role": "admin", "days": "1"}
    with pages.served.client(token) as client:
        for more in ({}, {"departments": "research, sales"}, {"tenants": "acme"}):
            answer = client.post("/settings/tokens", data={**form, **more})
            assert answer.status_code == 400, more
        kept = client.post("/settings/tokens", data={**form, "departments": "research"})
        assert kept.status_code == 200
        assert client.post(f"/settings/tokens/{wide.id}/end").status_code == 403
    with pages.served.browser() as browser:
        assert browser.get("/settings").status_code == 200
        (session, *_) = pages.served.backend.doorman.sessions.all()
        with pages.served.client(token) as client:
            assert client.post(f"/settings/sessions/{session.id}/end").status_code == 403


def test_who_sees_a_part_of_the_log_silences_only_its_own_budgets(pages: Pages) -> None:
    """An alert about the whole log is told to everybody, and its silence is not theirs to end."""
    token = pages.served.token_of("admin", departments=("research",))
    asked = {"for_s": 3600, "reason": "night work"}
    with pages.served.client() as anyone:
        made = anyone.post("/api/v1/alerts/silences", json={"rule": "records_lost", **asked})
        assert made.status_code == 201
        name = made.json()["name"]
    with pages.served.client(token) as client:
        for wanted in (
            {"rule": "*"},
            {"rule": "records_lost"},
            {"rule": "budget_department"},
            {"rule": "budget_department", "subject": "trading"},
            {"rule": "budget_user", "subject": "research"},
        ):
            answer = client.post("/api/v1/alerts/silences", json={**wanted, **asked})
            assert answer.status_code == 403, wanted
            form = {"subject": "*", **wanted, "for": "2h", "reason": "night work"}
            assert client.post("/monitoring/silences", data=form).status_code == 400, wanted
        own = {"rule": "budget_department", "subject": "research", **asked}
        assert client.post("/api/v1/alerts/silences", json=own).status_code == 201
        assert client.delete(f"/api/v1/alerts/silences/{name}").status_code == 403
        assert client.post(f"/monitoring/silences/{name}/end").status_code == 403


def test_a_token_lasts_no_number_of_days_that_cannot_be(pages: Pages) -> None:
    """It is refused in words, however many there are."""
    with pages.served.client() as client:
        for days in ("0", "-1", "9" * 21, "9" * 5000):
            form = {"name": "for ever", "role": "viewer", "days": days}
            assert client.post("/settings/tokens", data=form).status_code == 400, days[:30]


def test_one_name_opens_nothing_of_another_scope(pages: Pages) -> None:
    """Views are kept by name: whoever sees less gets none of those of a namesake."""
    view = {"title": "mine", "user_id": "known-to-few"}
    with pages.served.client(pages.served.token_of("auditor", name="Ana")) as client:
        assert client.post("/calls/views", data=view).status_code == 303
        assert "known-to-few" in client.get("/calls/views").text
        again = {"name": "Ana", "role": "viewer", "days": "1", "departments": "sales"}
    with pages.served.client() as client:
        assert client.post("/settings/tokens", data=again).status_code == 400
    narrow = pages.served.token_of("auditor", name="Ana", departments=("sales",))
    with pages.served.client(narrow) as client:
        assert "known-to-few" not in client.get("/calls/views").text


def test_content_is_taken_away_by_whoever_gave_the_reason(pages: Pages) -> None:
    """An export with content is for who asked for it; others export it with a reason of theirs."""
    with pages.served.client(pages.served.token_of("auditor", name="Bea")) as client:
        wanted = {"content": True, "reason": REASON, "filter": {"since": "1h"}}
        path = client.post("/api/v1/exports", json=wanted).headers["Location"]
        until_s = time.monotonic() + 20
        while client.get(path).json()["state"] == "running":
            assert time.monotonic() < until_s
            time.sleep(0.1)
        assert client.get(f"{path}/file").status_code == 200
    with pages.served.client() as client:
        assert client.get(f"{path}/file").status_code == 403
        assert client.get(f"{path}/manifest").status_code == 200


@pytest.mark.parametrize("reason", ["\u200b\u200b\u200b\u200b", "x", " \u00a0 \u2060 "])
def test_a_reason_says_something(pages: Pages, reason: str) -> None:
    """Characters that nobody sees are no reason, and one is none; at each way to content."""
    form = {"reason": reason, "call_id": pages.talk}
    with pages.served.client() as client:
        answers = [
            client.post(f"/calls/{pages.talk}", data=form),
            client.get(f"/api/v1/calls/{pages.talk}", params={"content": "true", "reason": reason}),
            client.post(f"/calls/{pages.talk}/evidence", data=form),
            client.post("/integrity/bundle", data=form),
            client.post("/integrity/package", data=form),
            client.post("/api/v1/exports", json={"content": True, "reason": reason}),
        ]
    assert [answer.status_code for answer in answers] == [400] * 6


def test_a_text_with_nul_is_looked_for_like_any_other(pages: Pages) -> None:
    """The database takes no pattern with NUL; it is written in another way."""
    with pages.served.client() as client:
        assert client.get("/calls", params={"text": "\0a"}).status_code == 200
        found = client.get("/api/v1/calls", params={"text": "\0a"})
    assert found.status_code == 200
    assert found.json()["rows"] == []


def test_an_origin_that_is_no_address_is_another_site_s(pages: Pages) -> None:
    """It is refused, and is no fault of the program."""
    with pages.served.client("") as client:
        answer = client.post("/login", headers={"Origin": "http://["}, data={"token": "x"})
    assert answer.status_code == 403


def test_a_certificate_that_cannot_be_used_is_said_before_the_start(tmp_path: Path) -> None:
    """One that is not there, and one that is none, name the option and what to give."""
    odd = tmp_path / "odd.pem"
    odd.write_text("no certificate")
    for place in (odd, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match="--tls-cert"):
            listening(ServeConfig(port=0, tls_cert=place, tls_key=place))


@pytest.mark.parametrize(
    "wrong", [{"language": "fr"}, {"requests_per_minute": 0}, {"max_body_bytes": -1}]
)
def test_a_setting_that_would_stop_everything_is_refused(wrong: dict[str, Any]) -> None:
    """It is said at the start, and not to each visitor."""
    with pytest.raises(ConfigError, match="--"):
        ServeConfig(**wrong)
