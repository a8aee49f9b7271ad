"""A provider of language models on loopback, which speaks OpenAI's and Anthropic's wire formats.

::

    with Provider() as provider:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
        provider.script("error", "ok")         # a 500, then an answer
        reply = client.chat.completions.create(...)
        assert reply.usage.prompt_tokens == provider.requests[-1].expected["input_tokens"]

Without a script, what it answers depends on the request alone (``demo/usage.py`` has the rules):

- ``tools`` and no tool result yet: a call of the first tool; of the first two, where tools may be
  called in parallel and there is a second one;
- a model whose name holds ``reasoning``, or a request with ``thinking`` or ``reasoning``: that;
- a model whose name holds ``refusal``: a refusal;
- ``max_tokens`` and its like cut the answer; ``n`` asks for more choices;
- system texts count as read from the cache, and what Anthropic's ``cache_control`` marks in the
  other turns as written to it.

A request with ``x-canned-fault: NAME``, or for a model ``fault-NAME``, gets that fault. Faults are
the errors of ``provider_openai.FAULTS`` (``rate-limit``, ``error``, ``unauthorized``, ...), and:

``slow``
    waits ``seconds`` (0.5) before it answers.
``hang``
    never answers; ``hang-in-stream`` stops after ``after`` events (half of them).
``drop``
    closes the connection without an answer.
``cut``
    closes it in the middle: after ``after`` events, or half of the body.
``malformed``
    answers with JSON that is broken off; in a stream, one event.
``error-in-stream``
    sends the provider's error event after ``after`` events.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from affidavit.demo.usage import Usage, expected_answer, expected_finish_reason, expected_usage
from affidavit.demo.wire import Finish, Reply, ToolCall
from tests.support import provider_anthropic, provider_openai
from tests.support.provider_http import Answer, Request, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

Dialect = Literal["openai", "anthropic"]
REASONING: Final = "First the trend, then the volume, and last the news of the day."
REFUSAL: Final = "I cannot help with that request."
_RETRY_AFTER_MS: Final = "10"  # both SDKs read it before the seconds, and tests do not wait
_REASONING_TOKENS: Final = 13
_DIALECTS: Final[dict[Dialect, ModuleType]] = {
    "openai": provider_openai,
    "anthropic": provider_anthropic,
}


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it goes over the wire: a body, or the events of a stream."""

    body: bytes = b""
    events: tuple[bytes, ...] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault with other figures than its own; see the names in the module's text."""

    kind: str
    seconds: float = 0.5
    after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Step: TypeAlias = Reply | Raw | Fault | str


@dataclass(slots=True)
class Received:
    """One request and what it got.

    Attributes:
        reply: what the model said; None where none was asked, or a fault came instead.
        expected: fields of the outcome's record that follow from it (:func:`expected`).
        request_id: sent with the answer.
        fault: the name of the fault it got; empty without one.
    """

    dialect: Dialect
    request: Request
    reply: Reply | None = None
    request_id: str = ""
    status: int = 0
    fault: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """The request's JSON."""
        return self.request.json

    @property
    def path(self) -> str:
        """The request's path, with its prefix."""
        return self.request.path

    @property
    def expected(self) -> dict[str, Any]:
        """Fields of the outcome's record that follow from the answer."""
        if self.reply is None:
            return {}
        return {**expected(self.reply, self.dialect), "request_id": self.request_id}


