"""The shadow of a text: what the patterns look at, with a way back to the text's own places.

Someone can write a number so that a pattern does not see it: with zero-width characters inside,
full-width or other scripts' digits, special hyphens and spaces, letters that look like digits.
The shadow has those removed or folded to ASCII. A plain ASCII text is its own shadow; others
cost a few microseconds more, since only their unusual characters are looked at one by one.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_ASCII: Final = bytes(range(128))
_FEW: Final = 12
"""Different characters up to which replacing one after the other is the cheapest way."""

_CACHE_LIMIT: Final = 8192
_DROP: Final = ""
_DROPPED: Final = frozenset({"Cf", "Mn", "Me"})
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

# Common characters that mean nothing but themselves: Latin, Greek, Cyrillic, Hebrew, Arabic,
# Devanagari and Thai letters, quotes, currencies, arrows, mathematics, drawing, CJK, emoji.
_PLAIN: Final = (
    r"\x00-\x7f\xa1-\xac\xae-\xb1\xb4-\xb8\xba\xbb\xbf-\u02ff\u0370-\u0482\u048a-\u052f"
    r"\u05d0-\u05ea\u0620-\u064a\u0904-\u0939\u0e01-\u0e30\u2018-\u2023\u2025-\u2027\u20a0-\u20c0"
    r"\u2190-\u2211\u2213-\u245f\u2500-\u2775\u2794-\u27ff\u2900-\u2bff\u3001-\u3029"
    r"\u3041-\u3096\u30a0-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U0001f300-\U0001faff"
)
_UNUSUAL: Final = re.compile(f"[^{_PLAIN}]")

SEPARATORS: Final = "\x1d\x1e"
"""Stand between the texts of a record that are looked at together; no find reaches over them."""

BLANK: Final = "\x1f"
"""Stands in the shadow for each character of what redaction wrote itself: never found again."""

_KEPT_CONTROLS: Final = (9, 10, 13, 0x1D, 0x1E, 0x1F, 0x85)
_CONTROLS: Final[dict[int, str | None]] = {
    **dict.fromkeys(c for c in (*range(32), *range(127, 160)) if c not in _KEPT_CONTROLS),
    1: "|",  # the separator of FIX messages
}
_INVISIBLE_CONTROLS: Final = frozenset(chr(c) for c, fold in _CONTROLS.items() if fold is None)
_TOKEN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_CLASSES: Final = bytes(
    0 if code in _CONTROLS else 0x78 if code in _TOKEN else 0x20 for code in range(256)
)
"""One byte a character: ``x`` for what keys and tokens are made of, NUL for controls."""

_LOOKALIKES: Final = {
    ord(character): digit
    for digit, characters in {
        "0": "\u041e\u043e\u039f\u03bf\u0555\u0585\u2c9e\u2c9f",  # o of Cyrillic, Greek and others
        "1": "\u0406\u04c0\u04cf\u0399\u0456",  # Cyrillic and Greek i
        "3": "\u0417\u0437\u04e0\u04e1",  # Cyrillic ze
        "4": "\u0427",  # Cyrillic che
        "5": "\u0405\u0455",  # Cyrillic dze
        "6": "\u0431",  # Cyrillic be
    }.items()
    for character in characters
}
_ALIKE: Final = "[" + "".join(map(chr, _LOOKALIKES)) + "]"
_HAS_ALIKE: Final = re.compile(_ALIKE)
# Bounded repeats: a long run of such letters must not be tried from each of its places.
_AFTER_DIGIT: Final = re.compile(f"[0-9]{_ALIKE}{{1,4}}")
_BEFORE_DIGIT: Final = re.compile(f"{_ALIKE}{{1,4}}[0-9]")
_SOME_DIGITS: Final = re.compile("[0-9][0-9][^0-9]{0,2}[0-9]")

_FILL: Final = "\ufdd0"
"""Stands for what is left of an escape beside its sign: a code that is never a character."""

_FILL_ONLY: Final = frozenset(_FILL)
_ESCAPE: Final = re.compile(r"\\{1,8}u([0-9a-fA-F]{4})")

# Twice encoded ones as well: "%2540".
_PERCENT: Final = re.compile(r"%(?:25){0,2}([2-7][0-9A-Fa-f]|0[9AaDd])")
_ENTITY: Final = re.compile(r"&(?:amp;)?(#[0-9]{1,5}|#[xX][0-9a-fA-F]{1,4}|[a-zA-Z]{2,6});")
_SIGNS: Final = {
    "quot": '"',
    "apos": "'",
    "amp": "&",
    "lt": "<",
    "gt": ">",
    "nbsp": " ",
    "commat": "@",
    "period": ".",
    "colon": ":",
    "equals": "=",
    "lowbar": "_",
    "hyphen": "-",
    "plus": "+",
}
_LEAST_SIGN: Final = 0x20
_LAST_SIGN: Final = 0xD800

_folds: dict[str, str] = {}


class Shadow:
    """A text's shadow: one character of Latin-1 for each visible one, and the way back.

    ``latin`` is the shadow, ``data`` the same as bytes, ``classes`` its characters' classes;
    ``visible`` is the shadow before other scripts' letters became question marks.
    """

    __slots__ = ("_dropped", "_starts", "_text", "classes", "data", "latin", "visible")

    def __init__(self, text: str) -> None:
        self._dropped: frozenset[str] = frozenset()
        self._starts: list[int] | None = None
        if "\\" in text:
            text = _unescaped(text)
        if _FILL in text:
            self._dropped = _FILL_ONLY
        self._text = text
        if self._dropped and _FILL in text:
            text = text.replace(_FILL, "")
        ascii_only = text.isascii()
        shadow = text if ascii_only else self._folded(text)
        data = shadow.encode("latin-1", "replace")
        classes = data.translate(_CLASSES)
        if 0 in classes:
            self._dropped |= _INVISIBLE_CONTROLS
            shadow = shadow.translate(_CONTROLS)
            data = shadow.encode("latin-1", "replace")
            classes = data.translate(_CLASSES)
        self.visible = shadow
        self.data = data
        self.classes = classes
        self.latin = shadow if ascii_only else data.decode("latin-1")

    def _folded(self, text: str) -> str:
        # Deleting what is ASCII first makes the search several times cheaper.
        rest = text.encode("utf-8", "surrogatepass").translate(None, _ASCII)
        beyond = rest.decode("utf-8", "surrogatepass")
        changed = {}
        for character in set(_UNUSUAL.findall(beyond)):
            fold = _folds.get(character)
            if fold is None:
                fold = _fold(character)
            if fold != character:
                changed[character] = fold
        if len(changed) > _FEW:
            text = text.translate({ord(character): fold for character, fold in changed.items()})
        else:
            for character, fold in changed.items():
                text = text.replace(character, fold)
        self._dropped |= frozenset(c for c, fold in changed.items() if fold == _DROP)
        if _HAS_ALIKE.search(beyond):
            text = _AFTER_DIGIT.sub(_as_digits, text)
            if _SOME_DIGITS.search(text):
                text = _BEFORE_DIGIT.sub(_as_digits, text)
        return text

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Translate a range of the shadow into one of the text."""
        if not self._dropped:
            return start, end
        if self._starts is None:
            dropped = self._dropped
            self._starts = [i for i, character in enumerate(self._text) if character not in dropped]
        last = self._starts[end - 1] + 1
        while self._text[last : last + 1] == _FILL:  # the rest of an escape belongs to its sign
            last += 1
        return self._starts[start], last


