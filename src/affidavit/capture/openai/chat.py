"""Chat completions, plain completions, and their streams. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from affidavit._capture.asked import Answer, items, joined, mapping, text_of
from affidavit._capture.media import strip
from affidavit._capture.wire import DONE
from affidavit.capture.openai.common import argument, count, error_of, head, tool_call


def read_chat(body: dict[str, Any]) -> Answer:  # noqa: C901 - one look at each field
    """Read a chat completion."""
    # The caller waits for this: what is not there is not looked at by a function of its own.
    answer = head(body)
    count(answer, body.get("usage"))
    texts: list[str | None] = []
    calls: list[dict[str, Any]] = []
    for choice in items(body.get("choices")):
        message = choice.get("message") if type(choice) is dict else None
        if type(message) is not dict:
            continue
        content = message.get("content")
        text = content if type(content) is str else None
        if type(content) is list:
            text = _parts(answer, message)
        if text is None and message.get("audio"):
            text = _spoken(answer, message)
        texts.append(text)
        if message.get("tool_calls") or message.get("function_call"):
            calls += _calls_of(message)
        finish = choice.get("finish_reason")
        if finish:
            answer.finish_reasons.append(str(finish))
        if answer.refusal is None and message.get("refusal"):
            answer.refusal = text_of(message["refusal"])
        if answer.reasoning is None:
            answer.reasoning = _thought(message)
        if message.get("annotations"):
            answer.extra["annotations"] = message["annotations"]
    if texts:
        answer.text = texts[0]
        if len(texts) > 1:
            answer.extra["texts"] = texts
    if calls:
        answer.tool_calls = calls
    return answer


def _say(answer: Answer, texts: list[str | None]) -> None:
    """Note the text of the first choice, and those of all where there are more."""
    answer.text = texts[0] if texts else None
    if len(texts) > 1:
        answer.extra["texts"] = texts


def _spoken(answer: Answer, message: Mapping[str, Any]) -> str | None:
    audio = message.get("audio")
    if not isinstance(audio, dict):
        return None
    answer.extra["audio"] = strip(audio)
    return text_of(audio.get("transcript"))


def _parts(answer: Answer, message: Mapping[str, Any]) -> str | None:
    """Read content in parts, as some compatible providers send it: texts, thoughts, pictures."""
    texts, thoughts = _texts_of(message["content"])
    if thoughts:
        answer.reasoning = "".join(thoughts)
    others = [part for part in items(message["content"]) if not _is_text(part)]
    if others:
        answer.extra.setdefault("parts", []).extend(strip(others))
    return joined(texts)


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or "text" in mapping(part) or "thinking" in mapping(part)


def _texts_of(content: Any) -> tuple[list[str], list[str]]:
    """Give the texts and the thoughts among the parts of a content."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in items(content):
        said = part if isinstance(part, str) else mapping(part).get("text")
        thought = mapping(part).get("thinking")
        if isinstance(said, str):
            texts.append(said)
        elif isinstance(thought, str):
            thoughts.append(thought)
        elif isinstance(thought, list):
            thoughts += _texts_of(thought)[0]
    return texts, thoughts


def _thought(message: Mapping[str, Any]) -> str | None:
    """Find reasoning as compatible providers tell it; OpenAI's own chat does not."""
    for name in ("reasoning_content", "reasoning"):
        if name in message:
            return text_of(message[name])
    return None


def _calls_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for call in map(mapping, items(message.get("tool_calls"))):
        asked = mapping(call.get("function") or call.get("custom"))
        found.append(tool_call(call.get("id"), asked.get("name"), argument(asked)))
    old = message.get("function_call")
    if isinstance(old, dict):
        found.append(tool_call(None, old.get("name"), old.get("arguments")))
    return found


