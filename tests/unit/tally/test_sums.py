"""Sums of calls, and questions about them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.errors import ConfigError
from affidavit.store.analytics import SumQuestion
from affidavit.tally.facts import Correction, Fact
from affidavit.tally.sums import COUNTERS, MEASURES, SKETCHES, Sums, usd

pytestmark = pytest.mark.requirement("R13", "R15")

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
COUNTS = st.none() | st.integers(0, 10**6)
MS = st.none() | st.floats(0, 1e6)


def facts() -> st.SearchStrategy[Fact]:
    """Any call."""
    return st.builds(
        Fact,
        call_id=st.text("abcdef0123456789", min_size=1, max_size=8),
        at=st.integers(0, 10**7).map(lambda s: AT + timedelta(seconds=s)),
        status=st.sampled_from(["completed", "failed", "aborted"]),
        finish_reason=st.sampled_from([None, "stop", "length", "MAX_TOKENS"]),
        input_tokens=COUNTS,
        output_tokens=COUNTS,
        tokens=COUNTS,
        cost_nano=st.none() | st.integers(-(10**9), 10**15),
        cost_status=st.sampled_from([None, "priced", "estimated"]),
        latency_ms=MS,
        ttft_ms=MS,
        retries=st.integers(0, 3),
        prompt_chars=COUNTS,
        answer_chars=COUNTS,
        is_empty=st.booleans(),
    )


CORRECTIONS = st.builds(Correction, facts(), st.integers(-(10**9), 10**9), st.booleans())


@given(st.lists(facts() | CORRECTIONS, max_size=30), st.randoms(use_true_random=False))
def test_order_does_not_matter(many: list[Fact | Correction], chance: random.Random) -> None:
    """Calls and corrections in any order, in any parts, add up to the same."""
    shuffled = chance.sample(many, len(many))
    cut = chance.randint(0, len(many))
    parts = Sums.of(shuffled[cut:])
    parts.merge(Sums.of(shuffled[:cut]))
    assert parts == Sums.of(many)


@given(st.lists(facts(), max_size=30))
def test_costs_add_up_exactly(many: list[Fact]) -> None:
    """The sum is the sum of the calls, to the last nano-dollar."""
    exact = sum((usd(fact.cost_nano) for fact in many if fact.cost_nano is not None), Decimal(0))
    assert Sums.of(many).cost_usd == exact


def test_a_correction_changes_cost_and_no_count() -> None:
    """A correction moves the cost, and a call it prices is unpriced no more."""
    call = Fact("a", AT, tokens=5)
    sums = Sums.of([call, Correction(call, 7, prices=True)])
    assert (sums.calls, sums.cost_nano, sums.priced, sums.unpriced) == (1, 7, 1, 0)


def test_a_failure_without_tokens_needs_no_price() -> None:
    """Unpriced are calls that should have a cost: those that succeeded or used tokens."""
    calls = [
        Fact("a", AT),
        Fact("b", AT, status="failed"),
        Fact("c", AT, status="failed", tokens=3),
    ]
    assert Sums.of(calls).unpriced == 2


def test_times_are_those_of_calls_that_succeeded() -> None:
    """A quick failure does not flatter the latency."""
    sums = Sums.of(
        [Fact("a", AT, latency_ms=100.0), Fact("b", AT, latency_ms=1.0, status="failed")]
    )
    assert (sums.latency.count, sums.latency_us) == (1, 100_000)


def test_first_and_last_are_kept() -> None:
    """The times of the first and the last call survive merging."""
    sums = Sums.of([Fact("a", AT)])
    sums.merge(Sums())
    sums.merge(Sums.of([Fact("b", AT - timedelta(hours=1))]))
    assert (sums.first_at, sums.last_at) == (AT - timedelta(hours=1), AT)


def test_every_counter_belongs_to_one_measure() -> None:
    """The measures name each counter once, and each sketch."""
    fields = set(Sums.__slots__) - {"first_ms", "last_ms", *SKETCHES}
    assert sorted(COUNTERS) == sorted(fields)
    assert set(SKETCHES) <= MEASURES.keys()


@given(st.lists(facts(), max_size=10))
def test_only_what_was_asked_is_kept(many: list[Fact]) -> None:
    """A copy with some measures has those, the counts, and nothing else."""
    whole = Sums.of(many)
    kept = whole.only({"cost"})
    assert (kept.calls, kept.cost_nano, kept.first_ms) == (
        whole.calls,
        whole.cost_nano,
        whole.first_ms,
    )
    assert kept.tokens == 0
    assert not kept.latency.buckets
    assert whole.only(MEASURES) == whole


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"by": ("colour",)}, "'colour' is no key"),
        ({"by": ("field:message",)}, "holds content"),
        ({"by": ("field:a.b",)}, "'field:a.b' is no key"),
        ({"by": ("model", "model")}, "named twice"),
        ({"filters": {"day": "2026-11-01"}}, "'day' is no key"),
        ({"until": AT - timedelta(days=1)}, "before it"),
        ({"since": AT.replace(tzinfo=None)}, "time zone"),
        ({"zone": "Europe/Atlantis"}, "'Europe/Atlantis' is no time zone"),
        ({"zone": "../etc/passwd"}, "is no time zone"),
        ({"measures": frozenset({"beauty"})}, "Unknown measures beauty"),
    ],
)
def test_a_wrong_question_says_what_is_wrong(changes: dict[str, object], names: str) -> None:
    """A question that cannot be answered names the cause."""
    asked = {"since": AT, "until": AT + timedelta(days=1), **changes}
    with pytest.raises(ConfigError, match=names):
        SumQuestion(**asked)  # type: ignore[arg-type]


def test_a_question_chooses_and_names_its_groups() -> None:
    """A question takes calls of its time and filters, and puts each into a group."""
    question = SumQuestion(
        AT,
        AT + timedelta(days=1),
        by=("day", "field:symbol"),
        filters={"user_id": "u", "tenant": None},
        zone="Asia/Tokyo",
    )
    late = AT + timedelta(hours=5)
    assert question.wants(Fact("a", AT, user_id="u"))
    assert not question.wants(Fact("a", AT + timedelta(days=1), user_id="u"))
    assert not question.wants(Fact("a", AT, user_id="v"))
    assert not question.wants(Fact("a", AT, user_id="u", tenant="t"))
    assert question.key(Fact("a", late, fields={"symbol": "BTC"})) == ("2026-11-02", "BTC")