class Provider:
    """The running provider.

    Attributes:
        openai_url: for ``openai.OpenAI(base_url=...)``; with ``/v1``.
        anthropic_url: for ``anthropic.Anthropic(base_url=...)``; also Bedrock's and Vertex AI's.
        azure_url: for ``openai.AzureOpenAI(azure_endpoint=...)``.
        requests: everything that came, in order.
    """

    def __init__(self, *, latency_s: float = 0.0, pause_s: float = 0.0) -> None:
        """``latency_s`` before each answer, ``pause_s`` before each piece of a stream."""
        self.latency_s = latency_s
        self.pause_s = pause_s
        self.requests: list[Received] = []
        self._steps: deque[Step] = deque()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._server = Server()
        openai_port = self._server.listen(lambda request: self._serve("openai", request))
        anthropic_port = self._server.listen(lambda request: self._serve("anthropic", request))
        self.azure_url = f"http://127.0.0.1:{openai_port}"
        self.openai_url = f"{self.azure_url}/v1"
        self.anthropic_url = f"http://127.0.0.1:{anthropic_port}"

    def script(self, *steps: Step) -> None:
        """Order what the next requests get: a fault's name, ``ok``, a Reply, a Raw or a Fault."""
        with self._lock:
            self._steps.extend(steps)

    def reset(self) -> None:
        """Forget the script and the requests."""
        with self._lock:
            self._steps.clear()
            self.requests.clear()

    def expected(self, body: Mapping[str, Any], dialect: Dialect = "openai") -> dict[str, Any]:
        """What the record of a request with this body must hold, were it sent without a fault."""
        found = expected(default_reply(body, dialect, 0), dialect)
        return {name: value for name, value in found.items() if name != "response_id"}

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self._server.stop()

    def __enter__(self) -> Self:
        """The running provider."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop it."""
        self.stop()

    async def _serve(self, dialect: Dialect, request: Request) -> Answer:
        with self._lock:
            number = next(self._numbers)
            received = Received(dialect, request, request_id=f"req_canned{number:06d}")
            self.requests.append(received)
            step = self._steps.popleft() if self._steps else _ordered(request)
        answer = _answer(dialect, request, step, number)
        wire = _DIALECTS[dialect]
        answer.headers = {**wire.headers(received.request_id), **answer.headers}
        answer.wait_s += self.latency_s
        answer.pause_s = answer.pause_s or self.pause_s
        received.reply, received.status = answer.reply, answer.status
        if isinstance(step, Fault | str):
            received.fault = step.kind if isinstance(step, Fault) else step.removeprefix("ok")
        return answer


def _ordered(request: Request) -> Step:
    """The fault that the request itself asks for, or ``ok``."""
    model = str(request.json.get("model", ""))
    named = model.removeprefix("fault-") if model.startswith("fault-") else "ok"
    return request.headers.get("x-canned-fault", named)


def _answer(dialect: Dialect, request: Request, step: Step, number: int) -> Answer:
    wire = _DIALECTS[dialect]
    if isinstance(step, Raw):
        events = None if step.events is None else list(step.events)
        kind = "application/json" if events is None else "text/event-stream"
        return Answer(step.status, {"content-type": kind, **step.headers}, step.body, events)
    if isinstance(step, Reply):
        answer: Answer = wire.answer(request, lambda: step)
        return answer
    fault = step if isinstance(step, Fault) else Fault(step)
    if fault.kind in wire.FAULTS:
        answer = wire.problem(fault.kind)
        answer.headers["retry-after-ms"] = _RETRY_AFTER_MS
        if fault.kind == "rate-limit":
            answer.headers |= {"retry-after": "1", **wire.RATE_LIMITED}
        if fault.kind == "quota":
            answer.headers["x-should-retry"] = "false"
    else:
        answer = wire.answer(request, lambda: default_reply(_whole(request), dialect, number))
        _spoil(answer, fault, wire)
    answer.headers |= fault.headers
    return answer


