"""The canned provider, as the real SDKs read it: what it says it sent is what they receive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from tests.support.capturing import (
    ASKED,
    CHAT,
    CHAT_TOOLS,
    MESSAGE,
    MESSAGE_TOOLS,
    RESPONSE,
    RESPONSE_TOOLS,
    anthropic_client,
    openai_client,
)
from tests.support.provider import Fault, Provider, Raw

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requirement("R1")

THINKING: Any = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    """One provider for the module."""
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    """The provider, with an empty script."""
    running.reset()
    return running


@pytest.fixture
def gpt(provider: Provider) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK."""
    with openai_client(provider, timeout=5) as client:
        yield client


@pytest.fixture
def claude(provider: Provider) -> Iterator[anthropic.Anthropic]:
    """Anthropic's SDK."""
    with anthropic_client(provider, timeout=5) as client:
        yield client


# -- OpenAI ----------------------------------------------------------------------------------------

CHATS: dict[str, dict[str, Any]] = {
    "plain": {"model": "canned-large"},
    "reasoning": {"model": "canned-reasoning"},
    "refusal": {"model": "canned-refusal"},
    "length": {"model": "canned-large", "max_completion_tokens": 6},
    "parallel tools": {"model": "canned-large", "tools": CHAT_TOOLS},
    "one tool": {"model": "canned-large", "tools": CHAT_TOOLS, "parallel_tool_calls": False},
    "three choices": {"model": "canned-large", "n": 3},
}


@pytest.mark.parametrize("more", CHATS.values(), ids=CHATS)
def test_a_chat_completion_is_what_was_sent(
    gpt: openai.OpenAI, provider: Provider, more: dict[str, Any]
) -> None:
    """Text, tools, refusal, reasoning, finish reason and usage, all to the token."""
    reply = gpt.chat.completions.create(**{**CHAT, **more})
    expected = provider.requests[-1].expected
    message, usage = reply.choices[0].message, reply.usage
    assert usage is not None
    assert (reply.id, reply.model) == (expected["response_id"], expected["model"])
    assert reply._request_id == expected["request_id"]
    assert (message.content, message.refusal) == (expected["text"], expected["refusal"])
    assert getattr(message, "reasoning_content", None) == expected["reasoning"]
    assert _calls(message.tool_calls) == expected["tool_calls"]
    assert reply.choices[0].finish_reason == expected["finish_reason"]
    assert len(reply.choices) == more.get("n", 1)
    assert _chat_usage(usage) == _usage(expected)


@pytest.mark.parametrize("name", [name for name in CHATS if name != "length"])
def test_a_streamed_chat_completion_adds_up_to_what_was_sent(
    gpt: openai.OpenAI, provider: Provider, name: str
) -> None:
    """The chunks put together by the SDK's own helper, which raises where the limit cut them."""
    with gpt.chat.completions.stream(
        **{**CHAT, **CHATS[name]}, stream_options={"include_usage": True}
    ) as stream:
        reply = stream.get_final_completion()
    expected = provider.requests[-1].expected
    message = reply.choices[0].message
    assert (message.content or None) == expected["text"]
    assert (message.refusal or None) == expected["refusal"]
    assert _calls(message.tool_calls) == expected["tool_calls"]
    assert reply.choices[0].finish_reason == expected["finish_reason"]
    assert reply.usage is not None
    assert _chat_usage(reply.usage) == _usage(expected)


