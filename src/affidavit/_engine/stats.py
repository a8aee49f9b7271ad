"""What ``stats()`` shows, and the small reservoir behind its latencies."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, Final

_KEPT: Final = 2048

RECENT_S: Final = 300.0
"""What a heartbeat tells of as recent; monitoring judges by it, so that a slow hour passes."""


class Latencies:
    """The newest write latencies, in milliseconds. Written by one thread, read by any."""

    def __init__(self) -> None:
        self._newest: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    def add(self, latency_ms: float) -> None:
        """Note one latency."""
        self._newest.append((monotonic(), latency_ms))

    def percentile(self, percent: float, within_s: float | None = None) -> float | None:
        """Give the percentile by nearest rank, or None while nothing was written.

        With ``within_s``, of the writes that were confirmed so long ago at most.
        """
        since_s = -1.0 if within_s is None else monotonic() - within_s
        ordered = sorted(took_ms for at_s, took_ms in self._newest.copy() if at_s >= since_s)
        if not ordered:
            return None
        rank = min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered)) - 1))
        return round(ordered[rank], 3)

    def count(self, within_s: float) -> int:
        """Count the writes that were confirmed so long ago at most, of the newest 2,048."""
        since_s = monotonic() - within_s
        return sum(at_s >= since_s for at_s, _ in self._newest.copy())


@dataclass(frozen=True, slots=True)
class Stats:
    """The numbers of one writer. ``recorded = queued + stored + spooled + dead_lettered + lost``.

    Tallies count records of the application (two for a call); ``ledger`` has the same tallies for
    the log's own ledger records. Latencies are from hand-over to the store's confirmation.
    """

    writer: str
    mode: str
    recorded: int
    queued: int
    stored: int
    spooled: int
    replayed: int
    dead_lettered: int
    lost: int
    queue_bytes: int
    spool_bytes: int
    spool: str
    """``disk``, or ``memory`` where the disk cannot be used."""
    store: str
    """``up``, or why not."""
    outages: int
    slow_writes: int
    writer_restarts: int
    write_latency_p50_ms: float | None
    write_latency_p95_ms: float | None
    write_latency_p99_ms: float | None
    ledger: dict[str, int]

    @classmethod
    def nothing(cls, mode: str) -> Stats:
        """Give the numbers of a logger that never recorded anything."""
        none = dict.fromkeys(
            ("recorded", "queued", "stored", "spooled", "replayed", "dead_lettered", "lost"), 0
        )
        return cls(
            writer="",
            mode=mode,
            **none,
            queue_bytes=0,
            spool_bytes=0,
            spool="",
            store="not started",
            outages=0,
            slow_writes=0,
            writer_restarts=0,
            write_latency_p50_ms=None,
            write_latency_p95_ms=None,
            write_latency_p99_ms=None,
            ledger=none,
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the numbers as a plain dictionary, for JSON."""
        return asdict(self)
