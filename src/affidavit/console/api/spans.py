"""OTLP traces, as protobuf or JSON, read as spans of the kind that OpenTelemetry's SDK has.

Only what a record needs is read. JSON has ids as hexadecimal digits, and whole numbers as texts.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from affidavit.errors import MissingExtra

_ERROR: Final = 2
"""``STATUS_CODE_ERROR``."""

_MOST_SPANS: Final = 10_000
_DEEPEST: Final = 16
_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16


class NotOtlp(ValueError):  # noqa: N818 - what the body is
    """A body that is no export of traces."""


@dataclass(frozen=True, slots=True)
class SpanStatus:
    """How a span ended."""

    is_ok: bool
    description: str | None


@dataclass(frozen=True, slots=True)
class Named:
    """A scope or an event: a name with attributes."""

    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Which span it is."""

    trace_id: int
    span_id: int


@dataclass(frozen=True, slots=True)
class Resource:
    """What a span's process says of itself."""

    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """What :func:`affidavit.capture.otel.receive.parts` reads of a span."""

    place: Place
    start_time: int
    end_time: int
    attributes: Mapping[str, Any]
    events: tuple[Named, ...]
    status: SpanStatus
    resource: Resource
    scope: str

    def get_span_context(self) -> Place:
        """Give its ids."""
        return self.place


# -- protobuf --------------------------------------------------------------------------------------


def from_protobuf(body: bytes) -> list[Span]:
    """Read ``ExportTraceServiceRequest``. Raises NotOtlp, and MissingExtra without the extra."""
    try:
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    except ImportError as error:
        msg = "OTLP needs opentelemetry-proto: pip install 'affidavit[serve]'"
        raise MissingExtra(msg) from error
    request = trace_service_pb2.ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, RecursionError, ValueError) as error:
        msg = "The body is no ExportTraceServiceRequest in protobuf."
        raise NotOtlp(msg) from error
    return list(_few(_spans_of(request)))


def _spans_of(request: Any) -> Iterator[Span]:
    for of_resource in request.resource_spans:
        resource = Resource(_pairs(of_resource.resource.attributes))
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                status = SpanStatus(span.status.code != _ERROR, span.status.message or None)
                yield Span(
                    Place(
                        int.from_bytes(span.trace_id, "big"), int.from_bytes(span.span_id, "big")
                    ),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _pairs(span.attributes),
                    tuple(Named(event.name, _pairs(event.attributes)) for event in span.events),
                    status,
                    resource,
                    of_scope.scope.name,
                )


def _pairs(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _any(pair.value) for pair in pairs}


def _any(value: Any, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or depth > _DEEPEST:
        return None
    given = getattr(value, kind)
    if kind == "array_value":
        return [_any(item, depth + 1) for item in given.values]
    if kind == "kvlist_value":
        return {pair.key: _any(pair.value, depth + 1) for pair in given.values}
    return given


def response_protobuf(rejected: int, why: str) -> bytes:
    """Write ``ExportTraceServiceResponse``."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    response = trace_service_pb2.ExportTraceServiceResponse()
    if rejected or why:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = why
    return bytes(response.SerializeToString())


def status_protobuf(code: int, message: str) -> bytes:
    """Write ``google.rpc.Status``, which OTLP answers errors with: two fields."""
    text = message.encode()
    return b"\x08" + _varint(code) + b"\x12" + _varint(len(text)) + text


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# -- JSON ------------------------------------------------------------------------------------------


def from_json(body: bytes) -> list[Span]:
    """Read the JSON form. Raises NotOtlp."""
    try:
        request = msgspec.json.decode(body)
        return list(_few(_spans_in(request)))
    except NotOtlp:
        raise
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        AttributeError,
        TypeError,
        KeyError,
        ValueError,
        OverflowError,
    ) as error:
        msg = "The body is no ExportTraceServiceRequest in JSON."
        raise NotOtlp(msg) from error


def _spans_in(request: Any) -> Iterator[Span]:
    for of_resource in _list(_object(request).get("resourceSpans")):
        told = _object(_object(of_resource).get("resource"))
        resource = Resource(_json_pairs(told.get("attributes")))
        for of_scope in _list(of_resource.get("scopeSpans")):
            scope = str(_object(_object(of_scope).get("scope")).get("name") or "")
            for span in _list(of_scope.get("spans")):
                yield _json_span(_object(span), resource, scope)


def _json_span(span: Mapping[str, Any], resource: Resource, scope: str) -> Span:
    status = _object(span.get("status"))
    code = status.get("code", 0)
    return Span(
        Place(_hex(span.get("traceId"), _TRACE_DIGITS), _hex(span.get("spanId"), _SPAN_DIGITS)),
        _whole(span.get("startTimeUnixNano")),
        _whole(span.get("endTimeUnixNano")),
        _json_pairs(span.get("attributes")),
        tuple(
            Named(str(event.get("name") or ""), _json_pairs(event.get("attributes")))
            for event in map(_object, _list(span.get("events")))
        ),
        SpanStatus(code not in {_ERROR, "STATUS_CODE_ERROR"}, status.get("message") or None),
        resource,
        scope,
    )


def _json_pairs(pairs: Any) -> dict[str, Any]:
    return {str(pair["key"]): _json_any(pair.get("value")) for pair in map(_object, _list(pairs))}


def _json_any(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - a dispatch over kinds
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return None
    for kind, given in value.items():
        if kind == "intValue":
            return _whole(given)
        if kind == "doubleValue":
            return float(given)
        if kind == "bytesValue":
            try:
                return base64.b64decode(str(given), validate=True)
            except binascii.Error:
                return None
        if kind == "arrayValue":
            return [_json_any(item, depth + 1) for item in _list(_object(given).get("values"))]
        if kind == "kvlistValue":
            inner = map(_object, _list(_object(given).get("values")))
            return {str(pair["key"]): _json_any(pair.get("value"), depth + 1) for pair in inner}
        if kind in {"stringValue", "boolValue"}:
            return given
    return None


def _object(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError
    return value


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError
    return value


def _hex(value: Any, digits: int) -> int:
    text = str(value or "")
    if text and len(text) != digits:
        raise ValueError
    return int(text, 16) if text else 0


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, str) and len(value) > 20):  # noqa: PLR2004 - digits of 64 bits
        raise TypeError
    found = int(value or 0)
    if not -(2**63) <= found < 2**64:
        raise ValueError
    return found


def _few(spans: Iterator[Span]) -> Iterator[Span]:
    for number, span in enumerate(spans):
        if number >= _MOST_SPANS:
            msg = f"More than {_MOST_SPANS} spans. Export fewer at a time."
            raise NotOtlp(msg)
        yield span
