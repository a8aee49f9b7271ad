"""From the bytes of a streamed answer to its events: server-sent events, AWS's own. Pure."""

from __future__ import annotations

import json
import struct
from binascii import a2b_base64
from collections.abc import Iterator
from typing import Any, Final, Protocol, TypeAlias

import msgspec

Event: TypeAlias = tuple[str | None, Any]
"""The event's name, and its JSON; ``DONE`` for the mark that ends a stream."""

DONE: Final = object()
"""OpenAI's ``data: [DONE]``."""

MAX_EVENT: Final = 64 * 1024**2
"""Bytes of one unfinished event; what is longer is no stream of events, and is not read."""


def decode(data: bytes | str) -> Any:
    """Read JSON as the SDKs do, who take more than the standard: NaN, lone surrogates, a BOM.

    Raises ValueError or RecursionError for what they do not take, either.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        if isinstance(data, bytes):
            data = data.decode("utf-8-sig", "surrogatepass")
        return json.loads(data)


class Reader(Protocol):
    """Takes bytes as they come, and gives the events that are whole."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next bytes."""


class ServerSentEvents:
    """The ``text/event-stream`` format. What is no JSON is skipped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next bytes."""
        data = self._rest + data if self._rest else data
        if b"\r" in data:
            # A CR at the very end may be the first half of a CRLF.
            held = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held = b""
        *whole, rest = data.split(b"\n\n")
        self._rest = rest + held if len(rest) <= MAX_EVENT else b""
        for block in whole:
            event = _sse_event(block)
            if event is not None:
                yield event


def _sse_event(block: bytes) -> Event | None:
    name, data = None, b""
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            part = line[6:] if line[5:6] == b" " else line[5:]
            data = data + b"\n" + part if data else part
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
    if not data:
        return None
    if data.startswith(b"[DONE]"):
        return name, DONE
    try:
        return name, decode(data)
    except (ValueError, RecursionError):
        return None


class AwsEventStream:
    """The ``application/vnd.amazon.eventstream`` format, as Bedrock packs a model's events into it.

    A frame is two lengths and a checksum, headers, payload, checksum. The SDK checks the sums.
    """

    _PRELUDE: Final = 12
    _SUM: Final = 4

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take the next bytes."""
        rest = self._rest + data
        while len(rest) >= self._PRELUDE:
            size, headers = struct.unpack_from(">II", rest)
            if size < self._PRELUDE + self._SUM or size > MAX_EVENT:
                rest = b""  # not this format: nothing that follows can be trusted
                break
            if len(rest) < size:
                break
            payload = rest[self._PRELUDE + headers : size - self._SUM]
            rest = rest[size:]
            event = _aws_event(payload)
            if event is not None:
                yield event
        self._rest = rest


def _aws_event(payload: bytes) -> Event | None:
    try:
        body = decode(payload)
        packed = body.get("bytes") if isinstance(body, dict) else None
        if isinstance(packed, str):
            return None, decode(a2b_base64(packed))
        return None, body
    except (ValueError, RecursionError):
        return None
