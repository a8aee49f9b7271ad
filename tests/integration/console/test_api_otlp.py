"""Spans of OpenTelemetry's own SDK, sent as its exporters send them."""

from __future__ import annotations

import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.api import Api, ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

pytestmark = pytest.mark.requirement("R2", "R24")

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
def api(mongodb_uri: str) -> Iterator[Api]:
    """The service over a database of its own."""
    with ready(mongodb_uri) as api:
        yield api


def traced(*attributes: dict[str, Any]) -> tuple[ReadableSpan, ...]:
    """Spans that the SDK has made."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("some.instrumentation")
    for each in attributes:
        with tracer.start_as_current_span("chat", attributes=each):
            pass
    provider.shutdown()
    return exporter.get_finished_spans()


def export_of(*spans: ReadableSpan) -> ExportTraceServiceRequest:
    """The export of some spans."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.append(
        KeyValue(key="service.name", value=AnyValue(string_value="shop"))
    )
    inner = group.scope_spans.add()
    inner.scope.name = "some.instrumentation"
    for span in spans:
        made = inner.spans.add()
        place = span.get_span_context()
        assert place is not None
        made.trace_id = place.trace_id.to_bytes(16, "big")
        made.span_id = place.span_id.to_bytes(8, "big")
        made.start_time_unix_nano = span.start_time or 0
        made.end_time_unix_nano = span.end_time or 0
        for name, value in (span.attributes or {}).items():
            kind = "int_value" if isinstance(value, int) else "string_value"
            made.attributes.append(KeyValue(key=name, value=AnyValue(**{kind: value})))
    return request


GENAI = {
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-5-mini",
    "gen_ai.usage.input_tokens": 7,
    "user.id": "ana",
}


def test_spans_are_recorded_once_however_often_they_are_sent(api: Api) -> None:
    """Protobuf, packed, and again as an exporter does after a failure."""
    spans = traced(GENAI, {"db.system": "postgresql"})
    body = export_of(*spans).SerializeToString()
    client = api.as_("writer")
    for content, headers in (
        (body, PROTOBUF),
        (gzip.compress(body), {**PROTOBUF, "Content-Encoding": "gzip"}),
    ):
        answer = client.post("/v1/traces", content=content, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-protobuf"
        told = ExportTraceServiceResponse.FromString(answer.content)
        assert told.partial_success.rejected_spans == 0
    [row] = api.as_().get("/api/v1/calls", params={"service": "shop"}).json()["rows"]
    assert (row["user_id"], row["input_tokens"], row["status"]) == ("ana", 7, "completed")


def test_what_cannot_be_recorded_is_told_as_a_part(api: Api) -> None:
    """The others are recorded."""
    now_ns = time.time_ns()
    spans = [
        {
            "traceId": f"{number:032x}",
            "spanId": f"{number:016x}",
            "startTimeUnixNano": str(start_ns),
            "endTimeUnixNano": str(start_ns),
            "attributes": [{"key": "gen_ai.system", "value": {"stringValue": "openai"}}],
        }
        for number, start_ns in ((1, now_ns), (2, 0), (3, now_ns * 2))
    ]
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    answer = api.as_("writer").post("/v1/traces", json=body)
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "2"
    assert len(api.as_().get("/api/v1/calls").json()["rows"]) == 1


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"[]", {"Content-Type": "application/json"}, 400),
        (b"x", {"Content-Type": "text/plain"}, 415),
        (b"x", {**PROTOBUF, "Content-Encoding": "gzip"}, 400),
        (gzip.compress(bytes(32 << 20)), {**PROTOBUF, "Content-Encoding": "gzip"}, 413),
    ],
)
def test_a_body_that_is_no_export_is_refused_as_otlp_does(
    api: Api, content: bytes, headers: dict[str, str], status: int
) -> None:
    """With a status of google.rpc, in the form of the request."""
    answer = api.as_("writer").post("/v1/traces", content=content, headers=headers)
    assert answer.status_code == status
    if headers["Content-Type"] == "application/json":
        assert {"code", "message"} == set(json.loads(answer.content))


def test_only_who_may_record_may_send_spans(api: Api) -> None:
    """A viewer may not, and nobody without a token."""
    for role, status in (("viewer", 403), ("", 401)):
        answer = api.as_(role).post("/v1/traces", content=b"", headers=PROTOBUF)
        assert answer.status_code == status
