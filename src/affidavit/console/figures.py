"""Figures as people read them: thousands, money, durations, sizes, shares. Pure.

Nothing is rounded to something else than it says: a cost below a cent keeps the places that matter,
and what is not known is a dash, never a zero.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

DASH: Final = "\N{EN DASH}"
"""What stands where a figure is not known."""

_MARKS: Final = {"en": (",", "."), "es": (".", ",")}
"""What stands between thousands, and before decimals, by language."""

_NARROW: Final = "\N{NARROW NO-BREAK SPACE}"
_PLACES: Final = 9
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SHORT: Final = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_UNIT: Final = 1024
_CENT: Final = Decimal("0.01")
_DETAILED: Final = Decimal(100)
_MINUTE_MS: Final = 60_000
_HOUR_S: Final = 3600


def number(value: float | Decimal | None, places: int = 0, language: str = "en") -> str:
    """Write a number with separators between thousands, and so many places."""
    if value is None:
        return DASH
    thousands, point = _MARKS.get(language, _MARKS["en"])
    text = f"{value:,.{places}f}"
    return text.translate({ord(","): thousands, ord("."): point})


def short(value: float | None, language: str = "en") -> str:
    """Write a large number in few characters: 1.24 M. Below ten thousand it is written whole."""
    if value is None:
        return DASH
    if abs(value) < 10_000:  # noqa: PLR2004 - five digits are read at a glance
        return number(value, 0 if float(value) == int(value) else 2, language)
    for size, letter in _SHORT:
        if abs(value) >= size:
            part = value / size
            places = 2 if abs(part) < 10 else 1 if abs(part) < 100 else 0  # noqa: PLR2004
            return f"{number(part, places, language)}{_NARROW}{letter}"
    return number(value, 0, language)


def money(amount: Decimal | float | str | None, language: str = "en") -> str:
    """Write dollars: two places, more where the amount is so small that two would hide it."""
    if amount is None:
        return DASH
    exact = Decimal(str(amount))
    if not exact.is_finite():
        return DASH
    if exact == 0 or abs(exact) >= _DETAILED or exact == exact.quantize(_CENT):
        text = number(exact.quantize(_CENT, ROUND_HALF_EVEN), 2, language)
    elif abs(exact) >= _CENT:
        text = number(exact.quantize(Decimal("0.0001"), ROUND_HALF_EVEN), 4, language)
    else:
        text = _small(exact, language)
    sign = "\N{MINUS SIGN}" if text.startswith("-") else ""
    bare = text.removeprefix("-")
    return f"{sign}{bare}{_NARROW}US$" if language == "es" else f"{sign}${bare}"


def exact_money(amount: Decimal | float | str | None, language: str = "en") -> str:
    """Write dollars with every place that is stored."""
    if amount is None:
        return DASH
    text = f"{Decimal(str(amount)):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    point = _MARKS.get(language, _MARKS["en"])[1]
    return f"{text.replace('.', point)}{_NARROW}USD"


def _small(exact: Decimal, language: str) -> str:
    """Write less than a cent: two digits that say something, nine places at most."""
    places = min(_PLACES, 1 - exact.adjusted())
    return number(exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN), places, language)


def milliseconds(value: float | None, language: str = "en") -> str:
    """Write a duration: 850 ms, 1.24 s, 2 min 3 s, 1 h 5 min."""
    if value is None:
        return DASH
    if value < 1000:  # noqa: PLR2004 - a second
        places = 0 if value >= 10 or value == int(value) else 1  # noqa: PLR2004
        return f"{number(value, places, language)}{_NARROW}ms"
    if value < _MINUTE_MS:
        return f"{number(value / 1000, 2, language)}{_NARROW}s"
    return seconds(value / 1000)


def seconds(value: float | None) -> str:
    """Write a longer duration in two units: 45 s, 2 min 3 s, 5 h 10 min, 3 d 4 h."""
    if value is None:
        return DASH
    whole = int(value)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole}{_NARROW}s"
    for size, name, below, small in (
        (86_400, "d", _HOUR_S, "h"),
        (_HOUR_S, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // below
            first = f"{whole // size}{_NARROW}{name}"
            return f"{first} {rest}{_NARROW}{small}" if rest else first
    return DASH  # pragma: no cover - the last size takes every minute


def size(value: float | None, language: str = "en") -> str:
    """Write a number of bytes: 1.5 MiB."""
    if value is None:
        return DASH
    part, unit = float(value), 0
    while abs(part) >= _UNIT and unit < len(_SIZES) - 1:
        part, unit = part / _UNIT, unit + 1
    places = 0 if unit == 0 or part >= 100 else 1  # noqa: PLR2004 - three digits are enough
    return f"{number(part, places, language)}{_NARROW}{_SIZES[unit]}"


def gauge(value: float | None, name: str, language: str = "en") -> str:
    """Write a metric's value without its unit, with as many places as say something."""
    if value is None:
        return DASH
    if name.endswith("percentage"):
        return f"{number(value, 2, language)}{_NARROW}%"
    for end, unit in (("size_gb", _UNIT**3), ("mb_per_day", _UNIT**2)):
        if name.endswith(end):
            return size(value * unit, language)
    large = abs(value) >= 100 or value == int(value)  # noqa: PLR2004 - three digits are enough
    return number(value, 0 if large else 1 if abs(value) >= 10 else 3, language)  # noqa: PLR2004


def percent(part: float | None, places: int = 1, language: str = "en") -> str:
    """Write a share, of which 1.0 is all: 12.5 %."""
    if part is None:
        return DASH
    if 0 < abs(part) < 0.5 / 10 ** (places + 2):
        return f"<{_NARROW}{number(10.0**-places, places, language)}{_NARROW}%"
    return f"{number(part * 100, places, language)}{_NARROW}%"


def change(part: float | None, language: str = "en") -> str:
    """Write a change against before, of which 0.25 is a quarter more: +25 %."""
    if part is None:
        return DASH
    if abs(part) >= 10:  # noqa: PLR2004 - from there on a factor says more
        return f"\N{MULTIPLICATION SIGN}{_NARROW}{number(1 + part, 0, language)}"
    text = percent(abs(part), 0 if abs(part) >= 0.1 else 1, language)  # noqa: PLR2004
    sign = "+" if part > 0 else "\N{MINUS SIGN}" if part < 0 else "±"
    return f"{sign}{text}"


def stamp(at: datetime | None) -> str:
    """Write a time in UTC to the second, as people read it."""
    if at is None:
        return DASH
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: datetime) -> str:
    """Write a time for programs: RFC 3339 with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
