"""The circuit breaker: after one failure nobody waits for the store until it answers again."""

from __future__ import annotations

import random
import threading
import time
from typing import Final

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 2.0


class Breaker:
    """Closed: send directly. Open: spool, and let the shipper try from time to time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pause_s = FIRST_PAUSE_S
        self.is_open = False
        self.reason = ""
        self.retry_at_s = 0.0
        self.opened_count = 0

    def trip(self, reason: str) -> bool:
        """Note a failure; True if this opened the breaker."""
        with self._lock:
            opened = not self.is_open
            if opened:
                self.opened_count += 1
                self._pause_s = FIRST_PAUSE_S
            else:
                self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
            self.is_open = True
            self.reason = reason
            # Jitter keeps many processes from coming back in the same moment.
            self.retry_at_s = time.monotonic() + self._pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - not for secrets
            return opened

    def close(self) -> bool:
        """Note that the store answered; True if this closed the breaker."""
        with self._lock:
            closed = self.is_open
            self.is_open = False
            self.reason = ""
            return closed

    def may_try(self) -> bool:
        """Whether it is closed, or the time for another try has come."""
        return not self.is_open or time.monotonic() >= self.retry_at_s
