"""OpenAI's words: what is asked of its endpoints, what they answer, and their streams. Pure.

The answers of chat completions, responses, completions, embeddings, images, audio and moderations
are read in full; those of every other endpoint are kept as they are, without binary content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from affidavit import providers
from affidavit._capture import generic, limits
from affidavit._capture.asked import (
    Accumulator,
    Answer,
    Asked,
    arguments,
    items,
    joined,
    mapping,
    text_of,
)
from affidavit._capture.media import strip, turns
from affidavit._capture.wire import DONE

_ROUTES: Final[tuple[tuple[str, str, str], ...]] = (
    (r"/chat/completions", "chat", "chat"),
    (r"/responses", "responses", "chat"),
    (r"/responses/compact", "responses", "chat"),
    (r"/completions", "completions", "text_completion"),
    (r"/embeddings", "embeddings", "embeddings"),
    (r"/images/(generations|edits|variations)", "images", "generate_content"),
    (r"/audio/(speech|transcriptions|translations)", "audio", "generate_content"),
    (r"/moderations", "moderations", "moderation"),
    (r"(/threads/[^/]+|/threads)/runs", "run", "invoke_agent"),
    (r"/threads/[^/]+/runs/[^/]+/submit_tool_outputs", "run", "invoke_agent"),
)
"""Path of a POST → kind of answer, and the operation's name."""

_MATCHERS: Final = tuple((re.compile(p), kind, name) for p, kind, name in _ROUTES)
_PREFIX: Final = re.compile(r"^(?:https?://[^/]+)?(?:/openai)?(?:/deployments/[^/]+)?(?:/v1)?(?=/)")
_NOT_PARAMETERS: Final = frozenset(
    {"model", "messages", "input", "prompt", "instructions", "tools", "functions"}
)


@lru_cache(maxsize=256)
def _route(path: str) -> tuple[str, str] | None:
    """Tell kind and operation of a POST; None for an endpoint that is read generically."""
    path = _PREFIX.sub("", path, count=1).partition("?")[0]
    for matcher, kind, operation in _MATCHERS:
        if matcher.fullmatch(path):
            return kind, operation
    return None


class OpenAIDialect:
    """The openai SDK."""

    package: Final = "openai"
    request_id_headers: Final = (b"x-request-id", b"apim-request-id", b"x-amzn-requestid")

    def provider(self, client: str, host: str) -> str:
        """Name the provider; OpenAI where neither class nor host says another."""
        if "Azure" in client:
            return "azure.ai.openai"
        if "Bedrock" in client:
            return "aws.bedrock"
        return providers.provider_of(host) or "openai"

    def parse_request(self, method: str, path: str, body: Any) -> Asked:
        """Read a request."""
        found = _route(path) if method == "POST" else None
        if found is None:
            return generic.asked(_PREFIX.sub("", path, count=1), body)
        return _asked(*found, body)

    def parse_response(self, kind: str, body: Any) -> Answer:
        """Read an answer's JSON."""
        reader = _READERS.get(kind)
        return reader(body) if reader is not None and isinstance(body, dict) else generic.read(body)

    def accumulator(self, kind: str) -> Accumulator:
        """Start to put a streamed answer together."""
        return _ACCUMULATORS.get(kind, generic.Events)()

    def rate_limit(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Read a 429's headers."""
        return limits.read(headers, "x-ratelimit-{field}-{what}", ("requests", "tokens"))


# -- what is asked ---------------------------------------------------------------------------------


def _asked(kind: str, operation: str, body: Any) -> Asked:
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
        found.append({"role": "user", "content": asked})
    return found or None


# -- usage -----------------------------------------------------------------------------------------


def _count(answer: Answer, usage: Any) -> None:
    """Note the tokens, in either of OpenAI's two ways of telling them."""
    if type(usage) is not dict:
        return
    answer.usage = usage
    if "prompt_tokens" in usage:
        asked, said, of_asked, of_said = _OLD_NAMES
    else:
        asked, said, of_asked, of_said = _NEW_NAMES
    count = usage.get(asked)
    answer.input_tokens = count if type(count) is int else None
    count = usage.get(said)
    answer.output_tokens = count if type(count) is int else None
    detail = usage.get(of_asked)
    if type(detail) is dict:
        count = detail.get("cached_tokens")
    else:  # DeepSeek's way
        count = usage.get("prompt_cache_hit_tokens")
    answer.cached_tokens = count if type(count) is int else None
    detail = usage.get(of_said)
    count = detail.get("reasoning_tokens") if type(detail) is dict else None
    answer.reasoning_tokens = count if type(count) is int else None


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


def _head(body: Mapping[str, Any]) -> Answer:
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
        answer.error = _error(error)
    return answer


def _error(error: Mapping[str, Any]) -> tuple[str, str]:
    name = error.get("code") or error.get("type") or "error"
    return str(name), str(error.get("message") or name)


# -- chat completions ------------------------------------------------------------------------------


def _read_chat(body: dict[str, Any]) -> Answer:  # noqa: C901 - one look at each field
    # The caller waits for this: what is not there is not looked at by a function of its own.
    answer = _head(body)
    _count(answer, body.get("usage"))
    texts: list[str | None] = []
    calls: list[dict[str, Any]] = []
    for choice in items(body.get("choices")):
        message = choice.get("message") if type(choice) is dict else None
        if type(message) is not dict:
            continue
        content = message.get("content")
        text = content if type(content) is str else None
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
        found.append(_call(call.get("id"), asked.get("name"), _argument(asked)))
    old = message.get("function_call")
    if isinstance(old, dict):
        found.append(_call(None, old.get("name"), old.get("arguments")))
    return found


def _argument(asked: Mapping[str, Any]) -> Any:
    given = asked.get("arguments")
    return asked.get("input") if given is None else given


def _call(call_id: Any, name: Any, given: Any) -> dict[str, Any]:
    return {"id": call_id, "name": name, "arguments": arguments(given)}


class _Choice:
    """One choice of a streamed completion."""

    __slots__ = ("calls", "finish", "reasoning", "refusal", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
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
        known = self.calls.setdefault(
            index if isinstance(index, int) else len(self.calls),
            {"id": None, "name": None, "pieces": []},
        )
        asked = mapping(asked)
        known["id"] = call_id or known["id"]
        known["name"] = asked.get("name") or known["name"]
        piece = _argument(asked)
        if isinstance(piece, str):
            known["pieces"].append(piece)


class ChatEvents:
    """The chunks of a chat completion, or of a plain one."""

    def __init__(self) -> None:
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
            answer.error = _error(chunk["error"])
        answer.response_id = answer.response_id or text_of(chunk.get("id")) or None
        answer.model = answer.model or text_of(chunk.get("model")) or None
        for name in ("service_tier", "system_fingerprint"):
            if chunk.get(name) is not None:
                answer.extra[name] = chunk[name]
        _count(answer, chunk.get("usage"))
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
            _call(call["id"], call["name"], "".join(call["pieces"]))
            for choice in choices
            for _, call in sorted(choice.calls.items())
        ]
        answer.tool_calls = calls or None
        # Some compatible servers end without a mark; each choice's own end says as much.
        ended = bool(choices) and all(choice.finish for choice in choices)
        answer.is_complete = answer.is_complete or ended
        return answer


def _read_completion(body: dict[str, Any]) -> Answer:
    answer = _head(body)
    _count(answer, body.get("usage"))
    choices = [mapping(choice) for choice in items(body.get("choices"))]
    _say(answer, [text_of(choice.get("text")) for choice in choices])
    answer.finish_reasons = [str(c["finish_reason"]) for c in choices if c.get("finish_reason")]
    return answer


# -- responses -------------------------------------------------------------------------------------

_INCOMPLETE: Final = {"max_output_tokens": "length"}
_CALLED: Final = "tool_calls"
_OURS_TO_CALL: Final = frozenset({"function_call", "custom_tool_call"})
_FUNCTIONS: Final = _OURS_TO_CALL | {"mcp_call"}


def _read_response(body: dict[str, Any]) -> Answer:
    answer = _head(body)
    _count(answer, body.get("usage"))
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
        return _call(item.get("call_id") or item.get("id"), item.get("name"), _argument(item))
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
            self._last = _read_response(mapping(body.get("response")))
            return False
        if name == "error" or isinstance(body.get("error"), dict):
            self._answer.error = _error(body if name == "error" else body["error"])
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
            _call(call["id"], call["name"], "".join(call["pieces"]) or call["arguments"])
            for call in self._calls.values()
        ] or None
        return answer


