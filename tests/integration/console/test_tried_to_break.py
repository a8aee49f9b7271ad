"""What somebody found who tried to break the service; each stays mended."""

from __future__ import annotations

import io
import time
import zipfile
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.pages import REASON, Pages, furnished
from tests.support.rooms import sealed

if TYPE_CHECKING:
    from collections.abc import Iterator

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
