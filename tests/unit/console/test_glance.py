"""A call's facts, and rows of lists."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from affidavit.console.glance import glance, linked
from affidavit.console.kept import Kept
from affidavit.console.rows import row
from affidavit.store.questions import CallRecords, SearchFilter

pytestmark = pytest.mark.requirement("R13")
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def call(**more: Any) -> dict[str, Any]:
    """A finished call as the reader gives it."""
    return {
        "_id": "r1",
        "call_id": "c1",
        "event_type": "llm_request",
        "timestamp": AT,
        "status": "completed",
        "user_id": "ana",
        "session_id": "s1",
        "provider": "openai",
        "model": "m",
        "output_tokens": 100,
        "time_to_first_token_ms": 500.0,
        "response_data": {"cost_usd": Decimal("0.5"), "processing_time_ms": 1500.0},
        **more,
    }


def test_a_cost_has_its_corrections() -> None:
    """What a call cost after all, with each change and where it is from."""
    fix = {
        "event_type": "correction",
        "timestamp": AT,
        "details": {"cost_nano_diff": -200_000_000, "cost_status_now": "priced"},
    }
    found = glance(CallRecords(call(), call(), (), (fix,)))
    assert (found.recorded_usd, found.cost_usd) == (Decimal("0.5"), Decimal("0.3"))
    assert found.corrections[0].status == "priced"


def test_timing_tells_waiting_from_writing() -> None:
    """The first token's part of the whole, and how quickly the rest was written."""
    found = glance(CallRecords(call(), call()))
    assert found.first_part == pytest.approx(33.33, abs=0.01)
    assert found.tokens_per_s == pytest.approx(100.0)


def test_a_call_without_an_outcome_says_so() -> None:
    """It is under way, or its process ended."""
    found = glance(CallRecords(call(status="initiated", response_data=None), call()))
    assert found.no_outcome
    assert found.cost_usd is None
    assert found.tokens_per_s is None


def test_an_event_is_a_row_of_its_own() -> None:
    """It has the id of its record, its kind and how grave it is."""
    event = {"_id": "e1", "event_type": "security_event", "timestamp": AT, "call_id": "c1"}
    made = row({**event, "details": {"kind": "prompt_injection", "severity": "high"}})
    assert (made.id, made.is_call, made.note, made.tone) == ("e1", False, "prompt_injection", "bad")


def test_odd_values_of_another_logger_are_no_figures() -> None:
    """A cost that is a text or not finite is not known; a binary one is read as it was meant."""
    for value in ("12", float("nan"), True, [], Decimal("Infinity")):
        assert row(call(response_data={"cost_usd": value})).cost_usd is None
    assert row(call(response_data={"cost_usd": 0.045})).cost_usd == Decimal("0.045")


def test_linked_calls_are_looked_for_within_the_scope() -> None:
    """Of the same user and session, a day to both sides, and no department beyond one's own."""
    wanted = linked(call(), SearchFilter(departments=("sales",)))
    assert wanted is not None
    assert (wanted.session_id, wanted.user_id, wanted.departments) == ("s1", "ana", ("sales",))
    assert linked(call(session_id=None), SearchFilter()) is None
    assert linked(call(timestamp="yesterday"), SearchFilter()) is None


def test_an_answer_is_kept_for_its_seconds_and_no_failure_is() -> None:
    """The next one asks again where the first could not be answered."""
    now = [0.0]
    kept = Kept(lambda: now[0])
    made = iter((1, 2))

    def fails() -> int:
        msg = "not now"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="not now"):
        kept.get("a", 5, fails)
    assert kept.get("a", 5, lambda: next(made)) == 1
    now[0] = 4.9
    assert kept.get("a", 5, lambda: next(made)) == 1
    now[0] = 5.1
    assert kept.get("a", 5, lambda: next(made)) == 2


def test_what_took_long_to_make_is_kept_for_longer() -> None:
    """A page that many look at does not keep the database busy."""
    now = [0.0]
    kept = Kept(lambda: now[0])
    made = iter((1, 2))

    def slow() -> int:
        now[0] += 3
        return next(made)

    assert kept.get("a", 5, slow) == 1
    now[0] = 3 + 29
    assert kept.get("a", 5, slow) == 1
    now[0] = 3 + 31
    assert kept.get("a", 5, slow) == 2
