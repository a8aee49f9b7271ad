"""What the canned endpoint answers and charges: a pure function of the request.

A caller can work out beforehand exactly what it will be told, so that a test compares what was
stored with what must have been stored, and not with what happened to come back.

The rules: a message costs four tokens and one for every four characters begun; three more open
the answer. The tokens of system messages count as cached (and are part of the prompt's, as in
the real service). Each word of the answer is one token. A model whose name holds ``reasoning``
adds hidden tokens, which are part of the completion's.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OPENING_TOKENS = 3
_PER_MESSAGE_TOKENS = 4
_CHARACTERS_PER_TOKEN = 4
_SHORTEST_ANSWER = 30
_LONGEST_ANSWER = 90

_TEXT = (
    "the price holds above its moving average while volume fades and the band narrows so a "
    "breakout needs volume to confirm it risk stays limited below support and a close under "
    "that level ends the idea momentum is neutral funding is flat and no news is due today"
)
_WORDS = _TEXT.split()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the provider reports them.

    ``input_tokens`` includes ``cached_tokens`` (read from the cache) and ``cache_write_tokens``
    (written to it); ``output_tokens`` includes ``reasoning_tokens``.
    """

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cache_write_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def as_openai(self) -> dict[str, Any]:
        """The ``usage`` object of a chat completion."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "audio_tokens": 0,
            },
        }

    def as_responses(self) -> dict[str, Any]:
        """The ``usage`` object of a response (OpenAI's other way to ask)."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.total_tokens,
        }

    def as_anthropic(self) -> dict[str, Any]:
        """The ``usage`` object of a message: cached tokens stand beside the input's, not in it."""
        fresh = self.input_tokens - self.cached_tokens - self.cache_write_tokens
        return {
            "input_tokens": fresh,
            "cache_creation_input_tokens": self.cache_write_tokens,
            "cache_read_input_tokens": self.cached_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_write_tokens,
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"thinking_tokens": self.reasoning_tokens},
            "service_tier": "standard",
        }


def conversation(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The turns of a request; Anthropic's system text stands beside them and is the first here."""
    system = request.get("system")
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *request["messages"]]


def expected_answer(messages: Iterable[Mapping[str, Any]], *, max_tokens: int | None = None) -> str:
    """The text that the endpoint answers to these messages; one word is one token."""
    seed = zlib.crc32("\n".join(_text(message) for message in messages).encode("utf-8", "replace"))
    length = _SHORTEST_ANSWER + seed % (_LONGEST_ANSWER - _SHORTEST_ANSWER)
    if max_tokens is not None:
        length = min(length, max_tokens)
    return " ".join(_WORDS[(seed + number) % len(_WORDS)] for number in range(length))


def expected_finish_reason(
    messages: Iterable[Mapping[str, Any]], *, max_tokens: int | None = None
) -> str:
    """``length`` when ``max_tokens`` cut the answer, else ``stop``."""
    full = expected_answer(messages)
    cut = max_tokens is not None and max_tokens < len(full.split())
    return "length" if cut else "stop"


def expected_usage(
    messages: Iterable[Mapping[str, Any]],
    *,
    model: str = "canned-large",
    max_tokens: int | None = None,
) -> Usage:
    """The token counts that the endpoint reports for these messages."""
    messages = list(messages)
    costs = [_message_tokens(message) for message in messages]
    cached = sum(
        cost
        for cost, message in zip(costs, messages, strict=True)
        if message.get("role") == "system"
    )
    answer = len(expected_answer(messages, max_tokens=max_tokens).split())
    reasoning = 8 + sum(costs) % 16 if "reasoning" in model else 0
    return Usage(
        input_tokens=sum(costs) + _OPENING_TOKENS,
        cached_tokens=cached,
        output_tokens=answer + reasoning,
        reasoning_tokens=reasoning,
    )


def _message_tokens(message: Mapping[str, Any]) -> int:
    return _PER_MESSAGE_TOKENS + -(-len(_text(message)) // _CHARACTERS_PER_TOKEN)


def _text(message: Mapping[str, Any]) -> str:
    """A message's text; parts of a multi-part content are joined."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
