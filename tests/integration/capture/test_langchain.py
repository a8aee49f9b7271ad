"""LangChain's handlers, with the real package, over real HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from affidavit import AsyncAuditLogger, AuditUnavailable
from affidavit.capture.langchain import async_handler, handler
from affidavit.testing import MemoryStore, capture_events
from tests.support.langchain_models import CannedChat, CannedText
from tests.support.provider import Fault, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.testing import Captured

pytestmark = pytest.mark.requirement("R1")

ASKED = [SystemMessage("You trade."), HumanMessage("Analyze BTCUSDT on the daily chart.")]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPhfDwAChwGA60e6kgAAAABJ"


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A model on loopback."""
    with Provider() as started:
        yield started


@pytest.fixture
def captured() -> Iterator[Captured]:
    """A synchronous logger over a store in memory."""
    with capture_events() as one:
        yield one


def check(outcome: dict[str, Any], provider: Provider) -> None:
    """An outcome holds what the provider sent, to the token."""
    expected = provider.requests[-1].expected
    assert outcome["status"] == "completed", outcome
    assert outcome["response_data"]["text"] == expected["text"]
    for name in ("input_tokens", "output_tokens", "cached_tokens", "finish_reason", "model"):
        assert outcome[name] == expected[name], name
    assert outcome["response_data"]["response_id"] == expected["response_id"]


def test_a_chat_model_leaves_question_and_answer(provider: Provider, captured: Captured) -> None:
    """Turns in the shape of SDKs, parameters, usage as the provider counts."""
    model = CannedChat(base_url=provider.openai_url)
    config: Any = {
        "callbacks": [handler(captured.audit)],
        "metadata": {"user_id": "ana", "thread_id": "t1"},
    }
    reply = model.invoke(ASKED, config, stop=["END"])
    intent, outcome = captured.records
    assert intent["request_data"]["messages"] == [
        {"role": "system", "content": "You trade."},
        {"role": "user", "content": "Analyze BTCUSDT on the daily chart."},
    ]
    assert intent["request_data"]["parameters"] == {"temperature": 0.5, "stop": ["END"]}
    assert intent["request_data"]["operation"] == "chat"
    assert (intent["provider"], intent["model"]) == ("openai", "gpt-4o")
    assert (intent["user_id"], intent["conversation_id"]) == ("ana", "t1")
    assert outcome["response_data"]["text"] == reply.content
    assert outcome["response_data"]["usage_raw"]["prompt_tokens"] == outcome["input_tokens"]
    check(outcome, provider)


def test_a_stream_leaves_one_call_with_its_first_token(
    provider: Provider, captured: Captured
) -> None:
    """Text and usage are those of the whole stream."""
    model = CannedChat(base_url=provider.openai_url)
    config: Any = {"callbacks": [handler(captured.audit)]}
    pieces = [str(chunk.content) for chunk in model.stream(ASKED, config)]
    outcome = captured.records[-1]
    assert len(pieces) > 1
    assert outcome["response_data"]["text"] == "".join(pieces)
    assert 0 < outcome["time_to_first_token_ms"] <= outcome["response_data"]["processing_time_ms"]
    check(outcome, provider)


def test_a_stream_left_early_is_aborted_with_what_came(
    provider: Provider, captured: Captured
) -> None:
    """The consumer stops after the first piece."""
    model = CannedChat(base_url=provider.openai_url)
    stream = model.stream(ASKED, {"callbacks": [handler(captured.audit)]})
    first = next(chunk.content for chunk in stream if chunk.content)
    stream.close()  # type: ignore[attr-defined]
    outcome = captured.records[-1]
    assert outcome["status"] == "aborted"
    assert outcome["response_data"]["text"] == first


