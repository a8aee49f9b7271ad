"""The golden table: raw answers of both providers, and what the record of each must hold.

Each file has the call (``call``, ``arguments``), the answer as it goes over the wire (``body`` or
``events``, and ``headers``), and the part of the outcome's record that follows (``record``).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.demo.wire import DONE, event
from affidavit.testing import capture_events
from tests.support.provider import Provider, Raw
from tests.support.sdk_methods import client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requirement("R1")

HERE = Path(__file__).parent
CASES = [
    pytest.param(
        path.parent.name, json.loads(path.read_text("utf-8")), id=f"{path.parent.name}-{path.stem}"
    )
    for path in sorted(HERE.glob("*/*.json"))
]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One provider for the module."""
    with Provider() as running:
        yield running


def raw(case: dict[str, Any]) -> Raw:
    """The answer of a case as bytes."""
    if "events" not in case:
        return Raw(json.dumps(case["body"]).encode(), headers=case["headers"])
    # OpenAI's chat names no events; everybody else names them by their type.
    frames = [DONE if one == "[DONE]" else event(one, one.get("type")) for one in case["events"]]
    return Raw(events=tuple(frames), headers=case["headers"])


def method(client: Any, call: str) -> Any:
    """The method that a case names."""
    for name in call.split("."):
        client = getattr(client, name)
    return client


def ask(name: str, case: dict[str, Any], provider: Provider) -> list[dict[str, Any]]:
    """Make the call of a case; its records."""
    with capture_events() as captured:
        with captured.audit.wrap(client_of(name, provider, is_async=False)) as client:
            reply = method(client, case["call"])(**case["arguments"])
            if "events" in case:
                list(reply)
        return captured.records


def ask_async(name: str, case: dict[str, Any], provider: Provider) -> list[dict[str, Any]]:
    """The same with the asynchronous client."""

    async def run(audit: Any) -> None:
        async with audit.wrap(client_of(name, provider, is_async=True)) as client:
            reply = await method(client, case["call"])(**case["arguments"])
            if "events" in case:
                _ = [one async for one in reply]

    with capture_events() as captured:
        asyncio.run(run(captured.audit))
        return captured.records


def within(found: Any, expected: Any) -> Any:
    """The part of what was found that something is expected of."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return {name: within(found.get(name), value) for name, value in expected.items()}
    return found


@pytest.mark.parametrize("way", [ask, ask_async], ids=["sync", "async"])
@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_record_holds_what_the_provider_sent(
    name: str, case: dict[str, Any], way: Any, provider: Provider
) -> None:
    """Usage to the token, finish reasons, texts, tools, ids: as in the raw answer."""
    provider.reset()
    provider.script(raw(case))
    intent, outcome = way(name, case, provider)
    assert (intent["status"], intent["call_id"]) == ("initiated", outcome["call_id"])
    assert within(outcome, case["record"]) == case["record"]
    request_id = case["headers"].get("x-request-id") or case["headers"]["request-id"]
    assert outcome["response_data"]["request_id"] == request_id
    absent = {"cached_tokens", "reasoning_tokens", "output_tokens"} - case["record"].keys()
    assert absent.isdisjoint({n for n in absent if outcome.get(n) is not None}), "never invented"
