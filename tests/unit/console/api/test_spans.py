"""OTLP traces: protobuf and JSON are read as the same spans, and become the same records."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from affidavit.console.api import spans
from affidavit.console.api.otlp import calls_of
from affidavit.console.visitor import Scope
from affidavit.pipeline import build

pytestmark = pytest.mark.requirement("R2", "R24")

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
START_NS = int(NOW.timestamp()) * 1_000_000_000 - 5_000_000_000


def value(given: Any) -> dict[str, Any]:
    """An attribute's value as OTLP writes it."""
    if isinstance(given, bool):
        return {"boolValue": given}
    if isinstance(given, int):
        return {"intValue": str(given)}
    if isinstance(given, float):
        return {"doubleValue": given}
    if isinstance(given, list):
        return {"arrayValue": {"values": [value(item) for item in given]}}
    if isinstance(given, dict):
        return {"kvlistValue": {"values": pairs(given)}}
    return {"stringValue": given}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP writes them."""
    return [{"key": name, "value": value(given)} for name, given in attributes.items()]


NEW = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5-mini",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.request.temperature": 0.5,
    "gen_ai.input.messages": json.dumps([{"role": "user", "content": "hello"}]),
    "affidavit.department": "research",
}
OLD = {
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-5-mini",
    "gen_ai.usage.prompt_tokens": 12,
    "gen_ai.usage.completion_tokens": 5,
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": "hello",
    "affidavit.department": "research",
}


def request(
    attributes: dict[str, Any],
    scope: str = "some.instrumentation",
    span_id: str = "eee19b7ec3c1b174",
    **more: Any,
) -> dict[str, Any]:
    """One span, as an exporter sends it in JSON."""
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": span_id,
        "name": "chat gpt-5-mini",
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 812_000_000),
        "attributes": pairs(attributes),
        "status": {},
        **more,
    }
    resource = {"attributes": pairs({"service.name": "shop", "deployment.environment": "live"})}
    return {
        "resourceSpans": [
            {"resource": resource, "scopeSpans": [{"scope": {"name": scope}, "spans": [span]}]}
        ]
    }


def protobuf_of(given: dict[str, Any]) -> bytes:
    """The same as protobuf; its ids are bytes, which its own JSON writes in base64."""
    copied = json.loads(json.dumps(given))
    for of_resource in copied["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                for name in ("traceId", "spanId"):
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    made = Parse(json.dumps(copied), ExportTraceServiceRequest())
    return bytes(made.SerializeToString())


def both(given: dict[str, Any]) -> list[spans.Span]:
    """Read it both ways; they are equal."""
    from_json = spans.from_json(json.dumps(given).encode())
    assert from_json == spans.from_protobuf(protobuf_of(given))
    return from_json


@pytest.mark.parametrize("attributes", [NEW, OLD], ids=["new names", "old names"])
def test_a_span_becomes_a_call(attributes: dict[str, Any]) -> None:
    """Old and new names of attributes, protobuf and JSON."""
    [made], refused = calls_of(both(request(attributes)), Scope(), NOW)
    intent, outcome = (build.document(part.said) for part in made.parts)
    assert not refused
    assert (intent["provider"], intent["model"]) == ("openai", "gpt-5-mini")
    assert (intent["service"], intent["environment"], intent["department"]) == (
        *("shop", "live", "research"),
    )
    assert intent["request_data"]["messages"][0]["content"] == "hello"
    assert (outcome["input_tokens"], outcome["output_tokens"]) == (12, 5)
    assert outcome["response_data"]["processing_time_ms"] == 812.0
    assert intent["timestamp"] == START_NS // 1_000_000


def test_the_same_span_again_has_the_same_ids() -> None:
    """An exporter that tries again makes no second record."""
    found = both(request(NEW)) + both(request(NEW)) + both(request(NEW, span_id="a" * 16))
    first, again, other = calls_of(found, Scope(), NOW)[0]
    assert [part.id for part in first.parts] == [part.id for part in again.parts]
    assert first.id != other.id
    assert first.chosen


def test_what_is_no_call_is_passed_over() -> None:
    """Spans of databases and tools, and those that Affidavit itself emits."""
    found = [
        *both(request({"db.system": "postgresql"})),
        *both(request({**NEW, "gen_ai.operation.name": "execute_tool"})),
        *both(request(NEW, scope="affidavit")),
    ]
    assert calls_of(found, Scope(), NOW) == ([], [])


def test_a_failed_span_is_a_failed_call() -> None:
    """With the kind that the span names."""
    given = request({**NEW, "error.type": "RateLimitError"}, status={"code": 2, "message": "slow"})
    [made], _ = calls_of(both(given), Scope(), NOW)
    outcome = build.document(made.parts[1].said)
    assert (outcome["status"], outcome["error_type"]) == ("failed", "RateLimitError")
    assert outcome["error_message"] == "slow"


@pytest.mark.parametrize(
    "more",
    [
        {"startTimeUnixNano": "0"},
        {"startTimeUnixNano": str(2**63)},
        {"endTimeUnixNano": "1"},
    ],
)
def test_a_span_at_no_time_is_refused(more: dict[str, Any]) -> None:
    """And said, without its content."""
    documents, refused = calls_of(both(request(NEW, **more)), Scope(), NOW)
    assert (documents, len(refused)) == ([], 1)


def test_a_token_of_one_department_records_for_it() -> None:
    """A span of another one is refused; one that names none belongs to it."""
    plain = {name: given for name, given in NEW.items() if not name.startswith("affidavit.")}
    found = both(request(NEW)) + both(request(plain, span_id="b" * 16))
    documents, refused = calls_of(found, Scope(departments=("sales",)), NOW)
    [made] = documents
    assert build.document(made.parts[0].said)["department"] == "sales"
    assert len(refused) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"3",
        b'{"resourceSpans":3}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{}]}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"1e9"}]}]}]}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_export_is_told_so(body: bytes) -> None:
    """In JSON."""
    with pytest.raises(spans.NotOtlp):
        spans.from_json(body)


def test_what_is_no_protobuf_is_told_so() -> None:
    """And nothing breaks; an empty body is an empty export."""
    with pytest.raises(spans.NotOtlp):
        spans.from_protobuf(b"\xff\xff\xff\xff")
    assert spans.from_protobuf(b"") == []


def test_an_answer_says_what_was_not_recorded() -> None:
    """As other programs read it."""
    read = ExportTraceServiceResponse.FromString(spans.response_protobuf(2, "why"))
    assert read.partial_success.rejected_spans == 2
    assert read.partial_success.error_message == "why"
    assert spans.response_protobuf(0, "") == b""
    assert spans.status_protobuf(3, "x" * 200)[:5] == b"\x08\x03\x12\xc8\x01"
