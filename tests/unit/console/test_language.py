"""Languages: which one is chosen, and that each has every word."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Formatter

import pytest

from affidavit.console import figures, language
from affidavit.console.language import LANGUAGES, Words, chosen

pytestmark = pytest.mark.requirement("R13")
ROOM = Path(figures.__file__).parent
ENGLISH: dict[str, str] = dict(language.words("en"))

_WHOLE = re.compile(r"""\bt\(\s*["']([a-z][\w.\- ]*)["']""")
_PART = re.compile(r"""["']([a-z_]+\.(?:[a-z_]+\.)*)["']\s*~|\bf["']([a-z_.]+)\{""")
_ANY = re.compile(r"""["']([a-z_]+\.[\w.\- ]+)["']""")


def _sources() -> list[str]:
    pages = [*ROOM.rglob("*.py"), *ROOM.rglob("*.html")]
    return [path.read_text(encoding="utf-8") for path in pages]


@pytest.mark.parametrize(
    ("wanted", "accepted", "default", "found"),
    [
        (None, None, "en", "en"),
        (None, "es-ES,es;q=0.9,en;q=0.8", "en", "es"),
        (None, "de, en;q=0.5, es;q=0.7", "en", "es"),
        ("es", "en", "en", "es"),
        ("xx", "en", "es", "en"),
        (None, "de", "es", "es"),
        (None, "es;q=0, en", "es", "en"),
        (None, "es;q=what, ;;;,", "en", "en"),
    ],
)
def test_a_language_is_what_was_set_or_what_the_browser_accepts(
    wanted: str | None, accepted: str | None, default: str, found: str
) -> None:
    """A choice counts first, then the browser's order, then the setting."""
    assert chosen(wanted, accepted, default) == found


@pytest.mark.parametrize("code", list(LANGUAGES))
def test_every_language_has_the_same_words_with_the_same_places(code: str) -> None:
    """No page speaks two languages, and no text lacks a value."""
    words = language.words(code)
    assert words.keys() == ENGLISH.keys()
    for key, text in words.items():
        assert text.strip() == text != ""
        assert _places(text) == _places(ENGLISH[key]), key


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_words_are_in_order_and_flat() -> None:
    """The files stay readable side by side."""
    for code in LANGUAGES:
        text = (ROOM / "words" / f"{code}.json").read_text(encoding="utf-8")
        found = json.loads(text)
        assert list(found) == sorted(found)
        assert all(isinstance(value, str) for value in found.values())


def test_every_word_that_a_page_asks_for_is_there() -> None:
    """No page shows a key instead of a word."""
    asked = {key for text in _sources() for key in _WHOLE.findall(text) if not key.endswith(".")}
    assert sorted(asked - ENGLISH.keys()) == []


def test_no_word_is_left_that_nobody_asks_for() -> None:
    """A word is asked for by its key, or by a key that is put together in a page."""
    sources = _sources()
    whole = {key for text in sources for key in _ANY.findall(text)}
    parts = {a or b for text in sources for a, b in _PART.findall(text)}
    unused = [
        key
        for key in ENGLISH
        if key not in whole and not any(part and key.startswith(part) for part in parts)
    ]
    assert unused == []


def test_a_missing_word_shows_its_key() -> None:
    """A page does not fail for a word."""
    assert Words("en")("no.such.word") == "no.such.word"
    assert Words("xx").language == "en"
