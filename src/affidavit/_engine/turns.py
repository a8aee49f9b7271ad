"""How long the writer works before it lets other threads have the interpreter.

Giving way takes 60 us, because the system wakes a thread no sooner, and throws away what the
processor had at hand. After each half millisecond that is an eighth of the writer's time: well
spent while the application computes, wasted while it waits. Whether it computes is told by the
processor time of the process that neither the writer nor its senders have used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SHORT_S: Final = 0.0005
"""Without this, a batch was measured to hold up an event loop for 90 ms."""

LONG_S: Final = 0.002
"""While nobody else computes: less than half of the 5 ms after which the interpreter itself
interrupts a thread."""

LOOK_S: Final = 0.025
"""Time over which others are watched: the log's own other threads (shipper, sealer, a ``flush``
that waits) wake up for a moment, and are not what this is about."""

LEAST_SHARE: Final = 0.1
"""Share of one processor from which others count as computing."""

CALM_S: Final = 0.05
"""They must have used less for this long."""


class Turns:
    """For the writer's thread alone."""

    def __init__(self, used_s: Callable[[], float]) -> None:
        """``used_s`` gives the seconds of processor time that others have used so far."""
        self._used_s = used_s
        self._last_used_s = 0.0
        self._last_s = self._calm_from_s = float("-inf")
        self._turn_s = SHORT_S

    def next_s(self, now_s: float) -> float:
        """Give the length of the next turn; now and then, look at what others have done."""
        gone_s = now_s - self._last_s
        if gone_s >= LOOK_S:
            used_s = self._used_s()
            share_s = used_s - self._last_used_s
            self._last_used_s, self._last_s = used_s, now_s
            # After a pause, or where a thread has ended meanwhile, nothing is known of this moment.
            # A little less than nothing is the time between reading one clock and the next.
            if gone_s >= LOOK_S + CALM_S or abs(share_s) >= LEAST_SHARE * gone_s:
                self._calm_from_s = now_s + CALM_S
            self._turn_s = LONG_S if now_s >= self._calm_from_s else SHORT_S
        return self._turn_s
