"""Alerts by mail: STARTTLS or TLS, with the server's certificate checked."""

from __future__ import annotations

import ipaddress
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from affidavit.errors import ConfigError
from affidavit.monitor.notify.base import DeliveryFailed, Message

TIMEOUT_S: Final = 10.0
"""Seconds for one wait on the server."""

_PORTS: Final = {"smtp": 587, "smtps": 465}
_PERMANENT: Final = 500


class Server(NamedTuple):
    """A mail server."""

    implicit_tls: bool
    host: str
    port: int
    user: str
    password: str

    @property
    def loopback(self) -> bool:
        """Whether it is on this host, where TLS may be left out."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_server(url: str) -> Server:
    """Read ``alert_smtp``. Raises ConfigError, without showing it."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        msg = "alert_smtp must be smtp://user:password@host:587 or smtps://user:password@host:465."
        raise ConfigError(msg)
    return Server(
        parts.scheme == "smtps",
        parts.hostname,
        port or _PORTS[parts.scheme],
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


class MailTarget:
    """Sends each message as one mail to all recipients."""

    def __init__(self, server: Server, sender: str, to: list[str]) -> None:
        self._server = server
        self._sender = sender
        self._to = to

    @property
    def name(self) -> str:
        """The server; addresses of people are left out."""
        return f"mail {self._server.host}:{self._server.port}"

    def send(self, message: Message) -> None:
        """Send it."""
        try:
            with self._connected() as session:
                session.send_message(self._mail(message), self._sender, self._to)
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({code for code, _ in error.recipients.values()})
            msg = f"The mail server {self._server.host} refuses the recipients (code {codes[0]})."
            raise DeliveryFailed(msg, final=codes[0] >= _PERMANENT) from error
        except smtplib.SMTPAuthenticationError as error:
            msg = f"The mail server {self._server.host} refuses user or password (alert_smtp)."
            raise DeliveryFailed(msg) from error
        except smtplib.SMTPResponseException as error:
            msg = f"The mail server {self._server.host} answered with code {error.smtp_code}."
            raise DeliveryFailed(msg, final=error.smtp_code >= _PERMANENT) from error
        except (OSError, smtplib.SMTPException) as error:
            why = type(error).__name__
            if isinstance(error, ssl.SSLCertVerificationError):
                why = "its certificate is not trusted"
            elif isinstance(error, smtplib.SMTPNotSupportedError):
                why = "it offers no STARTTLS, or no login"
            msg = f"The mail server {self._server.host} cannot be used ({why})."
            raise DeliveryFailed(msg) from error

    def _connected(self) -> smtplib.SMTP:
        server, trusted = self._server, ssl.create_default_context()
        session: smtplib.SMTP
        if server.implicit_tls:
            session = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=trusted)
        else:
            session = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        try:
            session.ehlo()
            if not server.implicit_tls and (not server.loopback or session.has_extn("starttls")):
                session.starttls(context=trusted)
                session.ehlo()
            if server.user:
                session.login(server.user, server.password)
        except BaseException:
            session.close()
            raise
        return session

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = " ".join(message.title.split())
        mail["From"] = self._sender
        mail["To"] = ", ".join(self._to)
        mail["Date"] = formatdate(message.at.timestamp())
        mail["Message-ID"] = f"<{message.id}@affidavit.invalid>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail
