"""What `alerts` and `monitor` share: a monitor for an open log, and alerts as rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from affidavit.config import AuditConfig
    from affidavit.monitor.asked import Spent
    from affidavit.monitor.history import History
    from affidavit.monitor.reading import Looker, Readings
    from affidavit.monitor.rules import Rule
    from affidavit.monitor.run import Monitor
    from affidavit.monitor.sample import Sample
    from affidavit.store.mongo.log import MongoLog


@dataclass(slots=True)
class Samples:
    """Takes samples of a log, each from two readings, and keeps them in its history."""

    looker: Looker
    history: History
    _before: Readings | None = field(default=None, init=False)

    def take(self) -> Sample | None:
        """Read once more; None where the database does not answer."""
        from affidavit.monitor.sample import sample

        now = self.looker.take()
        if not now.answered:
            return None
        made = sample(self._before, now)
        self._before = now
        return made

    def keep(self, sample: Sample) -> None:
        """Add it to the history."""
        self.history.keep(sample)


def monitor_for(config: AuditConfig, log: MongoLog) -> Monitor:
    """Make a monitor with the rules and targets of the settings. Raises ConfigError."""
    import os
    import secrets
    import socket

    from affidavit.cli._metrics import looker_of
    from affidavit.monitor.asked import questions_of
    from affidavit.monitor.history import History
    from affidavit.monitor.notify.configured import targets_of
    from affidavit.monitor.rules import rules_of
    from affidavit.monitor.run import Monitor, Post
    from affidavit.store import alerts_of, monitor_of

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
        from zoneinfo import ZoneInfo

        from affidavit.analytics.questions import read
        from affidavit.store import calls_of

        zone = log.reporting_timezone
        month = f"{at.astimezone(ZoneInfo(zone)):%Y-%m}"
        asked = read((group,), {"month": month}, zone, now=at, kept=log.kept)
        found = calls_of(log).sums(asked.sums("cost"))
        return {key[0]: sums.cost_usd for key, sums in found if key[0] is not None}

    return ask


def rows(config: AuditConfig, state: dict[str, Any]) -> list[dict[str, Any]]:
    """Give one row for each rule and each alert of it, those that fire first."""
    from affidavit.monitor.rules import rules_of

    rules = rules_of(config)
    alerts = state.get("alerts", [])
    found = [_row(rule, alert) for rule in rules for alert in alerts if alert["rule"] == rule.name]
    named = {row["rule"] for row in found}
    unknown, values = state.get("unknown", {}), state.get("values", {})
    found += [
        _row(rule, {"value": values.get(rule.name)}) | {"unknown": unknown.get(rule.name)}
        for rule in rules
        if rule.name not in named
    ]
    order = {"firing": 0, "pending": 1}
    return sorted(found, key=lambda row: order.get(row["state"], 2))


def _row(rule: Rule, held: dict[str, Any]) -> dict[str, Any]:
    from affidavit.monitor.message import number

    return {
        "rule": rule.name,
        "subject": held.get("subject") or "",
        "state": held.get("phase", "inactive"),
        "level": held.get("level"),
        "since": held.get("changed_at"),
        "value": held.get("value"),
        "said": number(held["value"], rule.unit) if held.get("value") is not None else None,
        "unit": rule.unit,
        "thresholds": rule.thresholds,
        "for_s": rule.for_s,
    }
