"""Reading what a person asks: names of keys, and times such as ``30d`` or ``2026-11``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypedDict, cast
from zoneinfo import ZoneInfo

from affidavit.canonical.values import is_unicode
from affidavit.errors import ConfigError
from affidavit.store.analytics import SumQuestion, check_key
from affidavit.tally.facts import FIELD, KEYS, text_of
from affidavit.tally.times import UNITS, start_of_day, start_of_month

ALIASES: Final[Mapping[str, str]] = {
    "user": "user_id",
    "session": "session_id",
    "conversation": "conversation_id",
    "error": "error_type",
}
"""Short names of keys, as people write them."""

_SHORT: Final = {name: short for short, name in ALIASES.items()}
_KNOWN: Final = tuple(_SHORT.get(name, name) for name in KEYS)

LAST: Final = "30d"
"""The time asked for when nothing is said."""

_AGO: Final = re.compile(r"(\d{1,5})([mhdw])")
_UNITS: Final = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(days=7),
}
_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2999, 12, 31, tzinfo=UTC)
_LONGEST: Final = timedelta(days=3660)
_DAY: Final = len("2026-11-01")


class Asking(TypedDict, total=False):
    """When, which calls, and how many rows: what every question takes.

    ``last`` is a time such as ``90m``, ``24h``, ``30d`` or ``4w``, or a timedelta, up to ``until``,
    or to now. ``since`` is included, ``until`` is not; both are aware times, or days of the
    reporting time zone, or texts of these. ``month`` is a whole month of it, as ``2026-11``, or one
    that holds a day. ``where`` chooses calls by key; numbers only for fields of one's own.
    ``top`` is how many rows are wanted; totals are of all.
    """

    last: str | timedelta | None
    since: datetime | date | str | None
    until: datetime | date | str | None
    month: str | date | None
    where: Mapping[str, str | float | Decimal | None] | None
    top: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """A time, and the one before it that it is compared with."""

    since: datetime
    until: datetime
    before: datetime
    """Where the time before it begins; it ends at ``since``."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, read and checked."""

    names: tuple[str, ...]
    """The keys as they were written."""
    span: Span
    zone: str
    filters: Mapping[str, str | None]
    top: int | None
    now: datetime
    kept_since: datetime | None = None
    """Records from before that time have expired; None where nothing expires."""
    within: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What whoever asks may see; see :class:`affidavit.store.analytics.SumQuestion`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain values, for the ledger and for the answer."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys as engines have them."""
        return tuple(ALIASES.get(name, name) for name in self.names)

    @property
    def by_time(self) -> bool:
        """Whether a key is a time, so that nothing is compared by row."""
        return any(key in UNITS for key in self.keys)

    def sums(
        self,
        *measures: str,
        by: tuple[str, ...] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        needs: Iterable[str] = (),
    ) -> SumQuestion:
        """Write it as a question to an engine; ``by`` and the times go over those asked.

        ``needs`` are the counters that are looked at, where that is not all.
        """
        return SumQuestion(
            since or self.span.since,
            until or self.span.until,
            self.keys if by is None else by,
            self.filters,
            self.zone,
            frozenset({"counts", *measures}),
            within=self.within,
            needs=frozenset(needs),
        )

    def before(
        self, *measures: str, by: tuple[str, ...] | None = None, needs: Iterable[str] = ()
    ) -> SumQuestion:
        """Write it as a question about the time before."""
        span = self.span
        return self.sums(*measures, by=by, since=span.before, until=span.since, needs=needs)

    def named(self, key: Sequence[str | None]) -> dict[str, str | None]:
        """Give a key's values the names that were asked."""
        return dict(zip(self.names, key, strict=True))


def read(
    by: str | Iterable[str],
    asking: Mapping[str, Any],
    zone: str,
    now: datetime | None = None,
    kept: timedelta | None = None,
    within: Mapping[str, tuple[str, ...]] | None = None,
) -> Request:
    """Read a question; raises ConfigError with what is wrong and how it is written.

    ``kept`` is how long records are kept; None is for ever. ``within`` is what whoever asks may
    see, which nothing in ``asking`` widens; None is everything.
    """
    unknown = asking.keys() - Asking.__annotations__.keys()
    if unknown:
        known = ", ".join(Asking.__annotations__)
        msg = f"Unknown keyword {', '.join(sorted(unknown))}. A question takes {known}."
        raise TypeError(msg)
    names = _names(by)
    where = chosen(asking.get("where"))
    filters = {ALIASES.get(name, name): value for name, value in where.items()}
    top = _top(asking.get("top"))
    for name in names:
        check_key(ALIASES.get(name, name), known=_KNOWN)
    for name in filters:
        check_key(name, times=False, known=_KNOWN)
    moment = now or datetime.now(UTC)
    span = read_span(asking, ZoneInfo(zone), moment)
    details: dict[str, Any] = {
        "by": list(names),
        **filters,
        "since": span.since,
        "until": span.until,
    }
    if within:
        details["within"] = {name: list(values) for name, values in within.items()}
    kept_since = None if kept is None else moment - kept
    return Request(names, span, zone, filters, top, moment, kept_since, dict(within or {}), details)


