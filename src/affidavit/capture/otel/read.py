"""From the attributes and events of a GenAI span to what a call is about. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from affidavit._capture import media
from affidavit.capture.otel import names

Attributes = Mapping[str, Any]

_NUMBERED: Final = re.compile(r"(\d+)\.(.+)")


@dataclass(slots=True)
class Said:
    """What a span says of a call to a model."""

    operation: str
    provider: str
    model: str | None
    facts: dict[str, Any]
    parameters: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str | None:
        """The text of the answers; None where the span holds none."""
        texts = [turn["content"] for turn in self.answers if isinstance(turn.get("content"), str)]
        return "\n".join(texts) if texts else None

    @property
    def tool_calls(self) -> list[Any] | None:
        """The tools the model asked for."""
        return [call for turn in self.answers for call in turn.get("tool_calls", ())] or None

    @property
    def finish_reasons(self) -> list[str]:
        """Why each choice ended."""
        told = self.facts.get("finish_reasons")
        if isinstance(told, str):
            return [told]
        if told:
            return [str(reason) for reason in told]
        return [turn["finish_reason"] for turn in self.answers if turn.get("finish_reason")]


def read(attributes: Attributes, events: Iterable[tuple[str, Attributes]] = ()) -> Said | None:
    """Read a span; None where it is no call to a model."""
    facts = _pick(attributes, names.FACTS)
    operation, provider = facts.pop("operation", None), facts.pop("provider", None)
    if operation is None and provider is None:
        return None
    operation = str(operation or "chat").lower()
    operation = names.OPERATIONS.get(operation, operation)
    if operation in names.NOT_CALLS:
        return None
    provider = str(provider or "unknown").lower()
    said = Said(
        operation,
        names.PROVIDERS.get(provider, provider),
        facts.pop("model", None),
        facts,
        _pick(attributes, names.PARAMETERS),
    )
    _read_content(said, attributes)
    for name, inside in events:
        _read_event(said, name, inside)
    return said


def _pick(attributes: Attributes, table: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    found = {}
    for ours, theirs in table.items():
        for name in theirs:
            value = attributes.get(name)
            if value is not None:
                found[ours] = list(value) if isinstance(value, tuple) else value
                break
    return found


# -- content -------------------------------------------------------------------------------------


def _read_content(said: Said, attributes: Attributes) -> None:
    facts = said.facts
    system = _loaded(facts.pop("system", None))
    if system:
        said.messages.append(_turn({"role": "system", "parts": system}))
    said.messages += _turns(facts.pop("input_messages", None), "user")
    said.answers += _turns(facts.pop("output_messages", None), "assistant")
    if "tools" in facts:
        facts["tools"] = _loaded(facts["tools"])
    for side, prefixes in names.IN_PARTS.items():
        target = said.messages if side == "input" else said.answers
        if not target:
            for prefix in prefixes:
                target += _numbered(attributes, prefix)


def _read_event(said: Said, name: str, inside: Attributes) -> None:
    what = names.EVENTS.get(name)
    if what is None:
        return
    if what in {"input", "output", "details"}:
        more = _pick(inside, names.FACTS)
        if not said.messages:
            _read_content_of(said.messages, more, "input_messages", "user")
        if not said.answers:
            _read_content_of(said.answers, more, "output_messages", "assistant")
        return
    body = _loaded(inside.get("gen_ai.event.content")) or dict(inside)
    if not isinstance(body, Mapping):
        body = {"content": body}
    if what == "choice":
        message = _loaded(body.get("message")) or body
        turn = _turn({"role": "assistant", **_mapping(message)})
        if body.get("finish_reason"):
            turn["finish_reason"] = body["finish_reason"]
        said.answers.append(turn)
    else:
        said.messages.append(_turn({"role": what, **body}))


def _read_content_of(
    target: list[dict[str, Any]], facts: Mapping[str, Any], name: str, role: str
) -> None:
    target += _turns(facts.get(name), role)


def _turns(value: Any, role: str) -> list[dict[str, Any]]:
    """Read a conversation: JSON or structured; a bare text is one turn."""
    loaded = _loaded(value)
    if loaded is None:
        return []
    if isinstance(loaded, str | Mapping):
        loaded = [loaded]
    if not isinstance(loaded, list | tuple):
        return []
    return [
        _turn(
            {"role": role, **item} if isinstance(item, Mapping) else {"role": role, "content": item}
        )
        for item in loaded
    ]


def _numbered(attributes: Attributes, prefix: str) -> list[dict[str, Any]]:
    """Read what is numbered: ``<prefix>0.role``, ``<prefix>0.tool_calls.0.name``."""
    turns: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        match = _NUMBERED.fullmatch(name[len(prefix) :]) if name.startswith(prefix) else None
        if match is None:
            continue
        turn = turns.setdefault(int(match[1]), {})
        kind, _, rest = match[2].partition(".")
        inner = _NUMBERED.fullmatch(rest) if kind == "tool_calls" else None
        if inner is None:
            turn[match[2]] = value
        else:
            calls = turn.setdefault("tool_calls", {})
            calls.setdefault(int(inner[1]), {})[inner[2]] = value
    for turn in turns.values():
        if isinstance(turn.get("tool_calls"), dict):
            turn["tool_calls"] = [call for _, call in sorted(turn["tool_calls"].items())]
    return [turn for _, turn in sorted(turns.items())]


def _turn(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write one turn as SDKs do: role, content, tool calls, instead of a list of parts."""
    turn = {name: value for name, value in given.items() if name != "parts"}
    parts = given.get("parts")
    if isinstance(parts, str):
        turn["content"] = parts
        return turn
    if not isinstance(parts, list | tuple):
        return turn
    kept, calls = [], []
    for part in parts:
        if not isinstance(part, Mapping):
            kept.append({"type": "text", "text": str(part)})
        elif part.get("type") == "tool_call":
            calls.append({key: part.get(key) for key in ("id", "name", "arguments")})
        elif part.get("type") == "text":
            kept.append({"type": "text", "text": part.get("content", part.get("text"))})
        else:
            kept.append(_without_data(part))
    if calls:
        turn["tool_calls"] = calls
    if kept and all(part["type"] == "text" for part in kept):
        turn["content"] = "\n".join(str(part["text"]) for part in kept)
    elif kept:
        turn["content"] = kept
    return turn


def _without_data(part: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a picture or sound its hash, type and size."""
    data = part.get("content", part.get("data")) if part.get("type") == "blob" else None
    if not isinstance(data, str | bytes):
        return dict(part)
    media_type = str(part.get("mime_type") or "application/octet-stream")
    kind = str(part.get("modality") or media_type.partition("/")[0])
    if isinstance(data, bytes):
        return media.describe(data, kind, media_type)
    described: dict[str, Any] = media.strip(f"data:{media_type};base64,{data}")
    return {**described, "type": kind}


def _loaded(value: Any) -> Any:
    """Read JSON where a text holds some; anything else stays."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {"content": value}
