"""Clients of the real SDKs against the canned provider, and what a logger recorded of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anthropic
import openai

if TYPE_CHECKING:
    from affidavit.testing import Captured
    from tests.support.provider import Provider

ASKED: Final[list[Any]] = [
    {"role": "system", "content": "You are a trading assistant. Answer in one paragraph."},
    {"role": "user", "content": "Analyze BTCUSDT on the daily chart, señor."},
]
CHAT: Final[dict[str, Any]] = {"model": "canned-large", "messages": ASKED}
RESPONSE: Final[dict[str, Any]] = {
    "model": "canned-large",
    "instructions": ASKED[0]["content"],
    "input": ASKED[1]["content"],
}
MESSAGE: Final[dict[str, Any]] = {
    "model": "canned-opus",
    "system": ASKED[0]["content"],
    "messages": ASKED[1:],
    "max_tokens": 500,
}
PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"symbol": {"type": "string"}, "days": {"type": "integer"}},
}
CHAT_TOOLS: Final[list[Any]] = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS}}
    for name in ("candles", "news")
]
RESPONSE_TOOLS: Final[list[Any]] = [
    {"type": "function", "name": name, "parameters": PARAMETERS, "strict": False}
    for name in ("candles", "news")
]
MESSAGE_TOOLS: Final[list[Any]] = [
    {"name": name, "input_schema": PARAMETERS} for name in ("candles", "news")
]


def openai_client(provider: Provider, **options: Any) -> openai.OpenAI:
    """OpenAI's synchronous client."""
    return openai.OpenAI(base_url=provider.openai_url, api_key="k", **options)


def async_openai_client(provider: Provider, **options: Any) -> openai.AsyncOpenAI:
    """OpenAI's asynchronous client."""
    return openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", **options)


def anthropic_client(provider: Provider, **options: Any) -> anthropic.Anthropic:
    """Anthropic's synchronous client."""
    return anthropic.Anthropic(base_url=provider.anthropic_url, api_key="k", **options)


def async_anthropic_client(provider: Provider, **options: Any) -> anthropic.AsyncAnthropic:
    """Anthropic's asynchronous client."""
    return anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="k", **options)


def calls(captured: Captured) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each call's intent and outcome, in the order of the intents; every call must have both."""
    records = captured.records
    ended = {one["call_id"]: one for one in records if one["event_type"] == "llm_response"}
    begun = [one for one in records if one["event_type"] == "llm_request"]
    assert {one["call_id"] for one in begun} == ended.keys()
    assert len(begun) == len(ended) == sum(one["event_type"] == "llm_response" for one in records)
    return [(one, ended[one["call_id"]]) for one in begun]


def only_call(captured: Captured) -> tuple[dict[str, Any], dict[str, Any]]:
    """Intent and outcome of the only call."""
    (found,) = calls(captured)
    return found


def said(outcome: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """What the outcome says of each of the expected fields, None where it is absent."""
    answer = outcome["response_data"]
    return {name: outcome.get(name, answer.get(name)) for name in expected}
