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


def rule_of(document: Mapping[str, Any]) -> Rule | None:
    """Read what a ledger record of a set-up says of retention; None if it says nothing of it."""
    details = document.get("details")
    if not isinstance(details, Mapping) or "ttl_s" not in details:
        return None
    ttl_s = details["ttl_s"]
    if ttl_s is not None and (not isinstance(ttl_s, int) or isinstance(ttl_s, bool)):
        return None
    return Rule(epoch_ms(document["timestamp"]), None if ttl_s is None else int(ttl_s))


def horizon_ms(rules: Iterable[Rule], now_ms: int) -> int | None:
    """Give the newest event time, in ms since 1970, that may be gone by now; None if none may."""
    ordered = sorted(rules, key=lambda rule: rule.since_ms)
    newest: int | None = None
    for at, rule in enumerate(ordered):
        end_ms = ordered[at + 1].since_ms if at + 1 < len(ordered) else now_ms
        if rule.ttl_s is not None:
            last = min(end_ms, now_ms) - rule.ttl_s * 1000
            newest = last if newest is None else max(newest, last)
    return newest
