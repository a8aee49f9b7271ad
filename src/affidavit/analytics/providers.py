"""Providers and models beside each other, on the same kind of work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from affidavit.analytics.answers import Answer, Row, answer, order
from affidavit.analytics.cost import mean_usd
from affidavit.analytics.intervals import SMALL, Interval, mean, rate
from affidavit.analytics.performance import MICRO, added, milliseconds, scores_by_key
from affidavit.analytics.questions import Request
from affidavit.store.analytics import Engine, Scores
from affidavit.tally.facts import NANO
from affidavit.tally.sums import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow(Row):
    """One provider's model, with how sure each figure is.

    Intervals hold the truth with 95 percent confidence, if calls are alike and independent. Those
    of rates are Wilson's, those of means Student's; spreads are taken from distributions in
    buckets of four percent.
    """

    calls: int
    completed: int
    cost_usd: Decimal
    cost_per_call_usd: Decimal | None
    """By priced call."""
    cost_per_call: Interval | None
    """The same with its interval, in dollars; None with corrected costs, which it cannot tell."""
    cost_per_1k_tokens_usd: Decimal | None
    """None where a call has no price: its tokens are counted, and its cost is not known."""
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_mean_ms: Interval | None
    first_token_p50_ms: float | None
    tokens_per_s_p50: float | None
    failure_rate: Interval | None
    """Failed calls by failed and completed ones."""
    abort_rate: Interval | None
    empty_rate: Interval | None
    """Empty answers by completed calls; likewise ``cut_rate``."""
    cut_rate: Interval | None
    scores: Mapping[str, Interval | None]
    """Means of what annotations said, by the score's name."""


def providers(engine: Engine, request: Request) -> Answer[ProviderRow, ProviderRow]:
    """Answer how providers compare; the request's keys say what is compared, and on what work."""
    question = request.sums("cost", "tokens", "latency", "ttft", "speed", "spread")
    source = engine.source(question)
    scored = scores_by_key(engine, request)
    corrected = dict(engine.corrected(question))
    total, all_scores = Sums(), dict[str, Scores]()
    rows = []
    for key, sums in engine.sums(question):
        total.merge(sums)
        is_exact = key not in corrected
        rows.append(_row(request.named(key), sums, scored.get(key, {}), is_exact=is_exact))
        for name, scores in scored.get(key, {}).items():
            all_scores[name] = added(all_scores.get(name), scores)
    notes = []
    few = [row for row in rows if row.calls < SMALL]
    if few:
        notes.append(
            f"{len(few)} of {len(rows)} rows have fewer than {SMALL} calls: their intervals are "
            "wide, and say little."
        )
    if total.unpriced > 0:
        notes.append(
            f"{total.unpriced:,} calls have no price. The cost of a call is that of priced ones; "
            "where calls have none, the cost of 1k tokens is not known."
        )
    if corrected:
        notes.append(
            f"{sum(corrected.values()):,} costs were corrected later: where they were, the mean "
            "has the corrections and no interval."
        )
    sizes = {id(row): row.calls for row in rows}
    totals = _row({}, total, all_scores, is_exact=not corrected)
    return answer("providers", request, source, order(request, rows, sizes), totals, *notes)


def _row(
    key: Mapping[str, str | None], sums: Sums, scores: Mapping[str, Scores], *, is_exact: bool
) -> ProviderRow:
    latency, done = sums.latency, sums.completed
    timed = latency.count
    per_call = mean_usd(sums)
    # The spread is that of costs as they were recorded: with others it would be a wrong interval.
    dearness = sums.spread.spread() if is_exact else None
    return ProviderRow(
        key=key,
        calls=sums.calls,
        completed=done,
        cost_usd=sums.cost_usd,
        cost_per_call_usd=per_call,
        cost_per_call=None
        if per_call is None
        else mean(
            float(per_call),
            None if dearness is None else dearness / NANO,
            sums.priced,
            digits=9,
        ),
        cost_per_1k_tokens_usd=_per_1k(sums),
        latency_p50_ms=milliseconds(latency, 50),
        latency_p95_ms=milliseconds(latency, 95),
        latency_mean_ms=mean(sums.latency_us / timed / 1000, latency.spread(), timed, digits=1)
        if timed
        else None,
        first_token_p50_ms=milliseconds(sums.ttft, 50),
        tokens_per_s_p50=milliseconds(sums.speed, 50),
        failure_rate=rate(sums.failed, sums.failed + done),
        abort_rate=rate(sums.aborted, sums.calls),
        empty_rate=rate(sums.empty, done),
        cut_rate=rate(min(sums.cut, done), done),
        scores={name: _score(each) for name, each in sorted(scores.items())},
    )


def _per_1k(sums: Sums) -> Decimal | None:
    """Divide the cost by thousands of tokens, where all calls that used any have a price."""
    if not sums.tokens or not sums.priced or sums.unpriced > 0:
        return None
    return (sums.cost_usd * 1000 / sums.tokens).quantize(Decimal("1E-9"))


def _score(scores: Scores) -> Interval | None:
    average = scores.micro / scores.n
    # Whole numbers, so nothing is lost where all scores are alike.
    over = scores.n * scores.micro_squares - scores.micro**2
    deviation = math.sqrt(over / (scores.n * (scores.n - 1))) / MICRO if scores.n > 1 else None
    return mean(average / MICRO, deviation, scores.n)
