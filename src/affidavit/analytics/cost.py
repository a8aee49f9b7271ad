"""What was spent, by whom and on what; which calls cost most; and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

from affidavit.analytics.answers import Answer, Row, answer, money, order, ratio
from affidavit.analytics.questions import Request
from affidavit.store.analytics import Engine, Key, SumQuestion
from affidavit.tally.cells import USERS
from affidavit.tally.sums import Sums, usd

_NINE: Final = Decimal("1E-9")
_LOOKED_AT: Final = (
    "cost_nano", "priced", "unpriced", "estimated", "tokens", "input_tokens", "output_tokens",
)  # fmt: skip
"""What a row shows, beside the calls."""

_SAID: Final = ("cost_nano", "unpriced", "estimated")
"""What is said of a total, notes included."""

_SPENT: Final = ("cost_nano",)
_MODEL: Final = ("provider", "model")
_NAMED: Final = 5
"""Models that a note names; of more, their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow(Row):
    """Cost of one group, in US dollars."""

    calls: int
    priced: int
    """Calls that have a cost."""
    unpriced: int
    """Calls that should have one and have none: they count as nothing."""
    estimated: int
    tokens: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    share: float | None
    """Of the total; None when that is nothing."""
    per_call_usd: Decimal | None
    """By priced call."""
    previous_usd: Decimal | None
    """In the time before; None for rows of a time."""
    change: float | None
    """Against the time before: 0.25 is a quarter more. None when there was nothing then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow(Row):
    """One call, and what it cost with its corrections."""

    call_id: str
    at: datetime
    user: str | None
    department: str | None
    provider: str | None
    model: str | None
    status: str
    tokens: int | None
    latency_ms: float | None
    cost_usd: Decimal
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTotals(Row):
    """What the listed calls cost together, and what all did."""

    calls: int
    cost_usd: Decimal
    all_calls: int
    all_usd: Decimal


BudgetState = Literal["within", "near", "will be over", "over", "no budget"]

NEAR: Final = 0.8
"""Part of a budget from which it is near its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRow(Row):
    """A month's budget against what was spent, in US dollars."""

    budget_usd: Decimal | None
    actual_usd: Decimal
    used: float | None
    """Actual cost by budget: 1.0 is all of it."""
    projected_usd: Decimal
    """At the month's end, if it goes on as it went so far; of a month that is over, the actual."""
    state: BudgetState
    """``within``, ``near`` (from 80 %), ``will be over`` (projected), ``over`` or ``no budget``."""


def cost(engine: Engine, request: Request) -> Answer[CostRow, CostRow]:
    """Answer what was spent."""
    question = request.sums("cost", "tokens", needs=_LOOKED_AT)
    source = engine.source(question)
    asked = [request.before("cost", by=() if request.by_time else None, needs=_SPENT)]
    rolled = source.name == "rollups"
    if rolled:  # asking for it in vain costs little there, and a pass over all records elsewhere
        asked.append(_without_price(request))
    more, ranked = 0, rolled and request.top is not None and _is_ranked(question.by)
    if ranked:
        groups, more = _first(engine, question, request.top or 0)
        earlier = dict(engine.only(asked[0], list(groups)))
        whole = request.sums("cost", "tokens", by=(), needs=_LOOKED_AT)
        asked[0] = request.before("cost", by=(), needs=_SPENT)
        all_now, all_then, *models = engine.together([whole, *asked])
        total, before = _merged(all_now), _merged(all_then)
    else:
        groups, earlier, *models = engine.together([question, *asked])
        total, before = _merged(groups), _merged(earlier)
    rows: list[CostRow] = []
    for key, sums in groups.items():
        was = None if request.by_time else earlier.get(key, Sums())
        rows.append(_row(request.named(key), sums, was, total))
    sizes = {id(row): int(row.cost_usd.scaleb(9)) for row in rows}
    notes = _notes(engine, request, total, *models)
    free = total.calls - total.priced - max(0, total.unpriced)
    if free > 0:
        notes.append(
            f"{free:,} calls did not succeed and used no tokens: they cost nothing, and are "
            "neither priced nor unpriced."
        )
    if request.span.since < request.now < request.span.until and not request.by_time:
        notes.append(
            "The time is not over, and the time before is compared as a whole: the change is not "
            "of like with like until then."
        )
    if more:
        notes.append("More rows are not shown; the totals include them.")
    kept = request.kept_since
    if kept is not None and request.span.before < kept <= request.span.since:
        notes.append(
            f"The time before is not whole, because records from before {kept:%Y-%m-%d %H:%M} UTC "
            "have expired: the trend shows more growth than there was."
        )
    if request.span.since < request.now < request.span.until:
        projected = (total.cost_usd * _pace(request)).quantize(_NINE, ROUND_HALF_EVEN)
        notes.append(f"At the same pace it will be {money(projected)} USD at the end of that time.")
    totals = _row({}, total, before, total)
    return answer("cost", request, source, order(request, rows, sizes), totals, *notes)


