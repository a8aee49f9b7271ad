"""Streams that end early, break, or come in numbers; and what each leaves in the log."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from affidavit.testing import Captured, capture_events
from tests.support.capturing import (
    CHAT,
    MESSAGE,
    RESPONSE,
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    calls,
    only_call,
    openai_client,
)
from tests.support.provider import Fault, Provider

pytestmark = pytest.mark.requirement("R1")

START: dict[str, Callable[[Any], Any]] = {
    "chat": lambda client: client.chat.completions.create(**CHAT, stream=True),
    "response": lambda client: client.responses.create(**RESPONSE, stream=True),
    "message": lambda client: client.messages.create(**MESSAGE, stream=True),
}


def sync_client(kind: str, provider: Provider, **options: Any) -> Any:
    """The synchronous client for this kind of request."""
    make: Any = anthropic_client if kind == "message" else openai_client
    return make(provider, **options)


def async_client(kind: str, provider: Provider, **options: Any) -> Any:
    """The asynchronous client for this kind of request."""
    make: Any = async_anthropic_client if kind == "message" else async_openai_client
    return make(provider, **options)


def text_in(event: Any) -> str:
    """The text that an event of any of the three streams brought."""
    if getattr(event, "choices", None):
        return event.choices[0].delta.content or ""
    delta = getattr(event, "delta", None)
    if isinstance(delta, str):
        return delta
    return getattr(delta, "text", None) or ""


def ended_early(captured: Captured, got: str) -> dict[str, Any]:
    """The outcome of the only call, which must be aborted with the text that had arrived."""
    _, outcome = only_call(captured)
    answer = outcome["response_data"]
    assert outcome["status"] == "aborted"
    assert outcome["success"] is False
    assert answer["text"] == got
    assert answer["usage_estimated"] is True
    assert outcome["output_tokens"] >= 1
    assert outcome["input_tokens"] > 0
    assert outcome["time_to_first_token_ms"] > 0
    return outcome


@pytest.mark.parametrize("kind", START)
def test_a_stream_that_is_left_early_is_aborted(
    kind: str, provider: Provider, captured: Captured
) -> None:
    """What had arrived is kept, with usage estimated and marked so."""
    got = ""
    with captured.audit.wrap(sync_client(kind, provider)) as client:
        with START[kind](client) as stream:
            for event in stream:
                got += text_in(event)
                if len(got) > 20:
                    break
        ended_early(captured, got)


@pytest.mark.parametrize("kind", START)
async def test_an_asynchronous_stream_that_is_left_early_is_aborted(
    kind: str, provider: Provider, captured: Captured
) -> None:
    """The same, asynchronously."""
    got = ""
    async with captured.audit.wrap(async_client(kind, provider)) as client:
        async with await START[kind](client) as stream:
            async for event in stream:
                got += text_in(event)
                if len(got) > 20:
                    break
        ended_early(captured, got)


@pytest.mark.parametrize("kind", START)
async def test_a_cancelled_task_leaves_an_aborted_call(
    kind: str, provider: Provider, captured: Captured
) -> None:
    """Cancellation in mid-stream reaches the task as ever, and the log says aborted."""
    provider.script(Fault("hang-in-stream", after=8))
    got: list[str] = []
    async with captured.audit.wrap(async_client(kind, provider)) as client:

        async def read() -> None:
            async for event in await START[kind](client):
                got.append(text_in(event))  # noqa: PERF401 - what came must be there when it ends

        task = asyncio.create_task(read())
        while not any(got):  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        outcome = ended_early(captured, "".join(got))
    assert outcome["error_type"] == "CancelledError"


async def test_a_request_cancelled_before_its_answer_is_aborted(
    provider: Provider, captured: Captured
) -> None:
    """Nothing came yet: the record has no text and no status."""
    provider.script("hang")
    async with captured.audit.wrap(async_openai_client(provider)) as client:
        task = asyncio.create_task(client.chat.completions.create(**CHAT))
        while not provider.requests:  # noqa: ASYNC110 - another thread's list
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    _, outcome = only_call(captured)
    assert outcome["status"] == "aborted"
    assert "text" not in outcome["response_data"]


async def test_a_request_cancelled_while_its_intent_is_written_is_aborted(
    provider: Provider,
) -> None:
    """Under `refuse` the intent is waited for; who is cancelled meanwhile has asked nothing."""
    with capture_events(on_failure="refuse", write_timeout=5) as captured:
        client = captured.audit.wrap(async_openai_client(provider))
        captured.store.hang_s = 1.0
        task = asyncio.create_task(client.chat.completions.create(**CHAT))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        captured.store.hang_s = 0.0
        await asyncio.to_thread(captured.audit.flush)
        await client.close()
        _, outcome = only_call(captured)
    assert outcome["status"] == "aborted"
    assert provider.requests == []


@pytest.mark.parametrize("started", [False, True], ids=["unread", "begun"])
@pytest.mark.parametrize("kind", START)
def test_a_stream_that_is_dropped_is_aborted(
    kind: str, started: bool, provider: Provider, captured: Captured
) -> None:
    """Nobody closed it: the garbage collector ends it, and the log does not wait in there."""
    with captured.audit.wrap(sync_client(kind, provider)) as client:
        stream = START[kind](client)
        if started:
            next(iter(stream))
        del stream
        gc.collect()
        deadline_s = time.monotonic() + 5
        while not any(r["event_type"] == "llm_response" for r in captured.records):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    _, outcome = only_call(captured)
    assert outcome["status"] == "aborted"


async def test_an_asynchronous_stream_that_is_dropped_is_aborted(
    provider: Provider, captured: Captured
) -> None:
    """The event loop ends what was begun, the garbage collector what was not."""
    async with captured.audit.wrap(async_openai_client(provider)) as client:
        for started in (False, True):
            stream = await START["chat"](client)
            if started:
                await anext(aiter(stream))
            del stream
            for _ in range(3):  # what a collection frees, the loop closes, which frees more
                gc.collect()
                await asyncio.sleep(0.05)
        await asyncio.to_thread(captured.audit.flush)
    assert [outcome["status"] for _, outcome in calls(captured)] == ["aborted", "aborted"]


def test_a_stream_open_at_exit_is_aborted(provider: Provider, tmp_path: Any) -> None:
    """A process that ends with a stream open leaves its outcome, too."""
    script = f"""
