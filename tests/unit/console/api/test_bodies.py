"""Reading bodies: limits, compression, and what pretends to be small."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest
from backports import zstd
from starlette.requests import Request

from affidavit.console.api.bodies import MOST_PARTS, Bodies
from affidavit.console.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Message

pytestmark = pytest.mark.requirement("R2", "R31")

LIMIT = 1024 * 1024


def request_of(
    body: bytes, encoding: str = "", pieces: int = 3, length: str | None = None
) -> Request:
    """A request whose body arrives in pieces."""
    size = max(1, -(-len(body) // pieces))
    parts: Sequence[bytes] = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    waiting = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]

    async def receive() -> Message:
        return waiting.pop(0)

    headers = [(b"content-encoding", encoding.encode())] if encoding else []
    if length is not None:
        headers.append((b"content-length", length.encode()))
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def read(body: bytes, encoding: str = "", length: str | None = None) -> bytes:
    """Read it with the limit of these tests."""
    return await Bodies(LIMIT).read(request_of(body, encoding, length=length))


async def refused(body: bytes, encoding: str = "", length: str | None = None) -> Problem:
    """The problem that a body is."""
    with pytest.raises(Problem) as caught:
        await read(body, encoding, length)
    return caught.value


TEXT = b'{"type":"call"}' * 5000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]), "gzip"),
        (zstd.compress(TEXT), "zstd"),
        (zstd.compress(TEXT[:100]) + zstd.compress(TEXT[100:]), "zstd"),
    ],
)
async def test_a_body_is_what_was_packed(body: bytes, encoding: str) -> None:
    """Plain, gzip and zstd, also of several parts."""
    assert await read(body, encoding) == TEXT


@pytest.mark.parametrize("size", [2 * LIMIT, 400 * LIMIT])
async def test_a_bomb_is_stopped_at_the_limit(size: int) -> None:
    """What unpacks to more than the limit is refused, however small it came."""
    packer = zlib.compressobj(9, wbits=31)
    piece = bytes(1 << 20)
    packed = b"".join(packer.compress(piece) for _ in range(size >> 20)) + packer.flush()
    for body, encoding in ((packed, "gzip"), (zstd.compress(bytes(size)), "zstd")):
        problem = await refused(body, encoding)
        assert (problem.status, problem.more["limit_bytes"]) == (413, LIMIT)


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    """By what it says of its length, and by its bytes where it says nothing."""
    assert (await refused(b"", length=str(LIMIT + 1))).status == 413
    assert (await refused(bytes(LIMIT + 1))).status == 413
    assert await read(b"{}", length="9" * 5000) == b"{}"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"not packed", "gzip"),
        (b"not packed", "zstd"),
        (gzip.compress(TEXT)[:-4], "gzip"),
        (zstd.compress(TEXT)[:-4], "zstd"),
        (b"", "gzip"),
        (b"", "zstd"),
    ],
)
async def test_what_is_not_packed_as_it_says_is_refused(body: bytes, encoding: str) -> None:
    """Also where its end is missing."""
    assert (await refused(body, encoding)).status == 400


async def test_many_empty_parts_cost_no_time() -> None:
    """A body of a hundred thousand empty members is refused after some."""
    for body, encoding in (
        (gzip.compress(b"") * (MOST_PARTS + 2), "gzip"),
        (zstd.compress(b"") * (MOST_PARTS + 2), "zstd"),
    ):
        assert (await refused(body, encoding)).status == 400


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "x"])
async def test_another_encoding_is_named_as_unknown(encoding: str) -> None:
    """With those that are known."""
    problem = await refused(b"", encoding)
    assert problem.status == 415
    assert problem.headers["Accept-Encoding"] == "gzip, zstd"
