"""Reading what a person asks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.analytics.questions import month_span, read
from affidavit.errors import ConfigError

pytestmark = pytest.mark.requirement("R13", "R14")

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
MADRID = ZoneInfo("Europe/Madrid")


def span(zone: str = "UTC", **asking: Any) -> tuple[str, str, str]:
    """Since, until and the beginning of the time before."""
    found = read("user", asking, zone, NOW).span
    return found.since.isoformat(), found.until.isoformat(), found.before.isoformat()


def test_thirty_days_are_asked_when_nothing_is_said() -> None:
    """Without a time it is the last thirty days, compared with those before."""
    found = read("user", {}, "UTC", NOW).span
    assert (found.until, found.until - found.since) == (NOW, timedelta(days=30))
    assert found.since - found.before == timedelta(days=30)


@pytest.mark.parametrize(
    ("last", "length"),
    [
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("4w", timedelta(days=28)),
    ],
)
def test_last_is_a_length(last: str, length: timedelta) -> None:
    """A number and m, h, d or w."""
    found = read("user", {"last": last}, "UTC", NOW).span
    assert found.until - found.since == length


def test_days_are_those_of_the_reporting_zone() -> None:
    """A date begins at its midnight in the zone of the reports."""
    asked = span("Europe/Madrid", since=date(2026, 10, 25), until=date(2026, 10, 26))
    assert asked[:2] == ("2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00")


def test_a_month_is_compared_with_the_one_before() -> None:
    """March in Madrid is an hour short, and February before it has 28 days."""
    assert span("Europe/Madrid", month="2026-03") == (
        "2026-02-28T23:00:00+00:00",
        "2026-03-31T22:00:00+00:00",
        "2026-01-31T23:00:00+00:00",
    )


@given(st.integers(1985, 2040), st.integers(1, 12), st.sampled_from(["UTC", "Europe/Madrid"]))
def test_months_follow_each_other(year: int, month: int, zone: str) -> None:
    """No moment lies between two months, and none in both; leap days included."""
    tz = ZoneInfo(zone)
    this = month_span(f"{year}-{month:02d}", tz)
    following = month_span(f"{year + month // 12}-{month % 12 + 1:02d}", tz)
    assert (this.until, this.since) == (following.since, following.before)
    days = (this.until.astimezone(tz).date() - this.since.astimezone(tz).date()).days
    leap = month == 2 and year % 4 == 0
    assert days == (29 if leap else [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1])


@pytest.mark.parametrize(
    ("asking", "says"),
    [
        ({"last": "soon"}, "last='soon' is no time"),
        ({"last": "0d"}, "last='0d' is no time"),
        ({"last": "99999w"}, "ten years. at most"),
        ({"last": "1d", "since": NOW}, "Leave one of them out"),
        ({"month": "2026-13"}, "month='2026-13' is no month"),
        ({"month": "9999-12"}, "can be asked for: 1980 to 2999"),
        ({"month": "0000-01"}, "can be asked for: 1980 to 2999"),
        ({"month": 11}, "is no month"),
        ({"last": 30}, "last=30 is no time"),
        ({"last": timedelta(days=-3)}, "is no time that has passed"),
        ({"since": 5}, "since=5 is no time"),
        ({"since": "yesterday"}, "since='yesterday' is no time"),
        ({"until": datetime.max.replace(tzinfo=UTC)}, "out of range"),
        ({"until": datetime.min.replace(tzinfo=UTC)}, "out of range"),
        ({"until": date.max}, "out of range"),
        ({"since": date.min}, "out of range"),
        ({"top": 1.5}, "top=1.5 is no number of rows"),
        ({"top": True}, "is no number of rows"),
        ({"where": ["user"]}, "where is a mapping"),
        ({"where": {"user": ["ana"]}}, "is a list. Write one text"),
        ({"where": {"user": {"$ne": None}}}, "is a dict. Write one text"),
        ({"where": {"user": 5}}, "is a int. Write one text"),
        ({"where": {5: "x"}}, "where has a key that is a int"),
        ({"where": {"user": "\ud800"}}, "half a character"),
        ({"month": "November"}, "Write it as 2026-11"),
        ({"month": "2026-11", "last": "3d"}, "month is a time by itself"),
        ({"since": NOW, "until": NOW - timedelta(days=1)}, "does not lie before until"),
        ({"since": date(2026, 11, 2), "until": date(2026, 11, 2)}, "nothing can lie between"),
        ({"since": date(1990, 1, 1)}, "ten years at most"),
        ({"since": datetime(2026, 1, 1)}, "since has no time zone"),  # noqa: DTZ001 - that is it
        ({"where": {"colour": "red"}}, "'colour' is no key"),
        ({"where": {"day": "2026-11-01"}}, "'day' is no key"),
        ({"top": 0}, "top=0 gives no rows"),
    ],
)
def test_a_question_that_makes_no_sense_says_why(asking: dict[str, Any], says: str) -> None:
    """The error names the cause and how it is written."""
    with pytest.raises(ConfigError, match=says):
        read("user", asking, "UTC", NOW)


def test_times_in_the_wrong_order_are_told_as_they_were_asked() -> None:
    """Days are named in the reporting time zone, in which somebody wrote them."""
    asking = {"since": date(2026, 12, 1), "until": date(2026, 11, 1)}
    with pytest.raises(ConfigError, match=r"since \(2026-12-01 00:00:00 CET\)"):
        read("user", asking, "Europe/Madrid", NOW)


def test_an_unknown_key_or_keyword_is_named() -> None:
    """A mistyped key is no empty answer; the keys are listed under the names that people write."""
    said = r"'colour' is no key. Use one of provider, model, user, .*, session, conversation, "
    for by, where in ((["colour"], {}), ((), {"colour": "red"})):
        with pytest.raises(ConfigError, match=said) as told:
            read(by, {"where": where}, "UTC", NOW)
        assert "_id" not in str(told.value)
    with pytest.raises(TypeError, match="Unknown keyword latest"):
        read("user", {"latest": "30d"}, "UTC", NOW)


def test_short_names_stand_for_keys() -> None:
    """Keys have the names that people write, in questions and in rows."""
    request = read(["user", "field:symbol"], {"where": {"session": "s"}}, "UTC", NOW)
    assert request.keys == ("user_id", "field:symbol")
    assert request.filters == {"session_id": "s"}
    assert request.named(("ana", None)) == {"user": "ana", "field:symbol": None}


def test_the_ledger_gets_plain_values() -> None:
    """What was asked can be noted: names, filters and times."""
    request = read(["user"], {"where": {"user": "ana"}, "last": "1d"}, "UTC", NOW)
    assert request.details == {
        "by": ["user"],
        "user_id": "ana",
        "since": NOW - timedelta(days=1),
        "until": NOW,
    }


@pytest.mark.parametrize("by", [5, None, [None], ["user", 3]])
def test_keys_are_names(by: Any) -> None:
    """Anything else is told what to write."""
    with pytest.raises(ConfigError, match="by is the name of a key"):
        read(by, {}, "UTC", NOW)


def test_what_python_has_for_times_is_understood() -> None:
    """A timedelta, a day for its month, and texts as RFC 3339 writes them."""
    assert span(last=timedelta(days=3)) == span(last="3d")
    assert span("Europe/Madrid", month=date(2026, 3, 17)) == span("Europe/Madrid", month="2026-03")
    assert span(since="2026-11-01") == span(since=date(2026, 11, 1))
    assert span(since="2026-11-01T02:00:00+02:00") == span(since=date(2026, 11, 1))


@pytest.mark.parametrize(("value", "text"), [(5, "5"), (5.0, "5"), (2.5, "2.5"), (True, "true")])
def test_numbers_of_own_fields_are_chosen_by_their_text(value: Any, text: str) -> None:
    """As they are written as keys, so that 5 and 5.0 are the same."""
    assert read("user", {"where": {"field:size": value}}, "UTC", NOW).filters == {
        "field:size": text
    }
