"""Asking the issuer over HTTP: no redirects, no proxies, limits on time and the answer's size."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

from affidavit.errors import AffidavitError

TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 512 * 1024
_LONGEST_SHOWN: Final = 100


class FetchFailed(AffidavitError):  # noqa: N818 - what happened
    """There is no answer that can be used; the text holds none of what came."""


def is_local(host: str | None) -> bool:
    """Whether a host is this machine, where plain HTTP is as good."""
    return host in {"127.0.0.1", "::1", "localhost"}


class Fetcher:
    """Asks some hosts, and no others."""

    def __init__(self, hosts: frozenset[str], ca: Path | None = None) -> None:
        """``hosts`` are written as in addresses, with a port where it is not the usual one."""
        self._hosts = hosts
        self._ca = ca

    def get(self, url: str) -> dict[str, Any]:
        """Get a JSON object. Raises FetchFailed."""
        return self._ask(url, "GET", None, {})

    def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """Send a form and get a JSON object. Raises FetchFailed."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask(url, "POST", urlencode(form).encode(), {**headers, **kind})

    def _ask(
        self, url: str, method: str, body: bytes | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise FetchFailed("The issuer names an address that is none.") from error
        netloc = _shown(parts.netloc)
        if parts.netloc.lower() not in self._hosts:
            msg = (
                f"The issuer names an address on {netloc or 'no host'}, which is not its own. Add "
                "the host with --oidc-host if it is to be trusted."
            )
            raise FetchFailed(msg)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_local(parts.hostname)):
            msg = f"The issuer names an address on {netloc} that is not https."
            raise FetchFailed(msg)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.hostname or ""
        try:
            with _Limited(TIMEOUT_S) as limit:
                connection = self._connection(parts.scheme, host, parts.port, limit)
                connection.request(method, target, body, {"Accept": "application/json", **headers})
                with connection.getresponse() as answer:
                    data = answer.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = type(error).__name__
            msg = f"{netloc} does not answer ({why}). Try again in a moment."
            raise FetchFailed(msg) from error
        return _object(netloc, answer.status, data)

    def _connection(
        self, scheme: str, host: str, port: int | None, limit: _Limited
    ) -> http.client.HTTPConnection:
        """Connect here, so that the limit has the socket from the first byte on."""
        made: http.client.HTTPConnection
        if scheme == "http":
            made = http.client.HTTPConnection(host, port)
            made.sock = limit.connected(host, made.port)
            return made
        trusted = ssl.create_default_context(cafile=None if self._ca is None else str(self._ca))
        made = http.client.HTTPSConnection(host, port, context=trusted)
        made.sock = limit.encrypted(limit.connected(host, made.port), host, trusted)
        return made


class _Limited:
    """The time for one answer as a whole: at its end the socket is shut, whatever is awaited.

    A limit on each wait alone would allow one byte a wait.
    """

    def __init__(self, seconds_s: float) -> None:
        self._lock = threading.Lock()
        self._over = False
        self._sock: socket.socket | None = None
        self._each_s = seconds_s
        self._timer = threading.Timer(seconds_s, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._sock is not None:
                self._sock.close()

    def connected(self, host: str, port: int) -> socket.socket:
        """Connect. Raises OSError."""
        return self._held(socket.create_connection((host, port), self._each_s))

    def encrypted(self, plain: socket.socket, host: str, trusted: ssl.SSLContext) -> socket.socket:
        """Speak TLS over a socket. Raises OSError."""
        made = trusted.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._held(made)
        made.do_handshake()
        return made

    def _held(self, sock: socket.socket) -> socket.socket:
        with self._lock:
            self._sock = sock
            if self._over:
                raise TimeoutError
        return sock

    def _cut(self) -> None:
        with self._lock:
            self._over = True
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own, which would go on reading in the clear.
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


def _shown(netloc: str) -> str:
    """Write a host as an error can hold it."""
    plain = "".join(each if each.isprintable() else "?" for each in netloc)
    return plain if len(plain) <= _LONGEST_SHOWN else f"{plain[:_LONGEST_SHOWN]}…"


def _object(host: str, status: int, data: bytes) -> dict[str, Any]:
    if status != http.HTTPStatus.OK:
        msg = f"{host} answers with status {status}."
        raise FetchFailed(msg)
    if len(data) > MOST_BYTES:
        msg = f"The answer of {host} is longer than {MOST_BYTES} bytes, and was not read."
        raise FetchFailed(msg)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        msg = f"The answer of {host} is no JSON object."
        raise FetchFailed(msg)
    return found