import atexit, json

@atexit.register  # the first that is registered runs last
def tell():
    print(json.dumps([r.get("status") for r in store.documents(Dest.RECORDS)]))

import openai
from affidavit import AuditLogger
from affidavit.event import Dest
from affidavit.testing import MemoryStore

store = MemoryStore("memory:exit")
client = AuditLogger(store, spool_dir={str(tmp_path)!r}).wrap(
    openai.OpenAI(base_url={provider.openai_url!r}, api_key="k"))
stream = client.chat.completions.create(
    model="canned-large", stream=True, messages=[{{"role": "user", "content": "Analyze"}}])
next(iter(stream))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(ended.stdout.splitlines()[-1]) == ["initiated", "aborted"]


@pytest.mark.parametrize("kind", START)
def test_a_stream_that_the_provider_cuts_is_failed(
    kind: str, provider: Provider, captured: Captured
) -> None:
    """The application sees the SDK's own error; the log keeps what came before it."""
    provider.script(Fault("cut", after=8))
    got = ""
    with captured.audit.wrap(sync_client(kind, provider)) as client:
        stream = START[kind](client)
        raised = None
        try:
            for event in stream:
                got += text_in(event)
        except Exception as error:  # each SDK and version has its own
            raised = error
    _, outcome = only_call(captured)
    assert outcome["status"] == "failed"
    assert outcome["response_data"]["text"] == got
    assert outcome["response_data"]["usage_estimated"] is True
    assert raised is not None
    assert outcome["error_message"]


@pytest.mark.parametrize("kind", ["chat", "message"])
def test_an_error_inside_a_stream_is_a_failed_call(
    kind: str, provider: Provider, captured: Captured
) -> None:
    """The provider's error event ends the call, with its own name."""
    provider.script(Fault("error-in-stream", after=8))
    with (
        captured.audit.wrap(sync_client(kind, provider)) as client,
        pytest.raises((openai.APIError, anthropic.APIError)),
    ):
        for _ in START[kind](client):
            pass
    _, outcome = only_call(captured)
    assert outcome["status"] == "failed"
    assert outcome["error_type"] in {"server_error", "overloaded_error"}


