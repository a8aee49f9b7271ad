"""What a client may send as a record: the public shape, checked field by field.

Each document has a ``type``: ``call`` (a finished call, in one document), ``intent`` and
``outcome`` (the same in two, before and after the model is asked), ``rate_limit``, ``security`` and
``annotation``. Errors name the field and what is expected; what was sent is never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

MOST_RECORDS: Final = 1000
"""Documents in one request."""

MOST_ERRORS: Final = 20
"""Errors of one request that are listed."""

Id: TypeAlias = Annotated[
    str,
    Meta(
        pattern="^[0-9a-f]{24}$",
        max_length=24,
        description="24 hexadecimal digits, chosen by the client; the same id is recorded once.",
    ),
]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
Who: TypeAlias = Annotated[str, Meta(max_length=500)]
Moment: TypeAlias = Annotated[
    datetime, Meta(tz=True, description="RFC 3339 with a zone, such as 2026-11-23T09:30:00.5Z.")
]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Milliseconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
Text: TypeAlias = str
Fields: TypeAlias = dict[str, Any]
Status: TypeAlias = Literal["completed", "failed", "aborted"]


class _Base(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    """What every document may have."""

    id: Id | None = msgspec.field(name="_id", default=None)
    user_id: Who | None = None
    department: Who | None = None
    tenant: Who | None = None
    environment: Who | None = None
    service: Who | None = None
    session_id: Who | None = None
    conversation_id: Who | None = None
    ip_address: Who | None = None
    user_agent: Annotated[str, Meta(max_length=2000)] | None = None


class Failure(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why a call failed."""

    type: Name = "Error"
    message: Text = ""


class Answer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What came back. Counts are the provider's; input_tokens includes the cached ones."""

    text: Text | None = None
    provider_used: Name | None = None
    model: Name | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    tokens_used: Count | None = None
    cost_usd: (
        Annotated[
            Decimal,
            Meta(description="Dollars, as a decimal text; a number is taken as it is written."),
        ]
        | None
    ) = None
    finish_reason: Name | None = None
    time_to_first_token_ms: Milliseconds | None = None
    tool_calls: list[Any] | None = None
    fields: Fields | None = None


class _Asked(_Base, kw_only=True):
    """The request to a model."""

    provider: Name
    model: Name | None = None
    message: Text | None = None
    messages: list[Any] | None = None
    parameters: Fields | None = None
    fields: Fields | None = None
    started_at: Moment | None = None


class Call(_Asked, kw_only=True, tag="call"):
    """A finished call in one document: recorded as an intent and an outcome."""

    latency_ms: Milliseconds | None = None
    status: Status | None = None
    answer: Answer | None = None
    error: Failure | None = None


class Intent(_Asked, kw_only=True, tag="intent"):
    """A call that is about to be made. Its id is the call_id of the outcome."""


class Outcome(_Base, kw_only=True, tag="outcome"):
    """What became of a call. Say again who and where: each record is read by itself."""

    call_id: Id
    provider: Name
    model: Name | None = None
    fields: Fields | None = None
    ended_at: Moment | None = None
    latency_ms: Milliseconds | None = None
    status: Status | None = None
    answer: Answer | None = None
    error: Failure | None = None


class RateLimit(_Base, kw_only=True, tag="rate_limit"):
    """Somebody hit a limit."""

    limit_type: Name
    current_usage: Fields | None = None
    details: Fields | None = None
    at: Moment | None = None


class Security(_Base, kw_only=True, tag="security"):
    """An attack, a bypass attempt or abuse."""

    kind: Name
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    details: Fields | None = None
    call_id: Id | None = None
    at: Moment | None = None


class Annotation(_Base, kw_only=True, tag="annotation"):
    """A score, a review or a decision about a call."""

    call_id: Id
    kind: Literal["score", "review", "decision"]
    name: Name
    value: Any = None
    ref: Annotated[str, Meta(max_length=2000)] | None = None
    note: Text | None = None
    at: Moment | None = None


Record: TypeAlias = Call | Intent | Outcome | RateLimit | Security | Annotation
TYPES: Final = ("call", "intent", "outcome", "rate_limit", "security", "annotation")

_one: Final = msgspec.json.Decoder(Record)
_many: Final = msgspec.json.Decoder(list[Record])
_raw: Final = msgspec.json.Decoder(list[msgspec.Raw])
_AT: Final = re.compile(r" - at `([^`]{1,200})`\Z")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `([A-Za-z0-9_.-]{1,60})`")
_HARMLESS: Final = ("Expected ", "Object missing required field ")


class Unreadable(Exception):  # noqa: N818 - what the body is
    """A body that holds no records. ``errors`` has one entry for each place."""

    def __init__(self, errors: Sequence[dict[str, Any]]) -> None:
        super().__init__("unreadable")
        self.errors = list(errors)


def read(body: bytes, *, lines: bool) -> tuple[list[Record], bool]:
    """Read records: one object, an array, or a line for each; and whether it was one object.

    Raises :class:`Unreadable`.
    """
    try:
        if lines:
            return _checked(_one.decode_lines(body)), False
        if body.lstrip(b" \t\r\n")[:1] == b"{":
            return [_one.decode(body)], True
        return _checked(_many.decode(body)), False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(_errors(body, error, lines=lines)) from error


def _checked(records: list[Record]) -> list[Record]:
    if len(records) > MOST_RECORDS:
        what = f"{len(records)} records; send {MOST_RECORDS} at most"
        raise Unreadable([{"record": None, "field": None, "what": what}])
    if not records:
        raise Unreadable([{"record": None, "field": None, "what": "no records"}])
    return records


def _errors(body: bytes, error: Exception, *, lines: bool) -> list[dict[str, Any]]:
    """Find what is wrong with each record, not only with the first."""
    try:
        rows = (
            _raw.decode(body)
            if not lines
            else [msgspec.Raw(line) for line in body.splitlines() if line.strip()]
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [_said(error, None)]
    found: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        try:
            _one.decode(row)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as each:
            found.append(_said(each, number))
            if len(found) == MOST_ERRORS:
                break
    return found or [_said(error, None)]


def _said(error: Exception, number: int | None) -> dict[str, Any]:
    """Say an error of the decoder without what was sent."""
    if isinstance(error, RecursionError):
        return {"record": number, "field": None, "what": "nested too deeply"}
    if isinstance(error, UnicodeDecodeError):
        return {"record": number, "field": None, "what": "not UTF-8"}
    text = str(error)
    place = _AT.search(text)
    path = None if place is None else place[1].removeprefix("$").removeprefix(".") or None
    head = text if place is None else text[: place.start()]
    unknown = _UNKNOWN.fullmatch(head)
    if path == "type":
        what = f"must be one of {', '.join(TYPES)}"
    elif unknown is not None:
        what = f"unknown field {unknown[1]}; fields of your own go into fields"
    elif head.startswith("Invalid enum value"):
        what = "not one of the values that are allowed"
    elif head.startswith(_HARMLESS):
        what = head.replace("`", "")
    elif not isinstance(error, msgspec.ValidationError):
        what = "not JSON"
    else:
        what = "not valid"
    return {"record": number, "field": path, "what": what}


def schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the shapes as JSON Schema: of a record, and the components that it names."""
    (schema,), components = msgspec.json.schema_components(
        [Record], ref_template="#/components/schemas/{name}"
    )
    return schema, components
