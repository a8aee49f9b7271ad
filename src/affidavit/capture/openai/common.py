"""What all of OpenAI's answers have in common: ids, usage, errors, calls of tools. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from affidavit._capture.asked import Answer, arguments, whole


def count(answer: Answer, usage: Any) -> None:
    """Note the tokens, in either of OpenAI's two ways of telling them."""
    if type(usage) is not dict:
        return
    answer.usage = usage
    if "prompt_tokens" in usage:
        asked, said, of_asked, of_said = _OLD_NAMES
    else:
        asked, said, of_asked, of_said = _NEW_NAMES
    count = usage.get(asked)
    answer.input_tokens = count if type(count) is int else whole(count)
    count = usage.get(said)
    answer.output_tokens = count if type(count) is int else whole(count)
    detail = usage.get(of_asked)
    if type(detail) is dict:
        count = detail.get("cached_tokens")
    else:  # DeepSeek's way
        count = usage.get("prompt_cache_hit_tokens")
    answer.cached_tokens = count if type(count) is int else whole(count)
    detail = usage.get(of_said)
    count = detail.get("reasoning_tokens") if type(detail) is dict else None
    answer.reasoning_tokens = count if type(count) is int else whole(count)


_OLD_NAMES: Final = (
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
)
_NEW_NAMES: Final = (
    "input_tokens",
    "output_tokens",
    "input_tokens_details",
    "output_tokens_details",
)


def head(body: Mapping[str, Any]) -> Answer:
    """Start an answer with what nearly every body has at its top."""
    told, model = body.get("id"), body.get("model")
    answer = Answer()
    answer.response_id = told if type(told) is str else None
    answer.model = model if type(model) is str else None
    if body.get("service_tier") is not None:
        answer.extra["service_tier"] = body["service_tier"]
    if body.get("system_fingerprint") is not None:
        answer.extra["system_fingerprint"] = body["system_fingerprint"]
    error = body.get("error")
    if type(error) is dict:
        answer.error = error_of(error)
    return answer


def error_of(error: Mapping[str, Any]) -> tuple[str, str]:
    """Name an error and give its text."""
    name = error.get("code") or error.get("type") or "error"
    return str(name), str(error.get("message") or name)


def argument(asked: Mapping[str, Any]) -> Any:
    """Give the arguments of a call, of a function or of a custom tool."""
    given = asked.get("arguments")
    return asked.get("input") if given is None else given


def tool_call(call_id: Any, name: Any, given: Any) -> dict[str, Any]:
    """Describe one call of a tool."""
    return {"id": call_id, "name": name, "arguments": arguments(given)}
