"""The calls that are audited: their texts, the audited call itself, and the sample document.

Texts are made by a chain of word pairs over the English of the Python reference manual (module
``pydoc_data.topics`` of the standard library): each next word is drawn from those that follow the
present one there. In blocks of 32 KB, zlib brings such text to 1/2.8 of its size, as it does
English prose (2.5 to 3.1); a word list drawn at random gives 2.5, a repeated text far too much.
No text is used twice where bytes are measured.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any, Final

from bson.decimal128 import Decimal128

if TYPE_CHECKING:
    from affidavit import AsyncAuditLogger, AuditLogger

PROMPT: Final = 2000
ANSWER: Final = 2500
"""Characters of the usual call: 2 KB of prompt, 2.5 KB of answer."""

USERS: Final = 200
_SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT")
_PARAGRAPH: Final = 0.25
_WORD: Final = re.compile(r"[A-Za-z][a-z'\-]*[.,;:]?")


class English:
    """An endless, repeatable source of English-like text."""

    def __init__(self, seed: int) -> None:
        from pydoc_data.topics import topics

        words = _WORD.findall(" ".join(topics.values()))
        self._followers: dict[str, list[str]] = {}
        for word, following in zip(words, words[1:] + words[:1], strict=True):
            self._followers.setdefault(word, []).append(following)
        self._random = Random(seed).random
        self._word = words[0]
        self._rest = ""

    def text(self, characters: int) -> str:
        """Give the next ``characters`` of text; nothing of it comes again."""
        if len(self._rest) < characters:
            self._grow(max(characters, 65_536))
        text, self._rest = self._rest[:characters], self._rest[characters:]
        return text

    def _grow(self, characters: int) -> None:
        followers, random, word = self._followers, self._random, self._word
        words = [self._rest] if self._rest else []
        size = len(self._rest)
        while size < characters:
            choices = followers[word]
            word = choices[int(random() * len(choices))]
            # A paragraph ends after some sentences, as in prompts and answers of models.
            words.append(word + "\n\n" if word[-1] == "." and random() < _PARAGRAPH else word)
            size += len(words[-1]) + 1
        self._word = word
        self._rest = " ".join(words) + " "


class Workload:
    """A supply of calls of one size; ``pool`` texts are made once and then go round."""

    def __init__(
        self, *, prompt: int = PROMPT, answer: int = ANSWER, pool: int = 512, seed: int = 1
    ) -> None:
        english = English(seed)
        self._random = Random(seed)
        self._texts = [
            (english.text(prompt), english.text(answer) if answer else None) for _ in range(pool)
        ]
        self._at = 0

    def _next(self) -> tuple[str, str | None]:
        self._at = (self._at + 1) % len(self._texts)
        return self._texts[self._at]

    def texts(self) -> tuple[str, str | None]:
        """Give the next prompt and answer."""
        return self._next()

    def call(self, audit: AuditLogger) -> None:
        """Make one audited call around nothing: what is left is the cost of auditing."""
        prompt, answer = self._next()
        with audit.call(
            provider="anthropic",
            model="claude-sonnet",
            message=prompt,
            user_id="user_123",
            fields={"symbol": "BTCUSDT", "include_indicators": True, "include_market_data": True},
        ) as call:
            call.complete(
                text=answer,
                input_tokens=500,
                output_tokens=750,
                cost_usd=0.045,
                fields={"context_symbols": ["BTCUSDT"]},
            )

    async def async_call(self, audit: AsyncAuditLogger) -> None:
        """Make the same call through the asynchronous facade."""
        prompt, answer = self._next()
        async with audit.call(
            provider="anthropic",
            model="claude-sonnet",
            message=prompt,
            user_id="user_123",
            fields={"symbol": "BTCUSDT", "include_indicators": True, "include_market_data": True},
        ) as call:
            call.complete(
                text=answer,
                input_tokens=500,
                output_tokens=750,
                cost_usd=0.045,
                fields={"context_symbols": ["BTCUSDT"]},
            )

    def sample(self) -> dict[str, Any]:
        """Give the next call as the sample document of the analysis: one document a call."""
        prompt, answer = self._next()
        return sample(prompt, answer, "user_123", "BTCUSDT")

    def two_records(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the next call as two plain documents of the size our two records have."""
        prompt, answer = self._next()
        whole = sample(prompt, answer, "user_123", "BTCUSDT")
        call_id, now = secrets.token_hex(12), whole["timestamp"]
        request, response = whole["request_data"], whole["response_data"]
        brief = {name: value for name, value in request.items() if name != "message"}
        common = {"call_id": call_id, "timestamp": now, "user_id": "user_123", "schema_version": 1}
        common |= {"provider": "anthropic", "model": "claude-sonnet", "writer": "0" * 12, "seq": 1}
        intent = common | {"event_type": "llm_request", "status": "initiated"}
        outcome = common | {"event_type": "llm_response", "status": "completed", "success": True}
        outcome |= {"error_message": None, "input_tokens": 500, "output_tokens": 750}
        return intent | {"request_data": request}, outcome | {
            "request_data": brief,
            "response_data": response,
        }


def sample(prompt: str, answer: str | None, user: str, symbol: str) -> dict[str, Any]:
    """Make the sample document of the analysis, with the answer's text where there is one."""
    response: dict[str, Any] = {
        "response_length": 2500 if answer is None else len(answer),
        "provider_used": "anthropic",
        "tokens_used": 1250,
        "cost_usd": Decimal128("0.045"),
        "processing_time_ms": 1500,
        "context_symbols": [symbol],
    }
    if answer is not None:
        response["text"] = answer
    return {
        "event_type": "llm_request",
        "user_id": user,
        "timestamp": datetime.now(UTC),
        "request_data": {
            "message": prompt,
            "message_length": len(prompt),
            "symbol": symbol,
            "provider": "anthropic",
            "include_indicators": True,
            "include_market_data": True,
        },
        "response_data": response,
        "client_info": {"ip_address": "192.168.1.100", "user_agent": "WADM Frontend/1.0"},
        "status": "completed",
        "success": True,
        "error_message": None,
    }


def calls(
    count: int, prompt: int, answer: int, seed: int
) -> Iterator[tuple[str, str | None, str, str]]:
    """Yield ``count`` calls as (prompt, answer, user, symbol); the same again for the same seed."""
    english, random = English(seed), Random(seed)
    for _ in range(count):
        yield (
            english.text(prompt),
            english.text(answer) if answer else None,
            f"user_{random.randrange(USERS)}",
            random.choice(_SYMBOLS),
        )
