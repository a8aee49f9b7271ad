"""Sending one batch on a thread of its own, so that the writer can finish the next meanwhile.

Used by the high-volume mode under a backlog only: there the writer's own work and the database's
take about as long as each other, and one after the other would halve the throughput. Never more
than one batch is under way, so the log still uses one connection for writing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from affidavit.store.base import Encoded, Verdict

Append = Callable[[Sequence[Encoded], float], Sequence[Verdict]]


class Sender:
    """Owned by the writer's thread; only :meth:`_run` is on the other one."""

    def __init__(self, append: Append, name: str) -> None:
        self._append = append
        self._name = name
        self._work: SimpleQueue[tuple[Sequence[Encoded], float] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Sequence[Verdict] | Exception, float]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.flying = 0
        """Records under way: the first ones in the writer's hand."""

    def launch(self, batch: Sequence[Encoded], timeout_s: float) -> None:
        """Start sending; nothing may be under way."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self.flying = len(batch)
        self._work.put((batch, timeout_s))

    @property
    def landed(self) -> bool:
        """Whether the answer is there."""
        return not self._done.empty()

    def land(self) -> tuple[Sequence[Verdict], float]:
        """Wait for the answer: the verdicts, and the milliseconds it took; or raise its error.

        The store's own time-out bounds the wait.
        """
        answer, took_ms = self._done.get()
        self.flying = 0
        if isinstance(answer, Exception):
            raise answer
        return answer, took_ms

    def forget(self) -> None:
        """After a death of the owner: leave what is under way, as if it had not been sent."""
        self.stop()
        self._work, self._done = SimpleQueue(), SimpleQueue()
        self.flying = 0

    def stop(self) -> None:
        """End the thread; nothing may be under way."""
        if self._thread is not None:
            self._work.put(None)
            self._thread = None

    def _run(self) -> None:
        wanted, done = self._work, self._done
        while (work := wanted.get()) is not None:
            started_s = time.monotonic()
            answer: Sequence[Verdict] | Exception
            try:
                answer = self._append(*work)
            except Exception as error:
                answer = error
            done.put((answer, (time.monotonic() - started_s) * 1000))
