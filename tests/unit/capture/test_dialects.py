"""What the pure parsers make of requests and answers that no canned endpoint sends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit._capture.asked import Dialect
from affidavit._capture.wire import DONE
from affidavit.capture.anthropic import DIALECT as ANTHROPIC
from affidavit.capture.openai import DIALECT as OPENAI

pytestmark = pytest.mark.requirement("R1")

KINDS = {
    "openai": (
        "chat", "responses", "completions", "embeddings", "images", "audio", "moderations",
        "run", "generic",
    ),
    "anthropic": ("messages", "complete", "count", "generic"),
}  # fmt: skip
NAMES = st.sampled_from(
    ["id", "type", "model", "choices", "message", "content", "delta", "tool_calls", "usage",
     "output", "error", "index", "role", "input_tokens", "finish_reason", "text", "system",
     "messages", "input", "tools", "prompt", "requests", "status", "response", "content_block",
     "stop_reason", "data"]
)  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=lambda one: one.package)
@given(body=ODD, chunks=st.lists(ODD, max_size=4), path=st.text(max_size=30))
def test_odd_content_never_raises(
    dialect: Dialect, body: Any, chunks: list[Any], path: str
) -> None:
    """Whatever a provider sends, or an application, there is something to record."""
    paths = ("/chat/completions", "/responses", "/v1/messages", "/v1/messages/batches", path)
    for one in paths:
        dialect.parse_request("POST", one, body)
    for kind in KINDS[dialect.package]:
        dialect.parse_response(kind, body).report()
        accumulator = dialect.accumulator(kind)
        for chunk in [*chunks, DONE]:
            accumulator.accumulate(None, chunk)
        accumulator.answer().fields()


@pytest.mark.parametrize(
    ("client", "host", "expected"),
    [
        ("OpenAI", "api.openai.com", "openai"),
        ("OpenAI", "127.0.0.1", "openai"),
        ("OpenAI", "api.groq.com", "groq"),
        ("AsyncOpenAI", "api.x.ai", "x_ai"),
        ("OpenAI", "api.deepseek.com", "deepseek"),
        ("OpenAI", "me.openai.azure.com", "azure.ai.openai"),
        ("AsyncAzureOpenAI", "proxy.internal", "azure.ai.openai"),
    ],
)
def test_providers_behind_the_openai_sdk_are_named(client: str, host: str, expected: str) -> None:
    """By the client's class first, then by the host."""
    assert OPENAI.provider(client, host) == expected


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("Anthropic", "anthropic"),
        ("AsyncAnthropicBedrock", "aws.bedrock"),
        ("AnthropicVertex", "gcp.vertex_ai"),
        ("AnthropicFoundry", "azure.ai.inference"),
    ],
)
def test_providers_behind_the_anthropic_sdk_are_named(client: str, expected: str) -> None:
    """By the client's class."""
    assert ANTHROPIC.provider(client, "127.0.0.1") == expected


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/chat/completions", "chat"),
        ("/openai/deployments/d/chat/completions", "chat"),
        ("https://host.example/v1/responses", "chat"),
        ("/embeddings", "embeddings"),
        ("/completions", "text_completion"),
        ("/images/edits", "generate_content"),
        ("/threads/t/runs", "invoke_agent"),
        ("/batches", "batches"),
        ("/vector_stores/vs/files", "vector_stores"),
    ],
)
def test_operations_are_named_by_the_path(path: str, operation: str) -> None:
    """As OpenTelemetry names them, else by the path's first word."""
    assert OPENAI.parse_request("POST", path, {}).operation == operation


def test_cached_tokens_count_as_input_for_both_providers() -> None:
    """Anthropic tells them apart from the input, OpenAI as a part of it."""
    claude = ANTHROPIC.parse_response(
        "messages",
        {
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 200,
                "cache_creation_input_tokens": 3000,
                "output_tokens": 7,
            }
        },
    )
    assert (claude.input_tokens, claude.cached_tokens, claude.output_tokens) == (3210, 200, 7)
    assert claude.extra["cache_write_tokens"] == 3000
    details = {"cached_tokens": 200}
    usage = {"prompt_tokens": 3210, "completion_tokens": 7, "prompt_tokens_details": details}
    gpt = OPENAI.parse_response("chat", {"usage": usage})
    assert (gpt.input_tokens, gpt.cached_tokens, gpt.output_tokens) == (3210, 200, 7)


def test_a_batch_of_messages_keeps_each_conversation() -> None:
    """Each request of the batch is read as one of its own would be."""
    params = {
        "model": "m",
        "system": "Be brief.",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    asked = ANTHROPIC.parse_request(
        "POST", "/v1/messages/batches", {"requests": [{"custom_id": "a", "params": params}]}
    )
    (one,) = asked.fields["requests"]
    assert asked.model == "m"
    assert one["custom_id"] == "a"
    assert [turn["role"] for turn in one["messages"]] == ["system", "user"]
    assert one["parameters"] == {"max_tokens": 5}


def test_a_stream_of_chat_puts_parallel_calls_together() -> None:
    """Pieces of two calls come in turns, by index."""
    events = OPENAI.accumulator("chat")

    def calls(*pieces: tuple[int, str | None, str | None, str]) -> dict[str, Any]:
        found = [
            {"index": index, "id": call, "function": {"name": name, "arguments": text}}
            for index, call, name, text in pieces
        ]
        return {"choices": [{"index": 0, "delta": {"tool_calls": found}}]}

    for chunk in (
        calls((0, "a", "candles", ""), (1, "b", "news", "")),
        calls((1, None, None, '{"n":'), (0, None, None, '{"symbol":')),
        calls((0, None, None, '"BTC"}'), (1, None, None, "2")),
    ):
        assert events.accumulate(None, chunk)
    answer = events.answer()
    assert answer.tool_calls == [
        {"id": "a", "name": "candles", "arguments": {"symbol": "BTC"}},
        {"id": "b", "name": "news", "arguments": '{"n":2'},
    ]
    assert not answer.is_complete


def test_a_response_that_the_provider_failed_is_an_error() -> None:
    """The HTTP status was good, and the answer says that it is none."""
    error = {"code": "server_error", "message": "Overloaded."}
    answer = OPENAI.parse_response("responses", {"status": "failed", "error": error})
    assert answer.error == ("server_error", "Overloaded.")
