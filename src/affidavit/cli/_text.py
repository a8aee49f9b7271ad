"""Showing text that others wrote: nothing in a record may steer the reader's terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidirectional marks, zero width), surrogates, private, separators."""


def escape(text: str, keep: str = "") -> str:
    r"""Write unsafe characters as ``\x1b`` or ``\u202e``; those in ``keep`` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _is_unsafe(c) else _escaped(c) for c in text)


def lines(text: str) -> str:
    """Escape a text of several lines; line breaks stay, and tabs become spaces."""
    return escape(text.replace("\r\n", "\n").replace("\t", "    "), keep="\n")


def excerpt(text: str, length: int) -> str:
    """Escape and shorten a text to one line."""
    return shorten(escape(" ".join(text[: 4 * length].split())), length)


def shorten(text: str, length: int) -> str:
    """Cut a text to ``length`` characters, with an ellipsis where it was cut."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE


def _escaped(character: str) -> str:
    number = ord(character)
    if character == "\n":
        return "\\n"
    if number < 0x100:  # noqa: PLR2004 - two hexadecimal digits
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"  # noqa: PLR2004
