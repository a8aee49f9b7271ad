"""Calls in columns add to cells what they add one by one."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson.decimal128 import Decimal128

from affidavit.event import EPOCH
from affidavit.tally.cells import Fold
from affidavit.tally.columns import ANSWERED, ASKED, OWN, Row, Table
from affidavit.tally.facts import fact_of

pytestmark = pytest.mark.requirement("R13", "R15")

MADRID = ZoneInfo("Europe/Madrid")
START = datetime(2026, 10, 24, 20, tzinfo=UTC)
"""Summer ends in the night after it."""

_NAMES: tuple[Any, ...] = (None, "ana", "bob", "", 5, 5.0, True, ["x"], {"a": 1}, b"x")
_COUNTS: tuple[Any, ...] = (None, 0, 1, 17, 950, 12.9, -3, "7", True, 2**60, Decimal128("8.5"))
_TIMES: tuple[Any, ...] = (None, 0, 0.0004, 1.04, 950, 1500.25, -1, 1e12, "9", float("nan"))
_COSTS: tuple[Any, ...] = (
    None, Decimal128("0.045"), Decimal128("12.345678901"), Decimal128("0.0000000025"), 0.1, "0.25",
    "much", True, Decimal128("NaN"), Decimal128("-0.5"), Decimal128("999999999999.1"), {"usd": 1},
)  # fmt: skip


def drawn(chance: random.Random) -> dict[str, Any]:
    """An outcome of any kind."""
    names = ("user_id", "department", "tenant", "provider", "model", "cost_status")
    made: dict[str, Any] = {name: chance.choice(_NAMES) for name in names}
    made |= {
        "event_type": "llm_response",
        "timestamp": START + timedelta(milliseconds=chance.randrange(12 * 3_600_000)),
        "success": chance.choice([True, True, False]),
        "status": chance.choice([None, "completed", "aborted", "failed", 3]),
        "error_type": chance.choice([None, "RateLimitError"]),
        "finish_reason": chance.choice([None, "stop", "LENGTH", 5]),
        "time_to_first_token_ms": chance.choice(_TIMES),
    }
    for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"):
        made[name] = chance.choice(_COUNTS)
    if chance.random() < 0.2:
        made["timestamp"] = datetime(1971, 5, 5, 5, 5, 5, tzinfo=UTC)
    if chance.random() < 0.8:
        made["request_data"] = {
            "message_length": chance.choice(_COUNTS),
            "provider": chance.choice(_NAMES),
            "model": "m",
        }
    if chance.random() < 0.8:
        made["response_data"] = {
            "provider_used": chance.choice([None, "openai"]),
            "cost_usd": chance.choice(_COSTS),
            "tokens_used": chance.choice(_COUNTS),
            "response_length": chance.choice(_COUNTS),
            "processing_time_ms": chance.choice(_TIMES),
            "retries": chance.choice(_COUNTS),
        }
        if chance.random() < 0.3:
            made["response_data"]["tool_calls"] = chance.choice([None, [], [{"name": "f"}]])
    else:
        made["response_data"] = chance.choice([None, [], "odd"])
    return made


def row_of(document: dict[str, Any]) -> Row:
    """What a store gives of an outcome."""
    own = {
        **document,
        "seq": 0,
        "timestamp": (document["timestamp"] - EPOCH) / timedelta(0, 0, 1000),
    }
    answer, request = document.get("response_data"), document.get("request_data")
    answered = None
    if isinstance(answer, dict):
        answered = [answer.get(name) for name in ANSWERED]
        answered[ANSWERED.index("cost_usd")] = _cost(answer["cost_usd"])
        answered[ANSWERED.index("tool_calls")] = answer.get("tool_calls") is not None
    asked = [request.get(name) for name in ASKED] if isinstance(request, dict) else None
    return [*(own.get(name) for name in OWN), answered, asked]


def _cost(said: Any) -> Any:
    amount = said.to_decimal() if isinstance(said, Decimal128) else None
    if amount is None or amount.is_nan() or abs(amount) >= 9_007_199:
        return [said]
    return float((amount * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN))


@pytest.mark.parametrize("since", [None, START + timedelta(hours=3)])
@pytest.mark.parametrize("seed", range(40))
def test_columns_add_what_calls_add_one_by_one(seed: int, since: datetime | None) -> None:
    """Cells are the same, key by key, whichever way calls of any kind went into them."""
    chance = random.Random(seed)
    documents = [drawn(chance) for _ in range(chance.choice([1, 2, 60]))]
    one_by_one, at_once, table = Fold(MADRID, since), Fold(MADRID, since), Table()
    for k, document in enumerate(documents):
        fact = fact_of(document)
        assert fact is not None
        one_by_one.add(fact, k)
    table.extend([row_of(each) for each in documents], range(len(documents)))
    table.fold(at_once)
    expected = {cell.id: cell for cell in one_by_one.cells}
    assert {cell.id: cell for cell in at_once.cells} == expected
    counts = [part.counts for c in at_once.cells for part in (c.own, *c.days.values())]
    assert {type(value) for each in counts for value in each.values()} <= {int}


def test_what_is_in_later_seals_can_be_left_out() -> None:
    """A seal that is waited for is cut off, and what came before it stays."""
    chance, table = random.Random(1), Table()
    table.extend([row_of(drawn(chance)) for _ in range(6)], [3, 3, 4, 4, 5, 5])
    table.cut(4)
    assert len(table) == 2
    fold = Fold(MADRID)
    table.fold(fold)
    assert {cell.k for cell in fold.cells} == {3}


def test_what_is_no_call_is_passed_over() -> None:
    """Without a time, with one beyond the calendar, or with an odd success, nothing is counted."""
    row = list(row_of(drawn(random.Random(1))))
    odd = [[*row[:1], at, done, *row[3:]] for at, done in ((None, True), (1e18, True), (1.0, [1]))]
    table, fold = Table(), Fold(MADRID)
    table.extend(odd, [0, 0, 0])
    table.fold(fold)
    assert not list(fold.cells)
