"""Texts of records made harmless to look at: nothing in them moves, hides or turns anything.

Templates escape markup by themselves. What is left are characters that a browser acts on: controls
of terminals, marks that turn the direction of writing, spaces without width. They are shown by a
sign and their number, and a text from a record stands apart from its surroundings (``<bdi>``).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from markupsafe import Markup, escape

from affidavit.pipeline.redact.kinds import KINDS

LONGEST: Final = 200_000
"""Characters of one text that a page shows; the rest is counted."""

_ODD: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_NAMES: Final = (
    *("NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL"),
    *("BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI"),
    *("DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB"),
    *("CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US"),
)
"""What controls are called; signs of them are missing in many fonts."""

_SPACE: Final = 0x20
_DELETE: Final = 0x7F


def mark(value: Any, limit: int = LONGEST) -> Markup:
    """Give a text as markup that shows what it holds and does nothing."""
    text = value if isinstance(value, str) else str(value)
    rest = len(text) - limit
    made, at = [], 0
    for found in _ODD.finditer(text, 0, min(len(text), limit)):
        made.append(escape(text[at : found.start()]))
        made.append(_sign(found.group()))
        at = found.end()
    made.append(escape(text[at:limit]))
    if rest > 0:
        made.append(Markup('<span class="cut">\N{HORIZONTAL ELLIPSIS} +{:,}</span>').format(rest))
    return Markup("").join(made)


def isolated(value: Any, limit: int = LONGEST) -> Markup:
    """Give a text as :func:`mark` does, apart from the direction of what is around it."""
    return Markup("<bdi>{}</bdi>").format(mark(value, limit))


_KINDS: Final = "|".join(sorted(KINDS, key=len, reverse=True))
_GONE: Final = re.compile(
    rf"\[(?:withheld|(?:{_KINDS})(?: [^\]\n]{{1,40}})?)\]"
    rf"|<(?:{_KINDS}):[a-r]{{16}}>"
    r"|\[\u2026 \d{1,15} (?:bytes|characters) left out \u2026\]"
)
"""What redaction and cutting leave in the place of a text."""


def said(value: Any, limit: int = LONGEST) -> Markup:
    """Give a text of a conversation: as :func:`mark` does, with what was taken out set off."""
    text = value if isinstance(value, str) else str(value)
    made, at, shown = [], 0, text[:limit]
    for found in _GONE.finditer(shown):
        made.append(mark(shown[at : found.start()]))
        made.append(Markup('<mark class="gone">{}</mark>').format(mark(found.group())))
        at = found.end()
    made.append(mark(text[at:], limit - at))
    return Markup("<bdi>{}</bdi>").format(Markup("").join(made))


def bare(value: Any, limit: int = 400) -> str:
    """Give a text for an attribute: odd characters by their numbers, and not too long."""
    text = value if isinstance(value, str) else str(value)
    cut = text if len(text) <= limit else text[:limit] + "\N{HORIZONTAL ELLIPSIS}"
    return _ODD.sub(lambda found: f"\\u{ord(found.group()):04x}", cut)


def _sign(character: str) -> Markup:
    code = ord(character)
    if code < _SPACE:
        shown = _NAMES[code]
    elif code == _DELETE:
        shown = "DEL"
    else:
        shown = f"U+{code:04X}"
    name = unicodedata.name(character, f"U+{code:04X}")
    return Markup('<span class="ctl" title="{}">{}</span>').format(name, shown)