def test_a_streamed_length_cut_is_told(gpt: openai.OpenAI, provider: Provider) -> None:
    """Without ``include_usage`` no chunk has any usage."""
    chunks = list(gpt.chat.completions.create(**CHAT, max_completion_tokens=6, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"
    assert all(chunk.usage is None for chunk in chunks)
    assert len(provider.requests[-1].expected["text"].split()) == 6


RESPONSES: dict[str, dict[str, Any]] = {
    "plain": {"model": "canned-large"},
    "reasoning": {"model": "m", "reasoning": {"effort": "low", "summary": "auto"}},
    "refusal": {"model": "canned-refusal"},
    "length": {"model": "m", "max_output_tokens": 16},
    "tools": {"model": "m", "tools": RESPONSE_TOOLS},
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("more", RESPONSES.values(), ids=RESPONSES)
def test_a_response_is_what_was_sent(
    gpt: openai.OpenAI, provider: Provider, more: dict[str, Any], *, streamed: bool
) -> None:
    """The Responses API, whole and in events."""
    asked = {**RESPONSE, **more}
    if streamed:
        with gpt.responses.stream(**asked) as stream:
            events = list(stream)
        reply = events[-1].response
        assert events[-1].type in {"response.completed", "response.incomplete"}
        assert [event.sequence_number for event in events] == list(range(len(events)))
    else:
        reply = gpt.responses.create(**asked)
    expected = provider.requests[-1].expected
    assert reply.output_text == (expected["text"] or "")
    calls = [
        {"id": item.call_id, "name": item.name, "arguments": json.loads(item.arguments)}
        for item in reply.output
        if item.type == "function_call"
    ]
    assert (calls or None) == expected["tool_calls"]
    cut = expected["finish_reason"] == "length"
    assert reply.status == ("incomplete" if cut else "completed")
    usage = reply.usage
    assert (
        usage.input_tokens,
        usage.output_tokens,
        usage.input_tokens_details.cached_tokens,
        usage.output_tokens_details.reasoning_tokens,
    ) == _usage(expected)


def test_the_other_families_of_openai_answer(gpt: openai.OpenAI) -> None:
    """Embeddings, files, batches, images, moderations, audio, models, old completions."""
    embedded = gpt.embeddings.create(model="m", input=["one two", "three"])
    assert (len(embedded.data), embedded.usage.prompt_tokens) == (2, 3)
    assert embedded.data[0].embedding == [0.25, -0.5, 0.125]
    assert gpt.files.create(file=("a.jsonl", b"{}"), purpose="batch").id == "file-canned"
    assert gpt.files.content("file-canned").read()
    asked: Any = {"input_file_id": "f", "endpoint": "/v1/responses", "completion_window": "24h"}
    assert gpt.batches.create(**asked).status == "completed"
    picture = gpt.images.generate(model="m", prompt="a chart")
    assert picture.usage is not None
    assert picture.usage.output_tokens == 272
    assert gpt.moderations.create(input="x").results[0].flagged is False
    assert gpt.audio.speech.create(model="m", voice="alloy", input="x").read()
    heard = gpt.audio.transcriptions.create(model="m", file=("a.mp3", b"x"))
    assert heard.usage is not None
    assert heard.usage.type == "tokens"
    assert next(model.id for model in gpt.models.list()) == "canned-large"
    old = gpt.completions.create(model="m", prompt="BTCUSDT?")
    assert old.usage is not None
    assert old.usage.completion_tokens == len(old.choices[0].text.split())
    assert gpt.vector_stores.create(name="x").id == "canned_1"


# -- Anthropic -------------------------------------------------------------------------------------

MESSAGES: dict[str, dict[str, Any]] = {
    "plain": {"model": "canned-opus"},
    "thinking": {"model": "m", "thinking": THINKING, "max_tokens": 2000},
    "refusal": {"model": "canned-refusal"},
    "length": {"model": "m", "max_tokens": 6},
    "parallel tools": {"model": "m", "tools": MESSAGE_TOOLS},
    "written to the cache": {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "text",
                        "text": "A long report about the markets. " * 20,
                        "cache_control": {"type": "ephemeral"},
                    }
                ],
            }
        ],
    },
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("more", MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_what_was_sent(
    claude: anthropic.Anthropic, provider: Provider, more: dict[str, Any], *, streamed: bool
) -> None:
    """Anthropic's counts, with those of the cache added to the input, are the provider's."""
    asked = {**MESSAGE, **more}
    if streamed:
        with claude.messages.stream(**asked) as stream:
            reply = stream.get_final_message()
    else:
        reply = claude.messages.create(**asked)
        assert reply._request_id == provider.requests[-1].request_id
    expected = provider.requests[-1].expected
    assert reply.id == expected["response_id"]
    assert reply.stop_reason == expected["finish_reason"]
    said = {block.type: block for block in reply.content}
    if expected["text"] is not None:
        assert said["text"].text == expected["text"]
    if expected["refusal"] is not None:
        assert said["text"].text == expected["refusal"]
    if expected["reasoning"] is not None:
        assert said["thinking"].thinking == expected["reasoning"]
    calls = [
        {"id": block.id, "name": block.name, "arguments": block.input}
        for block in reply.content
        if block.type == "tool_use"
    ]
    assert (calls or None) == expected["tool_calls"]
    usage = reply.usage
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    assert usage.input_tokens + read + written == expected["input_tokens"]
    assert (read, usage.output_tokens) == (expected["cached_tokens"], expected["output_tokens"])
    assert (written > 0) == ("cache_control" in str(asked))


def test_the_other_families_of_anthropic_answer(claude: anthropic.Anthropic) -> None:
    """Token counts, batches with their results, models."""
    asked: Any = {"model": "m", "messages": ASKED[1:]}
    assert claude.messages.count_tokens(**asked).input_tokens > 0
    assert claude.messages.batches.create(requests=[]).processing_status == "ended"
    assert [one.custom_id for one in claude.messages.batches.results("b")] == ["one", "two"]
    assert [model.id for model in claude.models.list()] == ["canned-opus", "canned-haiku"]


# -- faults ----------------------------------------------------------------------------------------

ERRORS: dict[str, int] = {
    "rate-limit": 429,
    "quota": 429,
    "error": 500,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "bad-request": 400,
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_the_one_ordered(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, provider: Provider, kind: str
) -> None:
    """Both SDKs raise the exception of that status."""
    provider.script(kind, kind)
    with pytest.raises(openai.APIStatusError) as theirs:
        gpt.with_options(max_retries=0).chat.completions.create(**CHAT)
    with pytest.raises(anthropic.APIStatusError) as others:
        claude.with_options(max_retries=0).messages.create(**MESSAGE)
    assert theirs.value.status_code == others.value.status_code == ERRORS[kind]


def test_a_rate_limit_tells_its_limit_in_headers(
    gpt: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    """Each provider has its own names for them."""
    fault = {"x-canned-fault": "rate-limit"}
    with pytest.raises(openai.RateLimitError) as theirs:
        gpt.with_options(max_retries=0).chat.completions.create(**CHAT, extra_headers=fault)
    assert theirs.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert theirs.value.response.headers["retry-after"] == "1"
    with pytest.raises(anthropic.RateLimitError) as others:
        claude.with_options(max_retries=0).messages.create(**MESSAGE, extra_headers=fault)
    assert others.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_a_failure_then_an_answer_is_retried(gpt: openai.OpenAI, provider: Provider) -> None:
    """The script is followed in order, request by request."""
    provider.script("error", "rate-limit", "ok")
    assert gpt.chat.completions.create(**CHAT).choices
    assert [received.status for received in provider.requests] == [500, 429, 200]
    assert [received.fault for received in provider.requests] == ["error", "rate-limit", ""]


def test_a_hanging_provider_is_a_timeout(gpt: openai.OpenAI, provider: Provider) -> None:
    """Before the answer, and in the middle of a stream."""
    quick = gpt.with_options(max_retries=0, timeout=0.2)
    provider.script("hang", Fault("hang-in-stream", after=3))
    with pytest.raises(openai.APITimeoutError):
        quick.chat.completions.create(**CHAT)
    stream = quick.chat.completions.create(**CHAT, stream=True)
    with pytest.raises(openai.APITimeoutError):
        list(stream)
    with pytest.raises(openai.APITimeoutError):
        quick.chat.completions.create(**CHAT, extra_headers={"x-canned-fault": "hang"})


def test_a_line_cut_in_mid_stream_gives_what_came_before(
    gpt: openai.OpenAI, provider: Provider
) -> None:
    """Three chunks arrive, then the connection is gone."""
    provider.script(Fault("cut", after=3))
    stream = gpt.chat.completions.create(**CHAT, stream=True)
    got = [next(stream) for _ in range(3)]
    with pytest.raises(openai.APIConnectionError):
        next(stream)
    assert len(got) == 3


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_malformed_json_is_sent_as_ordered(
    gpt: openai.OpenAI, provider: Provider, *, streamed: bool
) -> None:
    """The SDK raises what it raises for it."""
    provider.script("malformed")
    with pytest.raises(ValueError):  # noqa: PT011 - json's own, whose text is not ours
        list(gpt.chat.completions.create(**CHAT, stream=streamed))


def test_an_error_event_ends_a_stream(claude: anthropic.Anthropic, provider: Provider) -> None:
    """After some events, as an overloaded provider does it."""
    provider.script("error-in-stream")
    with pytest.raises(anthropic.APIStatusError):
        list(claude.messages.create(**MESSAGE, stream=True))


def test_a_raw_answer_goes_out_as_it_is(gpt: openai.OpenAI, provider: Provider) -> None:
    """For golden answers of one's own."""
    body = {"id": "mine", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
    provider.script(Raw(json.dumps(body).encode(), headers={"x-request-id": "req_mine"}))
    reply = gpt.chat.completions.create(**CHAT)
    assert (reply.id, reply._request_id) == ("mine", "req_mine")


def _calls(calls: Any) -> list[dict[str, Any]] | None:
    return [
        {
            "id": call.id,
            "name": call.function.name,
            "arguments": json.loads(call.function.arguments),
        }
        for call in calls or ()
    ] or None


def _chat_usage(usage: Any) -> tuple[int, int, int, int]:
    return (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_tokens_details.cached_tokens,
        usage.completion_tokens_details.reasoning_tokens,
    )


def _usage(expected: dict[str, Any]) -> tuple[int, int, int, int]:
    return (
        expected["input_tokens"],
        expected["output_tokens"],
        expected["cached_tokens"],
        expected["reasoning_tokens"],
    )
