"""Who is calling: user, department, session and client, carried by a ``contextvars`` variable.

The middleware or ``audit.context(...)`` sets it; every call and event recorded below inherits it.
Follows threads and tasks the way ``contextvars`` do: tasks inherit, new threads do not.

:data:`in_call` says beside it whether an audited call is under way here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Final

from affidavit.event import DIMENSIONS

_EMPTY: Final[Mapping[str, Any]] = {}
_current: ContextVar[Mapping[str, Any]] = ContextVar("affidavit_context", default=_EMPTY)

in_call: ContextVar[int] = ContextVar("affidavit_in_call", default=0)
"""How many audited calls are under way around this code; the guard asks whether there is any.

A number and no token: a block may be left in another context than it was entered in, as by an
asynchronous generator that the event loop closes.
"""


def call_begins() -> None:
    """Note that an audited call is under way from here on, in this task or thread."""
    in_call.set(in_call.get() + 1)


def call_ends() -> None:
    """Note that the innermost audited call is over."""
    in_call.set(max(0, in_call.get() - 1))


CLIENT_FIELDS: Final = ("ip_address", "user_agent")
KNOWN: Final = frozenset(DIMENSIONS) | frozenset(CLIENT_FIELDS)


def current() -> Mapping[str, Any]:
    """Return what is known about the caller here; never None, never to be changed in place."""
    return _current.get()


def _merged(values: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = values.keys() - KNOWN
    if unknown:
        known = ", ".join(sorted(KNOWN))
        msg = (
            f"context() does not know {', '.join(sorted(unknown))}; it takes {known}. "
            "Fields of your own go into fields={...} of audit.call()."
        )
        raise TypeError(msg)
    return {**_current.get(), **{k: v for k, v in values.items() if v is not None}}


def push(values: Mapping[str, Any]) -> Token[Mapping[str, Any]]:
    """Add values to the context of this task or thread; hand the token to :func:`pop`."""
    return _current.set(_merged(values))


def pop(token: Token[Mapping[str, Any]]) -> None:
    """Restore the context as it was before the matching :func:`push`."""
    _current.reset(token)


@contextmanager
def scope(values: Mapping[str, Any]) -> Iterator[None]:
    """Keep values in the context for a ``with`` block."""
    token = push(values)
    try:
        yield
    finally:
        pop(token)
