"""Anthropic's wire format, and those of Bedrock and Vertex AI in front of the same models."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from typing import TYPE_CHECKING, Final

from affidavit.demo.wire import Document, Reply, event, message, message_events, pieces
from tests.support.provider_http import Answer, Request, json_answer, stream_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODELS: Final = ("canned-opus", "canned-haiku")
_CREATED: Final = "2025-06-15T15:06:40Z"

FAULTS: Final = {
    "rate-limit": (429, "rate_limit_error", "Rate limit reached on purpose."),
    "quota": (429, "rate_limit_error", "The quota is used up on purpose."),
    "error": (500, "api_error", "The canned provider fails on purpose."),
    "overloaded": (529, "overloaded_error", "Overloaded on purpose."),
    "unauthorized": (401, "authentication_error", "invalid x-api-key"),
    "forbidden": (403, "permission_error", "Not allowed on purpose."),
    "not-found": (404, "not_found_error", "There is no such model."),
    "bad-request": (400, "invalid_request_error", "prompt is too long"),
    "content-filter": (400, "invalid_request_error", "Output blocked by content filtering policy"),
}
"""By name: HTTP status, type and text of the error."""


def headers(request_id: str) -> dict[str, str]:
    """What every answer carries."""
    limits = {
        f"anthropic-ratelimit-{what}-{name}": value
        for what, limit in (("requests", 50), ("input-tokens", 40_000), ("output-tokens", 8_000))
        for name, value in (
            ("limit", str(limit)),
            ("remaining", str(limit - 1)),
            ("reset", "2026-01-01T00:01:00Z"),
        )
    }
    return {"request-id": request_id, "anthropic-organization-id": "org-canned", **limits}


RATE_LIMITED: Final = {"anthropic-ratelimit-requests-remaining": "0"}
"""What is different in the headers of a 429."""


def problem(kind: str) -> Answer:
    """The error answer of this name in :data:`FAULTS`."""
    status, type_, text = FAULTS[kind]
    error = {"type": type_, "message": text}
    body = {"type": "error", "error": error, "request_id": "req_canned"}
    return json_answer(body, status=status)


def broken_off() -> bytes:
    """The event that tells of an error in mid-stream."""
    error = {"type": "overloaded_error", "message": "Overloaded"}
    return event({"type": "error", "error": error}, "error")


def answer(request: Request, reply: Callable[[], Reply]) -> Answer:
    """The answer to a request; ``reply`` says what the model says, where one is asked."""
    path = request.path.rstrip("/")
    for method, pattern, handle in _ROUTES:
        if request.method == method and re.fullmatch(pattern, path):
            return handle(request, reply)
    return _generic(request)


def _messages(request: Request, reply: Callable[[], Reply]) -> Answer:
    said = reply()
    if not request.json.get("stream"):
        return json_answer(message(said), reply=said)
    return _stream(said)


def _stream(said: Reply) -> Answer:
    return stream_answer([event(one, one["type"]) for one in message_events(said)], reply=said)


def _vertex(request: Request, reply: Callable[[], Reply]) -> Answer:
    said = reply()
    if request.path.endswith(":streamRawPredict"):
        return _stream(said)
    return json_answer(message(said), reply=said)


def _bedrock(request: Request, reply: Callable[[], Reply]) -> Answer:
    said = reply()
    if not request.path.endswith("-with-response-stream"):
        return json_answer(message(said), reply=said)
    frames = [_frame(one) for one in message_events(said)]
    kind = {"content-type": "application/vnd.amazon.eventstream"}
    return Answer(200, kind, events=frames, reply=said)


def _frame(one: Mapping[str, object]) -> bytes:
    """An event as AWS frames it: lengths and headers before, checksums around."""
    packed = base64.b64encode(json.dumps(one).encode()).decode()
    payload = json.dumps({"bytes": packed}).encode()
    head = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
        for name, value in (
            (b":event-type", b"chunk"),
            (b":content-type", b"application/json"),
            (b":message-type", b"event"),
        )
    )
    prelude = struct.pack(">II", len(head) + len(payload) + 16, len(head))
    frame = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return frame + struct.pack(">I", zlib.crc32(frame))


def _count(_: Request, reply: Callable[[], Reply]) -> Answer:
    return json_answer({"input_tokens": reply().usage.input_tokens})


def _complete(request: Request, reply: Callable[[], Reply]) -> Answer:
    said = reply()
    stop = "max_tokens" if said.finish == "length" else "stop_sequence"
    head = {"type": "completion", "id": said.response_id, "model": said.model}
    if not request.json.get("stream"):
        body = {**head, "completion": said.text or "", "stop_reason": stop, "stop": None}
        return json_answer(body, reply=said)
    events: list[Document] = [
        {**head, "completion": part, "stop_reason": None} for part in pieces(said.text or "")
    ]
    events.append({**head, "completion": "", "stop_reason": stop})
    return stream_answer([event(one, "completion") for one in events], reply=said)


_BATCH: Final[Document] = {
    "id": "msgbatch_canned",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {
        "processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0,
    },
    "created_at": _CREATED,
    "ended_at": _CREATED,
    "expires_at": _CREATED,
}  # fmt: skip


def _batch(request: Request, _: Callable[[], Reply]) -> Answer:
    host = request.headers.get("host", "127.0.0.1")
    path = request.path.rstrip("/").removesuffix("/cancel")
    if path.endswith("/batches"):
        path += "/msgbatch_canned"
    return json_answer({**_BATCH, "results_url": f"http://{host}{path}/results"})


def _batches(_: Request, __: Callable[[], Reply]) -> Answer:
    return json_answer(_page([_BATCH]))


def _results(_: Request, reply: Callable[[], Reply]) -> Answer:
    lines = [
        json.dumps(
            {"custom_id": name, "result": {"type": "succeeded", "message": message(reply())}}
        )
        for name in ("one", "two")
    ]
    body = "\n".join([*lines, ""]).encode()
    return Answer(200, {"content-type": "application/x-jsonl"}, body)


def _deleted(request: Request, _: Callable[[], Reply]) -> Answer:
    name = request.path.rstrip("/").rpartition("/")[2]
    kind = "message_batch_deleted" if name.startswith("msgbatch") else "file_deleted"
    return json_answer({"id": name, "type": kind})


def _models(_: Request, __: Callable[[], Reply]) -> Answer:
    return json_answer(_page([_model(name) for name in MODELS]))


def _model_one(request: Request, _: Callable[[], Reply]) -> Answer:
    return json_answer(_model(request.path.rpartition("/")[2]))


def _model(name: str) -> Document:
    return {"type": "model", "id": name, "display_name": name.title(), "created_at": _CREATED}


_FILE: Final[Document] = {
    "id": "file_canned",
    "type": "file",
    "filename": "report.pdf",
    "mime_type": "application/pdf",
    "size_bytes": 120,
    "created_at": _CREATED,
    "downloadable": True,
}


def _file(_: Request, __: Callable[[], Reply]) -> Answer:
    return json_answer(_FILE)


def _files(_: Request, __: Callable[[], Reply]) -> Answer:
    return json_answer(_page([_FILE]))


def _content(_: Request, __: Callable[[], Reply]) -> Answer:
    return Answer(200, {"content-type": "application/octet-stream"}, b"canned bytes")


def _no_work(_: Request, __: Callable[[], Reply]) -> Answer:
    return json_answer(None)


def _page(items: list[Document]) -> Document:
    ids = [item["id"] for item in items]
    return {"data": items, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}


def _generic(request: Request) -> Answer:
    """An object that the SDK can read as nearly anything."""
    if request.path.endswith("/content"):
        return Answer(200, {"content-type": "application/octet-stream"}, b"canned bytes")
    document = {
        "id": "canned_1",
        "type": "canned",
        "created_at": _CREATED,
        "status": "completed",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
        "next_page": None,
    }
    if "text/event-stream" in request.headers.get("accept", "") or request.json.get("stream"):
        return stream_answer([event({**document, "type": "canned.event"}, "canned.event")])
    return json_answer(document)


_Route = tuple[str, str, "Callable[[Request, Callable[[], Reply]], Answer]"]
_ROUTES: Final[tuple[_Route, ...]] = (
    ("POST", r"/v1/messages", _messages),
    ("POST", r"/v1/messages/count_tokens", _count),
    ("POST", r"/v1/messages/batches(/[^/]+/cancel)?", _batch),
    ("GET", r"/v1/messages/batches", _batches),
    ("GET", r"/v1/messages/batches/[^/]+", _batch),
    ("GET", r"/v1/messages/batches/[^/]+/results", _results),
    ("DELETE", r"/v1/messages/batches/[^/]+", _deleted),
    ("POST", r"/v1/complete", _complete),
    ("GET", r"/v1/models", _models),
    ("GET", r"/v1/models/[^/]+", _model_one),
    ("POST", r"/v1/files", _file),
    ("GET", r"/v1/files", _files),
    ("GET", r"/v1/files/[^/]+", _file),
    ("GET", r"/v1/files/[^/]+/content", _content),
    ("DELETE", r"/v1/files/[^/]+", _deleted),
    ("GET", r"/v1/environments/[^/]+/work/poll", _no_work),
    ("POST", r"/model/[^/]+/invoke(-with-response-stream)?", _bedrock),
    ("POST", r".*/publishers/anthropic/models/count-tokens:rawPredict", _count),
    ("POST", r".*/publishers/anthropic/models/[^/]+:(streamR|r)awPredict", _vertex),
)
