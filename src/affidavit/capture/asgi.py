"""ASGI middleware: puts the caller's address, agent and user into the context of each request.

The address is the peer's, unless the peer is a trusted proxy: then ``X-Forwarded-For`` is read from
its right end, skipping trusted proxies, since everything further left is the client's own claim.
"""

from __future__ import annotations

import inspect
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from affidavit import context

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log: Final = logging.getLogger("affidavit")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Request:
    """What ``user=lambda request: …`` sees where Starlette is not installed."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        self.state = scope.get("state", {})
        self.path = scope.get("path", "")


class AuditMiddleware:
    """``app.add_middleware(AuditMiddleware, audit=audit, user=lambda request: …)``.

    ``user``, ``department``, ``tenant`` and ``session`` are callables (plain or async) that get the
    request and return a text or None. One that raises is logged by name, and the request goes on.
    ``trusted_proxies`` are addresses or networks whose ``X-Forwarded-For`` is believed.
    """

    def __init__(
        self,
        app: App,
        *,
        audit: object = None,
        user: Callable[[Any], Any] | None = None,
        department: Callable[[Any], Any] | None = None,
        tenant: Callable[[Any], Any] | None = None,
        session: Callable[[Any], Any] | None = None,
        trusted_proxies: Iterable[str] = (),
    ) -> None:
        self._app = app
        self.audit = audit
        self._questions = {
            "user_id": user,
            "department": department,
            "tenant": tenant,
            "session_id": session,
        }
        self._trusted: list[_Network] = [
            ipaddress.ip_network(text, strict=False) for text in trusted_proxies
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with the caller in the context."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        token = context.push(await self._facts(scope))
        try:
            await self._app(scope, receive, send)
        finally:
            context.pop(token)

    async def _facts(self, scope: Scope) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        agent = headers.get(b"user-agent", b"").decode("latin-1")
        facts: dict[str, Any] = {
            "ip_address": self._address(scope, headers),
            "user_agent": agent or None,
        }
        if any(self._questions.values()):
            request = _request(scope)
            for name, question in self._questions.items():
                if question is not None:
                    facts[name] = await _answer(name, question, request)
        return facts

    def _address(self, scope: Scope, headers: dict[bytes, bytes]) -> str | None:
        client = scope.get("client")
        peer = client[0] if client else None
        if peer is None or not self._is_trusted(peer):
            return peer
        claims = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        for claim in reversed([text.strip() for text in claims]):
            if not _is_address(claim):
                break
            peer = claim
            if not self._is_trusted(claim):
                break
        return peer

    def _is_trusted(self, text: str) -> bool:
        if not _is_address(text):
            return False
        address = ipaddress.ip_address(text)
        return any(address in network for network in self._trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _request(scope: Scope) -> Any:
    try:
        from starlette.requests import HTTPConnection
    except ImportError:
        return Request(scope)
    return HTTPConnection(scope)


async def _answer(name: str, question: Callable[[Any], Any], request: Any) -> str | None:
    try:
        answer = question(request)
        if inspect.isawaitable(answer):
            answer = await answer
    except Exception as error:
        _log.warning(
            "affidavit: the middleware's %s callable raised %s.", name, type(error).__name__
        )
        return None
    return None if answer is None else str(answer)
