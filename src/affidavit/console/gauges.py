"""The metrics at this moment: one reading shared by the page, its parts and Prometheus.

A reading costs the database a dozen small questions, so it is taken at most every few seconds,
whoever asks, and what changes slowly is asked for less often still
(:data:`affidavit.monitor.reading.EVERY_S`). Shares of the server's work need two readings: the one
before is kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from affidavit.anchors.configured import anchors_of
from affidavit.errors import StoreUnavailable
from affidavit.monitor.reading import Looker, Unknown
from affidavit.monitor.sample import sample

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.monitor.reading import Readings
    from affidavit.monitor.sample import Sample

FRESH_S: Final = 5.0
"""So old a reading may be."""

_BETWEEN_S: Final = 0.5
"""Between the first two readings, without which nothing is known of the server's work."""


class Gauges:
    """Takes readings of one log, one at a time. Any number of threads may ask."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._looker: Looker | None = None
        self._last: Readings | None = None
        self._made: Sample | None = None
        self._at_s = 0.0
        self._asking = threading.Lock()
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def now(self, *, patient: bool = True) -> Sample:
        """Give the metrics of a reading that is not older than :data:`FRESH_S`.

        ``patient`` waits half a second at the very first, for the second reading that shares of the
        server's work need; else they are unknown at that time. Raises StoreUnavailable where the
        database does not answer at all, ConfigError where the settings of anchors are wrong. Parts
        that are withheld have a reason in the sample.
        """
        self._backend.pulse.check()
        with self._lock:
            if self._made is not None and time.monotonic() - self._at_s < FRESH_S:
                return self._made
            if self._last is None and patient:
                self._last = self._take()
                time.sleep(_BETWEEN_S)
            taken = self._take()
            self._made, self._last = sample(self._last, taken), taken
            self._at_s = time.monotonic()
            return self._made

    def kept(self, name: str, for_s: float, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Give an answer that costs much and changes slowly; it is asked for again when it is old.

        One that lacks a part (``missing``) is asked for again at once.
        """
        with self._asking:
            at_s, answer = self._kept.get(name, (0.0, None))
            if answer is None or time.monotonic() - at_s >= for_s:
                answer = ask()
                if not answer["missing"]:
                    self._kept[name] = time.monotonic(), answer
            return answer

    def _take(self) -> Readings:
        if self._looker is None:
            backend = self._backend
            self._looker = Looker(
                backend.monitor,
                backend.log.seals,
                anchors_of(backend.config),
                anchor_every_s=backend.config.anchor_every_s,
                slow_ms=backend.config.slow_query_threshold,
            )
        taken = self._looker.take()
        if not taken.answered and isinstance(taken.clock, Unknown):
            raise StoreUnavailable(taken.clock.why)
        return taken
