"""OpenTelemetry, both ways: GenAI spans become records, and calls become spans.

:func:`span_processor` records what other instrumentations trace; :func:`emit_spans` lets a tracing
backend see what is recorded here. Neither sees what the other made. OpenTelemetry is imported when
one of them is called, and is no dependency.
"""

from affidavit.capture.otel.emit import emit_spans
from affidavit.capture.otel.receive import record_span, span_processor

__all__ = ["emit_spans", "record_span", "span_processor"]