def _is_ranked(by: tuple[str, ...]) -> bool:
    """Whether the store ranks the groups: users are many, and few of them are looked at."""
    return "user_id" in by and set(by) <= set(USERS.keys)


def _first(engine: Engine, question: SumQuestion, top: int) -> tuple[dict[Key, Sums], int]:
    """Give the first groups, and whether there are more (0 or 1)."""
    rows = engine.highest(question, "cost_nano", top + 1)
    return dict(rows[:top]), len(rows) - len(rows[:top])


def dearest(engine: Engine, request: Request) -> Answer[CallRow, CallTotals]:
    """Answer which calls cost most."""
    whole = request.sums("cost", by=(), needs=_SAID)
    source = engine.source(whole)
    total = _merged(dict(engine.sums(whole)))
    rows = []
    for fact, nano in engine.dearest(whole, request.top or 20):
        rows.append(
            CallRow(
                call_id=fact.call_id,
                at=fact.at,
                user=fact.user_id,
                department=fact.department,
                provider=fact.provider,
                model=fact.model,
                status=fact.status,
                tokens=fact.tokens,
                latency_ms=fact.latency_ms,
                cost_usd=usd(nano),
                share=ratio(nano, total.cost_nano),
            )
        )
    listed = sum((row.cost_usd for row in rows), Decimal(0))
    totals = CallTotals(
        calls=len(rows), cost_usd=listed, all_calls=total.calls, all_usd=total.cost_usd
    )
    return answer("calls", request, source, rows, totals, *_notes(engine, request, total))


def budget(
    engine: Engine, request: Request, budgets: Mapping[str, Decimal]
) -> Answer[BudgetRow, BudgetRow]:
    """Answer how a month's budgets stand. The request has one key, and a month as its time.

    ``budgets`` has dollars by the key's value; ``*`` is whoever is not named.
    """
    now = min(request.now, request.span.until)
    question = request.sums("cost", needs=_SAID)
    source = engine.source(question)
    spent = {key[0]: sums for key, sums in engine.sums(question)}
    spent |= {who: Sums() for who in _unspent(request, budgets) if who not in spent}
    pace = _pace(request)
    rows = []
    for who, sums in spent.items():
        allowed = budgets.get(who or "", budgets.get("*") if who is not None else None)
        rows.append(_budget({request.names[0]: who}, sums.cost_usd, pace, allowed))
    rows.sort(key=lambda row: (-(row.used or 0), -row.actual_usd, str(row.key)))
    total = _merged(spent)
    given = [row.budget_usd for row in rows if row.budget_usd is not None]
    totals = _budget({}, total.cost_usd, pace, sum(given, Decimal(0)) if given else None)
    zone = ZoneInfo(request.zone)
    notes = [*_notes(engine, request, total)]
    if now < request.span.until:
        notes.append(
            f"Projected from {now.astimezone(zone):%Y-%m-%d %H:%M}: what was spent by then, at the "
            "same pace to the end of the month."
        )
    if not budgets:
        notes.append(f"There are no budgets by {request.names[0]}: see the setting budgets.")
    return answer("budget", request, source, rows, totals, *notes)


