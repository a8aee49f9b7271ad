"""The texts of a usual record, joined for one search at a third of the price of gathering them.

Most records hold nothing to redact, and then nobody asks where each text stood. So the texts are
only put together; a record with anything unusual in it, and one in which something is found, is
gathered whole (:mod:`.walk`). What is searched is the same text in both cases: a test holds that.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from affidavit.event import Document
from affidavit.pipeline.redact import own
from affidavit.pipeline.redact.names import Name
from affidavit.pipeline.redact.shadow import SEPARATORS

LONG_NUMBER: Final = 10**8
"""Magnitude from which a number is searched as a text."""

SHORTEST: Final = 3
"""Characters of a text in which a built-in kind can stand."""

CALL_ID: Final = re.compile(r"[0-9a-f]{24}")
"""A call's id as we make them: one that an application gave can hold anything."""

_FIELD, _END = SEPARATORS
_NOTHING: Final[frozenset[str]] = frozenset()
_TOLD_BESIDE: Final = "value"
"""A name whose meaning stands in another field: ``{"name": ..., "value": ...}``."""

_PAIR: Final = 2
_KEY_LINE: Final = "-----"


class Quick:
    """Joins texts; gives up where a name is not known to be harmless, or a list may be a header."""

    def __init__(self) -> None:
        self._spoken: dict[str, str] = {}

    def know(self, names: dict[str, Name]) -> None:
        """Start over with these names and what they say."""
        self._spoken = {}
        for name, told in names.items():
            self.learn(name, told)

    def learn(self, name: str, told: Name) -> None:
        """Remember a name, if it announces no secret."""
        if told.secret is None and name != _TOLD_BESIDE:
            self._spoken[name] = told.spoken

    def joined(self, document: Document) -> str | None:
        """Give all texts as one, as :func:`.walk.joined` does; None where somebody must look."""
        call = document.get("call_id")
        if isinstance(call, str) and CALL_ID.fullmatch(call) is None:
            return None
        if own.is_ledger(document):
            return None
        parts: list[str] = []
        if not self._mapping(document, own.UNTOUCHED, parts):
            return None
        parts.append("")
        return _END.join(parts)

    def _mapping(  # noqa: C901, PLR0912 - a dispatch over types, all in one loop for speed
        self, mapping: dict[str, Any], untouched: frozenset[str], parts: list[str]
    ) -> bool:
        known = self._spoken
        for key, value in mapping.items():
            if key in untouched:
                continue
            spoken = known.get(key)
            if spoken is None:
                return False
            kind = type(value)
            if kind is str:
                if len(value) >= SHORTEST:
                    parts.append(f"{spoken}{_FIELD}{value}" if spoken else value)
            elif value is None or kind is bool:
                continue
            elif kind is int:
                if not -LONG_NUMBER < value < LONG_NUMBER:
                    _add(str(abs(value)), spoken, parts)
            elif kind is float:  # a large one may be a whole number, which is searched
                if not -LONG_NUMBER < value < LONG_NUMBER:
                    return False
            elif kind is dict:
                if not self._mapping(value, _NOTHING, parts):
                    return False
            elif not self._rare(value, spoken, parts):
                return False
        return True

    def _rare(self, value: object, spoken: str, parts: list[str]) -> bool:
        if isinstance(value, list):
            return self._list(value, spoken, parts)
        if isinstance(value, float):
            return -LONG_NUMBER < value < LONG_NUMBER
        return isinstance(value, datetime)

    def _list(  # noqa: C901 - as above
        self, items: list[Any], spoken: str, parts: list[str]
    ) -> bool:
        if len(items) == _PAIR and type(items[0]) in {str, bytes}:
            return False  # it may be a header
        for item in items:
            kind = type(item)
            if kind is str:
                if item[:5] == _KEY_LINE:
                    return False  # it may be a key as a list of its lines
                if len(item) >= SHORTEST:
                    _add(item, spoken, parts)
            elif item is None or kind is bool:
                continue
            elif kind is dict:
                if not self._mapping(item, _NOTHING, parts):
                    return False
            elif kind is int:
                if not -LONG_NUMBER < item < LONG_NUMBER:
                    _add(str(abs(item)), spoken, parts)
            elif not self._rare(item, spoken, parts):
                return False
        return True


def _add(text: str, spoken: str, parts: list[str]) -> None:
    parts.append(f"{spoken}{_FIELD}{text}" if spoken else text)
