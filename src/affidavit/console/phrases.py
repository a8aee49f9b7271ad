"""Sentences that other parts of the program write in English, in the language of a visitor. Pure.

Reasons of metrics, errors of the store, refusals and the lines of a month's report are made where
no visitor is known, are noted or signed as they are, and reach a page as text. ``words/phrases``
has their translations, by the English sentence with numbers for what is put in: ``{0} is gone.``
What is not found there is shown as it is; a test holds every sentence there to the program's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from markupsafe import Markup

LONGEST: Final = 2000
"""Characters above which a text is none of ours."""

_PLACE: Final = re.compile(r"\{(\d)\}")
_END: Final = re.compile(r"(?<=[.!?]) ")
_FIGURE: Final = re.compile(r"(?=.*\d)[\d,.+\s/()%-]+(?: (?:ms|s|USD))?")
_MARKS: Final = str.maketrans(",.", ".,")
_DEEPEST: Final = 3
"""Phrases within phrases."""

_MOST_SENTENCES: Final = 12

_STATE: Final = "state"
_ALL: Final = "all"
"""The column of states, and the name of the row of totals, of a report's tables."""


@dataclass(frozen=True, slots=True)
class _Phrase:
    pieces: tuple[str, ...]
    """What stands between the values."""
    text: str
    """In the other language, with the numbers of the values."""


def said(text: str, language: str) -> str:
    """Give a text of the program in a language; as it is where it is not known in that one.

    Markup is a text that somebody has made for a page, and stays.
    """
    if language == "en" or not text or len(text) > LONGEST or isinstance(text, Markup):
        return text
    return _whole(text, language, 0) or figure(_by_sentence(text, language), language)


def figure(text: str, language: str) -> str:
    """Write a figure of a table, as 1,234.5 %, with the marks of a language; others as they are."""
    if language == "es" and _FIGURE.fullmatch(text):
        return text.translate(_MARKS)
    return text


def sections(given: Sequence[Mapping[str, Any]], language: str) -> Sequence[Mapping[str, Any]]:
    """Give the sections of a month's report in a language; names from records stay as they are."""
    if language == "en":
        return given
    return [
        {
            "title": said(section["title"], language),
            "lines": [said(line, language) for line in section["lines"]],
            "tables": [_table(table, language) for table in section["tables"]],
        }
        for section in given
    ]


def _table(table: Mapping[str, Any], language: str) -> dict[str, Any]:
    columns, rows = table["columns"], table["rows"]
    ours = not any(columns)  # names and values that the report itself chose
    return {
        **table,
        "title": said(table["title"], language),
        "columns": [said(column, language) for column in columns],
        "rows": [
            [
                said(cell, language)
                if ours or columns[at] == _STATE or (last and not at and cell == _ALL)
                else (figure(cell, language) if at else cell)
                for at, cell in enumerate(row)
            ]
            for last, row in ((number == len(rows), row) for number, row in enumerate(rows, 1))
        ],
    }


@lru_cache
def phrases(language: str) -> dict[str, str]:
    """Read the sentences of a language, by the English ones."""
    place = files("affidavit.console") / "words" / "phrases" / f"{language}.json"
    found: dict[str, str] = json.loads(place.read_text(encoding="utf-8"))
    return found


@lru_cache
def _with_places(language: str) -> tuple[_Phrase, ...]:
    found = [
        _Phrase(tuple(_PLACE.split(english)[::2]), text)
        for english, text in phrases(language).items()
        if _PLACE.search(english)
    ]
    # What says most by itself comes first: "{0} calls cost nothing" before "{0} calls {1}".
    return tuple(sorted(found, key=lambda each: -sum(map(len, each.pieces))))


def _whole(text: str, language: str, depth: int) -> str | None:
    known = phrases(language).get(text)
    if known is not None or depth > _DEEPEST:
        return known
    for phrase in _with_places(language):
        values = _values(text, phrase.pieces)
        if values is not None:
            return _filled(phrase.text, values, language, depth)
    return None


def _filled(text: str, values: list[str], language: str, depth: int) -> str:
    """Put values into a translation, each in the language itself where it is known in that."""
    told = [_whole(each, language, depth + 1) or figure(each, language) for each in values]
    return _PLACE.sub(lambda found: told[int(found[1])], text)


def _values(text: str, pieces: tuple[str, ...]) -> list[str] | None:
    """Find what stands between the pieces of a phrase; None where the text is not of it."""
    first, *middle, last = pieces
    if not text.startswith(first) or not text.endswith(last):
        return None
    values, at, end = [], len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return None
        values.append(text[at:found])
        at = found + len(piece)
    return [*values, text[at:end]] if at <= end else None


def _by_sentence(text: str, language: str) -> str:
    """Translate what is known of several sentences: of each place the longest that is."""
    parts = _END.split(text)
    if len(parts) > _MOST_SENTENCES:
        return text
    made, at = [], 0
    while at < len(parts):
        for until in range(len(parts), at, -1):
            found = _whole(" ".join(parts[at:until]), language, 0)
            if found is not None:
                made.append(found)
                at = until
                break
        else:
            made.append(parts[at])
            at += 1
    return " ".join(made)
