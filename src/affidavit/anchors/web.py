"""One bounded POST: no redirects, no proxies, a limit on time and on the answer's size."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from affidavit.anchors.base import AnchorFailed
from affidavit.errors import ConfigError

TIMEOUT_S: Final = 15.0
"""Seconds for one request in all, with its answer."""

MOST_BYTES: Final = 256 * 1024


class Address(NamedTuple):
    """Where a request goes."""

    secure: bool
    host: str
    port: int | None
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{'https' if self.secure else 'http'}://{host}{port}{self.path}"


class Reply(NamedTuple):
    """What came back."""

    status: int
    kind: str
    """Its type, in lower case, without parameters."""
    body: bytes


def parse_address(url: str, setting: str, *, plain_http: bool) -> Address:
    """Read an address. Raises ConfigError for one that is not allowed, without showing it whole."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii():
        msg = f"{setting}: an address such as https://host/path is needed."
        raise ConfigError(msg)
    if parts.username is not None or parts.query or parts.fragment or any(map(_is_odd, url)):
        msg = f"{setting}: the address may hold no login, query, fragment or spaces."
        raise ConfigError(msg)
    address = Address(parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"))
    if not (address.secure or plain_http or _is_loopback(address.host)):
        msg = (
            f"{setting}: {address} is not https. Set anchor_plain_http=True if what is sent may "
            "be read on the way; the answer's signature is checked in any case."
        )
        raise ConfigError(msg)
    return address


def post(address: Address, path: str, body: bytes, kind: str) -> Reply:
    """Send a body and read the answer, whatever its status. Raises AnchorFailed."""
    connection = _connection(address)
    timer = threading.Timer(TIMEOUT_S, _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", f"{address.path}{path}" or "/", body, {"Content-Type": kind})
        answer = connection.getresponse()
        data = answer.read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        # The error's own text is left out: it may hold what the other side sent.
        msg = f"{address} does not answer ({_reason(error)}). It is tried again at the next time."
        raise AnchorFailed(msg) from error
    finally:
        timer.cancel()
        connection.close()
    if len(data) > MOST_BYTES:
        msg = f"The answer of {address} is longer than {MOST_BYTES} bytes, and was not read."
        raise AnchorFailed(msg)
    if answer.length:  # fewer bytes came than were announced: the time was over
        msg = f"The answer of {address} was cut off. It is tried again at the next time."
        raise AnchorFailed(msg)
    said = answer.getheader("Content-Type", "").partition(";")[0].strip().lower()
    return Reply(answer.status, said, data)


def _connection(address: Address) -> http.client.HTTPConnection:
    if address.secure:
        trusted = ssl.create_default_context()
        return http.client.HTTPSConnection(
            address.host, address.port, timeout=TIMEOUT_S, context=trusted
        )
    return http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a request whose time is over; a limit on each wait alone would allow one byte a wait."""
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    return type(error).__name__


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_odd(character: str) -> bool:
    return character <= " " or character == "\x7f"
