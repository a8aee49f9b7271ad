"""LiteLLM: a callback that records each call, synchronous and asynchronous, streamed or not.

LiteLLM is imported when the callback is made, and is no dependency. It keeps to itself what a
callback raises in a synchronous call, and that a stream was left early: the page of the callback
says what follows from that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from affidavit import _apart
from affidavit._capture import media, refused
from affidavit._capture.asked import arguments
from affidavit.errors import AuditUnavailable, MissingExtra

if TYPE_CHECKING:
    from affidavit._call import CallState
    from affidavit._recorder import Recorder

_log: Final = logging.getLogger("affidavit")

LATE_S: Final = 30.0
"""Seconds after the end of a call's task in which LiteLLM may still tell how the call ended."""

MAX_OPEN: Final = 10_000
"""Calls under way at once; beyond that the oldest stays without an outcome, and is flagged so."""

PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""LiteLLM's names of providers → those of the records; others stay."""

_OPERATIONS: Final = {
    "completion": "chat",
    "text_completion": "text_completion",
    "embedding": "embeddings",
    "responses": "chat",
    "anthropic_messages": "chat",
}
_PARAMETERS: Final = frozenset(
    {
        "dimensions", "encoding_format", "frequency_penalty", "logit_bias", "logprobs",
        "max_completion_tokens", "max_output_tokens", "max_tokens", "modalities", "n",
        "parallel_tool_calls", "presence_penalty", "reasoning_effort", "response_format", "seed",
        "service_tier", "stop", "stream", "stream_options", "temperature", "thinking",
        "tool_choice", "top_k", "top_logprobs", "top_p", "verbosity",
    }
)  # fmt: skip
"""What is recorded of a request's parameters: LiteLLM mixes its own, keys included, with them."""

_TELL_USAGE: Final = frozenset({"anthropic", "aws.bedrock", "gcp.vertex_ai", "gcp.gemini"})
"""Providers that tell the usage of a stream without being asked."""


def callback(audit: Recorder) -> Any:
    """Make the callback: ``litellm.callbacks = [callback(audit)]``.

    It serves synchronous and asynchronous calls, with either logger. Raises MissingExtra where
    ``litellm`` is not installed.
    """
    try:
        base: Any = import_module("litellm.integrations.custom_logger").CustomLogger
    except ImportError as error:
        msg = "LiteLLM's callback needs litellm: pip install litellm"
        raise MissingExtra(msg) from error
    calls = _Calls(audit)

    class AuditCallback(base):  # type: ignore[misc] # not installed where types are checked
        """Records calls to models. Its methods and their arguments are LiteLLM's."""

        async def async_pre_call_deployment_hook(self, kwargs: Any, call_type: Any) -> None:
            """Begin an asynchronous call: what this raises stops it."""
            await calls.abegin(str(getattr(call_type, "value", call_type)), kwargs)

        def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
            """Begin a synchronous call."""
            calls.begin(model, messages, kwargs)

        def log_success_event(self, kwargs: Any, response_obj: Any, *_: Any, **__: Any) -> None:
            """End a call; runs in a thread of LiteLLM's."""
            _end(calls.completed(kwargs, response_obj))

        def log_failure_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
            """End a call that failed."""
            _end(*calls.failed(kwargs))

        async def async_log_success_event(
            self, kwargs: Any, response_obj: Any, *_: Any, **__: Any
        ) -> None:
            """End an asynchronous call; runs in a task of LiteLLM's."""
            await _aend(calls.completed(kwargs, response_obj))

        async def async_log_failure_event(self, kwargs: Any, *_: Any, **__: Any) -> None:
            """End an asynchronous call that failed."""
            await _aend(*calls.failed(kwargs))

    return AuditCallback()


def _end(call: CallState | None, error: BaseException | None = None) -> None:
    if call is not None:
        _apart.end(call, error)


async def _aend(call: CallState | None, error: BaseException | None = None) -> None:
    if call is not None:
        await _apart.aend(call, error)


