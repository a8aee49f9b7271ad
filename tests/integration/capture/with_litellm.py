"""LiteLLM's callback, with the real package, over real HTTP.

LiteLLM wants other versions of what the other tests use, so it has an environment of its own:
``python -m scripts.test_litellm`` makes it and runs this file there.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a list of prices

import litellm
import pytest

from affidavit import AsyncAuditLogger, AuditUnavailable
from affidavit.capture import litellm as ours
from affidavit.capture.litellm import callback
from affidavit.testing import MemoryStore, capture_events
from tests.support.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from affidavit.testing import Captured

pytestmark = [
    pytest.mark.requirement("R1"),
    pytest.mark.filterwarnings("default"),  # LiteLLM has its own
]

ASKED: list[Any] = [
    {"role": "system", "content": "You trade."},
    {"role": "user", "content": "Analyze BTCUSDT on the daily chart."},
]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A model on loopback."""
    with Provider() as started:
        yield started


@pytest.fixture
def captured() -> Iterator[Captured]:
    """A logger over a store in memory, with its callback in place."""
    with capture_events() as one:
        litellm.callbacks = [callback(one.audit)]
        yield one
        litellm.callbacks = []


@pytest.fixture(autouse=True)
def _no_callbacks_left() -> Iterator[None]:
    """LiteLLM copies callbacks into lists of its own, and keeps them there."""
    yield
    litellm.logging_callback_manager._reset_all_callbacks()


def to(provider: Provider, model: str = "openai/gpt-4o", **more: Any) -> dict[str, Any]:
    """Arguments of a call."""
    url = provider.anthropic_url if model.startswith("anthropic") else provider.openai_url
    whole = {"model": model, "messages": ASKED, "api_base": url, "api_key": "k", "max_retries": 0}
    return whole | more


def until(done: Callable[[], object], timeout_s: float = 10.0) -> None:
    """LiteLLM tells of an end in a thread or task of its own, a little later."""
    give_up_s = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


async def until_there(store: MemoryStore, audit: AsyncAuditLogger, count: int) -> list[Any]:
    """The same, for tasks."""
    async with asyncio.timeout(10):
        while len(store.documents("records")) < count:
            await asyncio.sleep(0.01)
            await audit.flush()
    return store.documents("records")


def outcomes(captured: Captured) -> list[dict[str, Any]]:
    """The finished calls."""
    return [r for r in captured.records if r["event_type"] == "llm_response"]


@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"])
def test_a_call_leaves_question_and_answer(
    model: str, provider: Provider, captured: Captured
) -> None:
    """To the token, as the provider counts; the application's key is not in the log."""
    with captured.audit.context(user_id="ana"):
        reply = litellm.completion(
            **to(provider, model, temperature=0.25, api_key="sk-very-secret")
        )
    until(lambda: outcomes(captured))
    intent, outcome = captured.records
    expected = provider.requests[-1].expected
    assert (intent["provider"], intent["user_id"]) == (model.partition("/")[0], "ana")
    assert intent["request_data"]["messages"] == ASKED
    assert intent["request_data"]["operation"] == "chat"
    assert intent["request_data"]["parameters"]["temperature"] == 0.25
    assert outcome["response_data"]["text"] == reply.choices[0].message.content == expected["text"]
    for name in ("input_tokens", "output_tokens", "cached_tokens"):
        assert outcome[name] == expected[name], name
    assert outcome["user_id"] == "ana"
    assert outcome["response_data"]["cost_source"] == "litellm"
    assert "sk-very-secret" not in str(captured.records)


def test_a_stream_leaves_one_call(provider: Provider, captured: Captured) -> None:
    """With its first token; where the provider was not asked for its usage, it is marked."""
    for options in ({}, {"stream_options": {"include_usage": True}}):
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in litellm.completion(**to(provider, stream=True, **options))
            if chunk.choices
        ]
    until(lambda: len(outcomes(captured)) == 2)
    first, second = outcomes(captured)
    assert first["response_data"]["text"] == second["response_data"]["text"] == "".join(pieces)
    assert first["time_to_first_token_ms"] > 0
    assert first["response_data"]["usage_estimated"] is True
    assert "usage_estimated" not in second["response_data"]
    assert second["input_tokens"] == provider.requests[-1].expected["input_tokens"]
    assert second["output_tokens"] == provider.requests[-1].expected["output_tokens"]


def test_an_error_is_a_failed_call_and_a_limit_its_own_record(
    provider: Provider, captured: Captured
) -> None:
    """The application gets LiteLLM's exceptions as ever."""
    provider.script("error", "rate-limit")
    with pytest.raises(litellm.InternalServerError):
        litellm.completion(**to(provider))
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(**to(provider))
    until(lambda: len(outcomes(captured)) == 2)
    kinds = [r["error_type"] for r in outcomes(captured)]
    assert kinds == ["InternalServerError", "RateLimitError"]
    (limit,) = [r for r in captured.records if r["event_type"] == "rate_limit_exceeded"]
    assert limit["call_id"] == outcomes(captured)[1]["call_id"]


