"""Prometheus' text format, as Prometheus' own checker reads it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from affidavit.monitor.metrics import ALL, REQUIRED
from affidavit.monitor.prometheus import render
from affidavit.monitor.sample import Sample
from tests.support.promtool import promtool

pytestmark = pytest.mark.requirement("R25")


def full() -> Sample:
    """Every metric with a value."""
    made = Sample(datetime(2026, 11, 23, tzinfo=UTC))
    for number, metric in enumerate(ALL):
        labels = dict.fromkeys(metric.labels, 'a "quoted" \\ text')
        made.put(metric.name, number + 0.5, **labels)
    return made


def test_promtool_reads_every_metric_and_has_nothing_to_say_of_base_names() -> None:
    """Names, kinds, help texts and label values."""
    checked = promtool("check", "metrics", text=render(full(), "wadm.llm_audit", "base"))
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_promtool_minds_two_names_only_which_were_given() -> None:
    """They carry gb and mb, since that is how they were asked for."""
    checked = promtool("check", "metrics", text=render(full(), "wadm.llm_audit"))
    assert checked.returncode == 3
    said = sorted((checked.stdout + checked.stderr).split("\n"))[1:]
    assert said == [
        "audit_collection_size_gb metric names should not contain abbreviated units",
        "storage_growth_rate_mb_per_day metric names should not contain abbreviated units",
    ]


def test_the_five_stand_there_by_their_names() -> None:
    """Whole lines, with the log as a label."""
    text = render(full(), "wadm.llm_audit")
    for name in REQUIRED:
        assert re.search(rf'^{name}\{{log="wadm.llm_audit"\}} [0-9.]+$', text, re.MULTILINE)


def test_what_is_unknown_has_no_value_and_a_reason() -> None:
    """A comment, on one line."""
    made = Sample(datetime(2026, 11, 23, tzinfo=UTC))
    made.unknown["main_db_impact_percentage"] = "The server\nrefuses."
    text = render(made, "wadm.llm_audit")
    assert "# main_db_impact_percentage is unknown: The server refuses.\n" in text
    assert not [line for line in text.splitlines() if not line.startswith("#")]


def test_names_are_unique_in_both_spellings() -> None:
    """Two metrics of one name would be one."""
    names = [metric.name for metric in ALL] + [metric.base[0] for metric in ALL if metric.base]
    assert len(names) == len(set(names))
