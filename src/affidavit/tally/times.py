"""Hours, days, weeks and months as a time zone has them.

Keys are texts. An hour carries its offset, because the clock shows one hour twice when summer ends.
Only :mod:`zoneinfo` decides: a database is told the offsets, so its own table does not matter.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

TimeUnit = Literal["hour", "day", "week", "month", "hour_of_day", "weekday"]
UNITS: Final[tuple[TimeUnit, ...]] = get_args(TimeUnit)
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_STEP: Final = timedelta(hours=6)
"""No zone changes its offset twice within it."""


def time_key(unit: TimeUnit, at: datetime, zone: ZoneInfo) -> str:
    """Name the hour, day, … of an aware time: ``2026-10-25T02:00+02:00``, ``2026-10-25``."""
    local = at.astimezone(zone)
    return local_key(unit, local, local.utcoffset() or timedelta())


def local_key(unit: TimeUnit, local: datetime, offset: timedelta) -> str:
    """Name the unit that holds a local time, whose offset from UTC is known."""
    if unit == "hour":
        return f"{local:%Y-%m-%dT%H:00}{_signed(offset)}"
    if unit == "day":
        return f"{local:%Y-%m-%d}"
    if unit == "week":
        year, week, _day = local.isocalendar()
        return f"{year:04d}-W{week:02d}"
    if unit == "month":
        return f"{local:%Y-%m}"
    if unit == "hour_of_day":
        return f"{local:%H}"
    return WEEKDAYS[local.weekday()]


def _signed(offset: timedelta) -> str:
    minutes = int(offset.total_seconds() // 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def offsets(zone: ZoneInfo, since: datetime, until: datetime) -> list[tuple[datetime, timedelta]]:
    """List the offsets in force between two times: each with the moment from which it counts.

    The first one counts from ``since``.
    """
    at = since.astimezone(UTC)
    last = until.astimezone(UTC)
    found = [(at, _offset(at, zone))]
    while at < last:
        later = min(at + _STEP, last)
        if _offset(later, zone) != found[-1][1]:
            found.append((_change(at, later, zone), _offset(later, zone)))
        at = later
    return [entry for entry in found if entry[0] < last or entry is found[0]]


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Find the first second with the offset of ``high``."""
    wanted = _offset(high, zone)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (low, middle) if _offset(middle, zone) == wanted else (middle, high)
    return high.replace(microsecond=0)


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Give the first moment of a day, in UTC, also where its midnight does not exist."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def start_of_month(year: int, month: int, zone: ZoneInfo) -> datetime:
    """Give the first moment of a month, in UTC; months beyond 1 to 12 count on into other years."""
    years, index = divmod(month - 1, 12)
    return start_of_day(date(year + years, index + 1, 1), zone)


def local_day(at: datetime, zone: ZoneInfo) -> date:
    """Tell which day it is in the zone."""
    return at.astimezone(zone).date()