async def test_an_asynchronous_run_is_recorded_by_either_handler(
    provider: Provider, captured: Captured
) -> None:
    """Plain and streamed, under both loggers."""
    store = MemoryStore()
    model = CannedChat(base_url=provider.openai_url)
    async with AsyncAuditLogger(store) as audit:
        for made in (async_handler(audit), async_handler(captured.audit), handler(captured.audit)):
            config: Any = {"callbacks": [made]}
            await model.ainvoke(ASKED, config)
            assert [chunk async for chunk in model.astream(ASKED, config)]
        await audit.flush()
    kept = [r for r in store.documents("records") if r["event_type"] == "llm_response"]
    kept += [r for r in captured.records if r["event_type"] == "llm_response"]
    assert len(kept) == 6
    for outcome in kept:
        assert outcome["status"] == "completed"
        assert outcome["input_tokens"] > 0
        assert outcome["response_data"]["text"]


async def test_a_cancelled_run_is_aborted(provider: Provider, captured: Captured) -> None:
    """While the provider hangs."""
    provider.script("hang")
    model = CannedChat(base_url=provider.openai_url)
    config: Any = {"callbacks": [async_handler(captured.audit)]}
    task = asyncio.create_task(model.ainvoke(ASKED, config))
    async with asyncio.timeout(10):
        while not provider.requests:  # noqa: ASYNC110 - the provider runs in a thread
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    outcome = captured.records[-1]
    assert (outcome["status"], outcome["error_type"]) == ("aborted", "CancelledError")


def test_an_error_of_the_provider_makes_the_call_failed(
    provider: Provider, captured: Captured
) -> None:
    """And reaches the application unchanged."""
    provider.script("error")
    model = CannedChat(base_url=provider.openai_url)
    with pytest.raises(openai.InternalServerError):
        model.invoke(ASKED, {"callbacks": [handler(captured.audit)]})
    outcome = captured.records[-1]
    assert (outcome["status"], outcome["error_type"]) == ("failed", "InternalServerError")


def test_too_many_requests_are_a_failed_call_and_a_limit(
    provider: Provider, captured: Captured
) -> None:
    """With what the headers say of the limit."""
    provider.script("rate-limit")
    model = CannedChat(base_url=provider.openai_url)
    with pytest.raises(openai.RateLimitError):
        model.invoke(ASKED, {"callbacks": [handler(captured.audit)]})
    _, limit, outcome = captured.records
    assert (limit["event_type"], limit["call_id"]) == ("rate_limit_exceeded", outcome["call_id"])
    assert limit["details"]["limit_type"] in {"requests", "tokens"}
    assert limit["details"]["details"]["remaining"] == 0
    assert outcome["status"] == "failed"


def test_a_stream_that_breaks_is_failed_with_what_came(
    provider: Provider, captured: Captured
) -> None:
    """The text so far is kept."""
    provider.script(Fault("cut", after=3))
    model = CannedChat(base_url=provider.openai_url)
    pieces = []
    with pytest.raises(Exception, match=r".") as raised:  # noqa: PT012 - what comes before counts
        for chunk in model.stream(ASKED, {"callbacks": [handler(captured.audit)]}):
            pieces.append(str(chunk.content))  # noqa: PERF401 - what came before the break is kept
    outcome = captured.records[-1]
    assert (outcome["status"], outcome["error_type"]) == ("failed", type(raised.value).__name__)
    assert outcome["response_data"]["text"] == "".join(pieces)


def test_tools_their_calls_and_results_are_kept(provider: Provider, captured: Captured) -> None:
    """Definitions in the request, calls in the answer, results as a turn."""
    tool = {"type": "function", "function": {"name": "candles", "parameters": {"type": "object"}}}
    model = CannedChat(base_url=provider.openai_url)
    config: Any = {"callbacks": [handler(captured.audit)]}
    reply = model.invoke(ASKED, config, tools=[tool])
    result = ToolMessage("63,000", tool_call_id=reply.tool_calls[0]["id"], name="candles")
    model.invoke([*ASKED, reply, result], config)
    first, called, second, _ = captured.records
    assert first["request_data"]["tools"] == [tool]
    (made,) = called["response_data"]["tool_calls"]
    assert (made["name"], made["id"]) == ("candles", reply.tool_calls[0]["id"])
    assert called["finish_reason"] == "tool_calls"
    turns = second["request_data"]["messages"]
    assert turns[2]["tool_calls"][0]["name"] == "candles"
    assert turns[3] == {
        "role": "tool", "content": "63,000", "tool_call_id": made["id"], "name": "candles",
    }  # fmt: skip


