"""The guard on uvloop, which looks up names and connects in C.

uvloop is among the packages of another environment: ``make test-litellm`` runs this file there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvloop

from affidavit.capture import guard
from affidavit.testing import capture_events
from tests.support.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requirement("R1", "R19")


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A model on loopback."""
    with Provider() as started:
        yield started


def run(work: Any) -> Any:
    """Run a coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def fetch(provider: Provider, name: str) -> int:
    """Ask as a client that nobody wrapped."""
    async with httpx.AsyncClient() as client:
        url = provider.openai_url.replace("127.0.0.1", name)
        return (await client.get(url + "/models")).status_code


def place(provider: Provider, name: str) -> str:
    """Host and port."""
    return provider.openai_url.replace("127.0.0.1", name).split("/")[2]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_an_unaudited_client_is_stopped_on_uvloop(provider: Provider, name: str) -> None:
    """By address and by name."""
    with capture_events(guard="refuse", guard_hosts=place(provider, name)) as captured:
        with pytest.raises(httpx.ConnectError):
            run(fetch(provider, name))
        (event,) = captured.records
    assert event["details"]["kind"] == "unaudited_egress"
    assert event["details"]["details"]["host"] == name
    assert provider.requests == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_an_audited_call_goes_through_on_uvloop(provider: Provider, name: str) -> None:
    """And so does anything once the guard is off, and what it does not watch."""

    async def audited(audit: Any) -> int:
        with audit.call(provider="openai") as call:
            status = await fetch(provider, name)
            call.complete()
        return status

    with capture_events(guard="refuse", guard_hosts=place(provider, name)) as captured:
        assert run(audited(captured.audit)) == 200
    assert guard.mode() == "off"
    assert run(fetch(provider, name)) == 200
    with capture_events(guard="refuse", guard_hosts="llm.internal") as captured:
        assert run(fetch(provider, name)) == 200
        assert captured.records == []