class _Choice:
    """One choice of a streamed completion."""

    __slots__ = ("calls", "finish", "open", "reasoning", "refusal", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[tuple[int, dict[str, Any]]] = []
        self.open: dict[int, dict[str, Any]] = {}
        self.finish: str | None = None

    def take(self, delta: Mapping[str, Any]) -> bool:
        """Add what a chunk brought; tell whether that was any content."""
        came = False
        for pieces, piece in (
            (self.text, delta.get("content")),
            (self.reasoning, _thought(delta)),
            (self.refusal, delta.get("refusal")),
            (self.text, mapping(delta.get("audio")).get("transcript")),
        ):
            if isinstance(piece, str) and piece:
                pieces.append(piece)
                came = True
        if type(delta.get("content")) is list:
            texts, thoughts = _texts_of(delta["content"])
            self.text += texts
            self.reasoning += thoughts
            came = came or bool(texts or thoughts)
        for call in map(mapping, items(delta.get("tool_calls"))):
            came = True
            self._take_call(
                call.get("index"), call.get("id"), call.get("function") or call.get("custom")
            )
        if isinstance(delta.get("function_call"), dict):
            came = True
            self._take_call(0, None, delta["function_call"])
        return came

    def _take_call(self, index: Any, call_id: Any, asked: Any) -> None:
        place = index if isinstance(index, int) else len(self.calls)
        known = self.open.get(place)
        # Some compatible providers give all calls the index 0, and each an id of its own.
        if known is None or (call_id and known["id"] and known["id"] != call_id):
            known = self.open[place] = {"id": None, "name": None, "pieces": []}
            self.calls.append((place, known))
        asked = mapping(asked)
        known["id"] = call_id or known["id"]
        known["name"] = asked.get("name") or known["name"]
        piece = argument(asked)
        if isinstance(piece, str):
            known["pieces"].append(piece)


class ChatEvents:
    """The chunks of a chat completion, or of a plain one."""

    def __init__(self, choices: int = 1) -> None:
        """``choices`` is how many were asked for."""
        self._wanted = choices
        self._choices: dict[int, _Choice] = {}
        self._answer = Answer(is_complete=False)

    def accumulate(self, event: str | None, chunk: Any) -> bool:  # noqa: ARG002 - one shape for all
        """Take one chunk; ``event`` has no meaning here."""
        answer = self._answer
        if chunk is DONE:
            answer.is_complete = True
            return False
        if not isinstance(chunk, dict):
            return False
        if isinstance(chunk.get("error"), dict):
            answer.error = error_of(chunk["error"])
        answer.response_id = answer.response_id or text_of(chunk.get("id")) or None
        answer.model = answer.model or text_of(chunk.get("model")) or None
        for name in ("service_tier", "system_fingerprint"):
            if chunk.get(name) is not None:
                answer.extra[name] = chunk[name]
        count(answer, chunk.get("usage"))
        came = False
        for given in map(mapping, items(chunk.get("choices"))):
            index = given.get("index")
            choice = self._choices.setdefault(index if isinstance(index, int) else 0, _Choice())
            delta = given.get("delta")
            if delta is None:  # a plain completion
                delta = {"content": given.get("text")}
            came = choice.take(mapping(delta)) or came
            if given.get("finish_reason"):
                choice.finish = str(given["finish_reason"])
        return came

    def answer(self) -> Answer:
        """Give what has arrived so far."""
        answer = self._answer
        choices = [choice for _, choice in sorted(self._choices.items())]
        _say(answer, [joined(choice.text) for choice in choices])
        answer.finish_reasons = [choice.finish for choice in choices if choice.finish]
        for choice in choices:
            answer.reasoning = answer.reasoning or joined(choice.reasoning)
            answer.refusal = answer.refusal or joined(choice.refusal)
        calls = [
            tool_call(call["id"], call["name"], "".join(call["pieces"]))
            for choice in choices
            for _, call in sorted(choice.calls, key=itemgetter(0))
        ]
        answer.tool_calls = calls or None
        # Some compatible servers end without a mark; each choice's own end says as much.
        ended = len(choices) >= self._wanted and all(choice.finish for choice in choices)
        answer.is_complete = answer.is_complete or ended
        return answer


def read_completion(body: dict[str, Any]) -> Answer:
    """Read a plain completion."""
    answer = head(body)
    count(answer, body.get("usage"))
    choices = [mapping(choice) for choice in items(body.get("choices"))]
    _say(answer, [text_of(choice.get("text")) for choice in choices])
    answer.finish_reasons = [str(c["finish_reason"]) for c in choices if c.get("finish_reason")]
    return answer
