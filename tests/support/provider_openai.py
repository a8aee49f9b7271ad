"""OpenAI's wire format: which answer each of its endpoints gives to a request."""

from __future__ import annotations

import base64
import json
import re
import struct
from typing import TYPE_CHECKING, Any, Final

from affidavit.demo.wire import (
    CREATED,
    DONE,
    Document,
    Reply,
    chat_chunks,
    chat_completion,
    event,
    json_pieces,
    pieces,
)
from tests.support.provider_http import Answer, Request, json_answer, stream_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODELS: Final = ("canned-large", "canned-small", "canned-reasoning")
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
"""One pixel."""

SOUND: Final = b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(range(256))
"""Bytes that pass for an MP3 file."""

FAULTS: Final = {
    "rate-limit": (429, "requests", "rate_limit_exceeded", "Rate limit reached on purpose."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "The quota is used up on purpose."),
    "error": (500, "server_error", None, "The canned provider fails on purpose."),
    "overloaded": (503, "server_error", None, "The canned provider is overloaded on purpose."),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key given."),
    "forbidden": (403, "invalid_request_error", None, "Not allowed on purpose."),
    "not-found": (404, "invalid_request_error", "model_not_found", "There is no such model."),
    "bad-request": (400, "invalid_request_error", "context_length_exceeded", "It is too long."),
    "content-filter": (400, "invalid_request_error", "content_filter", "The prompt was filtered."),
}
"""By name: HTTP status, type, code and text of the error."""

_PREFIX: Final = re.compile(r"^(/openai/v1|/openai/deployments/[^/]+|/openai|/v1)(?=/)")


def headers(request_id: str) -> dict[str, str]:
    """What every answer carries."""
    return {
        "x-request-id": request_id,
        "openai-organization": "org-canned",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "200000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "199000",
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-reset-tokens": "300ms",
    }


RATE_LIMITED: Final = {
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1s",
}
"""What is different in the headers of a 429."""


def problem(kind: str) -> Answer:
    """The error answer of this name in :data:`FAULTS`."""
    status, type_, code, text = FAULTS[kind]
    error = {"message": text, "type": type_, "param": None, "code": code}
    return json_answer({"error": error}, status=status)


def broken_off() -> bytes:
    """The event that tells of an error in mid-stream."""
    error = {"message": "The server had an error.", "type": "server_error", "code": None}
    return event({"error": error})


def answer(request: Request, reply: Callable[[], Reply]) -> Answer:
    """The answer to a request; ``reply`` says what the model says, where one is asked."""
    path = _PREFIX.sub("", request.path.rstrip("/"))
    for method, pattern, handle in _ROUTES:
        if request.method == method and re.fullmatch(pattern, path):
            return handle(request, reply)
    return _generic(request, path)


# -- models that speak -----------------------------------------------------------------------------


def _chat(request: Request, reply: Callable[[], Reply]) -> Answer:
    said, asked = reply(), request.json
    if not asked.get("stream"):
        return json_answer(chat_completion(said), reply=said)
    with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
    events = [event(chunk) for chunk in chat_chunks(said, with_usage=with_usage)]
    return stream_answer([*events, DONE], reply=said)


def _responses(request: Request, reply: Callable[[], Reply]) -> Answer:
    said, asked = reply(), request.json
    if not asked.get("stream"):
        return json_answer(response(said, asked), reply=said)
    events = [event(one, one["type"]) for one in response_events(said, asked)]
    return stream_answer(events, reply=said)


def response(reply: Reply, asked: Document) -> Document:
    """The body of ``POST /v1/responses``."""
    cut = reply.finish == "length"
    return {
        **_response_head(reply, asked),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": _output(reply),
        "usage": reply.usage.as_responses(),
    }


def response_events(reply: Reply, asked: Document) -> Iterator[Document]:
    """The events of a streamed response, in order."""
    for number, one in enumerate(_response_events(reply, asked)):
        yield {**one, "sequence_number": number}


