"""Where blocking work is done: threads, a bounded number of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar

import anyio
from anyio.lowlevel import RunVar

AT_ONCE: Final = 16
"""Threads that wait for the database at a time; as many connections are opened at most."""

P = ParamSpec("P")
R = TypeVar("R")

ELSEWHERE: Final = 4
"""Threads that wait for another host at a time. It may be slow: no page waits for these."""

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("affidavit_console_limiter")
_elsewhere: RunVar[anyio.CapacityLimiter] = RunVar("affidavit_console_elsewhere")


async def run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call something that blocks in a thread, with the context of this request.

    A request that ends meanwhile does not wait for it.
    """
    limiter = _limiter_of(_limiter, AT_ONCE)
    call = partial(function, *args, **kwargs)
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)


async def run_elsewhere(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call something that waits for another host, as :func:`run` does, on threads of its own."""
    limiter = _limiter_of(_elsewhere, ELSEWHERE)
    call = partial(function, *args, **kwargs)
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)


def _limiter_of(held: RunVar[anyio.CapacityLimiter], most: int) -> anyio.CapacityLimiter:
    try:
        return held.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(most)
        held.set(limiter)
        return limiter
