"""What is asked of OpenAI's endpoints. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from affidavit._capture.asked import Asked, mapping, text_of
from affidavit._capture.media import strip, turns

_NOT_PARAMETERS: Final = frozenset(
    {"model", "messages", "input", "prompt", "instructions", "tools", "functions"}
)


def read_request(kind: str, operation: str, body: Any) -> Asked:
    """Read a request of one of the kinds that are read in full."""
    given = mapping(body)
    asked = Asked(kind, operation, text_of(given.get("model")))
    if kind == "chat":
        asked.messages = turns(given.get("messages"))
    elif kind in {"responses", "run"}:
        asked.messages = _conversation(given)
        if given.get("input") is not None and asked.messages is None:
            asked.message = text_of(given["input"])
    elif kind in {"images", "completions", "audio", "embeddings", "moderations"}:
        question = given.get("prompt") if "prompt" in given else given.get("input")
        if isinstance(question, str):
            asked.message = question
        elif question is not None:
            asked.fields["input"] = strip(question)
    tools = given.get("tools") or given.get("functions")
    if tools:
        asked.fields["tools"] = strip(tools)
    parameters = {
        name: value if type(value) in _PLAIN else strip(value)
        for name, value in given.items()
        if name not in _NOT_PARAMETERS
    }
    if parameters:
        asked.parameters = parameters
    return asked


_PLAIN: Final = frozenset({int, float, bool, type(None)})


def _conversation(given: Mapping[str, Any]) -> list[Any] | None:
    """Put instructions and input of a response (or run) together as the turns of a conversation."""
    asked = given.get("input", given.get("additional_messages"))
    instructions = given.get("instructions")
    found: list[Any] = []
    if instructions:
        found.append({"role": "system", "content": strip(instructions)})
    if isinstance(asked, list | tuple):
        found += turns(asked) or []
    elif isinstance(asked, str) and found:
        found.append({"role": "user", "content": strip(asked)})
    return found or None