def test_an_application_that_stops_at_the_finish_reason_has_the_whole_answer(
    provider: Provider, captured: Captured
) -> None:
    """Leaving after the last content is a usual pattern, and no abort."""
    with captured.audit.wrap(openai_client(provider)) as client, START["chat"](client) as stream:
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
    _, outcome = only_call(captured)
    assert outcome["status"] == "completed"
    assert outcome["finish_reason"] == "stop"


@pytest.mark.parametrize("way", ["lines", "bytes", "parse", "helper", "raw"])
def test_each_way_of_reading_a_stream_is_recorded(
    way: str, provider: Provider, captured: Captured
) -> None:
    """Lines, bytes, a stream parsed from a raw response, and the SDK's own helper."""
    with captured.audit.wrap(openai_client(provider)) as client:
        completions = client.chat.completions
        if way == "helper":
            with completions.stream(**CHAT) as helper:
                helper.get_final_completion()
        elif way == "raw":
            for _ in completions.with_raw_response.create(**CHAT, stream=True).parse():
                pass
        else:
            with completions.with_streaming_response.create(**CHAT, stream=True) as response:
                if way == "lines":
                    assert list(response.iter_lines())
                elif way == "bytes":
                    assert list(response.iter_bytes(7))
                else:
                    assert list(response.parse())
    _, outcome = only_call(captured)
    assert outcome["status"] == "completed"
    assert outcome["response_data"]["text"] == provider.requests[-1].expected["text"]


@pytest.mark.parametrize("way", ["read", "lines", "unread"])
def test_a_body_that_is_read_in_pieces_is_recorded(
    way: str, provider: Provider, captured: Captured
) -> None:
    """`with_streaming_response` without a stream of events: the JSON is put together."""
    with captured.audit.wrap(openai_client(provider)) as client:
        completions = client.chat.completions
        with completions.with_streaming_response.create(**CHAT) as response:
            if way == "read":
                response.parse()
            elif way == "lines":
                assert list(response.iter_lines())
    _, outcome = only_call(captured)
    if way == "unread":
        assert outcome["status"] == "aborted"
    else:
        assert outcome["status"] == "completed"
        assert outcome["response_data"]["text"] == provider.requests[-1].expected["text"]


def test_each_chunk_is_handed_on_as_it_comes(captured: Captured) -> None:
    """The application has the first chunk long before the last one is sent."""
    with Provider(pause_s=0.05) as slow, captured.audit.wrap(openai_client(slow)) as client:
        started_s = time.perf_counter()
        at_s = [time.perf_counter() - started_s for _ in START["chat"](client)]
    assert at_s[0] < at_s[-1] / 2
    gaps = [later - earlier for earlier, later in itertools.pairwise(at_s)]
    assert sum(gap > 0.02 for gap in gaps) > len(gaps) / 2


@pytest.mark.timeout(120)
async def test_two_hundred_streams_at_once_lose_nothing() -> None:
    """Each of 200 concurrent streams leaves its intent and its whole outcome."""
    with Provider(pause_s=0.01) as provider, capture_events() as captured:
        async with (
            captured.audit.wrap(async_openai_client(provider)) as gpt,
            captured.audit.wrap(async_anthropic_client(provider)) as claude,
        ):

            async def one(number: int) -> str:
                kind = ("chat", "response", "message")[number % 3]
                got = ""
                async for event in await START[kind](claude if kind == "message" else gpt):
                    got += text_in(event)
                return got

            got = await asyncio.gather(*map(one, range(200)))
        found = calls(captured)
        assert len(found) == 200
        assert {outcome["status"] for _, outcome in found} == {"completed"}
        assert sorted(o["response_data"]["text"] for _, o in found) == sorted(got)
        stats = captured.audit.stats()
        assert stats.lost == 0


@pytest.mark.timeout(120)
def test_streams_in_many_threads_lose_nothing() -> None:
    """Forty threads share one client."""
    with Provider(pause_s=0.001) as provider, capture_events() as captured:
        with captured.audit.wrap(openai_client(provider)) as client:

            def read() -> None:
                for _ in START["chat"](client):
                    pass

            threads = [threading.Thread(target=read) for _ in range(40)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert {outcome["status"] for _, outcome in calls(captured)} == {"completed"}
        assert len(calls(captured)) == 40
