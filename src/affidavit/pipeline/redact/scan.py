"""All searches over one text: from its shadow to the places in it, without overlaps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from affidavit.pipeline.redact import addresses, assigned, kinds, phones, plain
from affidavit.pipeline.redact.digits import Numbers
from affidavit.pipeline.redact.kinds import RANK, Span
from affidavit.pipeline.redact.patterns import Patterns
from affidavit.pipeline.redact.shadow import BLANK, Shadow, decoded
from affidavit.pipeline.redact.tokens import Runs

_OWN_RANK: Final = -1


class Scanner:
    """Finds every kind at once; ``bold`` and ``shy`` say how weak shapes are taken."""

    def __init__(
        self,
        *,
        bold: bool = False,
        shy: bool = False,
        patterns: Sequence[tuple[str, re.Pattern[str]]] = (),
    ) -> None:
        """``patterns`` are the application's own, kind and pattern: they go before all others."""
        self._numbers = Numbers(bold=bold, shy=shy)
        self._runs = Runs(bold=bold)
        self._own = placeholders([*kinds.KINDS, *(kind for kind, _pattern in patterns)])
        self.patterns = Patterns(patterns, self._own)

    def is_own(self, text: str) -> bool:
        """Whether a text is what redaction wrote."""
        return self._own.fullmatch(text) is not None

    def find(self, text: str) -> list[Span]:
        """Give everything found in one text, in order; finds may overlap, see :func:`merged`."""
        found = self.find_common(text)
        return sorted([*found, *self.patterns.find(text)]) if self.patterns else found

    def find_common(self, text: str) -> list[Span]:
        """Find the built-in kinds alone: in one text, or in several with separators between."""
        if "[" in text or "<" in text:
            text = self._own.sub(_blanked, text)
        found = self._search(text)
        if "%" in text or "&" in text:
            plain_text = decoded(text)
            if plain_text is not None:
                found = sorted({*found, *self._search(plain_text)})
        return found

    def _search(self, text: str) -> list[Span]:
        shadow = Shadow(text)
        latin = shadow.latin
        found: list[Span] = []
        self._numbers.find(latin, shadow.data, found)
        self._runs.find(latin, shadow.classes, found)
        assigned.find(latin, shadow.data, found)
        plain.emails(latin, found, shadow.visible)
        if "+" in latin:
            phones.find(latin, found)
        if ":" in latin:
            addresses.version_6(latin, found)
            plain.urls(latin, found)
        if "=" in latin:
            plain.signed(latin, found)
        if "[" in latin:
            plain.wallets(latin, found)
        if "-----BEGIN " in latin:
            plain.private_keys(latin, found)
        if found:
            found = sorted((*shadow.original(start, end), kind) for start, end, kind in found)
        return found


def placeholders(names: Sequence[str]) -> re.Pattern[str]:
    """Match what redaction writes for these kinds; what can stand inside is kept very small."""
    kind = "|".join(map(re.escape, names))
    return re.compile(
        rf"\[(?:withheld|(?:{kind})"
        rf"(?: \u2026[A-Za-z0-9]{{1,4}}| [^\]\s]\u2026| [0-9a-f.:]{{1,12}}\u2026)?"
        rf"|sealed (?:{kind}) [0-9]{{1,6}})\]|<(?:{kind}):[a-r]{{16}}>"
    )


def _blanked(match: re.Match[str]) -> str:
    return BLANK * len(match[0])


def merged(found: list[Span]) -> list[Span]:
    """Join finds that overlap, so that nothing of either stays; the higher kind names it."""
    if len(found) < 2:  # noqa: PLR2004 - nothing to join
        return found
    result: list[Span] = []
    last_start, last_end, last_kind = found[0]
    for start, end, kind in found[1:]:
        if start < last_end:
            if RANK.get(kind, _OWN_RANK) < RANK.get(last_kind, _OWN_RANK):
                last_kind = kind
            last_end = max(last_end, end)
        else:
            result.append((last_start, last_end, last_kind))
            last_start, last_end, last_kind = start, end, kind
    result.append((last_start, last_end, last_kind))
    return result
