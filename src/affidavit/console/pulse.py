"""Whether the database answers: asked every two seconds, so that nobody waits to find it out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from affidavit.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from affidavit.store.alerting import AlertStore

EVERY_S: Final = 2.0
ANSWER_S: Final = 2.0
"""Seconds for an answer; whoever takes longer counts as away."""

_LEAVE_S: Final = 3.0


class Pulse:
    """Asks on a thread of its own, from start to stop. Any number of threads may look."""

    def __init__(self, store: AlertStore, now: Callable[[], datetime] | None = None) -> None:
        self._store = store
        self._now = now or (lambda: datetime.now(UTC))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="affidavit-pulse", daemon=True)
        self.away_since: datetime | None = None
        """When it was first found away; None while it answers, as far as is known."""

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_S)

    def ask(self) -> bool:
        """Ask now; True where it answers."""
        try:
            self._store.ping(ANSWER_S)
        except StoreError:
            self.away_since = self.away_since or self._now()
            return False
        self.away_since = None
        return True

    def check(self) -> None:
        """Raise StoreUnavailable at once where it is known to be away."""
        since = self.away_since
        if since is not None:
            msg = (
                f"MongoDB has not answered since {since:%Y-%m-%d %H:%M:%S} UTC. It is asked every "
                "two seconds, and all goes on by itself when it answers; `affidavit doctor` looks "
                "closer."
            )
            raise StoreUnavailable(msg)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.ask()
            self._stop.wait(EVERY_S)
