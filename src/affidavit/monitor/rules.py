"""The rules of alerts: which metric, which threshold, for how long, and what to do then.

The document's thresholds and alerts, and what else can go wrong with an audit log. The same rules
drive `affidavit monitor`, the generated rules for Prometheus and the dashboard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from affidavit._monitor_settings import DAYS_A_MONTH, Threshold, read_thresholds
from affidavit.config import AuditConfig
from affidavit.monitor import metrics

HOUR_S: Final = 3600.0
SOON_S: Final = 300.0
CLEAR: Final = 0.9
"""An alert ends where its value is at 90 % of the threshold, so that it does not flutter."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, with its thresholds in force."""

    name: str
    title: str
    """What is said of the value, in a few words."""
    unit: str
    """Of value and thresholds."""
    do: str
    """What to do when it fires, in a sentence."""
    metric: str | None = None
    """Its name in :data:`affidavit.monitor.metrics.METRICS`; None where the database is asked."""
    factor: float = 1.0
    """A metric's value times this is the rule's value."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Only values of the metric with these labels."""
    by: str | None = None
    """One alert for each value of this label; None: one for all."""
    window_s: float | None = None
    """The value is how much a counter grew within so many seconds; None: it is the metric's own."""
    from_zero: bool = False
    """Whether what a counter held before anybody looked counts as growth."""
    either_way: bool = False
    """Whether a value below 0 is as bad as one above."""
    at_least: bool = False
    """Whether the threshold itself is too much already."""
    clear: float = CLEAR
    personal: bool = False
    """Whether its subjects are people."""
    warning: float | None = None
    critical: float | None = None
    for_s: float = 0.0

    def holds(self, value: float, threshold: float | None, *, held: bool) -> bool:
        """Whether a value is above a threshold; one that ``held`` ends at the clearing value."""
        if threshold is None:
            return False
        limit = threshold * self.clear if held else threshold
        return value >= limit if self.at_least else value > limit

    @property
    def thresholds(self) -> dict[str, float]:
        """The levels it has, by name."""
        levels = {"warning": self.warning, "critical": self.critical}
        return {name: value for name, value in levels.items() if value is not None}


