"""What the page of monitoring shows of metrics and alerts: figures, charts and rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from affidavit.monitor.metrics import ALL, GIB, GROWTH, IMPACT, LATENCY, MIB, SIZE, WRITES

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.console.visitor import Scope
    from affidavit.monitor.rules import Rule
    from affidavit.monitor.sample import Sample
    from affidavit.store.monitoring import Point

UNITS: Final[Mapping[str, tuple[str, float]]] = {
    WRITES: ("number", 1.0),
    SIZE: ("size", float(GIB)),
    LATENCY: ("ms", 1.0),
    IMPACT: ("percent", 0.01),
    GROWTH: ("size", float(MIB)),
}
"""How the five metrics are written, and what to multiply their values by for that."""

SPENDING: Final = frozenset({"affidavit_requests_last_day", "affidavit_cost_last_day_dollars"})
"""Sums over every department: whoever sees some of them only is not told."""

_BUDGETS: Final = {"budget_user": "", "budget_department": "departments"}
_MOST_POINTS: Final = 96
_ABOVE: Final = 3.0
"""A threshold is drawn when it is at most so many times the highest value, else it is only said."""

_TONES: Final = {"warning": "warn", "critical": "bad"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the five metrics, now."""

    name: str
    unit: str
    value: float | None
    """In the unit of the figure."""
    why: str
    """Why there is no value; else what has to be said of it."""
    state: str | None
    """``good``, ``warn`` or ``bad`` by its alert; None where nothing watches it."""
    limits: Mapping[str, float]
    """Thresholds by level, in the unit of the figure."""


def figures(
    sample: Sample | None, rules: Iterable[Rule], alerts: Sequence[Mapping[str, Any]]
) -> list[Figure]:
    """Give the five metrics with their thresholds and the state of their alerts."""
    watched = {rule.metric: rule for rule in rules if rule.metric in UNITS}
    found = []
    for name, (unit, factor) in UNITS.items():
        rule = watched.get(name)
        value = None if sample is None else sample.one(name)
        why = "" if sample is None else sample.notes.get(name, "") or sample.why(name)
        found.append(
            Figure(
                name=name,
                unit=unit,
                value=None if value is None else value * factor,
                why=why,
                state=None if rule is None or value is None else _state(rule.name, alerts),
                limits=limits_of(rule, factor),
            )
        )
    return found


def limits_of(rule: Rule | None, factor: float) -> dict[str, float]:
    """Give the thresholds of a rule in the unit of its metric's figure."""
    if rule is None or not rule.factor:
        return {}
    return {level: value / rule.factor * factor for level, value in rule.thresholds.items()}


def _state(rule: str, alerts: Sequence[Mapping[str, Any]]) -> str:
    levels = [row["level"] for row in alerts if row["rule"] == rule and row["state"] == "firing"]
    return "bad" if "critical" in levels else "warn" if levels else "good"


def chart(
    name: str, points: Sequence[Point], limits: Mapping[str, float], words: Mapping[str, str]
) -> dict[str, Any]:
    """Draw the history of one of the five metrics, with the thresholds that are in sight.

    ``words`` has the names of the lines: ``mean``, ``high``, ``warning``, ``critical``.
    """
    unit, factor = UNITS[name]
    found = joined(points)
    means = [round(mean * factor, 6) for _, _, mean, _ in found]
    highs = [round(high * factor, 6) for _, _, _, high in found]
    lines: list[dict[str, Any]] = [{"name": words["mean"], "values": means, "tone": "1"}]
    if highs != means:
        lines.append({"name": words["high"], "values": highs, "tone": "5"})
    top = max(highs, default=0.0)
    lines += [
        {"name": words[level], "values": [value] * len(found), "tone": _TONES[level]}
        for level, value in limits.items()
        if 0 < value <= top * _ABOVE
    ]
    return {
        "kind": "line",
        "unit": unit,
        "x": [int(at) for at, _, _, _ in found],
        "step_s": found[0][1] if found else 300,
        "series": lines,
        "zoom": None,
    }


def joined(points: Sequence[Point]) -> list[tuple[float, int, float, float]]:
    """Join buckets until there are few enough: start, seconds, mean and highest of each."""
    at_once = -(-len(points) // _MOST_POINTS) or 1
    made = []
    for start in range(0, len(points), at_once):
        part = points[start : start + at_once]
        count = sum(point.count for point in part) or 1
        mean = sum(point.mean * point.count for point in part) / count
        high = max(point.high for point in part)
        made.append((part[0].at.timestamp(), part[0].seconds * at_once, mean, high))
    return made


def seen(rows: Iterable[Mapping[str, Any]], scope: Scope) -> list[Mapping[str, Any]]:
    """Leave out of alerts, or of their history, what a scope does not show: others' budgets."""
    if scope.everything:
        return list(rows)
    found = []
    for row in rows:
        part = _BUDGETS.get(row.get("rule", ""))
        if row.get("rule") == "daily_requests":
            continue
        allowed = getattr(scope, part) or () if part else ()
        if part is None or not row.get("subject") or row["subject"] in allowed:
            found.append(row)
    return found


def may_silence(scope: Scope, rule: str, subject: str) -> bool:
    """Whether somebody of this scope may silence these alerts.

    Alerts are about the whole log, and a silence keeps everybody from being told: who sees a part
    of it may only silence the budgets of its own departments.
    """
    if scope.everything:
        return True
    return rule == "budget_department" and subject in (scope.departments or ())


def others(sample: Sample | None, scope: Scope) -> list[tuple[str, str, Any, str, str]]:
    """List every other metric: its name, its labels, its value, its unit, and what it counts."""
    if sample is None:
        return []
    hidden = frozenset() if scope.everything else SPENDING
    made: list[tuple[str, str, Any, str, str]] = []
    for metric in ALL:
        if metric.name in UNITS or metric.name in hidden:
            continue
        values = sample.values.get(metric.name, ())
        for each in values:
            labels = ", ".join(f"{name} {value}" for name, value in each.labels)
            made.append((metric.name, labels, each.value, metric.unit, metric.help))
        if not values:
            made.append((metric.name, "", None, metric.unit, sample.why(metric.name)))
    return made


def without_spending(sample: Sample) -> Sample:
    """Give the sample without sums over every department."""
    from dataclasses import replace

    values = {name: found for name, found in sample.values.items() if name not in SPENDING}
    why = dict.fromkeys(SPENDING, "It counts calls of departments that you may not see.")
    return replace(sample, values=values, unknown={**sample.unknown, **why})


SPANS: Final[Mapping[str, timedelta]] = {
    "30m": timedelta(minutes=30),
    "2h": timedelta(hours=2),
    "8h": timedelta(hours=8),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""How long a silence may be chosen to last."""


def send_trials(backend: Backend) -> list[tuple[str, str | None]]:
    """Send a test to every target of the settings; give each one's name, and why it failed.

    Raises ConfigError.
    """
    from affidavit.monitor.message import trial as message_of
    from affidavit.monitor.notify.base import DeliveryFailed
    from affidavit.monitor.notify.configured import targets_of

    message = message_of(backend.monitor.log, datetime.now(UTC))
    done: list[tuple[str, str | None]] = []
    for target in targets_of(backend.config):
        try:
            target.send(message)
        except DeliveryFailed as error:
            done.append((target.name, str(error)))
        else:
            done.append((target.name, None))
    return done
