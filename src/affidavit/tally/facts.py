"""What one finished call counts for, read from its record; and what a correction changes.

``fact_of`` reads an outcome, or the finished document of an older logger. ``correction_of`` reads a
record of kind ``correction``: it carries the call's own keys under the names an outcome has
(dimensions, ``provider``, ``model``, ``status``, short fields in ``request_data``), the outcome's
time as ``effective_at``, and in ``details`` the signed ``cost_nano_diff`` in nano-dollars and
``cost_status_before`` (``unpriced`` where the call had no cost).

A database computes the same in its own words (:mod:`affidavit.store.mongo.analytics`), so each rule
here is part of the contract: which numbers count, how a float of dollars is read, what is empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from affidavit.event import Document, EventType, Status
from affidavit.tally.times import UNITS, time_key

CORRECTION: Final = "correction"
"""``event_type`` of a record that changes what a call counts for."""

FIELD: Final = "field:"
"""Prefix of a key that is a field of the application's own, as in ``field:symbol``."""

KEYS: Final = (
    "provider",
    "model",
    "user_id",
    "department",
    "tenant",
    "environment",
    "service",
    "session_id",
    "conversation_id",
    "status",
    "error_type",
    "finish_reason",
    "cost_status",
)
"""Names, beside time units and ``field:<name>``, by which calls can be grouped and chosen."""

CUT_OFF: Final = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
"""Finish reasons, in lower case, of an answer that was cut off."""

NANO: Final = 1_000_000_000
MAX_USD: Final = 10**12
"""Amounts of a trillion dollars and more are taken for errors, and count as no cost."""
MAX_COUNT: Final = 2**53
MAX_MS: Final = 1e9
"""Durations of eleven days and more are taken for errors, and are not counted."""

MAX_SCORE: Final = 10**9
"""Scores of a thousand millions and more, either way, are left out."""

FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
CONTENT: Final = frozenset(
    {
        "message", "messages", "parameters", "tools", "input", "files", "requests", "arguments",
        "text", "texts", "tool_calls", "reasoning", "refusal", "usage_raw", "body", "content",
        "result", "items", "cost_usd", "processing_time_ms",
    }
)  # fmt: skip
"""Fields of requests and answers that hold content or measures, and so are no keys."""

_FINISHED: Final = frozenset({EventType.LLM_REQUEST.value, EventType.LLM_RESPONSE.value})
_PRICES: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_NINE: Final = Decimal("1E-9")
AMOUNT: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
"""How an amount may be written in a text of up to :data:`LONGEST_AMOUNT` characters."""
LONGEST_AMOUNT: Final = 34
"""As many digits as a database's decimal holds."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One finished call. Unknown numbers are None; times are aware and UTC."""

    call_id: str
    at: datetime
    provider: str | None = None
    model: str | None = None
    user_id: str | None = None
    department: str | None = None
    tenant: str | None = None
    environment: str | None = None
    service: str | None = None
    session_id: str | None = None
    conversation_id: str | None = None
    status: str = Status.COMPLETED.value
    error_type: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    tokens: int | None = None
    """In all: as told, else input and output."""
    cost_nano: int | None = None
    """Nano-dollars."""
    cost_status: str | None = None
    latency_ms: float | None = None
    ttft_ms: float | None = None
    retries: int = 0
    prompt_chars: int | None = None
    answer_chars: int | None = None
    is_empty: bool = False
    """It succeeded, and the answer has neither text nor tools."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The application's own, and others that are no content; of request and answer."""

    @property
    def is_completed(self) -> bool:
        """Whether it succeeded."""
        return self.status == Status.COMPLETED

    @property
    def is_cut(self) -> bool:
        """Whether the answer was cut off at a limit."""
        return (self.finish_reason or "").lower() in CUT_OFF

    @property
    def is_unpriced(self) -> bool:
        """Whether a cost is missing: there is none, and the call succeeded or used tokens."""
        return self.cost_nano is None and (self.is_completed or bool(self.tokens))

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens by second of the whole call, where it succeeded and both are known."""
        if not self.is_completed or not self.output_tokens or not self.latency_ms:
            return None
        return self.output_tokens * 1000.0 / self.latency_ms


@dataclass(frozen=True, slots=True)
class Correction:
    """What changes about an earlier call: only its cost, so far."""

    call: Fact
    """The call's own time and keys, and no numbers."""
    cost_nano: int
    """Signed difference in nano-dollars."""
    prices: bool
    """The call had no cost before."""


def fact_of(record: Document, legacy_zone: ZoneInfo | None = None) -> Fact | None:
    """Read a finished call; None for any other record, and for one without a time.

    ``legacy_zone`` says where the naive times of an older logger were local.
    """
    finished = record.get("event_type") in _FINISHED and isinstance(record.get("success"), bool)
    at = _when(record, "timestamp", legacy_zone)
    if not finished or at is None:
        return None
    answer = _part(record, "response_data")
    incoming = count_of(record.get("input_tokens"))
    outgoing = count_of(record.get("output_tokens"))
    tokens = count_of(answer.get("tokens_used"))
    if tokens is None and (incoming is not None or outgoing is not None):
        tokens = (incoming or 0) + (outgoing or 0)
    status = _status(record)
    answer_chars = count_of(answer.get("response_length"))
    tools = answer.get("tool_calls")
    return Fact(
        **_identity(record, at),
        status=status,
        error_type=text_of(record.get("error_type")),
        finish_reason=text_of(record.get("finish_reason")),
        input_tokens=incoming,
        output_tokens=outgoing,
        cached_tokens=count_of(record.get("cached_tokens")),
        reasoning_tokens=count_of(record.get("reasoning_tokens")),
        tokens=tokens,
        cost_nano=nano_of(answer.get("cost_usd")),
        cost_status=text_of(record.get("cost_status")),
        latency_ms=ms_of(answer.get("processing_time_ms")),
        ttft_ms=ms_of(record.get("time_to_first_token_ms")),
        retries=count_of(answer.get("retries")) or 0,
        prompt_chars=count_of(_part(record, "request_data").get("message_length")),
        answer_chars=answer_chars,
        is_empty=status == Status.COMPLETED and answer_chars == 0 and tools is None,
    )