class _Calls:
    """The calls under way, by LiteLLM's id. Raises nothing but AuditUnavailable.

    Written from whatever thread LiteLLM runs a callback in; each step is one operation of a
    dictionary.
    """

    def __init__(self, audit: Recorder) -> None:
        self._audit: Any = audit
        self._open: OrderedDict[str, CallState] = OrderedDict()
        self._unwatch: dict[str, Callable[[], object]] = {}

    # -- beginning -------------------------------------------------------------------------------

    async def abegin(self, call_type: str, kwargs: Mapping[str, Any]) -> None:
        """Begin the call of a request as the application wrote it."""
        call_id = str(kwargs.get("litellm_call_id"))
        call = self._opened(call_id, lambda: asked(call_type, kwargs))
        if call is not None:
            self._watch(call_id)
            await _apart.abegin(call)

    def begin(self, model: Any, messages: Any, kwargs: Mapping[str, Any]) -> None:
        """Begin the call of a request as LiteLLM is about to send it, if it is not begun yet."""
        call_id = str(kwargs.get("litellm_call_id"))
        call = self._opened(call_id, lambda: sent(model, messages, kwargs))
        if call is None:
            return
        if _in_event_loop():
            _apart.announce(call)
            return
        try:
            _apart.begin(call)
        except AuditUnavailable as error:
            _log.error(
                "affidavit: %s LiteLLM does not let a callback stop a synchronous call, so it goes "
                "on. Use litellm.acompletion, or put the call into audit.call(...).",
                error,
            )

    def _opened(self, call_id: str, read: Callable[[], dict[str, Any]]) -> CallState | None:
        if call_id in self._open:  # begun before, or a retry of LiteLLM's own
            return None
        try:
            call: CallState = self._audit.call(**read())
        except Exception as error:
            _complain(error)
            return None
        self._open[call_id] = call
        if len(self._open) > MAX_OPEN:
            oldest, _ = self._open.popitem(last=False)
            self._unwatch.pop(oldest, None)
        return call

    def _watch(self, call_id: str) -> None:
        """Have the call aborted when its task ends before it: LiteLLM tells nothing of that."""
        task = asyncio.current_task()
        if task is None:
            return

        loop = task.get_loop()

        def over(ended: asyncio.Task[Any]) -> None:
            self._unwatch.pop(call_id, None)
            if ended.cancelled():
                self._abandon(call_id, "The task was cancelled.")
            else:  # the outcome is on its way in another task, unless a stream was not read on
                loop.call_later(LATE_S, self._abandon, call_id, "The stream was not read on.")

        task.add_done_callback(over)
        self._unwatch[call_id] = lambda: task.remove_done_callback(over)

    def _abandon(self, call_id: str, why: str) -> None:
        call = self._open.pop(call_id, None)
        if call is not None:
            _apart.abandon(call, asyncio.CancelledError(why))

    # -- ending ----------------------------------------------------------------------------------

    def completed(self, kwargs: Mapping[str, Any], response: Any) -> CallState | None:
        """Take the call that is over, with its answer."""
        call = self._take(kwargs)
        if call is None:
            return None
        try:
            whole = kwargs.get("async_complete_streaming_response") or kwargs.get(
                "complete_streaming_response"
            )
            call.partial(**answered(kwargs, whole or response, call.arguments[0]))
        except Exception as error:
            _complain(error)
        call.complete()
        return call

    def failed(self, kwargs: Mapping[str, Any]) -> tuple[CallState | None, BaseException]:
        """Take the call that failed, with the exception that the application gets."""
        call = self._take(kwargs)
        error = kwargs.get("exception")
        if not isinstance(error, BaseException):
            error = RuntimeError(str(error or "LiteLLM named no exception."))
        if call is not None:
            refused.note(call, error)
        return call, error

    def _take(self, kwargs: Mapping[str, Any]) -> CallState | None:
        """Take a call out; one that was never announced, as from a cache, is begun now."""
        call_id = str(kwargs.get("litellm_call_id"))
        unwatch = self._unwatch.pop(call_id, None)
        if unwatch is not None:
            unwatch()
        if call_id not in self._open and kwargs.get("cache_hit"):
            model, messages = kwargs.get("model"), kwargs.get("messages")
            call = self._opened(call_id, lambda: sent(model, messages, kwargs))
            if call is not None:
                _apart.announce(call)
        return self._open.pop(call_id, None)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _complain(error: Exception) -> None:
    _log.warning("affidavit: a LiteLLM call could not be read (%s).", type(error).__name__)


# -- pure ----------------------------------------------------------------------------------------


