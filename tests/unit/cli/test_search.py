"""Options of ``affidavit search`` that are read here: ranges, and fields of one's own."""

from __future__ import annotations

from decimal import Decimal

import pytest

from affidavit.cli.search import _own, _range
from affidavit.errors import ConfigError

pytestmark = pytest.mark.requirement("R20")


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("10..500", (Decimal(10), Decimal(500))),
        ("0.01..", (Decimal("0.01"), None)),
        ("..5", (None, Decimal(5))),
        (None, (None, None)),
    ],
)
def test_a_range_has_two_ends_either_of_which_may_be_missing(
    text: str | None, ends: tuple[Decimal | None, Decimal | None]
) -> None:
    """As `10..500`, `0.01..` and `..5`."""
    assert _range(text, "--cost") == ends


@pytest.mark.parametrize("text", ["", "..", "5", "5..1", "a..b", "1e9..", "-1..2"])
def test_what_is_no_range_is_refused_with_how_to_write_one(text: str) -> None:
    """The option is named."""
    with pytest.raises(ConfigError, match="--cost"):
        _range(text, "--cost")


def test_a_field_is_a_name_and_a_value() -> None:
    """The value may hold anything, also nothing."""
    assert _own("symbol=A=B") == ("symbol", "A=B")
    with pytest.raises(ConfigError, match="--field"):
        _own("symbol")
