"""From what the application said to the document of a record, in the shape of the sample (R3).

A call's two records travel to the writer as *parts*, a flat tuple of what was said, and become
documents there: building them takes longer than everything else a caller would have to do. What
the quick snapshot cannot take is built on the caller's thread instead, by the same functions.

Pure functions of plain values; nothing here waits, locks or raises on odd ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from affidavit.event import DIMENSIONS, SCHEMA_VERSION, Document, EventType, Status

Parts: TypeAlias = tuple[Any, ...]
"""The event type, then the arguments of :func:`intent` or :func:`outcome`, in order."""


class Read(NamedTuple):
    """An answer that its call left unread, and the writer has read."""

    report: Mapping[str, Any]
    fields: Mapping[str, Any]
    error: Sequence[str] | None
    """Name and text of a failure that the answer tells of."""
    odd: Sequence[str]


READERS: Final[dict[str, Callable[[str, str, bytes], Read]]] = {}
"""Who reads such answers, by the name the call gave: of a kind, with a media type. Never raises.
Filled by what records such calls."""

INTENT: Final = EventType.LLM_REQUEST.value
OUTCOME: Final = EventType.LLM_RESPONSE.value

_COMPLETED: Final = Status.COMPLETED.value
_FAILED: Final = Status.FAILED.value
_INITIATED: Final = Status.INITIATED.value
_COUNTS: Final = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
_TOLD: Final = ("finish_reason", "time_to_first_token_ms")
_REQUEST_OWN: Final = frozenset(
    {"message", "message_length", "messages", "provider", "model", "parameters"}
)
_RESPONSE_OWN: Final = frozenset(
    {"text", "response_length", "provider_used", "tokens_used", "cost_usd", "processing_time_ms"}
)
_INT64: Final = 2**63
SHORT: Final = 256
"""Characters up to which a field of the application is repeated in the outcome, for questions."""


def document(parts: Sequence[Any]) -> Document:
    """Build the document of a call's record."""
    kind, *said = parts
    return intent(*said) if kind == INTENT else outcome(*said)


def withheld(parts: Sequence[Any]) -> Document:
    """Build what stands where :func:`document` failed: which call, and when."""
    kind, call_id, epoch_ms = parts[:3]
    status = _INITIATED if kind == INTENT else Status.ABORTED.value
    return envelope(kind, status, call_id, epoch_ms, {"user_id": None})


def intent(
    call_id: str,
    epoch_ms: int,
    dimensions: Mapping[str, Any],
    around: Mapping[str, Any],
    defaults: Mapping[str, Any],
    arguments: Sequence[Any],
    length: int | None,
    fields: Mapping[str, Any] | None,
) -> Document:
    """Build the record that is written before the model is asked."""
    provider, model, message, messages, parameters = arguments
    who = known(dimensions, around, defaults)
    whole = envelope(INTENT, _INITIATED, call_id, epoch_ms, who)
    asked: Document = {"message": message, "message_length": length}
    if messages is not None:
        asked["messages"] = messages
    whole["provider"] = asked["provider"] = provider
    if model is not None:
        whole["model"] = asked["model"] = model
    if parameters is not None:
        asked["parameters"] = parameters
    if isinstance(fields, Mapping):
        _add(asked, fields, _REQUEST_OWN)
    whole["request_data"] = asked
    return whole


def outcome(  # noqa: PLR0913, PLR0917 - as above
    call_id: str,
    epoch_ms: int,
    dimensions: Mapping[str, Any],
    around: Mapping[str, Any],
    defaults: Mapping[str, Any],
    asked_provider: str,
    asked_model: str | None,
    length: int | None,
    asked_fields: Mapping[str, Any] | None,
    status: str,
    error: Sequence[str] | None,
    report: Mapping[str, Any],
    fields: Mapping[str, Any],
    took_ms: float,
    unread: Sequence[Any] | None = None,
) -> Document:
    """Build the record that is written when the call is over.

    ``unread``: an answer as it came; who reads it (see :data:`READERS`), its kind, its media type
    and its bytes.
    """
    noticed: Sequence[str] = ()
    if unread is not None:
        who, kind, media_type, body = unread
        report, read, told, noticed = READERS[who](kind, media_type, body)
        fields = {**read, **fields}
        if told is not None and status == _COMPLETED:
            status, error = _FAILED, told
    whole = envelope(OUTCOME, status, call_id, epoch_ms, known(dimensions, around, defaults))
    whole["success"] = status == _COMPLETED
    whole["error_message"] = None
    if error is not None:
        whole["error_type"], whole["error_message"] = error
    provider, model = report.get("provider_used"), report.get("model")
    whole["provider"] = provider = asked_provider if provider is None else provider
    model = asked_model if model is None else model
    if model is not None:
        whole["model"] = model
    odd = [*noticed, *_add_told(whole, report)]
    brief: Document = {"message_length": length, "provider": asked_provider}
    if asked_model is not None:
        brief["model"] = asked_model
    if isinstance(asked_fields, Mapping):
        _add(brief, {k: v for k, v in asked_fields.items() if _is_short(v)}, _REQUEST_OWN)
    whole["request_data"] = brief
    text, cost = report.get("text"), report.get("cost_usd")
    answer: Document = {} if text is None else {"text": text}
    answer["response_length"] = len(text) if isinstance(text, str) else None
    answer["provider_used"] = provider
    answer["tokens_used"] = _tokens_used(report, whole, odd)
    answer["cost_usd"] = decimal_text(cost)
    answer["processing_time_ms"] = took_ms
    if report.get("tool_calls") is not None:
        answer["tool_calls"] = report["tool_calls"]
    _add(answer, fields, _RESPONSE_OWN)
    whole["response_data"] = answer
    if cost is not None and answer["cost_usd"] is None:
        odd.append("cost_not_a_number")
    if odd:
        whole["odd"] = sorted(set(odd))
    return whole


