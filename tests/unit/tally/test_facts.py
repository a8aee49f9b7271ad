"""What a call counts for, read from its record."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st

from affidavit.tally.facts import (
    Correction,
    Fact,
    correction_of,
    count_of,
    fact_of,
    key_of,
    ms_of,
    nano_of,
    text_of,
)
from tests.support.documents import START, Numbered, old_call

pytestmark = pytest.mark.requirement("R13", "R14", "R15")

TOKYO = ZoneInfo("Asia/Tokyo")


def fact(record: dict[str, Any], zone: ZoneInfo | None = None) -> Fact:
    """Read what is a call."""
    found = fact_of(record, zone)
    assert found is not None
    return found


def test_an_outcome_of_ours_is_a_call() -> None:
    """An outcome gives its keys and numbers."""
    intent, outcome = Numbered().call()
    found = fact(outcome | {"cached_tokens": 7, "time_to_first_token_ms": 80, "tenant": "t"})
    assert (found.call_id, found.at) == (intent["call_id"], outcome["timestamp"])
    assert (found.provider, found.model, found.user_id) == ("anthropic", "model-1", "user_1")
    assert (found.department, found.tenant, found.session_id) == ("research", "t", None)
    assert (found.input_tokens, found.output_tokens, found.tokens) == (300, 950, 1250)
    assert (found.cached_tokens, found.cost_nano, found.cost_status) == (7, 45_000_000, None)
    assert (found.latency_ms, found.ttft_ms, found.status) == (1500.25, 80.0, "completed")
    assert (found.prompt_chars, found.answer_chars, found.is_empty) == (15, 19, False)
    assert found.fields["symbol"] == "BTCUSDT"
    assert found.tokens_per_s == pytest.approx(950 / 1.50025)


def test_what_is_no_finished_call_is_none() -> None:
    """Intents, pending old documents, events, and records without a time are no calls."""
    intent, outcome = Numbered().call()
    pending = old_call()
    del pending["success"]
    for record in (intent, pending, {**outcome, "timestamp": None}, {"event_type": "annotation"}):
        assert fact_of(record) is None


def test_an_older_loggers_document_is_a_call() -> None:
    """A finished document of an older logger gives what it has, under the same names."""
    found = fact({"_id": "old-1", **old_call()})
    assert (found.call_id, found.provider, found.model) == ("old-1", "openai", None)
    assert (found.cost_nano, found.tokens, found.latency_ms) == (45_000_000, 1250, 1500.0)
    assert found.at == START


def test_old_local_times_are_shifted() -> None:
    """Naive times of an older logger are local to its zone; ours are not touched."""
    assert fact(old_call(), TOKYO).at == datetime(2026, 11, 1, 3, tzinfo=UTC)
    assert fact(Numbered().call()[1], TOKYO).at.hour == 12


@pytest.mark.parametrize(
    ("success", "told", "status"),
    [
        (True, "completed", "completed"),
        (True, "odd", "completed"),
        (False, "aborted", "aborted"),
        (False, "failed", "failed"),
        (False, "error", "failed"),
        (False, None, "failed"),
    ],
)
def test_the_status_is_one_of_three(success: bool, told: str | None, status: str) -> None:
    """Whatever an older logger called it, a call is completed, failed or aborted."""
    assert fact(old_call(success=success, status=told)).status == status


def test_an_answer_without_text_and_tools_is_empty() -> None:
    """Empty is a success whose answer has no characters, and no tools."""
    outcome = Numbered().call()[1]
    answer = outcome["response_data"]
    assert fact({**outcome, "response_data": {**answer, "response_length": 0}}).is_empty
    tools = {**answer, "response_length": 0, "tool_calls": []}
    assert not fact({**outcome, "response_data": tools}).is_empty
    assert not fact({**outcome, "response_data": {**answer, "response_length": None}}).is_empty


def test_cut_off_answers_are_known_by_their_reason() -> None:
    """The providers' words for a limit mean a cut-off answer."""
    outcome = Numbered().call()[1]
    assert fact({**outcome, "finish_reason": "MAX_TOKENS"}).is_cut
    assert not fact({**outcome, "finish_reason": "stop"}).is_cut
    assert not fact(outcome).is_cut


