"""Which language a visitor reads, and the words in it.

One flat file for each language in ``words/``: ``page.thing`` to a text, with ``{names}`` for what
is put in. A word that is missing shows its key, so that a page never fails for one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "es": "Español"}
"""What is spoken, by code, each named in itself."""

_MOST_ASKED: Final = 12


@lru_cache(maxsize=len(LANGUAGES))
def words(language: str) -> Mapping[str, str]:
    """Read the words of a language."""
    folder = files("affidavit.console") / "words"
    found: dict[str, str] = json.loads((folder / f"{language}.json").read_text(encoding="utf-8"))
    return found


class Words:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        """``language`` is one of :data:`LANGUAGES`; any other is read as English."""
        self.language = language if language in LANGUAGES else "en"
        self._words = words(self.language)

    def __call__(self, key: str, **values: object) -> str:
        """Give the text of a key, with values put in; the key itself where there is none."""
        text = self._words.get(key)
        if text is None:
            return key
        return text.format_map(values) if values else text

    def __contains__(self, key: object) -> bool:
        return key in self._words


def chosen(wanted: str | None, accepted: str | None, default: str = "en") -> str:
    """Choose a language: what was set, else what the browser accepts, else the default.

    ``accepted`` is the header ``Accept-Language``; what is odd in it is passed over.
    """
    if wanted is not None and wanted in LANGUAGES:
        return wanted
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate((accepted or "").split(",")[:_MOST_ASKED]):
        name, _mark, quality = part.partition(";")
        code = name.strip().lower().partition("-")[0]
        if code in LANGUAGES:
            ranked.append((-_quality(quality), place, code))
    known = [code for quality, _place, code in sorted(ranked) if quality < 0]
    return known[0] if known else default if default in LANGUAGES else "en"


def _quality(text: str) -> float:
    name, _mark, value = text.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
