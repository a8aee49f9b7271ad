"""LangChain: callback handlers that record each call of a chat model or of a text model.

LangChain is imported when a handler is made, and is no dependency. Chains, tools and retrievers
leave no record of their own; the model calls inside them do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from affidavit import _apart
from affidavit._capture import media, refused
from affidavit.errors import AuditUnavailable, MissingExtra

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

    from affidavit._call import CallState
    from affidavit._recorder import Recorder

_log: Final = logging.getLogger("affidavit")

MAX_OPEN: Final = 10_000
"""Calls under way at once; beyond that the oldest stays without an outcome, and is flagged so."""

PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "google_vertexai": "gcp.vertex_ai",
    "google_anthropic_vertex": "gcp.vertex_ai",
    "google_genai": "gcp.gemini",
    "amazon_bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
"""LangChain's names of providers → those of the records; others stay."""

_ROLES: Final = {"human": "user", "ai": "assistant"}
_NO_PARAMETERS: Final = frozenset(
    {"_type", "model", "model_name", "model_id", "functions", "tools", "stream"}
)
_WHO: Final = {
    "user_id": "user_id",
    "session_id": "session_id",
    "conversation_id": "conversation_id",
    "thread_id": "conversation_id",
}
"""Key of a run's metadata → who and where."""


def handler(audit: Recorder) -> BaseCallbackHandler:
    """Make a handler for ``config={"callbacks": [...]}`` of synchronous runs.

    Works in asynchronous runs too, where LangChain calls it in a thread. Raises MissingExtra where
    ``langchain-core`` is not installed.
    """
    callbacks = _callbacks()
    calls = _Calls(audit)

    class AuditCallbackHandler(callbacks.BaseCallbackHandler):  # type: ignore[misc, name-defined] # from a function
        """Records calls to models."""

        raise_error = True
        """For AuditUnavailable; nothing else leaves this handler."""

        def on_chat_model_start(self, _: Any, messages: Any, *, run_id: UUID, **more: Any) -> None:
            _begin(calls.chat(run_id, messages, more))

        def on_llm_start(self, _: Any, prompts: list[str], *, run_id: UUID, **more: Any) -> None:
            _begin(calls.text(run_id, prompts, more))

        def on_llm_new_token(self, *_: Any, run_id: UUID, **__: Any) -> None:
            calls.token(run_id)

        def on_stream_event(self, *_: Any, run_id: UUID, **__: Any) -> None:
            calls.token(run_id)

        def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
            call = calls.ended(run_id, response)
            if call is not None:
                _apart.end(call)

        def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
            call = calls.failed(run_id, more.get("response"))
            if call is not None:
                refused.note(call, error)
                _apart.end(call, error)

    return AuditCallbackHandler()


def async_handler(audit: Recorder) -> AsyncCallbackHandler:
    """Make a handler for asynchronous runs, which never blocks the event loop; see :func:`handler`.

    Under ``on_failure="refuse"`` use it in asynchronous runs only: LangChain swallows what an
    asynchronous handler raises in a synchronous one.
    """
    callbacks = _callbacks()
    calls = _Calls(audit)

    class AsyncAuditCallbackHandler(callbacks.AsyncCallbackHandler):  # type: ignore[misc, name-defined] # from a function
        """Records calls to models."""

        raise_error = True
        """For AuditUnavailable; nothing else leaves this handler."""

        run_inline = True
        """In the task of the run itself, whose end is told where LangChain tells nothing."""

        async def on_chat_model_start(
            self, _: Any, messages: Any, *, run_id: UUID, **more: Any
        ) -> None:
            await _abegin(calls.watched(run_id, calls.chat(run_id, messages, more)))

        async def on_llm_start(
            self, _: Any, prompts: list[str], *, run_id: UUID, **more: Any
        ) -> None:
            await _abegin(calls.watched(run_id, calls.text(run_id, prompts, more)))

        async def on_llm_new_token(self, *_: Any, run_id: UUID, **__: Any) -> None:
            calls.token(run_id)

        async def on_stream_event(self, *_: Any, run_id: UUID, **__: Any) -> None:
            calls.token(run_id)

        async def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
            call = calls.ended(run_id, response)
            if call is not None:
                await _apart.aend(call)

        async def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
            call = calls.failed(run_id, more.get("response"))
            if call is not None:
                refused.note(call, error)
                await _apart.aend(call, error)

    return AsyncAuditCallbackHandler()


