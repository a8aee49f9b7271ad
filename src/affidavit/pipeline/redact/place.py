"""A number where it stands, and what stands around it."""

from __future__ import annotations

import re
from typing import Final

from affidavit.pipeline.redact import context

_DIGITS: Final = str.maketrans("", "", " ()/.-")
_AMOUNT_LEFT: Final = re.compile(r"[$\xa3\xa5#%]\s?\Z|[0-9],\Z|\b(?:usd|eur|gbp|btc|eth|us\$)\s\Z")
_AMOUNT_RIGHT: Final = re.compile(
    r" ?(?:%|\xa2|usd[tc]?\b|eur\b|gbp\b|jpy\b|btc\b|eth\b|sol\b|shares?\b|units?\b|contracts?\b"
    r"|lots?\b|tokens?\b|coins?\b|sats?\b|satoshis?\b|wei\b|gwei\b|bytes\b|ms\b|ns\b|dollars?\b"
    r"|euros?\b)"
    r"|[.,][0-9]"
)
_IN_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9]{2,}-\Z|[A-Za-z0-9_]\Z")


class Place:
    """A piece where it stands, and what stands around it; looked up when asked for."""

    __slots__ = ("_before", "_low", "end", "start", "text")

    def __init__(self, text: str, low: str, start: int, end: int) -> None:
        self.text = text
        self._low = low
        self.start = start
        self.end = end
        self._before: str | None = None

    @property
    def digits(self) -> str:
        """The digits alone."""
        return self.text[self.start : self.end].translate(_DIGITS)

    def words(self, kind: str) -> tuple[int, int]:
        """How near a word stands before it that speaks for the kind, and one that denies it."""
        if self._before is None:
            self._before = context.before(self._low, self.start)
        return context.distances(kind, self._before)

    def follows(self, pattern: re.Pattern[str]) -> bool:
        """Whether what stands before, in lower case, ends as the pattern says."""
        if self._before is None:
            self._before = context.before(self._low, self.start)
        return pattern.search(self._before) is not None

    @property
    def in_trading(self) -> bool:
        """Whether the words before it speak of trading rather than of a telephone."""
        if self._before is None:
            self._before = context.before(self._low, self.start)
        return context.is_trading(self._before)

    @property
    def after(self) -> str:
        """A little of what follows, in lower case."""
        return context.after(self._low, self.end)

    @property
    def alone_left(self) -> bool:
        """Whether no letter or digit touches it on the left."""
        return not self.text[self.start - 1 : self.start].isalnum()

    @property
    def alone_right(self) -> bool:
        """Whether no letter or digit touches it on the right."""
        return not self.text[self.end : self.end + 1].isalnum()

    @property
    def alone(self) -> bool:
        """Whether no letter or digit touches it."""
        return self.alone_right and self.alone_left

    @property
    def in_identifier(self) -> bool:
        """Whether it goes on from something like ``ord-`` or ``a716-``, or goes on as one."""
        if _IN_IDENTIFIER.search(self.text, max(0, self.start - 8), self.start):
            return True
        right = self.text[self.end : self.end + 2]
        return right[:1] in {"-", "_"} and right[1:].isalnum()

    @property
    def is_amount(self) -> bool:
        """Whether a currency, a unit or a decimal part belongs to it."""
        if _AMOUNT_RIGHT.match(self._low, self.end):
            return True
        return _AMOUNT_LEFT.search(self._low, max(0, self.start - 4), self.start) is not None