def _response_events(reply: Reply, asked: Document) -> Iterator[Document]:
    begun = {**_response_head(reply, asked), "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(_output(reply)):
        at = {"output_index": index, "item_id": item["id"]}
        empty: dict[str, Document] = {
            "message": {"content": []},
            "reasoning": {"summary": []},
            "function_call": {"arguments": ""},
        }
        added = {**item, "status": "in_progress", **empty[item["type"]]}
        yield {"type": "response.output_item.added", "output_index": index, "item": added}
        yield from _item_events(item, at)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    whole = response(reply, asked)
    yield {"type": f"response.{whole['status']}", "response": whole}


def _item_events(item: Document, at: Document) -> Iterator[Document]:
    if item["type"] == "function_call":
        name = "response.function_call_arguments"
        for part in json_pieces(item["arguments"]):
            yield {"type": f"{name}.delta", **at, "delta": part}
        yield {"type": f"{name}.done", **at, "name": item["name"], "arguments": item["arguments"]}
    elif item["type"] == "reasoning":
        (summary,) = item["summary"]
        at = {**at, "summary_index": 0}
        name = "response.reasoning_summary"
        yield {"type": f"{name}_part.added", **at, "part": {**summary, "text": ""}}
        for part in pieces(summary["text"]):
            yield {"type": f"{name}_text.delta", **at, "delta": part}
        yield {"type": f"{name}_text.done", **at, "text": summary["text"]}
        yield {"type": f"{name}_part.done", **at, "part": summary}
    else:
        (content,) = item["content"]
        at = {**at, "content_index": 0}
        kind = "refusal" if content["type"] == "refusal" else "text"
        name = "response.refusal" if kind == "refusal" else "response.output_text"
        logprobs: Document = {} if kind == "refusal" else {"logprobs": []}
        yield {"type": "response.content_part.added", **at, "part": {**content, kind: ""}}
        for part in pieces(content[kind]):
            yield {"type": f"{name}.delta", **at, "delta": part, **logprobs}
        yield {"type": f"{name}.done", **at, kind: content[kind], **logprobs}
        yield {"type": "response.content_part.done", **at, "part": content}


def _response_head(reply: Reply, asked: Document) -> Document:
    return {
        "id": reply.response_id,
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "metadata": asked.get("metadata") or {},
        "model": reply.model,
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "previous_response_id": asked.get("previous_response_id"),
        "reasoning": asked.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": "default",
        "store": asked.get("store", True),
        "temperature": asked.get("temperature", 1.0),
        "text": asked.get("text") or {"format": {"type": "text"}},
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools") or [],
        "top_p": asked.get("top_p", 1.0),
        "truncation": "disabled",
    }


def _output(reply: Reply) -> list[Document]:
    tail = reply.response_id.removeprefix("resp_")
    items: list[Document] = []
    if reply.reasoning is not None:
        summary = [{"type": "summary_text", "text": reply.reasoning}]
        items.append({"id": f"rs_{tail}", "type": "reasoning", "summary": summary})
    content: Document | None = None
    if reply.refusal is not None:
        content = {"type": "refusal", "refusal": reply.refusal}
    elif reply.text is not None:
        content = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
    if content is not None:
        status = "incomplete" if reply.finish == "length" else "completed"
        head = {"id": f"msg_{tail}", "type": "message", "role": "assistant", "status": status}
        items.append({**head, "content": [content]})
    for number, call in enumerate(reply.tool_calls):
        items.append(
            {
                "id": f"fc_{tail}_{number}",
                "type": "function_call",
                "status": "completed",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments_text,
            }
        )
    return items


def _completions(request: Request, reply: Callable[[], Reply]) -> Answer:
    said, asked = reply(), request.json
    head = {
        "id": said.response_id,
        "object": "text_completion",
        "created": CREATED,
        "model": said.model,
    }
    finish = "length" if said.finish == "length" else "stop"

    def choice(text: str, finish: str | None) -> Document:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}

    text = said.text or ""
    usage = {
        "prompt_tokens": said.usage.input_tokens,
        "completion_tokens": said.usage.output_tokens,
        "total_tokens": said.usage.total_tokens,
    }
    if not asked.get("stream"):
        return json_answer({**head, "choices": [choice(text, finish)], "usage": usage}, reply=said)
    chunks: list[Document] = [{**head, "choices": [choice(part, None)]} for part in pieces(text)]
    chunks.append({**head, "choices": [choice("", finish)]})
    if (asked.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": usage})
    return stream_answer([*map(event, chunks), DONE], reply=said)


# -- the other families ----------------------------------------------------------------------------


def _embeddings(request: Request, _: Callable[[], Reply]) -> Answer:
    asked = request.json
    given = asked.get("input", "")
    texts = given if isinstance(given, list) and given and not _is_numbers(given) else [given]
    vector = [0.25, -0.5, 0.125]
    packed = base64.b64encode(struct.pack("<3f", *vector)).decode()
    wants_text = asked.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": n, "embedding": packed if wants_text else vector}
        for n in range(len(texts))
    ]
    tokens = embedding_tokens(given)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    model = asked.get("model", "canned-embedding")
    return json_answer({"object": "list", "data": data, "model": model, "usage": usage})


