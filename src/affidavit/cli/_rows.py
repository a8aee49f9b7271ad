"""One record or call as a line of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from affidavit.cli._fitting import distinct
from affidavit.cli._output import cell, moment
from affidavit.cli._text import excerpt

COLUMNS: Final = (
    "time (UTC)",
    "kind",
    "status",
    "user",
    "model",
    "tokens",
    "cost USD",
    "took ms",
    "id",
    "text",
)
KINDS: Final = {
    "llm_request": "call",
    "llm_response": "outcome",
    "rate_limit_exceeded": "rate limit",
    "security_event": "security",
}
"""Short names of kinds of records."""
CALLS: Final = ("llm_request", "llm_response")
"""Kinds of records that have a cost."""
CORRECTED: Final = "*"
_TEXT: Final = 60


def counted(record: Mapping[str, Any], corrections: Sequence[Mapping[str, Any]]) -> Decimal | None:
    """Give what a call counts for in US dollars with its corrections; None without a cost."""
    from affidavit.analytics.reprice import standing

    nano = standing(record, corrections).cost_nano
    return None if nano is None else Decimal(f"{nano}E-9")


def line(
    record: Mapping[str, Any], corrections: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> tuple[object, ...]:
    """Choose and shorten what a line shows; a corrected cost has a mark."""
    kind = str(record.get("event_type"))
    response = _part(record, "response_data")
    took = response.get("processing_time_ms")
    # A call has an id of its own; what is no call is shown by the id of its record.
    identity = record.get("call_id") or record.get("_id")
    cost, fixed = response.get("cost_usd"), (corrections or {}).get(str(identity))
    if fixed and kind in CALLS:
        cost = f"{cell(counted(record, fixed))}{CORRECTED}"
    return (
        moment(record.get("timestamp")),
        KINDS.get(kind, kind),
        record.get("status"),
        record.get("user_id"),
        record.get("model") or record.get("provider") or response.get("provider_used"),
        response.get("tokens_used"),
        cost,
        round(took) if isinstance(took, int | float) else None,
        identity,
        summary(record),
    )


def shortened(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Cut long names of users and models out of their middle; those of one table stay distinct."""
    places = [COLUMNS.index(name) for name in ("user", "model")]
    short = distinct(name for row in rows for at in places if isinstance(name := row[at], str))
    return [
        [short.get(v, v) if at in places and isinstance(v, str) else v for at, v in enumerate(row)]
        for row in rows
    ]


def summary(record: Mapping[str, Any]) -> str:
    """Say in a few words what a record is about."""
    request, details = _part(record, "request_data"), _part(record, "details")
    error = record.get("error_message")
    if error and record.get("success") is not True:
        return excerpt(str(error), _TEXT)
    answer = _part(record, "response_data").get("text")
    for text in (request.get("message"), _newest_turn(request), answer):
        if isinstance(text, str) and text:
            return excerpt(text, _TEXT)
    named = [f"{k}={v}" for k, v in details.items() if isinstance(v, str | int | float)]
    return excerpt(" ".join(named), _TEXT)


def _newest_turn(request: Mapping[str, Any]) -> object:
    turns = request.get("messages")
    last = turns[-1] if isinstance(turns, list) and turns else None
    return last.get("content") if isinstance(last, Mapping) else None


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    return part if isinstance(part, Mapping) else {}
