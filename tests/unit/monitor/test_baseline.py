"""Comparing series of latencies."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from affidavit.monitor.baseline import (
    Baseline,
    change,
    difference,
    growth_mb_a_week,
    overhead,
    report,
    verdict,
)
from affidavit.monitor.metrics import SIZE

pytestmark = pytest.mark.requirement("R28")

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def series(mean: float, count: int = 400, seed: int = 1) -> list[float]:
    """Latencies around a mean, all above half of it."""
    chance = random.Random(seed)
    return [mean / 2 + chance.expovariate(2 / mean) for _ in range(count)]


def baseline(age_days: float = 0, slower: float = 1, size_gb: float = 1, **more: str) -> Baseline:
    """A measurement."""
    means = {"call_off": 1.0, "call_on": 3.0, "database_off": 0.9, "database_on": 0.9}
    return Baseline(
        NOW - timedelta(days=age_days),
        more.get("label", ""),
        "0.1.0",
        {name: series(slower * mean, seed=len(name)) for name, mean in means.items()},
        {SIZE: size_gb},
    )


def test_a_difference_lies_in_its_interval_and_is_shown() -> None:
    """Twice as slow is no chance."""
    found = difference("call", series(1), series(2, seed=2), 50)
    assert found.low_ms < found.difference_ms < found.high_ms
    assert found.shown
    assert verdict(found) == "slower"


def test_no_difference_is_shown_between_two_draws_of_the_same() -> None:
    """Chance alone."""
    found = difference("call", series(1), series(1, seed=2), 50)
    assert not found.shown
    assert verdict(found) == "no difference shown"


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of forty comparisons of the same, two or so show a difference that is none."""
    wrong = sum(
        difference("x", series(1, 200, n), series(1, 200, n + 100), 50, seed=n).shown
        for n in range(40)
    )
    assert wrong <= 6


def test_the_same_series_give_the_same_interval() -> None:
    """A report can be made again."""
    assert difference("x", series(1), series(2), 95) == difference("x", series(1), series(2), 95)


def test_overhead_is_on_against_off() -> None:
    """Of calls, and of the database beneath."""
    found = {(each.what, each.percentile): each for each in overhead(baseline())}
    assert found["call", 50].low_ms > 1
    assert set(found) == {("call", 50), ("call", 95), ("database", 50), ("database", 95)}


def test_growth_is_a_week() -> None:
    """Half a GB in two weeks."""
    before, after = baseline(age_days=14, size_gb=1), baseline(size_gb=1.5)
    assert growth_mb_a_week(before, after) == pytest.approx(256)
    assert growth_mb_a_week(after, after) is None


def test_the_report_says_what_is_slower_and_how_much_the_log_grew() -> None:
    """In Markdown, with intervals."""
    before = baseline(age_days=7, label="before the move")
    text = report("wadm.llm_audit", baseline(slower=2, size_gb=1.01), before)
    assert "# Performance baseline of wadm.llm_audit" in text
    assert "(before the move)" in text
    assert "slower" in text.partition("## Since")[2]
    assert "10.24 MB (1024² bytes) a week" in text
    assert "| `audit_collection_size_gb` | 1.01 | 1 |" in text


def test_a_baseline_comes_back_as_it_was_kept() -> None:
    """Rounded to a ten-thousandth of a millisecond."""
    before = baseline()
    again = Baseline.from_document({**before.as_document(), "at": before.at})
    assert [each.difference_ms for each in change(before, again)] == pytest.approx(
        [0] * 8, abs=1e-3
    )
