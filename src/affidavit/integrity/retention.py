"""Whether a record that is gone was allowed to go: retention as the ledger tells it.

A record may expire when its age reaches the retention in force at that moment. Retention changes,
and each change is a ledger record; so for each period between two changes there is a newest event
time that could expire in it, and the newest of them all is the *horizon*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from affidavit.canonical.values import epoch_ms


class Rule(NamedTuple):
    """From ``since_ms`` on, records were kept for ``ttl_s`` seconds; None: without an end."""

    since_ms: int
    ttl_s: int | None
    leaf_index: int = -1
    """Where in the log it was said; -1: believed from an earlier verification."""
    by: str = ""
    """Who said it."""


def rule_of(document: Mapping[str, Any], index: int = -1) -> Rule | None:
    """Read what a ledger record of a set-up says of retention; None if it says nothing of it."""
    details = document.get("details")
    if not isinstance(details, Mapping) or "ttl_s" not in details:
        return None
    ttl_s = details["ttl_s"]
    if ttl_s is not None and (not isinstance(ttl_s, int) or isinstance(ttl_s, bool)):
        return None
    since_ms = epoch_ms(document["timestamp"])
    return Rule(since_ms, None if ttl_s is None else int(ttl_s), index, str(document.get("writer")))


def horizon_ms(rules: Iterable[Rule], now_ms: int) -> int | None:
    """Give the newest event time, in ms since 1970, that may be gone by now; None if none may."""
    found = deciding(rules, now_ms)
    return None if found is None else found[0]


def deciding(rules: Iterable[Rule], now_ms: int) -> tuple[int, Rule] | None:
    """Give the horizon, and the rule that put it there; None where nothing may be gone."""
    ordered = sorted(rules, key=_since)
    newest: tuple[int, Rule] | None = None
    for at, rule in enumerate(ordered):
        end_ms = ordered[at + 1].since_ms if at + 1 < len(ordered) else now_ms
        if rule.ttl_s is not None:
            last = min(end_ms, now_ms) - rule.ttl_s * 1000
            if newest is None or last > newest[0]:
                newest = last, rule
    return newest


def only_longer(rules: Iterable[Rule], size: int) -> list[Rule]:
    """Give the rules as if, from the leaf ``size`` on, retention could only become longer.

    What may be gone by these needs no rule that came later and allowed more.
    """
    found: list[Rule] = []
    for rule in sorted(rules, key=_since):
        if rule.leaf_index >= size:
            before = found[-1].ttl_s if found else None
            if before is None or (rule.ttl_s is not None and rule.ttl_s < before):
                found.append(rule._replace(ttl_s=before))
                continue
        found.append(rule)
    return found


def is_shorter(rule: Rule, before: Rule | None) -> bool:
    """Whether a rule allows more to be gone than the one before it."""
    if before is None or rule.ttl_s is None:
        return False
    return before.ttl_s is None or rule.ttl_s < before.ttl_s


def kept_for(ttl_s: int | None) -> str:
    """Say how long records are kept."""
    if ttl_s is None:
        return "without an end"
    days, rest = divmod(ttl_s, 86_400)
    if rest or not days:
        return f"for {ttl_s:,} s"
    return f"for {days:,} days" if days > 1 else "for a day"


def _since(rule: Rule) -> int:
    return rule.since_ms
