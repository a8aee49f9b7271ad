"""Each method of the installed SDKs leaves its records, or stands in a list with the reason."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from affidavit.testing import capture_events
from tests.support.provider import Provider
from tests.support.sdk_methods import Method, client_of, consume, consume_async, merged, methods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.requirement("R1"),
    # A method that its SDK calls deprecated is recorded as well.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SOCKET: Final = "opens a WebSocket, which does not pass the SDK's request method; the guard sees it"
LOCAL: Final = "works on what the application has already; nothing is sent"
LATER: Final = "sends nothing itself: what it gives calls other methods, and those are recorded"

NOT_RECORDED: Final[dict[str, dict[str, str]]] = {
    "openai": {
        "beta.agents.environments.files.prepare": LOCAL,
        "beta.agents.environments.files.prepare_directory": LOCAL,
        "beta.agents.sessions.artifacts.for_result": LATER,
        "beta.realtime.connect": SOCKET,
        "beta.responses.connect": SOCKET,
        "live.connect": SOCKET,
        "live.forks.connect": SOCKET,
        "live.sideband.connect": SOCKET,
        "realtime.connect": SOCKET,
        "realtime.translations.connect": SOCKET,
        "responses.connect": SOCKET,
        "webhooks.unwrap": LOCAL,
        "webhooks.verify_signature": LOCAL,
    },
    "anthropic": {
        "beta.environments.work.worker": LATER,
        "beta.messages.thread": LATER,
        "beta.sessions.events.tool_runner": LATER,
        "beta.webhooks.parse_unverified": LOCAL,
        "beta.webhooks.unwrap": LOCAL,
    },
}
"""Methods that send no request, by SDK and name, each with its reason."""

FILE: Final = ("canned.txt", b"canned", "text/plain")
PLACE: Final = "/workspace/canned.txt"
POLLED: Final = {"drain": True, "auto_stop": False, "block_ms": None}
SPECIAL: Final[dict[str, dict[str, Any]]] = {
    "admin.organization.external_keys.create": {
        "external_id": "e", "kms_arn": "k", "name": "n", "role_arn": "r", "type": "aws",
    },
    "audio.voices.create": {"name": "n", "prompt": "p", "type": "prompt"},
    "beta.agents.automations.create": {
        "name": "n", "run_at": "2026-01-01T00:00:00Z", "target": {}, "type": "once",
    },
    "beta.agents.environments.files.create": {"data": "Yw==", "path": PLACE, "type": "inline"},
    "beta.agents.environments.files.upload": {"file": FILE, "path": PLACE},
    "beta.agents.sessions.stream": {"input": "canned"},
    "beta.environments.work.poller": POLLED,
    "responses.stream": {"input": "canned", "model": "canned"},
    "uploads.upload_file_chunked": {"file": b"canned", "filename": "canned.txt", "bytes": 6},
    "vector_stores.file_batches.upload_and_poll": {"files": [FILE]},
}  # fmt: skip
"""Arguments that a signature does not tell."""

GIVES_UP: Final = {"beta.agents.sessions.stream": "sessions.stream requires an idle session"}
"""Methods that do not like what the canned provider answers, and what they say of it."""

IN_THREADS: Final = "vector_stores.file_batches.upload_and_poll"
"""Uploads in threads of its own, which know nothing of the caller's context."""


@dataclass
class Ran:
    """What calling one method did: requests that came, endpoints recorded, calls recorded."""

    error: str = ""
    sent: list[str] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    @property
    def is_recorded(self) -> bool:
        """Whether each request has one intent with its endpoint, and one outcome."""
        there = sorted(endpoint.replace("/v1", "") for endpoint in self.endpoints)
        return (
            sorted(sent.replace("/v1", "") for sent in self.sent) == there
            and sorted(self.begun) == sorted(self.ended)
            and len(set(self.begun)) == len(self.sent)
        )


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """One provider for the module."""
    with Provider() as running:
        yield running


def run_all(name: str, provider: Provider) -> dict[str, Ran]:
    """Call every synchronous method through a wrapped client."""
    ran: dict[str, Ran] = {}
    with capture_events(redaction="off") as captured:
        client = captured.audit.wrap(client_of(name, provider, is_async=False))
        for method in methods(client):
            with captured.audit.context(user_id=method.name):
                ran[method.name] = call(name, method, provider)
        account(ran, captured.records)
        client.close()
    return ran


