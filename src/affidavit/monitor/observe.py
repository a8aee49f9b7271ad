"""From a sample to what the rules look at: pure, with what has to be remembered handed in and out.

Most rules look at a metric's value. Some look at how much a counter grew within a while; counters
begin again with each process, so growth is added up by what their labels name. And a part of the
reading that was known once and is not any more is an alert of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from affidavit.monitor.alerts import Known, NotKnown, Observed
from affidavit.monitor.rules import Rule
from affidavit.monitor.sample import Sample, Value


@dataclass(slots=True)
class Memory:
    """What is remembered between two looks, beside the alerts."""

    counters: dict[str, dict[str, float]] = field(default_factory=dict)
    """By rule: the last value of each labelled counter."""
    grown: dict[str, list[tuple[datetime, float]]] = field(default_factory=dict)
    """By rule: when its counters grew, and by how much."""
    seen: dict[str, datetime] = field(default_factory=dict)
    """By part of the reading: when it was last known."""
    missing: list[str] = field(default_factory=list)
    """The parts that were not known when they were last asked for."""

    def as_document(self) -> dict[str, Any]:
        """Write it as it is stored: names of counters hold what no field's name may."""
        return {
            "counters": {r: [[k, v] for k, v in each.items()] for r, each in self.counters.items()},
            "grown": {r: [[at, by] for at, by in each] for r, each in self.grown.items()},
            "seen": dict(self.seen),
            "missing": list(self.missing),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Memory:
        """Read what is stored; what is missing begins anew."""
        counters, grown = document.get("counters", {}), document.get("grown", {})
        return cls(
            {rule: {str(k): float(v) for k, v in each} for rule, each in counters.items()},
            {rule: [(at, float(by)) for at, by in each] for rule, each in grown.items()},
            dict(document.get("seen", {})),
            list(document.get("missing", ())),
        )


def observe(rules: Iterable[Rule], sample: Sample, memory: Memory) -> dict[str, Observed]:
    """Give what each rule on a metric sees; ``memory`` is brought up to date."""
    found: dict[str, Observed] = {}
    for rule in rules:
        if rule.metric is None:
            continue
        values = sample.values.get(rule.metric)
        if values is None:
            quiet = rule.metric in sample.quiet
            found[rule.name] = Known({}) if quiet else NotKnown(sample.why(rule.metric))
        elif rule.window_s is None:
            found[rule.name] = Known(_levels(rule, sample, values))
        else:
            grown = _growth(rule, rule.window_s, sample.at, values, memory)
            found[rule.name] = Known({"": grown})
    return found


def unseen(parts: Mapping[str, bool], at: datetime, memory: Memory) -> Observed:
    """Give for how long each part that was known once has not been, in seconds.

    ``parts`` are those that were asked for now; some are asked for less often than others.
    """
    missing = [part for part in memory.missing if part not in parts]
    for part, known in parts.items():
        if known:
            memory.seen[part] = at
        else:
            missing.append(part)
    memory.missing = missing
    return Known({p: (at - memory.seen[p]).total_seconds() for p in missing if p in memory.seen})


def _levels(rule: Rule, sample: Sample, values: Iterable[Value]) -> dict[str, float]:
    if rule.by is None:
        one = sample.one(rule.metric or "")
        return {"": _in_unit(rule, one if one is not None else 0.0)}
    found: dict[str, float] = {}
    for value in values:
        subject = dict(value.labels).get(rule.by, "")
        found[subject] = max(_in_unit(rule, value.value), found.get(subject, float("-inf")))
    return found


def _in_unit(rule: Rule, value: float) -> float:
    return (abs(value) if rule.either_way else value) * rule.factor


def _growth(
    rule: Rule, window_s: float, at: datetime, values: Iterable[Value], memory: Memory
) -> float:
    first = rule.name not in memory.counters
    before = memory.counters.get(rule.name, {})
    now = {repr(value.labels): value.value for value in values if value.value}
    more = 0.0
    for name, count in now.items():
        # A counter that nobody has looked at before began at 0, unless everything is looked at for
        # the first time: then it may be days old, and only what must not be missed counts.
        base = before.get(name, count if first and not rule.from_zero else 0.0)
        more += count - base if count >= base else count
    memory.counters[rule.name] = now
    since = at - timedelta(seconds=window_s)
    grown = [(when, by) for when, by in memory.grown.get(rule.name, []) if when > since]
    if more > 0:
        grown.append((at, more))
    memory.grown[rule.name] = grown
    return sum(by for _, by in grown) * rule.factor
