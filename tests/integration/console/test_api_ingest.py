"""Recording over HTTP: acknowledged, once, as the library would, and through an outage."""

from __future__ import annotations

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from backports import zstd

from tests.support.api import SECRET, call, new_id, ready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.demo.mongod import Mongod
    from tests.support.api import Api

pytestmark = pytest.mark.requirement("R2", "R8", "R13")

RECORDS = "/api/v1/records"


@pytest.fixture
def api(mongodb_uri: str) -> Iterator[Api]:
    """The service over a database of its own."""
    with ready(mongodb_uri) as service:
        yield service


def stored(database: Database[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of calls and events, oldest first."""
    return list(database["llm_audit"].find().sort("timestamp", 1))


def test_a_call_is_stored_before_it_is_acknowledged(
    api: Api, database: Database[dict[str, Any]]
) -> None:
    """Two records, redacted and priced as those of the library, under the client's id."""
    given = call(user_id="ana@example.org", message="My card is 4111 1111 1111 1111.")
    answer = api.as_().post(RECORDS, json=given)
    assert answer.status_code == 201
    assert answer.json() == {"id": given["_id"], "type": "call", "stored": "stored"}
    intent, outcome = stored(database)
    assert str(intent["_id"]) == given["_id"] == outcome["call_id"]
    assert "4111" not in intent["request_data"]["message"]
    assert outcome["response_data"]["cost_usd"].to_decimal() == Decimal("0.045")
    assert {"writer", "seq", "salt"} <= intent.keys()


def test_the_same_id_again_makes_no_second_record(
    api: Api, database: Database[dict[str, Any]]
) -> None:
    """Alone, in a batch, twice in one batch, at the same time, and after a restart."""
    given = call()
    assert api.as_().post(RECORDS, json=given).status_code == 201
    again = api.as_().post(RECORDS, json=given)
    assert (again.status_code, again.json()["stored"]) == (200, "duplicate")
    other = call()
    batch = api.as_().post(RECORDS, json=[given, other, other])
    assert batch.json()["counts"] == {"duplicate": 1, "stored": 2}
    third = call()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.as_().post(RECORDS, json=third), range(8)))
    assert {a.status_code for a in answers} <= {200, 201}
    api.served.app.state.intake._known.clear()  # as a process that has just begun
    assert api.as_().post(RECORDS, json=third).json()["stored"] == "duplicate"
    assert len(stored(database)) == 6
    assert api.backend.audit.stats().dead_lettered == 0


def test_a_call_in_two_documents_is_joined(api: Api) -> None:
    """The outcome by the call's id; said again it is a duplicate."""
    client, given = api.as_(), call()
    intent = {name: value for name, value in given.items() if name not in {"latency_ms", "answer"}}
    assert client.post(RECORDS, json={**intent, "type": "intent"}).status_code == 201
    outcome = {
        "type": "outcome",
        "call_id": given["_id"],
        "provider": "openai",
        "department": "research",
        "answer": given["answer"],
    }
    assert client.post(RECORDS, json=outcome).status_code == 201
    assert client.post(RECORDS, json=outcome).json()["stored"] == "duplicate"
    found = client.get(f"/api/v1/calls/{given['_id']}").json()
    assert found["call"]["status"] == "completed"
    assert len(found["outcomes"]) == 1


def test_events_and_lines_and_packed_bodies_are_taken(
    api: Api, database: Database[dict[str, Any]]
) -> None:
    """One request with all kinds, as NDJSON, gzip and zstd."""
    client, call_id = api.as_(), new_id()
    documents = [
        call(_id=call_id),
        {"type": "rate_limit", "limit_type": "rpm", "user_id": "ana"},
        {"type": "security", "kind": "injection", "severity": "high", "call_id": call_id},
        {"type": "annotation", "call_id": call_id, "kind": "score", "name": "n", "value": 0.5},
    ]
    lines = "\n".join(map(json.dumps, documents)).encode()
    kind = {"Content-Type": "application/x-ndjson"}
    for body, encoding in ((gzip.compress(lines), "gzip"), (zstd.compress(lines), "zstd")):
        sent = client.post(RECORDS, content=body, headers={**kind, "Content-Encoding": encoding})
        assert sent.status_code == 201, sent.text
    kinds = [record["event_type"] for record in stored(database)]
    assert sorted(kinds) == sorted(
        ["llm_request", "llm_response"]
        + 2 * ["rate_limit_exceeded", "security_event", "annotation"]
    )


def test_a_batch_with_a_mistake_is_not_taken_at_all(
    api: Api, database: Database[dict[str, Any]]
) -> None:
    """Every mistake is named, no value is repeated."""
    wrong = [call(), call(provider=3), call(status=SECRET)]
    answer = api.as_().post(RECORDS, json=wrong)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert [each["record"] for each in answer.json()["errors"]] == [1, 2]
    assert SECRET not in answer.text
    assert stored(database) == []


