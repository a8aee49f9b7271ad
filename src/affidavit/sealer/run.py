"""Sealing as long as it is wanted: the loop of the command and of a logger's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from affidavit.errors import StoreError, StoreRefused
from affidavit.sealer.sealing import Sealed, Sealer, this_process
from affidavit.store.sealing import SealStore

EVERY_S: Final = 0.5
"""Pause between steps. Leaf batches close after half a second, so a record is sealed within two."""

STANDBY_S: Final = 5.0
"""Pause of a sealer whose seal came second: another one works, and one is enough."""

MARK_EVERY_S: Final = 20.0
SEEN_WITHIN: Final = timedelta(seconds=60)
"""A sealer that left no mark and no seal for so long counts as gone."""

_LONGEST_PAUSE_S: Final = 10.0


def seal_once(sealer: Sealer, tell: Callable[[Sealed], None] | None = None) -> int:
    """Seal everything there is; returns the number of seals. Raises SealError and StoreError."""
    count, full = 0, True
    while True:
        done = sealer.step(full=full)
        full = False
        if done is not None:
            count += 1
            if tell is not None:
                tell(done)
        if not sealer.more:
            return count


class Runner:
    """Seals until it is told to stop; leaves marks of life. For one thread."""

    def __init__(
        self,
        store: SealStore,
        sealer: Sealer,
        stop: threading.Event,
        *,
        where: str,
        every_s: float = EVERY_S,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._stop = stop
        self._every_s = every_s
        self._by = this_process(where)
        self._clock = _Marks()
        self.trouble = ""
        """Why the store could not be asked; empty while all is well."""

    def run(
        self,
        tell: Callable[[Sealed], None] | None = None,
        complain: Callable[[str], None] | None = None,
    ) -> None:
        """Seal until the event is set. Raises SealError, and StoreRefused.

        While the store does not answer, it is asked again, ever more seldom; ``complain`` is told
        once.
        """
        pause_s = self._every_s
        while not self._stop.is_set():
            lost = self._sealer.lost
            try:
                done = self._sealer.step()
                self.mark()
            except StoreRefused:
                raise
            except StoreError as error:
                if not self.trouble and complain is not None:
                    complain(str(error))
                self.trouble = str(error)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self.trouble = ""
                if done is not None and tell is not None:
                    tell(done)
                pause_s = self._every_s
                if self._sealer.lost > lost:
                    pause_s = STANDBY_S
                elif self._sealer.more:
                    continue
            self._stop.wait(pause_s)

    def mark(self) -> None:
        """Leave a mark of life, if one is due and this user may."""
        if self._clock.due():
            try:
                self._store.mark_sealer({**self._by, "k": self._sealer.k})
            except StoreRefused:
                self._clock.never()


class _Marks:
    """When the next mark is due."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def due(self) -> bool:
        import time

        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + MARK_EVERY_S
        return True

    def never(self) -> None:
        self._next_s = float("inf")


def seen_lately(store: SealStore, now: datetime) -> bool:
    """Whether another sealer has left a seal or a mark of life within the last minute."""
    for found in (store.last_seal(), store.sealer_seen()):
        at = found.get("at") if found is not None else None
        if isinstance(at, datetime) and now - at < SEEN_WITHIN:
            return True
    return False
