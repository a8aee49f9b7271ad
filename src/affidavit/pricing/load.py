"""The one place of this room that reads files: the list in the package, and a file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from affidavit.errors import ConfigError
from affidavit.pricing.book import Book, BookError
from affidavit.pricing.overrides import LARGEST_FILE, Overrides, parse

LIST: Final = Path(__file__).with_name("data") / "genai-prices.json"
"""The price list; ``scripts/price_book.py`` makes it."""


def load(overrides: Overrides | None = None) -> Book:
    """Read the price list of this installation. Raises BookError where that is damaged."""
    try:
        content = LIST.read_bytes()
    except OSError as error:
        msg = (
            f"The price list of this installation cannot be read ({error.strerror}), so calls "
            "stay unpriced. Install the package again."
        )
        raise BookError(msg) from error
    return Book(content, overrides)


def read_overrides(setting: str | None) -> Overrides | None:
    """Read the file that ``price_overrides`` names, if it does.

    Raises ConfigError, naming the place, where it cannot be read or says something unknown.
    """
    if setting is None:
        return None
    path = Path(setting).expanduser()
    try:
        if path.stat().st_size > LARGEST_FILE:
            msg = f"price_overrides: {setting} has more than {LARGEST_FILE} bytes. Shorten it."
            raise ConfigError(msg)
        content = path.read_bytes()
    except OSError as error:
        msg = (
            f"price_overrides: {setting} cannot be read ({error.strerror}). Correct the path, or "
            "leave the setting out."
        )
        raise ConfigError(msg) from error
    return parse(content, setting)
