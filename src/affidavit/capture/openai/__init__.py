"""OpenAI's words: what is asked of its endpoints, what they answer, and their streams. Pure.

The answers of chat completions, responses, completions, embeddings, images, audio and moderations
are read in full; those of every other endpoint are kept as they are, without binary content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from affidavit import providers
from affidavit._capture import generic, limits
from affidavit._capture.asked import Accumulator, Answer, Asked
from affidavit.capture.openai.chat import ChatEvents, read_chat, read_completion
from affidavit.capture.openai.families import (
    RunEvents,
    read_audio,
    read_embeddings,
    read_images,
    read_moderations,
    read_run,
)
from affidavit.capture.openai.requests import read_request
from affidavit.capture.openai.responses import ResponseEvents, read_response

_ROUTES: Final[tuple[tuple[str, str, str], ...]] = (
    (r"/chat/completions", "chat", "chat"),
    (r"/responses", "responses", "chat"),
    (r"/responses/compact", "responses", "chat"),
    (r"/completions", "completions", "text_completion"),
    (r"/embeddings", "embeddings", "embeddings"),
    (r"/images/(generations|edits|variations)", "images", "generate_content"),
    (r"/audio/(speech|transcriptions|translations)", "audio", "generate_content"),
    (r"/moderations", "moderations", "moderation"),
    (r"(/threads/[^/]+|/threads)/runs", "run", "invoke_agent"),
    (r"/threads/[^/]+/runs/[^/]+/submit_tool_outputs", "run", "invoke_agent"),
)
"""Path of a POST → kind of answer, and the operation's name."""

_MATCHERS: Final = tuple((re.compile(p), kind, name) for p, kind, name in _ROUTES)
_PREFIX: Final = re.compile(r"^(?:https?://[^/]+)?(?:/openai)?(?:/deployments/[^/]+)?(?:/v1)?(?=/)")


@lru_cache(maxsize=256)
def _route(path: str) -> tuple[str, str] | None:
    """Tell kind and operation of a POST; None for an endpoint that is read generically."""
    path = _PREFIX.sub("", path, count=1).partition("?")[0]
    for matcher, kind, operation in _MATCHERS:
        if matcher.fullmatch(path):
            return kind, operation
    return None


class OpenAIDialect:
    """The openai SDK."""

    package: Final = "openai"
    request_id_headers: Final = (b"x-request-id", b"apim-request-id", b"x-amzn-requestid")

    def provider(self, client: str, host: str) -> str:
        """Name the provider; OpenAI where neither class nor host says another."""
        if "Azure" in client:
            return "azure.ai.openai"
        if "Bedrock" in client:
            return "aws.bedrock"
        return providers.provider_of(host) or "openai"

    def parse_request(self, method: str, path: str, body: Any) -> Asked:
        """Read a request."""
        found = _route(path) if method == "POST" else None
        if found is None:
            return generic.asked(_PREFIX.sub("", path, count=1), body)
        return read_request(*found, body)

    def parse_response(self, kind: str, body: Any) -> Answer:
        """Read an answer's JSON."""
        reader = _READERS.get(kind)
        return reader(body) if reader is not None and isinstance(body, dict) else generic.read(body)

    def accumulator(self, kind: str, choices: int = 1) -> Accumulator:
        """Start to put a streamed answer together, of so many choices."""
        if kind in _CHOICES:
            return ChatEvents(choices)
        return _ACCUMULATORS.get(kind, generic.Events)()

    def rate_limit(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Read a 429's headers."""
        return limits.read(headers, "x-ratelimit-{field}-{what}", ("requests", "tokens"))


_READERS: Final[dict[str, Callable[[dict[str, Any]], Answer]]] = {
    "chat": read_chat,
    "completions": read_completion,
    "responses": read_response,
    "embeddings": read_embeddings,
    "images": read_images,
    "audio": read_audio,
    "moderations": read_moderations,
    "run": read_run,
}
_CHOICES: Final = frozenset({"chat", "completions"})
"""Kinds of answers that may have more than one choice."""

_ACCUMULATORS: Final[dict[str, Callable[[], Accumulator]]] = {
    "responses": ResponseEvents,
    "run": RunEvents,
}

DIALECT: Final = OpenAIDialect()
