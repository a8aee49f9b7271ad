"""The hook: the request method of an SDK's own base client, where every endpoint comes by.

Both SDKs are made by the same generator, so that one hook fits both: all methods of all resources
end in ``SyncAPIClient.request`` or ``AsyncAPIClient.request``. Two more methods are listened to:
``_process_response`` for the HTTP response itself, and ``_should_retry`` for refused attempts.

The class is patched once for a process; whom a client's calls are recorded by is looked up at each
call: the logger the client was wrapped with, else the process's own. So a client never records
twice, and clients made before are covered. A client without either runs its own code after one
look-up.
"""

from __future__ import annotations

import functools
import importlib
import logging
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from affidavit import _awaiting, _records, context
from affidavit._capture import taps
from affidavit._capture.asked import Answer, Asked, Dialect
from affidavit._capture.bodies import LATER, media_type_of, read_later
from affidavit._capture.call import CapturedCall
from affidavit._capture.files import files_of
from affidavit._capture.ids import mark
from affidavit.errors import AuditUnavailable
from affidavit.event import EventType

if TYPE_CHECKING:
    from affidavit._recorder import Recorder

_log: Final = logging.getLogger("affidavit")
TOO_MANY: Final = 429
_LEFT_OUT: Final = frozenset({"NotGiven", "Omit"})
"""The SDKs' own types for "not given"."""

_ORIGIN: Final = re.compile(r"https?://[^/]+")
"""What stands before the path where an SDK follows an address that the provider gave."""

_OWNER: Final = "_affidavit_recorder"
"""Attribute of a wrapped client: who records it."""

_SERVER: Final = "_affidavit_server"
"""Attribute of a recorded client: its address, and what is known of that."""

_current: ContextVar[CapturedCall | None] = ContextVar("affidavit_captured", default=None)
"""The captured request under way here, for the methods that are listened to."""

_lock: Final = threading.RLock()
_process: dict[str, Recorder] = {}
"""SDK → who records all its clients in this process."""

_patched: dict[str, list[tuple[type, str, Any, Any]]] = {}
"""SDK → what was patched: class, name, the original, ours."""

_wrapped: dict[str, dict[int, weakref.ref[Any]]] = {}
"""SDK → its wrapped clients, by identity: a class of the application's may compare as it likes."""


# -- who is recorded -------------------------------------------------------------------------------


def watch(client: Any, recorder: Recorder, dialect: Dialect) -> None:
    """Have one client, and the copies that are made of it, recorded by ``recorder``."""
    with _lock:
        _patch(dialect)
        _patch_copies(type(client), dialect)
        client.__dict__[_OWNER] = recorder
        alive, key = _wrapped.setdefault(dialect.package, {}), id(client)
        if key not in alive:
            alive[key] = weakref.ref(client, lambda _: alive.pop(key, None))


def _patch_copies(kind: type, dialect: Dialect) -> None:
    """Have copies of wrapped clients of this class wrapped, too. Called under the lock.

    The class is patched and not the client: what is set on a client goes along with ``copy.copy``,
    and would go on to speak for the first one, with its key and to its address.
    """
    done = _patched[dialect.package]
    for name in ("copy", "with_options"):
        for owner in kind.__mro__:
            original = owner.__dict__.get(name)
            if not isinstance(original, FunctionType):
                continue
            if any(owner is one[0] and name == one[1] for one in done):
                continue
            ours = functools.wraps(original)(_copying(original, dialect))
            setattr(owner, name, ours)
            done.append((owner, name, original, ours))


