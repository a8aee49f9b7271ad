"""Alerts as rows, and silences with their note in the ledger: for the command and the console."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from affidavit._monitor_settings import THRESHOLDS
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError, StoreError
from affidavit.event import LedgerEvent
from affidavit.monitor.message import number
from affidavit.monitor.rules import Rule, rules_of
from affidavit.store.alerting import AlertStore, KeptSilence

SHORTEST: Final = timedelta(seconds=30)
LONGEST: Final = timedelta(days=366)

_ORDER: Final = {"firing": 0, "pending": 1}


def rows(config: AuditConfig, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give one row for each rule and each alert of it, those that fire first.

    Raises ConfigError where the thresholds of the settings are wrong.
    """
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
    return sorted(found, key=lambda row: _ORDER.get(row["state"], 2))


def _row(rule: Rule, held: Mapping[str, Any]) -> dict[str, Any]:
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


def silence(
    store: AlertStore,
    rule: str,
    subject: str,
    span: timedelta,
    by: str,
    reason: str,
    now: datetime,
) -> KeptSilence:
    """Keep a silence and tell the ledger; one that the ledger did not take is ended again.

    Raises ConfigError for a rule that there is not, and for a silence that has no end in sight;
    StoreError.
    """
    if rule not in {"*", *THRESHOLDS}:
        msg = f"There is no rule {rule!r}. One of: *, {', '.join(THRESHOLDS)}."
        raise ConfigError(msg)
    if not SHORTEST <= span <= LONGEST:
        msg = "A silence has an end: it lasts from 30 seconds to 366 days."
        raise ConfigError(msg)
    made = KeptSilence(secrets.token_hex(4), rule, subject, now, now + span, by, reason)
    store.add_silence(made)
    try:
        note(store, "add", made, now)
    except StoreError:
        store.end_silence(made.name, datetime.now(UTC))
        raise
    return made


def end(store: AlertStore, name: str, now: datetime) -> KeptSilence:
    """End a silence and tell the ledger. Raises ConfigError where there is none, and StoreError."""
    ended = store.end_silence(name, now)
    if ended is None:
        msg = f"There is no silence {name!r} that has not ended."
        raise ConfigError(msg)
    note(store, "end", ended, now)
    return ended


def note(store: AlertStore, action: str, made: KeptSilence, now: datetime) -> None:
    """Tell the ledger; a user's name is left out, since the ledger never expires."""
    details = {
        "change": f"{made.name}:{action}",
        "action": action,
        "rule": made.rule,
        "subject": "[withheld]" if made.rule == "budget_user" else made.subject,
        "until": made.until,
        "by": made.by,
        "reason": made.reason,
    }
    store.note(LedgerEvent.ALERT_SILENCED, details, now)
