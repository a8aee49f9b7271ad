"""Running the application: the server, where it listens, and how it stops."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

import uvicorn

from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from affidavit.console.config import ServeConfig

_LEAVE_S: Final = 5
"""Seconds that answers under way get when the service stops."""

_HEADERS_BYTES: Final = 64 * 1024
_AT_ONCE: Final = 512
"""Connections; more are told to come again."""


def listening(serve: ServeConfig) -> socket.socket:
    """Open the port, so that it is known and taken. Raises ConfigError where it cannot be had.

    Who connects from now on waits until the service answers, and is not refused.

    The certificate and its key are looked at before, so that what is wrong with them is said.
    """
    _check_tls(serve)
    family = socket.AF_INET6 if ":" in serve.host else socket.AF_INET
    # With the protocol named, asyncio sends small answers at once: else each waits 40 ms.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((serve.host, serve.port))
        made.listen()  # until then another process could bind the same port
    except OSError as error:
        made.close()
        msg = (
            f"Port {serve.port} of {serve.host} cannot be opened ({error.strerror}). "
            "Choose another with --port; 0 takes any free one."
        )
        raise ConfigError(msg) from error
    return made


def _check_tls(serve: ServeConfig) -> None:
    if serve.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            serve.tls_cert, serve.tls_key, password=_no_password
        )
    except OSError as error:  # SSLError is one
        why = error.strerror if not isinstance(error, ssl.SSLError) else error.reason
        msg = (
            f"--tls-cert {serve.tls_cert} and --tls-key {serve.tls_key} cannot be used "
            f"({why or 'they are not PEM'}). Give a certificate and its own key, both as PEM files "
            "without a password that this user may read."
        )
        raise ConfigError(msg) from error


def _no_password() -> str:
    """Nobody is there to type one."""
    return ""


def address_of(serve: ServeConfig, sock: socket.socket) -> str:
    """Give the address to open in a browser."""
    if serve.public_url is not None:
        return serve.public_url.rstrip("/")
    host = f"[{serve.host}]" if ":" in serve.host else serve.host
    scheme = "https" if serve.tls else "http"
    return f"{scheme}://{host}:{sock.getsockname()[1]}"


def server_of(serve: ServeConfig, app: FastAPI) -> uvicorn.Server:
    """Make the server. It handles SIGINT and SIGTERM by itself: it stops, and finishes answers."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            limit_concurrency=_AT_ONCE,
            h11_max_incomplete_event_size=_HEADERS_BYTES,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_LEAVE_S,
            proxy_headers=bool(serve.behind_proxy),
            forwarded_allow_ips=list(serve.behind_proxy),
            ssl_certfile=serve.tls_cert,
            ssl_keyfile=serve.tls_key,
        )
    )
    app.state.closing = lambda: server.should_exit
    return server