def correction_of(record: Document) -> Correction | None:
    """Read a correction; None for any other record, and for one that says nothing of cost."""
    at = _when(record, "effective_at", None)
    details = _part(record, "details")
    difference = details.get("cost_nano_diff")
    if record.get("event_type") != CORRECTION or at is None:
        return None
    if not isinstance(difference, int) or isinstance(difference, bool):
        return None
    call = Fact(
        **_identity(record, at),
        status=text_of(record.get("status")) or Status.COMPLETED.value,
        error_type=text_of(record.get("error_type")),
        finish_reason=text_of(record.get("finish_reason")),
        cost_status=text_of(record.get("cost_status")),
    )
    return Correction(call, int(difference), details.get("cost_status_before") == "unpriced")


def key_of(fact: Fact, name: str, zone: ZoneInfo) -> str | None:
    """Give a call's value for a key: one of :data:`KEYS`, a time unit, or ``field:<name>``."""
    if name in KEYS:
        found: str | None = getattr(fact, name)
        return found
    if name in UNITS:
        return time_key(name, fact.at, zone)
    return text_of(fact.fields.get(name.removeprefix(FIELD)))


# -- reading single values -----------------------------------------------------------------------


def text_of(value: Any) -> str | None:
    """Write any value as the text of a key; numbers that are equal give the same text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    number = _number(value)
    if number is not None:
        return _plain(number)
    if isinstance(value, bytes | bytearray):
        return "(binary)"
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def count_of(value: Any) -> int | None:
    """Read a number of things: from 0 on, without what is behind the point; None for others."""
    number = _number(value)
    if number is None or not 0 <= number < MAX_COUNT:
        return None
    return int(number)


def ms_of(value: Any) -> float | None:
    """Read a duration in milliseconds; None for what is none."""
    number = _number(value)
    if number is None or not 0 <= number < MAX_MS:
        return None
    return float(number)


def nano_of(value: Any) -> int | None:
    """Read dollars as nano-dollars, half-even; None for what is no amount.

    A float counts as the decimal of 15 digits that it shows: 0.045 is 0.045.
    """
    if isinstance(value, str):
        fits = len(value) <= LONGEST_AMOUNT and AMOUNT.fullmatch(value)
        amount = Decimal(value) if fits else None
    else:
        number = _number(value)
        amount = Decimal(f"{number:.15g}") if isinstance(number, float) else _exact(number)
    if amount is None or not -MAX_USD < amount < MAX_USD:
        return None
    return int(amount.quantize(_NINE, context=_PRICES).scaleb(9, context=_PRICES))


def _exact(number: int | Decimal | None) -> Decimal | None:
    return None if number is None else Decimal(number)


def _number(value: Any) -> int | float | Decimal | None:
    """Take a finite number of any kind, also a database's decimal; None for the rest."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if hasattr(value, "to_decimal"):  # bson's Decimal128, without importing the driver
        value = value.to_decimal()
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return None


def _plain(number: float | Decimal) -> str:
    if isinstance(number, int):
        return str(number)
    if isinstance(number, float):
        return str(int(number)) if number.is_integer() else repr(number)
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _status(record: Document) -> str:
    if record.get("success") is True:
        return Status.COMPLETED.value
    aborted = record.get("status") == Status.ABORTED.value
    return Status.ABORTED.value if aborted else Status.FAILED.value


def _when(record: Document, name: str, legacy_zone: ZoneInfo | None) -> datetime | None:
    at = record.get(name)
    if not isinstance(at, datetime):
        return None
    if legacy_zone is not None and record.get("schema_version") is None:
        return at.replace(tzinfo=legacy_zone).astimezone(UTC)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _identity(record: Document, at: datetime) -> dict[str, Any]:
    """Read who, where, when and what was asked."""
    request, answer = _part(record, "request_data"), _part(record, "response_data")
    provider = _first(answer.get("provider_used"), record.get("provider"), request.get("provider"))
    model = _first(record.get("model"), request.get("model"))
    call_id = record.get("call_id")
    named = {name: text_of(record.get(name)) for name in KEYS[2:9]}
    fields = {k: v for k, v in answer.items() if k not in CONTENT and v is not None}
    fields |= {k: v for k, v in request.items() if k not in CONTENT and v is not None}
    return {
        "call_id": str(record.get("_id") if call_id is None else call_id),
        "at": at,
        "provider": text_of(provider),
        "model": text_of(model),
        "fields": fields,
        **named,
    }


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _part(record: Document, name: str) -> Mapping[str, Any]:
    part = record.get(name)
    return part if isinstance(part, Mapping) else {}
