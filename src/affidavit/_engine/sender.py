"""Sending batches on threads of their own, two at most, so that the writer need not wait for one.

While a batch is under way, the writer finishes the next; and a second may go out before the first
has landed: the database's fsyncs then overlap, where 32 callers would wait for two in a row. The
log still uses two connections: a second batch goes only while the shipper uses none.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

from affidavit.errors import StoreUnavailable
from affidavit.store.base import Encoded, Store, Verdict

LEAST_TIMEOUT_S: Final = 0.02
"""With less time than this left, a batch is not sent any more."""

LIMIT: Final = 2
"""Batches under way at a time."""


class _Flight:
    """A batch under way."""

    __slots__ = ("answer", "batch", "end_s", "landed", "lock", "took_ms")

    def __init__(self, batch: Sequence[Encoded], timeout_s: float) -> None:
        self.batch = batch
        self.end_s = time.monotonic() + timeout_s
        self.answer: Sequence[Verdict] | BaseException = ()
        self.took_ms = 0.0
        self.landed = False
        self.lock = threading.Lock()  # cheaper to wait on than an event, and whole if that dies
        self.lock.acquire()


class Sender:
    """Owned by the writer's thread; only :meth:`_run` and below are on others.

    ``tell`` is called from those whenever a batch has landed. Batches land in the order in which
    they were launched: so those under way are always the first ones in the writer's hand. Locks are
    taken, and threads started, elsewhere than on the writer's thread: it may die at any point.
    """

    def __init__(
        self, store: Store, second: threading.Lock, tell: Callable[[], object], name: str
    ) -> None:
        self._store = store
        self._first = threading.Lock()
        self._second = second
        self._tell = tell
        self._name = name
        self._work: SimpleQueue[_Flight | None] = SimpleQueue()
        self._flights: deque[_Flight] = deque()
        self._clocks: dict[int, int] = {}
        """The processor time of each running thread."""

    def used_s(self) -> float:
        """Tell the seconds of processor time that the running threads have used so far."""
        used_s = 0.0
        for clock in list(self._clocks.values()):
            with contextlib.suppress(OSError):  # it has ended just now
                used_s += time.clock_gettime(clock)
        return used_s

    def start(self) -> None:
        """Start the threads."""
        for _ in range(LIMIT):
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    @property
    def under_way(self) -> int:
        """Batches under way."""
        return len(self._flights)

    @property
    def flying(self) -> int:
        """Records under way."""
        return sum(len(flight.batch) for flight in self._flights)

    @property
    def oldest(self) -> int:
        """Records in the batch that lands next; 0 if nothing is under way."""
        return len(self._flights[0].batch) if self._flights else 0

    @property
    def landed(self) -> bool:
        """Whether the answer for the oldest batch is there."""
        return bool(self._flights) and self._flights[0].landed

    def launch(self, batch: Sequence[Encoded], timeout_s: float) -> None:
        """Start sending; fewer than :data:`LIMIT` may be under way."""
        flight = _Flight(batch, timeout_s)
        self._flights.append(flight)
        self._work.put(flight)

    def land(self) -> tuple[Sequence[Verdict], float]:
        """Wait for the oldest batch: its verdicts, and the milliseconds it took; or its error.

        The store's own time-out bounds the wait.
        """
        self._flights[0].lock.acquire()
        flight = self._flights.popleft()
        if isinstance(flight.answer, BaseException):
            raise flight.answer
        return flight.answer, flight.took_ms

    def abandon(self) -> None:
        """Wait no more for what is under way; whatever the store answers is not looked at.

        For batches that go another way now. The store may still take them: that is harmless.
        """
        self._flights.clear()

    def stop(self) -> None:
        """End the threads, each after what it is sending."""
        for _ in range(LIMIT):
            self._work.put(None)

    def _run(self) -> None:
        thread = threading.get_ident()
        self._clocks[thread] = time.pthread_getcpuclockid(thread)
        try:
            self._work_off()
        finally:
            del self._clocks[thread]

    def _work_off(self) -> None:
        while (flight := self._work.get()) is not None:
            started_s = time.monotonic()
            try:
                flight.answer = self._send(flight)
            except BaseException as error:  # also the end of this thread must not leave it flying
                flight.answer = error
                if not isinstance(error, Exception):
                    raise
            finally:
                flight.took_ms = (time.monotonic() - started_s) * 1000
                flight.landed = True
                flight.lock.release()
                self._tell()

    def _send(self, flight: _Flight) -> Sequence[Verdict]:
        """Send over the first connection, or the second while the shipper leaves it, or wait."""
        connection = self._first
        if not self._first.acquire(blocking=False):
            if self._second.acquire(blocking=False):
                connection = self._second
            elif not self._first.acquire(timeout=max(0.0, flight.end_s - time.monotonic())):
                raise StoreUnavailable("MongoDB has not answered for the records before these.")
        try:
            left_s = flight.end_s - time.monotonic()
            if left_s < LEAST_TIMEOUT_S:
                raise StoreUnavailable("There was no time left to wait for MongoDB.")
            return self._store.append(flight.batch, left_s)
        finally:
            connection.release()