def embedding_tokens(given: Any) -> int:
    """The tokens that an embedding of this input is charged: its numbers, or its words."""
    texts = given if isinstance(given, list) and not _is_numbers(given) else [given]
    return sum(len(one) if isinstance(one, list) else len(str(one).split()) for one in texts)


def _is_numbers(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(one, int) for one in given)


def _models(_: Request, __: Callable[[], Reply]) -> Answer:
    return json_answer({"object": "list", "data": [_model(name) for name in MODELS]})


def _model_one(request: Request, _: Callable[[], Reply]) -> Answer:
    return json_answer(_model(request.path.rpartition("/")[2]))


def _model(name: str) -> Document:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "canned"}


def _file(_: Request, __: Callable[[], Reply]) -> Answer:
    return json_answer(
        {
            "id": "file-canned",
            "object": "file",
            "bytes": 120,
            "created_at": CREATED,
            "filename": "questions.jsonl",
            "purpose": "batch",
            "status": "processed",
        }
    )


def _files(request: Request, reply: Callable[[], Reply]) -> Answer:
    one = json.loads(_file(request, reply).body)
    return json_answer({"object": "list", "data": [one], "has_more": False})


def _content(request: Request, _: Callable[[], Reply]) -> Answer:
    line = json.dumps({"custom_id": "one", "response": {"status_code": 200}})
    return Answer(200, {"content-type": "application/octet-stream"}, line.encode() + b"\n")


def _batch(_: Request, __: Callable[[], Reply]) -> Answer:
    return json_answer(
        {
            "id": "batch_canned",
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": "file-canned",
            "output_file_id": "file-answers",
            "completion_window": "24h",
            "created_at": CREATED,
            "status": "completed",
            "request_counts": {"total": 2, "completed": 2, "failed": 0},
        }
    )


def _batches(request: Request, reply: Callable[[], Reply]) -> Answer:
    one = json.loads(_batch(request, reply).body)
    return json_answer({"object": "list", "data": [one], "has_more": False})


def _images(request: Request, _: Callable[[], Reply]) -> Answer:
    usage = {
        "input_tokens": 14,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 14},
        "output_tokens": 272,
        "total_tokens": 286,
    }
    picture = base64.b64encode(PNG).decode()
    body = {"created": CREATED, "data": [{"b64_json": picture}], "output_format": "png"}
    if not request.json.get("stream"):
        return json_answer({**body, "usage": usage})
    head = {"b64_json": picture, "created_at": CREATED, "output_format": "png", "size": "auto"}
    kind = "image_edit" if request.path.endswith("edits") else "image_generation"
    events: list[Document] = [
        {"type": f"{kind}.partial_image", **head, "partial_image_index": 0},
        {"type": f"{kind}.completed", **head, "usage": usage},
    ]
    return stream_answer([event(one, one["type"]) for one in events])


