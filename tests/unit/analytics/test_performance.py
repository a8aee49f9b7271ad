"""How quick, how good, and how providers compare."""

from __future__ import annotations

import math
import random
import statistics
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.analytics.intervals import mean, rate, student
from affidavit.analytics.performance import Score, performance
from affidavit.analytics.providers import providers
from affidavit.analytics.questions import Request, read
from tests.support.calls import Calls
from tests.support.documents import START
from tests.support.oracle import Oracle

pytestmark = pytest.mark.requirement("R15")

NOW = START + timedelta(days=5)


def ask(by: Any = ("provider", "model"), **asking: Any) -> Request:
    """A question about the last ten days."""
    return read(by, {"last": "10d", **asking}, "UTC", NOW)


def exact(values: list[float], percent: int) -> float:
    """The percentile by nearest rank."""
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]


def test_percentiles_are_within_two_percent_of_exact() -> None:
    """Of a skewed distribution, as latencies are."""
    chance = random.Random(7)
    times = [round(chance.lognormvariate(7, 1), 3) for _ in range(800)]
    calls = Calls()
    for took in times:
        calls.add(processing_time_ms=took, time_to_first_token_ms=took / 4)
    row = performance(Oracle(calls.records), ask()).totals
    for percent, found in (
        (50, row.latency_p50_ms),
        (90, row.latency_p90_ms),
        (95, row.latency_p95_ms),
        (99, row.latency_p99_ms),
    ):
        assert found == pytest.approx(exact(times, percent), rel=0.02)
    assert row.first_token_p95_ms == pytest.approx(exact(times, 95) / 4, rel=0.02)
    assert row.latency_mean_ms == pytest.approx(statistics.fmean(times), abs=0.001)


def test_outcomes_are_told_apart() -> None:
    """Successes, failures by kind, aborted calls, retries, empty and cut-off answers."""
    calls = Calls()
    calls.add(times=3, retries=2)
    calls.add(response_length=0)
    calls.add(finish_reason="length")
    calls.add(status="failed", error_type="Timeout", cost=None)
    calls.add(status="aborted", error_type="Cancelled", cost=None)
    row = performance(Oracle(calls.records), ask()).totals
    assert (row.completed, row.failed, row.aborted, row.failure_rate) == (5, 1, 1, 0.166667)
    assert (row.retried, row.retries, row.empty, row.cut) == (3, 6, 1, 1)
    by_error = performance(Oracle(calls.records), ask("error")).rows
    assert [(r.key["error"], r.calls) for r in by_error] == [
        (None, 5),
        ("Cancelled", 1),
        ("Timeout", 1),
    ]


def test_speed_is_output_by_time() -> None:
    """Tokens a second of the whole call."""
    calls = Calls()
    calls.add(output_tokens=500, processing_time_ms=2000)
    row = performance(Oracle(calls.records), ask()).totals
    assert row.tokens_per_s_p50 == pytest.approx(250, rel=0.02)


def test_scores_are_averaged_by_name() -> None:
    """Scores of annotations count for the group of their call."""
    calls = Calls()
    first, second = calls.add(times=2)
    calls.score(first, "helpful", 4)
    calls.score(second, "helpful", 5)
    calls.score(second, "right", value=True)
    calls.score(second, "right", "no number")
    calls.score(Calls.new_id(), "helpful", 1)
    (row,) = performance(Oracle(calls.records), ask()).rows
    assert row.scores == {"helpful": Score(2, 4.5), "right": Score(1, 1.0)}


@pytest.mark.requirement("R16")
def test_providers_stand_beside_each_other() -> None:
    """Cost a call and a thousand tokens, speed, and failures, each with its sample."""
    calls = Calls()
    for n in range(40):
        calls.add(provider="a", model="m", cost=f"0.0{n % 2 + 1}", processing_time_ms=900 + n)
    calls.add(provider="a", model="m", status="failed", cost=None, tokens_used=0, times=10)
    calls.add(provider="b", model="n", cost="0.03", tokens_used=1000)
    found = providers(Oracle(calls.records), ask())
    a, b = found.rows
    assert (a.key["provider"], a.calls, a.completed) == ("a", 50, 40)
    assert (a.cost_per_call_usd, b.cost_per_1k_tokens_usd) == (Decimal("0.015"), Decimal("0.03"))
    assert a.cost_per_call is not None
    assert a.cost_per_call.low < 0.015 < a.cost_per_call.high
    assert a.failure_rate is not None
    assert (a.failure_rate.value, a.failure_rate.n) == (0.2, 50)
    assert b.cost_per_call is None
    assert any("1 of 2 rows have fewer than 30 calls" in note for note in found.notes)


