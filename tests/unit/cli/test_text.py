"""What a record holds cannot steer the terminal of who reads it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.cli._text import escape, excerpt, lines

pytestmark = pytest.mark.requirement("R20")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb", "a\\x0db"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\x9b31m", "\\x9b31m"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("Ångström 日本 😀", "Ångström 日本 😀"),
    ],
)
def test_control_and_bidirectional_characters_are_written_out(text: str, shown: str) -> None:
    """Letters of any script stay as they are."""
    assert escape(text) == shown


@given(st.text())
def test_nothing_unsafe_is_left_in_any_text(text: str) -> None:
    """Whatever the text."""
    unsafe = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    for shown in (escape(text), excerpt(text, 40), lines(text).replace("\n", "")):
        assert not {unicodedata.category(c) for c in shown} & unsafe
        shown.encode("utf-8")


def test_an_excerpt_is_one_line_of_bounded_length() -> None:
    """Line breaks become blanks, and the cut is visible."""
    assert excerpt("a\n b\tc", 20) == "a b c"
    assert excerpt("x" * 50, 10) == "x" * 9 + "…"
    assert len(excerpt("\x1b" * 50, 10)) == 10


def test_a_text_of_several_lines_keeps_its_lines() -> None:
    """Only they stay."""
    assert lines("a\r\nb\tc\x07") == "a\nb    c\\x07"
