"""The canned endpoint: usage that is known beforehand, and faults on demand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest

from affidavit.demo.canned import MODELS, CannedEndpoint
from affidavit.demo.usage import expected_answer, expected_finish_reason, expected_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = [
    {"role": "system", "content": "You are a trading assistant. Answer in one paragraph."},
    {"role": "user", "content": "Analyze BTCUSDT on the daily chart, señor. 📈"},
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[CannedEndpoint]:
    """One endpoint for the module."""
    with CannedEndpoint.start(latency_ms=5) as running:
        yield running


@pytest.fixture
def client(endpoint: CannedEndpoint) -> Iterator[openai.OpenAI]:
    """The real SDK, which does not retry."""
    with openai.OpenAI(base_url=endpoint.base_url, api_key="none", max_retries=0, timeout=5) as sdk:
        yield sdk


@pytest.mark.parametrize("model", MODELS)
def test_the_reported_usage_is_the_expected_one(client: openai.OpenAI, model: str) -> None:
    """Cached and reasoning tokens are reported inside input and output, exactly as computed."""
    reply = client.chat.completions.create(model=model, messages=MESSAGES)
    expected = expected_usage(MESSAGES, model=model)
    usage = reply.usage
    assert usage.prompt_tokens == expected.input_tokens
    assert usage.prompt_tokens_details.cached_tokens == expected.cached_tokens > 0
    assert usage.completion_tokens == expected.output_tokens
    assert usage.completion_tokens_details.reasoning_tokens == expected.reasoning_tokens
    assert usage.total_tokens == expected.total_tokens
    assert reply.choices[0].message.content == expected_answer(MESSAGES)
    assert reply.choices[0].finish_reason == "stop"


def test_only_reasoning_models_have_hidden_tokens() -> None:
    """The name decides."""
    assert expected_usage(MESSAGES, model="canned-reasoning").reasoning_tokens > 0
    assert expected_usage(MESSAGES, model="canned-large").reasoning_tokens == 0


def test_a_limit_cuts_the_answer_and_says_so(client: openai.OpenAI) -> None:
    """One word is one token."""
    reply = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=7)
    assert len(reply.choices[0].message.content.split()) == 7
    assert reply.choices[0].finish_reason == "length"
    assert expected_finish_reason(MESSAGES, max_tokens=7) == "length"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_anthropics_sdk_gets_the_same_answer_in_its_own_words(
    endpoint: CannedEndpoint, *, streamed: bool
) -> None:
    """Its input leaves the cached tokens out; together they are the expected ones."""
    asked = {"model": "m", "system": MESSAGES[0]["content"], "messages": MESSAGES[1:]}
    with anthropic.Anthropic(base_url=endpoint.anthropic_url, api_key="none") as claude:
        if streamed:
            with claude.messages.stream(max_tokens=500, **asked) as stream:
                reply = stream.get_final_message()
        else:
            reply = claude.messages.create(max_tokens=500, **asked)
    expected = expected_usage(MESSAGES, max_tokens=500)
    assert reply.content[0].text == expected_answer(MESSAGES)
    assert reply.usage.cache_read_input_tokens == expected.cached_tokens > 0
    assert reply.usage.input_tokens + expected.cached_tokens == expected.input_tokens
    assert reply.usage.output_tokens == expected.output_tokens
    assert reply.stop_reason == "end_turn"


def test_anthropics_sdk_gets_its_own_errors(endpoint: CannedEndpoint) -> None:
    """A rate limit, with the headers that say which."""
    url = endpoint.anthropic_url
    with (
        anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as claude,
        pytest.raises(anthropic.RateLimitError) as raised,
    ):
        claude.messages.create(model="fault-rate-limit", max_tokens=5, messages=MESSAGES[1:])
    assert raised.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_a_stream_holds_the_same_answer_and_usage(client: openai.OpenAI) -> None:
    """Streaming changes the wire, not the facts."""
    text, usage = "", None
    stream = client.chat.completions.create(
        model="canned-reasoning",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    assert text == expected_answer(MESSAGES)
    assert usage.total_tokens == expected_usage(MESSAGES, model="canned-reasoning").total_tokens


def test_a_rate_limit_comes_with_its_headers(client: openai.OpenAI) -> None:
    """429 says when to come back and what the limit is."""
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="fault-rate-limit", messages=MESSAGES)
    headers = caught.value.response.headers
    assert headers["retry-after"] == "1"
    assert headers["x-ratelimit-remaining-requests"] == "0"


def test_a_fault_can_be_asked_for_by_header(client: openai.OpenAI) -> None:
    """The model's name stays a real one."""
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(
            model="canned-large", messages=MESSAGES, extra_headers={"x-canned-fault": "error"}
        )


def test_a_hang_ends_by_the_callers_own_timeout(client: openai.OpenAI) -> None:
    """The endpoint takes the request and never answers."""
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(
            model="fault-hang", messages=MESSAGES
        )


def test_a_drop_breaks_the_answer_in_the_middle(client: openai.OpenAI) -> None:
    """The connection ends before the answer does."""
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="fault-drop", messages=MESSAGES)


def test_a_dropped_stream_has_delivered_its_first_part(client: openai.OpenAI) -> None:
    """What came before the break is the beginning of the answer."""
    arrived: list[str] = []
    stream = client.chat.completions.create(model="fault-drop", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIConnectionError):
        arrived.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    stream.close()
    text = "".join(arrived)
    assert text
    assert expected_answer(MESSAGES).startswith(text)


async def test_fifty_callers_are_answered_at_once(endpoint: CannedEndpoint) -> None:
    """Nobody waits for another's latency."""
    latency = {"x-canned-latency-ms": "500"}
    started = asyncio.get_running_loop().time()
    async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key="none") as sdk:
        calls = (
            sdk.chat.completions.create(model="m", messages=MESSAGES, extra_headers=latency)
            for _ in range(50)
        )
        await asyncio.gather(*calls)
    assert asyncio.get_running_loop().time() - started < 10  # one after the other: 25 s


def test_what_it_cannot_read_is_refused_in_words(client: openai.OpenAI) -> None:
    """No messages, no answer."""
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="m", messages=[])
