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
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from affidavit.errors import AffidavitError

TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 512 * 1024


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
        parts = urlsplit(url)
        if parts.netloc.lower() not in self._hosts:
            msg = (
                f"The issuer names an address on {parts.netloc or 'no host'}, which is not its "
                "own. Add the host to --oidc-hosts if it is to be trusted."
            )
            raise FetchFailed(msg)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_local(parts.hostname)):
            msg = f"The issuer names an address on {parts.netloc} that is not https."
            raise FetchFailed(msg)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        timer = threading.Timer(TIMEOUT_S, _cut, [connection])
        timer.daemon = True
        timer.start()
        try:
            connection.request(method, target, body, {"Accept": "application/json", **headers})
            answer = connection.getresponse()
            data = answer.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            why = type(error).__name__
            msg = f"{parts.netloc} does not answer ({why}). Try again in a moment."
            raise FetchFailed(msg) from error
        finally:
            timer.cancel()
            connection.close()
        return _object(parts.netloc, answer.status, data)

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        trusted = ssl.create_default_context(cafile=None if self._ca is None else str(self._ca))
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=trusted)


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


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a request whose time is over; a limit on each wait alone would allow one byte a wait."""
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
