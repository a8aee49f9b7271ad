"""Comparing records with their leaves in several processes, for a log in a database.

Each process has a connection of its own. The verification itself, with the seals, leaves, roots and
signatures, stays in one; it gets the same results in the same order as alone.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final, Self

from affidavit.config import AuditConfig
from affidavit.errors import StoreUnavailable
from affidavit.integrity.compare import Compared, compare
from affidavit.integrity.places import Span
from affidavit.store import open_log

if TYPE_CHECKING:
    from affidavit.store.sealing import SealStore

LEAST_LEAVES: Final = 20_000
"""A smaller log is read sooner than processes start."""

MOST_JOBS: Final = 16
_AHEAD: Final = 2
"""Groups of leaves that wait for each process, so that none is idle."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let the collector of cycles look less often: reading records makes many values, and none.

    Worth a tenth of a verification's time. For a process that does nothing else.
    """
    before = gc.get_threshold()
    _collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _collect_seldom() -> None:
    gc.freeze()  # what is loaded stays; it need not be looked through again and again
    gc.set_threshold(50_000, 20, 100)


def processors() -> int:
    """Tell how many processes can compute at the same time here."""
    return min(MOST_JOBS, len(os.sched_getaffinity(0)))


class Apart:
    """A :class:`~affidavit.integrity.compare.Comparer` with processes; a context manager."""

    def __init__(self, uri: str, config: AuditConfig, jobs: int) -> None:
        """Processes start with the first leaves. They open the log as this one did."""
        self._most = _AHEAD * jobs
        self._waiting: deque[Future[Compared]] = deque()
        # Not by fork: a client of MongoDB and its threads are not to be copied.
        self._pool = ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), _begin, (uri, config)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def give(self, spans: Sequence[Span], horizon_ms: int | None) -> Iterator[Compared]:
        """Hand leaves to a process; give what is done, in order. Raises StoreError."""
        try:
            self._waiting.append(self._pool.submit(_compare, list(spans), horizon_ms))
        except BrokenProcessPool as error:
            raise _ended() from error
        while self._waiting and (len(self._waiting) > self._most or self._waiting[0].done()):
            yield self._next()

    def rest(self) -> Iterator[Compared]:
        """Wait for what is under way. Raises StoreError."""
        while self._waiting:
            yield self._next()

    def _next(self) -> Compared:
        try:
            return self._waiting.popleft().result()
        except BrokenProcessPool as error:
            raise _ended() from error


def _ended() -> StoreUnavailable:
    return StoreUnavailable(
        "A process that read records ended before it was done (was it killed, or out of memory?). "
        "Run it again, with --jobs 1 if it happens again."
    )


# -- in the other process --------------------------------------------------------------------------

_place: tuple[str, AuditConfig] | None = None


def _begin(uri: str, config: AuditConfig) -> None:
    global _place  # noqa: PLW0603 - one for each process, set once as it starts
    _place = uri, config
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it is told, and ends it
    _collect_seldom()


def _compare(spans: list[Span], horizon_ms: int | None) -> Compared:
    return compare(_opened(), spans, horizon_ms)


@cache
def _opened() -> SealStore:
    assert _place is not None  # noqa: S101 - _begin has set it
    return open_log(*_place).seals
