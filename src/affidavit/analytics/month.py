"""What is asked for a month's report: every question that has its figures, for one month."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from affidavit.analytics import cost as costs
from affidavit.analytics import performance as performances
from affidavit.analytics import usage as usages
from affidavit.analytics.answers import Answer, Row
from affidavit.analytics.questions import Request, month_span, read
from affidavit.store.analytics import Engine, TooManyGroups
from affidavit.store.forensics import Forensics, Happened
from affidavit.tally.times import time_key

TOP: Final = 20
"""Rows of a list of users."""

NONE: Final = "(none)"
"""Stands for a key that calls do not have."""

R = TypeVar("R", bound=Row)
T = TypeVar("T", bound=Row)


@dataclass(frozen=True, slots=True)
class Integrity:
    """What can be said of the log's proofs when the report is made."""

    origin: str | None = None
    vkey: str | None = None
    size: int = 0
    sealed_at: datetime | None = None
    level: str | None = None
    waiting: int = 0
    lag_s: float = 0.0
    anchors: tuple[str, ...] = ()
    verified: Mapping[str, Any] | None = None
    """The outcome of a verification of now; None where none was asked for."""
    watched_age_s: float | None = None
    """Since the verification beside the sealing last told its outcome; None: it has told none."""
    damage: str | None = None
    """What that one found; None where nothing."""
    excuses: str | None = None
    """The reasons for what is gone that it took and had not taken before."""


@dataclass(slots=True)
class Figures:
    """The answers of a month."""

    month: str
    zone: str
    since: datetime
    until: datetime
    now: datetime
    answers: dict[str, Answer[Any, Any]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    happened: Happened = field(default_factory=Happened)
    missing: list[str] = field(default_factory=list)


def month_of(text: str, zone: str, now: datetime) -> str:
    """Read ``2026-11``, ``this`` or ``last``. Raises ConfigError."""
    this = time_key("month", now, ZoneInfo(zone))
    if text == "this":
        return this
    if text == "last":
        return time_key("month", month_span(this, ZoneInfo(zone)).before, ZoneInfo(zone))
    month_span(text, ZoneInfo(zone))
    return text.strip()


def gather(
    engine: Engine,
    forensics: Forensics,
    month: str,
    zone: str,
    budgets: Mapping[str, Mapping[str, Decimal]],
    now: datetime,
) -> Figures:
    """Ask everything that a report says. Raises ConfigError and StoreError."""
    span = month_span(month, ZoneInfo(zone))
    found = Figures(month, zone, span.since, span.until, now)

    def ask(
        name: str,
        by: tuple[str, ...],
        question: Callable[[Engine, Request], Answer[R, T]],
        top: int | None = None,
    ) -> None:
        asking = {"month": month, "top": top}
        try:
            found.answers[name] = question(engine, read(by, asking, zone, now))
        except TooManyGroups:  # the totals are an answer all the same
            found.missing.append(f"{name}: there are more groups than a report may hold.")
            if not name.startswith("budget"):
                found.answers[name] = question(engine, read((), asking, zone, now))

    ask("cost by model", ("provider", "model"), costs.cost)
    ask("cost by department", ("department",), costs.cost)
    ask("cost by user", ("user",), costs.cost, TOP)
    ask("cost by day", ("day",), costs.cost)
    for who, amounts in budgets.items():
        if amounts:
            ask(f"budget by {who}", (who,), _budget(amounts), TOP)
    ask("usage by department", ("department",), usages.usage)
    ask("performance by model", ("provider", "model"), performances.performance)
    ask("limits by user", ("user",), usages.limits, TOP)
    request = read(("error",), {"month": month, "where": {"status": "failed"}}, zone, now)
    try:
        for (kind,), sums in engine.sums(request.sums()):
            found.errors[kind or NONE] = sums.calls
    except TooManyGroups:
        found.missing.append("failures by error: there are more groups than a report may hold.")
    found.happened = forensics.happened(span.since, span.until)
    return found


def _budget(
    amounts: Mapping[str, Decimal],
) -> Callable[[Engine, Request], Answer[costs.BudgetRow, costs.BudgetRow]]:
    return lambda engine, request: costs.budget(engine, request, amounts)
