"""A whole call under the id of another department's, sent while nobody can tell whose that is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from affidavit import AuditConfig
from affidavit.console.api import shapes
from affidavit.console.api.recording import made, unchecked
from affidavit.console.visitor import Scope
from affidavit.event import CALL_UNCHECKED, Dest
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.price import pricer_of
from affidavit.pipeline.redact.configured import redactor_of
from affidavit.pipeline.snapshot import take
from affidavit.spool.dead import DeadLetters
from affidavit.store import connect
from affidavit.store.base import Encoded
from affidavit.store.unchecked import claim_of, is_unchecked
from tests.conftest import with_database
from tests.support.accounts import take_account
from tests.support.api import call, new_id, ready
from tests.support.sealing import verified

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from affidavit.demo.mongod import Mongod
    from tests.support.api import Api

pytestmark = pytest.mark.requirement("R2", "R9", "R20")

RECORDS = "/api/v1/records"
PLANTED = "planted-elsewhere"
QUESTIONS = ("usage", "cost", "performance")


def seen(api: Api, ids: list[str]) -> dict[str, Any]:
    """What is shown of calls, and what is counted for their department."""
    shown: dict[str, Any] = {}
    for each in ids:
        found = api.as_().get(f"/api/v1/calls/{each}")
        assert found.status_code == 200
        shown[each] = {k: found.json()[k] for k in ("intent", "outcomes", "annotations")}
    reader = api.as_("auditor", departments=("research",))
    for question in QUESTIONS:
        answer = reader.get(f"/api/v1/analytics/{question}?last=1d")
        assert answer.status_code == 200, answer.text
        shown[question] = answer.json()["rows"], answer.json().get("total")
    token = api.served.token_of("auditor", departments=("research",))
    with api.served.browser(token) as browser:
        for page in (*(f"/calls/{each}" for each in ids), "/cost", "/calls", "/"):
            answer = browser.get(page)
            assert answer.status_code == 200
            assert PLANTED not in answer.text
    return shown


def wait_until_shipped(api: Api) -> None:
    """Wait until nothing is in the spool any more, and the pages are back."""
    deadline_s = time.monotonic() + 60
    while api.backend.audit.stats().spooled or api.as_().get("/api/v1/calls").status_code != 200:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def planted_call(call_id: str) -> dict[str, Any]:
    """A whole call of the attacker's own department, under an id that is another's."""
    answer = {"text": PLANTED, "input_tokens": 9_999_999, "cost_usd": "99999", "model": PLANTED}
    return call(_id=call_id, department="sales", provider=PLANTED, answer=answer)


def test_the_mark_of_an_unchecked_outcome_stands_where_the_store_looks() -> None:
    """Also behind redaction, and for what a step cannot take; no field of a client can forge it."""
    config = AuditConfig()
    chain = Chain("w", 1000, None, redactor_of(config), None, pricer_of(config))
    given = call(department="sales", fields={CALL_UNCHECKED: True, "mail": "ana@example.org"})
    document = msgspec.convert(given, shapes.Call)
    plain = made(document, Scope(("sales",)), datetime.now(UTC))
    for each, marked in ((plain, False), (unchecked(plain), True)):
        intent, outcome = each.parts
        for part, wanted in ((intent, False), (outcome, marked)):
            done = chain.finish(Dest.RECORDS, part.id, take(part.said, plain=part.plain), 7)
            record = Encoded(Dest.RECORDS, part.id, 7, done.body)
            assert is_unchecked(record) is wanted
            if wanted:
                claim = claim_of(record)
                assert claim is not None
                assert claim.call == bytes.fromhex(given["_id"])
                assert claim.whose == ("sales", None)


def end_call(api: Api, call_id: str) -> None:
    """Record a call's own outcome; it is the only one that the call has then."""
    outcome = {"type": "outcome", "call_id": call_id, "provider": "openai"}
    ended = api.as_().post(RECORDS, json=outcome)
    assert (ended.status_code, ended.json()["stored"]) == (201, "stored")
    found = api.as_().get(f"/api/v1/calls/{call_id}").json()["outcomes"]
    assert [each["provider"] for each in found] == ["openai"]


def test_a_planted_call_goes_to_the_dead_letters_with_its_outcome(
    private_mongod: Mongod, tmp_path: Path
) -> None:
    """Nothing of another department's calls changes; every record is accounted for."""
    uri = with_database(private_mongod.uri, "planted")
    audit: Mapping[str, Any] = {"spool_dir": str(tmp_path / "spool"), "write_timeout": 1.0}
    config = AuditConfig(**audit, seal="off")
    begun = {"type": "intent", "_id": new_id(), "provider": "openai", "department": "research"}
    whole, own = call(), call(department="sales")
    ids = [str(begun["_id"]), str(whole["_id"])]
    with ready(uri, audit=audit) as api:
        assert api.as_().post(RECORDS, json=[begun, whole]).status_code == 201
        before = seen(api, ids)
        writer = api.as_("writer", departments=("sales",))
        assert writer.post(RECORDS, json=call(department="sales")).status_code == 201
        # As another instance that has not taken these in, and knows nothing of them.
        api.served.app.state.intake._known.clear()
        api.served.app.state.intake._begun.clear()
        private_mongod.kill()
        sent = [planted_call(ids[0]), own, planted_call(ids[1])]
        answer = writer.post(RECORDS, json=sent)
        assert answer.status_code == 202, answer.text
        assert writer.post(RECORDS, json=own).json()["stored"] == "duplicate"
        private_mongod.restart()
        wait_until_shipped(api)
        assert seen(api, ids) == before
        stats = api.backend.audit.stats()
        assert (stats.dead_lettered, stats.lost) == (4, 0)
        assert len(api.as_().get(f"/api/v1/calls/{own['_id']}").json()["outcomes"]) == 1
        # The call's own outcome finds its place, and is not taken for the planted one again.
        end_call(api, ids[0])
        assert writer.post(RECORDS, json=planted_call(ids[0])).status_code == 403
    (folder,) = (each for each in (tmp_path / "spool").iterdir() if each.is_dir())
    letters = DeadLetters(folder).all()
    # The second call had its outcome already, under the very id that the planted one would have.
    assert sorted(letter.reason for letter in letters) == ["call_conflict", *["id_conflict"] * 3]
    with private_mongod.client() as client:
        database = client["planted"]
        assert take_account(database, [], folder=folder, in_flight=100).errors == []
        told = database.llm_audit_ledger.find({"event_type": "dead_letter"})
        named = [seq for each in told for seq in each["details"]["seqs"]]
        assert sorted(named) == sorted(letter.record.seq for letter in letters)
        assert database.llm_audit.count_documents({"provider": PLANTED}) == 0
    store = connect(uri, config)
    try:
        again = store.append([letter.record for letter in letters], 10)
        assert [verdict.outcome for verdict in again] == ["rejected"] * 4
    finally:
        store.close()
    report = verified(uri, config)
    assert report.findings == []
    assert report.counts["never_came"] == 0
    assert report.counts["explained"] + report.counts["gaps"] == 4
