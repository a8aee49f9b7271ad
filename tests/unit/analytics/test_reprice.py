"""Corrections: whatever prices come after each other, a call counts for what the last ones say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bson.decimal128 import Decimal128
from hypothesis import given, settings
from hypothesis import strategies as st

from affidavit.analytics.reprice import Repriced, Written, reprice, standing
from affidavit.pricing import Book, load, price, usage_of
from affidavit.pricing.overrides import parse
from affidavit.store.repricing import Span
from affidavit.tally.facts import correction_of, fact_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.requirement("R13")

START = datetime(2026, 11, 1, tzinfo=UTC)
SPAN = Span(START, START + timedelta(days=30))
COUNTS = st.integers(0, 10**6)


class Records:
    """A log in memory, as pricing asks of one."""

    def __init__(self, outcomes: Sequence[dict[str, Any]]) -> None:
        self.finished = list(outcomes)
        self.added: dict[bytes, dict[str, Any]] = {}

    def outcomes(self, span: Span, page: int) -> Iterator[Sequence[dict[str, Any]]]:
        """All of them, in pages."""
        assert span == SPAN
        for start in range(0, len(self.finished), page):
            yield self.finished[start : start + page]

    def corrections(self, call_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Those that were added, in order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for each in self.added.values():
            if each["call_id"] in call_ids:
                found.setdefault(each["call_id"], []).append(each)
        return found

    def unpriced(self, span: Span) -> Sequence[Any]:
        """Not asked here."""
        raise NotImplementedError(span)

    def write(self, made: Sequence[tuple[bytes, dict[str, Any]]]) -> Written:
        """Add some; the same id never twice."""
        for identity, document in made:
            assert identity not in self.added
            self.added[identity] = document
        return Written(stored=len(made))

    def total_nano(self) -> int:
        """What all calls count for."""
        facts = [fact_of(each) for each in self.finished]
        changed = [correction_of(each) for each in self.added.values()]
        return sum(f.cost_nano or 0 for f in facts if f) + sum(c.cost_nano for c in changed if c)


def outcome(number: int, counts: tuple[int, int, int], cost: str | None) -> dict[str, Any]:
    """An outcome as it is stored; without a status, as before there were prices."""
    return {
        "event_type": "llm_response",
        "call_id": f"{number:024x}",
        "timestamp": START + timedelta(hours=number),
        "provider": "openai",
        "model": "gpt-5",
        "success": True,
        "status": "completed",
        "input_tokens": counts[0] + counts[2],
        "output_tokens": counts[1],
        "cached_tokens": counts[2],
        "response_data": {"cost_usd": None if cost is None else Decimal128(cost)},
        **({"cost_status": "priced", "price_book": "0.1-0"} if cost is not None else {}),
    }


def book(multiplier: Decimal) -> Book:
    """The list's prices, so many times."""
    return load(parse(f'[[price]]\nprovider = "*"\nmultiplier = {multiplier}'.encode(), "p"))


BOOKS = [load(), *(book(Decimal(m)) for m in ("0.5", "0.3333", "1.7"))]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.tuples(COUNTS, COUNTS, COUNTS), st.booleans()), min_size=1, max_size=8),
    st.lists(st.sampled_from(BOOKS), min_size=1, max_size=6),
)
def test_the_sum_is_what_the_last_prices_say(
    calls: list[tuple[tuple[int, int, int], bool]], books: list[Book]
) -> None:
    """To the nano-dollar, there and back again; and the same prices twice add nothing."""
    log = Records(
        [outcome(n, counts, "0.123456789" if known else None)
         for n, (counts, known) in enumerate(calls)]
    )  # fmt: skip
    for current in books:
        before = log.total_nano()
        done = reprice(log, SPAN, current, log.write)
        expected = sum(
            price(usage_of(each), "openai", "gpt-5", each["timestamp"], current).cost_nano or 0
            for each in log.finished
        )
        assert log.total_nano() == expected == before + done.cost_nano_diff
        assert done.corrected == sum(calls for calls, _nano in done.by_model.values())
        count = len(log.added)
        again = reprice(log, SPAN, current, log.write)
        assert (again.corrected, len(log.added)) == (0, count)


def test_the_first_price_of_a_call_is_said_to_be_one() -> None:
    """So that it counts as priced from then on; a price of 0 as well."""
    log = Records([outcome(0, (10, 5, 0), None), outcome(1, (0, 0, 0), None)])
    reprice(log, SPAN, load(), log.write)
    read = [correction_of(each) for each in log.added.values()]
    assert [(c.cost_nano, c.prices) for c in read if c] == [(62_500, True), (0, True)]
    reprice(log, SPAN, BOOKS[1], log.write)
    last = list(log.added.values())[-1]
    assert last["details"]["cost_status_before"] == "priced"


def test_what_has_no_price_now_keeps_the_cost_it_had() -> None:
    """A model that left the list is no reason to forget what was paid."""
    gone = {**outcome(0, (10, 5, 0), "0.5"), "model": "gone"}
    done = reprice(log := Records([gone]), SPAN, load(), log.write)
    assert (done.unpriced, done.corrected, log.added) == (1, 0, {})


def test_a_reported_cost_stands() -> None:
    """Also one of a time when records did not say that it was reported."""
    told = outcome(0, (10, 5, 0), "0.5")
    del told["cost_status"]
    later = {**outcome(1, (10, 5, 0), "0.5"), "cost_status": "reported"}
    done = reprice(log := Records([told, later]), SPAN, load(), log.write)
    assert (done.reported, log.added) == (2, {})


def test_a_dry_run_counts_and_writes_nothing() -> None:
    """The same numbers as a run."""
    log = Records([outcome(n, (1000, 100, 0), None) for n in range(1200)])
    seen: list[int] = []
    dry = reprice(log, SPAN, load(), None, lambda done, _at: seen.append(done.looked_at))
    assert not log.added
    assert seen == [500, 1000, 1200]
    assert dry == reprice(log, SPAN, load(), log.write)
    assert dry.cost_usd_diff == Decimal("2.700000000")


def test_an_odd_record_stops_nothing() -> None:
    """A call without an id cannot be corrected; names that are no texts have no price."""
    odd = {**outcome(0, (1, 1, 0), None), "call_id": None}
    named = {**outcome(1, (1, 1, 0), None), "model": 5, "response_data": None}
    done = reprice(log := Records([odd, named]), SPAN, load(), log.write)
    assert (done.looked_at, done.corrected, done.unpriced) == (2, 0, 1)


def test_what_is_counted_into_grows() -> None:
    """Whoever is told of an error knows what was written before it."""
    log = Records([outcome(n, (1000, 100, 0), None) for n in range(700)])
    done = Repriced("0")

    def once(made: Sequence[tuple[bytes, dict[str, Any]]]) -> Written:
        """Break at the second page."""
        if log.added:
            raise RuntimeError
        return log.write(made)

    with pytest.raises(RuntimeError):
        reprice(log, SPAN, load(), once, into=done)
    assert (done.looked_at, done.corrected, len(log.added)) == (700, 500, 500)


def test_a_standing_adds_up_in_order() -> None:
    """Cost and all differences; status and book are the last ones'."""
    two = [
        {"details": {"cost_nano_diff": 7, "cost_status_now": "priced"}, "price_book": "b"},
        {"details": {"cost_nano_diff": -2, "cost_status_now": "estimated"}, "price_book": "c"},
    ]
    found = standing(outcome(0, (1, 1, 0), "0.000000010"), two)
    assert found == (15, "estimated", "c", 2)
