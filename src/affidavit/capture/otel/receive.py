"""Finished GenAI spans become records: an intent at the span's start, an outcome at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from affidavit import _records, context
from affidavit.capture.otel import names
from affidavit.capture.otel.read import Said, read
from affidavit.errors import MissingExtra
from affidavit.event import Status
from affidavit.pipeline import build

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    from affidavit._recorder import Recorder

SCOPE: Final = "affidavit"
"""Instrumentation scope of the spans that Affidavit emits; they are not recorded again."""

_log: Final = logging.getLogger("affidavit")
_COUNTS: Final = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
_MORE: Final = ("response_id", "cache_write_tokens", "server_address", "server_port")


def span_processor(audit: Recorder) -> SpanProcessor:
    """Make a span processor for ``TracerProvider.add_span_processor``.

    Each finished span that is a call to a model becomes two records, with the span's own times.
    Nothing is awaited: the record is put into the queue. Works with both loggers. Raises
    MissingExtra where ``opentelemetry-sdk`` is not installed.
    """
    try:
        from opentelemetry.sdk import trace
    except ImportError as error:
        msg = "span_processor() needs OpenTelemetry's SDK: pip install opentelemetry-sdk"
        raise MissingExtra(msg) from error

    class AuditSpanProcessor(trace.SpanProcessor):
        """Hands finished spans over."""

        def on_end(self, span: ReadableSpan) -> None:
            """Record the span if it is a call to a model."""
            record_span(audit, span)

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            """Wait until the records are in the store; False if they are not, in time."""
            return audit._engine.flush(timeout_millis / 1000)  # noqa: SLF001 - waits, for both facades

    return AuditSpanProcessor()


def record_span(audit: Recorder, span: ReadableSpan) -> str | None:
    """Record one finished span; the call's id, or None where it is no call to a model.

    Never raises.
    """
    try:
        scope = span.instrumentation_scope
        if scope is not None and scope.name == SCOPE:
            return None
        events = [(event.name, event.attributes or {}) for event in span.events]
        said = read(span.attributes or {}, events)
        return None if said is None else _record(audit, span, said)
    except Exception as error:
        _log.warning("affidavit: a span could not be recorded (%s).", type(error).__name__)
        return None


def _record(audit: Recorder, span: ReadableSpan, said: Said) -> str:
    intent_id = _records.new_id()
    defaults = audit._defaults  # noqa: SLF001 - the logger's own half of a record
    who = dimensions(span, said, without_service="service" in defaults)
    intent, outcome = parts(span, said, intent_id.hex(), who, context.current(), defaults)
    audit._enqueue(intent_id, lambda: intent)  # noqa: SLF001 - a span's end may not wait
    audit._enqueue(_records.new_id(), lambda: outcome)  # noqa: SLF001 - as above
    return intent_id.hex()


def parts(
    span: Any,
    said: Said,
    call_id: str,
    who: Mapping[str, Any],
    around: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> tuple[build.Parts, build.Parts]:
    """Say what the two records of a span consist of: the intent, and the outcome.

    ``span`` has what a ReadableSpan has: ``start_time``, ``end_time`` (nanoseconds since 1970),
    ``attributes``, ``events``, ``status``, ``resource`` and ``get_span_context()``.
    """
    start_ns = span.start_time or 0
    end_ns = span.end_time or start_ns
    length = build.text_length(None, said.messages)
    fields = {"operation": said.operation, **_trace(span)}
    if said.facts.get("tools"):
        fields["tools"] = said.facts["tools"]
    arguments = (said.provider, said.model, None, said.messages or None, said.parameters or None)
    intent: build.Parts = (
        build.INTENT,
        call_id,
        start_ns // 1_000_000,
        who,
        around,
        defaults,
        arguments,
        length,
        fields,
    )
    status, error = _status(span, said)
    outcome: build.Parts = (
        build.OUTCOME,
        call_id,
        end_ns // 1_000_000,
        who,
        around,
        defaults,
        said.provider,
        said.model,
        length,
        {"operation": said.operation, **_trace(span)},
        status,
        error,
        _report(said),
        _answer_fields(said),
        round((end_ns - start_ns) / 1e6, 3),
    )
    return intent, outcome


def dimensions(span: Any, said: Said, *, without_service: bool = False) -> dict[str, Any]:
    """Tell who and where, as far as a span and its resource say."""
    facts = said.facts
    found = {
        name: str(facts[name])
        for name in ("user_id", "session_id", "conversation_id")
        if facts.get(name) is not None
    }
    service = str(span.resource.attributes.get("service.name") or "unknown_service")
    if not service.startswith("unknown_service") and not without_service:
        found["service"] = service
    return found


def _trace(span: Any) -> dict[str, str]:
    """Name the span, so that record and trace are found from each other."""
    place = span.get_span_context()
    if place is None:
        return {}
    return {"trace_id": f"{place.trace_id:032x}", "span_id": f"{place.span_id:016x}"}


def _status(span: Any, said: Said) -> tuple[str, tuple[str, str] | None]:
    kind = said.facts.get("error_type")
    text = span.status.description
    for event in span.events:
        if event.name == "exception":
            inside: Mapping[str, Any] = event.attributes or {}
            kind = kind or inside.get("exception.type")
            text = text or str(inside.get("exception.message") or "")
    if kind is None and span.status.is_ok:
        return Status.COMPLETED.value, None
    kind = str(kind or "Error").rpartition(".")[2]
    status = Status.ABORTED if kind in names.ABORTS else Status.FAILED
    return status.value, (kind, text or kind)


def _report(said: Said) -> dict[str, Any]:
    facts = said.facts
    report: dict[str, Any] = {name: _number(facts.get(name)) for name in _COUNTS}
    report["tokens_used"] = _number(facts.get("total_tokens"))
    report |= {
        "text": said.text,
        "model": facts.get("model_used"),
        "finish_reason": next(iter(said.finish_reasons), None),
        "tool_calls": said.tool_calls,
    }
    first_s = facts.get("first_chunk_s")
    if isinstance(first_s, int | float):
        report["time_to_first_token_ms"] = round(first_s * 1000, 3)
    return {name: value for name, value in report.items() if value is not None}


def _answer_fields(said: Said) -> dict[str, Any]:
    fields = {name: said.facts[name] for name in _MORE if said.facts.get(name) is not None}
    if len(said.finish_reasons) > 1:
        fields["finish_reasons"] = said.finish_reasons
    return fields


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
