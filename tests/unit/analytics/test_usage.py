"""Who uses the models, who is new, who stays away, who hits limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from affidavit.analytics.questions import Request, read
from affidavit.analytics.usage import limits, people, usage
from affidavit.errors import ConfigError
from affidavit.store.analytics import SumQuestion, TooManyGroups
from tests.support.calls import Calls
from tests.support.documents import START
from tests.support.oracle import Oracle

pytestmark = pytest.mark.requirement("R14")

NOW = START + timedelta(days=5)
DAY = timedelta(days=1)


def ask(by: Any = ("user",), **asking: Any) -> Request:
    """A question about the last ten days."""
    return read(by, {"last": "10d", **asking}, "UTC", NOW)


def test_use_is_counted_by_group() -> None:
    """Calls, tokens, and different users and sessions of each group and of all."""
    calls = Calls()
    calls.add(department="research", user_id="ana", session_id="s1", times=2)
    calls.add(department="research", user_id="bob", session_id="s2")
    calls.add(department="sales", user_id="ana", session_id="s1", status="aborted")
    found = usage(Oracle(calls.records), ask(["department"]))
    assert [(r.key["department"], r.calls, r.users, r.sessions) for r in found.rows] == [
        ("research", 3, 2, 2),
        ("sales", 1, 1, 1),
    ]
    assert (found.rows[0].share, found.rows[1].aborted, found.rows[0].tokens) == (0.75, 1, 3750)
    # Who is in two groups is one user in all.
    assert (found.totals.users, found.totals.sessions, found.totals.calls) == (2, 2, 4)


def test_use_by_hour_of_day_and_by_field() -> None:
    """Hours stand in order; fields of the application are keys as well."""
    calls = Calls()
    for hour in (5, 1, 1):
        calls.add(after=timedelta(hours=hour), fields={"symbol": f"S{hour}"})
    by_hour = usage(Oracle(calls.records), ask("hour_of_day"))
    assert [(r.key["hour_of_day"], r.calls) for r in by_hour.rows] == [("13", 2), ("17", 1)]
    by_field = usage(Oracle(calls.records), ask("field:symbol"))
    assert [(r.key["field:symbol"], r.calls) for r in by_field.rows] == [("S1", 2), ("S5", 1)]


def test_lengths_are_distributions() -> None:
    """Percentiles of the lengths of prompts and answers, within two percent."""
    calls = Calls()
    for length in range(1, 101):
        calls.add(prompt=length * 10, response_length=length)
    totals = usage(Oracle(calls.records), ask()).totals
    assert totals.prompt_chars_p50 == pytest.approx(500, rel=0.02)
    assert totals.prompt_chars_p99 == pytest.approx(990, rel=0.02)
    assert totals.answer_chars_p90 == pytest.approx(90, rel=0.02)


def peopled() -> Oracle:
    """One new user, one who stayed, one who lapsed, and one who left long ago."""
    calls = Calls()
    calls.add(user_id="new")
    calls.add(user_id="kept", times=2)
    calls.add(user_id="kept", after=-60 * DAY)
    calls.add(user_id="lapsed", after=-8 * DAY)
    calls.add(user_id="left", after=-40 * DAY)
    calls.add(user_id=None)
    return Oracle(calls.records)


def test_new_and_lapsed_users_are_counted() -> None:
    """New is who had no call for ninety days, lapsed who had one only in the time before."""
    totals = usage(peopled(), ask()).totals
    assert (totals.new_users, totals.lapsed_users, totals.users) == (1, 1, 2)


def test_people_are_listed_by_state() -> None:
    """Each user with calls now and before; who left long ago is not listed."""
    found = people(peopled(), ask(()))
    rows = [(row.key["user"], row.state, row.calls, row.calls_before) for row in found.rows]
    assert rows == [("kept", "kept", 2, 1), ("lapsed", "lapsed", 0, 1), ("new", "new", 1, 0)]
    assert found.rows[0].first_at == START - 60 * DAY
    assert (found.totals.new, found.totals.kept, found.totals.lapsed) == (1, 1, 1)


def test_too_many_users_leave_the_rest_of_the_answer() -> None:
    """Where users cannot be told one by one, the answer says so and counts the rest."""

    class Crowd(Oracle):
        def sums(self, question: SumQuestion) -> Any:
            if question.by == ("user_id",):
                raise TooManyGroups(question.by, 5)
            return super().sums(question)

    found = usage(Crowd(peopled().records), ask("department"))
    assert (found.totals.calls, found.totals.new_users) == (4, None)
    assert any("too many users" in note for note in found.notes)


@pytest.mark.requirement("R18")
def test_limits_by_user_and_kind() -> None:
    """Who hits limits most comes first, with the calls that were made meanwhile."""
    calls = Calls()
    calls.add(user_id="ana", times=4)
    calls.hit("ana", "requests")
    calls.hit("ana", "requests", after=DAY)
    calls.hit("bob", "tokens")
    found = limits(Oracle(calls.records), ask())
    rows = [(r.key["user"], r.limit_type, r.hits, r.calls, r.per_100_calls) for r in found.rows]
    assert rows == [("ana", "requests", 2, 4, 50.0), ("bob", "tokens", 1, 0, None)]
    assert found.rows[0].last_at == START + DAY
    assert (found.totals.hits, found.totals.calls) == (3, 4)


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("by", "where"),
    [("model", {}), ("user", {"provider": "anthropic"}), ("field:symbol", {})],
)
def test_limits_by_what_a_hit_does_not_have_are_refused(by: str, where: dict[str, str]) -> None:
    """A hit tells who and when: hits of a model would all be of none."""
    with pytest.raises(ConfigError, match="a hit has no"):
        limits(Oracle([]), ask(by, where=where))
