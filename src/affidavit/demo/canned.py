"""A loopback endpoint that speaks OpenAI's chat API, with known usage and faults on demand.

It listens on 127.0.0.1 only and needs nothing but the standard library. What it answers is in
``usage.py``. A fault is asked for by a model name ``fault-<name>`` or the header
``x-canned-fault: <name>``:

``rate-limit``
    429 with ``retry-after`` and the ``x-ratelimit-*`` headers.
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

from affidavit.demo.usage import expected_answer, expected_finish_reason, expected_usage

if TYPE_CHECKING:
    from types import TracebackType

MODELS = ("canned-large", "canned-small", "canned-reasoning")
"""The models it lists; every other name that is no fault is answered alike."""

_MAX_BODY_BYTES = 64 * 1024 * 1024
_WORDS_PER_CHUNK = 4
_CREATED = 1_750_000_000  # a fixed time: an answer depends on its request alone


class CannedEndpoint:
    """The endpoint, served from threads of this process. Make it with :meth:`start`.

    Attributes:
        base_url: what an SDK wants, with ``/v1``.
        answered: number of requests by the HTTP status they got; ``hang`` and ``drop`` by name.
    """

    def __init__(self, latency_ms: float, port: int) -> None:
        """Use :meth:`start` instead."""
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.latency_s = latency_ms / 1000
        self.answered = self._server.answered
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
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
            {"id": name, "object": "model", "created": _CREATED, "owned_by": "canned"}
            for name in MODELS
        ]
        self._json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        """Answer a chat completion."""
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
        messages = request["messages"]
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        text = expected_answer(messages, max_tokens=limit)
        finish = expected_finish_reason(messages, max_tokens=limit)
        usage = expected_usage(messages, model=model, max_tokens=limit).as_openai()
        head = {"id": f"chatcmpl-{self.server.answered.total()}", "created": _CREATED}
        head["model"] = model
        if request.get("stream"):
            wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
            self._stream(head, text, finish, usage if wants_usage else None, latency_s, drop=drop)
            return
        time.sleep(latency_s)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        body = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        self._json(200, body, drop=drop)

    def _stream(
        self,
        head: dict[str, Any],
        text: str,
        finish: str,
        usage: dict[str, Any] | None,
        latency_s: float,
        *,
        drop: bool,
    ) -> None:
        words = text.split()
        parts = [
            " ".join(words[at : at + _WORDS_PER_CHUNK]) + " "
            for at in range(0, len(words), _WORDS_PER_CHUNK)
        ]
        parts[-1] = parts[-1].rstrip()
        pause_s = latency_s / (len(parts) + 1)
        time.sleep(pause_s)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        head = {**head, "object": "chat.completion.chunk"}
        for number, part in enumerate(parts):
            if drop and number >= max(1, len(parts) // 2):
                self._cut("drop")
                return
            delta = {"role": "assistant", "content": part} if number == 0 else {"content": part}
            self._event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            time.sleep(pause_s)
        self._event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if usage is not None:
            self._event({**head, "choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")
        self.server.count("200")

    def _rate_limit(self) -> None:
        headers = {
            "retry-after": "1",
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "1s",
        }
        text = "rate limit reached on purpose; try again in 1 s"
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
        if self.path.rstrip("/") != "/v1/chat/completions":
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
        error = {"message": text, "type": code, "param": None, "code": code}
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

    def _event(self, document: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(document).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _cut(self, what: str) -> None:
        """End the connection in order: what was sent before does arrive, and no more comes."""
        self.server.count(what)
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
