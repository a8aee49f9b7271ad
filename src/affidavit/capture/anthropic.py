"""Anthropic's words: what is asked of its endpoints, what they answer, and their streams. Pure.

Messages (also those of Bedrock and Vertex AI), old completions, token counts and batches are read
in full; every other endpoint is kept as it is, without binary content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from affidavit import providers
from affidavit._capture import generic, limits
from affidavit._capture.asked import (
    Accumulator,
    Answer,
    Asked,
    arguments,
    items,
    joined,
    mapping,
    text_of,
    whole,
)
from affidavit._capture.media import strip, turns

_MESSAGES: Final = re.compile(r"(?:/v1)?/messages(?:\?.*)?")
_COUNT: Final = re.compile(r"(?:/v1)?/messages/count_tokens(?:\?.*)?")
_BATCHES: Final = re.compile(r"(?:/v1)?/messages/batches(?:\?.*)?")
_COMPLETE: Final = re.compile(r"(?:/v1)?/complete(?:\?.*)?")
_NOT_PARAMETERS: Final = frozenset({"model", "messages", "system", "tools", "prompt", "requests"})
_PLAIN: Final = frozenset({int, float, bool, type(None)})
_CLIENTS: Final = (
    ("Bedrock", "aws.bedrock"),
    ("AWS", "aws.bedrock"),
    ("Vertex", "gcp.vertex_ai"),
    ("Foundry", "azure.ai.inference"),
)
_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
MAX_BATCH: Final = 1000
"""Requests of a batch whose conversation is kept; of further ones the number."""


class AnthropicDialect:
    """The anthropic SDK."""

    package: Final = "anthropic"
    request_id_headers: Final = (b"request-id", b"x-amzn-requestid", b"x-request-id")

    def provider(self, client: str, host: str) -> str:
        """Name the provider; Anthropic where neither class nor host says another."""
        for word, name in _CLIENTS:
            if word in client:
                return name
        return providers.provider_of(host) or "anthropic"

    def parse_request(self, method: str, path: str, body: Any) -> Asked:
        """Read a request."""
        path = re.sub(r"^https?://[^/]+", "", path)
        if method == "POST":
            if _MESSAGES.fullmatch(path):
                return _asked("messages", "chat", mapping(body))
            if _COUNT.fullmatch(path):
                return _asked("count", "count_tokens", mapping(body))
            if _COMPLETE.fullmatch(path):
                asked = _asked("complete", "text_completion", mapping(body))
                asked.message = text_of(mapping(body).get("prompt"))
                return asked
            if _BATCHES.fullmatch(path):
                return _batch(mapping(body))
        asked = generic.asked(path, body)
        if "/messages/batches" in path:
            asked.operation = "batches"
        return asked

    def parse_response(self, kind: str, body: Any) -> Answer:
        """Read an answer's JSON."""
        if not isinstance(body, dict):
            return generic.read(body)
        if body.get("type") == "error":
            return Answer(error=_error(mapping(body.get("error"))))
        if kind == "messages":
            return _read_message(body)
        if kind == "complete":
            return _read_complete(body)
        return generic.read(body)

    def accumulator(self, kind: str, choices: int = 1) -> Accumulator:  # noqa: ARG002 - one shape for all
        """Start to put a streamed answer together; a message has one choice."""
        if kind == "messages":
            return MessageEvents()
        return CompleteEvents() if kind == "complete" else generic.Events()

    def rate_limit(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Read a 429's headers."""
        return limits.read(
            headers,
            "anthropic-ratelimit-{what}-{field}",
            ("requests", "input-tokens", "output-tokens", "tokens"),
        )


# -- what is asked ---------------------------------------------------------------------------------


def _asked(kind: str, operation: str, given: dict[str, Any]) -> Asked:
    asked = Asked(kind, operation, text_of(given.get("model")))
    asked.messages = _conversation(given)
    if given.get("tools"):
        asked.fields["tools"] = strip(given["tools"])
    parameters = {
        name: value if type(value) in _PLAIN else strip(value)
        for name, value in given.items()
        if name not in _NOT_PARAMETERS
    }
    if parameters:
        asked.parameters = parameters
    return asked


def _conversation(given: Mapping[str, Any]) -> list[Any] | None:
    """Give the turns, the system prompt as the first of them."""
    found = turns(given.get("messages"))
    system = given.get("system")
    if system:
        content = strip(system)
        return [{"role": "system", "content": content}, *(found or [])]
    return found


def _batch(given: dict[str, Any]) -> Asked:
    """Read a batch: each of its requests with its conversation and parameters."""
    asked = Asked("generic", "batches")
    requests = items(given.get("requests"))
    kept = []
    for request in map(mapping, requests[:MAX_BATCH]):
        one = _asked("messages", "chat", mapping(request.get("params")))
        kept.append(
            {
                "custom_id": request.get("custom_id"),
                "model": one.model,
                "messages": one.messages,
                "parameters": one.parameters,
                **one.fields,
            }
        )
    models = {one["model"] for one in kept}
    asked.model = models.pop() if len(models) == 1 else None
    asked.fields["requests"] = kept
    asked.fields["request_count"] = len(requests)
    return asked


# -- what is answered ------------------------------------------------------------------------------


def _count(answer: Answer, usage: Any) -> None:
    """Note the tokens: Anthropic's input is without what was read from or written to the cache."""
    if not isinstance(usage, dict):
        return
    answer.usage = {**(answer.usage or {}), **{k: v for k, v in usage.items() if v is not None}}
    told = answer.usage
    asked = [
        whole(told.get(name))
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    ]
    if any(count is not None for count in asked):
        answer.input_tokens = sum(count or 0 for count in asked)
        answer.cached_tokens = asked[1]
        if asked[2]:
            answer.extra["cache_write_tokens"] = asked[2]
    answer.output_tokens = whole(told.get("output_tokens"))
    detail = mapping(told.get("output_tokens_details"))
    answer.reasoning_tokens = whole(detail.get("thinking_tokens", detail.get("reasoning_tokens")))


def _error(error: Mapping[str, Any]) -> tuple[str, str]:
    name = str(error.get("type") or "error")
    return name, str(error.get("message") or name)


def _read_message(body: dict[str, Any]) -> Answer:
    answer = Answer(response_id=text_of(body.get("id")), model=text_of(body.get("model")))
    _count(answer, body.get("usage"))
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in map(mapping, items(body.get("content"))):
        kind = text_of(block.get("type"))
        if kind == "text":
            texts.append(str(block.get("text") or ""))
        elif kind == "thinking":
            thoughts.append(str(block.get("thinking") or ""))
        elif kind in _CALLS:
            calls.append(_call(block, block.get("input")))
        elif kind != "redacted_thinking":  # results of the provider's own tools
            answer.extra.setdefault("blocks", []).append(strip(block))
    answer.text = joined(texts)
    answer.reasoning = "\n".join(thoughts) if thoughts else None
    answer.tool_calls = calls or None
    _stop(answer, body)
    return answer


def _call(block: Mapping[str, Any], given: Any) -> dict[str, Any]:
    return {"id": block.get("id"), "name": block.get("name"), "arguments": given}


def _stop(answer: Answer, told: Mapping[str, Any]) -> None:
    """Note why a message ended; in a refusal, what it says is the refusal and no answer."""
    reason = told.get("stop_reason")
    if not reason:
        return
    answer.finish_reasons = [str(reason)]
    if told.get("stop_sequence"):
        answer.extra["stop_sequence"] = told["stop_sequence"]
    if reason == "refusal":
        detail = mapping(told.get("stop_details"))
        answer.refusal = answer.text or text_of(detail.get("explanation")) or "refusal"
        answer.text = None


def _read_complete(body: dict[str, Any]) -> Answer:
    answer = Answer(response_id=text_of(body.get("id")), model=text_of(body.get("model")))
    answer.text = text_of(body.get("completion"))
    if body.get("stop_reason"):
        answer.finish_reasons = [str(body["stop_reason"])]
    return answer


class MessageEvents:
    """The events of a streamed message."""

    def __init__(self) -> None:
        self._answer = Answer(is_complete=False)
        self._blocks: dict[int | None, dict[str, Any]] = {}
        self._end: dict[str, Any] = {}

    def accumulate(self, event: str | None, chunk: Any) -> bool:
        """Take one event."""
        body = mapping(chunk)
        name = body.get("type") or event
        if name == "content_block_delta":
            return self._delta(body)
        if name == "content_block_start":
            block = mapping(body.get("content_block"))
            self._blocks[whole(body.get("index"))] = {**block, "pieces": []}
            return text_of(block.get("type")) in _CALLS
        if name == "message_start":
            told = mapping(body.get("message"))
            self._answer.response_id = text_of(told.get("id"))
            self._answer.model = text_of(told.get("model"))
            _count(self._answer, told.get("usage"))
        elif name == "message_delta":
            self._end.update(mapping(body.get("delta")))
            _count(self._answer, body.get("usage"))
        elif name == "message_stop":
            self._answer.is_complete = True
        elif name == "error":
            self._answer.error = _error(mapping(body.get("error")))
        return False

    def _delta(self, body: Mapping[str, Any]) -> bool:
        index = whole(body.get("index"))
        block = self._blocks.setdefault(index, {"type": "text", "pieces": []})
        delta = mapping(body.get("delta"))
        for name in ("text", "thinking", "partial_json"):
            piece = delta.get(name)
            if isinstance(piece, str) and piece:
                block["pieces"].append(piece)
                return True
        return False

    def answer(self) -> Answer:
        """Give what has arrived so far."""
        answer = self._answer
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        blocks: list[dict[str, Any]] = []
        for block in self._blocks.values():
            kind, said = text_of(block.get("type")), "".join(block["pieces"])
            if kind == "text":
                texts.append(str(block.get("text") or "") + said)
            elif kind == "thinking":
                thoughts.append(str(block.get("thinking") or "") + said)
            elif kind in _CALLS:
                calls.append(_call(block, arguments(said) if said else block.get("input")))
            elif kind != "redacted_thinking":
                blocks.append(strip({k: v for k, v in block.items() if k != "pieces"}))
        answer.text = joined(texts)
        answer.reasoning = "\n".join(thoughts) if thoughts else None
        answer.tool_calls = calls or None
        if blocks:
            answer.extra["blocks"] = blocks
        _stop(answer, self._end)
        return answer


class CompleteEvents:
    """The events of an old completion."""

    def __init__(self) -> None:
        self._answer = Answer(is_complete=False)
        self._pieces: list[str] = []

    def accumulate(self, event: str | None, chunk: Any) -> bool:
        """Take one event."""
        body = mapping(chunk)
        if event == "error" or body.get("type") == "error":
            self._answer.error = _error(mapping(body.get("error")))
            return False
        self._answer.response_id = self._answer.response_id or text_of(body.get("id"))
        self._answer.model = self._answer.model or text_of(body.get("model"))
        if body.get("stop_reason"):
            self._answer.finish_reasons = [str(body["stop_reason"])]
            self._answer.is_complete = True
        piece = body.get("completion")
        if isinstance(piece, str) and piece:
            self._pieces.append(piece)
            return True
        return False

    def answer(self) -> Answer:
        """Give what has arrived so far."""
        self._answer.text = joined(self._pieces)
        return self._answer


DIALECT: Final = AnthropicDialect()
