"""What the calls of the golden table cost: raw answers over real HTTP, against hand-made sums.

Prices in US dollars per million tokens, November 2026: gpt-5-mini 0.25 in, 0.025 cached, 2.00 out;
text-embedding-3-small 0.02 in; gpt-image-1 5.00 in, 40.00 out; claude-sonnet-4-5 3.00 in, 0.30 read
from the cache, 3.75 written to it, 15.00 out, and 10.00 per thousand searches. The same answers are
given to genai-prices itself.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import genai_prices
import pytest

from tests.golden.test_golden import HERE, ask, raw
from tests.support.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requirement("R13")

MODEL = "claude-sonnet-4-5-20250929"
"""In place of the golden table's own, which has no price."""

COSTS = {
    # micro-dollars, by hand: tokens times dollars per million
    "openai/chat_plain": 14 * 0.25 + 21 * 2,
    "openai/chat_cached": (2214 - 2048) * 0.25 + 2048 * 0.025 + 21 * 2,
    "openai/chat_reasoning": 14 * 0.25 + 341 * 2,
    "openai/chat_bare_usage": 14 * 0.25 + 21 * 2,
    "openai/chat_filtered": 14 * 0.25,
    "openai/chat_stream": 14 * 0.25 + 8 * 2,
    "openai/chat_stream_tools": (1310 - 1024) * 0.25 + 1024 * 0.025 + 42 * 2,
    "openai/response_plain": 14 * 0.25 + 21 * 2,
    "openai/response_reasoning": (1460 - 1408) * 0.25 + 1408 * 0.025 + 395 * 2,
    "openai/response_stream": 90 * 0.25 + 33 * 2,
    "openai/response_stream_reasoning": 60 * 0.25 + 41 * 2,
    "openai/embeddings": 8 * 0.02,
    "openai/image": 14 * 5 + 272 * 40,
    "anthropic/plain": 15 * 3 + 22 * 15,
    "anthropic/bare_usage": 15 * 3 + 22 * 15,
    "anthropic/cached": 3 * 3 + 163 * 3.75 + 2048 * 0.30 + 22 * 15,
    "anthropic/stream": 15 * 3 + 12 * 15,
    "anthropic/stream_cached_tools": 3 * 3 + 163 * 3.75 + 2048 * 0.30 + 77 * 15,
    "anthropic/stream_thinking": 44 * 3 + 280 * 15,
    "anthropic/thinking_counted": 44 * 3 + 310 * 15,
    "anthropic/server_tool": 2100 * 3 + 140 * 15 + 10_000,
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One provider for the module."""
    with Provider() as running:
        yield running


def case_of(name: str) -> dict[str, Any]:
    """A case of the golden table, with a model that has a price."""
    text = (HERE / f"{name}.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text.replace("claude-golden-20260101", MODEL))
    return found


def outcome_of(name: str, case: dict[str, Any], provider: Provider) -> dict[str, Any]:
    """Make the call; the outcome's record."""
    provider.reset()
    provider.script(raw(case))
    return ask(name.partition("/")[0], case, provider)[1]


@pytest.mark.parametrize("name", COSTS)
def test_a_captured_call_costs_what_the_sum_by_hand_says(name: str, provider: Provider) -> None:
    """To the nano-dollar, whether it was streamed or not."""
    outcome = outcome_of(name, case_of(name), provider)
    expected = (Decimal(str(round(COSTS[name], 6))) / 1_000_000).quantize(Decimal("1e-9"))
    assert outcome["response_data"]["cost_usd"].to_decimal() == expected
    assert outcome["cost_status"] == "priced"


@pytest.mark.parametrize(
    "name", [n for n in COSTS if {"model", "usage"} <= case_of(n).get("body", {}).keys()]
)
def test_the_library_reads_the_same_from_the_raw_answer(name: str, provider: Provider) -> None:
    """Its own reading of the usage, its own prices, and the time of our record."""
    case = case_of(name)
    outcome = outcome_of(name, case, provider)
    home, _, kind = name.partition("/")
    flavor = {"chat": "chat", "response": "responses"}.get(kind.partition("_")[0], kind)
    if kind == "bare_usage":  # without what was cached, the library reads nothing at all
        used = genai_prices.Usage(input_tokens=15, output_tokens=22)
        priced = genai_prices.calc_price(
            used, MODEL, provider_id=home, genai_request_timestamp=outcome["timestamp"]
        )
    else:
        read = genai_prices.extract_usage(
            case["body"], provider_id=home, api_flavor=flavor if home == "openai" else "default"
        )
        priced = read.calc_price(genai_request_timestamp=outcome["timestamp"])
    cost = outcome["response_data"]["cost_usd"].to_decimal()
    assert cost == priced.total_price.quantize(Decimal("1e-9"))


def test_a_stream_that_does_not_tell_is_estimated(provider: Provider) -> None:
    """Seven tokens each way, as the capture guesses them."""
    name = "openai/chat_stream_without_usage"
    outcome = outcome_of(name, case_of(name), provider)
    assert outcome["cost_status"] == "estimated"
    assert outcome["response_data"]["cost_usd"].to_decimal() == Decimal("0.000015750")


@pytest.mark.parametrize("name", ["openai/moderation", "anthropic/count_tokens"])
def test_what_has_no_price_stays_null(name: str, provider: Provider) -> None:
    """No tokens, or none that have a price."""
    outcome = outcome_of(name, case_of(name), provider)
    assert (outcome["cost_status"], outcome["response_data"]["cost_usd"]) == ("unpriced", None)
