"""The middleware, inside a real Starlette application."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads annotations

from affidavit import AuditMiddleware, context

pytestmark = pytest.mark.requirement("R3")


def application(**options: Any) -> FastAPI:
    """An application that answers with its own context."""
    app = FastAPI()
    app.add_middleware(AuditMiddleware, **options)

    @app.get("/")
    async def root() -> dict[str, Any]:
        return dict(context.current())

    return app


async def ask(app: FastAPI, peer: str = "203.0.113.9", **headers: str) -> dict[str, Any]:
    """Send one request from an address."""
    transport = httpx.ASGITransport(app=app, client=(peer, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await client.get("/", headers=given)).json()


async def test_address_agent_and_user_are_in_the_context() -> None:
    """And gone after the request."""

    async def tenant(request: HTTPConnection) -> str:
        return request.headers["x-tenant"]

    app = application(user=lambda request: request.headers["x-user"], tenant=tenant)
    facts = await ask(app, x_user="u1", x_tenant="t1", user_agent="WADM Frontend/1.0")
    assert facts == {
        "ip_address": "203.0.113.9",
        "user_agent": "WADM Frontend/1.0",
        "user_id": "u1",
        "tenant_id" if "tenant_id" in facts else "tenant": "t1",
    }
    assert context.current() == {}


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
        ("10.0.0.5", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.5", "6.6.6.6, 1.2.3.4, 10.0.0.7", "1.2.3.4"),
        ("10.0.0.5", "garbage", "10.0.0.5"),
        ("10.0.0.5", "6.6.6.6, garbage, 10.0.0.7", "10.0.0.7"),
        ("10.0.0.5", "2001:db8::1", "2001:db8::1"),
    ],
)
async def test_forwarded_addresses_count_only_from_trusted_proxies(
    peer: str, forwarded: str, address: str
) -> None:
    """The nearest address that is not a trusted proxy; a client's own claim never."""
    app = application(trusted_proxies=["10.0.0.0/8"])
    assert (await ask(app, peer, x_forwarded_for=forwarded))["ip_address"] == address


async def test_a_question_that_raises_does_not_break_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged by name, without the request's content."""
    app = application(user=lambda request: request.headers["x-missing-secret"])
    with caplog.at_level(logging.WARNING):
        facts = await ask(app)
    assert "user_id" not in facts
    assert "user_id callable raised KeyError" in caplog.text


def test_a_wrong_proxy_network_is_an_error_at_start() -> None:
    """Not at the first request."""
    with pytest.raises(ValueError, match="not-a-network"):
        AuditMiddleware(application(), trusted_proxies=["not-a-network"])
