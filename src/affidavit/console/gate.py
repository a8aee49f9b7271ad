"""The outermost layer: hosts, sizes, times, headers of answers, and the log of accesses.

It speaks ASGI directly, so that streams pass through as they are.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

import anyio
from starlette.requests import Request

from affidavit.console.auth import headers
from affidavit.console.config import ServeConfig
from affidavit.console.doors import SAFE

if TYPE_CHECKING:
    from starlette.responses import Response

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Asked for by whoever runs the service, under any name; not in the log of accesses."""

_LOOK_EVERY_S: Final = 0.5
_LONGEST_LENGTH: Final = 20
"""Digits of a length; more are no length that anybody means."""

_FAULT: Final = "This is a fault of the program; please report what you asked for."

_log: Final = logging.getLogger("affidavit.access")
_errors: Final = logging.getLogger("affidavit")


class _TooLargeError(Exception):
    """The body is over the limit."""


class Gate:
    """Stands around the application."""

    def __init__(
        self,
        app: Application,
        serve: ServeConfig,
        closing: Callable[[], bool] = lambda: False,
        fault: Callable[[Request, Exception], Awaitable[Response]] | None = None,
    ) -> None:
        """``closing`` tells whether the service ends: whoever waits for events is let go then.

        ``fault`` answers where the application raises what nobody expects.
        """
        self._app = app
        self._fault = fault
        self._closing = closing
        self._most_bytes = serve.max_body_bytes
        self._longest_s = serve.request_timeout_s
        self._added = headers.of_answers(serve)
        self._hosts = headers.hosts_of(serve)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passing = _Passing(send, self._added, self._most_bytes)
        began_s = time.monotonic()
        try:
            await self._handle(scope, receive, passing)
        finally:
            if scope["path"] not in PROBES:
                # Without the query, which may hold what is looked for, or a secret of the log-in.
                took_ms = 1000 * (time.monotonic() - began_s)
                path = scope["path"].encode("unicode_escape").decode()[:200]
                _log.info("%s %s %s %.0f ms", scope["method"], path, passing.status, took_ms)

    async def _handle(self, scope: Message, receive: Receive, passing: _Passing) -> None:
        given = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refused = self._refused(scope, given)
        if refused is not None:
            await passing.problem(*refused)
            return
        if self._is_too_large(given):
            await passing.too_large()
            return
        bounded = _Bounded(receive, self._most_bytes, self._closing)
        passing.over = lambda: bounded.over
        with anyio.move_on_after(self._longest_s) as limit:
            passing.limit = limit
            try:
                await self._app(scope, bounded, passing)
            except _TooLargeError:
                pass  # said below
            except Exception as error:
                # Its text stays inside: it could hold anything.
                if not passing.status and self._fault is not None:
                    answer = await self._fault(Request(scope), error)
                    await answer(scope, bounded, passing)
                elif not passing.status:
                    await passing.problem(500, "Unexpected error", _FAULT)
                else:
                    _errors.error("affidavit: an answer broke off (%s).", type(error).__name__)
        if self._closing():
            await passing.end()
        if not passing.status and bounded.over:
            await passing.too_large()
        elif not passing.status and limit.cancelled_caught:
            await passing.problem(
                503,
                "Too slow",
                f"There was no answer within {self._longest_s:g} s. Ask for a shorter range of "
                "time, or try again later.",
            )

    def _refused(self, scope: Message, given: dict[str, str]) -> tuple[int, str, str] | None:
        path = scope["path"]
        if (
            self._hosts is not None
            and path not in PROBES
            and headers.host_in(given.get("host", "")) not in self._hosts
        ):
            detail = (
                "This service does not go by the name that the request was for. Use the address "
                "that it prints at its start, or give --public-url."
            )
            return 421, "Another host", detail
        if (
            scope["method"] not in SAFE
            and "authorization" not in given
            and headers.is_forged(given)
        ):
            return (
                403,
                "From another site",
                "A page of another site sent this. Open the console itself and do it there.",
            )
        return None

    def _is_too_large(self, given: dict[str, str]) -> bool:
        length = given.get("content-length", "0")
        plain = length.isascii() and length.isdigit() and len(length) <= _LONGEST_LENGTH
        return not plain or int(length) > self._most_bytes


class _Bounded:
    """Receives a body up to a limit; after it, nothing but the end."""

    def __init__(self, receive: Receive, most_bytes: int, closing: Callable[[], bool]) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._closing = closing
        self._seen = 0
        self._whole = False
        self.over = False

    async def __call__(self) -> Message:
        while self._whole:  # a stream of events waits here for its reader to go
            with anyio.move_on_after(_LOOK_EVERY_S):
                return await self._receive()
            if self._closing():
                return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
            self._seen += len(message.get("body", b""))
            if self._seen > self._most_bytes:
                self.over = True
                raise _TooLargeError
        return message


class _Passing:
    """Sends an answer on, with the headers that all have."""

    def __init__(self, send: Send, added: list[tuple[bytes, bytes]], most_bytes: int) -> None:
        self._send = send
        self._most_bytes = most_bytes
        self._added = added
        self.status = 0
        """0: nothing was answered yet."""
        self.limit: anyio.CancelScope | None = None
        self.over: Callable[[], bool] = lambda: False
        self._swallowing = False
        self._whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self.over() and not self.status:
                # Whatever the application made of a body that broke off: this is what happened.
                self._swallowing = True
                await self.too_large()
                return
            self.status = message["status"]
            if self.limit is not None:
                self.limit.deadline = math.inf  # what streams may go on
            held = [(name.lower(), value) for name, value in message.get("headers", [])]
            known = {name for name, _ in held}
            more = [(name, value) for name, value in self._added if name not in known]
            if b"cache-control" not in known:
                more.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*held, *more]}
        elif not message.get("more_body", False):
            self._whole = True
        if not self._swallowing:
            await self._send(message)

    async def end(self) -> None:
        """End a stream of events that was let go."""
        if self.status and not self._whole:
            await self({"type": "http.response.body", "body": b""})

    async def too_large(self) -> None:
        """Answer that the body was."""
        swallowing, self._swallowing = self._swallowing, False
        self.over = lambda: False
        detail = f"A request may have {self._most_bytes} bytes. Send less at a time."
        await self.problem(413, "Too large", detail, limit_bytes=self._most_bytes)
        self._swallowing = swallowing

    async def problem(self, status: int, title: str, detail: str, **more: int) -> None:
        """Answer with problem+json."""
        kind = "urn:affidavit:problem:" + title.lower().replace(" ", "-")
        document = {"type": kind, "title": title, "status": status, "detail": detail, **more}
        body = json.dumps(document).encode()
        sent = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if status == 503:  # noqa: PLR2004 - service unavailable
            sent.append((b"retry-after", b"5"))
        await self({"type": "http.response.start", "status": status, "headers": sent})
        await self({"type": "http.response.body", "body": body})
