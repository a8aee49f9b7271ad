"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from affidavit.console import figures

pytestmark = pytest.mark.requirement("R13")
NARROW = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "places", "language", "written"),
    [
        (0, 0, "en", "0"),
        (1234567, 0, "en", "1,234,567"),
        (1234567, 0, "es", "1.234.567"),
        (1234.5, 2, "en", "1,234.50"),
        (1234.5, 2, "es", "1.234,50"),
        (None, 0, "en", figures.DASH),
    ],
)
def test_a_number_has_separators_of_the_language(
    value: float | None, places: int, language: str, written: str
) -> None:
    """Thousands and decimals are marked as the language has it; what is not known is a dash."""
    assert figures.number(value, places, language) == written


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("0", "$0.00"),
        ("0.045", "$0.0450"),
        ("12", "$12.00"),
        ("1234567.891", "$1,234,567.89"),
        ("0.00086512", "$0.00087"),
        ("0.000000001", "$0.000000001"),
        ("-0.5", "\N{MINUS SIGN}$0.50"),
    ],
)
def test_money_never_hides_a_small_amount(amount: str, written: str) -> None:
    """Two places where they say it all, more where two would read as nothing."""
    assert figures.money(Decimal(amount)) == written


def test_money_that_is_no_number_is_a_dash() -> None:
    """A stored value that is not finite shows as not known."""
    assert figures.money(Decimal("NaN")) == figures.DASH
    assert figures.money(None) == figures.DASH


def test_exact_money_has_every_place_that_is_stored() -> None:
    """Beside a rounded amount stands the exact one."""
    assert figures.exact_money(Decimal("0.009021500")) == f"0.0090215{NARROW}USD"


@pytest.mark.parametrize(
    ("ms", "written"),
    [
        (None, figures.DASH),
        (2.13, "2.1 ms"),
        (850, "850 ms"),
        (1240, "1.24 s"),
        (123_000, "2 min 3 s"),
        (3_900_000, "1 h 5 min"),
    ],
)
def test_a_duration_has_the_unit_that_fits(ms: float | None, written: str) -> None:
    """Milliseconds, seconds, then two units at once."""
    said = figures.milliseconds(ms).replace(NARROW, " ")
    assert said == written


def test_sizes_shares_and_changes_have_units() -> None:
    """Bytes, percent, and a change with its sign."""
    assert figures.size(1536) == f"1.5{NARROW}KiB"
    assert figures.size(48213) == f"47.1{NARROW}KiB"
    assert figures.percent(0.125) == f"12.5{NARROW}%"
    assert figures.percent(0.00001).startswith("<")
    assert figures.change(0.25) == f"+25{NARROW}%"
    assert figures.change(-0.031) == f"\N{MINUS SIGN}3.1{NARROW}%"
    assert figures.change(11.0) == f"\N{MULTIPLICATION SIGN}{NARROW}12"


def test_short_numbers_keep_what_is_read_at_a_glance() -> None:
    """Up to five digits are whole; larger numbers get a letter."""
    assert figures.short(9999) == "9,999"
    assert figures.short(1_240_000) == f"1.24{NARROW}M"
    assert figures.short(None) == figures.DASH


def test_times_are_written_in_utc_with_their_zone() -> None:
    """For people to the second, for programs with milliseconds."""
    at = datetime(2026, 11, 23, 14, 30, 1, 123000, tzinfo=UTC)
    assert figures.stamp(at) == "2026-11-23 14:30:01 UTC"
    assert figures.iso(at) == "2026-11-23T14:30:01.123Z"


def test_metrics_have_a_unit_a_person_can_read() -> None:
    """A log of some kilobytes is not "0.000 GB"."""
    assert figures.gauge(0.0001678466796875, "audit_collection_size_gb") == f"176{NARROW}KiB"
    assert figures.gauge(12.345, "main_db_impact_percentage") == f"12.35{NARROW}%"
    assert figures.gauge(None, "audit_writes_per_minute") == figures.DASH