@pytest.mark.requirement("R16")
def test_the_same_kind_of_work_is_compared() -> None:
    """With the work as a key, or as a choice, unlike work is not thrown together."""
    calls = Calls()
    calls.add(provider="a", fields={"operation": "chat"})
    calls.add(provider="a", fields={"operation": "embeddings"}, times=2)
    by_work = providers(Oracle(calls.records), ask(["field:operation", "provider"]))
    assert [(r.key["field:operation"], r.calls) for r in by_work.rows] == [
        ("embeddings", 2),
        ("chat", 1),
    ]
    chosen = providers(Oracle(calls.records), ask(where={"field:operation": "chat"}))
    assert chosen.totals.calls == 1


@pytest.mark.requirement("R16")
def test_calls_without_a_price_do_not_make_others_look_cheap() -> None:
    """Where calls have none, the cost by tokens is not known, and is not guessed."""
    calls = Calls()
    calls.add(cost="0.02", times=2)
    calls.add(cost="0.02", tokens_used=2000, model="dear")
    calls.add(cost=None, tokens_used=90_000)
    found = providers(Oracle(calls.records), ask())
    by_model = {row.key["model"]: row for row in found.rows}
    assert by_model["dear"].cost_per_1k_tokens_usd == Decimal("0.01")
    (mixed,) = (row for name, row in by_model.items() if name != "dear")
    assert (mixed.cost_per_call_usd, mixed.cost_per_1k_tokens_usd) == (Decimal("0.02"), None)
    assert found.totals.cost_per_1k_tokens_usd is None
    assert any(
        note.startswith("1 calls have no price.") and "1k tokens is not known" in note
        for note in found.notes
    )


@pytest.mark.requirement("R16")
def test_a_corrected_cost_has_no_interval_of_the_uncorrected_ones() -> None:
    """The mean has the corrections; what is known of the spread has not, and is left out."""
    calls = Calls()
    first, *_rest = calls.add(cost="0.02", times=40, model="corrected")
    calls.add(cost="0.01", times=20, model="as recorded")
    calls.add(cost="0.03", times=20, model="as recorded")
    calls.correct(first, 4 * 10**9)
    found = providers(Oracle(calls.records), ask())
    by_model = {row.key["model"]: row for row in found.rows}
    assert by_model["corrected"].cost_per_call_usd == Decimal("0.12")
    assert by_model["corrected"].cost_per_call is None
    assert by_model["as recorded"].cost_per_call is not None
    assert found.totals.cost_per_call is None
    assert any("1 costs were corrected later" in note for note in found.notes)


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    ("part", "n", "low", "high"),
    [(0, 10, 0.0, 0.277533), (5, 10, 0.236593, 0.763407), (1, 1, 0.206549, 1.0)],
)
def test_rates_have_wilsons_interval(part: int, n: int, low: float, high: float) -> None:
    """Against published values."""
    found = rate(part, n)
    assert found is not None
    assert [found.low, found.high] == pytest.approx([low, high], abs=2e-6)


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [
        (1, 12.7062),
        (3, 3.1824),
        (4, 2.7764),
        (5, 2.5706),
        (10, 2.2281),
        (30, 2.0423),
        (1000, 1.9623),
    ],
)
def test_students_quantiles(freedom: int, quantile: float) -> None:
    """Against the table."""
    assert student(freedom) == pytest.approx(quantile, rel=0.001)


@pytest.mark.requirement("R16")
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_an_interval_holds_its_rate(part: int, rest: int) -> None:
    """Between zero and one, whatever the sample."""
    found = rate(part, part + rest)
    if found is None:
        assert part + rest == 0
    else:
        assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.requirement("R16")
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of many samples of ten, about 95 in 100 intervals hold the true mean."""
    chance = random.Random(3)
    held = 0
    for _ in range(2000):
        sample = [chance.gauss(10, 2) for _ in range(10)]
        found = mean(statistics.fmean(sample), statistics.stdev(sample), 10)
        assert found is not None
        held += found.low <= 10 <= found.high
    assert 0.935 <= held / 2000 <= 0.965


def test_one_value_has_no_interval() -> None:
    """Nothing is said of the next one."""
    assert mean(5.0, None, 1) is None
    assert rate(0, 0) is None
