"""What was spent: rows, totals, trend, calls, budgets, and how answers are written."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.analytics.cost import budget, cost, dearest
from affidavit.analytics.questions import Request, read
from affidavit.store.analytics import Source, SumQuestion
from tests.support.calls import Calls
from tests.support.documents import START
from tests.support.oracle import Oracle

pytestmark = pytest.mark.requirement("R13")

NOW = START + timedelta(days=5)
DAY = timedelta(days=1)


def ask(by: Any = ("user",), now: datetime = NOW, zone: str = "UTC", **asking: Any) -> Request:
    """A question about the last ten days."""
    return read(by, {"last": "10d", **asking} if "month" not in asking else asking, zone, now)


def test_rows_have_sums_shares_and_averages() -> None:
    """The dearest group comes first, and the total is the sum of the rows."""
    calls = Calls()
    calls.add(user_id="ana", cost="0.03", times=2)
    calls.add(user_id="bob", cost="0.02")
    calls.add(user_id="bob", cost=None, status="failed", tokens_used=0)
    found = cost(Oracle(calls.records), ask())
    assert [(r.key["user"], r.calls, r.priced, r.cost_usd, r.share) for r in found.rows] == [
        ("ana", 2, 2, Decimal("0.06"), 0.75),
        ("bob", 2, 1, Decimal("0.02"), 0.25),
    ]
    assert found.rows[0].per_call_usd == Decimal("0.03")
    assert (found.totals.calls, found.totals.cost_usd, found.totals.share) == (
        4,
        Decimal("0.08"),
        1.0,
    )
    assert [note.startswith("1 calls did not succeed") for note in found.notes] == [True]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**12)), max_size=20))
def test_the_sum_of_the_rows_is_the_sum_of_the_records(spent: list[tuple[str, int]]) -> None:
    """To the last nano-dollar, whatever the amounts."""
    calls = Calls()
    for user, nano in spent:
        calls.add(user_id=user, cost=str(Decimal(nano).scaleb(-9)))
    found = cost(Oracle(calls.records), ask())
    exact = Decimal(sum(nano for _user, nano in spent)).scaleb(-9)
    assert sum((row.cost_usd for row in found.rows), Decimal(0)) == exact
    assert found.totals.cost_usd == exact


def test_the_trend_is_against_the_time_before() -> None:
    """Each row and the total stand beside what was spent in the time before."""
    calls = Calls()
    calls.add(user_id="ana", cost="0.03")
    calls.add(user_id="ana", cost="0.02", after=-8 * DAY)
    calls.add(user_id="bob", cost="0.01")
    found = cost(Oracle(calls.records), ask())
    ana, bob = found.rows
    assert (ana.previous_usd, ana.change) == (Decimal("0.02"), 0.5)
    assert (bob.previous_usd, bob.change) == (Decimal(0), None)
    assert (found.totals.previous_usd, found.totals.change) == (Decimal("0.02"), 1.0)


def test_rows_of_a_time_stand_in_order_and_have_no_trend() -> None:
    """Days follow each other, and weekdays begin with Monday."""
    calls = Calls()
    for day, price in ((0, "0.01"), (2, "0.09"), (1, "0.05")):
        calls.add(after=day * DAY, cost=price)
    found = cost(Oracle(calls.records), ask("day"))
    assert [row.key["day"] for row in found.rows] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert {row.change for row in found.rows} == {None}
    weekdays = cost(Oracle(calls.records), ask(["weekday"]))
    assert [row.key["weekday"] for row in weekdays.rows] == ["Mon", "Tue", "Sun"]


def test_a_trading_day_in_madrid_is_no_utc_day() -> None:
    """Days are those of the reporting zone, on the day when summer ends too."""
    calls = Calls(start=datetime(2026, 10, 24, 22, 30, tzinfo=UTC))
    calls.add()
    calls.add(after=timedelta(hours=24))
    calls.add(after=timedelta(hours=25))
    asked = ask("day", zone="Europe/Madrid", now=calls.start + 3 * DAY)
    found = cost(Oracle(calls.records), asked)
    assert [(r.key["day"], r.calls) for r in found.rows] == [("2026-10-25", 2), ("2026-10-26", 1)]


def test_the_hour_that_comes_twice_stands_in_its_order() -> None:
    """When summer ends, the hour with the offset of summer comes first."""
    calls = Calls(start=datetime(2026, 10, 24, 23, 30, tzinfo=UTC))
    for hours in (2, 0, 1, 3):
        calls.add(after=timedelta(hours=hours))
    asked = ask("hour", zone="Europe/Madrid", now=calls.start + 3 * DAY)
    assert [row.key["hour"] for row in cost(Oracle(calls.records), asked).rows] == [
        "2026-10-25T01:00+02:00",
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T03:00+01:00",
    ]


def test_a_note_tells_of_calls_that_are_neither_priced_nor_unpriced() -> None:
    """A failed call without tokens costs nothing, and misses no price."""
    calls = Calls()
    calls.add()
    calls.add(cost=None)
    calls.add(cost=None, status="failed", tokens_used=0, input_tokens=0, output_tokens=0)
    found = cost(Oracle(calls.records), ask())
    assert (found.totals.calls, found.totals.priced, found.totals.unpriced) == (3, 1, 1)
    assert any(note.startswith("1 calls did not succeed and used no") for note in found.notes)


def test_a_month_under_way_is_not_compared_in_silence() -> None:
    """The month before is a whole one, and this one is not: a note says so."""
    calls = Calls(start=datetime(2026, 11, 3, tzinfo=UTC))
    calls.add()
    asked = ask("user", month="2026-11", now=datetime(2026, 11, 16, tzinfo=UTC))
    said = "the time before is compared as a whole"
    assert any(said in note for note in cost(Oracle(calls.records), asked).notes)
    assert not any(said in note for note in cost(Oracle(calls.records), ask()).notes)


def test_corrections_count_at_the_time_of_the_call() -> None:
    """A correction written later changes the day of its call, once."""
    calls = Calls()
    (first,) = calls.add(cost="0.03")
    (second,) = calls.add(cost=None, model="new")
    calls.correct(first, -10_000_000)
    calls.correct(second, 5_000_000, before="unpriced")
    found = cost(Oracle(calls.records), ask("day"))
    (row,) = found.rows
    assert (row.key["day"], row.cost_usd) == ("2026-11-01", Decimal("0.025"))
    assert (row.priced, row.unpriced) == (2, 0)


def test_what_has_expired_is_said() -> None:
    """A trend against a time that is partly gone shows growth that never was, and says so."""
    calls = Calls()
    calls.add()
    asked = read("user", {"last": "10d"}, "UTC", NOW, kept=15 * DAY)
    (note,) = cost(Oracle(calls.records), asked).notes
    assert note.startswith("The time before is not whole, because records from before 2026-10-22")
    asked = read("user", {"last": "20d"}, "UTC", NOW, kept=15 * DAY)
    (note,) = cost(Oracle(calls.records), asked).notes
    assert note == "Records from before 2026-10-22 12:00 UTC have expired, and do not count."
    asked = read("user", {"last": "5d"}, "UTC", NOW, kept=15 * DAY)
    assert not cost(Oracle(calls.records), asked).notes


def test_a_failed_call_that_gets_a_price_leaves_nothing_below_zero() -> None:
    """Nobody missed a price of a failure without tokens; a correction may still give it one."""
    calls = Calls()
    (failed,) = calls.add(cost=None, status="failed", tokens_used=0)
    calls.correct(failed, 5, before="unpriced")
    found = cost(Oracle(calls.records), ask())
    assert (found.totals.unpriced, found.totals.cost_usd) == (0, Decimal("5E-9"))


def test_unpriced_and_estimated_calls_are_noted() -> None:
    """An answer says which models have no price, and that estimates are among the sums."""
    calls = Calls()
    calls.add(cost=None, model="m-new", times=2)
    calls.add(cost="0.01", cost_status="estimated")
    notes = cost(Oracle(calls.records), ask()).notes
    assert "2 calls have no price and count as nothing: anthropic m-new (2)." in notes
    assert "The cost of 1 calls is an estimate." in notes


def test_the_first_rows_only_are_shown_and_the_rest_is_counted() -> None:
    """With top the totals are still of all."""
    calls = Calls()
    for n in range(4):
        calls.add(user_id=f"u{n}")
    found = cost(Oracle(calls.records), ask(top=1))
    assert (len(found.rows), found.totals.calls) == (1, 4)
    assert "3 more rows are not shown; the totals include them." in found.notes


class _Ranking(Oracle):
    """An engine that answers from rollups, and so ranks by itself."""

    def source(self, question: SumQuestion) -> Source:
        return Source("rollups", datetime.now(UTC))


def test_users_that_the_store_ranks_are_the_same() -> None:
    """Where rollups answer, the first users, their trend and all totals are what they are else."""
    calls = Calls()
    for n in range(12):
        calls.add(user_id=f"u{n % 4}", cost=f"0.0{n}")
        calls.add(user_id=f"u{n % 3}", cost="0.01", after=-8 * DAY)
    found, ranked = (cost(each(calls.records), ask(top=2)) for each in (Oracle, _Ranking))
    assert (ranked.rows, ranked.totals) == (found.rows, found.totals)
    assert ranked.notes == ("More rows are not shown; the totals include them.",)
    assert found.notes == ("2 more rows are not shown; the totals include them.",)


def test_the_dearest_calls() -> None:
    """Calls are listed by what they cost with corrections."""
    calls = Calls()
    (cheap,) = calls.add(cost="0.01", user_id="ana")
    (dear,) = calls.add(cost="0.05")
    (dearer,) = calls.add(cost="0.02")
    calls.correct(dearer, 40_000_000)
    found = dearest(Oracle(calls.records), ask((), top=2))
    assert [(row.call_id, row.cost_usd) for row in found.rows] == [
        (dearer, Decimal("0.06")),
        (dear, Decimal("0.05")),
    ]
    assert (found.totals.cost_usd, found.totals.all_usd) == (Decimal("0.11"), Decimal("0.12"))
    assert cheap not in {row.call_id for row in found.rows}


def test_budgets_against_actual_and_projected() -> None:
    """Halfway through a month, what was spent is projected to its end."""
    calls = Calls(start=datetime(2026, 11, 3, tzinfo=UTC))
    for user, spent in (("ana", "6"), ("bob", "4.5"), ("eve", "1"), ("max", "11"), ("kim", "2")):
        calls.add(user_id=user, cost=spent)
    asked = ask("user", month="2026-11", now=datetime(2026, 11, 16, tzinfo=UTC))
    budgets = {"*": Decimal(10), "bob": Decimal(5), "kim": Decimal(100), "new": Decimal(7)}
    found = budget(Oracle(calls.records), asked, budgets)
    rows = {
        r.key["user"]: (r.state, r.budget_usd, r.actual_usd, r.projected_usd) for r in found.rows
    }
    assert rows["max"] == ("over", Decimal(10), Decimal(11), Decimal(22))
    assert rows["ana"][0] == "will be over"
    assert rows["bob"] == ("will be over", Decimal(5), Decimal("4.5"), Decimal(9))
    assert rows["eve"][0] == rows["kim"][0] == "within"
    assert rows["new"] == ("within", Decimal(7), Decimal(0), Decimal(0))
    assert (found.totals.actual_usd, found.totals.projected_usd) == (Decimal("24.5"), Decimal(49))
    assert any(note.startswith("Projected from 2026-11-16 00:00") for note in found.notes)


def test_the_cost_of_a_month_under_way_is_projected() -> None:
    """A note says what the month will cost at the same pace; of a finished one it does not."""
    calls = Calls(start=datetime(2026, 11, 3, tzinfo=UTC))
    calls.add(cost="12")
    asked = ask("user", month="2026-11", now=datetime(2026, 11, 16, tzinfo=UTC))
    notes = cost(Oracle(calls.records), asked).notes
    assert "At the same pace it will be 24 USD at the end of that time." in notes
    assert not any("pace" in note for note in cost(Oracle(calls.records), ask()).notes)


def test_a_month_that_is_over_is_not_projected() -> None:
    """Of a finished month, the projection is what was spent; near its end is near."""
    calls = Calls(start=datetime(2026, 10, 3, tzinfo=UTC))
    calls.add(user_id="ana", cost="9")
    calls.add(user_id=None, cost="1")
    found = budget(Oracle(calls.records), ask("user", month="2026-10"), {"*": Decimal(10)})
    rows = {row.key["user"]: (row.state, row.projected_usd) for row in found.rows}
    assert rows == {"ana": ("near", Decimal(9)), None: ("no budget", Decimal(1))}


def test_budgets_outside_of_what_may_be_seen_are_not_named() -> None:
    """Whoever sees one department is told nothing of budgets and users of others."""
    calls = Calls()
    calls.add(user_id="ana", department="research", cost="9")
    calls.add(user_id="bob", department="sales", cost="1")
    seen = {"department": ("research",)}
    budgets = {"ana": Decimal(10), "bob": Decimal(5), "kim": Decimal(7)}
    asked = read("user", {"month": "2026-11"}, "UTC", NOW, within=seen)
    found = budget(Oracle(calls.records), asked, budgets)
    assert [row.key["user"] for row in found.rows] == ["ana"]
    assert found.totals.budget_usd == Decimal(10)
    asked = read("department", {"month": "2026-11"}, "UTC", NOW, within=seen)
    found = budget(Oracle(calls.records), asked, {"research": Decimal(1), "sales": Decimal(2)})
    assert [row.key["department"] for row in found.rows] == ["research"]


def test_what_may_be_seen_stands_in_every_part_of_an_answer() -> None:
    """Rows, totals and the time before are of that department alone, and the answer says so."""
    calls = Calls()
    for after in (timedelta(0), -8 * DAY):
        calls.add(user_id="ana", department="research", cost="3", after=after)
        calls.add(user_id="ana", department="sales", cost="40", after=after)
    seen = {"department": ("research",)}
    asked = read("user", {"last": "10d"}, "UTC", NOW, within=seen)
    found = cost(Oracle(calls.records), asked)
    assert found.totals.cost_usd == Decimal(3)
    assert found.totals.previous_usd == Decimal(3)
    assert [row.cost_usd for row in found.rows] == [Decimal(3)]
    assert found.asked["within"] == {"department": ["research"]}
    assert [dear.cost_usd for dear in dearest(Oracle(calls.records), asked).rows] == [Decimal(3)]


def test_without_budgets_it_is_said() -> None:
    """No setting, no state, and a note that names the setting."""
    found = budget(Oracle(Calls().records), ask("user", month="2026-10"), {})
    assert not found.rows
    assert found.totals.state == "no budget"
    assert "There are no budgets by user: see the setting budgets." in found.notes


def test_json_has_the_key_and_money_as_text() -> None:
    """A row carries its key, by its name and as key, and cost_usd as a decimal string."""
    calls = Calls()
    calls.add(user_id="ana", cost="0.045")
    written = json.loads(cost(Oracle(calls.records), ask()).as_json())
    (row,) = written["rows"]
    assert (row["key"], row["user"], row["cost_usd"]) == ("ana", "ana", "0.045")
    assert (written["timezone"], written["source"]) == ("UTC", "records")
    assert written["totals"]["cost_usd"] == "0.045"
    assert "key" not in written["totals"]
    assert (written["since"], written["until"]) == (
        "2026-10-27T12:00:00.000Z",
        "2026-11-06T12:00:00.000Z",
    )


def test_csv_has_names_rows_and_no_formulas() -> None:
    """A user who is called like a formula stays a text in a spreadsheet; money stays a number."""
    calls = Calls()
    calls.add(user_id="=1+1", department='a "b", c', cost="0.5")
    (first,) = calls.add(user_id="bob", cost="0.25")
    calls.correct(first, -500_000_000)
    text = cost(Oracle(calls.records), ask(["user", "department"])).as_csv()
    header, *rows = list(csv.reader(io.StringIO(text)))
    assert header[:3] == ["user", "department", "calls"]
    assert rows[0][:2] == ["'=1+1", 'a "b", c']
    assert rows[1][header.index("cost_usd")] == "-0.25"


@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20")
def test_no_sign_of_a_formula_begins_a_cell(sign: str) -> None:
    """Spreadsheets of East Asia read full-width signs as the others."""
    calls = Calls()
    calls.add(user_id=f"{sign}cmd()")
    assert f"\n'{sign}cmd()," in cost(Oracle(calls.records), ask()).as_csv().replace("\r", "")


def test_content_cannot_steer_the_terminal() -> None:
    """Control characters and bidirectional marks of a name come out as escapes."""
    calls = Calls()
    calls.add(user_id="\x1b[2J\u202egnp\n")
    found = cost(Oracle(calls.records), ask())
    assert "\\u001b[2J\\u202egnp\\u000a" in found.as_csv()
    assert not set(found.as_csv() + found.as_json()) & {"\x1b", "\u202e"}


def test_an_empty_answer_is_an_answer() -> None:
    """Without calls there are no rows, zero totals and a line of names."""
    found = cost(Oracle([]), ask())
    assert (found.rows, found.totals.cost_usd, found.totals.share) == ((), Decimal(0), None)
    assert found.as_csv().startswith("user,calls,")
