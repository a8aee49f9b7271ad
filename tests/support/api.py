"""What tests of the HTTP API share: documents to record, and a service that is ready."""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.console import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.support.console import Served

READY_S = 20.0
SECRET = "tangerine-confession"
"""Stands in the requests of :func:`call`, so that a leak is seen."""


class Api:
    """A running service, and clients of it that are closed in the end."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.backend = served.backend
        self._clients: dict[str, httpx.Client] = {}

    def as_(self, role: str = "admin", **scope: Any) -> httpx.Client:
        """A client of a role, within a scope; the same again is the same token. "": nobody."""
        key = f"{role} {sorted(scope.items())}"
        if key not in self._clients:
            token = None if key == "admin []" else ""
            if role and token is not None:
                token = self.served.token_of(role, **scope)
            self._clients[key] = self.served.client(token)
        return self._clients[key]

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients.values():
            client.close()


@contextmanager
def ready(uri: str, **settings: Any) -> Iterator[Api]:
    """Run the service, and wait until its store is set up: what comes then is stored at once."""
    with serving(uri, **settings) as served:
        wait_for_store(served)
        api = Api(served)
        try:
            yield api
        finally:
            api.close()


def wait_for_store(served: Served) -> None:
    """Wait until the logger has reached its store."""
    running = served.backend.audit._engine._running
    assert running is not None
    assert running.core.prepared.wait(READY_S), "the store was not set up in time"
    until_s = time.monotonic() + READY_S
    while running.core.breaker.is_open:
        assert time.monotonic() < until_s, "the store was not reached in time"
        time.sleep(0.01)


def new_id() -> str:
    """An id as a client chooses one."""
    return secrets.token_hex(12)


def call(**more: Any) -> dict[str, Any]:
    """A finished call, as a client sends it."""
    return {
        "type": "call",
        "_id": new_id(),
        "provider": "openai",
        "model": "gpt-5-mini",
        "message": f"Please note my {SECRET}.",
        "user_id": "ana",
        "department": "research",
        "fields": {"symbol": "ABC"},
        "latency_ms": 812.5,
        "answer": {
            "text": f"Noted: {SECRET}.",
            "input_tokens": 12,
            "output_tokens": 5,
            "cost_usd": "0.045",
            "finish_reason": "stop",
        },
        **more,
    }