def _add_told(whole: Document, report: Mapping[str, Any]) -> list[str]:
    """Add what the provider told of its work; return what was odd about it."""
    odd: list[str] = []
    for name in _COUNTS:
        value = report.get(name)
        if value is not None:
            whole[name] = _count(value, odd)
    for name in _TOLD:
        value = report.get(name)
        if value is not None:
            whole[name] = value
    return odd


def known(
    dimensions: Mapping[str, Any], around: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Document:
    """Tell who calls, and from where: given with the record, by the context, or by the settings.

    Absent dimensions are left out, but for ``user_id``.
    """
    who: Document = {"user_id": None}
    for name in DIMENSIONS:
        value = dimensions.get(name)
        if value is None:
            value = around.get(name)
            if value is None:
                value = defaults.get(name)
                if value is None:
                    continue
        who[name] = value
    address = dimensions.get("ip_address", around.get("ip_address"))
    agent = dimensions.get("user_agent", around.get("user_agent"))
    if address is not None or agent is not None:
        who["client_info"] = {"ip_address": address, "user_agent": agent}
    return who


def envelope(
    event_type: str, status: str | None, call_id: str | None, epoch_ms: int, who: Document
) -> Document:
    """Start a record: kind, time, who and where (from :func:`known`)."""
    whole: Document = {"event_type": event_type}
    if call_id is not None:
        whole["call_id"] = call_id
    whole["timestamp"] = epoch_ms
    whole.update(who)
    if status is not None:
        whole["status"] = status
    whole["schema_version"] = SCHEMA_VERSION
    return whole


def text_length(message: object, messages: object) -> int | None:
    """Count the characters sent: of the message, or of all texts of the conversation."""
    if isinstance(message, str):
        return len(message)
    if not isinstance(messages, list | tuple):
        return None
    total = 0
    for turn in messages:
        content = turn.get("content") if isinstance(turn, Mapping) else None
        if isinstance(content, str):
            total += len(content)
        elif isinstance(content, list | tuple):
            total += sum(
                len(part["text"])
                for part in content
                if isinstance(part, Mapping) and isinstance(part.get("text"), str)
            )
    return total


def decimal_text(amount: object) -> str | None:
    """Read an amount of money as exact decimal text; None where it is not a finite number.

    A float counts as the shortest decimal that prints like it: 0.045 is 0.045.
    """
    if isinstance(amount, bool):
        return None
    if isinstance(amount, float):
        return repr(amount) if math.isfinite(amount) else None
    if isinstance(amount, int | Decimal | str):
        try:
            exact = Decimal(amount)
        except (ArithmeticError, ValueError):
            return None
        return str(exact) if exact.is_finite() else None
    return None


def _add(whole: Document, fields: Mapping[str, Any], own: frozenset[str]) -> None:
    """Add the application's fields; one named like a field of ours becomes ``app_<name>``."""
    for name, value in fields.items():
        whole[f"app_{name}" if name in own else name] = value


def _is_short(value: object) -> bool:
    if value is None or value is True or value is False:
        return True
    if isinstance(value, str):
        return len(value) <= SHORT
    if isinstance(value, list):
        flat = all(not isinstance(item, list) and _is_short(item) for item in value[:21])
        return flat and len(value) <= 20  # noqa: PLR2004 - a short list of plain values
    return isinstance(value, int | float)


def _count(value: object, odd: list[str]) -> int | None:
    """Read a number of tokens; what is no whole number from 0 on is null, and noted in ``odd``."""
    # A float of a whole value is what JSON makes of a count in other languages.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(whole, int) and not isinstance(whole, bool) and 0 <= whole < _INT64:
        return whole
    odd.append("tokens_not_a_number")
    return None


def _tokens_used(report: Mapping[str, Any], counted: Document, odd: list[str]) -> int | None:
    """Take the total that was given, else add up what was ``counted``; null if not known."""
    given = report.get("tokens_used")
    if given is not None:
        return _count(given, odd)
    both = [counted[name] for name in ("input_tokens", "output_tokens") if name in counted]
    return _count(sum(both), odd) if both and None not in both else None
