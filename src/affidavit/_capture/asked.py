"""What was asked and what was answered, in one vocabulary for all providers. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from affidavit._capture.wire import decode


@dataclass(slots=True)
class Asked:
    """One request, as its record tells it.

    Attributes:
        kind: which parser reads the answer; the dialect's own word.
        operation: OpenTelemetry's name where it has one (``chat``, ``embeddings``).
        parameters: everything that was asked besides model, conversation and tools.
        fields: further fields of ``request_data``: ``tools``, ``input``, ``files``.
    """

    kind: str
    operation: str
    model: str | None = None
    message: str | None = None
    messages: list[Any] | None = None
    parameters: dict[str, Any] | None = None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """One answer, or as much of it as has arrived.

    Attributes:
        usage: the provider's own object, as sent.
        input_tokens: with cached ones; the other counts as ``Report`` has them.
        extra: further fields of ``response_data``.
        error: name and text of a failure that the provider told inside its answer.
        is_complete: whether everything that belongs to it has arrived.
    """

    text: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    reasoning: str | None = None
    refusal: str | None = None
    finish_reasons: list[str] = field(default_factory=list)
    response_id: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    error: tuple[str, str] | None = None
    is_complete: bool = True

    def report(self) -> dict[str, Any]:
        """Give what :class:`affidavit._call.Report` takes; None stands for what is not known."""
        return {
            "text": self.text,
            "model": self.model,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "tool_calls": self.tool_calls,
            "finish_reason": self.finish_reasons[0] if self.finish_reasons else None,
        }

    def fields(self) -> dict[str, Any]:
        """Give the further fields of ``response_data``."""
        told = self.extra.copy()
        if self.reasoning is not None:
            told["reasoning"] = self.reasoning
        if self.refusal is not None:
            told["refusal"] = self.refusal
        if len(self.finish_reasons) > 1:
            told["finish_reasons"] = self.finish_reasons
        if self.response_id is not None:
            told["response_id"] = self.response_id
        if self.usage is not None:
            told["usage_raw"] = self.usage
        return told


class Accumulator(Protocol):
    """Puts an answer together from the events of a stream. Pure: no clock, no I/O."""

    def accumulate(self, event: str | None, chunk: Any) -> bool:
        """Take one event; tell whether it brought content (a first one is the first token)."""

    def answer(self) -> Answer:
        """Give what has arrived so far."""


class Dialect(Protocol):
    """What the hook must know of one SDK. Everything is pure."""

    package: str
    """The SDK's name, as it is imported."""

    request_id_headers: tuple[bytes, ...]
    """Headers that carry the provider's id of a request, lower case, the best first."""

    def provider(self, client: str, host: str) -> str:
        """Name the provider, by the name of the client's class and the host it speaks to."""

    def parse_request(self, method: str, path: str, body: Any) -> Asked:
        """Read a request: its JSON before it is sent, None without one."""

    def parse_response(self, kind: str, body: Any) -> Answer:
        """Read an answer's JSON."""

    def accumulator(self, kind: str, choices: int = 1) -> Accumulator:
        """Start to put a streamed answer together, of so many choices."""

    def rate_limit(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Read a 429's headers: ``limit_type``, ``limit``, ``remaining``, ``reset``."""


def whole(value: Any) -> int | None:
    """Read a count of tokens; None for what is none. Some servers write ``11.0``."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def text_of(value: Any) -> str | None:
    """Read a text; None for what is none."""
    return value if isinstance(value, str) else None


def mapping(value: Any) -> dict[str, Any]:
    """Read an object; an empty one for what is none."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Read a list; an empty one for what is none."""
    return value if isinstance(value, list) else []


def arguments(text: Any) -> Any:
    """Read a tool's arguments: an object where the JSON is whole, else the text as it came."""
    if not isinstance(text, str):
        return text
    try:
        found = decode(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict | list) else text


def joined(parts: list[str]) -> str | None:
    """Join the pieces of a text; None if there was none."""
    return "".join(parts) if parts else None