def test_an_acknowledgement_of_the_queue_does_not_wait(
    api: Api, database: Database[dict[str, Any]]
) -> None:
    """202 and queued; it is stored a little later."""
    answer = api.as_().post(RECORDS, json=call(), params={"ack": "queued"})
    assert (answer.status_code, answer.json()["stored"]) == (202, "queued")
    assert api.backend.audit.flush(10)
    assert len(stored(database)) == 2


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b"{}", {"Content-Encoding": "gzip"}, 400),
        (b" " * (17 * 1024 * 1024), {}, 413),
        (gzip.compress(bytes(64 * 1024 * 1024)), {"Content-Encoding": "gzip"}, 413),
    ],
    ids=["media type", "encoding", "not gzip", "large", "bomb"],
)
def test_a_body_that_cannot_be_taken_is_told_why(
    api: Api, content: bytes, headers: dict[str, str], status: int
) -> None:
    """With problem+json."""
    sent = {"Content-Type": "application/json", **headers}
    answer = api.as_().post(RECORDS, content=content, headers=sent)
    assert answer.status_code == status
    assert answer.json()["status"] == status


def test_a_full_queue_asks_to_come_again(mongodb_uri: str) -> None:
    """503 with Retry-After, and nothing of the request is taken."""
    with ready(mongodb_uri, audit={"max_queue_bytes": 1_048_576}) as api:
        client = api.as_()
        large = [call(message="x" * 20_000) for _ in range(60)]
        answer = client.post(RECORDS, json=large)
        assert answer.status_code == 413  # never fits: it would be sent again for ever
        recorded = api.backend.audit.stats().recorded
        core = api.backend.audit._engine._running
        assert core is not None
        core.core.inbox._bytes += 1_000_000  # as if others were waiting
        try:
            answer = client.post(RECORDS, json=large[:20])
        finally:
            core.core.inbox._bytes -= 1_000_000
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert api.backend.audit.stats().recorded == recorded


def test_only_writers_record_and_only_within_their_scope(api: Api) -> None:
    """A viewer may not; a writer of one department may not write for, or about, another."""
    given = call()
    api.as_().post(RECORDS, json=given)
    assert api.as_("").post(RECORDS, json=call()).status_code == 401
    for role in ("viewer", "analyst", "auditor"):
        assert api.as_(role).post(RECORDS, json=call()).status_code == 403
    writer = api.as_("writer", departments=("sales",))
    assert writer.post(RECORDS, json=call()).status_code == 403
    assert writer.post(RECORDS, json=call(department=None)).status_code == 201
    about = {"type": "annotation", "call_id": given["_id"], "kind": "score", "name": "n"}
    assert writer.post(RECORDS, json=about).status_code == 403
    assert writer.post(RECORDS, json={**about, "call_id": new_id()}).status_code == 201


def test_a_whole_call_under_the_id_of_another_department_s_is_refused(api: Api) -> None:
    """It would be that call's second outcome: of one without an outcome yet, its first."""
    theirs = {"type": "intent", "_id": new_id(), "provider": "openai", "department": "research"}
    assert api.as_().post(RECORDS, json=theirs).status_code == 201
    writer = api.as_("writer", departments=("sales",))
    planted = writer.post(RECORDS, json=call(_id=theirs["_id"], department="sales"))
    assert planted.status_code == 403
    assert planted.json()["errors"][0]["field"] == "_id"
    assert api.as_().get(f"/api/v1/calls/{theirs['_id']}").json()["outcomes"] == []
    own = call(department="sales")
    assert writer.post(RECORDS, json=own).status_code == 201
    assert writer.post(RECORDS, json=own).json()["stored"] == "duplicate"


@pytest.mark.requirement("R9")
def test_nobody_writes_about_another_department_s_call_while_the_database_is_away(
    private_mongod: Mongod, tmp_path: Path
) -> None:
    """What cannot be checked is asked for again later; whole calls are taken, and one's own."""
    uri = f"{private_mongod.uri.rstrip('/')}/unchecked"
    audit = {"spool_dir": str(tmp_path / "spool"), "write_timeout": 1.0}
    with ready(uri, audit=audit) as api:
        theirs = call()
        assert api.as_().post(RECORDS, json=theirs).status_code == 201
        writer = api.as_("writer", departments=("sales",))
        mine = {"type": "intent", "_id": new_id(), "provider": "openai"}
        assert writer.post(RECORDS, json=mine).status_code == 201
        others = api.as_("writer", departments=("hr",))
        assert others.post(RECORDS, json=call(department="hr")).status_code == 201
        private_mongod.kill()
        about = {"call_id": theirs["_id"], "provider": "planted", "department": "sales"}
        planted = [
            {"type": "outcome", **about},
            {"type": "annotation", "call_id": theirs["_id"], "kind": "score", "name": "planted"},
            {"type": "security", "call_id": theirs["_id"], "kind": "x", "severity": "low"},
        ]
        intent = {"type": "intent", "_id": theirs["_id"], "provider": "p", "department": "sales"}
        for body in (*planted, [call(department="sales"), planted[0]], [intent, planted[0]]):
            refused = writer.post(RECORDS, json=body)
            assert refused.status_code == 503, refused.text
            assert int(refused.headers["Retry-After"]) > 0
            assert refused.headers["content-type"] == "application/problem+json"
            assert "cannot be checked whose call it is" in refused.json()["detail"]
            assert theirs["_id"] not in refused.text
        api.served.app.state.intake._known.clear()  # as another instance, which did not store it
        assert writer.post(RECORDS, json=intent).status_code == 202
        assert writer.post(RECORDS, json=planted[0]).status_code == 503
        assert writer.post(RECORDS, json=call(department="sales")).json()["stored"] == "spooled"
        begun = writer.post(RECORDS, json={"type": "intent", "provider": "openai"})
        for call_id in (mine["_id"], begun.json()["id"]):
            outcome = {"type": "outcome", "call_id": call_id, "provider": "openai"}
            assert writer.post(RECORDS, json=outcome).json()["stored"] == "spooled"
        assert others.post(RECORDS, json={**planted[1], "call_id": mine["_id"]}).status_code == 403
        assert api.as_().post(RECORDS, json=planted[1]).json()["stored"] == "spooled"
        private_mongod.restart()
        deadline_s = time.monotonic() + 60
        while writer.post(RECORDS, json=planted[0]).status_code != 403:
            assert time.monotonic() < deadline_s


