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

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("affidavit_console_limiter")


async def run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call something that blocks in a thread, with the context of this request.

    A request that ends meanwhile does not wait for it.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(AT_ONCE)
        _limiter.set(limiter)
    call = partial(function, *args, **kwargs)
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
