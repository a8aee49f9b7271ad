"""The time a page is about: read from its address, and written into the addresses of others. Pure.

An address says ``last=24h``, or ``since`` and ``until`` as RFC 3339; a time without a zone is UTC.
What cannot be read is told in a word for the page, what was typed stays, and the default counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from affidavit.analytics.questions import read_span
from affidavit.console.figures import iso
from affidavit.errors import ConfigError

PRESETS: Final = ("1h", "24h", "7d", "30d", "90d")
"""What the picker offers; an address may say any other such time."""

_NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})
_UTC: Final = ZoneInfo("UTC")
_STEPS_S: Final = (60, 300, 900, 3600, 6 * 3600, 86_400, 7 * 86_400)
_POINTS: Final = 120


@dataclass(frozen=True, slots=True)
class Range:
    """A span of time as it was asked for."""

    since: datetime
    until: datetime
    preset: str | None
    """``24h`` and the like; None where both ends were given."""
    typed: Mapping[str, str] = field(default_factory=lambda: _NO_QUERY)
    """What the address said, as it said it."""
    problem: str | None = None
    """What was wrong with that, for people; the default is shown then."""

    @property
    def query(self) -> dict[str, str]:
        """What says the same in another address."""
        if self.preset is not None:
            return {"last": self.preset}
        return {"since": iso(self.since), "until": iso(self.until)}

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.until - self.since

    @property
    def before(self) -> tuple[datetime, datetime]:
        """The span of the same length just before."""
        return self.since - self.length, self.since

    @property
    def step_s(self) -> int:
        """Seconds of one interval of a chart: at most some 120 of them fill the span."""
        for step in _STEPS_S:
            if self.length.total_seconds() / step <= _POINTS:
                return step
        return _STEPS_S[-1]

    def address(self, path: str, **more: str | None) -> str:
        """Write an address about the same time; values that are None are left out."""
        query = {**self.query, **{name: value for name, value in more.items() if value}}
        return f"{path}?{urlencode(query)}"


def read_range(
    query: Mapping[str, str], default: str = "24h", now: datetime | None = None
) -> Range:
    """Read the time that an address asks for."""
    moment = now or datetime.now(UTC)
    names = ("last", "since", "until")
    typed = {name: value.strip() for name in names if (value := query.get(name, "")).strip()}
    problem = None
    if typed:
        try:
            return _read(typed, moment)
        except (ConfigError, ValueError, OverflowError) as error:
            problem = str(error) if isinstance(error, ConfigError) else _UNREADABLE
    span = read_span({"last": default}, _UTC, moment)
    return Range(span.since, span.until, default, typed, problem)


_UNREADABLE: Final = "A time is written as 2026-11-23T14:30 (UTC) or 2026-11-23T14:30:00+01:00."


def _read(typed: Mapping[str, str], now: datetime) -> Range:
    if "since" not in typed:  # the end alone moves the time asked for
        until = moment(typed["until"]) if "until" in typed else now
        last = typed.get("last", "24h")
        span = read_span({"last": last, "until": until}, _UTC, now)
        preset = last if "until" not in typed else None
        return Range(span.since, span.until, preset, typed)
    until = moment(typed["until"]) if "until" in typed else now
    span = read_span({"since": moment(typed["since"]), "until": until}, _UTC, now)
    return Range(span.since, span.until, None, typed)


def moment(text: str) -> datetime:
    """Read a time; without a zone it is UTC. Raises ValueError."""
    at = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