def _spoil(answer: Answer, fault: Fault, wire: ModuleType) -> None:
    """Make a good answer a bad one; ``ok`` leaves it as it is."""
    events = answer.events or []
    after = max(1, len(events) // 2) if fault.after is None else fault.after
    if fault.kind == "slow":
        answer.wait_s = fault.seconds
    elif fault.kind == "hang":
        answer.hang_after, answer.reply = 0, None
    elif fault.kind == "hang-in-stream":
        answer.hang_after = after
    elif fault.kind == "drop":
        answer.cut_after, answer.reply = 0, None
    elif fault.kind == "cut":
        answer.cut_after = after
    elif fault.kind == "malformed":
        answer.body = answer.body[: len(answer.body) // 2]
        events[after:] = [b'data: {"id": "broken\n\n'] if events else []
    elif fault.kind == "error-in-stream":
        events[after:] = [wire.broken_off()]
    elif fault.kind != "ok":
        msg = f"the canned provider has no fault named {fault.kind!r}"
        raise ValueError(msg)


# -- what the model says ---------------------------------------------------------------------------


def expected(reply: Reply, dialect: Dialect) -> dict[str, Any]:
    """Fields of the outcome's record that follow from what a model said, None where absent."""
    usage = reply.usage
    return {
        "text": reply.text,
        "refusal": reply.refusal,
        "reasoning": reply.reasoning,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": dict(call.arguments)}
            for call in reply.tool_calls
        ]
        or None,
        "finish_reason": reply.openai_finish if dialect == "openai" else reply.anthropic_stop,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "model": reply.model,
        "response_id": reply.response_id,
    }


def default_reply(body: Mapping[str, Any], dialect: Dialect, number: int) -> Reply:
    """What the model says to a request when nothing is scripted."""
    turns = list(_turns(body))
    model = str(body.get("model") or "canned-large")
    limit = next((body[n] for n in _LIMITS if isinstance(body.get(n), int)), None)
    calls = _tool_calls(body, dialect, number)
    thinks = "reasoning" in model or any(_wanted(body.get(n)) for n in ("thinking", "reasoning"))
    text = expected_answer(turns, max_tokens=limit)
    finish: Finish = (
        "length" if expected_finish_reason(turns, max_tokens=limit) == "length" else "stop"
    )
    usage = expected_usage(turns, max_tokens=limit)
    answer_tokens = usage.output_tokens
    if calls:
        finish, answer_tokens = "tool_calls", sum(8 + len(c.arguments_text) for c in calls)
    refused = "refusal" in model
    if refused:
        finish, answer_tokens = "refusal", len(REFUSAL.split())
    reasoning = _REASONING_TOKENS if thinks else 0
    more = tuple(f"{text} {n}" for n in range(2, int(body.get("n") or 1) + 1))
    return Reply(
        response_id=f"{_response_prefix(body, dialect)}{number:06d}",
        model=model,
        usage=Usage(
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            cache_write_tokens=_written(turns),
            output_tokens=answer_tokens * (1 + len(more)) + len(more) + reasoning,
            reasoning_tokens=reasoning,
        ),
        text=None if calls or refused else text,
        finish=finish,
        tool_calls=calls,
        reasoning=REASONING if thinks else None,
        refusal=REFUSAL if refused else None,
        more=more,
    )


_LIMITS: Final = (
    "max_completion_tokens",
    "max_tokens",
    "max_output_tokens",
    "max_tokens_to_sample",
)


def _whole(request: Request) -> dict[str, Any]:
    """The request's JSON; Bedrock and Vertex AI have the model in the path."""
    body = request.json
    for before, after in (("/model/", "/invoke"), ("/models/", ":")):
        if "model" not in body and before in request.path:
            body["model"] = request.path.partition(before)[2].partition(after)[0]
    return body


def _wanted(asked: Any) -> bool:
    """Whether ``thinking`` or ``reasoning`` asks for it."""
    if not isinstance(asked, dict):
        return False
    return asked.get("type") in {"enabled", "adaptive"} or bool(asked.get("effort"))


def _response_prefix(body: Mapping[str, Any], dialect: Dialect) -> str:
    if dialect == "anthropic":
        return "compl_canned" if "prompt" in body else "msg_canned"
    if "messages" in body:
        return "chatcmpl-canned"
    return "cmpl-canned" if "prompt" in body else "resp_canned"


def _turns(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The request's conversation as turns, whichever of the ways of writing it was used."""
    for name in ("system", "instructions"):
        if body.get(name):
            yield {"role": "system", "content": body[name]}
    for name in ("messages", "input"):
        given = body.get(name)
        if isinstance(given, str):
            yield {"role": "user", "content": given}
        elif isinstance(given, list):
            yield from (one for one in given if isinstance(one, dict))
    if "prompt" in body:
        yield {"role": "user", "content": str(body["prompt"])}


def _written(turns: list[dict[str, Any]]) -> int:
    """Tokens written to the cache: those of texts that ``cache_control`` marks."""
    return sum(
        len(str(part.get("text", ""))) // 8
        for turn in turns
        if turn.get("role") != "system" and isinstance(turn.get("content"), list)
        for part in turn["content"]
        if isinstance(part, dict) and part.get("cache_control")
    )


def _tool_calls(body: Mapping[str, Any], dialect: Dialect, number: int) -> tuple[ToolCall, ...]:
    names = [
        str(tool.get("name") or (tool.get("function") or {}).get("name") or "")
        for tool in body.get("tools") or ()
        if isinstance(tool, dict)
    ]
    names = [name for name in names if name]
    choice = body.get("tool_choice")
    if not names or choice == "none" or _has_result(body):
        return ()
    alone = body.get("parallel_tool_calls") is False
    if isinstance(choice, dict) and choice.get("disable_parallel_tool_use"):
        alone = True
    prefix = "toolu_canned" if dialect == "anthropic" else "call_canned"
    return tuple(
        ToolCall(f"{prefix}{number:06d}_{n}", name, {"symbol": "BTCUSDT", "days": 10 * (n + 1)})
        for n, name in enumerate(names[: 1 if alone else 2])
    )


def _has_result(body: Mapping[str, Any]) -> bool:
    """Whether a tool's result is in the conversation already."""
    text = json.dumps(body.get("messages") or body.get("input") or "")
    marks = ('"role": "tool"', '"type": "tool_result"', '"type": "function_call_output"')
    return any(mark in text for mark in marks)