def run_all_async(name: str, provider: Provider, view: str = "") -> dict[str, Ran]:
    """Call every asynchronous method, or that of a view, through a wrapped client."""
    ran: dict[str, Ran] = {}

    async def every(audit: Any) -> None:
        async with audit.wrap(client_of(name, provider, is_async=True)) as client:
            for method in methods(client):
                function = method.view(view) if view else method.function
                if function is not None:
                    with audit.context(user_id=method.name):
                        ran[method.name] = await call_async(name, method, function, provider)

    with capture_events(redaction="off") as captured:
        asyncio.run(every(captured.audit))
        account(ran, captured.records)
    return ran


def run_all_raw(name: str, provider: Provider) -> dict[str, Ran]:
    """Call every method of ``with_raw_response``."""
    return run_all_async(name, provider, "with_raw_response")


def run_all_streaming(name: str, provider: Provider) -> dict[str, Ran]:
    """Call every method of ``with_streaming_response``."""
    return run_all_async(name, provider, "with_streaming_response")


def is_called(name: str, method: Method) -> bool:
    """Whether it can be tried: a socket not listed yet might go out to the real provider."""
    return method.name not in NOT_RECORDED[name] and not method.name.endswith(".connect")


def call(name: str, method: Method, provider: Provider) -> Ran:
    """Call one method and use up what it gives."""
    ran, before = Ran(), len(provider.requests)
    if not is_called(name, method):
        return ran
    try:
        consume(method.function(**merged(method, SPECIAL)))
    except Exception as error:
        ran.error = f"{type(error).__name__}: {error}"
    ran.sent = sent_since(provider, before)
    return ran


async def call_async(
    name: str, method: Method, function: Callable[..., Any], provider: Provider
) -> Ran:
    """The same for an asynchronous one."""
    ran, before = Ran(), len(provider.requests)
    if not is_called(name, method):
        return ran
    try:
        async with asyncio.timeout(10):
            await consume_async(function(**merged(method, SPECIAL)))
    except Exception as error:
        ran.error = f"{type(error).__name__}: {error}"
    ran.sent = sent_since(provider, before)
    return ran


def sent_since(provider: Provider, before: int) -> list[str]:
    """The requests that came since, as method and path."""
    return [f"{one.request.method} {one.path}" for one in provider.requests[before:]]


def account(ran: dict[str, Ran], records: list[dict[str, Any]]) -> None:
    """Add to each method what was recorded of it."""
    kinds = {"llm_request": "begun", "llm_response": "ended"}
    by_user: defaultdict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        by_user[record["user_id"]].append(record)
    for name, one in ran.items():
        for record in by_user[name] + (by_user[None] if name == IN_THREADS else []):
            kind = kinds.get(record["event_type"])
            if kind is not None:
                getattr(one, kind).append(record["call_id"])
            if kind == "begun":
                one.endpoints.append(record["request_data"]["endpoint"])


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "run",
    [run_all, run_all_async, run_all_raw, run_all_streaming],
    ids=["sync", "async", "raw", "streaming"],
)
@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_every_method_is_recorded_or_listed(name: str, run: Any, provider: Provider) -> None:
    """Each request that reached the provider has its intent and its outcome."""
    ran: dict[str, Ran] = run(name, provider)
    listed = NOT_RECORDED[name]
    assert len(ran) > 15  # old versions have few; of the newest there are some 400
    assert {"openai": "chat.completions.create", "anthropic": "messages.create"}[name] in ran
    errors = {method: one.error for method, one in ran.items() if one.error}
    assert {m: e for m, e in errors.items() if GIVES_UP.get(m, "no error") not in e} == {}
    silent = {method for method, one in ran.items() if not one.sent}
    assert {m: ran[m].error for m in silent - listed.keys()} == {}, "these sent no request"
    assert listed.keys() & ran.keys() <= silent, "these are listed, and do send requests"
    assert {method: one for method, one in ran.items() if not one.is_recorded} == {}
