"""What a client may send as a record, and how it is told what is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from affidavit.console.api import shapes
from affidavit.console.api.recording import Made, NotRecordable, later_id, made
from affidavit.console.visitor import Scope
from affidavit.pipeline import build
from tests.support.api import call, new_id

pytestmark = pytest.mark.requirement("R2", "R13")

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def record_of(document: dict[str, Any]) -> shapes.Record:
    """The one record of a body."""
    [record], single = shapes.read(json.dumps(document).encode(), lines=False)
    assert single
    return record


def made_of(document: dict[str, Any], scope: Scope | None = None) -> Made:
    """What becomes of a document."""
    return made(record_of(document), scope or Scope(), NOW)


def errors_of(body: bytes, *, lines: bool = False) -> list[dict[str, Any]]:
    """What is wrong with a body."""
    with pytest.raises(shapes.Unreadable) as caught:
        shapes.read(body, lines=lines)
    return caught.value.errors


def test_a_call_becomes_the_two_records_that_the_library_writes() -> None:
    """Same ids on both, the client's times, the answer's numbers, the dollars to the digit."""
    given = call(started_at="2026-11-23T09:00:00.5+01:00")
    one = made_of(given)
    intent, outcome = (build.document(part.said) for part in one.parts)
    assert one.id.hex() == given["_id"] == intent["call_id"] == outcome["call_id"]
    assert intent["timestamp"] == 1_795_420_800_500
    assert outcome["timestamp"] == intent["timestamp"] + 812
    assert intent["request_data"]["symbol"] == outcome["request_data"]["symbol"] == "ABC"
    assert outcome["response_data"]["cost_usd"] == "0.045"
    assert outcome["response_data"]["tokens_used"] == 17
    assert (outcome["status"], outcome["success"]) == ("completed", True)


def test_a_number_of_dollars_is_taken_as_it_is_written() -> None:
    """No binary fraction comes in between."""
    body = b'{"type":"call","provider":"p","answer":{"cost_usd":0.1234567890123456789}}'
    [record], _ = shapes.read(body, lines=False)
    outcome = build.document(made(record, Scope(), NOW).parts[1].said)
    assert outcome["response_data"]["cost_usd"] == "0.1234567890123456789"


def test_an_error_makes_a_call_failed_and_keeps_kind_and_text() -> None:
    """Without a status of its own."""
    given = call(answer=None, error={"type": "Timeout", "message": "30 s"})
    outcome = build.document(made_of(given).parts[1].said)
    assert (outcome["status"], outcome["error_type"]) == ("failed", "Timeout")
    assert outcome["error_message"] == "30 s"


def test_the_same_outcome_again_has_the_same_id() -> None:
    """It is derived from the call's, whether the call came in one document or in two."""
    given = call()
    whole = made_of(given)
    late = made_of({"type": "outcome", "call_id": given["_id"], "provider": "openai"})
    assert whole.parts[1].id == late.parts[0].id == later_id(bytes.fromhex(given["_id"]))
    assert late.chosen


@pytest.mark.parametrize(
    ("document", "kind", "details"),
    [
        (
            {"type": "rate_limit", "limit_type": "rpm", "current_usage": {"now": 61}},
            "rate_limit_exceeded",
            {"limit_type": "rpm", "current_usage": {"now": 61}},
        ),
        (
            {"type": "security", "kind": "injection"},
            "security_event",
            {"kind": "injection", "severity": "medium"},
        ),
        (
            {"type": "annotation", "call_id": new_id(), "kind": "score", "name": "n", "value": 1},
            "annotation",
            {"kind": "score", "name": "n", "value": 1},
        ),
    ],
)
def test_events_become_records_of_their_kind(
    document: dict[str, Any], kind: str, details: dict[str, Any]
) -> None:
    """With what was said of them, and nothing that was not."""
    [part] = made_of(document).parts
    said = part.said
    assert isinstance(said, dict)
    assert (said["event_type"], said["details"]) == (kind, details)
    assert said.get("call_id") == document.get("call_id")


def test_every_wrong_record_is_named_with_its_field() -> None:
    """Not only the first one."""
    body = json.dumps(
        [call(provider=3), call(), {"type": "call"}, call(latency_ms=-1), {"type": "x"}]
    ).encode()
    named = {(each["record"], each["field"]) for each in errors_of(body)}
    assert named == {(0, "provider"), (2, None), (3, "latency_ms"), (4, "type")}


@pytest.mark.parametrize(
    "document",
    [
        {"type": "hush-value"},
        call(status="hush-value"),
        call(_id="hush-value"),
        call(started_at="hush-value"),
        call(user_id={"hush-value": 1}),
        call(answer={"cost_usd": "hush-value"}),
        call(latency_ms="hush-value"),
        {"type": "security", "kind": "k", "severity": "hush-value"},
    ],
)
def test_an_error_never_repeats_what_was_sent(document: dict[str, Any]) -> None:
    """Neither for one nor in an array."""
    for body in (json.dumps(document), json.dumps([document])):
        told = errors_of(body.encode())
        assert told
        assert "hush-value" not in json.dumps(told)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"type":"call","provider":"\\ud800"}',
        b'{"type":"call","provider":"p","messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
        json.dumps([call() for _ in range(shapes.MOST_RECORDS + 1)]).encode(),
    ],
    ids=[
        *("empty", "null", "none", "number", "text", "cut", "not utf-8", "surrogate"),
        *("deep", "many"),
    ],
)
def test_a_body_without_records_is_told_so(body: bytes) -> None:
    """And nothing breaks."""
    assert errors_of(body)
    assert errors_of(body, lines=True) or not body


def test_lines_are_records() -> None:
    """NDJSON, an empty line at the end included."""
    body = "\n".join([json.dumps(call()), json.dumps(call())]) + "\n"
    records, single = shapes.read(body.encode(), lines=True)
    assert (len(records), single) == (2, False)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (call(started_at=(NOW + timedelta(hours=1)).isoformat()), "started_at"),
        (call(started_at="0001-01-01T00:00:00+14:00"), "started_at"),
        (call(answer={"cost_usd": "-1"}), "answer.cost_usd"),
        (call(answer={"cost_usd": "NaN"}), "answer.cost_usd"),
        (call(status="completed", error={"type": "E"}), "status"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(document: dict[str, Any], field: str) -> None:
    """A time to come, a negative price, an error of a success."""
    with pytest.raises(NotRecordable) as caught:
        made_of(document)
    assert caught.value.field == field


def test_a_token_of_one_department_writes_for_it_and_no_other() -> None:
    """Where a record names none it is put in; another one is refused."""
    scope = Scope(departments=("research",))
    intent = build.document(made_of(call(department=None), scope).parts[0].said)
    assert intent["department"] == "research"
    with pytest.raises(NotRecordable) as caught:
        made_of(call(department="sales"), scope)
    assert caught.value.forbidden
    with pytest.raises(NotRecordable):
        made_of(call(department=None), Scope(departments=("a", "b")))
    with pytest.raises(NotRecordable):
        made_of(call(), Scope(tenants=()))
