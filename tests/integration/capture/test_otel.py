"""GenAI spans become records and calls become spans, with OpenTelemetry's own SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import openai
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from affidavit import AsyncAuditLogger
from affidavit.capture.otel import emit_spans, record_span, span_processor
from affidavit.testing import MemoryStore, capture_events
from tests.support.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.testing import Captured

pytestmark = pytest.mark.requirement("R1")

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPhfDwAChwGA60e6kgAAAABJ"

NEW = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet",
    "gen_ai.response.model": "claude-sonnet-2026",
    "gen_ai.conversation.id": "c7",
    "gen_ai.request.max_tokens": 500,
    "gen_ai.request.temperature": 0.25,
    "gen_ai.request.stop_sequences": ("END",),
    "gen_ai.response.id": "msg_1",
    "gen_ai.response.finish_reasons": ("end_turn",),
    "gen_ai.response.time_to_first_chunk": 0.125,
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 80,
    "gen_ai.usage.cache_read.input_tokens": 1000,
    "gen_ai.usage.cache_write.input_tokens": 100,
    "gen_ai.usage.reasoning.output_tokens": 30,
    "server.address": "api.anthropic.com",
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "You trade."}]),
    "gen_ai.input.messages": json.dumps(
        [
            {"role": "user", "parts": [{"type": "text", "content": "Analyze BTCUSDT"}]},
            {
                "role": "assistant",
                "parts": [
                    {"type": "tool_call", "id": "t1", "name": "candles", "arguments": {"n": 3}}
                ],
            },
            {
                "role": "tool",
                "parts": [{"type": "tool_call_response", "id": "t1", "response": "63,000"}],
            },
        ]
    ),
    "gen_ai.output.messages": json.dumps(
        [
            {
                "role": "assistant",
                "parts": [{"type": "text", "content": "Sideways."}],
                "finish_reason": "end_turn",
            }
        ]
    ),
}
"""A span in the words of today."""

OLD = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "anthropic",
    "gen_ai.request.model": "claude-sonnet",
    "gen_ai.response.model": "claude-sonnet-2026",
    "gen_ai.conversation.id": "c7",
    "gen_ai.request.max_tokens": 500,
    "gen_ai.request.temperature": 0.25,
    "gen_ai.request.stop_sequences": ("END",),
    "gen_ai.response.id": "msg_1",
    "gen_ai.response.finish_reasons": ("end_turn",),
    "gen_ai.usage.prompt_tokens": 1200,
    "gen_ai.usage.completion_tokens": 80,
    "gen_ai.usage.cache_read_input_tokens": 1000,
    "gen_ai.usage.cache_creation_input_tokens": 100,
    "gen_ai.usage.reasoning_tokens": 30,
    "server.address": "api.anthropic.com",
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "You trade.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "Analyze BTCUSDT",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "Sideways.",
    "gen_ai.completion.0.finish_reason": "end_turn",
}
"""The same in the words of before."""


@pytest.fixture
def captured() -> Iterator[Captured]:
    """A logger over a store in memory."""
    with capture_events() as one:
        yield one


def tracing(audit: Any) -> TracerProvider:
    """A tracer provider that records into the log."""
    provider = TracerProvider(resource=Resource.create({"service.name": "assistant"}))
    provider.add_span_processor(span_processor(audit))
    return provider


def trace(audit: Any, attributes: dict[str, Any], **more: Any) -> None:
    """Make one finished span."""
    tracer = tracing(audit).get_tracer("some.instrumentation")
    with tracer.start_as_current_span(
        "chat m", kind=SpanKind.CLIENT, attributes=attributes
    ) as span:
        for name, inside in more.get("events", ()):
            span.add_event(name, inside)


@pytest.mark.parametrize("attributes", [NEW, OLD], ids=["new", "old"])
def test_a_span_becomes_intent_and_outcome(attributes: dict[str, Any], captured: Captured) -> None:
    """Old and new names give the same record."""
    trace(captured.audit, attributes)
    intent, outcome = captured.records
    assert (intent["event_type"], intent["status"]) == ("llm_request", "initiated")
    assert intent["call_id"] == outcome["call_id"] == str(intent["_id"])
    for record in (intent, outcome):
        assert (record["provider"], record["conversation_id"]) == ("anthropic", "c7")
        assert record["service"] == "assistant"
        assert len(record["request_data"]["trace_id"]) == 32
        assert len(record["request_data"]["span_id"]) == 16
    assert intent["model"] == "claude-sonnet"
    assert intent["request_data"]["operation"] == "chat"
    assert intent["request_data"]["parameters"] == {
        "max_tokens": 500, "temperature": 0.25, "stop": ["END"],
    }  # fmt: skip
    assert intent["request_data"]["messages"][:2] == [
        {"role": "system", "content": "You trade."},
        {"role": "user", "content": "Analyze BTCUSDT"},
    ]
    assert (outcome["status"], outcome["model"]) == ("completed", "claude-sonnet-2026")
    assert outcome["finish_reason"] == "end_turn"
    counts = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    assert [outcome[name] for name in counts] == [1200, 80, 1000, 30]
    response = outcome["response_data"]
    assert (response["text"], response["response_id"]) == ("Sideways.", "msg_1")
    assert response["cache_write_tokens"] == 100
    assert response["server_address"] == "api.anthropic.com"


def test_tool_calls_and_their_results_are_turns(captured: Captured) -> None:
    """Parts become what SDKs write."""
    trace(captured.audit, NEW)
    asked, result = captured.records[0]["request_data"]["messages"][2:]
    assert asked["tool_calls"] == [{"id": "t1", "name": "candles", "arguments": {"n": 3}}]
    assert result["content"] == [{"type": "tool_call_response", "id": "t1", "response": "63,000"}]
    assert captured.records[1]["time_to_first_token_ms"] == 125.0


def test_pictures_are_kept_by_hash(captured: Captured) -> None:
    """A blob's data does not reach the log."""
    parts = [
        {"type": "text", "content": "What is this?"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": PIXEL},
    ]
    messages = json.dumps([{"role": "user", "parts": parts}])
    trace(captured.audit, {**NEW, "gen_ai.input.messages": messages})
    turn = captured.records[0]["request_data"]["messages"][1]
    assert turn["content"][1]["type"] == "image"
    assert turn["content"][1]["media_type"] == "image/png"
    assert len(turn["content"][1]["sha256"]) == 64
    assert PIXEL not in str(captured.records)


def test_content_in_events_is_read(captured: Captured) -> None:
    """Both forms that events have had."""
    plain = {"gen_ai.system": "openai", "gen_ai.request.model": "m"}
    trace(
        captured.audit,
        plain,
        events=[
            ("gen_ai.user.message", {"content": "Analyze"}),
            ("gen_ai.choice", {"message": '{"content": "Up."}', "finish_reason": "stop"}),
        ],
    )
    trace(
        captured.audit,
        plain,
        events=[
            ("gen_ai.content.prompt", {"gen_ai.prompt": "Analyze"}),
            ("gen_ai.content.completion", {"gen_ai.completion": "Up."}),
        ],
    )
    for intent, outcome in (captured.records[:2], captured.records[2:]):
        assert intent["request_data"]["messages"] == [{"role": "user", "content": "Analyze"}]
        assert outcome["response_data"]["text"] == "Up."
    assert captured.records[1]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("before", "now"),
    [("az.ai.openai", "azure.ai.openai"), ("vertex_ai", "gcp.vertex_ai"), ("xai", "x_ai"),
     ("Groq", "groq")],
)  # fmt: skip
def test_old_names_of_providers_become_new_ones(before: str, now: str, captured: Captured) -> None:
    """So that one provider is one name in the log."""
    trace(captured.audit, {"gen_ai.system": before})
    assert captured.records[0]["provider"] == now


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"http.request.method": "POST"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "candles"},
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "openai"},
    ],
)
def test_other_spans_leave_nothing(attributes: dict[str, Any], captured: Captured) -> None:
    """Tools and agents are around calls to models; those have spans of their own."""
    trace(captured.audit, attributes)
    assert captured.records == []


