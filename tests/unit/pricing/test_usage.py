"""Reading a usage from an outcome, whatever stands there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.pricing.usage import STANDARD, Usage, tier_of, usage_of

pytestmark = pytest.mark.requirement("R13")

ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "usage_raw", "service_tier", "cache_write_tokens", "usage_estimated", "cache_creation",
        "prompt_tokens_details", "audio_tokens", "ephemeral_1h_input_tokens", "server_tool_use",
        "web_search_requests", "speed", "num_search_queries", "output_tokens_details",
    ]
)  # fmt: skip


def test_the_records_own_fields_are_read() -> None:
    """Tokens, what was written to the cache, the tier, and whether all that is a guess."""
    outcome = {
        "input_tokens": 9, "output_tokens": 8, "cached_tokens": 7, "reasoning_tokens": 6,
        "response_data": {
            "cache_write_tokens": 1, "service_tier": "flex", "usage_estimated": True,
        },
    }  # fmt: skip
    assert usage_of(outcome) == Usage(
        9, 8, cache_read=7, cache_write=1, reasoning=6, tier="flex", is_estimated=True
    )


def test_what_only_the_provider_tells_is_read_from_its_usage() -> None:
    """Sound, what is kept for an hour, searches, fast answers."""
    raw = {
        "prompt_tokens_details": {"audio_tokens": 3, "cached_tokens": 2, "cache_write_tokens": 5},
        "completion_tokens_details": {"audio_tokens": 4},
        "cache_creation": {"ephemeral_1h_input_tokens": 2},
        "server_tool_use": {"web_search_requests": 1},
        "speed": "fast",
        "service_tier": "standard",
    }
    found = usage_of({"input_tokens": 9, "response_data": {"usage_raw": raw}})
    assert found == Usage(
        9,
        cache_write=5,
        cache_write_1h=2,
        input_audio=3,
        output_audio=4,
        web_searches=1,
        tier="fast",
    )


@pytest.mark.parametrize("word", [None, "", "auto", "default", "Standard", "scale", 5])
def test_ordinary_service_is_one_tier(word: Any) -> None:
    """Providers have several words for it."""
    assert tier_of(word) == STANDARD


def test_a_call_without_numbers_has_no_usage() -> None:
    """Nothing told is not the same as 0 tokens."""
    assert not usage_of({}).is_known
    assert not usage_of({"response_data": {"usage_raw": {"total_tokens": 5}}}).is_known
    assert usage_of({"input_tokens": 0}).is_known


@given(st.dictionaries(NAMES, ANY | st.dictionaries(NAMES, ANY | st.dictionaries(NAMES, ANY))))
def test_nothing_that_stands_there_raises(answer: dict[str, Any]) -> None:
    """Whatever a provider or an application wrote, counts are whole numbers from 0 on."""
    found = usage_of({"input_tokens": 1, "response_data": answer, "cached_tokens": -1})
    counts = [v for name, v in zip(Usage._fields, found, strict=True) if name != "tier"]
    assert all(isinstance(each, int) and each >= 0 for each in counts if each is not None)
    assert isinstance(found.tier, str)