def test_a_token_that_asks_too_often_is_told_when_to_come_again(mongodb_uri: str) -> None:
    """429 with Retry-After; another token is not held up by it."""
    with ready(mongodb_uri, requests_per_minute=5) as api:
        answers = [api.as_("writer").post(RECORDS, json=call()) for _ in range(8)]
        assert [a.status_code for a in answers[:5]] == [201] * 5
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert api.as_().post(RECORDS, json=call()).status_code == 201


@pytest.mark.requirement("R9")
def test_an_outage_of_the_database_loses_nothing(private_mongod: Mongod, tmp_path: Path) -> None:
    """Killed, ingest goes on into the spool and says so; afterwards all of it is there once."""
    uri = f"{private_mongod.uri.rstrip('/')}/outage"
    audit = {"spool_dir": str(tmp_path / "spool"), "write_timeout": 1.0}
    with ready(uri, audit=audit) as api:
        client = api.as_()
        before, during, after = ([call() for _ in range(20)] for _ in range(3))
        assert client.post(RECORDS, json=before).json()["stored"] == "stored"
        private_mongod.kill()
        first = client.post(RECORDS, json=during)
        assert (first.status_code, first.json()["stored"]) == (202, "spooled"), first.text
        time.sleep(6)  # what the door remembers without asking is older by now
        again = client.post(RECORDS, json=during)
        assert (again.status_code, again.json()["stored"]) == (200, "duplicate")
        began_s = time.monotonic()
        assert client.post(RECORDS, json=during[0]).json()["stored"] == "duplicate"
        assert time.monotonic() - began_s < 1  # nobody waits for the store again and again
        read = client.get("/api/v1/calls")
        assert read.status_code in {502, 503}
        assert "Traceback" not in read.text
        private_mongod.restart()
        deadline_s = time.monotonic() + 60
        while not api.backend.audit.flush(5):
            assert time.monotonic() < deadline_s
        assert client.post(RECORDS, json=after + during).json()["counts"] == {
            "stored": 20,
            "duplicate": 20,
        }
        stats = api.backend.audit.stats()
        assert (stats.lost, stats.dead_lettered) == (0, 0)
        with private_mongod.client() as admin:
            records = admin["outage"]["llm_audit"]
            ids = {one["call_id"] for one in records.find({}, {"call_id": 1})}
            assert records.count_documents({}) == 2 * 60
        assert ids == {each["_id"] for each in before + during + after}


@pytest.mark.requirement("R9")
def test_a_database_that_hangs_holds_nobody_up(private_mongod: Mongod, tmp_path: Path) -> None:
    """Connections stay open and nothing answers: records are spooled within seconds."""
    uri = private_mongod.database_uri("hanging")
    audit = {"spool_dir": str(tmp_path / "spool"), "write_timeout": 1.0}
    with ready(uri, audit=audit) as api:
        client = api.as_()
        given = [call() for _ in range(10)]
        assert client.post(RECORDS, json=given[0]).json()["stored"] == "stored"
        private_mongod.freeze()
        try:
            for each in given[1:4]:
                began_s = time.monotonic()
                answer = client.post(RECORDS, json=each)
                assert (answer.status_code, answer.json()["stored"]) == (202, "spooled")
                assert time.monotonic() - began_s < 6
            began_s = time.monotonic()
            answer = client.post(RECORDS, json=given[4:])
            assert answer.json()["counts"] == {"spooled": 6}
            assert time.monotonic() - began_s < 2  # known to be away by now
        finally:
            private_mongod.thaw()
        deadline_s = time.monotonic() + 60
        while not api.backend.audit.flush(5):
            assert time.monotonic() < deadline_s
        with private_mongod.client() as admin:
            assert admin["hanging"]["llm_audit"].count_documents({}) == 20
        assert api.backend.audit.stats().dead_lettered == 0