def test_a_failed_span_is_a_failed_call(captured: Captured) -> None:
    """With the exception's class and text; a cancelled one is aborted."""
    tracer = tracing(captured.audit).get_tracer("t")
    with (
        pytest.raises(ValueError, match="no such model"),
        tracer.start_as_current_span("chat", attributes=OLD),
    ):
        raise ValueError("no such model")
    span = tracer.start_span("chat", attributes={**NEW, "error.type": "asyncio.CancelledError"})
    span.set_status(StatusCode.ERROR)
    span.end()
    outcomes = [r for r in captured.records if r["event_type"] == "llm_response"]
    assert [(r["status"], r["error_type"]) for r in outcomes] == [
        ("failed", "ValueError"),
        ("aborted", "CancelledError"),
    ]
    assert outcomes[0]["error_message"] == "ValueError: no such model"


def test_the_records_have_the_times_of_the_span(captured: Captured) -> None:
    """Not the times at which it was handed over."""
    tracer = tracing(captured.audit).get_tracer("t")
    start_ns = 1_750_000_000_000_000_000
    tracer.start_span("chat", attributes=NEW, start_time=start_ns).end(start_ns + 1_500_000_000)
    intent, outcome = captured.records
    assert intent["timestamp"].timestamp() == 1_750_000_000
    assert outcome["timestamp"].timestamp() == 1_750_000_001.5
    assert outcome["response_data"]["processing_time_ms"] == 1500.0