def asked(call_type: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request as the application wrote it, for ``audit.call``."""
    model = str(kwargs.get("model") or "")
    provider, _, rest = model.partition("/")
    if not rest:
        provider, rest = str(kwargs.get("custom_llm_provider") or "openai"), model
    said = kwargs.get("messages")
    if said is None:
        said = kwargs.get("input", kwargs.get("prompt"))
    return _call(call_type, provider, rest, said, kwargs, kwargs.get("metadata"))


def sent(model: Any, messages: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request as LiteLLM is about to send it, for ``audit.call``."""
    parameters = dict(kwargs.get("optional_params") or {})
    if kwargs.get("stream"):
        parameters["stream"] = True
    provider = str(kwargs.get("custom_llm_provider") or "litellm")
    metadata = (kwargs.get("litellm_params") or {}).get("metadata")
    call_type = str(kwargs.get("call_type") or "completion")
    # LiteLLM makes turns of the inputs of an embedding.
    said = kwargs.get("input") if messages is None or "embedding" in call_type else messages
    parameters.setdefault("user", kwargs.get("user"))
    return _call(
        call_type, provider, None if model is None else str(model), said, parameters, metadata
    )


def _call(
    call_type: str,
    provider: str,
    model: str | None,
    said: Any,
    parameters: Mapping[str, Any],
    metadata: Any,
) -> dict[str, Any]:
    plain = call_type.removeprefix("a") if call_type.removeprefix("a") in _OPERATIONS else call_type
    fields: dict[str, Any] = {"operation": _OPERATIONS.get(plain, plain)}
    tools = parameters.get("tools") or parameters.get("functions")
    if tools:
        fields["tools"] = tools
    kept = {
        name: value
        for name, value in parameters.items()
        if name in _PARAMETERS and value is not None
    }
    call: dict[str, Any] = {
        "provider": PROVIDERS.get(provider, provider),
        "model": model,
        "parameters": kept or None,
        "fields": fields,
    }
    if isinstance(said, str):
        call["message"] = said
    elif isinstance(said, list) and said and isinstance(said[0], str):
        fields["input"] = said
    else:
        call["messages"] = media.turns(said)
    known = metadata if isinstance(metadata, Mapping) else {}
    who = {
        "user_id": known.get("user_id")
        or known.get("user_api_key_user_id")
        or parameters.get("user"),
        "session_id": known.get("session_id"),
        "conversation_id": known.get("conversation_id"),
    }
    return call | {name: str(value) for name, value in who.items() if value}


def answered(kwargs: Mapping[str, Any], response: Any, provider: str) -> dict[str, Any]:
    """Read an answer: what of it a call reports. Fields that are not there are left out."""
    choices = getattr(response, "choices", None) or ()
    message = getattr(choices[0], "message", None) if choices else None
    text = getattr(message, "content", None)
    if text is None and choices:
        text = getattr(choices[0], "text", None)
    usage: Any = getattr(response, "usage", None)
    asked_detail = getattr(usage, "prompt_tokens_details", None)
    answer_detail = getattr(usage, "completion_tokens_details", None)
    reasons = [reason for one in choices if (reason := getattr(one, "finish_reason", None))]
    cost = kwargs.get("response_cost")
    report = {
        "text": text if isinstance(text, str) else None,
        "model": getattr(response, "model", None),
        "input_tokens": getattr(usage, "prompt_tokens", getattr(usage, "input_tokens", None)),
        "output_tokens": getattr(usage, "completion_tokens", getattr(usage, "output_tokens", None)),
        "cached_tokens": getattr(asked_detail, "cached_tokens", None),
        "reasoning_tokens": getattr(answer_detail, "reasoning_tokens", None),
        "tool_calls": _tool_calls(message),
        "finish_reason": reasons[0] if reasons else None,
        # LiteLLM says 0 where it does not know, as for many streams; only its cache is free.
        "cost_usd": 0 if kwargs.get("cache_hit") else cost or None,
        "time_to_first_token_ms": _first_ms(kwargs),
    }
    fields = {
        "response_id": getattr(response, "id", None),
        "reasoning": getattr(message, "reasoning_content", None),
        "finish_reasons": reasons if len(reasons) > 1 else None,
        "usage_raw": usage.model_dump(exclude_none=True) if hasattr(usage, "model_dump") else None,
        "usage_estimated": _is_estimate(kwargs, provider) or None,
        "cost_source": "litellm" if cost else None,
        "cache_hit": kwargs.get("cache_hit") or None,
    }
    kept = {name: value for name, value in report.items() if value is not None}
    return {**kept, "fields": {name: value for name, value in fields.items() if value is not None}}


def _tool_calls(message: Any) -> list[dict[str, Any]] | None:
    made = getattr(message, "tool_calls", None) or ()
    found = [
        {"id": one.id, "name": one.function.name, "arguments": arguments(one.function.arguments)}
        for one in made
        if getattr(one, "function", None) is not None
    ]
    return found or None


def _first_ms(kwargs: Mapping[str, Any]) -> float | None:
    began, first = kwargs.get("api_call_start_time"), kwargs.get("completion_start_time")
    if not kwargs.get("stream") or began is None or first is None:
        return None
    took_s: float = (first - began).total_seconds()
    return max(0.0, round(took_s * 1000, 3))


def _is_estimate(kwargs: Mapping[str, Any], provider: str) -> bool:
    """Whether LiteLLM counted a stream's tokens itself: the provider was not asked to tell them."""
    told = kwargs.get("stream_options") or {}
    return bool(
        kwargs.get("stream") and not told.get("include_usage") and provider not in _TELL_USAGE
    )
