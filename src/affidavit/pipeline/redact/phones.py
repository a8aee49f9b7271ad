# ruff: noqa: SIM905 - long lists of words read better as text
"""Telephone numbers: which groupings are those of six countries, and which country codes exist."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from affidavit.pipeline.redact import kinds
from affidavit.pipeline.redact.kinds import Span


class Weight(Enum):
    """How much a grouping says by itself."""

    NONE = 0
    WEAK = 1
    """Only with a word such as "phone" near it."""
    STRONG = 2
    """Other numbers are seldom written like this."""
    SURE = 3
    """No other number is written like this."""


_STRONG: Final = re.compile(
    r"[6789][0-9]{2}[ -][0-9]{2}[ -][0-9]{2}[ -][0-9]{2}"  # Spain
    r"|[89][0-9][ -][0-9]{3}[ -][0-9]{2}[ -][0-9]{2}"
    r"|(?:1-)?[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}"  # United States
    r"|0[1-9](?:[ -][0-9]{2}){4}"  # France
    r"|0[1-9][0-9]{3}[ -][0-9]{3}[ -]?[0-9]{3}"  # United Kingdom
    r"|\(?0[1-9][0-9]{1,2}\)?[ -][0-9]{3,4}[ -][0-9]{4}"
    r"|\(?0(?:[26]|[1-9][0-9]{1,4})\)?[ /-]{1,2}[1-9][0-9]{5,8}"  # Germany, Italy
    r"|\(?0(?:[26]|[1-9][0-9]{1,4})\)?[ /-]{1,2}[0-9]{3,5}(?:[ -][0-9]{2,5}){1,3}"
)
_SURE: Final = re.compile(
    r"(?:1[ -])?\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[ -][0-9]{4}"
    r"|\(0[1-9][0-9]{0,3}\) ?[0-9]{3,5}[ -]?[0-9]{3,4}"
)
_WEAK: Final = re.compile(
    r"[26789][0-9]{8}|[2-9][0-9]{2}[2-9][0-9]{6}|1[2-9][0-9]{2}[2-9][0-9]{6}|0[0-9]{8,11}"
    r"|3[0-9]{8,9}|(?:34|351|33|39|41|43|44|49)[0-9]{8,11}|[2-9][0-9]{6}"
)
WRITTEN: Final = re.compile(
    rb"(?<!0)(?<!0[ /-])(?:"
    rb"0{9,13}|0{3}-0{4}"
    rb"|\(?0{2,5}\)?[ /-]{0,2}0{3,8}"
    rb"|\(?0{2,5}\)?[ /-]{0,2}0{2,5}(?:[ -]0{2,5}){1,3}"
    rb"|0{1,3}[ -]\(?0{2,3}\)?[ -]0{2,4}(?:[ -]0{2,4}){1,3}"
    rb"|0{2}(?:[ -]0{2}){4,5}"
    rb"|0{4,7}(?:[ -]0{2,9}){1,4}"
    rb")(?!0)(?![ /-]0)"
)
"""Groupings of telephone numbers; each digit as a zero."""

_INTERNATIONAL: Final = re.compile(r"\+\(?[0-9][0-9 ()./-]{6,24}")
_LEAST_STRONG: Final = 9
_COMPACT: Final = str.maketrans("", "", " ()/.-")

# Country codes and how many digits follow; those of the six countries exactly, the others roughly.
_LENGTHS: Final[dict[str, tuple[int, int]]] = {
    "1": (10, 10),
    "7": (10, 10),
    "30": (10, 10),
    "31": (9, 9),
    "32": (8, 9),
    "33": (9, 9),
    "34": (9, 9),
    "39": (8, 11),
    "41": (9, 9),
    "44": (9, 10),
    "45": (8, 8),
    "46": (7, 10),
    "47": (8, 8),
    "48": (9, 9),
    "49": (8, 12),
    "351": (9, 9),
    "353": (7, 9),
    **dict.fromkeys(
        (
            "20 27 36 40 43 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 "
            "94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 "
            "234 235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 "
            "255 256 257 258 260 261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 352 "
            "354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 "
            "387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 "
            "596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 "
            "689 690 691 692 800 850 852 853 855 856 880 886 960 961 962 963 964 965 966 967 968 "
            "970 971 972 973 974 975 976 977 992 993 994 995 996 998"
        ).split(),
        (7, 12),
    ),
}


def national(written: str, digits: str, *, shy: bool = False) -> Weight:
    """Weigh a number without a ``+`` by its grouping; ``shy`` takes hyphens for those of an id."""
    if digits.startswith("00"):
        return Weight.STRONG if _length(digits[2:]) == len(digits) - 2 else Weight.NONE
    if _SURE.fullmatch(written) is not None:
        return Weight.SURE
    if shy and digits[0] == "0" and "-" in written:
        return Weight.WEAK
    if len(digits) >= _LEAST_STRONG and _STRONG.fullmatch(written.replace(".", "-")) is not None:
        return Weight.STRONG
    return Weight.WEAK if _WEAK.fullmatch(digits) is not None else Weight.NONE


def find(text: str, found: list[Span]) -> None:
    """Add the numbers that begin with ``+`` and a country code."""
    for match in _INTERNATIONAL.finditer(text):
        written = match[0].rstrip(" ()./-")
        digits = written[1:].translate(_COMPACT)
        size = _length(digits)
        if size == 0:
            continue
        end = match.start() + len(written)
        if size < len(digits):  # another number follows: cut where this one ends
            end = _cut(text, match.start(), size)
            if end < 0:
                continue
        elif text[end : end + 1].isalnum() or text[end : end + 2].strip(".,").isdigit():
            continue
        if text[match.start() - 1 : match.start()].isdigit():
            continue
        bracket = (
            text[match.start() - 1 : match.start()] == "(" and ")" in text[match.start() : end]
        )
        found.append((match.start() - bracket, end, kinds.PHONE))


def _length(digits: str) -> int:
    """Give how many digits from the country code on are one number; 0 for none."""
    trunk = digits
    for size in (1, 2, 3):
        bounds = _LENGTHS.get(trunk[:size])
        if bounds is None:
            continue
        rest = len(digits) - size
        if size > 1 and digits[size : size + 1] == "0":  # as in +44 (0)20
            rest -= 1
            low, high = bounds[0] + size + 1, bounds[1] + size + 1
        else:
            low, high = bounds[0] + size, bounds[1] + size
        if len(digits) < low:
            return 0
        return min(len(digits), high)
    return 0


def _cut(text: str, start: int, size: int) -> int:
    """Find the end of the first ``size`` digits if a separator follows there; else -1."""
    left = size
    at = start + 1
    while left:
        left -= text[at].isdigit()
        at += 1
    return at if not text[at : at + 1].isdigit() else -1
