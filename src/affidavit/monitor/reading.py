"""Reading the log's state: each part by itself, and what cannot be seen is said in words.

:class:`Looker` asks the store for the parts of a :class:`Readings` one after the other. A part
that the server withholds (no right to ``top``, no ``$collStats`` on a managed service, no profiler)
is an :class:`Unknown` with the reason, and everything else goes on. What changes slowly is asked
for less often than each reading: an idle log costs less than one database command a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from affidavit.anchors.base import Anchor
from affidavit.anchors.health import AnchorState
from affidavit.anchors.health import look as look_at_anchors
from affidavit.errors import StoreError, StoreRefused, StoreUnavailable
from affidavit.sealer.health import Health
from affidavit.sealer.health import look as look_at_sealing
from affidavit.store.monitoring import Beats, Day, MonitorStore, Point, Server, Size, Work
from affidavit.store.sealing import SealStore

WINDOW_S: Final = 90.0
"""How far back the rate of writes looks: the minute before the newest heartbeat, and some."""

SLOW_WINDOW: Final = timedelta(minutes=5)
GROWTH_SPAN: Final = timedelta(days=7)

EVERY_S: Final = {
    "clock": 0.0,
    "heartbeats": 0.0,
    "work": 0.0,
    "server": 0.0,
    "connections": 120.0,
    "sealing": 0.0,
    "anchors": 60.0,
    "profiler": 60.0,
    "sizes": 300.0,
    "past": 300.0,
    "day": 300.0,
}
"""How old the answer about each part may be, in seconds; 0 asks at every reading."""

ASK_REFUSED_AGAIN_S: Final = 300.0
"""A right that is missing now is not there a second later."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A part that could not be read."""

    why: str
    """One sentence for people: who withholds it, and what would help."""
    refused: bool = False
    """The server answers and withholds this; else it did not answer."""


NOT_ASKED: Final = Unknown("It was not asked for.")


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read at one moment; plain data."""

    at: datetime
    clock: float | Unknown = NOT_ASKED
    """Seconds by which the server's clock is ahead of ours."""
    heartbeats: Sequence[Beats] | Unknown = NOT_ASKED
    work: Work | Unknown = NOT_ASKED
    server: Server | Unknown = NOT_ASKED
    connections: int | Unknown = NOT_ASKED
    """How many of the server's connections are of this package's clients."""
    sealing: Health | Unknown = NOT_ASKED
    anchors: Sequence[AnchorState] | Unknown = NOT_ASKED
    profiler: int | Unknown = NOT_ASKED
    sizes: Sequence[Size] | Unknown = NOT_ASKED
    past: Point | Unknown | None = NOT_ASKED
    """The oldest size of the log in the history of the last seven days."""
    day: Day | Unknown = NOT_ASKED
    apart: bool = False
    """The log has a server of its own; what is said of the server is said of that one."""

    def parts(self) -> dict[str, Any]:
        """Name each part."""
        return {name: getattr(self, name) for name in EVERY_S}

    @property
    def answered(self) -> bool:
        """Whether the server answered at all."""
        return not isinstance(self.clock, Unknown) or self.clock.refused


@dataclass(slots=True)
class _Kept:
    answer: Any
    until_s: float


@dataclass(slots=True)
class Looker:
    """Takes readings of one log, and remembers what changes slowly. For one thread."""

    store: MonitorStore
    seals: SealStore
    anchors: Sequence[Anchor] = ()
    anchor_every_s: float = 3600.0
    slow_ms: float = 50.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock_s: Callable[[], float] = time.monotonic
    _kept: dict[str, _Kept] = field(default_factory=dict, init=False)

    def take(self, *, fresh: bool = False) -> Readings:
        """Read every part that is due; ``fresh`` asks for all. Never raises StoreError."""
        at = self.now()
        asked: dict[str, Callable[[], Any]] = {
            "clock": self.store.clock_offset_s,
            "heartbeats": lambda: self.store.beats(WINDOW_S),
            "work": self.store.work,
            "server": self.store.server,
            "connections": self.store.own_connections,
            "sealing": lambda: look_at_sealing(self.seals, at),
            "anchors": lambda: look_at_anchors(self.seals, self.anchors, self.anchor_every_s, at),
            "profiler": lambda: self.store.slow_operations(at - SLOW_WINDOW, self.slow_ms),
            "sizes": self.store.sizes,
            "past": lambda: self._past(at),
            "day": self.store.last_day,
        }
        found: dict[str, Any] = {}
        for name, ask in asked.items():
            away = found.get("clock")
            if isinstance(away, Unknown) and not away.refused:
                found[name] = away  # asking a server that is away costs seconds for each part
            else:
                found[name] = self._part(name, ask, fresh=fresh)
        return Readings(at, **found, apart=self.store.apart)

    def _part(self, name: str, ask: Callable[[], _T], *, fresh: bool) -> _T | Unknown:
        kept = self._kept.get(name)
        if kept is not None and not fresh and self.clock_s() < kept.until_s:
            answer: _T | Unknown = kept.answer
            return answer
        answer, every_s = _asked(ask), EVERY_S[name]
        if isinstance(answer, Unknown):
            every_s = ASK_REFUSED_AGAIN_S if answer.refused else 0.0
        self._kept[name] = _Kept(answer, self.clock_s() + every_s)
        return answer

    def _past(self, at: datetime) -> Point | None:
        """Find the oldest size that the history of the last seven days knows."""
        from affidavit.monitor.metrics import SIZE

        hours = self.store.history(SIZE, 3600, at - GROWTH_SPAN, at)
        return hours[0] if hours else None


def _asked(ask: Callable[[], _T]) -> _T | Unknown:
    try:
        return ask()
    except StoreUnavailable as error:
        return Unknown(str(error))
    except StoreRefused as error:
        return Unknown(str(error), refused=True)
    except StoreError as error:
        return Unknown(str(error))