def decoded(text: str) -> str | None:
    """Undo the escapes of URLs and of HTML; None where there are none. The length stays."""
    other = text
    if "%" in text and _PERCENT.search(text) is not None:
        other = _PERCENT.sub(_percent, other)
    if "&" in text and _ENTITY.search(text) is not None:
        other = _ENTITY.sub(_entity, other)
    return None if other is text else other


def _percent(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) + _FILL * (len(match[0]) - 1)


def _entity(match: re.Match[str]) -> str:
    name = match[1]
    if name[0] == "#":
        code = int(f"0{name[1:]}", 0) if name[1] in "xX" else int(name[1:])
        sign = chr(code) if _LEAST_SIGN <= code < _LAST_SIGN else " "
    else:
        sign = _SIGNS.get(name.lower(), " ")
    return sign + _FILL * (len(match[0]) - 1)


def _unescaped(text: str) -> str:
    """Undo the escapes of JSON within a text, which tool calls are full of; the length stays."""
    text = text.replace("\\n", "\\\n").replace("\\r", "\\\n").replace("\\t", "\\\t")
    if "\\/" in text:
        text = text.replace("\\/", "/" + _FILL)
    return _ESCAPE.sub(_sign, text) if "\\u" in text else text


def _sign(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) + _FILL * (len(match[0]) - 1)


def _as_digits(match: re.Match[str]) -> str:
    return match[0].translate(_LOOKALIKES)


def _fold(character: str) -> str:
    """Give the ASCII character that is meant, nothing for an invisible one, else the same."""
    category = unicodedata.category(character)
    if category in _DROPPED or character in _INVISIBLE:
        fold = _DROP
    elif category == "Zs":
        fold = " "
    elif category in {"Zl", "Zp"}:
        fold = "\n"
    elif category == "Pd" or character == "\u2212":
        fold = "-"
    elif (digit := unicodedata.digit(character, None)) is not None:
        fold = str(digit)
    else:
        plain = unicodedata.normalize("NFKC", character)
        fold = plain if len(plain) == 1 and plain.isascii() else character
    if len(_folds) >= _CACHE_LIMIT:
        _folds.clear()
    _folds[character] = fold
    return fold
