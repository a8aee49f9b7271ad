"""Reasons that the log's owner gave for what is gone: which were needed, and which to ask about.

Whoever may write to the ledger can give such a reason: records were lost, retention is shorter,
content was to be erased. So each that was needed is told, and one that came after the saved
checkpoint, or cannot be traced to its writer, is *not confirmed*; see ADR 26.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from affidavit.integrity.coverage import Ranges
from affidavit.integrity.findings import Excuse
from affidavit.integrity.places import moment, plain
from affidavit.integrity.retention import (
    Rule,
    deciding,
    horizon_ms,
    is_shorter,
    kept_for,
    only_longer,
)

HOUR_MS: Final = 3_600_000
CLOCK_MS: Final = 300_000
"""How far the clocks of the database and of the verifier may differ."""

UNSEALED: Final = 2**62
"""In place of the leaf of a ledger record that still waits for the sealer."""

MOST: Final = 1000
"""Reasons that are told, the newest."""

_AFTER: Final = "AFTER the saved checkpoint"
_REBUILT: Final = "in a leaf that the sealer made, not the writer: it may be made up"


@dataclass(slots=True)
class Loss:
    """Numbers of one writer of which a ledger record says that they are gone."""

    writer: str
    numbers: Ranges
    by: str
    """Who says so: who took over what it left, or the writer itself."""
    index: int
    time_ms: int
    text: str
    why_not: str = ""
    """Why it is not believed; empty where it is."""
    wanted: int = 0
    """Missing records that it is about, although it is not believed."""


@dataclass(slots=True)
class Expired:
    """When the records were made that are gone by retention, to the hour."""

    hours: Counter[int] = field(default_factory=Counter)
    newest_ms: int = -1

    def add(self, time_ms: int) -> None:
        """Note one."""
        self.hours[time_ms // HOUR_MS] += 1
        self.newest_ms = max(self.newest_ms, time_ms)

    def update(self, other: Expired) -> None:
        """Take over what was seen elsewhere."""
        self.hours.update(other.hours)
        self.newest_ms = max(self.newest_ms, other.newest_ms)

    def beyond(self, horizon: int | None) -> int:
        """Count those that are newer than a horizon; of its own hour, all."""
        if horizon is None:
            return self.hours.total()
        latest = horizon + CLOCK_MS
        if self.newest_ms <= latest:
            return 0
        return sum(count for hour, count in self.hours.items() if (hour + 1) * HOUR_MS > latest)


class Excuses:
    """Gathers reasons as the ledger gives them, and what needed them."""

    def __init__(self) -> None:
        self.rebuilt = Ranges()
        """Leaves that the sealer made from stored records."""
        self._said: dict[tuple[str, int], tuple[str, str]] = {}
        self._needed: Counter[tuple[str, int]] = Counter()

    def say(self, kind: str, index: int, by: str, text: str) -> None:
        """Note a reason: for which count of the report, where in the log, who, and in words."""
        self._said[kind, index] = by, text

    def need(self, kind: str, index: int) -> None:
        """Note that something was believed for this reason."""
        self._needed[kind, index] += 1

    def told(self, saved: int | None) -> list[Excuse]:
        """Give those that were needed; ``saved`` is the size of the saved checkpoint."""
        found = []
        for (kind, index), records in self._needed.items():
            if index < 0:
                continue  # of an earlier verification
            by, text = self._said.get((kind, index), ("", "something"))
            doubt = _AFTER if saved is not None and index >= saved else ""
            if not doubt and kind == "explained" and index in self.rebuilt:
                doubt = _REBUILT
            found.append(Excuse(kind, records, plain(by), index, text, doubt))
        return found


def of_losses(losses: list[Loss]) -> list[Excuse]:
    """Tell of those that are not believed, where something is missing that they speak of."""
    return [
        Excuse("disbelieved", each.wanted, plain(each.by), each.index, each.text,
               f"NOT BELIEVED: {each.why_not}")
        for each in losses
        if each.why_not and each.wanted
    ]  # fmt: skip


def of_retention(
    rules: list[Rule], expired: Expired, now_ms: int, saved: int | None
) -> tuple[list[Excuse], int]:
    """Tell how long records were kept, and each time that this became shorter.

    Also how many are gone only because it became shorter after the saved checkpoint.
    """
    total, decider = expired.hours.total(), deciding(rules, now_ms)
    if not total or decider is None:
        return [], 0
    first = min(rule.leaf_index for rule in rules)
    short = expired.beyond(horizon_ms(only_longer(rules, first + 1), now_ms))
    new = 0 if saved is None else expired.beyond(horizon_ms(only_longer(rules, saved), now_ms))
    found: list[Excuse] = []
    before: Rule | None = None
    for rule in sorted(rules, key=lambda each: each.since_ms):
        if before is not None and rule.ttl_s == before.ttl_s:
            continue
        text, records, shorter = f"records are kept {kept_for(rule.ttl_s)}", 0, False
        if before is not None and is_shorter(rule, before):
            shorter = True
            text += f", shortened on {moment(rule.since_ms)} from {_before(before.ttl_s)}"
            records = short if rule.since_ms == decider[1].since_ms else 0
        elif before is None:
            records = total - short
        doubt = ""
        if new and saved is not None and rule.leaf_index >= saved and (shorter or before is None):
            doubt = _AFTER
        if rule.leaf_index >= 0:
            kind = "shortened" if shorter else "expired"
            found.append(Excuse(kind, records, plain(rule.by), rule.leaf_index, text, doubt))
        before = rule
    return found, new


def _before(ttl_s: int | None) -> str:
    return "no end" if ttl_s is None else kept_for(ttl_s).removeprefix("for ")
