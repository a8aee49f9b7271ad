"""Values and thresholds of alerts as a person says them: 1 h, any write, above 80 %. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from affidavit.console.figures import milliseconds, number, seconds, size

if TYPE_CHECKING:
    from affidavit.console.language import Words
    from affidavit.monitor.rules import Rule

BUDGETS: Final = frozenset({"budget_user", "budget_department"})
SHOWN: Final = 20
"""Budgets, and alerts, that are listed before somebody asks for all."""

_NARROW: Final = "\N{NARROW NO-BREAK SPACE}"
_EXACT_S: Final = 10
"""Shorter times than so many seconds have a part of a second."""


def value(found: float | None, unit: str, t: Words) -> str:
    """Write a value of a rule with its unit."""
    if found is None:
        return t("monitoring.unknown")
    language = t.language
    if unit == "bytes":
        return size(found, language)
    if unit == "ms":
        return milliseconds(found, language)
    if unit == "s":
        exact = abs(found) < _EXACT_S and found != int(found)
        return f"{number(found, 2, language)}{_NARROW}s" if exact else seconds(found)
    places = 0 if found == int(found) else 1
    if unit == "%":
        return f"{number(found, places, language)}{_NARROW}%"
    name = f"monitoring.unit.{unit}"
    named = t(f"{name}.one" if found == 1 else name)
    return f"{number(found, places, language)} {named}"


def limit(rule: Rule, level: str, t: Words) -> str | None:
    """Write from where a rule fires at a level; None where it does not."""
    found = rule.thresholds.get(level)
    if found is None:
        return None
    if found == 0 and not rule.at_least:
        if rule.unit == "s":
            return t("monitoring.limit.above", value=seconds(rule.for_s))
        return t(f"monitoring.any.{rule.unit}")
    said = "from" if rule.at_least else "above"
    return t(f"monitoring.limit.{said}", value=value(found, rule.unit, t))


def parted(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Part the budgets of people and departments from the other alerts.

    Budgets come by how near to their limit they are. Among the alerts one row stands for those of a
    rule: the nearest, with ``count`` of all that fire.
    """
    budgets = [row for row in rows if row["rule"] in BUDGETS and row["subject"]]
    budgets.sort(key=_nearness)
    others: list[Mapping[str, Any]] = []
    stood: set[str] = set()
    for row in rows:
        rule = row["rule"]
        if rule not in BUDGETS or not row["subject"]:
            others.append(row)
        elif rule not in stood:  # rows that fire come first, so its place is right
            stood.add(rule)
            same = [each for each in budgets if each["rule"] == rule]
            firing = [each for each in same if each["state"] == "firing"]
            others.append({**(firing or same)[0], "subject": "", "count": len(firing)})
    return others, budgets


def _nearness(row: Mapping[str, Any]) -> tuple[float, str]:
    found = row.get("value")
    return (0.0 if found is None else -float(found), str(row["subject"]))
