"""What the same calls would have cost elsewhere: only calls with both prices are compared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from affidavit.analytics.answers import Answer
from affidavit.analytics.questions import read
from affidavit.analytics.whatif import WhatIfRow, what_if
from affidavit.pricing import load
from affidavit.store.analytics import Key, SumQuestion, TooManyGroups
from affidavit.tally.sums import Sums
from tests.support.calls import Calls
from tests.support.documents import START
from tests.support.oracle import Oracle

pytestmark = pytest.mark.requirement("R16")

USED: dict[str, Any] = {"input_tokens": 1_000_000, "output_tokens": 0, "tokens_used": 1_000_000}
OWN: dict[str, Any] = {"cost": "1", "cost_status": "exact", **USED}
NONE: dict[str, Any] = {"cost": None, "cost_status": "unpriced", **USED}
ONE, TWO = Decimal(1), Decimal(2)
ELSEWHERE = Decimal("0.25")
"""A million input tokens of gpt-5-mini, in US dollars; beside it what others cost here."""


def asked(engine: Oracle, by: Any = ("user",)) -> Answer[WhatIfRow, WhatIfRow]:
    """What the calls of ten days would have cost with gpt-5-mini."""
    request = read(by, {"last": "10d"}, "UTC", START + timedelta(days=5))
    return what_if(engine, request, load(), "openai", "gpt-5-mini")


def test_calls_without_a_price_of_their_own_are_left_out_on_both_sides() -> None:
    """Their tokens count as nothing at the other prices too, and the answer says how many."""
    calls = Calls()
    calls.add(user_id="ana", **OWN)
    calls.add(user_id="ana", times=2, **NONE)
    calls.add(user_id="bob", **NONE)
    found = asked(Oracle(calls.records))
    ana, bob = found.rows
    assert (ana.calls, ana.compared, ana.unpriced, ana.input_tokens) == (3, 1, 2, 1_000_000)
    assert (ana.actual_usd, ana.what_if_usd, ana.difference_usd) == (ONE, ELSEWHERE, ELSEWHERE - 1)
    assert (bob.calls, bob.compared, bob.what_if_usd, bob.difference_usd) == (1, 0, None, None)
    totals = found.totals
    assert (totals.compared, totals.actual_usd, totals.what_if_usd) == (1, ONE, ELSEWHERE)
    said = " ".join(found.notes)
    assert "1 of 4 calls are compared" in said
    assert "3 are left out" in said
    assert "3 of them have no price of their own" in said


def test_calls_that_were_priced_later_are_compared() -> None:
    """A correction gives a call its price."""
    calls = Calls()
    (later,) = calls.add(user_id="ana", **NONE)
    calls.correct(later, 2 * 10**9, "unpriced")
    calls.records[-1]["cost_status"] = "unpriced"
    found = asked(Oracle(calls.records))
    totals = found.totals
    assert (totals.compared, totals.actual_usd, totals.what_if_usd) == (1, TWO, ELSEWHERE)
    assert "left out" not in " ".join(found.notes)


def test_calls_that_cannot_be_told_apart_are_left_out_together() -> None:
    """Of an older logger's calls nothing tells which of a group have a price: it is said."""
    calls = Calls()
    calls.add(user_id="ana", cost="1", **USED)
    calls.add(user_id="ana", cost=None, **USED)
    calls.add(user_id="bob", cost="1", **USED)
    found = asked(Oracle(calls.records), ("user",))
    assert {row.key["user"]: row.compared for row in found.rows} == {"ana": 0, "bob": 1}
    assert found.totals.actual_usd == ONE
    assert "1 cannot be told apart" in " ".join(found.notes)


def test_with_too_many_groups_to_tell_them_apart_a_group_counts_as_a_whole() -> None:
    """The question is answered all the same, and what is left out is said."""

    class Narrow(Oracle):
        def sums(self, question: SumQuestion) -> Iterator[tuple[Key, Sums]]:
            if "cost_status" in question.by:
                raise TooManyGroups(question.by, 1)
            return super().sums(question)

    calls = Calls()
    calls.add(user_id="ana", **OWN)
    calls.add(user_id="ana", **NONE)
    calls.add(user_id="bob", **OWN)
    found = asked(Narrow(calls.records))
    assert (found.totals.calls, found.totals.compared) == (3, 1)
    assert "1 of 3 calls are compared" in " ".join(found.notes)


def test_without_calls_nothing_is_left_out() -> None:
    """An empty time costs nothing anywhere."""
    found = asked(Oracle([]))
    assert (found.totals.calls, found.totals.what_if_usd) == (0, Decimal(0))
    assert "left out" not in " ".join(found.notes)
