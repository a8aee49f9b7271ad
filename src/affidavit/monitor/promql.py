"""The rules for whoever has Prometheus: alerting rules and a Grafana dashboard, from one list.

They look at what `affidavit metrics` and the service's ``/metrics`` print. A few rules are not
among them, because no metric tells what they ask the database: budgets, security events, plans.
An alert of two levels is two alerts there, told apart by the label ``severity``; the clearing value
is written as a second condition, which counts while the alert fires.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from affidavit.monitor.message import number
from affidavit.monitor.metrics import ALL, METRICS, REQUIRED, Kind, Metric, Over
from affidavit.monitor.prometheus import Names, shown
from affidavit.monitor.rules import Rule

EVERY_S: Final = 30
VISIBLE: Final = "affidavit_monitor_visible"

# -- alerting rules --------------------------------------------------------------------------------


def rule_file(rules: Iterable[Rule], names: Names = "given") -> str:
    """Write the rules as a file for Prometheus' ``rule_files``; ``names`` as metrics are named."""
    wanted = list(rules)
    asked = [rule.name for rule in wanted if rule.metric is None and rule.name != "no_data"]
    lines = [
        "# Made by `affidavit alerts prometheus-rules` from the settings.",
        f"# Told by `affidavit monitor` only: {', '.join(asked)}.",
        "groups:",
        "  - name: affidavit",
        f"    interval: {EVERY_S}s",
        "    rules:",
    ]
    for rule in wanted:
        for level, threshold in rule.thresholds.items():
            expression = condition(rule, level, threshold, names)
            if expression is not None:
                lines += _rule(rule, level, threshold, expression)
    return "\n".join(lines) + "\n"


def alert_name(rule: Rule) -> str:
    """Name an alert as Prometheus' users do."""
    return "Affidavit" + "".join(part.capitalize() for part in rule.name.split("_"))


def condition(rule: Rule, level: str, threshold: float, names: Names = "given") -> str | None:
    """Write when a rule fires; None for one that no metric tells."""
    if rule.name == "no_data":
        known = f"max_over_time({VISIBLE}[1d]) == 1"
        return f"max by (log, part) ({VISIBLE}) == 0 and on (log, part) ({known})"
    value = expression_of(rule, names)
    if value is None:
        return None
    factor = rule.factor / shown(METRICS[rule.metric or ""], names)[1]
    compare = ">=" if rule.at_least else ">"
    above = f"{value} {compare} {_plain(threshold / factor)}"
    if rule.clear >= 1 or threshold == 0:
        return above
    labels = ", ".join(_by(rule))
    fires = f'ALERTS{{alertname="{alert_name(rule)}",severity="{level}",alertstate="firing"}}'
    clears = _plain(threshold * rule.clear / factor)
    return f"({above}) or ({value} {compare} {clears} and on ({labels}) {fires})"


def expression_of(rule: Rule, names: Names = "given") -> str | None:
    """Write a rule's value, in the metric's own unit."""
    if rule.metric is None:
        return None
    metric = METRICS[rule.metric]
    value = shown(metric, names)[0]
    if rule.where:
        value += "{" + ",".join(f"{k}={json.dumps(v)}" for k, v in rule.where.items()) + "}"
    if rule.window_s is not None:
        value = f"increase({value}[{int(rule.window_s)}s])"
    if rule.either_way:
        value = f"abs({value})"
    return f"{metric.over.value} by ({', '.join(_by(rule))}) ({value})"


def _by(rule: Rule) -> list[str]:
    return ["log", *([rule.by] if rule.by else [])]


def _rule(rule: Rule, level: str, threshold: float, expression: str) -> Iterator[str]:
    than = "from" if rule.at_least else "above"
    subject = f" ({{{{ $labels.{rule.by} }}}})" if rule.by and rule.name != "no_data" else ""
    wait_s = threshold if rule.name == "no_data" else rule.for_s
    yield f"      - alert: {alert_name(rule)}"
    yield f"        expr: {json.dumps(expression)}"
    if wait_s:
        yield f"        for: {int(wait_s)}s"
    yield "        labels:"
    yield f"          severity: {level}"
    yield "        annotations:"
    said = f"{rule.title}{subject} of {{{{ $labels.log }}}}: {than} {number(threshold, rule.unit)}"
    yield f"          summary: {json.dumps(said[0].upper() + said[1:], ensure_ascii=False)}"
    yield f"          description: {json.dumps(rule.do, ensure_ascii=False)}"


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 9))