# -- the other families ----------------------------------------------------------------------------


def _read_embeddings(body: dict[str, Any]) -> Answer:
    answer = _head(body)
    _count(answer, body.get("usage"))
    vectors = items(body.get("data"))
    answer.extra["embeddings"] = len(vectors)
    first = mapping(vectors[0]).get("embedding") if vectors else None
    if isinstance(first, list):
        answer.extra["dimensions"] = len(first)
    elif isinstance(first, str):  # base64 of numbers of four bytes
        answer.extra["dimensions"] = len(first) * 3 // 16
    return answer


def _read_images(body: dict[str, Any]) -> Answer:
    answer = _head(body)
    _count(answer, body.get("usage"))
    answer.extra["images"] = strip(items(body.get("data")))
    for name in ("size", "quality", "background", "output_format"):
        if body.get(name) is not None:
            answer.extra[name] = body[name]
    return answer


def _read_audio(body: dict[str, Any]) -> Answer:
    answer = _head(body)
    _count(answer, body.get("usage"))
    answer.text = text_of(body.get("text"))
    for name in ("language", "duration"):
        if body.get(name) is not None:
            answer.extra[name] = body[name]
    return answer


def _read_moderations(body: dict[str, Any]) -> Answer:
    answer = _head(body)
    results = [mapping(result) for result in items(body.get("results"))]
    answer.extra["flagged"] = any(result.get("flagged") is True for result in results)
    answer.extra["results"] = results
    return answer


def _read_run(body: dict[str, Any]) -> Answer:
    answer = generic.read(body)
    _count(answer, body.get("usage"))
    return answer


class RunEvents(generic.Events):
    """The events of an assistant's run: its text, and the usage that the last ones carry."""

    def accumulate(self, event: str | None, chunk: Any) -> bool:
        """Take one event; ``thread.message.delta`` brings text."""
        body = mapping(chunk)
        if event == "thread.message.delta":
            parts = items(mapping(body.get("delta")).get("content"))
            found = [mapping(mapping(part).get("text")).get("value") for part in parts]
            self.pieces += [piece for piece in found if isinstance(piece, str)]
            return True
        return super().accumulate(event, chunk)


_READERS: Final[dict[str, Callable[[dict[str, Any]], Answer]]] = {
    "chat": _read_chat,
    "completions": _read_completion,
    "responses": _read_response,
    "embeddings": _read_embeddings,
    "images": _read_images,
    "audio": _read_audio,
    "moderations": _read_moderations,
    "run": _read_run,
}
_ACCUMULATORS: Final[dict[str, Callable[[], Accumulator]]] = {
    "chat": ChatEvents,
    "completions": ChatEvents,
    "responses": ResponseEvents,
    "run": RunEvents,
}

DIALECT: Final = OpenAIDialect()
