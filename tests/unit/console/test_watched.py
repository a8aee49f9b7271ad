"""Figures, charts and rows of monitoring, from plain data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from affidavit.config import AuditConfig
from affidavit.console import watched
from affidavit.console.visitor import Scope
from affidavit.monitor.metrics import GIB, GROWTH, LATENCY, SIZE, WRITES
from affidavit.monitor.rules import rules_of
from affidavit.monitor.sample import Sample
from affidavit.store.monitoring import Point

pytestmark = pytest.mark.requirement("R25")

AT = datetime(2026, 11, 1, tzinfo=UTC)
NAMES = {"mean": "mean", "high": "highest", "warning": "warning", "critical": "critical"}


def points(count: int, value: float = 1.0) -> list[Point]:
    """So many buckets of five minutes."""
    each = timedelta(minutes=5)
    return [Point(AT + each * n, 300, 2, value, value, value * 2, value) for n in range(count)]


def test_thresholds_are_in_the_unit_of_the_figure() -> None:
    """A size in GB and its threshold in bytes are both bytes; so is growth."""
    made = Sample(AT)
    made.put(SIZE, 0.5)
    made.put(LATENCY, 7.0)
    found = {each.name: each for each in watched.figures(made, rules_of(AuditConfig()), [])}
    assert found[SIZE].value == 0.5 * GIB
    assert found[SIZE].limits == {"warning": 500 * 1024**2, "critical": 1024**3}
    assert found[SIZE].state == "good"
    assert found[LATENCY].limits == {"warning": 20, "critical": 50}
    assert found[GROWTH].limits["warning"] == pytest.approx(100 * 1024**2 / 30)
    assert found[WRITES].value is None
    assert found[WRITES].why


def test_a_figure_is_as_bad_as_its_alert() -> None:
    """By the alert's level, which an unknown value has none of."""
    made = Sample(AT)
    made.put(LATENCY, 70.0)
    rows = [{"rule": "write_latency_p95", "state": "firing", "level": "critical"}]
    found = {each.name: each for each in watched.figures(made, rules_of(AuditConfig()), rows)}
    assert found[LATENCY].state == "bad"
    assert found[SIZE].state is None


@pytest.mark.parametrize("count", [0, 1, 95, 96, 97, 1000])
def test_a_chart_has_few_points_and_loses_no_peak(count: int) -> None:
    """Buckets are joined; the highest of them stays the highest."""
    history = points(count)
    if history:
        history[count // 2] = Point(history[count // 2].at, 300, 1, 1.0, 1.0, 99.0, 1.0)
    made = watched.chart(LATENCY, history, {}, NAMES)
    assert len(made["x"]) <= 96
    highs = [value for line in made["series"] for value in line["values"]]
    assert max(highs, default=None) == (99.0 if count else None)
    assert all(len(line["values"]) == len(made["x"]) for line in made["series"])


def test_only_a_threshold_in_sight_is_drawn() -> None:
    """One that lies far above would make a flat line of everything else."""
    made = watched.chart(LATENCY, points(5, 8.0), {"warning": 20.0, "critical": 500.0}, NAMES)
    assert [line["name"] for line in made["series"]] == ["mean", "highest", "warning"]


def test_alerts_of_others_budgets_are_left_out() -> None:
    """Whoever sees one department is told of its budget, and of no user's."""
    rows = [
        {"rule": "budget_user", "subject": "ana"},
        {"rule": "budget_user", "subject": ""},
        {"rule": "budget_department", "subject": "sales"},
        {"rule": "budget_department", "subject": "research"},
        {"rule": "daily_requests", "subject": ""},
        {"rule": "records_lost", "subject": ""},
    ]
    assert watched.seen(rows, Scope()) == rows
    found = watched.seen(rows, Scope(departments=("sales",)))
    assert [(row["rule"], row["subject"]) for row in found] == [
        ("budget_user", ""),
        ("budget_department", "sales"),
        ("records_lost", ""),
    ]


def test_sums_over_every_department_are_not_for_one() -> None:
    """Neither in the list of metrics nor in Prometheus' text."""
    made = Sample(AT)
    made.put("affidavit_cost_last_day_dollars", 12.0)
    made.put("affidavit_requests_last_day", 7.0)
    scope = Scope(departments=("sales",))
    assert "affidavit_cost_last_day_dollars" in {row[0] for row in watched.others(made, Scope())}
    assert not watched.SPENDING & {row[0] for row in watched.others(made, scope)}
    cut = watched.without_spending(made)
    assert cut.one("affidavit_cost_last_day_dollars") is None
    assert "may not see" in cut.why("affidavit_requests_last_day")
