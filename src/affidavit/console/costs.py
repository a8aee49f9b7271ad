"""What the page of costs asks, read from its address, and how its answers stand in a table. Pure.

The same address, with both ends of its time written out, asks the same again: that is the address
of a download.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from affidavit.console.ranges import Range, read_range
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    from affidavit.analytics.answers import Answer
    from affidavit.analytics.facade import Analytics

View = Literal["spend", "providers", "budgets", "calls", "use", "unpriced", "what-if"]
VIEWS: Final[tuple[View, ...]] = (
    "spend",
    "providers",
    "budgets",
    "calls",
    "use",
    "unpriced",
    "what-if",
)
BY: Final = (
    "department",
    "user",
    "tenant",
    "provider",
    "model",
    "provider,model",
    "day",
    "week",
    "month",
)
"""What costs can be listed by; each is answered from rollups for whoever sees everything."""

COMPARED_BY: Final = ("provider,model", "provider", "model")
CHOSEN_BY: Final = ("user", "department", "tenant", "provider", "model")
"""What an address may choose calls by."""

MEASURES: Final = ("calls", "cost_usd", "tokens")
"""What the map of use can show."""

SHOWN: Final = 100
"""Rows of one table; totals are of all."""

_LONGEST: Final = 200
_DEFAULT_TIME: Final = "30d"

Kind = Literal["number", "money", "percent", "change", "ms", "interval", "when", "call", "word"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; its word is ``cost.col.<name>``."""

    name: str
    kind: Kind
    factor: int = 1
    """What the value is multiplied by: money of 1,000 calls."""


def _columns(**kinds: Kind) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name, kind in kinds.items())


