"""A looker and a monitor for an open log, with the rules and targets of the settings."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from affidavit.monitor.asked import questions_of
from affidavit.monitor.history import History
from affidavit.monitor.notify.configured import targets_of
from affidavit.monitor.reading import Looker
from affidavit.monitor.rules import rules_of
from affidavit.monitor.run import Monitor, Post
from affidavit.monitor.sample import sample
from affidavit.store import alerts_of, calls_of, monitor_of

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from affidavit.config import AuditConfig
    from affidavit.monitor.asked import Spent
    from affidavit.monitor.reading import Readings
    from affidavit.monitor.sample import Sample
    from affidavit.store.mongo.log import MongoLog

ANSWER_S: Final = 10.0
"""Seconds that one part of a reading may take, of a server that stands still."""


@dataclass(slots=True)
class Samples:
    """Takes samples of a log, each from two readings, and keeps them in its history."""

    looker: Looker
    history: History
    _before: Readings | None = field(default=None, init=False)

    def take(self) -> Sample | None:
        """Read once more; None where the database does not answer."""
        now = self.looker.take()
        if not now.answered:
            return None
        made = sample(self._before, now)
        self._before = now
        return made

    def keep(self, sample: Sample) -> None:
        """Add it to the history."""
        self.history.keep(sample)


def looker_of(config: AuditConfig, log: MongoLog) -> Looker:
    """Make what takes readings. Raises ConfigError where the settings of anchors are wrong."""
    from affidavit.anchors.configured import anchors_of

    return Looker(
        monitor_of(log, ANSWER_S),
        log.seals,
        anchors_of(config),
        anchor_every_s=config.anchor_every_s,
        slow_ms=config.slow_query_threshold,
    )


def monitor_for(config: AuditConfig, log: MongoLog) -> Monitor:
    """Make a monitor with the rules and targets of the settings. Raises ConfigError."""
    rules, store, monitoring = rules_of(config), alerts_of(log), monitor_of(log)
    host = socket.gethostname()
    post = Post(
        log=monitoring.log,
        holder=f"{host}:{os.getpid()}:{secrets.token_hex(4)}",
        host=host,
        every_s=float(config.monitor_every_s),
        repeat_s=float(config.alert_repeat_s),
    )
    return Monitor(
        store,
        Samples(looker_of(config, log), History(monitoring)),
        rules,
        targets_of(config),
        questions_of(config, rules, store, monitoring, spent_in(log)),
        post,
    )


def spent_in(log: MongoLog) -> Spent:
    """Give what asks for a month's costs: from rollups where they reach, else from the records."""

    def ask(group: str, at: datetime) -> dict[str, Decimal]:
        from affidavit.analytics.questions import read

        zone = log.reporting_timezone
        month = f"{at.astimezone(ZoneInfo(zone)):%Y-%m}"
        asked = read((group,), {"month": month}, zone, now=at, kept=log.kept)
        found = calls_of(log).sums(asked.sums("cost"))
        return {key[0]: sums.cost_usd for key, sums in found if key[0] is not None}

    return ask