# -- dashboard -------------------------------------------------------------------------------------

_SCHEMA: Final = 39
_WIDTH: Final = 24
_COLUMNS: Final = 4
_HEIGHT: Final = 7
_UNITS: Final = {
    "bytes": "bytes",
    "seconds": "s",
    "milliseconds": "ms",
    "percent": "percent",
    "US dollars": "currencyUSD",
    "GB (1024³ bytes)": "gbytes",
    "MB (1024² bytes) a day": "mbytes",
}
_ROWS: Final[tuple[tuple[str, str], ...]] = (
    ("heartbeats", "What becomes of records"),
    ("sizes", "Size"),
    ("work", "Share of the database's work"),
    ("pool", "Database"),
    ("profiler", "Database"),
    ("clock", "Database"),
    ("sealing", "Proof"),
    ("anchors", "Proof"),
    ("day", "Use"),
    ("monitor", "Monitoring"),
)


def dashboard(rules: Sequence[Rule], names: Names = "given") -> dict[str, Any]:
    """Make a dashboard for Grafana: the five metrics first, then all others by what they tell."""
    limits = {rule.metric: rule for rule in rules if rule.metric is not None}
    panels: list[dict[str, Any]] = []
    width = _WIDTH // _COLUMNS
    for place, name in enumerate(REQUIRED):
        at = {"x": place * 5, "y": 0, "w": min(5, _WIDTH - place * 5), "h": 5}
        panels.append(_panel(METRICS[name], "stat", at, limits.get(name), names))
    y = 5
    titles = list(dict.fromkeys(title for _, title in _ROWS))
    sources = dict(_ROWS)
    for title in titles:
        there = [metric for metric in ALL if sources.get(metric.source) == title]
        if not there:
            continue
        panels.append(
            {
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1},
            }
        )
        y += 1
        for place, metric in enumerate(there):
            line, column = divmod(place, _COLUMNS)
            at = {"x": column * width, "y": y + line * _HEIGHT, "w": width, "h": _HEIGHT}
            panels.append(_panel(metric, "timeseries", at, limits.get(metric.name), names))
        y += _HEIGHT * -(-len(there) // _COLUMNS)
    for number_, panel in enumerate(panels, 1):
        panel["id"] = number_
    return {
        "uid": "affidavit",
        "title": "Affidavit",
        "tags": ["affidavit", "audit"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [_datasource(), _log()]},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(
    metric: Metric, kind: str, at: dict[str, int], rule: Rule | None, spelling: Names
) -> dict[str, Any]:
    shown_name, shown_factor = shown(metric, spelling)
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    colors = {"warning": "orange", "critical": "red"}
    if rule is not None and rule.window_s is None:
        steps += [
            {"color": colors[level], "value": threshold / rule.factor * shown_factor}
            for level, threshold in rule.thresholds.items()
        ]
    wanted = f'{shown_name}{{log=~"$log"}}'
    names = [name for name in metric.labels if name != "writer"]
    if metric.kind is Kind.COUNTER:
        value = f"sum by ({', '.join(names)}) (rate({wanted}[5m]))"
    else:
        over = "sum" if metric.over is Over.SUM else "max"
        value = f"{over} by ({', '.join(names)}) ({wanted})" if names else f"{over}({wanted})"
    legend = " ".join(f"{{{{{name}}}}}" for name in names) or shown_name
    unit = _UNITS.get(metric.unit, "short") if shown_name == metric.name else "bytes"
    return {
        "type": kind,
        "title": shown_name,
        "description": metric.help,
        "gridPos": at,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "targets": [{"refId": "A", "expr": value, "legendFormat": legend}],
        "fieldConfig": {
            "defaults": {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {},
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data"}


def _log() -> dict[str, Any]:
    return {
        "name": "log",
        "type": "query",
        "label": "Log",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": f"label_values({VISIBLE}, log)",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
