"""The price book: the list in the package, compared with the library it was made from."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import genai_prices
import msgspec
import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from affidavit.pricing import (
    REASONS,
    STANDARD,
    Book,
    BookError,
    Usage,
    load,
    price,
)
from affidavit.pricing.book import OWN_NAMES
from affidavit.pricing.load import LIST
from affidavit.providers import HOSTS
from scripts import price_book

pytestmark = pytest.mark.requirement("R13")

BOOK = load()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODELS = [(each.id, model.id) for each in providers for model in each.models]
CONTEXTS = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    STANDARD: None,
}


def theirs(
    usage: Usage, provider: str, model: str, at: datetime, context: dict[str, str] | None
) -> Decimal | None:
    """What the library says that it costs; None for a model it does not know."""
    used = genai_prices.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_reasoning_tokens=usage.reasoning,
        web_searches=usage.web_searches,
    )
    try:
        found = genai_prices.calc_price(
            used,
            model,
            provider_id=provider,
            genai_request_timestamp=at,
            price_context=context,
        )
    except LookupError:
        return None
    return found.total_price.quantize(Decimal("1e-9"))


def test_the_book_says_what_the_library_says() -> None:
    """1,500 usages of all kinds, of any model, in any tier, at any time of four years."""
    drawn = random.Random(20261123)
    compared = 0
    for _ in range(1500):
        provider, model = drawn.choice(MODELS)
        if drawn.random() < 0.1:
            provider = drawn.choice(["azure", "google", "aws", "openrouter"])
        asked, said = drawn.choice([900, 400_000]), drawn.randrange(5000)
        read = drawn.randrange(asked // 2) if drawn.random() < 0.4 else 0
        wrote = drawn.randrange(asked // 2) if drawn.random() < 0.3 else 0
        usage = Usage(
            asked,
            said,
            cache_read=read,
            cache_write=wrote,
            cache_write_1h=wrote // 3,
            reasoning=drawn.randrange(said + 1) if drawn.random() < 0.3 else 0,
            web_searches=drawn.randrange(3),
            tier=drawn.choice(list(CONTEXTS)),
        )
        at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=drawn.randrange(4 * 31_536_000))
        ours = price(usage, provider, model, at, BOOK)
        said_there = theirs(usage, provider, model, at, CONTEXTS[usage.tier])
        if said_there is None:
            assert ours.reason in {"model_unknown", "provider_unknown"}
        elif ours.cost_usd is None:
            # The library charges nothing for tokens that have no price; we do not call that free.
            assert ours.reason == "not_by_token"
        else:
            assert ours.cost_usd == said_there, (provider, model, at, usage)
            compared += 1
    assert compared > 900


def test_the_list_is_what_the_library_gives() -> None:
    """The file in the package is up to date with the locked version, and NOTICE names it."""
    assert LIST.read_bytes() == price_book.listing()
    notice = (Path(__file__).parents[3] / "NOTICE").read_text("utf-8")
    assert f"genai-prices {BOOK.version}, file SHA-256\n{BOOK.sha256}" in notice


def test_every_price_of_the_list_can_be_reckoned_with() -> None:
    """All models, at a time now and long ago, in all tiers."""
    for model in BOOK.models():
        for tier in CONTEXTS:
            for at in (NOW, datetime(2023, 1, 1, tzinfo=UTC)):
                BOOK.rates(model.provider, model.id, at, tier)
    assert sum(1 for _ in BOOK.models()) == len(MODELS)


@pytest.mark.parametrize(
    ("provider", "model", "nano"),
    [
        # By hand, for 1,000 tokens in, of which 200 cached, and 100 out, in November 2026.
        ("openai", "gpt-5", 800 * 1250 + 200 * 125 + 100 * 10_000),
        ("openai", "gpt-5-2025-08-07", 800 * 1250 + 200 * 125 + 100 * 10_000),
        ("OpenAI", "GPT-5-20250807", 800 * 1250 + 200 * 125 + 100 * 10_000),
        ("azure.ai.openai", "gpt-5", 800 * 1250 + 200 * 125 + 100 * 10_000),
        ("anthropic", "claude-sonnet-4-5-20250929", 800 * 3000 + 200 * 300 + 100 * 15_000),
        ("gcp.vertex_ai", "claude-sonnet-4-5", 800 * 3000 + 200 * 300 + 100 * 15_000),
    ],
)
def test_a_model_is_found_under_its_names(provider: str, model: str, nano: int) -> None:
    """Whatever the case and the way its date is written, and at whoever offers it."""
    assert BOOK.price(Usage(1000, 100, cache_read=200), provider, model, ms(NOW)) == (nano, "")


def ms(at: datetime) -> int:
    """Milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def test_tiers_cost_what_the_list_says_of_them() -> None:
    """Batch and flex are half the price of gpt-5, priority is double."""
    usage = Usage(1000, 100)
    costs = {
        tier: price(usage._replace(tier=tier), "openai", "gpt-5", NOW, BOOK).cost_nano
        for tier in CONTEXTS
    }
    assert costs == {
        STANDARD: 2_250_000,
        "batch": 1_125_000,
        "flex": 1_125_000,
        "priority": 4_500_000,
    }


