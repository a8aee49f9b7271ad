"""A call as a person reads it: turns with texts, tools and pictures by hash. Pure.

Requests and answers come in the shapes of several providers, and in none where an application wrote
the record by hand. What is not known is shown as it is, and nothing of a record is left out unseen:
what is too much is counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from affidavit.store.questions import CallRecords

PartKind = Literal["text", "thought", "refusal", "call", "result", "media", "data", "error"]

MOST_TURNS: Final = 300
MOST_PARTS: Final = 60
_LONGEST_DATA: Final = 50_000
_DEEPEST: Final = 4
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
_MEDIA: Final = ("media_type", "bytes", "filename", "title", "detail", "sha256", "file_id")
_CALLS: Final = frozenset(
    {
        "tool_use",
        "server_tool_use",
        "mcp_tool_use",
        "function_call",
        "tool_call",
        "custom_tool_call",
    }
)
_RESULTS: Final = frozenset(
    {"tool_result", "function_call_output", "mcp_tool_result", "web_search_tool_result"}
)
_THOUGHTS: Final = frozenset({"thinking", "reasoning", "redacted_thinking"})
_READ_REQUEST: Final = frozenset(
    {"message", "message_length", "messages", "provider", "model", "parameters", "tools"}
)
_READ_RESPONSE: Final = frozenset(
    {
        "text",
        "texts",
        "tool_calls",
        "reasoning",
        "refusal",
        "parts",
        "response_length",
        "provider_used",
        "tokens_used",
        "cost_usd",
        "processing_time_ms",
    }
)


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a turn."""

    kind: PartKind
    text: str = ""
    name: str = ""
    """Of a tool, or what kind of media it is."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of media: hash, size and type. Of tools: the id."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said."""

    role: str
    """``system``, ``user``, ``assistant``, ``tool`` or ``error``; ``other`` for any other."""
    parts: tuple[Part, ...]
    named: str = ""
    """The role as it was written, where it is another one, or the name of who spoke."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything that was said, asked and answered in one call."""

    turns: tuple[Turn, ...]
    left_out: int = 0
    """Turns in the middle that are not shown."""
    tools: tuple[str, ...] = ()
    """Names of the tools that were offered."""
    request: Mapping[str, str] = field(default_factory=dict)
    """Parameters and further fields of the request, as texts."""
    response: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    """Of an event: what happened."""
    erased: tuple[str, ...] = ()
    """Groups of fields that were erased on request."""
    truncated: tuple[Mapping[str, Any], ...] = ()
    redactions: tuple[Mapping[str, Any], ...] = ()
    odd: tuple[str, ...] = ()


def conversation(found: CallRecords) -> Conversation:
    """Read a call's records, content included."""
    records = [each for each in (found.intent, *found.outcomes) if each is not None]
    records = records or [found.call]
    request = _mapping(found.call.get("request_data"))
    response = _mapping(found.call.get("response_data"))
    turns = [*_asked(request), *_answered(response)]
    error = found.call.get("error_message")
    if isinstance(error, str) and error:
        turns.append(
            Turn("error", (Part("error", error, str(found.call.get("error_type") or "")),))
        )
    left_out = max(0, len(turns) - MOST_TURNS)
    if left_out:
        half = MOST_TURNS // 2
        turns = [*turns[:half], *turns[-half:]]
    return Conversation(
        tuple(turns),
        left_out,
        tuple(_tool_names(request.get("tools"))),
        _further(request, _READ_REQUEST, "parameters"),
        _further(response, _READ_RESPONSE),
        _further(_mapping(found.call.get("details")), frozenset()),
        tuple(sorted({str(g) for r in records for g in _mapping(r.get("erased"))})),
        tuple(_entries(records, "truncated")),
        tuple(_entries(records, "redactions")),
        tuple(sorted({str(flag) for r in records for flag in _list(r.get("odd"))})),
    )


# -- what was asked --------------------------------------------------------------------------------


def _asked(request: Mapping[str, Any]) -> list[Turn]:
    messages = request.get("messages")
    turns = [turn for each in _list(messages) if (turn := _turn(each)) is not None]
    message = request.get("message")
    if message is not None and not turns:
        turns = [Turn("user", (_plain(message),))]
    return turns


def _turn(message: Any) -> Turn | None:
    if not isinstance(message, Mapping):
        return Turn("user", (_plain(message),))
    kind = str(message.get("type") or "")
    if kind in _CALLS or kind in _THOUGHTS:
        return Turn("assistant", tuple(_parts([message], 0)))
    if kind in _RESULTS:
        return Turn("tool", tuple(_parts([message], 0)))
    said = str(message.get("role") or "")
    role = {"developer": "system", "function": "tool", "model": "assistant"}.get(said, said)
    content = message.get("content", message.get("parts"))
    parts = list(_parts(content if isinstance(content, list) else [content], 0))
    if role == "tool" and message.get("tool_call_id"):
        told = {"id": message["tool_call_id"]}
        text = "\n".join(part.text for part in parts if part.kind == "text")
        rest = [part for part in parts if part.kind != "text"]
        parts = [Part("result", text, str(message.get("name") or ""), told), *rest]
    for name, kept in (("reasoning_content", "thought"), ("refusal", "refusal")):
        if isinstance(message.get(name), str):
            parts.append(Part(kept, message[name]))  # type: ignore[arg-type]
    parts += list(_tool_calls(message.get("tool_calls")))
    if isinstance(message.get("function_call"), Mapping):
        parts += list(_tool_calls([{"function": message["function_call"]}]))
    if not parts:
        return None
    known = role in _ROLES
    name = str(message.get("name") or "") if known else said
    return Turn(role if known else "other", tuple(parts[:MOST_PARTS]), name)