def _moderations(request: Request, _: Callable[[], Reply]) -> Answer:
    result = {
        "flagged": False,
        "categories": {"violence": False},
        "category_scores": {"violence": 0.01},
        "category_applied_input_types": {"violence": ["text"]},
    }
    return json_answer({"id": "modr-canned", "model": "omni-moderation", "results": [result]})


def _speech(request: Request, _: Callable[[], Reply]) -> Answer:
    if request.json.get("stream_format") == "sse":
        usage = {"input_tokens": 5, "output_tokens": 40, "total_tokens": 45}
        events: list[Document] = [
            {"type": "speech.audio.delta", "audio": base64.b64encode(SOUND).decode()},
            {"type": "speech.audio.done", "usage": usage},
        ]
        return stream_answer([event(one, one["type"]) for one in events])
    return Answer(200, {"content-type": "audio/mpeg"}, SOUND)


def _transcription(request: Request, _: Callable[[], Reply]) -> Answer:
    text = "The price holds above its average."
    usage = {
        "type": "tokens",
        "input_tokens": 30,
        "output_tokens": 7,
        "total_tokens": 37,
        "input_token_details": {"audio_tokens": 30, "text_tokens": 0},
    }
    if re.search(rb'name="stream"\r\n\r\ntrue', request.body):
        events: list[Document] = [
            *({"type": "transcript.text.delta", "delta": part} for part in pieces(text)),
            {"type": "transcript.text.done", "text": text, "usage": usage},
        ]
        return stream_answer([event(one, one["type"]) for one in events])
    return json_answer({"text": text, "usage": usage})


def _generic(request: Request, path: str) -> Answer:
    """An object that the SDK can read as nearly anything: a thing, a page, a finished job."""
    if path.endswith("/content") and "/vector_stores/" not in request.path:
        return Answer(200, {"content-type": "application/octet-stream"}, b"canned bytes")
    document = {
        "id": "canned_1",
        "object": "canned",
        "created_at": CREATED,
        "status": "completed",
        "deleted": request.method == "DELETE",
        "thread_id": "canned_1",
        "file_counts": {"in_progress": 0, "completed": 1, "failed": 0, "cancelled": 0, "total": 1},
        "data": [],
        "has_more": False,
    }
    if "text/event-stream" in request.headers.get("accept", "") or request.json.get("stream"):
        return stream_answer([event({"type": "canned.event", **document}, "canned.event"), DONE])
    return json_answer(document)


_Route = tuple[str, str, "Callable[[Request, Callable[[], Reply]], Answer]"]
_ROUTES: Final[tuple[_Route, ...]] = (
    ("POST", r"/chat/completions", _chat),
    ("POST", r"/responses", _responses),
    ("POST", r"/completions", _completions),
    ("POST", r"/embeddings", _embeddings),
    ("GET", r"/models", _models),
    ("GET", r"/models/[^/]+", _model_one),
    ("POST", r"/files", _file),
    ("GET", r"/files", _files),
    ("GET", r"/files/[^/]+", _file),
    ("GET", r"/files/[^/]+/content", _content),
    ("POST", r"/batches(/[^/]+/cancel)?", _batch),
    ("GET", r"/batches", _batches),
    ("GET", r"/batches/[^/]+", _batch),
    ("POST", r"/images/(generations|edits|variations)", _images),
    ("POST", r"/moderations", _moderations),
    ("POST", r"/audio/speech", _speech),
    ("POST", r"/audio/(transcriptions|translations)", _transcription),
)
