"""All searches over one text: from its shadow to the places in it, without overlaps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from affidavit.pipeline.redact import assigned, phones, plain
from affidavit.pipeline.redact.digits import Numbers
from affidavit.pipeline.redact.kinds import RANK, Span
from affidavit.pipeline.redact.shadow import Shadow
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
        """``patterns`` are the application's own: kind and pattern; they go before all others."""
        self._numbers = Numbers(bold=bold, shy=shy)
        self._runs = Runs(bold=bold)
        self._patterns = tuple(patterns)

    def find(self, text: str) -> list[Span]:
        """Give everything found, in order; finds may overlap, see :func:`merged`."""
        shadow = Shadow(text)
        latin = shadow.latin
        found: list[Span] = []
        self._numbers.find(latin, shadow.data, found)
        self._runs.find(latin, shadow.classes, found)
        assigned.find(latin, shadow.data, found)
        plain.emails(latin, found)
        if "+" in latin:
            phones.find(latin, found)
        if ":" in latin:
            plain.addresses(latin, found)
            plain.urls(latin, found)
        if "-----BEGIN " in latin:
            plain.private_keys(latin, found)
        for kind, pattern in self._patterns:
            found += ((*m.span(), kind) for m in pattern.finditer(latin) if m.end() > m.start())
        if found:
            found = sorted((*shadow.original(start, end), kind) for start, end, kind in found)
        return found


def merged(found: list[Span]) -> list[Span]:
    """Join finds that overlap, so that nothing of the longer one stays; the higher kind names it."""
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