def _callbacks() -> Any:
    try:
        from langchain_core import callbacks
    except ImportError as error:
        msg = "LangChain's handlers need langchain-core: pip install langchain-core"
        raise MissingExtra(msg) from error
    return callbacks


def _begin(call: CallState | None) -> None:
    if call is not None:
        _apart.begin(call)


async def _abegin(call: CallState | None) -> None:
    if call is not None:
        await _apart.abegin(call)


class _Began:
    """A call under way: since when, when its first piece came, and what watches its task."""

    __slots__ = ("call", "first_ms", "started_s", "unwatch")

    def __init__(self, call: CallState) -> None:
        self.call = call
        self.started_s = time.perf_counter()
        self.first_ms: float | None = None
        self.unwatch: Callable[[], object] | None = None


class _Calls:
    """The calls under way, by LangChain's id of their run. Never raises.

    Written from whatever thread LangChain runs a callback in; each step is one operation of a
    dictionary.
    """

    def __init__(self, audit: Recorder) -> None:
        self._audit: Any = audit
        self._open: OrderedDict[UUID, _Began] = OrderedDict()

    def chat(self, run_id: UUID, messages: Any, more: Mapping[str, Any]) -> CallState | None:
        """Make the call of a chat model."""
        try:
            turns = [turn(message) for message in messages[0]]
            return self._start(run_id, "chat", more, messages=turns)
        except Exception as error:
            _complain(error)
            return None

    def text(self, run_id: UUID, prompts: Any, more: Mapping[str, Any]) -> CallState | None:
        """Make the call of a model that completes a text."""
        try:
            return self._start(run_id, "text_completion", more, message=str(prompts[0]))
        except Exception as error:
            _complain(error)
            return None

    def _start(
        self, run_id: UUID, operation: str, more: Mapping[str, Any], **said: Any
    ) -> CallState:
        asked: Mapping[str, Any] = more.get("invocation_params") or {}
        metadata: Mapping[str, Any] = more.get("metadata") or {}
        provider = str(metadata.get("ls_provider") or asked.get("_type") or "langchain")
        model = metadata.get("ls_model_name") or asked.get("model") or asked.get("model_name")
        parameters = {
            name: value
            for name, value in asked.items()
            if name not in _NO_PARAMETERS and value is not None
        }
        fields = {"operation": operation, "run_id": str(run_id)}
        if more.get("parent_run_id"):
            fields["parent_run_id"] = str(more["parent_run_id"])
        tools = asked.get("tools") or asked.get("functions")
        if tools:
            fields["tools"] = tools
        call: CallState = self._audit.call(
            provider=PROVIDERS.get(provider, provider),
            model=None if model is None else str(model),
            parameters=parameters or None,
            fields=fields,
            **{
                ours: str(metadata[theirs])
                for theirs, ours in _WHO.items()
                if metadata.get(theirs) is not None
            },
            **said,
        )
        self._open[run_id] = _Began(call)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return call

    def watched(self, run_id: UUID, call: CallState | None) -> CallState | None:
        """Have the call aborted when its task ends before it: LangChain tells nothing of that."""
        began = self._open.get(run_id)
        task = asyncio.current_task()
        if began is not None and task is not None:

            def over(_: object) -> None:
                if self._open.pop(run_id, None) is not None:
                    _apart.abandon(began.call, asyncio.CancelledError("The task was cancelled."))

            task.add_done_callback(over)
            began.unwatch = lambda: task.remove_done_callback(over)
        return call

    def token(self, run_id: UUID) -> None:
        """Note when the first piece of a stream came."""
        began = self._open.get(run_id)
        if began is not None and began.first_ms is None:
            began.first_ms = round((time.perf_counter() - began.started_s) * 1000, 3)

    def ended(self, run_id: UUID, response: Any) -> CallState | None:
        """Take the call that is over, with what was answered."""
        return self._take(run_id, response, whole=True)

    def failed(self, run_id: UUID, response: Any) -> CallState | None:
        """Take the call that broke off, with what had arrived."""
        return self._take(run_id, response, whole=False)

    def _take(self, run_id: UUID, response: Any, *, whole: bool) -> CallState | None:
        began = self._open.pop(run_id, None)
        if began is None:
            return None
        if began.unwatch is not None:
            began.unwatch()
        call = began.call
        try:
            report = read(response) if response is not None else {}
            if began.first_ms is not None:
                report["time_to_first_token_ms"] = began.first_ms
            call.partial(**report)
        except Exception as error:
            _complain(error)
        if whole:
            call.complete()
        return call


