"""What a provider bills beside what the log has, by day and model: pure functions.

Days are UTC, as in the exports. A call counts on the day on which its outcome was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, get_args

from affidavit.analytics.billing import EXACT, Billed, Export, family
from affidavit.errors import ConfigError
from affidavit.store.analytics import Key, SumQuestion
from affidavit.tally.sums import Sums

BY: Final = ("day", "model")
ALL_MODELS: Final = "(all models)"
NO_MODEL: Final = "(no model)"

Verdict = Literal["same", "differs", "billed_not_logged", "logged_not_billed"]
_ZERO: Final = Decimal(0)
_TOKENS: Final = ("input_tokens", "output_tokens")
_MEASURES: Final = ("requests", *_TOKENS, "cost_usd")
_WORDS: Final = {
    "requests": "requests",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "cost_usd": "cost",
}


@dataclass(slots=True)
class Logged:
    """What the log counts for a day and model."""

    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = _ZERO
    unpriced: int = 0
    """Calls whose cost is not known."""

    def add(self, sums: Sums) -> None:
        """Add the sums of some calls."""
        self.calls += sums.calls
        self.failed += sums.failed
        self.input_tokens += sums.input_tokens
        self.output_tokens += sums.output_tokens
        self.cost_usd = EXACT.add(self.cost_usd, sums.cost_usd)
        self.unpriced += sums.unpriced

    @property
    def empty(self) -> bool:
        """Whether nothing is here that a provider would bill."""
        return not (self.calls - self.failed or self.input_tokens or self.output_tokens
                    or self.cost_usd)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """Billed less logged; None where the export does not tell."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One day and model."""

    day: date
    model: str
    verdict: Verdict
    billed: Billed | None
    logged: Logged | None
    difference: Difference


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The answer. ``rows`` are by day, then by model."""

    provider: str
    first: date
    last: date
    tolerance_percent: Decimal
    rows: tuple[Row, ...]
    billed: Billed
    logged: Logged
    difference: Difference
    notes: tuple[str, ...]
    verdicts: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether every row is the same."""
        return all(row.verdict == "same" for row in self.rows)


def question(export: Export, filters: Mapping[str, str | None]) -> SumQuestion:
    """Ask the log for the days of an export.

    Raises ConfigError for an export without any day.
    """
    if not export.days:
        msg = "The export has no line with a day, so there is nothing to compare."
        raise ConfigError(msg)
    first, last = min(export.days), max(export.days)
    return SumQuestion(
        since=_midnight(first),
        until=_midnight(last + timedelta(days=1)),
        by=BY,
        filters={"provider": export.provider, **filters},
        zone="UTC",
        measures=frozenset({"counts", "cost", "tokens"}),
    )


def reconcile(
    export: Export,
    sums: Iterable[tuple[Key, Sums]],
    tolerance_percent: Decimal = _ZERO,
    now: datetime | None = None,
    retention_days: int | None = None,
) -> Reconciliation:
    """Compare an export with the log's sums for its days.

    ``tolerance_percent`` is of the billed amount, for each number by itself.
    """
    logged: dict[tuple[date, str], Logged] = {}
    names = dict(export.names)
    for (at, asked), counted in sums:
        key = family(asked) if asked else NO_MODEL
        if key == asked or key not in names:
            names[key] = asked or NO_MODEL
        logged.setdefault((date.fromisoformat(str(at)), key), Logged()).add(counted)
    tolerance = tolerance_percent / 100
    rows = []
    for day, model in sorted({*export.by, *logged}):
        told = _told(export, day)
        # Where some costs have no model, they are compared by day; what else is told, by model.
        told -= {"cost_usd"} if export.by_day else set()
        if told:
            pair = export.by.get((day, model)), logged.get((day, model))
            rows.append(_row(day, names.get(model, model), *pair, told, tolerance))
    if export.by_day:
        rows += _by_day(export, logged, tolerance)
    rows.sort(key=lambda row: (row.day, row.model))
    billed, whole = Billed(), Logged()
    for each in (*export.by.values(), *export.by_day.values()):
        billed.add({name: getattr(each, name) for name in _MEASURES}, each.rounding_usd)
    for (day, _), known in logged.items():
        _sum_up(whole, _on_days_told(export, day, known))
    return Reconciliation(
        export.provider,
        min(export.days),
        max(export.days),
        tolerance_percent,
        tuple(rows),
        billed,
        whole,
        _added(row.difference for row in rows),
        tuple(_notes(export, whole, now, retention_days)),
        {verdict: sum(row.verdict == verdict for row in rows) for verdict in get_args(Verdict)},
    )


def _told(export: Export, day: date) -> set[str]:
    """Say which measures the export tells of a day: within its span, a day may have no line."""
    return {name for name, days in export.covered.items()
            if days and min(days) <= day <= max(days)}  # fmt: skip


def _on_days_told(export: Export, day: date, known: Logged) -> Logged:
    """Leave out of a day what the export tells of other days only: totals are of the same days."""
    told, tells = _told(export, day), export.measures
    kept = {name for name in _MEASURES if name in told or name not in tells}
    of_calls, of_cost = "requests" in kept, "cost_usd" in kept
    return Logged(
        calls=known.calls if of_calls else 0,
        failed=known.failed if of_calls else 0,
        input_tokens=known.input_tokens if "input_tokens" in kept else 0,
        output_tokens=known.output_tokens if "output_tokens" in kept else 0,
        cost_usd=known.cost_usd if of_cost else _ZERO,
        unpriced=known.unpriced if of_cost else 0,
    )


