"""What a wrapped client's calls leave in the log, for real SDK clients over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

import affidavit
from affidavit import AuditUnavailable
from affidavit.testing import Captured, capture_events
from tests.support.capturing import (
    ASKED,
    CHAT,
    CHAT_TOOLS,
    MESSAGE,
    MESSAGE_TOOLS,
    RESPONSE,
    RESPONSE_TOOLS,
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    calls,
    only_call,
    openai_client,
    said,
)
from tests.support.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.requirement("R1")

ASK: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "chat": lambda client, more: client.chat.completions.create(**CHAT | more),
    "response": lambda client, more: client.responses.create(**RESPONSE | more),
    "message": lambda client, more: client.messages.create(**MESSAGE | more),
}
TOOLS = {"chat": CHAT_TOOLS, "response": RESPONSE_TOOLS, "message": MESSAGE_TOOLS}
USAGE = {"chat": {"stream_options": {"include_usage": True}}}
THINKING: dict[str, dict[str, Any]] = {
    "chat": {"model": "canned-reasoning"},
    "response": {"model": "canned-reasoning"},
    "message": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048},
}
SHORT: dict[str, dict[str, Any]] = {
    "chat": {"max_tokens": 5},
    "response": {"max_output_tokens": 5},
    "message": {"max_tokens": 5},
}


def sync_client(kind: str, provider: Provider, **options: Any) -> Any:
    """The synchronous client for this kind of request."""
    make: Any = anthropic_client if kind == "message" else openai_client
    return make(provider, **options)


def async_client(kind: str, provider: Provider, **options: Any) -> Any:
    """The asynchronous client for this kind of request."""
    make: Any = async_anthropic_client if kind == "message" else async_openai_client
    return make(provider, **options)


def asked(kind: str, what: str) -> dict[str, Any]:
    """Arguments for a plain request, one with tools, and so on."""
    return {
        "plain": {},
        "tools": {"tools": TOOLS[kind]},
        "reasoning": THINKING[kind],
        "refusal": {"model": "canned-refusal"},
        "cut": SHORT[kind],
    }[what]


WHATS = ("plain", "tools", "reasoning", "refusal", "cut")


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("kind", ASK)
def test_an_answer_is_recorded_to_the_token(
    kind: str, what: str, provider: Provider, captured: Captured
) -> None:
    """Text, tool calls, reasoning, refusal, ids and counts equal what the provider sent."""
    with captured.audit.wrap(sync_client(kind, provider)) as client:
        ASK[kind](client, asked(kind, what))
    _, outcome = only_call(captured)
    expected = _expected(provider, kind)
    assert outcome["status"] == "completed"
    assert said(outcome, expected) == expected


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("kind", ASK)
def test_a_stream_is_recorded_to_the_token(
    kind: str, what: str, provider: Provider, captured: Captured
) -> None:
    """A stream that was read to its end leaves what an answer in one piece leaves."""
    with captured.audit.wrap(sync_client(kind, provider)) as client:
        for _ in ASK[kind](client, {**asked(kind, what), **USAGE.get(kind, {}), "stream": True}):
            pass
    _, outcome = only_call(captured)
    expected = _expected(provider, kind)
    assert outcome["status"] == "completed"
    assert said(outcome, expected) == expected
    assert outcome["response_data"]["stream"] is True
    assert outcome["time_to_first_token_ms"] > 0
    assert "usage_estimated" not in outcome["response_data"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("kind", ASK)
async def test_asynchronous_clients_leave_the_same(
    kind: str, what: str, stream: bool, provider: Provider, captured: Captured
) -> None:
    """AsyncOpenAI and AsyncAnthropic are recorded as their synchronous twins."""
    more = {**asked(kind, what), **(USAGE.get(kind, {}) if stream else {})}
    async with captured.audit.wrap(async_client(kind, provider)) as client:
        answer = await ASK[kind](client, {**more, "stream": stream})
        if stream:
            async for _ in answer:
                pass
    _, outcome = only_call(captured)
    expected = _expected(provider, kind)
    assert outcome["status"] == "completed"
    assert said(outcome, expected) == expected


def _expected(provider: Provider, kind: str) -> dict[str, Any]:
    expected = dict(provider.requests[-1].expected)
    if kind == "message":
        del expected["reasoning_tokens"]  # Anthropic counts them among the others, without saying
    return expected


@pytest.mark.parametrize("kind", ASK)
def test_the_intent_holds_the_conversation(
    kind: str, provider: Provider, captured: Captured
) -> None:
    """The system prompt is the first turn, whatever the provider calls it; tools are beside."""
    with captured.audit.wrap(sync_client(kind, provider)) as client:
        ASK[kind](client, {"tools": TOOLS[kind], "metadata": {"user_id": "u"}})
    intent, outcome = only_call(captured)
    data = intent["request_data"]
    assert data["messages"] == ASKED
    assert data["message_length"] == sum(len(turn["content"]) for turn in ASKED)
    assert data["tools"] == TOOLS[kind]
    assert data["parameters"]["metadata"] == {"user_id": "u"}
    assert data["operation"] == "chat"
    assert data["server_address"].startswith("127.0.0.1:")
    assert intent["provider"] == ("anthropic" if kind == "message" else "openai")
    assert outcome["request_data"]["endpoint"] == data["endpoint"]
    assert "odd" not in intent


def test_tools_with_nullable_parameters_are_recorded(
    provider: Provider, captured: Captured
) -> None:
    """In a schema, `type` may be a list."""
    schema = {"type": "object", "properties": {"days": {"type": ["integer", "null"]}}}
    tools: Any = [{"type": "function", "function": {"name": "candles", "parameters": schema}}]
    with captured.audit.wrap(openai_client(provider)) as client:
        client.chat.completions.create(**CHAT, tools=tools)
    intent, _ = only_call(captured)
    assert intent["request_data"]["tools"] == tools


def test_a_conversation_with_tools_is_told_turn_by_turn(
    provider: Provider, captured: Captured
) -> None:
    """The model's own turn, sent back as the SDK's object, and the tool's result are recorded."""
    with captured.audit.wrap(openai_client(provider)) as client:
        first = client.chat.completions.create(**CHAT, tools=CHAT_TOOLS[:1])
        (call,) = first.choices[0].message.tool_calls or ()
        turns = [
            *ASKED,
            first.choices[0].message,
            {"role": "tool", "tool_call_id": call.id, "content": "[1, 2, 3]"},
        ]
        client.chat.completions.create(model="canned-large", messages=turns, tools=CHAT_TOOLS[:1])
    _, (intent, outcome) = calls(captured)
    system, user, assistant, tool = intent["request_data"]["messages"]
    assert [system, user] == ASKED
    assert assistant["tool_calls"][0]["id"] == call.id
    assert tool["content"] == "[1, 2, 3]"
    assert outcome["response_data"]["text"]