def chosen(where: object) -> dict[str, str | None]:
    """Read which calls are chosen: texts by key; numbers of one's own fields as their texts.

    Raises ConfigError for anything else.
    """
    if where is None:
        return {}
    if not isinstance(where, Mapping):
        msg = "where is a mapping of keys to values, such as {'user': 'user_123'}."
        raise ConfigError(msg)
    found: dict[str, str | None] = {}
    for name, value in where.items():
        if not isinstance(name, str):
            msg = (
                f"where has a key that is a {type(name).__name__}. Keys are texts, such as 'user'."
            )
            raise ConfigError(msg)
        is_own = name.startswith(FIELD) and isinstance(value, int | float | Decimal)
        text = text_of(value) if is_own else value
        if not (text is None or isinstance(text, str)) or (is_own and text is None):
            msg = (
                f"where={{{name!r}: …}} is a {type(value).__name__}. Write one text, or None for "
                "calls that have none; ask again for each of several."
            )
            raise ConfigError(msg)
        if text is not None and not is_unicode(text):
            msg = (
                f"where={{{name!r}: …}} holds half a character (a lone surrogate), as no text does."
            )
            raise ConfigError(msg)
        found[name] = text
    return found


def _names(by: object) -> tuple[str, ...]:
    names = (by,) if isinstance(by, str) else tuple(by) if isinstance(by, Iterable) else (by,)
    if not all(isinstance(name, str) for name in names):
        msg = "by is the name of a key, or several in a list, such as ['department', 'day']."
        raise ConfigError(msg)
    return cast("tuple[str, ...]", names)


def _top(top: object) -> int | None:
    if top is None:
        return None
    if not isinstance(top, int) or isinstance(top, bool):
        msg = f"top={top!r} is no number of rows. Write a whole number from 1 on, or leave it out."
        raise ConfigError(msg)
    if top < 1:
        msg = f"top={top} gives no rows. Write 1 or more, or leave it out."
        raise ConfigError(msg)
    return top


def read_span(asking: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> Span:
    """Find the time that is asked for, and the one before it."""
    month, last = asking.get("month"), asking.get("last")
    since, until = asking.get("since"), asking.get("until")
    if month is not None:
        if not (last is None and since is None and until is None):
            msg = "month is a time by itself. Leave out last, since and until."
            raise ConfigError(msg)
        return month_span(month, zone)
    if last is not None and since is not None:
        msg = "last and since both say where the time begins. Leave one of them out."
        raise ConfigError(msg)
    end = now if until is None else _moment(until, zone, "until")
    ago = _ago(LAST if last is None else last)
    start = end - ago if since is None else _moment(since, zone, "since")
    if start >= end:
        beginning, ending = (f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" for at in (start, end))
        msg = (
            f"since ({beginning}) does not lie before until ({ending}), so nothing can lie between "
            "them. Exchange or correct them."
        )
        raise ConfigError(msg)
    if end - start > _LONGEST or start < _EARLIEST:
        msg = f"The time asked for begins {start:%Y-%m-%d}; ask for ten years at most, after 1980."
        raise ConfigError(msg)
    return Span(start, end, start - (end - start))


def month_span(month: object, zone: ZoneInfo) -> Span:
    """Give a month such as ``2026-11``, or that of a day; what came before is the month before."""
    text = f"{month:%Y-%m}" if isinstance(month, date) else month
    found = _MONTH.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        msg = f"month={month!r} is no month. Write it as 2026-11."
        raise ConfigError(msg)
    year, number = int(found[1]), int(found[2])
    if not _EARLIEST.year <= year <= _LATEST.year:
        msg = f"month={text!r} is no month that can be asked for: 1980 to {_LATEST.year}."
        raise ConfigError(msg)
    starts = [start_of_month(year, number + n, zone) for n in (0, 1, -1)]
    return Span(*starts)


def _ago(last: object) -> timedelta:
    if isinstance(last, timedelta):
        length = last
    else:
        found = _AGO.fullmatch(last.strip()) if isinstance(last, str) else None
        if found is None:
            msg = f"last={last!r} is no time. Write 90m, 24h, 30d or 4w, or give a timedelta."
            raise ConfigError(msg)
        length = _UNITS[found[2]] * int(found[1])
    if length <= timedelta():
        msg = f"last={last!r} is no time that has passed. Write 90m, 24h, 30d or 4w."
        raise ConfigError(msg)
    if length > _LONGEST:
        msg = f"last={last!r} is too long: {_LONGEST.days} days (ten years) at most."
        raise ConfigError(msg)
    return length


def _moment(value: object, zone: ZoneInfo, name: str) -> datetime:
    if isinstance(value, str):
        value = _dated(value, name)
    if not isinstance(value, date):
        msg = (
            f"{name}={value!r} is no time. Give an aware datetime, a date, or a text as 2026-11-01."
        )
        raise ConfigError(msg)
    if isinstance(value, datetime) and value.tzinfo is None:
        msg = f"{name} has no time zone. Give an aware time, or a date of the reporting time zone."
        raise ConfigError(msg)
    # A day more on both sides, so that no zone leads out of the years that there are.
    day = value.date() if isinstance(value, datetime) else value
    if not _EARLIEST.date() <= day <= _LATEST.date():
        msg = f"{name}={value} is out of range: {_EARLIEST:%Y-%m-%d} to {_LATEST:%Y-%m-%d}."
        raise ConfigError(msg)
    return value.astimezone(UTC) if isinstance(value, datetime) else start_of_day(value, zone)


def _dated(text: str, name: str) -> datetime | date:
    """Read a day, or a time with its offset, as RFC 3339 writes them."""
    try:
        return date.fromisoformat(text) if len(text) == _DAY else datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{name}={text!r} is no time. Write 2026-11-01, or 2026-11-01T08:00:00+01:00."
        raise ConfigError(msg) from error
