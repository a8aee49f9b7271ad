"""Responses, and their streams. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from affidavit._capture.asked import Answer, items, joined, mapping, text_of
from affidavit._capture.media import strip
from affidavit.capture.openai.common import argument, count, error_of, head, tool_call

_INCOMPLETE: Final = {"max_output_tokens": "length"}
_CALLED: Final = "tool_calls"
_OURS_TO_CALL: Final = frozenset({"function_call", "custom_tool_call"})
_FUNCTIONS: Final = _OURS_TO_CALL | {"mcp_call"}


def read_response(body: dict[str, Any]) -> Answer:
    """Read a response."""
    answer = head(body)
    count(answer, body.get("usage"))
    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for item in map(mapping, items(body.get("output"))):
        kind = item.get("type")
        if kind == "message":
            for part in map(mapping, items(item.get("content"))):
                if part.get("type") == "refusal":
                    refusals.append(str(part.get("refusal") or ""))
                elif isinstance(part.get("text"), str):
                    texts.append(part["text"])
        elif kind == "reasoning":
            parts = [*items(item.get("summary")), *items(item.get("content"))]
            thoughts += [str(mapping(part).get("text") or "") for part in parts]
        else:
            calls.append(_item_call(item))
    answer.text, answer.refusal = joined(texts), joined(refusals)
    answer.reasoning = "\n".join(thoughts) if thoughts else None
    answer.tool_calls = calls or None
    _finish(answer, body)
    if body.get("previous_response_id"):
        answer.extra["previous_response_id"] = body["previous_response_id"]
    return answer


def _item_call(item: Mapping[str, Any]) -> dict[str, Any]:
    """Read an item of a response's output that is neither text nor reasoning: a call of a tool."""
    if text_of(item.get("type")) in _FUNCTIONS:
        return tool_call(item.get("call_id") or item.get("id"), item.get("name"), argument(item))
    rest = {k: v for k, v in item.items() if k not in {"id", "type", "call_id"}}
    return {
        "id": item.get("call_id") or item.get("id"),
        "name": item.get("type"),
        "arguments": strip({"type": item.get("type"), **rest}),
    }


def _finish(answer: Answer, body: Mapping[str, Any]) -> None:
    """Say why a response ended, in the words of chat completions: it has a status instead."""
    status = body.get("status")
    if status == "incomplete":
        reason = str(mapping(body.get("incomplete_details")).get("reason") or "incomplete")
        answer.finish_reasons = [_INCOMPLETE.get(reason, reason)]
    elif status == "completed":
        called = any(
            text_of(mapping(item).get("type")) in _OURS_TO_CALL
            for item in items(body.get("output"))
        )
        answer.finish_reasons = [_CALLED if called else "stop"]
    elif status is not None:
        answer.finish_reasons = [str(status)]
    if status == "failed" and answer.error is None:
        answer.error = ("failed", "The provider says that the response failed.")


class ResponseEvents:
    """The events of a response. The last one holds it whole; the others count if it never comes."""

    def __init__(self) -> None:
        self._answer = Answer(is_complete=False)
        self._last: Answer | None = None
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[str | None, dict[str, Any]] = {}

    def accumulate(self, event: str | None, chunk: Any) -> bool:
        """Take one event."""
        body = mapping(chunk)
        name = str(body.get("type") or event or "")
        if name in {"response.completed", "response.incomplete", "response.failed"}:
            self._last = read_response(mapping(body.get("response")))
            return False
        if name == "error" or isinstance(body.get("error"), dict):
            self._answer.error = error_of(body if name == "error" else body["error"])
            return False
        return self._take(name, body)

    def _take(self, name: str, body: Mapping[str, Any]) -> bool:
        delta = body.get("delta")
        if name == "response.created":
            told = mapping(body.get("response"))
            self._answer.response_id = text_of(told.get("id"))
            self._answer.model = text_of(told.get("model"))
        elif name == "response.output_item.added":
            item = mapping(body.get("item"))
            if str(item.get("type")).endswith("_call"):
                self._calls[text_of(item.get("id"))] = {**_item_call(item), "pieces": []}
                return True
        elif isinstance(delta, str) and name.endswith(".delta"):
            return self._piece(name, text_of(body.get("item_id")), delta)
        return False

    def _piece(self, name: str, item_id: str | None, delta: str) -> bool:
        if "arguments" in name or "tool_call_input" in name:
            call = self._calls.get(item_id)
            if call is not None:
                call["pieces"].append(delta)
        elif "reasoning" in name:
            self._reasoning.append(delta)
        elif "refusal" in name:
            self._refusal.append(delta)
        elif "output_text" in name:
            self._text.append(delta)
        else:
            return False
        return bool(delta)

    def answer(self) -> Answer:
        """Give what has arrived so far."""
        if self._last is not None:
            return self._last
        answer = self._answer
        answer.text, answer.refusal = joined(self._text), joined(self._refusal)
        answer.reasoning = joined(self._reasoning)
        answer.tool_calls = [
            tool_call(call["id"], call["name"], "".join(call["pieces"]) or call["arguments"])
            for call in self._calls.values()
        ] or None
        return answer
