"""One call: its facts, its content behind a reason, its proof, and who has read of it."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

import httpx
import pytest

from affidavit.integrity.proof import Proof, check_proof
from tests.support.pages import REASON, SHA, Pages, body, csrf, furnished, words
from tests.support.rooms import HOSTILE, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.demo.mongod import Mongod
    from tests.support.servers import GivenServer

pytestmark = pytest.mark.requirement("R13", "R17")


@pytest.fixture(scope="module")
def pages(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    """One service over one small log."""
    with furnished(mongod.uri, tmp_path_factory.mktemp("call")) as found:
        yield found


def revealed(pages: Pages, call_id: str) -> str:
    """A call's page with its content, as an analyst reads it."""
    with pages.served.browser(pages.served.token_of("analyst", name="Anna")) as client:
        form = {"csrf": csrf(client.get(f"/calls/{call_id}")), "reason": REASON}
        return body(client.post(f"/calls/{call_id}", data=form))


def test_facts_are_shown_and_no_content(pages: Pages) -> None:
    """Timing, tokens, cost with where it is from, and the client; no word of what was said."""
    for role in ("viewer", "analyst", "admin"):
        with pages.served.client(pages.served.token_of(role)) as client:
            page = body(client.get(f"/calls/{pages.talk}"))
        assert SECRET not in page
        assert "42.5" not in page
        said = words(page)
        for fact in ("$0.0123", "0.0123456", "reported", "750", "600", "ana", "192.0.2.7", "acme"):
            assert fact in said, fact


def test_an_error_s_text_is_content(pages: Pages) -> None:
    """The class of an error is shown; what it says is not."""
    with pages.served.client() as client:
        page = words(body(client.get(f"/calls/{pages.failed}")))
    assert "TimeoutError" in page
    assert SECRET not in page
    assert SECRET in words(revealed(pages, pages.failed))


def test_the_conversation_is_read_turn_by_turn(pages: Pages) -> None:
    """Who said what, which tool was called with what, and pictures by their hash."""
    page = revealed(pages, pages.talk)
    said = words(page)
    turns = re.findall(r'class="turn (\w+)"', page)
    assert turns == ["system", "user", "assistant", "tool", "user", "assistant"]
    for text in ("You are a careful assistant.", SECRET, "lookup", "ABC", "It stands at 42.5."):
        assert text in said
    assert SHA in said
    assert "47.1" in said
    assert "jane.doe" not in said
    assert '<mark class="gone">[email]</mark>' in page
    assert "helpful : 0.9" in said.replace("helpful:", "helpful :")
    assert "said well" in said


def test_content_needs_a_reason_which_is_noted_before(pages: Pages) -> None:
    """A short reason is refused and kept; with one, who and why stand in the ledger."""
    with pages.served.browser(pages.served.token_of("analyst", name="Ben")) as client:
        token = csrf(client.get(f"/calls/{pages.talk}"))
        before = len(pages.noted("console reveal"))
        short = client.post(f"/calls/{pages.talk}", data={"csrf": token, "reason": "x y"})
        page = body(short, 400)
        assert 'value="x y"' in page
        assert SECRET not in page
        assert len(pages.noted("console reveal")) == before
        body(client.post(f"/calls/{pages.talk}", data={"csrf": token, "reason": REASON}))
    noted = max(pages.noted("console reveal"), key=lambda record: record["timestamp"])
    assert noted["actor"]["visitor"] == "Ben"
    assert noted["details"]["filter"]["reason"] == REASON
    assert noted["details"]["filter"]["call_id"] == pages.talk


def test_a_viewer_never_gets_content(pages: Pages) -> None:
    """Not by asking for it, not by a reason, not by a header."""
    with pages.served.client(pages.served.token_of("viewer")) as client:
        page = body(client.get(f"/calls/{pages.talk}"))
        assert "Your role sees" in words(page)
        for answer in (
            client.post(f"/calls/{pages.talk}", data={"reason": REASON}),
            client.post(f"/calls/{pages.talk}/evidence", data={"reason": REASON}),
            client.get(f"/calls/{pages.talk}/proof"),
        ):
            assert answer.status_code == httpx.codes.FORBIDDEN
            assert SECRET not in answer.text


def test_a_form_of_another_site_reveals_nothing(pages: Pages) -> None:
    """Without the session's own token the content stays hidden."""
    with pages.served.browser() as client:
        answer = client.post(f"/calls/{pages.talk}", data={"reason": REASON})
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert SECRET not in answer.text


def test_a_call_outside_the_scope_is_not_there(pages: Pages) -> None:
    """The same answer as for a call that does not exist, for every route of it."""
    token = pages.served.token_of("auditor", departments=("sales",))
    with pages.served.client(token) as client:
        for call_id in (pages.talk, "0" * 24, "..%2F..%2Fetc", "$where"):
            for place in ("", "/proof", "/proof/1", "/readers", "/linked"):
                answer = client.get(f"/calls/{call_id}{place}")
                assert answer.status_code == httpx.codes.NOT_FOUND, f"{call_id}{place}"
            for place in ("", "/evidence"):
                answer = client.post(f"/calls/{call_id}{place}", data={"reason": REASON})
                assert answer.status_code == httpx.codes.NOT_FOUND
                assert SECRET not in answer.text