_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "daily_requests",
        "calls in the last 24 hours",
        "calls",
        "From here on the design asks for a database of the log's own: "
        "docs/how-to/separate-database.md.",
        metric="affidavit_requests_last_day",
    ),
    Rule(
        "audit_collection_size",
        "disk that the log takes",
        "bytes",
        "Look at retention (`affidavit config`, ttl_days) and at `affidavit metrics`.",
        metric=metrics.SIZE,
        factor=metrics.GIB,
    ),
    Rule(
        "write_latency_p95",
        "95th percentile of write latency",
        "ms",
        "Look at the database's load; batch_writes takes it out of the caller's way.",
        metric=metrics.LATENCY,
        clear=0.8,
    ),
    Rule(
        "storage_growth_rate",
        "growth of the log in 30 days",
        "bytes",
        "Look at retention, and at who writes how much: `affidavit stats --by user`.",
        metric=metrics.GROWTH,
        factor=metrics.MIB * DAYS_A_MONTH,
    ),
    Rule(
        "slow_writes",
        "writes over slow_query_threshold in five minutes, as the applications timed them",
        "writes",
        "Look at the database's load and the network between.",
        metric="affidavit_slow_writes_total",
        window_s=SOON_S,
    ),
    Rule(
        "slow_operations",
        "operations on the log over slow_query_threshold in five minutes, by the profiler",
        "operations",
        "See which questions they are with `affidavit store indexes`.",
        metric="affidavit_slow_operations",
    ),
    Rule(
        "pool_use",
        "connections in use",
        "%",
        "Raise maxPoolSize of the client that is passed in, or the server's limit.",
        metric="affidavit_pool_use_percentage",
        by="scope",
    ),
    Rule(
        "query_plans",
        "a question of the read side scans, goes by another index, or looks at too much",
        "plans",
        "`affidavit store indexes` says what helps; `--accept` there takes new plans for right.",
        by="shape",
    ),
    Rule(
        "records_spooled",
        "age of the oldest record that waits on a disk",
        "s",
        "The database does not take records: `affidavit doctor`; docs/how-to/outages.md.",
        metric="affidavit_spool_oldest_age_seconds",
    ),
    Rule(
        "records_lost",
        "records lost within an hour",
        "records",
        "The ledger says which writer, when and why: docs/how-to/outages.md.",
        metric="affidavit_records_lost_total",
        window_s=HOUR_S,
        from_zero=True,
    ),
    Rule(
        "dead_letters",
        "records that the database refused",
        "records",
        "`affidavit dead-letters list` says why; `retry` sends them again.",
        metric="affidavit_records_dead_lettered",
    ),
    Rule(
        "writers_silent",
        "writers silent for over a minute without having stopped",
        "writers",
        "`affidavit status` names them; a killed process leaves its records in its spool.",
        metric="affidavit_writers_silent",
    ),
    Rule(
        "sealer_stopped",
        "time since a sealer was seen",
        "s",
        "Start `affidavit seal`; docs/how-to/sealing.md.",
        metric="affidavit_sealer_age_seconds",
    ),
    Rule(
        "anchor_age",
        "age of the newest receipt, in intervals of anchor_every_s",
        "intervals",
        "`affidavit status` says why the anchor failed; docs/how-to/anchors.md.",
        metric="affidavit_anchor_age_seconds",
        by="anchor",
    ),
    Rule(
        "anchor_failing",
        "anchors whose last try failed, or whose receipts are wrong",
        "anchors",
        "`affidavit status` says why the anchor failed; docs/how-to/anchors.md.",
        metric="affidavit_anchor_failing",
        by="anchor",
    ),
    Rule(
        "verification_failed",
        "verifications within a day that found something",
        "verifications",
        "Run `affidavit verify`: it names the first bad record and what was done to it.",
    ),
    Rule(
        "clock_offset",
        "difference between the database's clock and this machine's",
        "s",
        "Keep clocks in step with NTP.",
        metric="affidavit_clock_offset_seconds",
        either_way=True,
        clear=0.8,
    ),
    Rule(
        "budget_user",
        "share of a user's budget of this month",
        "%",
        "See the calls with `affidavit search --user`.",
        by="user",
        personal=True,
        at_least=True,
        clear=1.0,
    ),
    Rule(
        "budget_department",
        "share of a department's budget of this month",
        "%",
        "See the sums with `affidavit stats --by department`.",
        by="department",
        at_least=True,
        clear=1.0,
    ),
    Rule(
        "security_events",
        "security events of high severity in an hour",
        "events",
        "See them with `affidavit search --event-type security_event --since 1h`.",
        by="kind",
    ),
    Rule(
        "store_unreachable",
        "time since the database last answered the monitor",
        "s",
        "Records wait in the spools meanwhile; `affidavit doctor` looks closer.",
        by="host",
    ),
    Rule(
        "no_data",
        "time for which a rule's value could not be read",
        "s",
        "`affidavit alerts list` says why; `affidavit doctor` names rights that are missing.",
        by="rule",
    ),
)


def rules_of(config: AuditConfig) -> tuple[Rule, ...]:
    """Give the rules in force: the thresholds of the settings, without those that are off.

    Raises ConfigError.
    """
    found = read_thresholds(config.monitoring_thresholds)
    made = (_with(rule, found[rule.name], config) for rule in _RULES)
    return tuple(rule for rule in made if rule.thresholds and not found[rule.name].off)


def _with(rule: Rule, held: Threshold, config: AuditConfig) -> Rule:
    factor = 1 / config.anchor_every_s if rule.name == "anchor_age" else rule.factor
    return replace(
        rule, warning=held.warning, critical=held.critical, for_s=held.for_s, factor=factor
    )