def test_the_caller_is_that_of_the_span_or_of_the_context(captured: Captured) -> None:
    """The span's own word goes over the context's."""
    with captured.audit.context(user_id="ana", department="research"):
        trace(captured.audit, NEW)
        trace(captured.audit, {**NEW, "user.id": "bob", "session.id": "s1"})
    users = [(r["user_id"], r["department"]) for r in captured.records]
    assert users == [("ana", "research")] * 2 + [("bob", "research")] * 2
    assert captured.records[-1]["session_id"] == "s1"


def test_what_cannot_be_read_stops_nobody(captured: Captured) -> None:
    """Odd values are recorded as they are, or left out."""
    trace(
        captured.audit,
        {**NEW, "gen_ai.input.messages": "[broken", "gen_ai.usage.input_tokens": "x"},
    )
    assert captured.records[0]["request_data"]["messages"][1]["content"] == "[broken"
    assert "input_tokens" not in captured.records[1]
    assert record_span(captured.audit, ReadableSpan("bare")) is None


async def test_the_processor_works_with_the_asynchronous_logger() -> None:
    """A span's end waits for nothing; a forced flush waits for the store."""
    store = MemoryStore()
    async with AsyncAuditLogger(store) as audit:
        provider = tracing(audit)
        provider.get_tracer("t").start_span("chat", attributes=NEW).end()
        assert provider.force_flush()
        assert len(store.documents("records")) == 2


# -- the other way -----------------------------------------------------------------------------


def exporting() -> tuple[TracerProvider, InMemorySpanExporter]:
    """A tracer provider that keeps its spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_a_call_becomes_a_span_with_the_new_names(captured: Captured) -> None:
    """As a child of the span around it, with the call's times, and no content."""
    provider, exporter = exporting()
    stop = emit_spans(captured.audit, tracer_provider=provider)
    with (
        provider.get_tracer("app").start_as_current_span("request") as around,
        captured.audit.call(
            provider="anthropic", model="claude", message="secret question", conversation_id="c7"
        ) as call,
    ):
        call.complete(
            text="secret answer", model="claude-2026", input_tokens=1200, output_tokens=80,
            cached_tokens=1000, reasoning_tokens=30, finish_reason="end_turn",
            time_to_first_token_ms=125.0, fields={"response_id": "msg_1"},
        )  # fmt: skip
    stop()
    with captured.audit.call(provider="p") as other:
        other.complete()
    span, _ = exporter.get_finished_spans()
    attributes = dict(span.attributes or {})
    assert span.name == "chat claude-2026"
    assert span.kind is SpanKind.CLIENT
    assert span.parent is not None
    assert span.parent.span_id == around.get_span_context().span_id
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude",
        "gen_ai.response.model": "claude-2026",
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.response.time_to_first_chunk": 0.125,
        "gen_ai.conversation.id": "c7",
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 80,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.reasoning.output_tokens": 30,
        "affidavit.call_id": call.call_id,
    }
    assert span.end_time
    assert span.start_time
    assert span.end_time >= span.start_time


