"""Answers that the writer reads: what it makes of them is what their caller would have."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from affidavit._capture import bodies
from affidavit._capture.asked import Asked
from affidavit._capture.call import CapturedCall
from affidavit.capture import openai
from affidavit.event import Document
from affidavit.pipeline import build
from affidavit.pipeline.snapshot import take

pytestmark = pytest.mark.requirement("R1")

JSON = "application/json"


class _Recorder:
    _defaults: dict[str, Any] = {}  # noqa: RUF012 - stands for a logger's


def _call(kind: str) -> CapturedCall:
    bodies.read_later(openai.DIALECT)
    call = CapturedCall(_Recorder(), openai.DIALECT, "openai", Asked(kind, "chat"), stream=False)
    call.intent()
    call.http_status = 200
    return call


def _recorded(call: CapturedCall) -> Document:
    said = msgspec.msgpack.decode(take(call.outcome(), plain=True))
    return said if isinstance(said, dict) else build.document(said)


def _chat(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    return {"id": "c-1", "model": "gpt", "choices": [choice], "usage": usage}


CASES = {
    "text": ("chat", _chat(content="Sideways.")),
    "tools": (
        "chat",
        _chat(tool_calls=[{"id": "t", "function": {"name": "f", "arguments": '{"a": 1}'}}]),
    ),
    "picture": ("chat", _chat(content="data:image/png;base64," + "iVBORw0KGgo=" * 30)),
    "failure": (
        "responses",
        {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "No."}},
    ),
    "large number": ("chat", {**_chat(content="x"), "usage": {"prompt_tokens": 2**70}}),
    "no object": ("chat", ["?"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_writer_reads_what_the_caller_would_have_read(case: str) -> None:
    """The record is the same, whoever read the answer."""
    kind, answer = CASES[case]
    body = json.dumps(answer).encode()
    at_once, later = _call(kind), _call(kind)
    at_once.settle(bodies.read_whole(openai.DIALECT, kind, JSON, body), None)
    later.leave_unread(JSON, body)
    expected, found = _recorded(at_once), _recorded(later)
    for record in (expected, found):
        del record["call_id"], record["timestamp"], record["response_data"]["processing_time_ms"]
    assert found == expected


def test_a_failure_inside_an_answer_makes_the_call_a_failed_one() -> None:
    """Status 200 does not mean that the model answered."""
    kind, answer = CASES["failure"]
    call = _call(kind)
    call.leave_unread(JSON, json.dumps(answer).encode())
    record = _recorded(call)
    assert (record["status"], record["success"]) == ("failed", False)
    assert record["error_message"] == "No."


def test_an_answer_that_cannot_be_read_leaves_its_call_recorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is no JSON is described by size and hash, as everywhere."""
    call = _call("chat")
    call.leave_unread(JSON, b"\xff\xfe not JSON")
    record = _recorded(call)
    assert record["status"] == "completed"
    assert record["response_data"]["content"]["bytes"] == 11
    assert "Traceback" not in caplog.text


def test_half_a_character_is_repaired_and_noted() -> None:
    """JSON can hold lone surrogates, which neither BSON nor UTF-8 can."""
    call = _call("chat")
    call.leave_unread(JSON, json.dumps(_chat(content="a\ud800b")).encode())
    record = _recorded(call)
    assert "\ud800" not in record["response_data"]["text"]
    assert record["odd"] == ["surrogates"]