def test_pictures_are_kept_by_hash(provider: Provider, captured: Captured) -> None:
    """In LangChain's own form and in OpenAI's."""
    parts: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    model = CannedChat(base_url=provider.openai_url)
    model.invoke([HumanMessage(parts)], {"callbacks": [handler(captured.audit)]})
    content = captured.records[0]["request_data"]["messages"][0]["content"]
    assert content[0] == {"type": "text", "text": "What is this?"}
    assert [part["type"] for part in content[1:]] == ["image", "image"]
    assert content[1]["sha256"] == content[2]["sha256"]
    assert PIXEL not in str(captured.records)


def test_a_chain_and_a_batch_leave_one_call_for_each_model_run(
    provider: Provider, captured: Captured
) -> None:
    """Chains and parsers leave none of their own."""
    prompt = ChatPromptTemplate.from_messages([("human", "Analyze {symbol}")])
    chain = prompt | CannedChat(base_url=provider.openai_url) | StrOutputParser()
    answers = chain.batch(
        [{"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}], {"callbacks": [handler(captured.audit)]}
    )
    intents = [r for r in captured.records if r["event_type"] == "llm_request"]
    asked = {r["request_data"]["messages"][0]["content"] for r in intents}
    assert len(answers) == 2
    assert asked == {"Analyze BTCUSDT", "Analyze ETHUSDT"}
    assert all(r["request_data"]["parent_run_id"] for r in intents)


def test_a_text_model_is_recorded(provider: Provider, captured: Captured) -> None:
    """It has a question instead of turns."""
    model = CannedText(base_url=provider.openai_url)
    answer = model.invoke("Once upon", {"callbacks": [handler(captured.audit)]})
    intent, outcome = captured.records
    assert intent["request_data"]["message"] == "Once upon"
    assert intent["request_data"]["operation"] == "text_completion"
    assert outcome["response_data"]["text"] == answer


async def test_under_refuse_the_model_is_not_asked(provider: Provider) -> None:
    """AuditUnavailable leaves both handlers, before the request."""
    with capture_events(on_failure="refuse", write_timeout=0.2) as strict:
        strict.store.unavailable = True
        model = CannedChat(base_url=provider.openai_url)
        with pytest.raises(AuditUnavailable):
            model.invoke(ASKED, {"callbacks": [handler(strict.audit)]})
        with pytest.raises(AuditUnavailable):
            await model.ainvoke(ASKED, {"callbacks": [async_handler(strict.audit)]})
        strict.store.unavailable = False
    assert provider.requests == []


def test_what_cannot_be_read_stops_nobody(captured: Captured) -> None:
    """A handler that meets what it does not know lets the run go on."""
    made: Any = handler(captured.audit)
    made.on_chat_model_start({}, "nonsense", run_id="1")
    made.on_llm_end(None, run_id="1")
    made.on_llm_error(ValueError("x"), run_id="2")
    made.on_chat_model_start({}, [[AIMessage("hi")]], run_id="3", invocation_params=None)
    made.on_llm_end(3, run_id="3")
    assert captured.records[-1]["status"] == "completed"


def test_nothing_of_langchain_is_imported_before_a_handler_is_made() -> None:
    """It takes its time to import, and is no dependency."""
    code = (
        "import sys, affidavit, affidavit.capture.langchain; print('langchain_core' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
