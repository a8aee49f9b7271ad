"""Asking an issuer that is hostile, over real sockets: nothing else is asked, and it ends soon."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from affidavit.console.auth import fetch
from affidavit.console.auth.fetch import Fetcher, FetchFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answering = Callable[[socket.socket], None]

pytestmark = pytest.mark.requirement("R13")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SHORT_S = 0.5


class Hostile:
    """A server that answers as a test says, and counts who comes."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.netloc = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.netloc}/doc"
        self.asked = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.asked += 1
                self._open.append(connection)
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.recv(65_536)
            self._answering(connection)
            connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it."""
        # Closing alone does not wake the thread that waits for the next to come.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        for each in (self._socket, *self._open):
            each.close()

    def fetcher(self) -> Fetcher:
        """One that may ask this server, and no other."""
        return Fetcher(frozenset({self.netloc}))


@pytest.fixture
def hostile() -> Iterator[Callable[[Answering], Hostile]]:
    """Make servers, and end them."""
    made: list[Hostile] = []

    def make(answering: Answering) -> Hostile:
        made.append(Hostile(answering))
        return made[-1]

    yield make
    for each in made:
        each.close()


def answer(body: bytes, head: bytes = HEAD) -> Answering:
    """Answer at once."""
    return lambda s: s.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def drip(first: bytes, piece: bytes) -> Answering:
    """Answer a little at a time, for ever."""

    def answering(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(piece)
            time.sleep(0.02)

    return answering


def flood(first: bytes, piece: bytes) -> Answering:
    """Answer as fast as it goes, for ever."""

    def answering(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(piece)

    return answering


def test_an_object_is_read(hostile: Callable[[Answering], Hostile]) -> None:
    """The plain case, against which the others stand."""
    server = hostile(answer(b'{"issuer": "me"}'))
    assert server.fetcher().get(server.url) == {"issuer": "me"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_nowhere(
    hostile: Callable[[Answering], Hostile], status: int
) -> None:
    """Neither to another host, nor to a file, nor for ever to itself."""
    other = hostile(answer(b"{}"))
    for target in (other.url, "http://169.254.169.254/latest", "file:///etc/passwd", "/doc"):
        head = f"HTTP/1.1 {status} Found\r\nLocation: {target}\r\n".encode()
        server = hostile(answer(b"{}", head))
        with pytest.raises(FetchFailed, match=f"status {status}"):
            server.fetcher().get(server.url)
        with pytest.raises(FetchFailed, match=f"status {status}"):
            server.fetcher().post(server.url, {"code": "secret"}, {})
        assert server.asked == 2
    assert other.asked == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/",
        "file:///etc/passwd",
        "file://{netloc}/etc/passwd",
        "ftp://{netloc}/doc",
        "gopher://{netloc}/_doc",
        "http://127.0.0.1:9/doc",
        "http://{netloc}@169.254.169.254/doc",
        "http://169.254.169.254\\@{netloc}/doc",
        "http://user@{netloc}/doc",
        "http://{netloc}.evil.example/doc",
        "//{netloc}/doc",
        "{netloc}/doc",
        "",
        "http://[",
        "http://[::1",
        "http://{netloc}/\u043a\u043b\u044e\u0447",
        "http://{netloc}/ HTTP/1.1\r\nHost: evil",
        "http://{netloc}/a b",
        "http://{netloc}/\x00",
        "http://evil.example/" + "x" * 5000,
        "http://" + "x" * 5000,
    ],
    ids=lambda url: url[:60],
)
def test_an_address_that_is_not_the_issuers_is_not_asked(
    hostile: Callable[[Answering], Hostile], url: str
) -> None:
    """Whatever way it is written: a short refusal, and nothing unexpected."""
    server = hostile(answer(b"{}"))
    with pytest.raises(FetchFailed) as refused:
        server.fetcher().get(url.format(netloc=server.netloc))
    assert server.asked == 0 or url.startswith("http://{netloc}/")
    assert len(str(refused.value)) < 400


def test_another_host_is_not_asked_over_plain_http_though_it_is_named() -> None:
    """A host of the settings is asked by https only, unless it is this machine."""
    for host in ("keys.example.org", "169.254.169.254", "10.0.0.1", "127.0.0.1.example.org"):
        with pytest.raises(FetchFailed, match="not https"):
            Fetcher(frozenset({host})).get(f"http://{host}/keys")


@pytest.mark.parametrize(
    "first",
    [
        HEAD + b"\r\n{",
        HEAD + b"Content-Length: 99999999999\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_body_without_end_is_left_after_the_limit(
    hostile: Callable[[Answering], Hostile], first: bytes
) -> None:
    """It is not kept in memory, and nobody waits for it."""
    piece = b"8000\r\n" + b" " * 0x8000 + b"\r\n" if b"chunked" in first else b" " * 0x8000
    server = hostile(flood(first, piece))
    began_s = time.monotonic()
    with pytest.raises(FetchFailed, match="longer than"):
        server.fetcher().get(server.url)
    assert time.monotonic() - began_s < fetch.TIMEOUT_S


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"\r\n", b" "),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["status", "headers", "continue", "body", "length", "chunks"],
)
def test_an_answer_that_drips_is_cut_at_the_end_of_its_time(
    hostile: Callable[[Answering], Hostile],
    monkeypatch: pytest.MonkeyPatch,
    first: bytes,
    piece: bytes,
) -> None:
    """The time is for the whole, and not for each piece."""
    monkeypatch.setattr(fetch, "TIMEOUT_S", SHORT_S)
    server = hostile(drip(first, piece))
    began_s = time.monotonic()
    with pytest.raises(FetchFailed):
        server.fetcher().get(server.url)
    assert time.monotonic() - began_s < 10 * SHORT_S


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_says_nothing_is_left(
    hostile: Callable[[Answering], Hostile], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Also where it never finishes the greeting of TLS."""
    monkeypatch.setattr(fetch, "TIMEOUT_S", SHORT_S)
    server = hostile(lambda _: time.sleep(30))
    began_s = time.monotonic()
    with pytest.raises(FetchFailed):
        server.fetcher().get(f"{scheme}://{server.netloc}/doc")
    assert time.monotonic() - began_s < 10 * SHORT_S


def test_a_connection_that_took_all_the_time_is_given_no_more(
    hostile: Callable[[Answering], Hostile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host with many addresses, or a slow name, does not win time for its body."""
    monkeypatch.setattr(fetch, "TIMEOUT_S", SHORT_S)
    connect = socket.create_connection

    def slowly(*args: object, **more: object) -> socket.socket:
        time.sleep(1.5 * SHORT_S)
        return connect(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("http.client.socket.create_connection", slowly)
    server = hostile(drip(HEAD + b"\r\n", b" "))
    began_s = time.monotonic()
    with pytest.raises(FetchFailed):
        server.fetcher().get(server.url)
    assert time.monotonic() - began_s < 10 * SHORT_S


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a": ' + b"9" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_object_is_no_answer(
    hostile: Callable[[Answering], Hostile], body: bytes
) -> None:
    """And what was sent is not repeated."""
    server = hostile(answer(body))
    with pytest.raises(FetchFailed, match="no JSON object"):
        server.fetcher().get(server.url)
