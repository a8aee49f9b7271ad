"""``@audit.observe``: every call of a function leaves a call in the log.

Plain functions, coroutines, generators and asynchronous generators keep their kind, their signature
and their exceptions. A generator is recorded from its first item to its last.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from affidavit import _apart, context
from affidavit._call import CallState, Report

if TYPE_CHECKING:
    from affidavit._recorder import Recorder

F = TypeVar("F", bound=Callable[..., Any])

MAX_ITEMS: Final = 1000
MAX_CHARACTERS: Final = 1024**2
"""What is gathered of a generator's items; beyond that they are counted only."""

_BOUND: Final = frozenset({"self", "cls"})


class Options(NamedTuple):
    """What is recorded of a function's calls."""

    provider: str
    model: str | None
    name: str | None
    arguments: bool | Collection[str]
    """All, none, or the names of those to keep."""
    result: bool
    fields: Mapping[str, Any] | None
    dimensions: Mapping[str, Any]


def observed(audit: Recorder, function: F, options: Options) -> F:
    """Wrap a function so that each call of it is recorded by ``audit``.

    A plain function waits for the log where it runs, whichever the logger. Raises TypeError for
    what is no function.
    """
    if isinstance(function, classmethod | staticmethod):
        kind = type(function).__name__
        msg = f"observe() takes a function, not a {kind}: write @{kind} above @audit.observe."
        raise TypeError(msg)
    if not callable(cast("object", function)):
        msg = f"observe() takes a function, not {type(function).__name__}."
        raise TypeError(msg)
    new_call = _Calls(audit, function, options)
    wrapper: Callable[..., Any]
    # Of an object that can be called, its method tells what kind of function it is.
    looked_at = function if inspect.isroutine(function) else _runs(function)
    if inspect.isasyncgenfunction(looked_at):
        wrapper = _async_generator(new_call, function)
    elif inspect.isgeneratorfunction(looked_at):
        wrapper = _generator(new_call, function)
    elif inspect.iscoroutinefunction(looked_at):
        wrapper = _coroutine(new_call, function)
    else:
        wrapper = _plain(new_call, function)
    return cast("F", functools.wraps(function)(wrapper))


def _runs(function: Callable[..., Any]) -> Any:
    """Give what tells the kind of an object that can be called; a partial tells by itself."""
    if isinstance(function, type | functools.partial):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 - it is looked at, not asked


class _Calls:
    """Makes the call of each invocation."""

    def __init__(self, audit: Any, function: Callable[..., Any], options: Options) -> None:
        self._audit = audit
        self._options = options
        self._name = options.name or _name(function)
        try:
            self._signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):  # some functions written in C do not tell
            self._signature = None

    @property
    def keeps_result(self) -> bool:
        return self._options.result

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        options = self._options
        fields = {**(options.fields or {}), "function": self._name}
        if options.arguments:
            fields["arguments"] = self._arguments(args, kwargs)
        return self._audit.call(
            provider=options.provider, model=options.model, fields=fields, **options.dimensions
        )

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {"args": args, **kwargs}
        if self._signature is not None:
            with contextlib.suppress(TypeError):  # then the call itself will fail
                given = dict(self._signature.bind(*args, **kwargs).arguments)
        first = next(iter(given), None)
        if first in _BOUND:
            del given[first]
        kept = self._options.arguments
        if isinstance(kept, bool):
            return given
        return {name: value for name, value in given.items() if name in kept}


def _plain(new_call: _Calls, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = new_call(args, kwargs)
        _apart.begin(call)
        context.call_begins()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            context.call_ends()
            _apart.end(call, error)
            raise
        context.call_ends()
        if inspect.iscoroutine(result):
            return _awaited(call, new_call, result)
        call.complete(**_said(result, new_call.keeps_result))
        _apart.end(call)
        return result

    return wrapper


async def _awaited(call: CallState, new_call: _Calls, coroutine: Any) -> Any:
    """Await what a plain function returned, and end its call then."""
    context.call_begins()
    try:
        result = await coroutine
    except BaseException as error:
        context.call_ends()
        await _apart.aend(call, error)
        raise
    context.call_ends()
    call.complete(**_said(result, new_call.keeps_result))
    await _apart.aend(call)
    return result


def _coroutine(new_call: _Calls, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = new_call(args, kwargs)
        await _apart.abegin(call)
        context.call_begins()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            context.call_ends()
            await _apart.aend(call, error)
            raise
        context.call_ends()
        call.complete(**_said(result, new_call.keeps_result))
        await _apart.aend(call)
        return result

    return wrapper


def _generator(new_call: _Calls, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = new_call(args, kwargs)
        _apart.begin(call)
        gathered = _Gathered(call, new_call.keeps_result)
        inner = function(*args, **kwargs)
        try:
            item = _step(inner.send, None)
            while True:
                gathered.add(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    inner.close()
                    raise
                except BaseException as thrown:
                    item = _step(inner.throw, thrown)
                else:
                    item = _step(inner.send, sent)
        except StopIteration as stop:
            gathered.complete()
            _apart.end(call)
            return stop.value
        except BaseException as error:
            gathered.tell()
            _apart.end(call, error)
            raise

    return wrapper


def _async_generator(new_call: _Calls, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = new_call(args, kwargs)
        await _apart.abegin(call)
        gathered = _Gathered(call, new_call.keeps_result)
        inner = function(*args, **kwargs)
        try:
            item = await _astep(inner.asend, None)
            while True:
                gathered.add(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as thrown:
                    item = await _astep(inner.athrow, thrown)
                else:
                    item = await _astep(inner.asend, sent)
        except StopAsyncIteration:
            gathered.complete()
            await _apart.aend(call)
        except BaseException as error:
            gathered.tell()
            await _apart.aend(call, error)
            raise

    return wrapper


def _step(advance: Callable[[Any], Any], value: Any) -> Any:
    """Run a generator to its next item; only this stretch is inside the audited call."""
    context.call_begins()
    try:
        return advance(value)
    finally:
        context.call_ends()


async def _astep(advance: Callable[[Any], Any], value: Any) -> Any:
    context.call_begins()
    try:
        return await advance(value)
    finally:
        context.call_ends()


class _Gathered:
    """What a generator has given so far."""

    def __init__(self, call: CallState, keep: bool) -> None:
        self._call = call
        self._keep = keep
        self._items: list[Any] = []
        self._count = 0
        self._characters = 0
        self._started_s = time.perf_counter()
        self._first_ms: float | None = None

    def add(self, item: Any) -> None:
        if self._first_ms is None:
            self._first_ms = round((time.perf_counter() - self._started_s) * 1000, 3)
        self._count += 1
        if self._keep and self._count <= MAX_ITEMS and self._characters <= MAX_CHARACTERS:
            self._items.append(item)
            self._characters += len(item) if isinstance(item, str) else 0

    def _report(self) -> Report:
        report: Report = {
            "time_to_first_token_ms": self._first_ms,
            "fields": {"items": self._count},
        }
        if self._keep and self._items:
            if all(isinstance(item, str) for item in self._items):
                report["text"] = "".join(self._items)
            else:
                report["fields"] = {"items": self._count, "result": self._items}
        return report

    def tell(self) -> None:
        self._call.partial(**self._report())

    def complete(self) -> None:
        self._call.complete(**self._report())


def _said(result: Any, keep: bool) -> Report:
    if not keep or result is None:
        return {}
    return {"text": result} if isinstance(result, str) else {"fields": {"result": result}}


def _name(function: Callable[..., Any]) -> str:
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{module}.{name}" if module else name
