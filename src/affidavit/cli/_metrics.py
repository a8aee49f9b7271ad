"""What `metrics` and `status --watch` share: readings that were answered, and how to write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affidavit.monitor.reading import Readings


def answered(readings: Readings) -> Readings:
    """Give the readings, or raise StoreUnavailable where the server did not answer at all."""
    from affidavit.errors import StoreUnavailable
    from affidavit.monitor.reading import Unknown

    if not readings.answered and isinstance(readings.clock, Unknown):
        raise StoreUnavailable(readings.clock.why)
    return readings


def value(number: float | None, unit: str) -> str:
    """Write a metric's value for people, with its unit; a dash where it is not known."""
    if number is None:
        return "-"
    digits = 0 if number == int(number) else 4 if abs(number) < 0.1 else 2  # noqa: PLR2004
    return f"{number:,.{digits}f} {unit}"