def _copying(original: Callable[..., Any], dialect: Dialect) -> Callable[..., Any]:
    def copied(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = original(self, *args, **kwargs)
        recorder = self.__dict__.get(_OWNER)
        if recorder is not None and isinstance(made, type(self)):
            watch(made, recorder, dialect)
        return made

    return copied


def watch_process(dialect: Dialect, recorder: Recorder) -> None:
    """Have every client of an SDK in this process recorded; a wrapped one has its own logger."""
    with _lock:
        _patch(dialect)
        _process[dialect.package] = recorder


def unwatch_process(dialect: Dialect) -> None:
    """Undo :func:`watch_process`. The SDK is as it was, unless clients of it are wrapped."""
    with _lock:
        _process.pop(dialect.package, None)
        if not _wrapped.get(dialect.package):
            _unpatch(dialect)


def watched_clients(dialect: Dialect) -> int:
    """Count the wrapped clients that are alive."""
    return len(_wrapped.get(dialect.package, ()))


def _patch(dialect: Dialect) -> None:
    if dialect.package in _patched:
        return
    base = importlib.import_module(f"{dialect.package}._base_client")
    plan = [
        (base.SyncAPIClient, "request", _sync_request),
        (base.SyncAPIClient, "_process_response", _sync_process_response),
        (base.AsyncAPIClient, "request", _async_request),
        (base.AsyncAPIClient, "_process_response", _async_process_response),
        (base.BaseClient, "_should_retry", _should_retry),
    ]
    done = []
    for owner, name, make in plan:
        original = owner.__dict__.get(name)
        if original is None:
            _log.warning("affidavit: %s has no %s.%s.", dialect.package, owner.__name__, name)
            continue
        ours = functools.wraps(original)(make(original, dialect))
        setattr(owner, name, ours)
        done.append((owner, name, original, ours))
    _patched[dialect.package] = done
    read_later(dialect)


def _unpatch(dialect: Dialect) -> None:
    for owner, name, original, ours in _patched.pop(dialect.package, ()):
        # Somebody may have patched on top of us: then ours stays, and hands everything on.
        if owner.__dict__.get(name) is ours:
            setattr(owner, name, original)


# -- the requests ----------------------------------------------------------------------------------


def _sync_request(original: Callable[..., Any], dialect: Dialect) -> Callable[..., Any]:
    package = dialect.package

    def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = self.__dict__.get(_OWNER) or _process.get(package)
        if recorder is None or not recorder._enabled:  # noqa: SLF001 - whose calls these are
            outer = _current.get()
            if outer is None:
                return original(self, cast_to, options, *args, **kwargs)
            _current.set(None)  # asked from within a recorded request, and no part of that
            try:
                return original(self, cast_to, options, *args, **kwargs)
            finally:
                _current.set(outer)
        call = _begin(dialect, recorder, self, options, kwargs)
        try:
            recorder._enter_blocking(call)  # noqa: SLF001 - as above
        except AuditUnavailable as error:
            mark(error, None, call.call_id)
            raise
        outer = _current.get()
        _current.set(call)
        context.call_begins()
        try:
            result = original(self, cast_to, options, *args, **kwargs)
        except BaseException as error:
            _failed(call, error)
            _note_limits(recorder, call)
            recorder._leave_blocking(call)  # noqa: SLF001 - as above
            raise
        finally:
            context.call_ends()
            _current.set(outer)
        if _is_over(recorder, call, result, is_async=False):
            recorder._leave_blocking(call)  # noqa: SLF001 - as above
        return result

    return request


def _async_request(original: Callable[..., Any], dialect: Dialect) -> Callable[..., Any]:
    package = dialect.package

    async def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = self.__dict__.get(_OWNER) or _process.get(package)
        if recorder is None or not recorder._enabled:  # noqa: SLF001 - whose calls these are
            outer = _current.get()
            if outer is None:
                return await original(self, cast_to, options, *args, **kwargs)
            _current.set(None)  # as above
            try:
                return await original(self, cast_to, options, *args, **kwargs)
            finally:
                _current.set(outer)
        call = _begin(dialect, recorder, self, options, kwargs)
        try:
            await _awaiting.enter(recorder, call)
        except AuditUnavailable as error:
            mark(error, None, call.call_id)
            raise  # it is recorded, and nothing was asked
        except BaseException as error:  # cancelled before anything was asked
            call.settle(None, error)
            recorder._enqueue(_records.new_id(), call.outcome)  # noqa: SLF001 - as above
            raise
        outer = _current.get()
        _current.set(call)
        context.call_begins()
        try:
            result = await original(self, cast_to, options, *args, **kwargs)
        except BaseException as error:
            _failed(call, error)
            _note_limits(recorder, call)
            await _awaiting.leave(recorder, call)
            raise
        finally:
            context.call_ends()
            _current.set(outer)
        if _is_over(recorder, call, result, is_async=True):
            await _awaiting.leave(recorder, call)
        return result

    return request


def _sync_process_response(original: Callable[..., Any], _: Dialect) -> Callable[..., Any]:
    def _process_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        _note_response(kwargs)
        return original(self, *args, **kwargs)

    return _process_response


def _async_process_response(original: Callable[..., Any], _: Dialect) -> Callable[..., Any]:
    async def _process_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        _note_response(kwargs)
        return await original(self, *args, **kwargs)

    return _process_response


def _should_retry(original: Callable[..., Any], _: Dialect) -> Callable[..., Any]:
    def should_retry(self: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        again = original(self, response, *args, **kwargs)
        call = _current.get()
        if call is not None and again:
            call.retries += 1
            if response.status_code == TOO_MANY:
                call.limits[id(response)] = _lower(response.headers)
        return again

    return should_retry


# -- what is noted on the way; nothing here may raise ----------------------------------------------


def _begin(
    dialect: Dialect, recorder: Recorder, client: Any, options: Any, kwargs: dict[str, Any]
) -> CapturedCall:
    stream = bool(kwargs.get("stream"))
    provider = dialect.package
    try:
        method, path = options.method.upper(), str(options.url)
        provider, server = _server_of(client, dialect)
        body = _sent(options.json_data, getattr(options, "extra_json", None))
        asked = dialect.parse_request(method, path, body)
        fields = asked.fields
        fields["endpoint"] = f"{method} {_ORIGIN.sub('', path, count=1).partition('?')[0]}"
        fields["operation"] = asked.operation
        fields["server_address"] = server
        if stream:
            fields["stream"] = True
        if getattr(options, "files", None) or getattr(options, "content", None) is not None:
            fields["files"] = files_of(options)
    except Exception as error:
        # The error's own text could hold content of the request: its type must do.
        _log.error("affidavit: a request could not be read (%s).", type(error).__name__)
        asked = Asked("generic", "request")
    return CapturedCall(recorder, dialect, provider, asked, stream=stream)


def _server_of(client: Any, dialect: Dialect) -> tuple[str, str]:
    """Name the provider and the host that a client speaks to; looked at again when that changes."""
    url = client._base_url  # noqa: SLF001 - the public property may be overridden
    known = client.__dict__.get(_SERVER)
    if known is None or known[0] is not url:
        host, port = url.host, url.port
        server = host if port is None else f"{host}:{port}"
        known = (url, dialect.provider(type(client).__name__, host), server)
        client.__dict__[_SERVER] = known
    return known[1], known[2]


def _sent(body: Any, more: Any) -> Any:
    """Give the JSON that will be sent, without what was left out on purpose."""
    if not isinstance(body, Mapping):
        dump = getattr(body, "model_dump", None)
        return dump() if callable(dump) else body
    whole = {**body, **more} if isinstance(more, Mapping) else body
    for value in whole.values():
        if type(value).__name__ in _LEFT_OUT:
            return {k: v for k, v in whole.items() if type(v).__name__ not in _LEFT_OUT}
    return whole


def _note_response(kwargs: dict[str, Any]) -> None:
    call = _current.get()
    response = kwargs.get("response")
    if call is None or response is None:
        return
    try:
        call.note_response(response)
        call.retries = max(call.retries, kwargs.get("retries_taken") or 0)
    except Exception as error:
        _log.error("affidavit: a response could not be read (%s).", type(error).__name__)


def _is_over(recorder: Recorder, call: CapturedCall, result: Any, *, is_async: bool) -> bool:
    """Take over the answer if it is there; False if it is still on its way, and tapped."""
    response = call.response
    mark(result, response, call.call_id)
    if call.limits:
        _note_limits(recorder, call)
    try:
        if response is not None and not response.is_closed and not hasattr(response, "_content"):
            taps.attach(recorder, call, is_async=is_async)
            return False
    except Exception as error:
        _log.error("affidavit: a stream could not be read (%s).", type(error).__name__)
    _answered(call, result)
    return True


def _answered(call: CapturedCall, result: Any) -> None:
    """Take over an answer that is there as a whole."""
    answer = None
    try:
        response = call.response
        if response is not None:
            body, media_type = response.content, media_type_of(call.content_type)
            may_wait = not call.stream and media_type.endswith("json") and len(body) <= LATER
            if may_wait and not call.facade.is_listened_to:
                call.response = None
                call.leave_unread(media_type, body)
                return
            answer = taps.read_body(call, body)
        elif hasattr(result, "model_dump"):  # a middleware of the application's answered instead
            answer = call.dialect.parse_response(call.asked.kind, result.model_dump(mode="json"))
    except Exception as error:
        _log.error("affidavit: an answer could not be read (%s).", type(error).__name__)
    call.response = None
    call.settle(answer, None)


def _failed(call: CapturedCall, error: BaseException) -> None:
    """Take over how a request failed, with what the provider said where it said anything."""
    answer = None
    try:
        response = call.response
        told = getattr(error, "response", None)
        if response is not None and hasattr(response, "_content"):
            # The answer came, and the SDK did not want it: it was paid for all the same.
            answer = taps.read_body(call, response.content)
        elif told is not None and hasattr(told, "headers"):
            call.note_response(told)
            if told.status_code == TOO_MANY:
                call.limits[id(told)] = _lower(told.headers)  # may be known: then it is one
            answer = Answer(extra=_error_facts(error))
        sent = getattr(error, "request", None) or getattr(told, "request", None)
        count = sent.headers.get("x-stainless-retry-count") if sent is not None else None
        if count is not None and count.isdecimal():
            call.retries = int(count)
        mark(error, None, call.call_id)
    except Exception as problem:
        _log.error("affidavit: an error could not be read (%s).", type(problem).__name__)
    call.response = None
    call.settle(answer, error)


def _error_facts(error: BaseException) -> dict[str, Any]:
    facts = {}
    for name in ("code", "type", "param"):
        value = getattr(error, name, None)
        if isinstance(value, str):
            facts[f"error_{name}"] = value
    body = getattr(error, "body", None)
    told = body.get("error") if isinstance(body, dict) else None
    if isinstance(told, dict) and isinstance(told.get("type"), str):
        facts.setdefault("error_type", told["type"])
    return facts


def _note_limits(recorder: Recorder, call: CapturedCall) -> None:
    """Record each refusal for too many requests. The outcome that follows waits for these, too."""
    for headers in call.limits.values():
        try:
            details = call.limit_details(headers)
        except Exception as error:
            _log.error("affidavit: a 429 could not be read (%s).", type(error).__name__)
            details = {"limit_type": "unknown"}
        record_id, build = recorder._event(  # noqa: SLF001 - as above
            EventType.RATE_LIMIT_EXCEEDED,
            {},
            {"limit_type": details.pop("limit_type"), "details": details},
            success=False,
            call_id=call.call_id,
        )
        recorder._enqueue(record_id, build)  # noqa: SLF001 - as above


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
