"""From what a client sent to records on their way: ids, times, who and where. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from affidavit import _records
from affidavit.console.api import shapes
from affidavit.console.visitor import Scope
from affidavit.context import KNOWN
from affidavit.event import CALL_UNCHECKED, Document, EventType
from affidavit.pipeline import build
from affidavit.pipeline.snapshot import is_plain

AHEAD: Final = timedelta(minutes=5)
"""How far a client's clock may be ahead of this one's."""

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
MAX_USD: Final = 10**9
_NOTHING: Final[Mapping[str, Any]] = {}


Whose = tuple[str | None, str | None]
"""The department and the tenant of a call."""


class NotRecordable(ValueError):  # noqa: N818 - what the document is
    """A document that is well formed and makes no sense, or is not this client's to write."""

    def __init__(self, field: str, what: str, *, forbidden: bool = False) -> None:
        super().__init__(what)
        self.field, self.what, self.forbidden = field, what, forbidden


@dataclass(frozen=True, slots=True)
class Part:
    """One record: its id, and what it consists of."""

    id: bytes
    said: build.Parts | Document
    plain: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What one document became."""

    type: str
    id: bytes
    """Of the call for a call, else of the record."""
    parts: tuple[Part, ...]
    chosen: bool
    """Whether the client chose the id, so that the same may come again."""
    about: bytes | None = None
    """The call that it is about, if that is another document's."""
    whose: Whose = (None, None)
    """Of a call or an outcome: the department and tenant that it names."""
    unchecked: bool = False
    """Whether it is a whole call that may be another's: its outcome is marked, and looked at again
    where it is stored."""


def made(record: shapes.Record, scope: Scope, now: datetime) -> Made:
    """Make records of a document. Raises NotRecordable."""
    who = _who(record, scope)
    given = None if record.id is None else bytes.fromhex(record.id)
    if isinstance(record, shapes.Call | shapes.Intent):
        return _asked(record, given, who, now)
    if isinstance(record, shapes.Outcome):
        return _outcome(record, given, who, now)
    return _event(record, given, who, now)


def unchecked(made: Made) -> Made:
    """Mark a whole call of which nobody can tell whose it is."""
    intent, outcome = made.parts
    said = outcome.said if isinstance(outcome.said, dict) else build.document(outcome.said)
    # The mark stands first: the store looks for it there (see store.unchecked).
    marked = Part(outcome.id, {CALL_UNCHECKED: True, **said}, plain=False)
    return replace(made, parts=(intent, marked), unchecked=True)


def later_id(call_id: bytes, what: str = "outcome") -> bytes:
    """Derive the id of a call's later record: the same again has the same id."""
    return sha256(what.encode() + b"\0" + call_id).digest()[:12]


# -- calls -----------------------------------------------------------------------------------------


def _asked(
    record: shapes.Call | shapes.Intent, given: bytes | None, who: Document, now: datetime
) -> Made:
    call_id = given or _records.new_id()
    finished = isinstance(record, shapes.Call)
    latency_ms = record.latency_ms if isinstance(record, shapes.Call) else None
    start = _moment(record.started_at, "started_at", now)
    if start is None:
        start = now - timedelta(milliseconds=latency_ms or 0.0)
    length = build.text_length(record.message, record.messages)
    arguments = (record.provider, record.model, record.message, record.messages, record.parameters)
    plain = record.fields is None or is_plain(record.fields)
    intent: build.Parts = (
        build.INTENT,
        call_id.hex(),
        _ms(start),
        who,
        _NOTHING,
        _NOTHING,
        arguments,
        length,
        record.fields,
    )
    parts = [Part(call_id, intent, plain)]
    if isinstance(record, shapes.Call):
        end = start + timedelta(milliseconds=latency_ms or 0.0)
        outcome_id = _records.new_id() if given is None else later_id(call_id)
        said = _outcome_parts(record, call_id, end, who, length)
        parts.append(Part(outcome_id, said, plain and _answer_is_plain(record.answer)))
    whose = who.get("department"), who.get("tenant")
    kind = "call" if finished else "intent"
    return Made(kind, call_id, tuple(parts), given is not None, whose=whose)


def _outcome(record: shapes.Outcome, given: bytes | None, who: Document, now: datetime) -> Made:
    call_id = bytes.fromhex(record.call_id)
    end = _moment(record.ended_at, "ended_at", now) or now
    said = _outcome_parts(record, call_id, end, who, None)
    plain = (record.fields is None or is_plain(record.fields)) and _answer_is_plain(record.answer)
    # A call has one outcome: without an id of its own it has the one that a repetition has.
    part = Part(given or later_id(call_id), said, plain)
    whose = who.get("department"), who.get("tenant")
    return Made("outcome", part.id, (part,), chosen=True, about=call_id, whose=whose)


