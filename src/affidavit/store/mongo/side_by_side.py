"""Asking the database several things at a time: it has more than one core, and so has this host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

AT_ONCE: Final = 3
"""Questions of one asker at a time. Its connections are shared with others, who wait for one."""

T = TypeVar("T")


def side_by_side(asks: Sequence[Callable[[], T]]) -> list[T]:
    """Ask each, some of them at a time, within the limits of whoever calls; answers keep the order.

    Threads live as long as the call: a process that forks between two calls has none to lose.
    Raises what the first of them raises that does, once all have ended.
    """
    if len(asks) < 2:  # noqa: PLR2004 - alone
        return [ask() for ask in asks]
    with ThreadPoolExecutor(min(AT_ONCE, len(asks))) as pool:
        # A context belongs to one thread at a time, so each has a copy, with the limit on time.
        asked = [pool.submit(copy_context().run, ask) for ask in asks]
        return [each.result() for each in asked]
