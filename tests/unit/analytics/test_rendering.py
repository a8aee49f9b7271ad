"""A report as Markdown and HTML: every text stays a text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.analytics.rendering import as_html, as_json, as_markdown, visible
from affidavit.analytics.report import Report, Section, Table

pytestmark = pytest.mark.requirement("R37")

AT = datetime(2026, 11, 1, tzinfo=UTC)


def report_of(text: str) -> Report:
    """A report that has a text everywhere."""
    table = Table(text, (text, text), ((text, text),), frozenset({1}))
    return Report("2026-11", "UTC", AT, AT, AT, text, (Section(text, (text,), (table,)),),
                  {"text": text}, whole=True)  # fmt: skip


class Reader(HTMLParser):
    """Counts the tags of a page, and keeps its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag with its attributes."""
        self.tags.append(f"{tag} {attrs}")

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)


@given(st.text(min_size=1, max_size=80))
def test_no_text_adds_a_tag_to_the_page(text: str) -> None:
    """The tags are those of a page of harmless texts, and the text is in it."""
    harmless, page = Reader(), Reader()
    harmless.feed(as_html(report_of("x")))
    page.feed(as_html(report_of(text)))
    assert page.tags == harmless.tags
    assert visible(text) in "".join(page.texts)


@given(st.text(max_size=80))
def test_no_text_breaks_a_table_or_becomes_markup(text: str) -> None:
    """One line for a row, with its cells; no tag, link or code begins in it."""
    lines = as_markdown(report_of(text)).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) for row in rows} == {3}
    for row in (rows[0], rows[2]):
        assert not re.search(r"(?<!\\)[`*_\[\]<>]", row.replace("\\\\", ""))


def test_addresses_do_not_become_links() -> None:
    """GitHub would make one of a plain address."""
    assert "http://" not in as_markdown(report_of("see http://example.com"))


def test_control_characters_are_shown_and_obeyed_by_nobody() -> None:
    """Escapes, marks of direction and line breaks are written out, in every form."""
    text = "a\x1b[31mb\u202ec\nd"
    for made in (as_markdown(report_of(text)), as_html(report_of(text)), as_json(report_of(text))):
        assert "\x1b" not in made
        assert "\u202e" not in made
    assert json.loads(as_json(report_of(text)))["text"] == text
    assert visible(text) == "a\\u001b[31mb\\u202ec\\u000ad"


def test_the_page_allows_nothing_from_elsewhere() -> None:
    """Its own policy says so to the browser."""
    page = as_html(report_of("x"))
    assert "default-src 'none'" in page
    assert "<script" not in page
