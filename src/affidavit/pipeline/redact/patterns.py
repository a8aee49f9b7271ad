"""The application's own patterns: each sees one text by itself, from its start to its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from affidavit.pipeline.redact.kinds import Span
from affidavit.pipeline.redact.shadow import BLANK, Shadow

_NOTHING: Final = BLANK + " "


class Patterns:
    """Searches with patterns of one's own; ``own`` matches what redaction wrote."""

    def __init__(
        self, patterns: Sequence[tuple[str, re.Pattern[str]]], own: re.Pattern[str]
    ) -> None:
        self._patterns = tuple(patterns)
        self._own = own

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._patterns)

    def find(self, text: str) -> list[Span]:
        """Give what is found in a text as it is, and with the tricks in it undone."""
        if "[" in text or "<" in text:
            text = self._own.sub(lambda match: BLANK * len(match[0]), text)
        found: list[Span] = []
        self._search(text, None, found)
        if "\\" in text or not (text.isascii() and text.isprintable()):
            shadow = Shadow(text)
            if shadow.visible != text:
                self._search(shadow.visible, shadow, found)
        return sorted(set(found))

    def _search(self, text: str, shadow: Shadow | None, found: list[Span]) -> None:
        for kind, pattern in self._patterns:
            for match in pattern.finditer(text):
                start, end = match.span()
                if start == end or not text[start:end].strip(_NOTHING):
                    continue  # nothing, or only what redaction wrote itself
                if shadow is not None:
                    start, end = shadow.original(start, end)
                found.append((start, end, kind))