def test_tools_are_kept(provider: Provider, captured: Captured) -> None:
    """Definitions and calls."""
    tool = {"type": "function", "function": {"name": "candles", "parameters": {"type": "object"}}}
    litellm.completion(**to(provider, tools=[tool]))
    until(lambda: outcomes(captured))
    intent, outcome = captured.records
    assert intent["request_data"]["tools"] == [tool]
    (called,) = outcome["response_data"]["tool_calls"]
    assert called["name"] == "candles"
    assert isinstance(called["arguments"], dict)
    assert outcome["finish_reason"] == "tool_calls"


def test_an_embedding_is_a_call(provider: Provider, captured: Captured) -> None:
    """With its inputs."""
    litellm.embedding(
        model="openai/text-embedding-3-small", input=["a", "b"], api_base=provider.openai_url,
        api_key="k",
    )  # fmt: skip
    until(lambda: outcomes(captured))
    intent, outcome = captured.records
    assert intent["request_data"]["operation"] == "embeddings"
    assert intent["request_data"]["input"] == ["a", "b"]
    assert outcome["input_tokens"] > 0


async def test_asynchronous_calls_are_recorded(provider: Provider) -> None:
    """Plain, streamed, failed; by the asynchronous logger."""
    store = MemoryStore()
    async with AsyncAuditLogger(store) as audit:
        litellm.callbacks = [callback(audit)]
        with audit.context(user_id="ana"):
            await litellm.acompletion(**to(provider))
            stream = await litellm.acompletion(**to(provider, stream=True))
            assert [chunk async for chunk in stream]
            provider.script("error")
            with pytest.raises(litellm.InternalServerError):
                await litellm.acompletion(**to(provider))
        records = await until_there(store, audit, 6)
    done = [r for r in records if r["event_type"] == "llm_response"]
    assert sorted(r["status"] for r in done) == ["completed", "completed", "failed"]
    assert {r["user_id"] for r in records} == {"ana"}
    assert {r["provider"] for r in records} == {"openai"}
    assert {r["model"] for r in records if r["event_type"] == "llm_request"} == {"gpt-4o"}


async def test_a_cancelled_call_is_aborted(provider: Provider) -> None:
    """Although LiteLLM tells nothing of it."""
    provider.script("hang")
    store = MemoryStore()
    async with AsyncAuditLogger(store) as audit:
        litellm.callbacks = [callback(audit)]
        task = asyncio.create_task(litellm.acompletion(**to(provider)))
        async with asyncio.timeout(10):
            while not provider.requests:  # noqa: ASYNC110 - the provider runs in a thread
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        records = await until_there(store, audit, 2)
    assert (records[-1]["status"], records[-1]["error_type"]) == ("aborted", "CancelledError")


async def test_a_stream_not_read_on_is_aborted(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A while after the task that asked has ended; LiteLLM tells nothing of it."""
    monkeypatch.setattr(ours, "LATE_S", 0.2)
    store = MemoryStore()
    async with AsyncAuditLogger(store) as audit:
        litellm.callbacks = [callback(audit)]

        async def read_a_little() -> None:
            stream = await litellm.acompletion(**to(provider, stream=True))
            await anext(aiter(stream))

        await asyncio.create_task(read_a_little())
        records = await until_there(store, audit, 2)
    assert records[-1]["status"] == "aborted"


async def test_under_refuse_an_asynchronous_call_is_not_made(provider: Provider) -> None:
    """AuditUnavailable comes before the request."""
    with capture_events(on_failure="refuse", write_timeout=0.2) as strict:
        litellm.callbacks = [callback(strict.audit)]
        strict.store.unavailable = True
        with pytest.raises(AuditUnavailable):
            await litellm.acompletion(**to(provider))
        strict.store.unavailable = False
    assert provider.requests == []


def test_under_refuse_a_synchronous_call_goes_on_and_says_so(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """LiteLLM lets no callback stop it: the page says so, and so does an error in the log."""
    with capture_events(on_failure="refuse", write_timeout=0.2) as strict:
        litellm.callbacks = [callback(strict.audit)]
        strict.store.unavailable = True
        litellm.completion(**to(provider))
        strict.store.unavailable = False
        until(lambda: outcomes(strict))
    assert "does not let a callback stop a synchronous call" in caplog.text


def test_a_cached_answer_is_recorded_as_one(provider: Provider, captured: Captured) -> None:
    """The model was not asked, and the application got an answer."""
    litellm.cache = litellm.Cache(type="local")
    try:
        for _ in range(2):
            litellm.completion(**to(provider), caching=True)
            time.sleep(0.2)  # the cache is filled in a thread
        until(lambda: len(outcomes(captured)) == 2)
    finally:
        litellm.cache = None
    assert len(provider.requests) == 1
    assert outcomes(captured)[1]["response_data"]["cache_hit"] is True
