"""`affidavit.instrument()`: every client in the process, once, until `uninstrument()`."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

import affidavit
from affidavit import AsyncAuditLogger, ConfigError
from affidavit.testing import Captured, MemoryStore, capture_events
from tests.support.capturing import (
    CHAT,
    MESSAGE,
    anthropic_client,
    async_openai_client,
    calls,
    openai_client,
)
from tests.support.provider import Provider

pytestmark = pytest.mark.requirement("R1")


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    """Whatever a test leaves, the next one starts without it."""
    yield
    affidavit.uninstrument()


def run(script: str) -> Any:
    """Run a script in a process of its own; what it prints is JSON."""
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return json.loads(ended.stdout)


async def test_every_client_is_covered(provider: Provider, captured: Captured) -> None:
    """Clients made before and after, of both SDKs, synchronous and not."""
    before = openai_client(provider)
    affidavit.instrument(captured.audit)
    after, later = anthropic_client(provider), async_openai_client(provider)
    before.chat.completions.create(**CHAT)
    after.messages.create(**MESSAGE)
    await later.chat.completions.create(**CHAT)
    before.close()
    after.close()
    await later.close()
    assert [intent["provider"] for intent, _ in calls(captured)] == [
        "openai", "anthropic", "openai",
    ]  # fmt: skip


def test_it_reports_what_is_active(captured: Captured) -> None:
    """The report prints as one line and lists each SDK with its version."""
    report = affidavit.instrument(captured.audit)
    assert [(one.sdk, one.state) for one in report] == [
        ("openai", "active"), ("anthropic", "active"),
    ]  # fmt: skip
    expected = f"openai {openai.__version__}: active; anthropic {anthropic.__version__}: active"
    assert str(report) == expected
    assert len(report) == 2
    assert report.audit is captured.audit


def test_asking_twice_changes_nothing(provider: Provider, captured: Captured) -> None:
    """The same report comes back, and each call is recorded once."""
    first = affidavit.instrument(captured.audit)
    assert affidavit.instrument(captured.audit) is first
    with openai_client(provider) as client:
        client.chat.completions.create(**CHAT)
    assert len(calls(captured)) == 1


def test_another_logger_takes_over(provider: Provider, captured: Captured) -> None:
    """From the second `instrument()` on, its logger records, and the first one does not."""
    with capture_events() as second, openai_client(provider) as client:
        affidavit.instrument(captured.audit)
        affidavit.instrument(second.audit)
        client.chat.completions.create(**CHAT)
        assert len(calls(second)) == 1
    assert captured.records == []


def test_a_wrapped_client_keeps_its_own_logger(provider: Provider, captured: Captured) -> None:
    """Wrapped and instrumented, it records once: where it was wrapped."""
    with capture_events() as own:
        client = own.audit.wrap(openai_client(provider))
        affidavit.instrument(captured.audit)
        client.chat.completions.create(**CHAT)
        assert len(calls(own)) == 1
        assert captured.records == []
        affidavit.uninstrument()
        client.chat.completions.create(**CHAT)
        assert len(calls(own)) == 2
        client.close()


def test_undoing_leaves_the_sdks_as_they_were(provider: Provider) -> None:
    """The base classes have their own methods again; undoing twice is no error."""
    script = f"""
    import json, openai
    import affidavit
    from affidavit.testing import capture_events
    from openai._base_client import AsyncAPIClient, BaseClient, SyncAPIClient

    def methods():
        return [SyncAPIClient.request, SyncAPIClient._process_response, AsyncAPIClient.request,
                AsyncAPIClient._process_response, BaseClient._should_retry]

    before = methods()
    with capture_events() as captured:
        affidavit.instrument(captured.audit)
        patched = sum(now is not then for now, then in zip(methods(), before))
        affidavit.uninstrument()
        affidavit.uninstrument()
        client = openai.OpenAI(base_url={provider.openai_url!r}, api_key="k")
        client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "A"}}])
        print(json.dumps([patched, methods() == before, len(captured.records)]))
    """
    assert run(script) == [5, True, 0]


def test_it_makes_a_logger_of_an_address_and_closes_it(
    provider: Provider, mongodb_uri: str
) -> None:
    """Given an address, the records are in the database when `uninstrument()` returns."""
    from pymongo import MongoClient

    report = affidavit.instrument(mongodb_uri, service="assistant")
    with openai_client(provider) as client:
        answer = client.chat.completions.create(**CHAT)
    affidavit.uninstrument()
    assert report.audit.stats().lost == 0
    with MongoClient[dict[str, Any]](mongodb_uri) as database:
        records = list(
            database.get_default_database()["llm_audit"].find(
                {"call_id": affidavit.call_id(answer)}
            )
        )
    assert {record["status"] for record in records} == {"initiated", "completed"}
    assert {record["service"] for record in records} == {"assistant"}


async def test_an_asynchronous_logger_records_both_kinds(provider: Provider) -> None:
    """AsyncAuditLogger serves clients of both kinds, by `wrap` and by `instrument`."""
    store = MemoryStore("memory:asynchronous")
    async with AsyncAuditLogger(store) as audit:
        wrapped = audit.wrap(async_openai_client(provider))
        await wrapped.chat.completions.create(**CHAT)
        affidavit.instrument(audit)
        with anthropic_client(provider) as client:
            client.messages.create(**MESSAGE)
        affidavit.uninstrument()
        await wrapped.close()
        assert await audit.flush()
        assert audit.stats().stored == 4


def test_only_the_sdks_that_are_named(provider: Provider, captured: Captured) -> None:
    """`sdks` limits it; a name that is not known is an error."""
    affidavit.instrument(captured.audit, sdks=["anthropic"])
    with openai_client(provider) as gpt, anthropic_client(provider) as claude:
        gpt.chat.completions.create(**CHAT)
        claude.messages.create(**MESSAGE)
    assert [intent["provider"] for intent, _ in calls(captured)] == ["anthropic"]
    with pytest.raises(ValueError, match="groq"):
        affidavit.instrument(captured.audit, sdks=["groq"])


def test_without_an_address_it_says_what_to_do() -> None:
    """As for a logger: the error names the variable."""
    with pytest.raises(ConfigError, match="AFFIDAVIT_MONGODB_URI"):
        affidavit.instrument()


def test_an_sdk_that_is_imported_later_is_covered(provider: Provider) -> None:
    """`instrument()` imports no SDK; it waits, and the report says so."""
    script = f"""
    import json, sys
    import affidavit
    from affidavit.testing import capture_events

    with capture_events() as captured:
        report = affidavit.instrument(captured.audit)
        early = "openai" in sys.modules or "anthropic" in sys.modules
        waiting = [one.state for one in report]
        import openai
        client = openai.OpenAI(base_url={provider.openai_url!r}, api_key="k")
        client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "A"}}])
        states = [one.state for one in report]
        count = len(captured.records)
        affidavit.uninstrument()
        client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "A"}}])
        print(json.dumps([early, waiting, states, count, len(captured.records)]))
    """
    assert run(script) == [False, ["waiting", "waiting"], ["active", "waiting"], 2, 2]
