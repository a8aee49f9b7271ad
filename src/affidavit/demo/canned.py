"""A loopback endpoint that speaks OpenAI's and Anthropic's chat, with known usage and faults.

It listens on 127.0.0.1 only and needs nothing but the standard library. What it answers is in
``usage.py``, the words of both providers in ``wire.py``. A fault is asked for by a model name
``fault-<name>`` or the header ``x-canned-fault: <name>``:

``rate-limit``
    429 with ``retry-after`` and the provider's headers about the limit.
``error``
    500, as from an overloaded provider.
``hang``
    Takes the request and never answers.
``drop``
    Closes the connection in the middle of the answer, streamed or not.

The header ``x-canned-latency-ms`` replaces the endpoint's own latency for one request.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from affidavit.demo.usage import (
    conversation,
    expected_answer,
    expected_finish_reason,
    expected_usage,
)
from affidavit.demo.wire import (
    CREATED,
    DONE,
    Reply,
    chat_chunks,
    chat_completion,
    event,
    message,
    message_events,
)

if TYPE_CHECKING:
    from types import TracebackType

MODELS = ("canned-large", "canned-small", "canned-reasoning")
"""The models it lists; every other name that is no fault is answered alike."""

_MAX_BODY_BYTES = 64 * 1024 * 1024
_CHAT, _MESSAGES = "/v1/chat/completions", "/v1/messages"
_RATE_LIMITED = {
    _CHAT: {
        "retry-after": "1",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    },
    _MESSAGES: {
        "retry-after": "1",
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:01:00Z",
    },
}


class CannedEndpoint:
    """The endpoint, served from threads of this process. Make it with :meth:`start`.

    Attributes:
        base_url: what OpenAI's SDK wants, with ``/v1``.
        anthropic_url: what Anthropic's SDK wants, without it.
        answered: number of requests by the HTTP status they got; ``hang`` and ``drop`` by name.
    """

    def __init__(self, latency_ms: float, port: int) -> None:
        """Use :meth:`start` instead."""
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.latency_s = latency_ms / 1000
        self.answered = self._server.answered
        self.anthropic_url = f"http://127.0.0.1:{self._server.server_port}"
        self.base_url = f"{self.anthropic_url}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="canned-endpoint",
            daemon=True,
        )

    @classmethod
    def start(cls, *, latency_ms: float = 50.0, port: int = 0) -> CannedEndpoint:
        """Start it; ``port`` 0 takes a free one.

        Raises:
            OSError: the port cannot be used.
        """
        self = cls(latency_ms, port)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, and let go of hanging requests."""
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        """The running endpoint."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()


class _Server(ThreadingHTTPServer):
    """The server's state, shared by its handlers' threads."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256  # many callers at once; the default of 5 would refuse some
    latency_s = 0.0

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.closing = threading.Event()
        self.answered: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        with self._lock:
            self.answered[what] += 1

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that went away is no event here; nothing is printed."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """No access log: the demo has its own report."""

    def do_GET(self) -> None:
        """List the models."""
        if self.path.rstrip("/") != "/v1/models":
            self._problem(404, "not_found", f"no such path: {self.path}")
            return
        models = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "canned"}
            for name in MODELS
        ]
        self._json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        """Answer a chat completion, or a message of Anthropic's."""
        request = self._read()
        if request is None:
            return
        model = str(request.get("model", MODELS[0]))
        fault = self.headers.get("x-canned-fault") or ""
        if model.startswith("fault-"):
            fault = model.removeprefix("fault-")
        asked = self.headers.get("x-canned-latency-ms")
        latency_s = self.server.latency_s if asked is None else float(asked) / 1000
        if fault == "hang":
            self._hang()
        elif fault == "rate-limit":
            time.sleep(latency_s)
            self._rate_limit()
        elif fault == "error":
            time.sleep(latency_s)
            self._problem(500, "server_error", "the canned provider is overloaded on purpose")
        elif fault in {"", "drop"}:
            self._answer(request, model, latency_s, drop=fault == "drop")
        else:
            self._problem(400, "unknown_fault", f"no such fault: {fault}")

    # -- the answers ------------------------------------------------------------------------

    def _answer(self, request: dict[str, Any], model: str, latency_s: float, *, drop: bool) -> None:
        said = self._reply(request, model)
        if not request.get("stream"):
            time.sleep(latency_s)
            self._json(200, message(said) if self._is_message else chat_completion(said), drop=drop)
            return
        if self._is_message:
            events = [event(one, one["type"]) for one in message_events(said)]
        else:
            wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
            events = [*map(event, chat_chunks(said, with_usage=wants_usage)), DONE]
        self._stream(events, latency_s, drop=drop)

    def _reply(self, request: dict[str, Any], model: str) -> Reply:
        turns = conversation(request)
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        prefix = "msg_" if self._is_message else "chatcmpl-"
        cut = expected_finish_reason(turns, max_tokens=limit) == "length"
        return Reply(
            response_id=f"{prefix}{self.server.answered.total()}",
            model=model,
            usage=expected_usage(turns, model=model, max_tokens=limit),
            text=expected_answer(turns, max_tokens=limit),
            finish="length" if cut else "stop",
        )

    def _stream(self, events: list[bytes], latency_s: float, *, drop: bool) -> None:
        pause_s = latency_s / (len(events) + 1)
        time.sleep(pause_s)
        self.send_response(200)
        self._name_request()
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number, one in enumerate(events):
            if drop and number >= max(1, len(events) // 2):
                self._cut("drop")
                return
            self._chunk(one)
            time.sleep(pause_s)
        self._chunk(b"")
        self.server.count("200")

    def _rate_limit(self) -> None:
        text = "rate limit reached on purpose; try again in 1 s"
        headers = _RATE_LIMITED[_MESSAGES if self._is_message else _CHAT]
        self._problem(429, "rate_limit_exceeded", text, headers)

    def _hang(self) -> None:
        """Hold the connection without a word until the caller or the endpoint gives up."""
        self.server.count("hang")
        self.close_connection = True
        while not self.server.closing.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.1)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return

    # -- the wire ---------------------------------------------------------------------------

    def _read(self) -> dict[str, Any] | None:
        """The request's JSON, or None when a problem was answered."""
        length = int(self.headers.get("content-length") or 0)
        if length > _MAX_BODY_BYTES:
            self.close_connection = True
            self._problem(413, "too_large", "the request is over 64 MiB")
            return None
        body = self.rfile.read(length)
        if self.path.rstrip("/") not in _RATE_LIMITED:
            self._problem(404, "not_found", f"no such path: {self.path}")
            return None
        try:
            request = json.loads(body)
            messages = request["messages"]
            if not messages or not all(isinstance(message, dict) for message in messages):
                raise ValueError  # noqa: TRY301 - one place answers every malformed request
        except (ValueError, KeyError, TypeError):
            self._problem(400, "invalid_request_error", "a JSON object with messages is wanted")
            return None
        return dict(request)

    def _problem(
        self, status: int, code: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        error: dict[str, Any] = {"message": text, "type": code}
        if self._is_message:
            self._json(status, {"type": "error", "error": error}, headers=headers)
        else:
            error |= {"param": None, "code": code}
            self._json(status, {"error": error}, headers=headers)

    def _json(
        self,
        status: int,
        document: dict[str, Any],
        *,
        headers: dict[str, str] | None = None,
        drop: bool = False,
    ) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self._name_request()
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if drop:
            self.wfile.write(body[: len(body) // 2])
            self._cut("drop")
            return
        self.wfile.write(body)
        self.server.count(str(status))

    @property
    def _is_message(self) -> bool:
        """Whether Anthropic's dialect is spoken."""
        return self.path.startswith(_MESSAGES)

    def _name_request(self) -> None:
        """Send the request's id, in the header that the dialect has for it."""
        name = "request-id" if self._is_message else "x-request-id"
        self.send_header(name, f"req_canned{self.server.answered.total():06d}")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _cut(self, what: str) -> None:
        """End the connection in order: what was sent before does arrive, and no more comes."""
        self.server.count(what)
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
