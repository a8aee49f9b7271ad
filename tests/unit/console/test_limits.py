"""Values and thresholds of alerts, as people say them in two languages."""

from __future__ import annotations

from typing import Any

import pytest

from affidavit import AuditConfig
from affidavit.console.language import Words
from affidavit.console.limits import limit, parted, value
from affidavit.monitor.rules import rules_of

pytestmark = pytest.mark.requirement("R13", "R19")
RULES = {rule.name: rule for rule in rules_of(AuditConfig(budgets={"user": {"*": 10}}))}


def plain(text: str | None) -> str | None:
    """With usual spaces."""
    return None if text is None else text.replace("\N{NARROW NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("rule", "level", "english", "spanish"),
    [
        ("slow_writes", "warning", "any write", "cualquier escritura"),
        ("records_lost", "critical", "any record", "cualquier registro"),
        ("records_lost", "warning", None, None),
        ("records_spooled", "warning", "above 1 min", "más de 1 min"),
        ("records_spooled", "critical", "above 1 h", "más de 1 h"),
        ("sealer_stopped", "critical", "above 15 min", "más de 15 min"),
        ("store_unreachable", "critical", "above 1 min", "más de 1 min"),
        ("budget_user", "warning", "from 80 %", "desde 80 %"),
        ("audit_collection_size", "critical", "above 1.0 GiB", "más de 1,0 GiB"),
        ("daily_requests", "warning", "above 300 calls", "más de 300 llamadas"),
        ("anchor_age", "warning", "above 3 intervals", "más de 3 intervalos"),
        ("write_latency_p95", "warning", "above 20 ms", "más de 20 ms"),
    ],
)
def test_thresholds_are_said_with_units(
    rule: str, level: str, english: str | None, spanish: str | None
) -> None:
    """Nobody reads `0 writes` or `3600 s`."""
    assert plain(limit(RULES[rule], level, Words("en"))) == english
    assert plain(limit(RULES[rule], level, Words("es"))) == spanish


def test_every_rule_has_words_for_its_unit_in_both_languages() -> None:
    """No key of the words is shown instead of a text."""
    for language in ("en", "es"):
        for rule in RULES.values():
            for found in (0.0, 1.0, 2.5, 7200.0):
                assert "monitoring." not in value(found, rule.unit, Words(language))
            for level in ("warning", "critical"):
                assert "monitoring." not in (limit(rule, level, Words(language)) or "")


def test_one_is_singular_and_parts_of_a_second_are_seen() -> None:
    """Also a clock that is behind."""
    assert value(1, "records", Words("en")) == "1 record"
    assert value(1234, "calls", Words("es")) == "1.234 llamadas"
    assert plain(value(0.25, "s", Words("en"))) == "0.25 s"
    assert value(None, "s", Words("en")) == "not known"


def test_budgets_come_apart_the_nearest_to_its_limit_first() -> None:
    """One row stands for those of a rule among the alerts, and says how many fire."""

    def row(rule: str, subject: str, found: float | None, state: str = "firing") -> Any:
        return {"rule": rule, "subject": subject, "value": found, "state": state}

    rows = [
        row("budget_user", "low", 83.0),
        row("budget_user", "over", 140.0),
        row("slow_writes", "", 0.0, "inactive"),
        row("budget_department", "near", 79.0, "resolved"),
        row("budget_user", "unknown", None, "resolved"),
    ]
    alerts, budgets = parted(rows)
    told = [(each["rule"], each["value"], each.get("count")) for each in alerts]
    user, department = ("budget_user", 140.0, 2), ("budget_department", 79.0, 0)
    assert told == [user, ("slow_writes", 0.0, None), department]
    assert [each["subject"] for each in budgets] == ["over", "low", "near", "unknown"]
