"""Baselines: what calls and the database took at one time, and whether that has changed since.

A baseline holds four series of latencies in milliseconds: a call and a database operation inside
it, each with auditing off and on, measured in turns; and the log's metrics at that time. Two series
are compared by the difference of their medians and of their 95th percentiles, with a 95 % interval
from resampling (bootstrap): where 0 lies inside it, no difference is shown.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from affidavit.monitor.metrics import METRICS, SIZE

KIND: Final = "baseline"
"""Kind of the notes that hold baselines."""

SAID: Final[dict[str, str]] = {
    "call_off": "a call, auditing off",
    "call_on": "a call, auditing on",
    "database_off": "a database operation, auditing off",
    "database_on": "a database operation, auditing on",
    "call": "a call",
    "database": "a database operation in it",
}
QUANTILES: Final = (50, 95)
RESAMPLES: Final = 1000
_LEVEL: Final = 0.95
_GIB_IN_MB: Final = 1024


@dataclass(frozen=True, slots=True)
class Baseline:
    """One measurement, as it is kept."""

    at: datetime
    label: str
    package: str
    series: Mapping[str, Sequence[float]]
    """Milliseconds, in the order of measuring."""
    metrics: Mapping[str, float]
    """The log's metrics then, by name."""

    def as_document(self) -> dict[str, Any]:
        """Write it as it is kept; ``at`` is added by the store."""
        document = asdict(self)
        del document["at"]
        document["series"] = {n: [round(x, 4) for x in each] for n, each in self.series.items()}
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Baseline:
        """Read what is kept."""
        return cls(
            at=document["at"],
            label=str(document.get("label", "")),
            package=str(document.get("package", "")),
            series=document["series"],
            metrics=document.get("metrics", {}),
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """How much longer one series takes than another, at one percentile."""

    what: str
    percentile: int
    before_ms: float
    after_ms: float
    low_ms: float
    """The interval holds the true difference in 95 of 100 such measurements."""
    high_ms: float

    @property
    def difference_ms(self) -> float:
        """After minus before."""
        return self.after_ms - self.before_ms

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low_ms > 0 or self.high_ms < 0


def percentile(values: Sequence[float], percent: float) -> float:
    """Give a percentile by nearest rank, as everywhere here; values are not empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered)) - 1))]


def difference(
    what: str, before: Sequence[float], after: Sequence[float], percent: int, seed: int = 0
) -> Difference:
    """Compare two series; the same seed gives the same interval."""
    chance = random.Random(seed)  # noqa: S311 - resampling, not secrets
    found = sorted(
        percentile(chance.choices(after, k=len(after)), percent)
        - percentile(chance.choices(before, k=len(before)), percent)
        for _ in range(RESAMPLES)
    )
    tail = (1 - _LEVEL) / 2
    return Difference(
        what,
        percent,
        percentile(before, percent),
        percentile(after, percent),
        found[int(tail * RESAMPLES)],
        found[int((1 - tail) * RESAMPLES) - 1],
    )


def overhead(baseline: Baseline) -> list[Difference]:
    """Say what auditing costs in one baseline: on against off."""
    return [
        difference(what, baseline.series[f"{what}_off"], baseline.series[f"{what}_on"], percent)
        for what in ("call", "database")
        for percent in QUANTILES
    ]


def change(before: Baseline, after: Baseline) -> list[Difference]:
    """Say what has changed between two baselines, series by series."""
    return [
        difference(name, before.series[name], after.series[name], percent)
        for name in before.series
        for percent in QUANTILES
    ]


def growth_mb_a_week(before: Baseline, after: Baseline) -> float | None:
    """Give the log's growth in 1024² bytes a week; None where a size is not known or no time is."""
    weeks = (after.at - before.at) / timedelta(weeks=1)
    sizes = before.metrics.get(SIZE), after.metrics.get(SIZE)
    if sizes[0] is None or sizes[1] is None or weeks <= 0:
        return None
    return (sizes[1] - sizes[0]) * _GIB_IN_MB / weeks


# -- the report ----------------------------------------------------------------------------------


def report(log: str, newest: Baseline, before: Baseline | None) -> str:
    """Write the report in Markdown: what auditing costs now, and what changed since before."""
    lines = [
        f"# Performance baseline of {log}",
        "",
        f"Measured {newest.at:%Y-%m-%d %H:%M} UTC{_labelled(newest)}, Affidavit {newest.package}.",
        "",
        "## What auditing costs",
        "",
        *_table(overhead(newest), ("off", "on")),
        "",
        *_series(newest),
    ]
    if before is not None:
        growth = growth_mb_a_week(before, newest)
        grown = "not known" if growth is None else f"{growth:.2f} MB (1024² bytes) a week"
        lines += [
            "",
            f"## Since {before.at:%Y-%m-%d %H:%M} UTC{_labelled(before)}",
            "",
            *_table(change(before, newest), ("then", "now")),
            "",
            f"Growth of the log: {grown}.",
        ]
    return "\n".join([*lines, "", "## The log and its database", "", *_metrics(newest, before), ""])


def _labelled(baseline: Baseline) -> str:
    return f" ({baseline.label})" if baseline.label else ""


def _table(found: Sequence[Difference], names: tuple[str, str]) -> list[str]:
    return [
        f"| what | percentile | {names[0]} ms | {names[1]} ms | difference ms | 95 % interval | |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {SAID.get(each.what, each.what)} | {each.percentile} | {each.before_ms:.3f} | "
            f"{each.after_ms:.3f} | {each.difference_ms:+.3f} | {each.low_ms:+.3f} to "
            f"{each.high_ms:+.3f} | {verdict(each)} |"
            for each in found
        ),
    ]


def verdict(found: Difference) -> str:
    """Say in a word or two what a difference shows."""
    if not found.shown:
        return "no difference shown"
    return "slower" if found.low_ms > 0 else "faster"


def _series(baseline: Baseline) -> list[str]:
    counts = {len(each) for each in baseline.series.values()}
    return [f"Each series has {min(counts)} measurements, off and on in turns."]


def _metrics(newest: Baseline, before: Baseline | None) -> list[str]:
    lines = ["| metric | now | then | unit |", "|---|---|---|---|"]
    for name, metric in METRICS.items():
        now, then = newest.metrics.get(name), (before.metrics if before else {}).get(name)
        if now is not None or then is not None:
            lines.append(f"| `{name}` | {_number(now)} | {_number(then)} | {metric.unit} |")
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
