"""Every method of an SDK's client that speaks to the provider, and arguments to call it with.

The SDKs are generated: a client has resources, a resource has methods and further resources. What
a method wants is read from its signature; what is sent makes no sense, and has the right shape.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anthropic
import openai

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.provider import Provider

_VIEWS: Final = {"with_raw_response", "with_streaming_response"}
_PLAIN: Final[tuple[tuple[str, Any], ...]] = (
    # In order: the first word found in a parameter's annotation says what it is given.
    ("FileTypes", ("canned.txt", b"canned", "text/plain")),
    ("Iterable[", []),
    ("List[", []),
    ("list[", []),
    ("Sequence", []),
    ("Dict[", {}),
    ("Mapping[", {}),
    ("Param", {}),
    ("bool", True),
    ("int", 1),
    ("float", 1.0),
    ("str", "canned"),
)


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its name from the client on, and the resource that has it."""

    name: str
    owner: Any

    @property
    def function(self) -> Callable[..., Any]:
        """The method as it is called."""
        found: Callable[..., Any] = getattr(self.owner, self._last)
        return found

    def view(self, name: str) -> Callable[..., Any] | None:
        """The same method on ``with_raw_response`` or its like; None for helpers without one."""
        return getattr(getattr(self.owner, name, None), self._last, None)

    @property
    def _last(self) -> str:
        return self.name.rpartition(".")[2]

    def arguments(self) -> dict[str, Any]:
        """What it needs at least, and where it polls, without a pause."""
        given: dict[str, Any] = {}
        for parameter in inspect.signature(self.function).parameters.values():
            if parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}:
                continue
            if parameter.default is inspect.Parameter.empty:
                given[parameter.name] = _value(parameter.name, str(parameter.annotation))
            elif parameter.name == "poll_interval_ms":
                given["poll_interval_ms"] = 1
        return given


def client_of(package: str, provider: Provider, *, is_async: bool) -> Any:
    """A client of one of the SDKs, which does not retry."""
    if package == "anthropic":
        make: Any = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        return make(base_url=provider.anthropic_url, api_key="k", max_retries=0)
    make = openai.AsyncOpenAI if is_async else openai.OpenAI
    # Some methods want a key of another kind, in versions that know it.
    admin = {"admin_api_key": "k"} if "admin_api_key" in inspect.signature(make).parameters else {}
    return make(base_url=provider.openai_url, api_key="k", max_retries=0, **admin)


def methods(client: Any) -> Iterator[Method]:
    """Every public method of every resource of a client, by name."""
    yield from _of(client, "", type(client).__module__.partition(".")[0])


def _of(owner: Any, prefix: str, package: str) -> Iterator[Method]:
    for name in sorted({*dir(type(owner)), *vars(owner)}):
        if name.startswith("_") or name in _VIEWS:
            continue
        found = inspect.getattr_static(owner, name)
        # Older SDKs make a client's resources with the client, newer ones when they are asked for.
        if isinstance(found, functools.cached_property | property) or name in vars(owner):
            inner = getattr(owner, name, None)
            if _is_resource(inner, package):
                yield from _of(inner, f"{prefix}{name}.", package)
        elif prefix and inspect.isfunction(found):
            yield Method(f"{prefix}{name}", owner)


def _is_resource(value: Any, package: str) -> bool:
    names = {base.__name__ for base in type(value).__mro__}
    return type(value).__module__.startswith(f"{package}.") and not names.isdisjoint(
        {"SyncAPIResource", "AsyncAPIResource"}
    )


def _value(name: str, annotation: str) -> Any:
    if name == "model":  # their names for it differ, and some look like a document
        return "canned"
    if name in {"file", "video"} or "FileTypes" in annotation:
        return ("canned.txt", b"canned", "text/plain")
    if annotation.startswith("Literal["):
        return annotation.removeprefix("Literal[").partition(",")[0].strip("]'\"")
    return next((value for word, value in _PLAIN if word in annotation), "canned")


# -- taking what a method gives --------------------------------------------------------------------


def consume(result: Any) -> None:
    """Use a result up as an application would: enter it, read it, walk through it."""
    if hasattr(result, "__enter__"):
        with result as entered:
            _drain(entered)
    else:
        _drain(result)


def _drain(result: Any) -> None:
    if hasattr(result, "__next__"):
        for _ in result:
            pass
    elif hasattr(result, "read"):
        result.read()


async def consume_async(result: Any) -> None:
    """The same for what an asynchronous method gives."""
    if inspect.isawaitable(result):
        result = await result
    if hasattr(result, "__aenter__"):
        async with result as entered:
            await _drain_async(entered)
    else:
        await _drain_async(result)


async def _drain_async(result: Any) -> None:
    if hasattr(result, "__anext__"):
        async for _ in result:
            pass
    elif hasattr(result, "read"):
        read = result.read()
        if inspect.isawaitable(read):
            await read


def merged(method: Method, special: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A method's arguments, with the special ones that its name has."""
    return {**method.arguments(), **special.get(method.name, {})}
