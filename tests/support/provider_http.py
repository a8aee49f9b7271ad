"""A small HTTP/1.1 server on loopback that can do what a good server never does.

It answers, streams piece by piece, hangs, and closes a connection in the middle of a sentence.
It runs on an event loop in a thread of its own, so that synchronous tests can use it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from affidavit.demo.wire import Reply

_LONGEST_HEAD: Final = 256 * 1024
_REASONS: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 429: "Too Many Requests"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came. Names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class Answer:
    """What is sent back.

    Attributes:
        events: the pieces of a stream; with any, ``body`` is not sent.
        pause_s: before each piece.
        wait_s: before anything is sent.
        cut_after: end the connection after so many pieces (of a body: after half of it).
        hang_after: say nothing more after so many pieces; 0 is before the first byte.
        reply: what was said, where a model said something.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: list[bytes] | None = None
    pause_s: float = 0.0
    wait_s: float = 0.0
    cut_after: int | None = None
    hang_after: int | None = None
    reply: Reply | None = None


def json_answer(document: object, *, reply: Reply | None = None, status: int = 200) -> Answer:
    """An answer of JSON."""
    body = json.dumps(document).encode()
    return Answer(status, {"content-type": "application/json"}, body, reply=reply)


def stream_answer(events: list[bytes], *, reply: Reply | None = None) -> Answer:
    """An answer of server-sent events."""
    return Answer(200, {"content-type": "text/event-stream"}, events=events, reply=reply)


Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]


class Server:
    """The server: one loop in one thread, and any number of ports, each with its handler."""

    def __init__(self) -> None:
        """Start the thread; nothing listens before :meth:`listen`."""
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="canned-provider", daemon=True
        )
        self._thread.start()

    def listen(self, handler: Handler) -> int:
        """Serve on a free loopback port, and return the port."""

        async def start() -> asyncio.Server:
            return await asyncio.start_server(
                lambda reader, writer: self._connected(handler, reader, writer),
                "127.0.0.1",
                0,
                limit=_LONGEST_HEAD,
                backlog=1024,
            )

        server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Close every port and connection, and end the thread."""

        async def end() -> None:
            for server in self._servers:
                server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _connected(
        self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await _read(reader)) is not None:
                if not await _write(await handler(request), request, reader, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller went away, or the server stops
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None when there is none."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length") or 0))
    url = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    return Request(method, unquote(url.path), query, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    whole = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        whole += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return whole


async def _write(
    answer: Answer, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Send an answer; whether the connection can be used again."""
    if answer.wait_s:
        await asyncio.sleep(answer.wait_s)
    if answer.hang_after == 0:
        await _hang(reader)
        return False
    if answer.cut_after == 0:
        return False
    streamed = answer.events is not None
    framing = (
        {"transfer-encoding": "chunked"} if streamed else {"content-length": str(len(answer.body))}
    )
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in {**answer.headers, **framing}.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if not streamed:
        cut = answer.cut_after is not None
        if request.method != "HEAD":
            writer.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        await writer.drain()
        return not cut
    for number, piece in enumerate(answer.events or ()):
        if number == answer.hang_after:
            await _hang(reader)
            return False
        if number == answer.cut_after:
            return False
        if answer.pause_s:
            await asyncio.sleep(answer.pause_s)
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _hang(reader: asyncio.StreamReader) -> None:
    """Say nothing until the caller gives up or the server stops."""
    while await reader.read(1024):
        pass
