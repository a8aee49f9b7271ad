"""Prices of one's own: which call they are for, when, and what is wrong with a file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from affidavit.errors import ConfigError
from affidavit.pricing import Usage, load, price, read_overrides
from affidavit.pricing.overrides import parse

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.pricing import Book

pytestmark = pytest.mark.requirement("R13")

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
USAGE = Usage(1000, 100, cache_read=200)
LISTED = 800 * 1250 + 200 * 125 + 100 * 10_000
"""What USAGE costs with gpt-5 by the list."""


def book(text: str) -> Book:
    """The list with these prices over it."""
    return load(parse(text.encode(), "prices.toml"))


def cost(
    text: str,
    model: str = "gpt-5",
    at: datetime = NOW,
    tier: str = "standard",
    provider: str = "openai",
) -> int | None:
    """What USAGE costs under these prices."""
    return price(USAGE._replace(tier=tier), provider, model, at, book(text)).cost_nano


CONTRACT = """
[[price]]
provider = "openai"
model = "gpt-5"
from = 2026-11-01
until = 2027-01-01
input = 1.00
cached_input = 0.10
output = "8"
batch = 0.4
priority = 1.75
"""


def test_a_contracts_prices_replace_those_of_the_list() -> None:
    """For that model, also under the names of its versions, and for no other."""
    own = 800 * 1000 + 200 * 100 + 100 * 8000
    assert cost(CONTRACT) == own
    assert cost(CONTRACT, "gpt-5-2025-08-07") == own
    assert cost(CONTRACT, "gpt-5-mini") != own
    assert cost(CONTRACT, provider="azure.ai.openai") == LISTED


def test_they_hold_in_their_time_only() -> None:
    """From a day on, until before another; in UTC."""
    assert cost(CONTRACT, at=datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)) == LISTED
    assert cost(CONTRACT, at=datetime(2026, 11, 1, tzinfo=UTC)) != LISTED
    assert cost(CONTRACT, at=datetime(2027, 1, 1, tzinfo=UTC)) == LISTED


def test_tiers_multiply_the_contracts_prices() -> None:
    """Batch and priority as agreed; a tier that is not named costs what standard does."""
    own = 800 * 1000 + 200 * 100 + 100 * 8000
    assert cost(CONTRACT, tier="batch") == own * 4 // 10
    assert cost(CONTRACT, tier="priority") == own * 7 // 4
    assert cost(CONTRACT, tier="flex") == own


def test_a_discount_multiplies_the_lists_prices() -> None:
    """10 % off all of a provider's models; the list's own tiers stay."""
    off = '[[price]]\nprovider = "openai"\nmultiplier = 0.9'
    assert cost(off) == LISTED * 9 // 10
    assert cost(off, tier="batch") == LISTED * 9 // 20
    own_batch = off + "\nbatch = 0.4"
    assert cost(own_batch, tier="batch") == LISTED * 36 // 100


def test_a_factor_with_many_decimals_is_no_error_later() -> None:
    """A third of a price of sixteen decimals: what it costs is rounded, and is not refused."""
    third = '[[price]]\nprovider = "openrouter"\nmultiplier = 0.333333333333333333\nbatch = 1e-15'
    usage = Usage(300, 0, cache_write=300)
    for tier in ("standard", "batch"):
        found = price(
            usage._replace(tier=tier), "openrouter", "google/gemini-2.5-flash", NOW, book(third)
        )
        assert found.status == "priced"


def test_a_model_that_no_list_has_gets_a_price() -> None:
    """Your own server, say: any name of provider and model will do."""
    mine = '[[price]]\nprovider = "llm.internal"\nmodel = "llama-*"\ninput = 0.05\noutput = 0.2'
    assert cost(mine, "llama-3-70b", provider="llm.internal") == 1000 * 50 + 100 * 200
    assert cost(mine, "mixtral", provider="llm.internal") is None
    found = price(USAGE, "llm.internal", "mixtral", NOW, book(mine))
    assert found.reason == "provider_unknown"


def test_the_first_that_fits_and_holds_decides() -> None:
    """So exceptions stand above the rule."""
    both = CONTRACT + '\n[[price]]\nprovider = "open*"\nmodel = "gpt-*"\nmultiplier = 0.5'
    assert cost(both) == 800 * 1000 + 200 * 100 + 100 * 8000
    assert cost(both, at=datetime(2027, 2, 1, tzinfo=UTC)) == LISTED // 2


def test_the_books_name_changes_with_the_file() -> None:
    """A record shows by which prices it was priced; `+` says that there are some of one's own."""
    names = {load().name, book(CONTRACT).name, book(CONTRACT + "\n# changed").name}
    assert len(names) == 3
    assert "+" in book(CONTRACT).name
    assert book("").name == load().name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]]\ninput = 1", "number 1: provider"),
        ('[[price]]\nprovider = "p"', "no price and no multiplier"),
        ('[[price]]\nprovider = "p"\nimput = 1', "'imput' is unknown"),
        ('[[price]]\nprovider = "p"\ninput = -1', "input = -1"),
        ('[[price]]\nprovider = "p"\ninput = nan', "is no amount"),
        ('[[price]]\nprovider = "p"\ninput = true', "is no amount"),
        ('[[price]]\nprovider = "p"\nbatch = 1e30', "by more than 1000"),
        ('[[price]]\nprovider = "p"\nmultiplier = 1001', "by more than 1000"),
        ('[[price]]\nprovider = "p"\ninput = "x"', "is no amount"),
        ('[[price]]\nprovider = "p"\ninput = 1e-20', "more decimals"),
        ('[[price]]\nprovider = "p"\ninput = 1\nfrom = "soon"', "from must be"),
        ('[[price]]\nprovider = "p"\ninput = 1\nfrom = 5', "from must be"),
        ('[[price]]\nprovider = "p"\ninput=1\nfrom=2026-02-01\nuntil=2026-01-01', "never in force"),
        ('[[price]]\nprovider = "p"\ncached = 1\ncache_read = 1', "twice"),
        ('[[price]]\nprovider = ["p"]\ninput = 1', "provider must be"),
        ("[price]\ninput = 1", r"\[\[price\]\] tables"),
        ("[[prices]]\ninput = 1", "It also has prices"),
        ("[[price]", "as TOML"),
    ],
)
def test_a_wrong_file_says_where_and_what(text: str, said: str) -> None:
    """The table's number, the key, and what would be right."""
    with pytest.raises(ConfigError, match=said) as raised:
        parse(text.encode(), "prices.toml")
    assert "price_overrides: prices.toml" in str(raised.value)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Absent, a folder, or far too long."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_overrides(str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_overrides(str(tmp_path))
    long = tmp_path / "long.toml"
    long.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="Shorten it"):
        read_overrides(str(long))
    assert read_overrides(None) is None
