"""A call or an event as a row of a list, and as facts: metadata alone, no content. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from affidavit.event import EventType, Status

TONES: Final[Mapping[str, str]] = {
    Status.COMPLETED.value: "good",
    Status.FAILED.value: "bad",
    Status.ABORTED.value: "warn",
    Status.INITIATED.value: "info",
}
"""Status to the kind of its badge."""

SEVERITIES: Final[Mapping[str, str]] = {
    "low": "neutral",
    "medium": "warn",
    "high": "bad",
    "critical": "bad",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list."""

    id: str
    """The call's id, or that of a record that is no call."""
    at: Any
    """When it began; an aware time, or what stands there instead."""
    kind: str
    is_call: bool
    status: str
    tone: str
    user: str | None
    department: str | None
    provider: str | None
    model: str | None
    tokens: int | None
    cost_usd: Decimal | None
    cost_status: str | None
    took_ms: float | None
    note: str | None
    """Of a failure its class, of an event its kind."""


def row(record: Mapping[str, Any]) -> Row:
    """Choose what a line shows of a call or record."""
    kind = str(record.get("event_type") or "")
    response, details = part(record, "response_data"), part(record, "details")
    is_call = kind in {EventType.LLM_REQUEST, EventType.LLM_RESPONSE}
    status = text(record.get("status")) or ""
    severity = text(details.get("severity"))
    named = details.get("kind") or details.get("limit_type") or record.get("kind")
    return Row(
        id=str(record.get("call_id") if is_call and record.get("call_id") else record.get("_id")),
        at=record.get("timestamp"),
        kind=kind,
        is_call=is_call,
        status=status if is_call else severity or "",
        tone=TONES.get(status, "neutral") if is_call else SEVERITIES.get(severity or "", "neutral"),
        user=text(record.get("user_id")),
        department=text(record.get("department")),
        provider=text(record.get("provider") or response.get("provider_used")),
        model=text(record.get("model")),
        tokens=whole(response.get("tokens_used")),
        cost_usd=money(response.get("cost_usd")),
        cost_status=text(record.get("cost_status")),
        took_ms=number(response.get("processing_time_ms")),
        note=text(record.get("error_type") if is_call else named),
    )


def part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Give a part of a record; an empty one where it is none."""
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def text(value: Any) -> str | None:
    """Give a value as text; None stays None."""
    return None if value is None else str(value)


def whole(value: Any) -> int | None:
    """Read a count; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """Read a number; None for what is none."""
    good = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return float(value) if good else None


def money(value: Any) -> Decimal | None:
    """Read dollars, as the database or an older logger stored them; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    return exact if exact.is_finite() else None


def moment(value: Any) -> datetime | None:
    """Read a time; None for what is none."""
    return value if isinstance(value, datetime) else None