def _outcome_parts(
    record: shapes.Call | shapes.Outcome,
    call_id: bytes,
    end: datetime,
    who: Document,
    length: int | None,
) -> build.Parts:
    status = record.status or ("failed" if record.error is not None else "completed")
    error = None
    if record.error is not None:
        if status == "completed":
            raise NotRecordable("status", "a completed call has no error")
        error = (record.error.type, record.error.message or record.error.type)
    elif status != "completed":
        error = ("Error", "The client gave no reason.")
    answer = record.answer or shapes.Answer()
    cost = answer.cost_usd
    if cost is not None and not (cost.is_finite() and 0 <= cost < MAX_USD):
        raise NotRecordable("answer.cost_usd", "must be a number of dollars, 0 or more")
    report = {
        name: value
        for name in (*_TOLD, "tool_calls")
        if (value := getattr(answer, name)) is not None
    }
    if cost is not None:
        report["cost_usd"] = str(cost)
    brief = {
        name: value
        for name, value in (record.fields or {}).items()
        if not (isinstance(value, str) and len(value) > build.SHORT)
    }
    return (
        build.OUTCOME,
        call_id.hex(),
        _ms(end),
        who,
        _NOTHING,
        _NOTHING,
        record.provider,
        record.model,
        length,
        brief,
        status,
        error,
        report,
        answer.fields or {},
        record.latency_ms,
    )


_TOLD: Final = (
    *("text", "provider_used", "model", "input_tokens", "output_tokens", "cached_tokens"),
    *("reasoning_tokens", "tokens_used", "finish_reason", "time_to_first_token_ms"),
)


# -- events ----------------------------------------------------------------------------------------


def _event(
    record: shapes.RateLimit | shapes.Security | shapes.Annotation,
    given: bytes | None,
    who: Document,
    now: datetime,
) -> Made:
    at = _moment(record.at, "at", now) or now
    details: dict[str, Any]
    more: dict[str, Any] = {}
    if isinstance(record, shapes.RateLimit):
        kind = EventType.RATE_LIMIT_EXCEEDED
        details = {
            "limit_type": record.limit_type,
            "current_usage": record.current_usage,
            "details": record.details,
        }
        more["success"] = False
    elif isinstance(record, shapes.Security):
        kind = EventType.SECURITY_EVENT
        details = {"kind": record.kind, "severity": record.severity, "details": record.details}
    else:
        kind = EventType.ANNOTATION
        details = {name: getattr(record, name) for name in ("kind", "name", "value", "ref", "note")}
    call_id = None if isinstance(record, shapes.RateLimit) else record.call_id
    if call_id is not None:
        more["call_id"] = call_id
    known = build.known(who, _NOTHING, _NOTHING)
    document = build.envelope(kind.value, None, None, _ms(at), known) | more
    document["details"] = {name: value for name, value in details.items() if value is not None}
    part = Part(given or _records.new_id(), document, plain=False)
    about = None if call_id is None else bytes.fromhex(call_id)
    name = {
        EventType.RATE_LIMIT_EXCEEDED: "rate_limit",
        EventType.SECURITY_EVENT: "security",
    }.get(kind, "annotation")
    return Made(name, part.id, (part,), given is not None, about)


# -- who, where, when ------------------------------------------------------------------------------


def _who(record: shapes.Record, scope: Scope) -> Document:
    """Give the dimensions; those of the client's scope where it has only one."""
    who = {name: value for name in KNOWN if (value := getattr(record, name)) is not None}
    for name, allowed in (("department", scope.departments), ("tenant", scope.tenants)):
        if allowed is None:
            continue
        if name not in who and len(allowed) == 1:
            who[name] = allowed[0]
        if who.get(name) not in allowed:
            what = f"this token may write for its own {name} only"
            raise NotRecordable(name, what, forbidden=True)
    return who


def _moment(given: datetime | None, field: str, now: datetime) -> datetime | None:
    if given is None:
        return None
    try:
        moment = given.astimezone(UTC)
    except OverflowError:
        moment = EARLIEST - AHEAD
    if not EARLIEST <= moment <= now + AHEAD:
        raise NotRecordable(field, "must lie after 2000 and not in the future")
    return moment


def _ms(moment: datetime) -> int:
    return int((moment - _EPOCH) / timedelta(milliseconds=1))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _answer_is_plain(answer: shapes.Answer | None) -> bool:
    return answer is None or answer.fields is None or is_plain(answer.fields)
