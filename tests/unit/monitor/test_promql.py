"""Rules and a dashboard for Prometheus, judged by Prometheus' own tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig
from affidavit.monitor.metrics import ALL, METRICS, REQUIRED
from affidavit.monitor.prometheus import shown
from affidavit.monitor.promql import alert_name, condition, dashboard, rule_file
from affidavit.monitor.rules import rules_of

if TYPE_CHECKING:
    from pathlib import Path as _Path

pytestmark = pytest.mark.requirement("R23", "R24")

ROOT = Path(__file__).resolve().parents[3]
RULES = rules_of(AuditConfig())
_NAME = re.compile(r"\b(?:affidavit|audit|main_db|storage)_\w+")


def promtool(*arguments: str, folder: _Path) -> subprocess.CompletedProcess[str]:
    """Run Prometheus' own tool; `make setup` puts it there."""
    found = shutil.which("promtool") or str(ROOT / "build" / "promtool")
    return subprocess.run(
        [found, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, as they are after a round trip through JSON."""
    found: list[dict[str, Any]] = json.loads(json.dumps(dashboard(RULES)))["panels"]
    return found


def expressions() -> list[str]:
    """Every question the dashboard asks, of all logs."""
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    return [each.replace("$log", ".*") for each in asked]


def test_prometheus_accepts_the_rules(tmp_path: _Path) -> None:
    """`promtool check rules` finds nothing wrong, and each level of each rule with a metric."""
    (tmp_path / "rules.yml").write_text(rule_file(RULES), encoding="utf-8")
    done = promtool("check", "rules", "rules.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = sum(len(r.thresholds) for r in RULES if r.metric is not None or r.name == "no_data")
    assert f"{wanted} rules found" in done.stdout


def test_rules_and_dashboard_in_base_names_ask_for_what_is_printed_so(tmp_path: _Path) -> None:
    """The same thresholds, in bytes: 500 MB and 100 MB in thirty days."""
    text = rule_file(RULES, "base")
    (tmp_path / "rules.yml").write_text(text, encoding="utf-8")
    done = promtool("check", "rules", "rules.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "max by (log) (audit_collection_size_bytes) > 524288000" in text or (
        "sum by (log) (audit_collection_size_bytes) > 524288000" in text
    )
    assert f"(storage_growth_rate_bytes_per_day) > {round(100 * 1024**2 / 30, 9)}" in text
    printed = {shown(metric, "base")[0] for metric in ALL}
    asked = [
        target["expr"]
        for panel in dashboard(RULES, "base")["panels"]
        for target in panel.get("targets", ())
    ]
    assert {name for each in (*asked, text) for name in _NAME.findall(each)} - {"audit_log"} <= (
        printed
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_metrics_that_exist(rule: Any) -> None:
    """And no others."""
    for level, threshold in rule.thresholds.items():
        text = condition(rule, level, threshold) or ""
        assert set(_NAME.findall(text)) <= set(METRICS)


def test_prometheus_fires_and_resolves_them_as_the_monitor_does(tmp_path: _Path) -> None:
    """Two minutes above 20 ms fires, 18 ms holds it, 15 ms ends it; a single loss fires at once."""
    (tmp_path / "rules.yml").write_text(rule_file(RULES), encoding="utf-8")
    slow, lost = alert_name(named("write_latency_p95")), alert_name(named("records_lost"))
    fires = [{"exp_labels": {"severity": "warning", "log": "wadm.llm_audit"}}]
    gone = [{"exp_labels": {"severity": "critical", "log": "wadm.llm_audit"}}]
    case = {
        "interval": "30s",
        "input_series": [
            {
                "series": 'audit_write_latency_p95{log="wadm.llm_audit"}',
                "values": "30x10 18x10 15x10",
            },
            {
                "series": 'affidavit_records_lost_total{log="wadm.llm_audit",writer="w"}',
                "values": "0x10 1x200",
            },
        ],
        "alert_rule_test": [
            at("1m", slow, []),
            at("4m", slow, fires),
            at("9m", slow, fires),
            at("13m", slow, []),
            at("4m", lost, []),
            at("7m", lost, gone),
            at("80m", lost, []),
        ],
    }
    file = {"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [case]}
    (tmp_path / "tests.yml").write_text(json.dumps(file), encoding="utf-8")
    done = promtool("test", "rules", "tests.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def named(name: str) -> Any:
    """One rule."""
    return next(rule for rule in RULES if rule.name == name)


def at(time: str, name: str, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """What of an alert is expected at a time; texts are taken as they are."""
    rule = next(rule for rule in RULES if alert_name(rule) == name)
    told = [each | {"exp_annotations": annotations(rule, each["exp_labels"])} for each in wanted]
    return {"eval_time": time, "alertname": name, "exp_alerts": told}


def annotations(rule: Any, labels: dict[str, str]) -> dict[str, str]:
    """The texts of an alert, from the file itself."""
    block = rule_file([rule]).partition(f"severity: {labels['severity']}")[2]
    found = re.findall(r'(summary|description): ("(?:[^"\\]|\\.)*")', block)[:2]
    return {
        name: json.loads(text).replace("{{ $labels.log }}", labels["log"]) for name, text in found
    }


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    """The five required ones first."""
    shown = [panel["title"] for panel in panels() if panel["type"] != "row"]
    assert tuple(shown[: len(REQUIRED)]) == REQUIRED
    assert set(shown) == {metric.name for metric in ALL}
    assert {name for text in expressions() for name in _NAME.findall(text)} == set(METRICS)


def test_prometheus_understands_every_question_of_the_dashboard(tmp_path: _Path) -> None:
    """Each is a rule of a file that is checked."""
    rules = [{"record": f"r{n}", "expr": text} for n, text in enumerate(expressions())]
    file = {"groups": [{"name": "dashboard", "rules": rules}]}
    (tmp_path / "asked.yml").write_text(json.dumps(file), encoding="utf-8")
    done = promtool("check", "rules", "asked.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    """What Grafana needs of a dashboard."""
    made, found = dashboard(RULES), panels()
    assert {"uid", "title", "schemaVersion", "templating", "time", "panels"} <= set(made)
    assert len({panel["id"] for panel in found}) == len(found)
    for one, other in combinations((panel["gridPos"] for panel in found), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in found)
    for panel in found:
        steps = panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}).get("steps")
        if panel["title"] == "audit_write_latency_p95":
            assert [step["value"] for step in steps] == [None, 20, 50]
