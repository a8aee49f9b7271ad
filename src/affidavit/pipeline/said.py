"""Keyed hashes of what was asked: did this text ever reach a model?

With a key (the setting ``said_key``) the intent of a call carries a few numbers, made of the words
that were sent, before anything was redacted or cut. Whoever has the key and a text makes the same
numbers of it and looks for them. Without the key they say nothing but that two texts are alike.

Three kinds of numbers: of each text as a whole, of each of its lines, and of some passages of
:data:`PASSAGE` words. Which passages are kept is decided by the words alone ("winnowing"): of any
:data:`SPAN` passages that follow each other at least one is. So a text that has
``PASSAGE + SPAN - 1`` words in a row in common with what was sent is always found, wherever they
stand. Letter case, white space, punctuation and invisible characters do not matter.

Pure functions of texts and a key; nothing here reads, waits or logs.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

from affidavit.config import AuditConfig, key_bytes
from affidavit.event import Document, EventType

FIELD: Final = "said"
"""The field of an intent: ``h``, the numbers; ``cut``, how many texts were not looked at."""

PASSAGE: Final = 8
"""Words of a passage."""

SPAN: Final = 12
"""Of so many passages that follow each other, at least one is kept."""

FOUND: Final = PASSAGE + SPAN - 1
"""Words in a row that are always found."""

MOST: Final = 2048
"""Numbers of one record, some 13,000 words; the newest turns of a conversation come first."""

LEAST_LINE: Final = 3
"""Words from which a line of a longer text gets a number of its own."""

LONGEST_QUESTION: Final = 50_000
"""Words of a text that is looked for."""

_LONGEST: Final = 500_000
"""Characters of a text that are looked at; a longer one has no number as a whole."""

_BITS: Final = 52
"""Of a number: every JSON reader keeps it exact, and a chance hit stays rarer than one in a billion
for a log of a million calls.
"""

_INTENT: Final = EventType.LLM_REQUEST.value
_SENT: Final = ("messages", "message", "input", "arguments", "tools", "requests")
"""Parts of ``request_data`` that are sent to the model, or stand for it."""

_NO_TEXT: Final = frozenset(
    {"role", "type", "id", "tool_call_id", "call_id", "sha256", "media_type", "cache_control"}
)
"""Names in a conversation whose values are not what somebody said."""

_CJK: Final = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
"""A word; of scripts without spaces between words, each character."""

_INVISIBLE: Final = re.compile(
    r"[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
)
_DEEPEST: Final = 12


def words(text: str) -> list[str]:
    """Give the words of a text, as they are compared."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    return _WORD.findall(text.casefold())


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text that is looked for, as numbers."""

    whole: int
    """Of the text as a whole."""
    lines: frozenset[int]
    """Of its lines and paragraphs."""
    passages: frozenset[int]
    """Of every passage."""
    words: int

    @property
    def numbers(self) -> list[int]:
        """All numbers, in a stable order."""
        return sorted({self.whole} | self.lines | self.passages)


class Fingerprints:
    """Makes the numbers of texts with one key. Threads may share it."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"affidavit/said/v1", "sha256")

    def of_record(self, document: Mapping[str, Any]) -> Document | None:
        """Give the field of a record; None where nothing was sent with it. Never raises."""
        try:
            return self._of_record(document)
        except Exception:  # a text that cannot be read so must not cost the record its content
            return {"h": [], "cut": 1}

    def _of_record(self, document: Mapping[str, Any]) -> Document | None:
        request = document.get("request_data")
        if document.get("event_type") != _INTENT or not isinstance(request, Mapping):
            return None
        held: dict[int, None] = {}
        left = 0
        for text in _texts(request):
            if len(held) >= MOST:
                left += 1
                continue
            for number in self._of_text(text):
                held[number] = None
                if len(held) >= MOST:
                    left += 1
                    break
        if not held:
            return None
        return {"h": list(held), "cut": left} if left else {"h": list(held)}

    def of_question(self, text: str) -> Wanted:
        """Give the numbers of a text that is looked for: every passage, since any may be kept.

        Raises ValueError for a text without words, or with more than :data:`LONGEST_QUESTION`.
        """
        said = words(text)
        if not said:
            msg = "it has no words"
            raise ValueError(msg)
        if len(said) > LONGEST_QUESTION:
            msg = f"it has {len(said):,} words, and {LONGEST_QUESTION:,} at most can be looked for"
            raise ValueError(msg)
        parts = [*map(words, text.splitlines()), *map(words, re.split(r"\n\s*\n", text))]
        lines = frozenset(self._whole(part) for part in parts if len(part) >= LEAST_LINE)
        whole, passages = self._whole(said), frozenset(map(self._passage, _passages(said)))
        return Wanted(whole, lines - {whole}, passages, len(said))

    def of_text_itself(self, text: str) -> str:
        """Give a keyed hash of exactly this text, to note what was asked without noting it."""
        return hmac.digest(self._key, b"asked\0" + text.encode("utf-8", "replace"), "sha256").hex()

    def _of_text(self, text: str) -> Iterator[int]:
        said = words(text[:_LONGEST])
        if not said:
            return
        if len(text) <= _LONGEST:
            yield self._whole(said)
        yield from map(self._passage, winnowed(_passages(said)))
        lines = text[:_LONGEST].splitlines()
        for line in lines if len(lines) > 1 else ():
            part = words(line)
            if len(part) >= LEAST_LINE:
                yield self._whole(part)

    def _whole(self, said: Sequence[str]) -> int:
        return self._number(f"w {' '.join(said)}")

    def _passage(self, passage: str) -> int:
        return self._number(f"p {passage}")

    def _number(self, text: str) -> int:
        digest = hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")
        return int.from_bytes(digest[:8], "big") >> (64 - _BITS)


# Read once in a process: a child forked later may not be allowed to read the file any more.
_key = lru_cache(maxsize=8)(key_bytes)


def fingerprints_of(config: AuditConfig) -> Fingerprints | None:
    """Make what the settings ask for; None without a key. Raises ConfigError for a bad one."""
    return Fingerprints(_key(config.said_key, "said_key")) if config.said_key else None


def winnowed(passages: Iterable[str]) -> Iterator[str]:
    """Choose passages: of any :data:`SPAN` in a row at least one, by their words alone."""
    queue: deque[tuple[int, int, str]] = deque()
    at = last = -1
    for at, passage in enumerate(passages):
        rank = crc32(passage.encode("utf-8", "surrogatepass"))
        while queue and queue[-1][0] >= rank:
            queue.pop()
        queue.append((rank, at, passage))
        if queue[0][1] <= at - SPAN:
            queue.popleft()
        if at >= SPAN - 1 and queue[0][1] != last:
            last = queue[0][1]
            yield queue[0][2]
    if 0 <= at < SPAN - 1:
        yield queue[0][2]


def _passages(said: Sequence[str]) -> Iterator[str]:
    return (" ".join(said[at : at + PASSAGE]) for at in range(len(said) - PASSAGE + 1))


def _texts(request: Mapping[str, Any]) -> Iterator[str]:
    """Give what was sent, the newest turn of a conversation first."""
    seen: set[str] = set()
    for name in _SENT:
        value = request.get(name)
        if isinstance(value, list | tuple):
            value = [*reversed(value)]
        for text in _strings(value, 0):
            if text not in seen:
                seen.add(text)
                yield text


def _strings(value: Any, depth: int) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif depth > _DEEPEST:
        return
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _NO_TEXT:
                yield from _strings(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, depth + 1)