def test_a_hostile_record_is_only_text(pages: Pages) -> None:
    """Markup, escapes, directions and a huge answer: shown, counted, harmless."""
    page = revealed(pages, pages.hostile)  # body() looks for what may not be there
    assert "&lt;script&gt;" in page
    assert "ESC" in page
    assert "U+202E" in page
    assert len(page) < 8_000_000
    with pages.served.client() as client:
        assert "&lt;script&gt;" in body(client.get(f"/calls/{pages.hostile}"))


def test_the_proof_is_made_and_holds_outside(pages: Pages) -> None:
    """What the page says is computed now, and the file it gives proves it to other programs."""
    with pages.served.client() as client:
        page = body(client.get(f"/calls/{pages.talk}/proof"))
        assert "Proved: every record" in words(page)
        link = re.search(r'href="(/calls/[^"]+/proof/1)"', page)
        assert link
        file = client.get(link[1])
    assert "attachment" in file.headers["content-disposition"]
    proof = Proof.parse(file.text)
    leaf = re.search(r"leaf ([0-9a-f]{64})", words(page))
    assert leaf
    check_proof(proof, bytes.fromhex(leaf[1]), pages.key.key)


def test_tampering_is_found_where_the_call_is_shown(pages: Pages) -> None:
    """A cost that somebody edits in the database makes the badge red."""
    changed = {"$set": {"response_data.tokens_used": 1}}
    found = pages.database.llm_audit.find_one({"call_id": pages.failed, "success": False})
    assert found is not None
    pages.database.llm_audit.update_one({"_id": found["_id"]}, changed)
    try:
        with pages.served.client() as client:
            page = body(client.get(f"/calls/{pages.failed}/proof"))
        assert "Altered: this call is not what was written" in words(page)
        assert 'class="badge bad"' in page
    finally:
        pages.database.llm_audit.replace_one({"_id": found["_id"]}, found)


def test_evidence_is_a_file_for_who_has_nothing_of_ours(pages: Pages) -> None:
    """A ZIP with records and proofs, given for a reason, and noted."""
    with pages.served.browser() as client:
        token = csrf(client.get(f"/calls/{pages.talk}"))
        refused = client.post(f"/calls/{pages.talk}/evidence", data={"csrf": token, "reason": ""})
        assert "Say why" in words(body(refused, 400))
        given = client.post(f"/calls/{pages.talk}/evidence", data={"csrf": token, "reason": REASON})
    assert given.headers["content-type"] == "application/zip"
    names = zipfile.ZipFile(io.BytesIO(given.content)).namelist()
    assert any(name.endswith("proof.tlog-proof") for name in names)
    assert any(name.endswith("README.txt") for name in names)
    assert pages.noted("console evidence")[-1]["details"]["filter"]["reason"] == REASON


@pytest.mark.parametrize("part", ["", "/glance", "/readers", "/linked", "/proof"])
def test_every_part_of_a_call_leaves_a_note(pages: Pages, part: str) -> None:
    """Whichever address of it somebody asks for, the ledger knows."""
    wanted = {"event_type": "audit_access", "actor.role": "admin"}
    ledger = pages.database.llm_audit_ledger
    with pages.served.client() as client:
        for call_id in (pages.talk, pages.failed):
            before = ledger.count_documents(wanted)
            assert client.get(f"/calls/{call_id}{part}").status_code == httpx.codes.OK
            assert ledger.count_documents(wanted) > before, f"{part} of {call_id}"


def test_who_viewed_it_stands_on_the_call(pages: Pages) -> None:
    """With name, what they saw, and why; for those who may know."""
    revealed(pages, pages.talk)
    with pages.served.client() as client:
        page = words(body(client.get(f"/calls/{pages.talk}/readers")))
    assert "Anna" in page
    assert REASON in page
    assert "read the content" in page
    [*_, note] = pages.noted("console readers")
    assert note["details"]["filter"]["call_id"] == pages.talk
    with pages.served.client(pages.served.token_of("analyst")) as client:
        answer = client.get(f"/calls/{pages.talk}/readers")
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "Who viewed this" not in client.get(f"/calls/{pages.talk}").text


def test_other_calls_of_the_session_are_linked(pages: Pages) -> None:
    """Those of the same user and session, not the call itself."""
    wanted = {"session_id": "s3", "user_id": "u3", "event_type": "llm_request"}
    found = pages.database.llm_audit.find_one(wanted)
    assert found is not None
    with pages.served.client() as client:
        page = body(client.get(f"/calls/{found['call_id']}/linked"))
        alone = words(body(client.get(f"/calls/{pages.talk}/linked")))
    linked = re.findall(r'<td><a href="/calls/([0-9a-f]{24})"', page)
    others = pages.database.llm_audit.count_documents(wanted) - 1
    assert len(linked) == others
    assert found["call_id"] not in linked
    assert "No other call" in alone


def test_an_event_that_is_no_call_has_a_page(pages: Pages) -> None:
    """A security event shows what happened, once there is a reason to read it."""
    found = pages.database.llm_audit.find_one({"event_type": "security_event"})
    assert found is not None
    with pages.served.client() as client:
        page = words(body(client.get(f"/calls/{found['_id']}")))
    assert "Security event" in page
    assert "high" in page
    assert "prompt_injection" in words(revealed(pages, str(found["_id"])))
    assert HOSTILE not in page
