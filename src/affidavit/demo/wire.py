"""What a model says, in the words of two providers: bodies and stream events as they document them.

Pure functions from a :class:`Reply` to the JSON that OpenAI's chat completions and Anthropic's
messages send for it. Both state the same token counts, each in its own way: OpenAI's input
includes cached tokens, Anthropic's leaves out what was read from and written to the cache.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from affidavit.demo.usage import Usage

Document: TypeAlias = dict[str, Any]
Finish = Literal["stop", "length", "tool_calls", "refusal"]

CREATED: Final = 1_750_000_000
"""A fixed time: an answer depends on its request alone."""

DONE: Final = b"data: [DONE]\n\n"
"""What ends a stream of OpenAI's."""

_WORDS_PER_PIECE: Final = 4
_CHARACTERS_PER_PIECE: Final = 12
_ANTHROPIC_FINISH: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants to be called."""

    id: str
    name: str
    arguments: Mapping[str, Any]

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON text, as OpenAI sends them."""
        return json.dumps(self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of a model, before it is put in a provider's words.

    Attributes:
        more: the texts of further choices (OpenAI's ``n``).
        finish: why it ended, in one vocabulary for both providers.
    """

    response_id: str
    model: str
    usage: Usage
    text: str | None = None
    finish: Finish = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    refusal: str | None = None
    more: tuple[str, ...] = ()

    @property
    def openai_finish(self) -> str:
        """The ``finish_reason`` of a chat completion; a refusal has its own field there."""
        return "stop" if self.finish == "refusal" else self.finish

    @property
    def anthropic_stop(self) -> str:
        """The ``stop_reason`` of a message."""
        return _ANTHROPIC_FINISH[self.finish]


def pieces(text: str) -> list[str]:
    """A text in the pieces in which it is streamed; joined they are the text."""
    words = text.split(" ")
    cut = [
        " ".join(words[at : at + _WORDS_PER_PIECE]) for at in range(0, len(words), _WORDS_PER_PIECE)
    ]
    return [f"{part} " for part in cut[:-1]] + cut[-1:]


def json_pieces(text: str) -> list[str]:
    """JSON text in the pieces in which a tool's arguments are streamed."""
    step = _CHARACTERS_PER_PIECE
    return [text[at : at + step] for at in range(0, len(text), step)]


def event(document: Mapping[str, Any], name: str | None = None) -> bytes:
    """One server-sent event; ``name`` is its ``event`` line, which OpenAI's chat has not."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + json.dumps(document).encode() + b"\n\n"


# -- OpenAI: chat completions ----------------------------------------------------------------------


def chat_completion(reply: Reply) -> Document:
    """The body of ``POST /v1/chat/completions``."""
    message: Document = {
        "role": "assistant",
        "content": None if reply.refusal is not None else reply.text,
        "refusal": reply.refusal,
        "annotations": [],
    }
    if reply.reasoning is not None:
        message["reasoning_content"] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = [_openai_tool(call) for call in reply.tool_calls]
    messages = [message, *({**message, "content": text} for text in reply.more)]
    return {
        **_chat_head(reply, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": message,
                "logprobs": None,
                "finish_reason": reply.openai_finish,
            }
            for index, message in enumerate(messages)
        ],
        "usage": reply.usage.as_openai(),
    }


def chat_chunks(reply: Reply, *, with_usage: bool) -> Iterator[Document]:
    """The chunks of a streamed chat completion, in order; ``[DONE]`` follows them.

    ``with_usage`` is ``stream_options.include_usage``: each chunk then has ``usage``, null in all
    but the last, which has no choices.
    """
    head = _chat_head(reply, "chat.completion.chunk")
    usage: Document = {"usage": None} if with_usage else {}

    def chunk(index: int, delta: Document, finish: str | None = None) -> Document:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice], **usage}

    for index, text in enumerate((reply.text, *reply.more)):
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
        for delta in _chat_deltas(reply, text):
            yield chunk(index, delta)
        yield chunk(index, {}, reply.openai_finish)
    if with_usage:
        yield {**head, "choices": [], "usage": reply.usage.as_openai()}


def _chat_deltas(reply: Reply, text: str | None) -> Iterator[Document]:
    for part in pieces(reply.reasoning or ""):
        if part:
            yield {"reasoning_content": part}
    if reply.refusal is not None:
        for part in pieces(reply.refusal):
            yield {"refusal": part}
    elif text:
        for part in pieces(text):
            yield {"content": part}
    for number, call in enumerate(reply.tool_calls):
        function = {"name": call.name, "arguments": ""}
        yield {
            "tool_calls": [
                {"index": number, "id": call.id, "type": "function", "function": function}
            ]
        }
        for part in json_pieces(call.arguments_text):
            yield {"tool_calls": [{"index": number, "function": {"arguments": part}}]}


def _chat_head(reply: Reply, kind: str) -> Document:
    return {
        "id": reply.response_id,
        "object": kind,
        "created": CREATED,
        "model": reply.model,
        "service_tier": "default",
        "system_fingerprint": "fp_canned",
    }


def _openai_tool(call: ToolCall) -> Document:
    function = {"name": call.name, "arguments": call.arguments_text}
    return {"id": call.id, "type": "function", "function": function}


# -- Anthropic: messages ---------------------------------------------------------------------------


def message(reply: Reply) -> Document:
    """The body of ``POST /v1/messages``."""
    return {
        **_message_head(reply),
        "content": _blocks(reply),
        "stop_reason": reply.anthropic_stop,
        "stop_sequence": None,
        "usage": reply.usage.as_anthropic(),
    }


def message_events(reply: Reply) -> Iterator[Document]:
    """The events of a streamed message, in order; each is sent under its ``type``."""
    whole = reply.usage.as_anthropic()
    yield {
        "type": "message_start",
        "message": {
            **_message_head(reply),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # What the answer will cost is not known yet; the last event says it.
            "usage": {**whole, "output_tokens": 1, "output_tokens_details": None},
        },
    }
    for index, block in enumerate(_blocks(reply)):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        if index == 0:
            yield {"type": "ping"}
        for delta in _block_deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": reply.anthropic_stop, "stop_sequence": None},
        "usage": {
            name: whole[name]
            for name in (
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "output_tokens",
                "output_tokens_details",
            )
        },
    }
    yield {"type": "message_stop"}


def _message_head(reply: Reply) -> Document:
    return {
        "id": reply.response_id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
    }


def _blocks(reply: Reply) -> list[Document]:
    blocks: list[Document] = []
    if reply.reasoning is not None:
        blocks.append({"type": "thinking", "thinking": reply.reasoning, "signature": "c2lnbmVk"})
    said = reply.text if reply.refusal is None else reply.refusal
    if said:
        blocks.append({"type": "text", "text": said, "citations": None})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}
        for call in reply.tool_calls
    ]
    return blocks


def _empty(block: Document) -> Document:
    """A block as it is announced, before its content."""
    nothing: dict[str, Document] = {
        "thinking": {"thinking": "", "signature": ""},
        "text": {"text": ""},
        "tool_use": {"input": {}},
    }
    return {**block, **nothing[block["type"]]}


def _block_deltas(block: Document) -> Iterator[Document]:
    if block["type"] == "thinking":
        for part in pieces(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": part}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "text":
        for part in pieces(block["text"]):
            yield {"type": "text_delta", "text": part}
    else:
        for part in ["", *json_pieces(json.dumps(block["input"]))]:
            yield {"type": "input_json_delta", "partial_json": part}