def test_content_is_emitted_when_asked_for(captured: Captured) -> None:
    """In the parts of the conventions; reading the span back gives the same call."""
    provider, exporter = exporting()
    stop = emit_spans(captured.audit, tracer_provider=provider, content=True)
    turns = [{"role": "system", "content": "You trade."}, {"role": "user", "content": "Analyze"}]
    with captured.audit.call(provider="openai", model="gpt", messages=turns) as call:
        call.complete(text="Up.", tool_calls=[{"id": "t", "name": "n", "arguments": {}}])
    stop()
    (span,) = exporter.get_finished_spans()
    with capture_events() as other:
        other_span = ReadableSpan(
            span.name, context=span.get_span_context(), attributes=span.attributes,
            start_time=span.start_time, end_time=span.end_time, status=span.status,
        )  # fmt: skip
        record_span(other.audit, other_span)
        intent, outcome = other.records
    assert intent["request_data"]["messages"] == turns
    assert outcome["response_data"]["text"] == "Up."
    assert outcome["response_data"]["tool_calls"] == [{"id": "t", "name": "n", "arguments": {}}]


def test_a_failed_call_is_a_failed_span(captured: Captured) -> None:
    """With its class as `error.type`, and without the error's text."""
    provider, exporter = exporting()
    emit_spans(captured.audit, tracer_provider=provider)
    with pytest.raises(ValueError, match="secret"), captured.audit.call(provider="p"):
        raise ValueError("secret")
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == "ValueError"
    assert "secret" not in span.to_json()


def test_both_ways_at_once_go_round_in_no_circle(captured: Captured) -> None:
    """What Affidavit emits, it does not record again."""
    provider = tracing(captured.audit)
    emit_spans(captured.audit, tracer_provider=provider)
    with captured.audit.call(provider="p") as call:
        call.complete()
    assert provider.force_flush()
    assert len(captured.records) == 2


def test_an_observed_function_is_a_span_of_its_name(captured: Captured) -> None:
    """It is no operation of a model."""
    provider, exporter = exporting()
    emit_spans(captured.audit, tracer_provider=provider)
    captured.audit.observe(name="classify")(lambda: "trend")()
    (span,) = exporter.get_finished_spans()
    assert span.name == "classify"
    assert "gen_ai.operation.name" not in dict(span.attributes or {})


def test_a_wrapped_client_is_a_span_with_what_the_provider_sent(captured: Captured) -> None:
    """Plain and streamed; the log has what it has without spans."""
    provider, exporter = exporting()
    emit_spans(captured.audit, tracer_provider=provider)
    asked: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Analyze"}]}
    with Provider() as model, openai.OpenAI(base_url=model.openai_url, api_key="k") as client:
        captured.audit.wrap(client)
        client.chat.completions.create(**asked)
        list(client.chat.completions.create(**asked, stream=True))
        expected = model.requests[0].expected
    first, second = exporter.get_finished_spans()
    attributes = dict(first.attributes or {})
    assert (first.name, second.name) == ("chat gpt-4o", "chat gpt-4o")
    assert attributes["gen_ai.usage.input_tokens"] == expected["input_tokens"]
    assert attributes["gen_ai.response.id"] == expected["response_id"]
    outcomes = [r for r in captured.records if r["event_type"] == "llm_response"]
    assert [r["status"] for r in outcomes] == ["completed", "completed"]
    assert outcomes[0]["response_data"]["text"] == expected["text"]


async def test_calls_of_the_asynchronous_logger_become_spans() -> None:
    """The same, awaited."""
    provider, exporter = exporting()
    async with AsyncAuditLogger(MemoryStore()) as audit:
        emit_spans(audit, tracer_provider=provider)
        async with audit.call(provider="p", model="m") as call:
            call.complete()
    assert [span.name for span in exporter.get_finished_spans()] == ["chat m"]


def test_nothing_of_opentelemetry_is_imported_before_it_is_used() -> None:
    """It is no dependency."""
    code = "import sys, affidavit, affidavit.capture.otel; print('opentelemetry' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
