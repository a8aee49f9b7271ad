"""What `metrics` and `status --watch` share: a looker for an open log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.monitor.reading import Looker, Readings
    from affidavit.store.mongo.log import MongoLog

ANSWER_S: Final = 10.0
"""Seconds that one part of a reading may take, of a server that stands still."""


def looker_of(config: AuditConfig, log: MongoLog) -> Looker:
    """Make what takes readings. Raises ConfigError where the settings of anchors are wrong."""
    from affidavit.anchors.configured import anchors_of
    from affidavit.monitor.reading import Looker
    from affidavit.store import monitor_of

    return Looker(
        monitor_of(log, ANSWER_S),
        log.seals,
        anchors_of(config),
        anchor_every_s=config.anchor_every_s,
        slow_ms=config.slow_query_threshold,
    )


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
