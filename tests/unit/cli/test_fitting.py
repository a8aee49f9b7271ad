"""Rounded shares add up, and shortened names stay distinct."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.cli._fitting import LONGEST, distinct, percent, percents
from affidavit.cli._output import cell
from affidavit.cli._widths import width

pytestmark = pytest.mark.requirement("R13")


def test_three_thirds_add_up_to_a_hundred() -> None:
    """What rounding leaves goes to one of them."""
    assert percents([0.333333, 0.333333, 0.333333]) == ["33.4", "33.3", "33.3"]
    assert percents([0.5, None, 0.5]) == ["50.0", None, "50.0"]
    assert percents([]) == []


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30).filter(any))
def test_shares_of_a_whole_add_up_and_none_is_far_off(amounts: list[int]) -> None:
    """To exactly 100.0; each is within a tenth of a percent."""
    parts = [round(amount / sum(amounts), 6) for amount in amounts]
    shown = percents(parts)
    assert sum(Decimal(text or 0) for text in shown) == 100
    assert all(
        abs(float(text or 0) - 100 * part) < 0.1002 for text, part in zip(shown, parts, strict=True)
    )


def test_there_is_no_minus_zero() -> None:
    """Neither of a small loss nor of an amount."""
    assert [percent(part) for part in (-0.0001, 0.0, -0.02)] == ["0.0", "0.0", "-2.0"]
    assert [cell(value) for value in (-0.0, Decimal("-0.000"), Decimal(-1))] == ["0", "0", "-1"]


@given(st.sets(st.text(max_size=120)))
def test_names_that_differ_stay_different(names: set[str]) -> None:
    """And each fits its column."""
    shown = distinct(names)
    assert shown.keys() == names
    assert max(map(width, shown.values()), default=0) <= LONGEST


def test_the_beginning_and_the_end_of_a_long_name_are_kept() -> None:
    """What is the same there gets a part of a hash between."""
    [shown] = distinct([f"research-{'x' * 200}-2026"]).values()
    assert shown.startswith("research-xxx")
    assert shown.endswith("xxx-2026")
    assert len(shown) == LONGEST
    alike = distinct(f"{'a' * 50}{middle}{'z' * 50}" for middle in "123456")
    assert len({*alike.values()}) == 6
    assert all(len(text) == LONGEST for text in alike.values())
    assert distinct(["ana", "bob"]) == {"ana": "ana", "bob": "bob"}