def _unspent(request: Request, budgets: Mapping[str, Decimal]) -> list[str]:
    """Name who has a budget, spent or not, of those that whoever asks may know of."""
    named = [who for who in budgets if who != "*"]
    if not request.within:
        return named
    allowed = request.within.get(request.keys[0], ())
    return [who for who in named if who in allowed]


def _pace(request: Request) -> Decimal:
    """Tell how many times what has passed the whole time is; 1 when it is over, or not begun."""
    span = request.span
    passed = (min(request.now, span.until) - span.since).total_seconds()
    length = (span.until - span.since).total_seconds()
    return Decimal(length) / Decimal(passed) if passed > 0 else Decimal(1)


def _budget(
    key: Mapping[str, str | None], actual: Decimal, pace: Decimal, allowed: Decimal | None
) -> BudgetRow:
    projected = (actual * pace).quantize(_NINE, ROUND_HALF_EVEN)
    used = None if allowed is None else ratio(float(actual), float(allowed))
    state: BudgetState = "within"
    if allowed is None:
        state = "no budget"
    elif actual > allowed:
        state = "over"
    elif projected > allowed:
        state = "will be over"
    elif used is not None and used >= NEAR:
        state = "near"
    return BudgetRow(
        key=key,
        budget_usd=allowed,
        actual_usd=actual,
        used=used,
        projected_usd=projected,
        state=state,
    )


def mean_usd(sums: Sums) -> Decimal | None:
    """Divide the cost by the priced calls, to nine places."""
    if not sums.priced:
        return None
    return (sums.cost_usd / sums.priced).quantize(_NINE, ROUND_HALF_EVEN)


def _row(key: Mapping[str, str | None], sums: Sums, was: Sums | None, total: Sums) -> CostRow:
    change = None if was is None else ratio(sums.cost_nano - was.cost_nano, was.cost_nano)
    return CostRow(
        key=key,
        calls=sums.calls,
        priced=sums.priced,
        # A correction may price a failed call that nobody missed a price of.
        unpriced=max(0, sums.unpriced),
        estimated=sums.estimated,
        tokens=sums.tokens,
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        cost_usd=sums.cost_usd,
        share=ratio(sums.cost_nano, total.cost_nano),
        per_call_usd=mean_usd(sums),
        previous_usd=None if was is None else was.cost_usd,
        change=change,
    )


def _merged(groups: Mapping[Key, Sums] | Mapping[str | None, Sums]) -> Sums:
    total = Sums()
    for sums in groups.values():
        total.merge(sums)
    return total


def _without_price(request: Request) -> SumQuestion:
    """Ask which models have calls without a price."""
    return request.sums("cost", by=_MODEL, needs=("unpriced",))


def _notes(
    engine: Engine, request: Request, total: Sums, models: Mapping[Key, Sums] | None = None
) -> list[str]:
    """Say what the sums leave out, and what of them is a guess.

    ``models`` answers :func:`_without_price`, where that is known already.
    """
    notes = []
    if total.unpriced > 0:
        if models is None:
            models = dict(engine.sums(_without_price(request)))
        without = sorted(
            ((sums.unpriced, key) for key, sums in models.items() if sums.unpriced > 0),
            reverse=True,
            key=str,
        )
        without.sort(key=lambda pair: -pair[0])
        named = [f"{provider or '?'} {model or '?'} ({n:,})" for n, (provider, model) in without]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        notes.append(
            f"{total.unpriced:,} calls have no price and count as nothing: "
            f"{', '.join(named[:_NAMED])}{more}."
        )
    if total.estimated:
        notes.append(f"The cost of {total.estimated:,} calls is an estimate.")
    return notes