def _complain(error: Exception) -> None:
    if isinstance(error, AuditUnavailable):
        raise error
    _log.warning("affidavit: a LangChain run could not be read (%s).", type(error).__name__)


# -- pure ----------------------------------------------------------------------------------------


def turn(message: Any) -> dict[str, Any]:
    """Write one message as SDKs do: role and content; pictures and sound by hash, type and size."""
    kind = str(getattr(message, "role", None) or getattr(message, "type", "user"))
    said: dict[str, Any] = {"role": _ROLES.get(kind, kind), "content": _content(message.content)}
    calls = _tool_calls(message)
    if calls:
        said["tool_calls"] = calls
    for name in ("tool_call_id", "name"):
        value = getattr(message, name, None)
        if value:
            said[name] = value
    return said


def read(result: Any) -> dict[str, Any]:
    """Read an ``LLMResult``: what of it a call reports. Fields that are not there are left out."""
    choices = [choice for group in result.generations for choice in group]
    if not choices:
        return {}
    first = choices[0]
    message = getattr(first, "message", None)
    told: Mapping[str, Any] = getattr(message, "response_metadata", None) or {}
    output: Mapping[str, Any] = result.llm_output or {}
    reasons = [reason for choice in choices if (reason := _finish_reason(choice))]
    counts = _usage(message, output)
    report = {
        "text": first.text or None,
        "model": told.get("model_name") or told.get("model") or output.get("model_name"),
        "tool_calls": _tool_calls(message) or None,
        "finish_reason": reasons[0] if reasons else None,
        **counts.pop("report", {}),
    }
    fields = {
        "response_id": told.get("id") or _own_id(message),
        "reasoning": _reasoning(message),
        "refusal": (getattr(message, "additional_kwargs", None) or {}).get("refusal"),
        "finish_reasons": reasons if len(reasons) > 1 else None,
        **counts,
    }
    kept = {name: value for name, value in report.items() if value is not None}
    return {**kept, "fields": {name: value for name, value in fields.items() if value is not None}}


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [_block(block) for block in content] if isinstance(content, Sequence) else content


def _block(block: Any) -> Any:
    if isinstance(block, Mapping) and isinstance(block.get("base64"), str):
        kind, media_type = str(block.get("type", "file")), block.get("mime_type")
        url = f"data:{media_type or 'application/octet-stream'};base64,{block['base64']}"
        return {**media.strip(url), "type": kind}
    return media.strip(block)


def _tool_calls(message: Any) -> list[dict[str, Any]]:
    return [
        {"id": call.get("id"), "name": call.get("name"), "arguments": call.get("args")}
        for call in getattr(message, "tool_calls", None) or ()
    ]


def _finish_reason(choice: Any) -> str | None:
    for told in (
        getattr(getattr(choice, "message", None), "response_metadata", None),
        choice.generation_info,
    ):
        for name in ("finish_reason", "stop_reason", "done_reason"):
            if told and told.get(name):
                return str(told[name])
    return None


def _usage(message: Any, output: Mapping[str, Any]) -> dict[str, Any]:
    """Read token counts: LangChain's own, else those of the provider."""
    raw = output.get("token_usage") or output.get("usage")
    usage = getattr(message, "usage_metadata", None)
    if usage:
        asked = usage.get("input_token_details") or {}
        answered = usage.get("output_token_details") or {}
        report = {
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            "cached_tokens": asked.get("cache_read"),
            "reasoning_tokens": answered.get("reasoning"),
        }
        return {"report": report, "usage_raw": raw or dict(usage)}
    if not isinstance(raw, Mapping):
        return {}
    report = {
        "input_tokens": raw.get("prompt_tokens", raw.get("input_tokens")),
        "output_tokens": raw.get("completion_tokens", raw.get("output_tokens")),
    }
    return {"report": report, "usage_raw": dict(raw)}


def _own_id(message: Any) -> str | None:
    """Take a message's id where the provider gave it: LangChain's own begin otherwise."""
    given = getattr(message, "id", None)
    return None if given is None or str(given).startswith(("run-", "lc_", "run--")) else str(given)


def _reasoning(message: Any) -> str | None:
    extra = (getattr(message, "additional_kwargs", None) or {}).get("reasoning_content")
    if isinstance(extra, str):
        return extra
    content = getattr(message, "content", None)
    if not isinstance(content, list):
        return None
    texts = [
        block.get("reasoning") or block.get("thinking")
        for block in content
        if isinstance(block, Mapping) and block.get("type") in {"reasoning", "thinking"}
    ]
    return "\n".join(text for text in texts if isinstance(text, str)) or None
