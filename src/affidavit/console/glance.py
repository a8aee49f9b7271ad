"""What a page shows of one call without its content: facts, timing, cost and where it is from.

Pure: it reads the records that the store gave, and asks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from affidavit.console import rows
from affidavit.console.rows import Row
from affidavit.event import EventType
from affidavit.store.questions import CallRecords, SearchFilter

_NANO: Final = Decimal(10) ** 9
_NEAR: Final = timedelta(days=1)
_PLACES: Final = (
    "user_id",
    "department",
    "tenant",
    "service",
    "environment",
    "session_id",
    "conversation_id",
    "provider",
    "model",
    "error_type",
    "finish_reason",
)
"""Facts that a list can be narrowed by, in the order in which they stand."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A later word on what a call cost."""

    at: Any
    change_usd: Decimal | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Glance:
    """One call, or one event, as metadata."""

    id: str
    row: Row
    call: Mapping[str, Any]
    values: tuple[tuple[str, str], ...]
    """Name of a filter, and its value here."""
    tokens: tuple[tuple[str, int], ...]
    took_ms: float | None
    first_ms: float | None
    cost_usd: Decimal | None
    """As it was recorded, with every correction."""
    recorded_usd: Decimal | None
    corrections: tuple[Correction, ...] = ()
    annotations: tuple[Mapping[str, Any], ...] = ()
    outcomes: int = 0
    redactions: tuple[tuple[str, int], ...] = ()
    """Kind, and how often it was taken out."""
    truncated: int = 0
    odd: tuple[str, ...] = ()
    client: Mapping[str, Any] = field(default_factory=dict)

    @property
    def no_outcome(self) -> bool:
        """Whether it began and nothing ended it."""
        return self.row.is_call and self.row.status == "initiated"

    @property
    def first_part(self) -> float:
        """The part of its time, in percent, until the first token came."""
        if not self.took_ms or self.first_ms is None:
            return 0.0
        return min(100.0, 100 * self.first_ms / self.took_ms)

    @property
    def tokens_per_s(self) -> float | None:
        """How quickly the answer was written, once it began."""
        out = dict(self.tokens).get("output_tokens")
        if not out or self.took_ms is None:
            return None
        spent_ms = self.took_ms - (self.first_ms or 0)
        return 1000 * out / spent_ms if spent_ms > 0 else None


def glance(found: CallRecords) -> Glance:
    """Choose what is shown of a call's records."""
    call = found.call
    response = rows.part(call, "response_data")
    recorded = rows.money(response.get("cost_usd"))
    fixed = tuple(_corrections(found))
    known = [each.change_usd for each in fixed if each.change_usd is not None]
    cost = recorded if not known else (recorded or Decimal(0)) + sum(known, Decimal(0))
    records = [each for each in (found.intent, *found.outcomes) if each is not None] or [call]
    shown = rows.row(call)
    values = {name: rows.text(call.get(name)) for name in _PLACES}
    values["provider"], values["model"] = shown.provider, shown.model
    return Glance(
        id=shown.id,
        row=shown,
        call=call,
        values=tuple((name, value) for name, value in values.items() if value),
        tokens=tuple(_tokens(call, response)),
        took_ms=shown.took_ms,
        first_ms=rows.number(call.get("time_to_first_token_ms")),
        cost_usd=cost,
        recorded_usd=recorded,
        corrections=fixed,
        annotations=tuple(
            r for r in found.annotations if r.get("event_type") == EventType.ANNOTATION
        ),
        outcomes=len(found.outcomes),
        redactions=tuple(_redactions(records)),
        truncated=sum(len(_list(record.get("truncated"))) for record in records),
        odd=tuple(sorted({str(flag) for r in records for flag in _list(r.get("odd"))})),
        client=rows.part(call, "client_info"),
    )


def linked(call: Mapping[str, Any], scope: SearchFilter) -> SearchFilter | None:
    """Write the search for other calls of the same conversation or session; None without one.

    It looks a day to both sides, and at the same user where one is known: an index leads there.
    """
    at = rows.moment(call.get("timestamp"))
    for name in ("conversation_id", "session_id"):
        value = rows.text(call.get(name))
        if value and at is not None and at.tzinfo is not None:
            return SearchFilter(
                **{name: value},  # type: ignore[arg-type]
                user_id=rows.text(call.get("user_id")),
                since=at - _NEAR,
                until=at + _NEAR,
                event_type=EventType.LLM_REQUEST.value,
                departments=scope.departments,
                tenants=scope.tenants,
            )
    return None


def _tokens(call: Mapping[str, Any], response: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    total = rows.whole(response.get("tokens_used"))
    if total is not None:
        yield "tokens_used", total
    for name in ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"):
        count = rows.whole(call.get(name))
        if count is not None:
            yield name, count


def _corrections(found: CallRecords) -> Iterator[Correction]:
    for record in found.annotations:
        if record.get("event_type") == EventType.CORRECTION:
            details = rows.part(record, "details")
            nano = rows.whole(details.get("cost_nano_diff"))
            change = None if nano is None else Decimal(nano) / _NANO
            status = rows.text(details.get("cost_status_now"))
            yield Correction(record.get("timestamp"), change, status)


def _redactions(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    counts: dict[str, int] = {}
    for record in records:
        for entry in _list(record.get("redactions")):
            if isinstance(entry, Mapping):
                kind = str(entry.get("kind"))
                counts[kind] = counts.get(kind, 0) + (rows.whole(entry.get("count")) or 1)
    yield from sorted(counts.items())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
