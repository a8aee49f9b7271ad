"""Bodies of requests: read to a limit, and unpacked to the same limit."""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from affidavit.console.api.problems import Problem, bad_request, busy, too_large

if TYPE_CHECKING:
    from fastapi import Request

AT_ONCE: Final = 16
"""Bodies of the greatest size that may be in memory at a time; beyond it clients are told to wait.
"""

PIECE: Final = 256 * 1024
"""Bytes unpacked in one go."""

MOST_PARTS: Final = 1000
"""Members or frames that one body may have: empty ones cost time and give nothing."""

_DIGITS: Final = 18
_ENCODINGS: Final = ("gzip", "zstd")
_WINDOW_LOG: Final = 23
"""A frame of zstd may ask for 8 MiB of history, as the format recommends for readers."""


class Unpacker(Protocol):
    """Undoes a compression piece by piece; each piece is bounded."""

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""

    def piece(self) -> bytes:
        """Give at most :data:`PIECE` bytes more; nothing where more must arrive first."""

    @property
    def ended(self) -> bool:
        """Whether it is whole."""


class Bodies:
    """Reads bodies, and keeps count of the memory that they take together. For one event loop."""

    def __init__(self, limit_bytes: int) -> None:
        """``limit_bytes`` holds for each body, as it comes and as it is unpacked."""
        self.limit_bytes = limit_bytes
        self._under_way = 0

    async def read(self, request: Request) -> bytes:
        """Read a whole body. Raises Problem: too large, not well packed, or too many at a time."""
        told = request.headers.get("content-length")
        counted = told is not None and told.isdecimal() and len(told) <= _DIGITS
        if counted and int(told or 0) > self.limit_bytes:
            raise self._too_large()
        unpacker = unpacker_for(request.headers.get("content-encoding", "").strip().lower())
        body = bytearray()
        try:
            async for piece in _pieces(request, unpacker, self.limit_bytes):
                body += piece
                self._under_way += len(piece)
                if len(body) > self.limit_bytes:
                    raise self._too_large()
                if self._under_way > AT_ONCE * self.limit_bytes:
                    raise busy("Too many large requests are under way at the same time.", 1)
        finally:
            self._under_way -= len(body)
        return bytes(body)

    def _too_large(self) -> Problem:
        return too_large("The body, as sent or unpacked,", self.limit_bytes)


async def _pieces(
    request: Request, unpacker: Unpacker | None, limit_bytes: int
) -> AsyncIterator[bytes]:
    """Give a body as it is unpacked, piece by piece: a bomb is noticed before it is large."""
    arrived = 0
    async for chunk in request.stream():
        arrived += len(chunk)
        if arrived > limit_bytes:
            raise too_large("The body as sent", limit_bytes)
        if unpacker is None:
            yield chunk
            continue
        try:
            unpacker.feed(chunk)
            while piece := unpacker.piece():
                yield piece
        except _broken() as error:
            raise _not_packed() from error
    if unpacker is not None and not unpacker.ended:
        raise _not_packed()


def _not_packed() -> Problem:
    return bad_request("The body is not compressed as the header Content-Encoding says.")


def unpacker_for(encoding: str) -> Unpacker | None:
    """Choose by the header; None where nothing is packed. Raises Problem for an unknown one."""
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip"}:
        return Gzip()
    if encoding == "zstd" and _zstd() is not None:
        return Zstd()
    known = ", ".join(name for name in _ENCODINGS if name != "zstd" or _zstd() is not None)
    raise Problem(
        415,
        "Encoding not known",
        f"Bodies may be sent as they are, or compressed by one of: {known}.",
        {"Accept-Encoding": known},
    )


class Gzip:
    """gzip, also of several members."""

    def __init__(self) -> None:
        self._inner = _member()
        self._left = b""
        self._parts = 0
        self._began = False

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._left += data

    def piece(self) -> bytes:
        """Give at most :data:`PIECE` bytes more."""
        while self._left:
            if self._inner.eof:
                self._parts = _one_more(self._parts)
                self._inner = _member()
            self._began = True
            given: bytes = self._inner.decompress(self._left, PIECE)
            self._left = self._inner.unused_data or self._inner.unconsumed_tail
            if given:
                return given
        return b""

    @property
    def ended(self) -> bool:
        """Whether the last member is whole."""
        return self._began and self._inner.eof


def _member() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


class Zstd:
    """zstd, also of several frames."""

    def __init__(self) -> None:
        self._module = _zstd()
        self._left = b""
        self._inner = self._frame()
        self._parts = 0
        self._began = False

    def _frame(self) -> Any:
        parameter = self._module.DecompressionParameter.window_log_max
        return self._module.ZstdDecompressor(options={parameter: _WINDOW_LOG})

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._left += data

    def piece(self) -> bytes:
        """Give at most :data:`PIECE` bytes more."""
        while True:
            if self._inner.eof:
                if not self._left:
                    return b""
                self._parts = _one_more(self._parts)
                self._inner = self._frame()
            if not self._left and self._inner.needs_input:
                return b""
            given: bytes = self._inner.decompress(self._left, PIECE)
            self._began = True
            self._left = self._inner.unused_data if self._inner.eof else b""
            if given:
                return given

    @property
    def ended(self) -> bool:
        """Whether the last frame is whole."""
        return self._began and bool(self._inner.eof)


def _one_more(parts: int) -> int:
    if parts >= MOST_PARTS:
        msg = f"The body is compressed in more than {MOST_PARTS} parts. Compress it in one."
        raise bad_request(msg)
    return parts + 1


def _zstd() -> Any:
    """Give the module; None where it is not installed."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        return None
    return zstd


def _broken() -> tuple[type[Exception], ...]:
    module = _zstd()
    return (zlib.error, EOFError) if module is None else (zlib.error, EOFError, module.ZstdError)
