"""The rules: every threshold has one, and what they name exists."""

from __future__ import annotations

import pytest

from affidavit import AuditConfig
from affidavit._monitor_settings import THRESHOLDS
from affidavit.monitor.metrics import METRICS, Kind
from affidavit.monitor.rules import rules_of

pytestmark = pytest.mark.requirement("R23", "R24")


def test_every_threshold_drives_one_rule() -> None:
    """A threshold that nothing looks at would be a setting without effect."""
    assert [rule.name for rule in rules_of(AuditConfig())] == list(THRESHOLDS)


def test_rules_name_metrics_and_labels_that_exist() -> None:
    """And only counters are looked at for their growth."""
    for rule in rules_of(AuditConfig()):
        if rule.metric is None:
            continue
        metric = METRICS[rule.metric]
        assert {*rule.where, *filter(None, [rule.by])} <= set(metric.labels)
        assert (rule.window_s is not None) == (metric.kind is Kind.COUNTER)


def test_the_documents_growth_is_compared_in_its_own_unit() -> None:
    """100 MB a month is a metric of 3 1/3 MB a day."""
    (rule,) = (r for r in rules_of(AuditConfig()) if r.name == "storage_growth_rate")
    assert not rule.holds(3.33 * rule.factor, rule.warning, held=False)
    assert rule.holds(3.34 * rule.factor, rule.warning, held=False)


def test_an_anchors_age_is_judged_by_the_interval_that_is_set() -> None:
    """Three intervals, whatever they are."""
    (rule,) = (r for r in rules_of(AuditConfig(anchor_every_s=60)) if r.name == "anchor_age")
    assert rule.holds(181 * rule.factor, rule.warning, held=False)
    assert not rule.holds(179 * rule.factor, rule.warning, held=False)


def test_a_rule_that_is_off_or_without_a_level_is_none() -> None:
    """Both ways are written by people."""
    off = {"pool_use": {"off": True}, "slow_writes": {"warning": None}}
    names = {rule.name for rule in rules_of(AuditConfig(monitoring_thresholds=off))}
    assert set(THRESHOLDS) - names == set(off)
