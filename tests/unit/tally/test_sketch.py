"""Distributions in relative-error buckets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.tally.sketch import (
    GAMMA,
    LARGEST,
    RELATIVE_ERROR,
    SMALLEST,
    ZERO,
    Sketch,
    bucket_of,
    value_of,
)

pytestmark = pytest.mark.requirement("R15")

VALUES = st.floats(min_value=SMALLEST, max_value=1e12)
LISTS = st.lists(VALUES, min_size=1, max_size=200)
PERCENTS = st.sampled_from([1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0])


def exact(values: Sequence[float], percent: float) -> float:
    """The percentile by nearest rank."""
    return sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1]


@given(LISTS, PERCENTS)
def test_percentiles_are_within_two_percent(values: list[float], percent: float) -> None:
    """A percentile is off by at most two percent of the exact one."""
    found = Sketch.of(values).percentile(percent)
    assert found == pytest.approx(exact(values, percent), rel=0.02)
    assert RELATIVE_ERROR < 0.02


@given(LISTS, LISTS, LISTS)
def test_merging_knows_no_order(one: list[float], two: list[float], three: list[float]) -> None:
    """Merging in any grouping and order gives what counting everything gives."""
    left, right = Sketch.of(one), Sketch.of(three)
    left.merge(Sketch.of(two))
    left.merge(Sketch.of(three))
    right.merge(Sketch.of(one))
    right.merge(Sketch.of(two).buckets)
    assert left.buckets == right.buckets == Sketch.of([*one, *two, *three]).buckets


@given(VALUES)
def test_a_bucket_holds_what_its_bounds_say(value: float) -> None:
    """A value lies between the bounds of its bucket."""
    bucket = bucket_of(value)
    assert GAMMA ** (bucket - 1) * (1 - 1e-9) <= value <= GAMMA**bucket * (1 + 1e-9)
    assert value_of(bucket) == pytest.approx(value, rel=0.0197)


@pytest.mark.parametrize("power", range(-100, 500))
def test_a_bound_falls_into_one_bucket(power: int) -> None:
    """A value on a bound belongs to the bucket it closes, whatever the last bit of a logarithm."""
    assert bucket_of(GAMMA**power) == power


def test_values_outside_have_buckets_too() -> None:
    """Zero and less have a bucket of their own, and huge values share the last one."""
    assert {bucket_of(value) for value in (0.0, -5.0, 0.0009)} == {ZERO}
    assert value_of(ZERO) == 0
    assert bucket_of(1e300) == bucket_of(LARGEST)


def test_nothing_has_no_percentile() -> None:
    """Without values there is neither a percentile nor a spread."""
    assert Sketch().percentile(50) is None
    assert Sketch.of([5.0]).spread() is None


@given(st.lists(st.floats(min_value=1.0, max_value=1e6), min_size=2, max_size=100))
def test_the_spread_is_near_the_standard_deviation(values: list[float]) -> None:
    """The spread differs from the exact one by no more than the buckets allow."""
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    found = Sketch.of(values).spread()
    assert found is not None
    # Each value moves by at most RELATIVE_ERROR of itself, so the spread by that of the largest.
    assert abs(found - deviation) <= 2 * RELATIVE_ERROR * max(values) * math.sqrt(2)
