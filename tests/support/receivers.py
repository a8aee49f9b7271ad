"""Where alerts arrive in tests: a real HTTP server and a real SMTP server, on loopback."""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import socket
import socketserver
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path


@dataclass
class Posted:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpReceiver:
    """Takes posts; answers with the statuses it is given, then with 204."""

    statuses: list[int] = field(default_factory=list)
    location: str = ""
    """Where a redirect leads."""
    drip_s: float = 0.0
    """With it, an answer comes one byte at a time, so many seconds apart."""
    context: ssl.SSLContext | None = None
    posted: list[Posted] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posted.append(Posted(self.path, headers, body))
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                if receiver.drip_s:
                    for byte in b"HTTP/1.1 200 OK\r\n\r\n" * 100:
                        self.wfile.write(bytes([byte]))
                        time.sleep(receiver.drip_s)
                    return
                self.send_response(status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - its name there

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A client that hangs up is part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.context is not None:
            # The handshake waits for the handler's thread, which closes what fails.
            self._server.socket = self.context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        """Its address."""
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://{host}:{self.port}{path}"

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@dataclass
class SmtpReceiver:
    """Takes mail, as much of RFC 5321 as a client needs; with a certificate also STARTTLS."""

    context: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None
    refuse_code: int = 0
    """With it, recipients are refused so."""
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.ExitStack() as held, contextlib.suppress(OSError):
                    receiver.talk(self.connection, held)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def talk(self, line: socket.socket, held: contextlib.ExitStack) -> None:  # noqa: C901, PLR0912 - one case for each verb
        """Hold one conversation."""
        stream: Any = held.enter_context(line.makefile("rwb"))
        secure, known, to = False, self.login is None, list[str]()

        def say(text: str) -> None:
            stream.write(text.encode() + b"\r\n")
            stream.flush()

        say("220 test")
        while command := stream.readline().decode().strip():
            verb = command.split(" ", 1)[0].upper()
            if verb == "EHLO":
                offers = ["test"]
                if self.context is not None and not secure:
                    offers.append("STARTTLS")
                if self.login is not None and (secure or self.context is None):
                    offers.append("AUTH PLAIN")
                for offer in offers[:-1]:
                    say(f"250-{offer}")
                say(f"250 {offers[-1]}")
            elif verb == "STARTTLS" and self.context is not None:
                say("220 go")
                line = held.enter_context(self.context.wrap_socket(line, server_side=True))
                stream, secure = held.enter_context(line.makefile("rwb")), True
            elif verb == "AUTH":
                given = base64.b64decode(command.rpartition(" ")[2]).decode().split("\0")[1:]
                known = tuple(given) == self.login
                say("235 ok" if known else "535 no")
            elif verb == "MAIL":
                to = []
                say("250 ok" if known else "530 log in first")
            elif verb == "RCPT":
                to.append(command.partition("<")[2].partition(">")[0])
                say(f"{self.refuse_code} no" if self.refuse_code else "250 ok")
            elif verb == "DATA":
                say("354 go")
                lines = []
                while (text := stream.readline()) not in {b".\r\n", b""}:
                    lines.append(text.removeprefix(b".") if text.startswith(b"..") else text)
                made = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
                self.mails.append(made)
                self.recipients.append(to)
                self.encrypted.append(secure)
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


def certificate(folder: Path, host: str = "127.0.0.1") -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for a host, signed by itself; and the file by which it is trusted."""
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
