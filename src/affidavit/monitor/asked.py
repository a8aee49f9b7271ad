"""What rules ask the database itself, because no metric tells it: budgets, events, query plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from affidavit._monitor_settings import read_budgets
from affidavit.config import AuditConfig
from affidavit.event import LedgerEvent
from affidavit.monitor.advice import degraded
from affidavit.monitor.rules import Rule
from affidavit.store.alerting import AlertStore
from affidavit.store.monitoring import MonitorStore

EVENTS_FOR: Final = timedelta(hours=1)
BUDGETS_EVERY_S: Final = 300.0
VERIFIED_FOR: Final = timedelta(days=1)
ANYBODY: Final = "*"

Spent = Callable[[str, datetime], Mapping[str, Decimal]]
"""Gives what each ``user`` or ``department`` has cost in the month of that time, in US dollars."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask, for one rule."""

    rule: str
    every_s: float
    """How old the answer may be."""
    ask: Callable[[datetime], Mapping[str, float]]
    """Gives a value for each subject. Raises AffidavitError."""


def questions_of(
    config: AuditConfig,
    rules: Iterable[Rule],
    store: AlertStore,
    monitoring: MonitorStore,
    spent: Spent,
) -> list[Question]:
    """Make the questions of the rules that are in force. Raises ConfigError."""
    wanted = {rule.name for rule in rules}
    made = [
        Question("security_events", config.monitor_every_s / 2, lambda at: _events(store, at)),
        Question("verification_failed", 60.0, lambda at: _verifications(store, at)),
        Question("query_plans", 3600.0, lambda _: degraded(monitoring)),
    ]
    for group, limits in read_budgets(config.budgets).items():
        if limits:
            made.append(_budget(group, _as_recorded(config, group, limits), spent))
    return [question for question in made if question.rule in wanted]


def _verifications(store: AlertStore, at: datetime) -> dict[str, float]:
    return {"": float(store.ledger_records(LedgerEvent.VERIFICATION_FAILED, at - VERIFIED_FOR))}


def _events(store: AlertStore, at: datetime) -> dict[str, float]:
    return {kind: float(count) for kind, count in store.severe_events(at - EVENTS_FOR).items()}


def _budget(group: str, limits: Mapping[str, Decimal], spent: Spent) -> Question:
    return Question(f"budget_{group}", BUDGETS_EVERY_S, lambda at: shares(spent(group, at), limits))


def shares(spent: Mapping[str, Decimal], limits: Mapping[str, Decimal]) -> dict[str, float]:
    """Give what share of its budget each has spent, in percent; without a budget, nothing."""
    found = {}
    for who, amount in spent.items():
        limit = limits.get(who, limits.get(ANYBODY))
        if limit is not None:
            found[who] = float(100 * amount / limit)
    return found


def _as_recorded(
    config: AuditConfig, group: str, limits: Mapping[str, Decimal]
) -> dict[str, Decimal]:
    """Name users as their records do: where identity is keyed, by their tokens."""
    if group != "user" or config.identity != "keyed":
        return dict(limits)
    from affidavit.pipeline.redact import act
    from affidavit.pipeline.redact.configured import policy_of

    key = policy_of(config).key
    if key is None:
        return dict(limits)
    return {
        who if who == ANYBODY else act.identity(key, "user_id", who): limit
        for who, limit in limits.items()
    }
