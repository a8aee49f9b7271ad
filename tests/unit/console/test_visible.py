"""Hostile texts of records: shown as they are, and doing nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.console.visible import bare, isolated, mark, said

pytestmark = pytest.mark.requirement("R13", "R17")


def test_markup_is_text() -> None:
    """A script in a record is read, not run."""
    shown = str(isolated("<script>alert(1)</script>"))
    assert "<script" not in shown
    assert shown.startswith("<bdi>")
    assert "&lt;script&gt;" in shown


@pytest.mark.parametrize(
    ("text", "sign"),
    [("\x1b[31m", "ESC"), ("\u202e", "U+202E"), ("\x00", "NUL"), ("\u200b", "U+200B")],
)
def test_characters_that_do_something_are_signs(text: str, sign: str) -> None:
    """Controls of terminals, turns of direction and hidden spaces are seen."""
    shown = str(mark(text))
    assert sign in shown
    assert text[0] not in shown


@given(st.text(max_size=200))
def test_nothing_odd_gets_through(text: str) -> None:
    """No control, no turn of direction, no markup of any text reaches a page."""
    for shown in (str(mark(text)), str(said(text)), bare(text)):
        assert not any(c in shown for c in "\x00\x1b\u202a\u202b\u202d\u202e\u2066\u2067\u200f")
    assert "<script" not in str(said("<script>" + text))


def test_a_long_text_is_cut_and_counted() -> None:
    """A huge record does not make a huge page, and what is missing is said."""
    shown = str(mark("a" * 1000, 100))
    assert "+900" in shown
    assert len(shown) < 300
    assert len(bare("b" * 5000)) < 500


def test_what_was_taken_out_is_set_off() -> None:
    """Redactions and cuts are seen in a text, and nothing else is."""
    shown = str(said("mail [email] to <card:abcdefghijkmnpqr> [… 12 bytes left out …] [not this]"))
    assert shown.count('<mark class="gone">') == 3
    assert '<mark class="gone">[not' not in shown


def test_cutting_counts_from_the_whole_text() -> None:
    """Marks before the cut do not move it."""
    shown = str(said("[email] " + "a" * 300, 100))
    assert "+208" in shown
