"""Hours, days and months as a zone has them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.tally.times import (
    UNITS,
    TimeUnit,
    local_day,
    local_key,
    offsets,
    start_of_day,
    start_of_month,
    time_key,
)

pytestmark = pytest.mark.requirement("R13", "R14")

MADRID = ZoneInfo("Europe/Madrid")
ZONES = st.sampled_from(
    [
        ZoneInfo(name)
        for name in (
            "UTC", "Europe/Madrid", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata",
            "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca",
            "Asia/Beirut", "Pacific/Kiritimati",
        )
    ]
)  # fmt: skip
MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy takes naive bounds


@given(MOMENTS, ZONES)
def test_a_moment_lies_in_its_day_and_month(at: datetime, zone: ZoneInfo) -> None:
    """A day lasts from its first moment to that of the next, and so does a month."""
    day = local_day(at, zone)
    assert time_key("day", at, zone) == day.isoformat()
    assert start_of_day(day, zone) <= at < start_of_day(day + timedelta(days=1), zone)
    start = start_of_month(day.year, day.month, zone)
    assert start <= at < start_of_month(day.year, day.month + 1, zone)
    assert time_key("month", start, zone) == time_key("month", at, zone)


@given(MOMENTS, st.integers(0, 500), ZONES, st.sampled_from(UNITS))
def test_offsets_are_all_a_database_needs(
    since: datetime, days: int, zone: ZoneInfo, unit: TimeUnit
) -> None:
    """With the listed offsets alone, each hour of a span gets the key that the zone gives."""
    until = since + timedelta(days=days, hours=1)
    found = offsets(zone, since, until)
    assert found[0][0] == since
    at = since
    while at < until:
        offset = [each for start, each in found if start <= at][-1]
        local = (at + offset).replace(tzinfo=None)
        assert local_key(unit, local, offset) == time_key(unit, at, zone)
        at += timedelta(days=7, hours=5)


@pytest.mark.parametrize(
    ("at", "hour"),
    [
        ("2026-10-25T00:30:00+00:00", "2026-10-25T02:00+02:00"),
        ("2026-10-25T01:30:00+00:00", "2026-10-25T02:00+01:00"),
        ("2026-03-29T00:59:59+00:00", "2026-03-29T01:00+01:00"),
        ("2026-03-29T01:00:00+00:00", "2026-03-29T03:00+02:00"),
    ],
)
def test_the_hour_that_comes_twice_has_two_names(at: str, hour: str) -> None:
    """When summer ends, both hours from two to three are told apart."""
    assert time_key("hour", datetime.fromisoformat(at), MADRID) == hour


def test_days_are_as_long_as_they_are() -> None:
    """A day of 23 and one of 25 hours, and the 29th of February, are days."""
    lengths = [
        start_of_day(day + timedelta(days=1), MADRID) - start_of_day(day, MADRID)
        for day in (date(2026, 3, 29), date(2026, 10, 25), date(2028, 2, 29))
    ]
    assert lengths == [timedelta(hours=h) for h in (23, 25, 24)]
    assert start_of_month(2028, 3, MADRID) - start_of_day(date(2028, 2, 29), MADRID) == lengths[2]


def test_months_count_on_into_other_years() -> None:
    """The thirteenth month is the first one of the next year, and the zeroth the last before."""
    assert start_of_month(2026, 13, MADRID) == start_of_month(2027, 1, MADRID)
    assert start_of_month(2026, 0, MADRID) == start_of_month(2025, 12, MADRID)


def test_a_day_whose_midnight_does_not_exist_begins_later() -> None:
    """Where the clock jumps at midnight, the day begins at one."""
    start = start_of_day(date(2018, 11, 4), ZoneInfo("America/Sao_Paulo"))
    assert start == datetime(2018, 11, 4, 3, tzinfo=UTC)


def test_names_of_units() -> None:
    """Weeks are those of ISO 8601; hours and weekdays have short names."""
    at = datetime(2027, 1, 1, 9, 30, tzinfo=UTC)
    named = {unit: time_key(unit, at, ZoneInfo("UTC")) for unit in UNITS}
    assert named == {
        "hour": "2027-01-01T09:00+00:00",
        "day": "2027-01-01",
        "week": "2026-W53",
        "month": "2027-01",
        "hour_of_day": "09",
        "weekday": "Fri",
    }
