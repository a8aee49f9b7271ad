"""The service as a user runs it, on a free port of this machine, in a thread of the test."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from affidavit.config import AuditConfig
from affidavit.console.app import create_app
from affidavit.console.config import ServeConfig
from affidavit.console.listen import address_of, listening, server_of
from affidavit.console.visitor import Role, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI
    from uvicorn import Server

    from affidavit.console.backend import Backend

START_S = 20.0


class Served(NamedTuple):
    """A running service."""

    url: str
    token: str
    """An administrator's."""
    app: FastAPI
    server: Server

    @property
    def backend(self) -> Backend:
        """The service's own door to the log."""
        found: Backend = self.app.state.backend
        return found

    def token_of(
        self,
        role: Role | str,
        *,
        departments: tuple[str, ...] | None = None,
        tenants: tuple[str, ...] | None = None,
        name: str | None = None,
    ) -> str:
        """Make a token of a role."""
        text, _ = self.backend.doorman.tokens.make(
            name or f"a {role}", Role(role), Scope(departments, tenants), by="the tests", days=1
        )
        return text

    def client(self, token: str | None = None, **more: Any) -> httpx.Client:
        """A client with a token, the administrator's unless another is given; "" for none."""
        given = self.token if token is None else token
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **more)

    @contextmanager
    def browser(self, token: str | None = None) -> Iterator[httpx.Client]:
        """A client that has logged in as a browser does: it has a session's cookie."""
        with httpx.Client(base_url=self.url, timeout=30, follow_redirects=True) as client:
            given = self.token if token is None else token
            answer = client.post("/login", data={"token": given}, follow_redirects=False)
            assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
            yield client


@contextmanager
def serving(
    uri: str,
    *,
    audit: Mapping[str, Any] | None = None,
    schedules: bool = False,
    with_token: bool = True,
    **serve: Any,
) -> Iterator[Served]:
    """Run the service; ``audit`` are settings of the log, ``serve`` those of the service.

    Without ``schedules`` nothing is sealed or watched but what a test does itself.
    """
    served = ServeConfig(**{"port": 0, "schedules": schedules, **serve})
    settings = {"seal": "auto" if schedules else "off", **(audit or {})}
    sock = listening(served)
    try:
        app = create_app(served, AuditConfig(**settings), uri)
    except BaseException:
        sock.close()
        raise
    backend: Backend = app.state.backend
    backend.address = address_of(served, sock)
    server = server_of(served, app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        until_s = time.monotonic() + START_S
        while not server.started:
            assert thread.is_alive(), "the service ended while it started"
            assert time.monotonic() < until_s, "the service did not start in time"
            time.sleep(0.01)
        token = ""
        if with_token:
            token, _ = backend.doorman.tokens.make(
                "the tests' administrator", Role.ADMIN, Scope(), by="the tests", days=1
            )
        yield Served(backend.address, token, app, server)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the service did not end"
