"""Alerts as signed posts, in the form of standardwebhooks.com.

``webhook-id``, ``webhook-timestamp`` and ``webhook-signature`` are headers; the signature is
``v1,`` and base64 of HMAC-SHA-256 over ``id.timestamp.body``. Libraries for receivers exist in most
languages. No redirect is followed and no proxy used; the whole exchange has one limit on its time.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from affidavit.errors import ConfigError
from affidavit.monitor.notify.address import Place, Webhook, resolve
from affidavit.monitor.notify.base import DeliveryFailed, Message

TIMEOUT_S: Final = 10.0
"""Seconds for one post in all."""

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24

_TRY_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500


class WebhookTarget:
    """Posts each message to one address."""

    def __init__(
        self,
        where: Webhook,
        key: bytes,
        *,
        private: bool,
        clock_s: Callable[[], float] = time.time,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """``private`` allows addresses of private networks."""
        self._where = where
        self._key = key
        self._private = private
        self._clock_s = clock_s
        self._timeout_s = timeout_s

    @property
    def name(self) -> str:
        """Host and port, and a few digits of the rest, which is secret, to tell two apart."""
        digits = hashlib.sha256(self._key + self._where.path.encode()).hexdigest()[:6]
        return f"webhook {self._where} ({digits})"

    def send(self, message: Message) -> None:
        """Post it; any status from 200 to 299 is a yes."""
        body = json.dumps(message.data, separators=(",", ":"), sort_keys=True).encode()
        stamp = str(int(self._clock_s()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "affidavit",
            "webhook-id": message.id,
            "webhook-timestamp": stamp,
            "webhook-signature": sign(self._key, message.id, stamp, body),
        }
        status = self._post(resolve(self._where, private=self._private), body, headers)
        if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
            again = status >= _SERVER_ERROR or status in _TRY_AGAIN
            msg = f"{self._where} answered with status {status}."
            raise DeliveryFailed(msg, final=not again)

    def _post(self, places: Sequence[Place], body: bytes, headers: dict[str, str]) -> int:
        connection = _Pinned(self._where, places, self._timeout_s)
        timer = threading.Timer(self._timeout_s, connection.cut)
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", self._where.path, body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            # The error's own text is left out: it may hold what the other side sent.
            why = type(error).__name__
            if isinstance(error, ssl.SSLCertVerificationError):
                why = "its certificate is not trusted"
            msg = f"{self._where} does not answer ({why})."
            raise DeliveryFailed(msg) from error
        finally:
            timer.cancel()
            connection.close()


class _Pinned(http.client.HTTPConnection):
    """A connection to the addresses that were judged, whatever the name gives by now."""

    def __init__(self, where: Webhook, places: Sequence[Place], timeout_s: float) -> None:
        super().__init__(where.host, where.port, timeout=timeout_s)
        self._secure = where.secure
        self._places = places
        self._over = False

    def connect(self) -> None:
        """Connect to the first that answers, with the name for the certificate."""
        failed: OSError = ConnectionError("no address")
        for place in self._places:
            if self._over:
                break
            self.sock = raw = socket.socket(place.family, socket.SOCK_STREAM)
            raw.settimeout(self.timeout)
            try:
                raw.connect((place.address, self.port))
            except OSError as error:
                failed = error
                raw.close()
                continue
            if self._secure:
                trusted = ssl.create_default_context()
                self.sock = trusted.wrap_socket(raw, server_hostname=self.host)
            return
        raise failed

    def cut(self) -> None:
        """End a post whose time is over; a limit on each wait alone would allow a byte a wait."""
        self._over = True
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def sign(key: bytes, message_id: str, stamp: str, body: bytes) -> str:
    """Sign as a receiver checks it."""
    signed = hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(signed).decode()}"


def read_key(setting: str) -> bytes:
    """Read ``alert_webhook_secret``: the secret itself, or a file with it. Raises ConfigError."""
    text = setting.strip()
    if not text.startswith(PREFIX):
        try:
            text = Path(text).expanduser().read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError, ValueError):
            text = ""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or len(key) < LEAST_BYTES:
        msg = (
            f"alert_webhook_secret must be {PREFIX} and base64 of {LEAST_BYTES} bytes or more, or "
            "a file with that. docs/how-to/alerts.md shows how to make one."
        )
        raise ConfigError(msg)
    return key