def test_content_is_no_field() -> None:
    """Texts of requests and answers are not carried along."""
    found = fact(old_call())
    assert "message" not in found.fields
    assert "message_length" in found.fields


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        (0.045, 45_000_000),
        (Decimal("0.0450000005"), 45_000_000),
        (Decimal("0.0000000015"), 2),
        (Decimal("0.0000000025"), 2),
        (Decimal128("0.1"), 100_000_000),
        (Decimal128("NaN"), None),
        (Decimal128("-1E-9"), -1),
        (3, 3_000_000_000),
        (Int64(2), 2_000_000_000),
        ("0.045", 45_000_000),
        ("4.5e-2", 45_000_000),
        ("1_000", None),
        (" 1", None),
        ("a lot", None),
        (True, None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**12, None),
        (Decimal("1E+40"), None),
        (0.1 + 0.2, 300_000_000),
    ],
)
def test_dollars_become_nano_dollars(amount: Any, nano: int | None) -> None:
    """Amounts of every kind are read exactly, and what is no amount is None."""
    assert nano_of(amount) == nano


@given(st.decimals(-1000, 1000, places=9))
def test_stored_amounts_stay_as_they_are(amount: Decimal) -> None:
    """What has nine decimals comes back to the last one."""
    assert nano_of(Decimal128(amount)) == nano_of(amount) == int(amount * 10**9)


@pytest.mark.parametrize(
    ("value", "count"),
    [(5, 5), (5.9, 5), (0, 0), (-1, None), (True, None), ("5", None), (2**60, None), (None, None)],
)
def test_counts_are_whole_numbers_from_zero_on(value: Any, count: int | None) -> None:
    """A number of things is not negative, and no text."""
    assert count_of(value) == count


def test_durations_are_plausible() -> None:
    """A duration that is negative, endless or longer than eleven days is none."""
    assert [ms_of(v) for v in (1, 2.5, -1, 1e9, float("inf"), "3")] == [1.0, 2.5, *[None] * 4]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", ""),
        ("a", "a"),
        (True, "true"),
        (1, "1"),
        (1.0, "1"),
        (Decimal128("1.0"), "1"),
        (Decimal128("1.50"), "1.5"),
        (0.1, "0.1"),
        (Binary(b"x"), "(binary)"),
        (["b", "a"], '["b", "a"]'),
        ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'),
    ],
)
def test_values_have_one_text(value: Any, text: str | None) -> None:
    """Equal values give equal texts, whatever their kind."""
    assert text_of(value) == text


def test_keys_of_a_call() -> None:
    """Names, times of the zone, and fields of the application are keys."""
    found = fact(Numbered().call()[1])
    keys = [key_of(found, name, TOKYO) for name in ("model", "hour", "field:symbol", "field:no")]
    assert keys == ["model-1", "2026-11-01T21:00+09:00", "BTCUSDT", None]


def correction(**changes: Any) -> dict[str, Any]:
    """A correction of the call that ``Numbered().call()`` makes."""
    outcome = Numbered().call()[1]
    names = ("call_id", "user_id", "department", "provider", "model", "status", "request_data")
    return {
        "_id": "c",
        "event_type": "correction",
        "timestamp": START.replace(day=20),
        "effective_at": outcome["timestamp"],
        "schema_version": 1,
        "details": {"cost_nano_diff": -5, "cost_status_before": "priced"},
        **{name: outcome[name] for name in names},
        **changes,
    }


def test_a_correction_has_the_calls_time_and_keys() -> None:
    """A correction counts where its call counts, whenever it was written."""
    call, made = fact(Numbered().call()[1]), correction_of(correction())
    assert isinstance(made, Correction)
    assert (made.cost_nano, made.prices, made.call.at) == (-5, False, call.at)
    for name in ("provider", "user_id", "department", "model", "status", "day", "field:symbol"):
        assert key_of(made.call, name, TOKYO) == key_of(call, name, TOKYO)


def test_a_correction_of_an_unpriced_call_prices_it() -> None:
    """The status before tells whether the call had a cost."""
    details = {"cost_nano_diff": Int64(5), "cost_status_before": "unpriced"}
    made = correction_of(correction(details=details))
    assert made is not None
    assert made.prices


def test_a_correction_without_a_difference_changes_nothing() -> None:
    """What is no correction of cost is None."""
    for record in (correction(details={}), correction(effective_at=None), Numbered().call()[1]):
        assert correction_of(record) is None