def _parts(content: Iterable[Any], depth: int) -> Iterator[Part]:
    for item in content:
        if item is None or item == "":
            continue
        if not isinstance(item, Mapping) or depth > _DEEPEST:
            yield _plain(item)
            continue
        yield from _part(item, depth)


def _part(item: Mapping[str, Any], depth: int) -> Iterator[Part]:
    kind = str(item.get("type") or "")
    if "sha256" in item:
        yield _media(item)
    elif kind in _CALLS:
        asked = item.get("input", item.get("arguments"))
        yield Part("call", _data(asked), str(item.get("name") or ""), _id_of(item))
    elif kind in _RESULTS:
        inner = item.get("content", item.get("output"))
        parts = list(_parts(inner if isinstance(inner, list) else [inner], depth + 1))
        text = "\n".join(part.text for part in parts if part.kind in {"text", "data"})
        yield Part("result", text, str(item.get("name") or ""), _id_of(item))
        yield from (part for part in parts if part.kind not in {"text", "data"})
    elif kind in _THOUGHTS:
        yield Part("thought", _thought(item))
    elif isinstance(item.get("text"), str):
        yield Part("text", item["text"])
    elif isinstance(item.get("refusal"), str):
        yield Part("refusal", item["refusal"])
    elif any(isinstance(value, Mapping) and "sha256" in value for value in item.values()):
        for value in item.values():
            if isinstance(value, Mapping) and "sha256" in value:
                yield _media(value)
    else:
        yield Part("data", _data(item), kind)


def _thought(item: Mapping[str, Any]) -> str:
    for name in ("thinking", "text", "summary", "data"):
        value = item.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "\n".join(part.text for part in _parts(value, _DEEPEST - 1))
    return ""


def _media(item: Mapping[str, Any]) -> Part:
    facts = {name: item[name] for name in _MEDIA if item.get(name) is not None}
    return Part("media", str(item.get("transcript") or ""), str(item.get("type") or "file"), facts)


def _plain(value: Any) -> Part:
    return Part("text", value) if isinstance(value, str) else Part("data", _data(value))


# -- what was answered -----------------------------------------------------------------------------


def _answered(response: Mapping[str, Any]) -> list[Turn]:
    thought = response.get("reasoning")
    first = [Part("thought", thought)] if isinstance(thought, str) and thought else []
    last = [
        *_parts(_list(response.get("parts")), 0),
        *_tool_calls(response.get("tool_calls")),
    ]
    if isinstance(response.get("refusal"), str):
        last.append(Part("refusal", response["refusal"]))
    texts = [t for t in _list(response.get("texts")) if t] or [response.get("text")]
    turns = []
    for number, text in enumerate(texts):
        said = [] if text is None or text == "" else [_plain(text)]
        parts = (*(first if number == 0 else ()), *said, *(last if number == 0 else ()))
        if parts:
            name = f"{number + 1}/{len(texts)}" if len(texts) > 1 else ""
            turns.append(Turn("assistant", parts[:MOST_PARTS], name))
    return turns


def _tool_calls(calls: Any) -> Iterator[Part]:
    for call in _list(calls):
        if not isinstance(call, Mapping):
            yield _plain(call)
            continue
        asked = _mapping(call.get("function") or call.get("custom")) or call
        given = asked.get("arguments", asked.get("input"))
        yield Part("call", _data(given), str(asked.get("name") or ""), _id_of(call))


def _tool_names(tools: Any) -> Iterator[str]:
    for tool in _list(tools):
        asked = _mapping(tool)
        named = _mapping(asked.get("function")).get("name") or asked.get("name")
        yield str(named or asked.get("type") or "?")


# -- the rest --------------------------------------------------------------------------------------


def _further(part: Mapping[str, Any], read: frozenset[str], spread: str = "") -> dict[str, str]:
    found = {**_mapping(part.get(spread)), **{n: v for n, v in part.items() if n not in read}}
    return {str(name): _data(value) for name, value in found.items() if value is not None}


def _entries(records: Iterable[Mapping[str, Any]], name: str) -> Iterator[Mapping[str, Any]]:
    for record in records:
        for entry in _list(record.get(name)):
            if isinstance(entry, Mapping):
                yield entry


def _data(value: Any) -> str:
    """Write a value as text: JSON in lines where it is more than a word."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = str(value)
    rest = len(text) - _LONGEST_DATA
    return (
        f"{text[:_LONGEST_DATA]}\n[\u2026 {rest} characters left out \u2026]" if rest > 0 else text
    )


def _id_of(item: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("id", "tool_use_id", "call_id", "tool_call_id"):
        if item.get(name):
            return {"id": item[name]}
    return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
