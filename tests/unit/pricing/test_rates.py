"""The arithmetic of prices: whole numbers, one rounding, every token charged once."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.pricing.rates import KINDS, PriceError, Rates, lines, rounded, scaled
from affidavit.pricing.usage import Usage

pytestmark = pytest.mark.requirement("R13")

PRICE = st.decimals(min_value=0, max_value=1000, places=6)
COUNT = st.integers(0, 10_000_000)


@given(st.integers(0, 10**30))
def test_a_cost_is_rounded_half_even(yocto: int) -> None:
    """To nano-dollars, as decimals of any length would be."""
    with localcontext(prec=60):
        exact = Decimal(yocto).scaleb(-15).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert rounded(yocto) == int(exact)


@given(PRICE, PRICE, PRICE, COUNT, COUNT, COUNT)
def test_cached_tokens_are_charged_once(
    full: Decimal, cached: Decimal, out: Decimal, fresh: int, read: int, said: int
) -> None:
    """Input includes them: what was read from the cache costs its own price, the rest the full."""
    rates = Rates({"input": full, "cache_read": cached, "output": out})
    with localcontext(prec=60):
        exact = (fresh * full + read * cached + said * out) / 1_000_000
        expected = int(exact.scaleb(9).quantize(Decimal(1), ROUND_HALF_EVEN))
    assert rates.nano(Usage(fresh + read, said, cache_read=read)) == expected


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_reasoning_is_part_of_the_output(said: int, thought: int) -> None:
    """Where it has no price of its own it costs what output does, and nothing twice."""
    rates = Rates({"input": Decimal(1), "output": Decimal(10)})
    whole = said + thought
    assert rates.nano(Usage(0, whole, reasoning=thought)) == whole * 10_000
    apart = Rates({"input": Decimal(1), "output": Decimal(10), "reasoning": Decimal(3)})
    assert apart.nano(Usage(0, whole, reasoning=thought)) == said * 10_000 + thought * 3_000


def test_the_longer_kept_part_of_the_cache_has_its_own_price() -> None:
    """1,000 in, of which 600 written to the cache, of which 200 are kept for an hour."""
    prices = {"input": "3", "cache_write": "3.75", "cache_write_1h": "6", "output": "15"}
    rates = Rates({kind: Decimal(price) for kind, price in prices.items()})
    usage = Usage(1000, 10, cache_write=600, cache_write_1h=200)
    assert rates.nano(usage) == 400 * 3000 + 400 * 3750 + 200 * 6000 + 10 * 15000


def test_cached_sound_is_taken_off_both_of_its_wholes() -> None:
    """Input, cached and sound overlap; each token has one price."""
    prices = {"input": "1", "cache_read": "2", "input_audio": "4", "cache_audio_read": "8"}
    rates = Rates({**{k: Decimal(p) for k, p in prices.items()}, "output": Decimal(0)})
    usage = Usage(100, 0, cache_read=30, input_audio=20, cache_audio_read=5)
    assert rates.nano(usage) == (5 * 8 + 25 * 2 + 15 * 4 + 55) * 1000


def test_a_step_by_input_length_holds_for_all_tokens() -> None:
    """Above it, not at it; output too."""
    step = (Decimal(1), ((200_000, Decimal(2)),))
    rates = Rates({"input": step, "output": (Decimal(10), ((200_000, Decimal(15)),))})
    assert rates.nano(Usage(200_000, 10)) == 200_000 * 1000 + 10 * 10_000
    assert rates.nano(Usage(200_001, 10)) == 200_001 * 2000 + 10 * 15_000


def test_pieces_are_charged_by_the_thousand() -> None:
    """Searches cost by the thousand, and so do requests, of which each call is one."""
    rates = Rates({"input": Decimal(0), "web_searches": Decimal(10), "requests": Decimal(5)})
    assert rates.nano(Usage(7, 0, web_searches=3)) == 3 * 10_000_000 + 5_000_000


def test_tokens_without_a_price_are_not_free() -> None:
    """A model that only has a price for input cannot charge output: null, and never 0."""
    rates = Rates({"input": Decimal(1)})
    assert rates.nano(Usage(5, 0)) == 5000
    assert rates.nano(Usage(5, 1)) is None
    assert Rates({}).nano(Usage(5, 1)) is None


def test_half_a_usage_has_no_cost() -> None:
    """Where output costs something and nobody told it; an embedding has none, and costs nothing."""
    chat = Rates({"input": Decimal(1), "output": Decimal(2)})
    assert chat.nano(Usage(5, None)) is None
    assert chat.nano(Usage(None, 5)) is None
    assert chat.nano(Usage(5, 0)) == 5000
    assert Rates({"input": Decimal(1)}).nano(Usage(5, None)) == 5000
    assert Rates({"input": Decimal(1), "output": Decimal(0)}).nano(Usage(5, None)) == 5000


def test_parts_that_are_more_than_the_whole_have_no_cost() -> None:
    """Such numbers are wrong, whichever of them it is."""
    rates = Rates({"input": Decimal(1), "cache_read": Decimal(1), "output": Decimal(1)})
    assert rates.nano(Usage(5, 1, cache_read=6)) is None


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity", "1e-19", "1e12"])
def test_what_is_no_price_is_refused(price: str) -> None:
    """Negative, none, absurd, or with more decimals than are reckoned with."""
    with pytest.raises(PriceError):
        Rates({"input": Decimal(price)})


def test_a_factor_leaves_pieces_as_they_are() -> None:
    """A discount on tokens is none on searches; steps are multiplied too."""
    prices = {"input": (Decimal(2), ((10, Decimal(4)),)), "web_searches": Decimal(10)}
    half = scaled(prices, Decimal("0.5"))
    assert half == {"input": (Decimal(1), ((10, Decimal(2)),)), "web_searches": Decimal(10)}
    assert [tuple(line) for line in lines(half)] == [
        ("input", Decimal(1), 1_000_000, None),
        ("input", Decimal(2), 1_000_000, 10),
        ("web_searches", Decimal(10), 1000, None),
    ]


def test_every_kind_is_a_number_of_the_usage() -> None:
    """Else its price would never be asked for."""
    assert set(KINDS) == set(Usage._fields) - {"tier", "is_estimated"}
