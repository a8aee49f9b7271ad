"""The time that an address asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from affidavit.console.ranges import read_range

pytestmark = pytest.mark.requirement("R13")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_without_a_word_it_is_the_default() -> None:
    """A page has a usual time."""
    found = read_range({}, "24h", NOW)
    assert (found.since, found.until, found.preset) == (NOW - timedelta(hours=24), NOW, "24h")
    assert found.problem is None


def test_two_ends_are_read_and_written_again() -> None:
    """An address with both ends asks the same when it is given on."""
    query = {"since": "2026-11-20T08:00", "until": "2026-11-21T08:00:00+01:00"}
    found = read_range(query, now=NOW)
    assert found.since == datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert found.until == datetime(2026, 11, 21, 7, tzinfo=UTC)
    again = read_range(found.query, now=NOW)
    assert (again.since, again.until) == (found.since, found.until)


def test_the_time_before_is_as_long() -> None:
    """A comparison is of the same length, just before."""
    found = read_range({"last": "7d"}, now=NOW)
    assert found.before == (NOW - timedelta(days=14), NOW - timedelta(days=7))


@pytest.mark.parametrize(
    "query",
    [
        {"last": "yesterday"},
        {"since": "next week"},
        {"since": "2026-11-23T12:00", "until": "2026-11-22T12:00"},
        {"last": "99999w"},
        {"since": "0001-01-01T00:00"},
        {"last": "1h", "since": "2026-11-23T10:00"},
    ],
)
def test_what_cannot_be_read_is_said_and_kept(query: dict[str, str]) -> None:
    """The default is shown, a sentence says why, and what was typed is not lost."""
    found = read_range(query, "24h", NOW)
    if query.keys() != {"last", "since"}:  # the beginning counts where both are said
        assert found.problem
        assert found.preset == "24h"
    assert found.typed == query


@pytest.mark.parametrize("last", ["1h", "24h", "7d", "30d", "90d", "520w"])
def test_a_chart_has_a_number_of_intervals_that_can_be_drawn(last: str) -> None:
    """Neither one bar nor thousands."""
    found = read_range({"last": last}, now=NOW)
    assert 12 <= found.length.total_seconds() / found.step_s <= 521