def _row(
    day: date,
    model: str,
    billed: Billed | None,
    logged: Logged | None,
    told: set[str],
    tolerance: Decimal,
) -> Row:
    difference = _difference(billed or Billed(), logged or Logged(), told)
    verdict: Verdict = "same"
    if logged is None or logged.empty:
        if billed is not None:
            verdict = "billed_not_logged"
    elif billed is None:
        verdict = "logged_not_billed"
    elif not _alike(billed, logged, told, tolerance):
        verdict = "differs"
    return Row(day, model, verdict, billed, logged, difference)


def _by_day(
    export: Export, logged: Mapping[tuple[date, str], Logged], tolerance: Decimal
) -> list[Row]:
    """Compare costs of whole days, where the export does not say the model of some of them."""
    days: dict[date, tuple[Billed, Logged]] = {}
    for (day, _), known in logged.items():
        if "cost_usd" in _told(export, day):
            _sum_up(days.setdefault(day, (Billed(), Logged()))[1], known)
    for day, billed in (*export.by_day.items(), *((day, b) for (day, _), b in export.by.items())):
        if billed.cost_usd is not None:
            whole = days.setdefault(day, (Billed(), Logged()))[0]
            whole.add({"cost_usd": billed.cost_usd}, billed.rounding_usd)
    return [
        _row(day, ALL_MODELS, billed if billed.cost_usd is not None else None, known,
             {"cost_usd"}, tolerance)
        for day, (billed, known) in days.items()
    ]  # fmt: skip


def _alike(billed: Billed, logged: Logged, told: set[str], tolerance: Decimal) -> bool:
    if "requests" in told and billed.requests is not None:
        slack = int(billed.requests * tolerance)
        # A call that failed may have reached the provider, or not.
        low, high = logged.calls - logged.failed, logged.calls
        if not low - slack <= billed.requests <= high + slack:
            return False
    for name in _TOKENS:
        said, known = getattr(billed, name), getattr(logged, name)
        if name in told and said is not None and abs(said - known) > said * tolerance:
            return False
    if "cost_usd" not in told:
        return True
    said_usd = billed.cost_usd if billed.cost_usd is not None else _ZERO
    off = abs(EXACT.subtract(said_usd, logged.cost_usd))
    return off <= EXACT.add(billed.rounding_usd, EXACT.multiply(abs(said_usd), tolerance))


def _difference(billed: Billed, logged: Logged, told: set[str]) -> Difference:
    requests = None
    if "requests" in told:
        requests = (billed.requests or 0) - (logged.calls - logged.failed)
        if 0 < requests <= logged.failed:
            requests = 0  # failed ones may have been billed
    came, went = (
        (getattr(billed, name) or 0) - getattr(logged, name) if name in told else None
        for name in _TOKENS
    )
    cost = None
    if "cost_usd" in told:
        cost = EXACT.subtract(billed.cost_usd or _ZERO, logged.cost_usd)
    return Difference(requests, came, went, cost)


def _added(differences: Iterable[Difference]) -> Difference:
    """Add up what differs; None where no row could tell."""
    every = list(differences)
    counts = (
        [n for each in every if (n := getattr(each, name)) is not None]
        for name in ("requests", *_TOKENS)
    )
    requests, came, went = (sum(told) if told else None for told in counts)
    cost: Decimal | None = None
    for each in every:
        if each.cost_usd is not None:
            cost = EXACT.add(cost or _ZERO, each.cost_usd)
    return Difference(requests, came, went, cost)


def _sum_up(whole: Logged, counted: Logged) -> None:
    for name in ("calls", "failed", *_TOKENS, "unpriced"):
        setattr(whole, name, getattr(whole, name) + getattr(counted, name))
    whole.cost_usd = EXACT.add(whole.cost_usd, counted.cost_usd)


def _notes(
    export: Export, logged: Logged, now: datetime | None, retention_days: int | None
) -> Iterable[str]:
    missing = [name for name in ("cost_usd", "input_tokens") if name not in export.measures]
    for name in missing:
        what = "cost" if name == "cost_usd" else "tokens"
        yield f"The export tells no {what}, so none is compared."
    yield from _spans(export)
    if export.by_day:
        yield "The export does not say the model of each cost, so costs are compared by day."
    if logged.unpriced and "cost_usd" in export.measures:
        yield (
            f"{logged.unpriced:,} logged calls have no cost: `affidavit prices unpriced` lists "
            "their models."
        )
    if now is None:
        return
    if max(export.days) >= now.astimezone(UTC).date():
        yield "The last day is not over, and providers tell of their newest hours late."
    oldest = None if retention_days is None else now - timedelta(days=retention_days)
    if oldest is not None and _midnight(min(export.days)) < oldest:
        yield f"Records are kept for {retention_days} days: none are from before {oldest:%Y-%m-%d}."


def _spans(export: Export) -> Iterable[str]:
    """Say of which days each measure is, where the files cover different ones."""
    spans: dict[tuple[date, date], list[str]] = {}
    for name in export.measures:
        if days := export.covered[name]:
            spans.setdefault((min(days), max(days)), []).append(_WORDS[name])
    if len(spans) > 1:
        told = "; ".join(
            f"{', '.join(names)}: {first} to {last}" for (first, last), names in spans.items()
        )
        yield f"The files cover different days, and each number is of its own: {told}."


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
