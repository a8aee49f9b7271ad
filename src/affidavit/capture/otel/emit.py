"""Calls recorded here become spans of a tracer, with the names of the GenAI conventions."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from affidavit.capture.otel import names
from affidavit.capture.otel.receive import SCOPE
from affidavit.errors import MissingExtra
from affidavit.event import Document, Status
from affidavit.pipeline import build

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from affidavit._call import CallState
    from affidavit._recorder import Recorder

_log: Final = logging.getLogger("affidavit")

_FROM_OUTCOME: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_tokens": "cached_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "conversation_id": "conversation_id",
    "user_id": "user_id",
    "session_id": "session_id",
    "error_type": "error_type",
}
"""Field at the top of an outcome → fact of :data:`names.FACTS`."""

_FUNCTION: Final = "function"


def emit_spans(
    audit: Recorder, *, tracer_provider: TracerProvider | None = None, content: bool = False
) -> Callable[[], None]:
    """Emit a span for each call that ``audit`` records from now on; returns what stops it.

    ``tracer_provider`` is the global one by default. ``content`` adds messages and answers, which
    are **not redacted**: spans leave by another way than records do. Raises MissingExtra where
    ``opentelemetry-api`` is not installed.
    """
    try:
        from opentelemetry import trace
    except ImportError as error:
        msg = "emit_spans() needs OpenTelemetry: pip install opentelemetry-api"
        raise MissingExtra(msg) from error
    tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)

    def emit(call: CallState) -> None:
        try:
            document = build.document(call.outcome())
            attributes = _attributes(document)
            if content:
                attributes |= _content(call, document)
            end_ns = time.time_ns()
            took_ms = document["response_data"]["processing_time_ms"]
            span = tracer.start_span(
                _title(document),
                kind=trace.SpanKind.CLIENT,
                attributes=attributes,
                start_time=end_ns - int(took_ms * 1e6),
            )
            if document["status"] != Status.COMPLETED:
                span.set_status(trace.StatusCode.ERROR)
            span.end(end_ns)
        except Exception as error:
            _log.warning("affidavit: a span could not be emitted (%s).", type(error).__name__)

    return audit._on_outcome(emit)  # noqa: SLF001 - offered to this module alone


def _title(document: Document) -> str:
    asked = document["request_data"]
    if document["provider"] == _FUNCTION:
        return str(asked.get("function", _FUNCTION))
    return f"{asked.get('operation', 'chat')} {document.get('model') or ''}".rstrip()


def _attributes(document: Document) -> dict[str, Any]:
    asked, answer = document["request_data"], document["response_data"]
    facts = {fact: document.get(name) for name, fact in _FROM_OUTCOME.items()}
    if document["provider"] != _FUNCTION:
        facts["operation"] = asked.get("operation", "chat")
        facts["provider"] = document["provider"]
    facts["model"] = asked.get("model")
    facts["model_used"] = document.get("model")
    facts["response_id"] = answer.get("response_id")
    facts["server_address"] = answer.get("server_address") or asked.get("server_address")
    reason = document.get("finish_reason")
    facts["finish_reasons"] = answer.get("finish_reasons") or ([reason] if reason else None)
    first_ms = document.get("time_to_first_token_ms")
    facts["first_chunk_s"] = None if first_ms is None else first_ms / 1000
    found = {names.FACTS[fact][0]: value for fact, value in facts.items() if value is not None}
    return {**found, "affidavit.call_id": document["call_id"]}


def _content(call: CallState, document: Document) -> dict[str, str]:
    _, _, message, messages, _ = call.arguments
    turns = [{"role": "user", "content": message}] if messages is None else list(messages)
    answer = document["response_data"]
    parts: list[dict[str, Any]] = []
    if answer.get("text") is not None:
        parts.append({"type": "text", "content": answer["text"]})
    parts += [{"type": "tool_call", **_as_dict(made)} for made in answer.get("tool_calls", ())]
    said = {"role": "assistant", "parts": parts, "finish_reason": document.get("finish_reason")}
    whole = {"input_messages": [_parts(turn) for turn in turns], "output_messages": [said]}
    return {names.FACTS[fact][0]: json.dumps(value, default=str) for fact, value in whole.items()}


def _parts(turn: Any) -> dict[str, Any]:
    given = _as_dict(turn)
    held = given.get("content")
    if isinstance(held, str):
        parts: list[Any] = [{"type": "text", "content": held}]
    else:
        parts = list(held) if isinstance(held, list | tuple) else []
    return {"role": given.get("role", "user"), "parts": parts}


def _as_dict(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else {"content": str(value)}
