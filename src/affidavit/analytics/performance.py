"""How quick, how reliable and how good the answers are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from affidavit.analytics.answers import Answer, Row, answer, order, ratio
from affidavit.analytics.questions import Request
from affidavit.store.analytics import Engine, Key, Scores
from affidavit.tally.sketch import Sketch
from affidavit.tally.sums import Sums

MICRO = 10**6
"""Scores are summed in millionths."""


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of one name."""

    n: int
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceRow(Row):
    """Speed and quality of one group; percentiles are within two percent.

    Times and speed are of calls that succeeded: a failure is often quick, and would flatter.
    """

    calls: int
    completed: int
    failed: int
    aborted: int
    failure_rate: float | None
    """Failed calls by failed and completed ones; whoever aborts did so by choice."""
    latency_p50_ms: float | None
    latency_p90_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    latency_mean_ms: float | None
    first_token_p50_ms: float | None
    first_token_p90_ms: float | None
    first_token_p95_ms: float | None
    first_token_p99_ms: float | None
    tokens_per_s_p50: float | None
    retried: int
    """Calls that were tried again; ``retries`` counts how often."""
    retries: int
    empty: int
    """Successes whose answer has neither text nor tools."""
    cut: int
    """Answers that were cut off at a limit."""
    scores: Mapping[str, Score]
    """What annotations said, by the score's name."""


def performance(engine: Engine, request: Request) -> Answer[PerformanceRow, PerformanceRow]:
    """Answer how quick and how good."""
    question = request.sums("latency", "ttft", "speed")
    source = engine.source(question)
    groups = dict(engine.sums(question))
    scored = scores_by_key(engine, request)
    total, all_scores = Sums(), dict[str, Scores]()
    rows = []
    for key, sums in groups.items():
        total.merge(sums)
        rows.append(_row(request.named(key), sums, scored.get(key, {})))
    for named in scored.values():
        for name, scores in named.items():
            all_scores[name] = added(all_scores.get(name), scores)
    sizes = {id(row): row.calls for row in rows}
    totals = _row({}, total, all_scores)
    return answer("performance", request, source, order(request, rows, sizes), totals)


def scores_by_key(
    engine: Engine, request: Request, by: tuple[str, ...] | None = None
) -> dict[Key, dict[str, Scores]]:
    """Collect the scores of each group."""
    found: dict[Key, dict[str, Scores]] = defaultdict(dict)
    for key, name, scores in engine.scores(request.sums(by=by)):
        found[key][name] = added(found[key].get(name), scores)
    return found


def added(one: Scores | None, other: Scores) -> Scores:
    """Add up two sums of scores."""
    if one is None:
        return other
    return Scores(one.n + other.n, one.micro + other.micro, one.micro_squares + other.micro_squares)


def milliseconds(sketch: Sketch, percent: float) -> float | None:
    """Give a percentile of a duration, to a tenth of a millisecond below a second."""
    found = sketch.percentile(percent)
    return None if found is None else round(found, 1 if found < 1000 else 0)  # noqa: PLR2004


def _row(key: Mapping[str, str | None], sums: Sums, scores: Mapping[str, Scores]) -> PerformanceRow:
    latency, first = sums.latency, sums.ttft
    timed = latency.count
    return PerformanceRow(
        key=key,
        calls=sums.calls,
        completed=sums.completed,
        failed=sums.failed,
        aborted=sums.aborted,
        failure_rate=ratio(sums.failed, sums.failed + sums.completed),
        latency_p50_ms=milliseconds(latency, 50),
        latency_p90_ms=milliseconds(latency, 90),
        latency_p95_ms=milliseconds(latency, 95),
        latency_p99_ms=milliseconds(latency, 99),
        latency_mean_ms=round(sums.latency_us / timed / 1000, 3) if timed else None,
        first_token_p50_ms=milliseconds(first, 50),
        first_token_p90_ms=milliseconds(first, 90),
        first_token_p95_ms=milliseconds(first, 95),
        first_token_p99_ms=milliseconds(first, 99),
        tokens_per_s_p50=milliseconds(sums.speed, 50),
        retried=sums.retried,
        retries=sums.retries,
        empty=sums.empty,
        cut=sums.cut,
        scores={
            name: Score(each.n, round(each.micro / each.n / MICRO, 6))
            for name, each in sorted(scores.items())
        },
    )