def test_a_price_is_that_of_the_calls_own_time() -> None:
    """A model that became cheaper costs the old price before that day, to the millisecond."""
    change = datetime(2025, 6, 10, tzinfo=UTC)
    before = price(Usage(1_000_000, 0), "openai", "o3", change - timedelta(milliseconds=1), BOOK)
    after = price(Usage(1_000_000, 0), "openai", "o3", change, BOOK)
    again = price(Usage(1_000_000, 0), "openai", "o3", change - timedelta(milliseconds=1), BOOK)
    assert (before.cost_nano, after.cost_nano) == (10_000_000_000, 2_000_000_000)
    assert again == before


@given(st.integers(0, 3 * 86_400), st.integers(0, 3 * 86_400))
def test_the_order_of_questions_does_not_matter(first_s: int, second_s: int) -> None:
    """What is remembered of one time of day is not said of another (prices by the hour)."""
    start = datetime(2025, 3, 1, tzinfo=UTC)
    times = [start + timedelta(seconds=s) for s in (first_s, second_s)]
    usage, model = Usage(1000, 1000), ("deepseek", "deepseek-chat")
    together = [price(usage, *model, at, BOOK) for at in times]
    apart = [price(usage, *model, at, load()) for at in times]
    assert together == apart


@pytest.mark.parametrize(
    ("usage", "provider", "model", "reason"),
    [
        (Usage(), "openai", "gpt-5", "no_usage"),
        (Usage(1, None), "openai", "gpt-5", "no_usage"),
        (Usage(1, None), "openai", "text-embedding-3-small", ""),
        (Usage(1, 1), "openai", None, "no_model"),
        (Usage(1, 1), "openai", "", "no_model"),
        (Usage(1, 1), "function", "gpt-5", "provider_unknown"),
        (Usage(1, 1), None, "gpt-5", "provider_unknown"),
        (Usage(1, 1), "openai", "no-such-model", "model_unknown"),
        (Usage(1, 1, cache_read=2), "openai", "gpt-5", "usage_contradicts"),
        (Usage(1, 1, reasoning=2), "openai", "o3", ""),
        (Usage(2**62, 1), "openai", "gpt-5", "usage_contradicts"),
        (Usage(1, 1), "openai", "whisper-1", "not_by_token"),
    ],
)
def test_what_has_no_price_says_why(
    usage: Usage, provider: str | None, model: str | None, reason: str
) -> None:
    """The cost is null, and never 0; the reason has words."""
    found = price(usage, provider, model, NOW, BOOK)
    assert found.reason == reason
    assert (found.cost_nano is None) is bool(reason)
    assert found.status == ("unpriced" if reason else "priced")
    assert found.book == BOOK.name
    assert not reason or REASONS[reason]


def test_an_estimated_usage_gives_an_estimated_cost() -> None:
    """The cost is as good as the numbers it is made of."""
    usage = Usage(10, 10, is_estimated=True)
    assert price(usage, "openai", "gpt-5", NOW, BOOK).status == "estimated"


def test_a_time_without_a_zone_is_refused() -> None:
    """It is no moment, and prices change at moments."""
    with pytest.raises(ValueError, match="without a zone"):
        price(Usage(1, 1), "openai", "gpt-5", NOW.replace(tzinfo=None), BOOK)


def test_the_books_name_is_short_and_tells_lists_apart() -> None:
    """It is in every record: version and eight digits of a hash."""
    assert BOOK.name == f"{genai_prices.__version__}-{BOOK.sha256[:8]}"
    other = LIST.read_bytes().replace(b'"1.25"', b'"1.26"')
    assert Book(other).name != BOOK.name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"format":2,"source":"","version":"1","providers":[]}',
        LIST.read_bytes()[:-100],
    ],
)
def test_a_damaged_list_is_said_to_be_so(content: bytes) -> None:
    """With what helps, and without a trace of another's error."""
    with pytest.raises(BookError, match="Install the package again"):
        Book(content)


@pytest.mark.parametrize(
    "models",
    [
        '[["m","m",[[null,{"input":"x"}]],{}]]',
        '[["m","m",[["2026-99-01",{"input":"1"}]],{}]]',
        '[["m",{"regex":"("},[],{}]]',
        '[["m",{"no":"rule"},[],{}]]',
        '[["m",5,[],{}]]',
        '[["m","m",[[null,{"input":"-1"}]],{}]]',
        '["m"]',
    ],
)
def test_a_list_that_is_damaged_inside_is_said_to_be_so(models: str) -> None:
    """Each provider's part is read when it is needed: then."""
    head = b'{"format":1,"source":"s","version":"1","providers":[{"id":"p","models":'
    book = Book(head + models.encode() + b"}]}")
    with pytest.raises(BookError):
        book.price(Usage(1, 1), "p", "m", ms(NOW))


def test_own_names_lead_to_providers_of_the_list() -> None:
    """And the names that records have for them are those of the table of hosts."""
    listed = {each.id for each in providers}
    assert set(OWN_NAMES.values()) <= listed
    assert set(OWN_NAMES) <= set(HOSTS)


def test_what_is_remembered_is_bounded() -> None:
    """Models are named by applications: a thousand invented ones cost no memory."""
    book = load()
    for number in range(5000):
        book.price(Usage(1, 1), "openai", f"invented-{number}", ms(NOW))
    assert len(book._found) <= 4096


def test_the_list_is_small() -> None:
    """It is in the wheel of everybody: half a megabyte at most, before it is packed."""
    assert LIST.stat().st_size < 512 * 1024
    assert msgspec.json.decode(LIST.read_bytes())["source"] == "genai-prices"