def test_anthropics_blocks_are_told_when_they_are_sent_back(
    provider: Provider, captured: Captured
) -> None:
    """The assistant's turn as the SDK's own blocks, and the tool's result after it."""
    with captured.audit.wrap(anthropic_client(provider)) as client:
        first = client.messages.create(**MESSAGE, tools=MESSAGE_TOOLS[:1])
        (use,) = [block for block in first.content if block.type == "tool_use"]
        result: Any = {"type": "tool_result", "tool_use_id": use.id, "content": "[1, 2, 3]"}
        turns: Any = [
            *MESSAGE["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ]
        client.messages.create(**MESSAGE | {"messages": turns}, tools=MESSAGE_TOOLS[:1])
    _, (intent, outcome) = calls(captured)
    _, _, assistant, tool = intent["request_data"]["messages"]
    assert assistant["content"][-1]["id"] == use.id
    assert assistant["content"][-1]["input"] == use.input
    assert tool["content"] == [result]
    assert outcome["response_data"]["text"]
    assert "odd" not in intent


def test_binary_parts_are_recorded_by_hash_and_size(provider: Provider, captured: Captured) -> None:
    """A picture is its SHA-256, type and size; its bytes are not in the log."""
    picture = b"\x89PNG" + bytes(range(256))
    data = base64.b64encode(picture).decode()
    said_of_it = {
        "type": "image",
        "sha256": hashlib.sha256(picture).hexdigest(),
        "bytes": len(picture),
        "media_type": "image/png",
    }
    url = f"data:image/png;base64,{data}"
    source = {"type": "base64", "media_type": "image/png", "data": data}
    chat: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    message: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    with (
        captured.audit.wrap(openai_client(provider)) as gpt,
        captured.audit.wrap(anthropic_client(provider)) as claude,
    ):
        gpt.chat.completions.create(model="canned-large", messages=chat)
        gpt.responses.create(
            model="canned-large",
            input=[{"role": "user", "content": [{"type": "input_image", "image_url": url}]}],  # type: ignore[list-item,misc]
        )
        claude.messages.create(model="canned-opus", max_tokens=9, messages=message)
    for intent, _ in calls(captured):
        (turn,) = intent["request_data"]["messages"]
        assert turn["content"] == [said_of_it]
    assert data not in str(captured.records)


def test_an_uploaded_file_is_recorded_by_name_size_and_hash(
    provider: Provider, captured: Captured
) -> None:
    """An open file is read and left where it was, so that the provider gets all of it."""
    content = b"line\n" * 100
    with captured.audit.wrap(openai_client(provider)) as client:
        client.files.create(file=("questions.jsonl", io.BytesIO(content)), purpose="batch")
    intent, outcome = only_call(captured)
    (file,) = intent["request_data"]["files"]
    assert file["filename"] == "questions.jsonl"
    assert file["bytes"] == len(content)
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert content in provider.requests[-1].request.body
    assert outcome["response_data"]["response_id"] == "file-canned"


def test_other_families_are_recorded_with_what_matters(
    provider: Provider, captured: Captured
) -> None:
    """Embeddings, images, audio, moderations and batches have the fields that are theirs."""
    with captured.audit.wrap(openai_client(provider)) as client:
        client.embeddings.create(model="canned-embedding", input=["one two", "three"])
        client.images.generate(model="canned-image", prompt="a chart")
        client.audio.speech.create(model="canned-voice", voice="alloy", input="Sideways.")
        client.moderations.create(input="a text")
        client.batches.retrieve("batch_canned")
        client.completions.create(model="canned-large", prompt="Analyze")
    embeddings, image, speech, moderation, batch, completion = (one for _, one in calls(captured))
    assert embeddings["response_data"]["embeddings"] == 2
    assert embeddings["response_data"]["dimensions"] == 3
    assert embeddings["input_tokens"] == 3
    assert image["response_data"]["images"][0]["b64_json"]["type"] == "image"
    assert (image["input_tokens"], image["output_tokens"]) == (14, 272)
    assert speech["response_data"]["content"]["type"] == "audio"
    assert speech["response_data"]["content"]["media_type"] == "audio/mpeg"
    assert moderation["response_data"]["flagged"] is False
    assert batch["response_data"]["body"]["request_counts"] == {
        "total": 2, "completed": 2, "failed": 0,
    }  # fmt: skip
    assert completion["response_data"]["text"]


# -- other providers behind the same SDKs ----------------------------------------------------------


def test_azure_is_named_and_recorded(provider: Provider, captured: Captured) -> None:
    """AzureOpenAI's calls carry its own provider name."""
    client = captured.audit.wrap(
        openai.AzureOpenAI(azure_endpoint=provider.azure_url, api_key="k", api_version="2024-10-21")
    )
    client.chat.completions.create(**CHAT)
    client.close()
    _, outcome = only_call(captured)
    expected = provider.requests[-1].expected
    assert outcome["provider"] == "azure.ai.openai"
    assert said(outcome, expected) == expected


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_bedrock_is_named_and_recorded(
    stream: bool, provider: Provider, captured: Captured
) -> None:
    """AnthropicBedrock's calls are recorded, its binary event stream included."""
    client = captured.audit.wrap(
        anthropic.AnthropicBedrock(
            base_url=provider.anthropic_url,
            aws_region="eu-west-1",
            aws_access_key="k",
            aws_secret_key="s",
        )
    )
    answer: Any = client.messages.create(**MESSAGE, stream=stream)
    if stream:
        for _ in answer:
            pass
    client.close()
    _, outcome = only_call(captured)
    expected = _expected(provider, "message")
    assert outcome["provider"] == "aws.bedrock"
    assert said(outcome, expected) == expected


def test_vertex_is_named_and_recorded(provider: Provider, captured: Captured) -> None:
    """AnthropicVertex's calls are recorded."""
    client = captured.audit.wrap(
        anthropic.AnthropicVertex(
            base_url=provider.anthropic_url, region="eu", project_id="p", access_token="t"
        )
    )
    client.messages.create(**MESSAGE)
    client.close()
    _, outcome = only_call(captured)
    expected = _expected(provider, "message")
    assert outcome["provider"] == "gcp.vertex_ai"
    assert said(outcome, expected) == expected


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_refusal_for_too_many_requests_is_an_event_of_its_own(
    provider: Provider, captured: Captured
) -> None:
    """A 429 that reaches the application fails the call and records limit, remaining and reset."""
    provider.script("rate-limit")
    with (
        captured.audit.wrap(openai_client(provider, max_retries=0)) as client,
        pytest.raises(openai.RateLimitError),
    ):
        client.chat.completions.create(**CHAT)
    _, outcome = only_call(captured)
    (event,) = [r for r in captured.records if r["event_type"] == "rate_limit_exceeded"]
    assert outcome["status"] == "failed"
    assert outcome["error_type"] == "RateLimitError"
    assert outcome["response_data"]["http_status"] == 429
    assert outcome["response_data"]["request_id"] == provider.requests[-1].request_id
    assert event["call_id"] == outcome["call_id"]
    assert event["details"]["limit_type"] == "requests"
    assert event["details"]["details"]["limit"] == 10000
    assert event["details"]["details"]["remaining"] == 0
    assert event["details"]["details"]["reset"] == "1s"


def test_a_refusal_that_the_sdk_retried_is_recorded_too(
    provider: Provider, captured: Captured
) -> None:
    """The call succeeds with one retry, and the 429 is in the log nevertheless."""
    provider.script("rate-limit", "ok")
    with captured.audit.wrap(anthropic_client(provider)) as client:
        client.messages.create(**MESSAGE)
    _, outcome = only_call(captured)
    events = [r for r in captured.records if r["event_type"] == "rate_limit_exceeded"]
    assert outcome["status"] == "completed"
    assert outcome["response_data"]["retries"] == 1
    assert [event["details"]["limit_type"] for event in events] == ["requests"]


def test_retries_are_counted(provider: Provider, captured: Captured) -> None:
    """Attempts beyond the first are in the record, also where all of them failed."""
    provider.script("error", "error", "error")
    with (
        captured.audit.wrap(openai_client(provider)) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(**CHAT)
    _, outcome = only_call(captured)
    assert outcome["response_data"]["retries"] == 2
    assert outcome["response_data"]["http_status"] == 500


def test_a_timeout_is_a_failed_call(provider: Provider, captured: Captured) -> None:
    """No answer came: there is no status, and the error is the SDK's own."""
    provider.script("hang")
    with (
        captured.audit.wrap(openai_client(provider, max_retries=0, timeout=0.2)) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(**CHAT)
    _, outcome = only_call(captured)
    assert outcome["status"] == "failed"
    assert outcome["error_type"] == "APITimeoutError"
    assert "http_status" not in outcome["response_data"]


def test_an_answer_that_the_sdk_rejects_is_recorded_with_its_cost(
    provider: Provider, captured: Captured
) -> None:
    """`parse()` raises for an answer that was cut; text and tokens were paid for all the same."""
    from pydantic import BaseModel

    class Trend(BaseModel):
        direction: str

    with (
        captured.audit.wrap(openai_client(provider)) as client,
        pytest.raises(openai.LengthFinishReasonError),
    ):
        client.chat.completions.parse(**CHAT, max_tokens=5, response_format=Trend)
    _, outcome = only_call(captured)
    expected = provider.requests[-1].expected
    assert outcome["status"] == "failed"
    assert outcome["error_type"] == "LengthFinishReasonError"
    assert said(outcome, expected) == expected


@pytest.mark.parametrize("kind", ASK)
def test_nothing_is_asked_when_the_intent_is_not_durable(kind: str, provider: Provider) -> None:
    """Under `refuse`, the provider gets no request while the database is away."""
    with capture_events(on_failure="refuse", write_timeout=0.2) as captured:
        client = captured.audit.wrap(sync_client(kind, provider))
        captured.store.unavailable = True
        with pytest.raises(AuditUnavailable):
            ASK[kind](client, {})
        captured.store.unavailable = False
        assert provider.requests == []
        assert captured.audit.flush()
        ASK[kind](client, {})
        assert len(provider.requests) == 1
        client.close()


@pytest.mark.parametrize("kind", ASK)
async def test_nothing_is_asked_asynchronously_either(kind: str, provider: Provider) -> None:
    """The same holds for asynchronous clients."""
    with capture_events(on_failure="refuse", write_timeout=0.2) as captured:
        client = captured.audit.wrap(async_client(kind, provider))
        captured.store.unavailable = True
        with pytest.raises(AuditUnavailable):
            await ASK[kind](client, {})
        captured.store.unavailable = False
        assert provider.requests == []
        await client.close()


# -- ids and copies --------------------------------------------------------------------------------


def test_an_answer_leads_to_its_record(provider: Provider, captured: Captured) -> None:
    """`call_id` takes answers, streams, helpers, raw responses and exceptions."""
    with captured.audit.wrap(openai_client(provider, max_retries=0)) as client:
        answer = client.chat.completions.create(**CHAT)
        stream = client.chat.completions.create(**CHAT, stream=True)
        stream.close()
        raw = client.chat.completions.with_raw_response.create(**CHAT)
        with client.chat.completions.stream(**CHAT) as helper:
            helper.until_done()
        with client.chat.completions.with_streaming_response.create(**CHAT) as streamed:
            streamed.read()
        page = client.models.list()
        provider.script("unauthorized")
        with pytest.raises(openai.AuthenticationError) as raised:
            client.chat.completions.create(**CHAT)
    things = [answer, stream, raw, helper, streamed, page, raised.value]
    assert [affidavit.call_id(thing) for thing in things] == [
        intent["call_id"] for intent, _ in calls(captured)
    ]
    assert affidavit.call_id("a text") is None


def test_copies_of_a_wrapped_client_are_wrapped(provider: Provider, captured: Captured) -> None:
    """`with_options()` and `copy()` make clients that record, once each."""
    with captured.audit.wrap(openai_client(provider)) as client:
        client.with_options(timeout=5).with_options(max_retries=0).chat.completions.create(**CHAT)
        client.copy(api_key="other").chat.completions.create(**CHAT)
    assert len(calls(captured)) == 2


def test_wrapping_twice_records_once(provider: Provider, captured: Captured) -> None:
    """The client that comes back is the one that was given."""
    client = openai_client(provider)
    assert captured.audit.wrap(captured.audit.wrap(client)) is client
    client.chat.completions.create(**CHAT)
    client.close()
    assert len(calls(captured)) == 1


def test_other_clients_are_left_alone(provider: Provider, captured: Captured) -> None:
    """A client beside a wrapped one records nothing."""
    with captured.audit.wrap(openai_client(provider)), openai_client(provider) as other:
        other.chat.completions.create(**CHAT)
    assert captured.records == []


def test_something_else_cannot_be_wrapped(captured: Captured) -> None:
    """The error says what can, and what to do instead."""
    with pytest.raises(TypeError, match="observe"):
        captured.audit.wrap(object())