COLUMNS: Final[Mapping[View, tuple[Column, ...]]] = {
    "spend": _columns(
        cost_usd="money", share="percent", change="change", previous_usd="money", calls="number",
        per_call_usd="money", tokens="number", unpriced="number", estimated="number",
    ),
    "providers": (
        *_columns(calls="number", cost_usd="money"),
        Column("cost_per_call_usd", "money", 1000),
        *_columns(
            cost_per_1k_tokens_usd="money", latency_p50_ms="ms", latency_p95_ms="ms",
        ),
        Column("first_token_p50_ms", "ms"),
        *_columns(failure_rate="interval", abort_rate="interval"),
    ),
    "budgets": _columns(
        state="word", budget_usd="money", actual_usd="money", used="percent",
        projected_usd="money",
    ),
    "calls": _columns(
        cost_usd="money", share="percent", at="when", user="call", department="call",
        provider="call", model="call", status="word", tokens="number", latency_ms="ms",
    ),
    "use": (),
    "unpriced": _columns(unpriced="number", calls="number", tokens="number"),
    "what-if": _columns(
        actual_usd="money", what_if_usd="money", difference_usd="money", change="change",
        calls="number", unpriced="number", input_tokens="number", output_tokens="number",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address of the page asks."""

    view: View
    by: str
    span: Range
    month: str | None
    """``this``, ``last`` or ``2026-11``; then the span does not count."""
    where: Mapping[str, str]
    who: Literal["user", "department"]
    measure: str
    other: tuple[str, str]
    """Provider and model of the what-if; empty where none is chosen."""
    typed: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """What rows are by."""
        if self.view == "budgets":
            return (self.who,)
        if self.view == "use":
            return ("weekday", "hour_of_day")
        return () if self.view == "calls" else tuple(self.by.split(","))

    @property
    def query(self) -> dict[str, str]:
        """What asks the same in another address."""
        made = {"view": self.view, "by": self.by}
        made |= {"month": self.month} if self.month else self.span.query
        made |= {"who": self.who} if self.view == "budgets" else {}
        made |= {"measure": self.measure} if self.view == "use" else {}
        if self.view == "what-if" and all(self.other):
            made |= {"provider_to": self.other[0], "model_to": self.other[1]}
        return {**made, **self.where}

    def fixed(self, answer: Answer[Any, Any]) -> dict[str, str]:
        """Write the query of a download: the same question, with the answer's own time."""
        from affidavit.console.figures import iso

        made = {name: text for name, text in self.query.items() if name not in {"last", "month"}}
        if self.view == "budgets":
            return {**made, "month": self.month or "this"}
        return {**made, "since": iso(answer.since), "until": iso(answer.until)}


def read(query: Mapping[str, str], now: datetime | None = None) -> Asked:
    """Read an address. Unknown words fall back to what is usual: a link may be old."""
    typed = {name: text[:_LONGEST].strip() for name, text in query.items()}
    view = _one_of(VIEWS, typed.get("view"))
    by = _one_of(
        COMPARED_BY if view in {"providers", "unpriced", "what-if"} else BY, typed.get("by")
    )
    who: Literal["user", "department"] = (
        "department" if typed.get("who") == "department" else "user"
    )
    where = {name: text for name in CHOSEN_BY if (text := typed.get(name, ""))}
    month = typed.get("month") or None
    if view == "budgets":
        where, month = {}, month or "this"
    return Asked(
        view=view,
        by="provider,model" if view == "unpriced" else by,
        span=read_range(typed, _DEFAULT_TIME, now),
        month=month,
        where=where,
        who=who,
        measure=_one_of(MEASURES, typed.get("measure")),
        other=(typed.get("provider_to", ""), typed.get("model_to", "")),
        typed=typed,
    )


def ask(  # noqa: PLR0911 - one question for each view
    asked: Asked, analytics: Analytics
) -> Answer[Any, Any] | None:
    """Ask what the address asks; None where a choice is still to be made.

    Raises ConfigError for a question that makes no sense, and StoreError.
    """
    if asked.span.problem is not None and asked.month is None:
        raise ConfigError(asked.span.problem)
    asking: Any = {"month": asked.month} if asked.month else _ends(asked.span)
    asking["where"] = asked.where
    if asked.view == "budgets":
        return _first(analytics.budget(asked.who, asked.month))
    if asked.view == "providers":
        return analytics.providers(asked.keys, top=SHOWN, **asking)
    if asked.view == "calls":
        return analytics.calls(top=20, **asking)
    if asked.view == "use":
        return analytics.cost(asked.keys, **asking)
    if asked.view == "unpriced":
        return _unpriced(analytics.cost(asked.keys, **asking))
    if asked.view == "what-if":
        if not all(asked.other):
            return None
        return analytics.what_if(*asked.other, asked.keys, top=SHOWN, **asking)
    return analytics.cost(asked.keys, top=SHOWN, **asking)


def _ends(span: Range) -> dict[str, Any]:
    return {"since": span.since, "until": span.until}


def _first(answer: Answer[Any, Any]) -> Answer[Any, Any]:
    """Keep the first rows, and say how many more there are; totals stay those of all."""
    more = len(answer.rows) - SHOWN
    if more <= 0:
        return answer
    note = f"{more} more rows are not shown; the totals include them."
    return replace(answer, rows=answer.rows[:SHOWN], notes=(*answer.notes, note))


def _unpriced(answer: Answer[Any, Any]) -> Answer[Any, Any]:
    """Keep the groups with calls that should have a cost and have none, the most first."""
    rows = sorted((row for row in answer.rows if row.unpriced), key=lambda row: -row.unpriced)
    return replace(answer, rows=tuple(rows[:SHOWN]))


def _one_of(allowed: Any, text: str | None) -> Any:
    return text if text in allowed else allowed[0]


# -- the map of use --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heat:
    """One hour of one weekday."""

    value: Any
    """None where nothing is known."""
    level: int
    """0: nothing; 1 to 9 by its part of the largest."""


def heat(answer: Answer[Any, Any], measure: str) -> list[tuple[str, list[Heat]]]:
    """Lay an answer by weekday and hour of day out as a map: a row for each weekday."""
    from affidavit.tally.times import WEEKDAYS

    held = {
        (row.key["weekday"], row.key["hour_of_day"]): getattr(row, measure) for row in answer.rows
    }
    most = max(held.values(), default=0)
    made = []
    for day in WEEKDAYS:
        values = [held.get((day, f"{hour:02d}"), 0) for hour in range(24)]
        made.append((day, [Heat(value, level(value, most)) for value in values]))
    return made


def level(value: Any, most: Any) -> int:
    """Tell the shade of a value: 0 for nothing, else 1 to 9 by its part of the largest."""
    if not value or value < 0 or not most:
        return 0
    return max(1, min(9, -int(-(float(value) / float(most) * 9) // 1)))
