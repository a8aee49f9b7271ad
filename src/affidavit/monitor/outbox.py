"""What is still to be delivered: kept with the alerts' state, tried again, and given up in the end.

An entry is a plain document in the state, so that a change and what is to be told of it are stored
by one write: nothing is told that is not so, and a process that dies tells it after its restart.
Delivery is at least once; the id of a message is the same each time. To one target, messages go in
order: while one waits for its next try, those behind it wait too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from affidavit.monitor.alerts import Event, Level, What
from affidavit.monitor.message import event_id
from affidavit.monitor.notify.base import DeliveryFailed

TRIES: Final = 12
"""So often a message is tried, over about two hours."""

FIRST_WAIT_S: Final = 30.0
LONGEST_WAIT_S: Final = 900.0
MOST: Final = 1000
"""Entries that wait at a time; the oldest are given up beyond."""

LISTED: Final = 20
"""So many alerts of one rule a message names; the others are counted."""

_NEWEST_FIRST: Final = (What.FIRING, What.LEVEL, What.REPEATED, What.RESOLVED)

CHANGE: Final = "change"
NOTICE: Final = "notice"
Entry = dict[str, Any]


@dataclass(slots=True)
class Delivered:
    """What one round of deliveries came to."""

    waiting: list[Entry] = field(default_factory=list)
    sent: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Target and reason of each try that failed."""
    given_up: list[Entry] = field(default_factory=list)
    """Each with ``target`` and ``why``."""


def entry_of(event: Event, kind: str, log: str, targets: Iterable[str], now: datetime) -> Entry:
    """Make the entry of a change or a notice, to be tried at once."""
    return {
        "id": event_id(log, event, kind),
        "kind": kind,
        "what": event.what.value,
        "rule": event.key.rule,
        "subject": event.key.subject,
        "level": event.level.value,
        "value": event.value,
        "silenced": event.silenced,
        "at": event.at,
        "since": event.since,
        "to": [{"target": name, "tries": 0, "next": now} for name in targets],
    }


def grouped(events: Iterable[Event]) -> list[list[Event]]:
    """Put together what is to be told of one rule at one time: it is one message."""
    by_rule: dict[str, list[Event]] = {}
    for event in events:
        by_rule.setdefault(event.key.rule, []).append(event)
    return list(by_rule.values())


def notice_of(events: Sequence[Event], log: str, targets: Iterable[str], now: datetime) -> Entry:
    """Make the entry of a notice about one or more alerts of a rule.

    Several have the level of the worst, and are as new as the newest of them: one that has just
    fired is not told as a repetition of others. The first of them are listed.
    """
    ordered = sorted(events, key=_worst_first)
    made = entry_of(ordered[0], NOTICE, log, targets, now)
    if len(ordered) == 1:
        return made
    each = [
        {
            "subject": event.key.subject,
            "what": event.what.value,
            "level": event.level.value,
            "value": event.value,
            "since": event.since,
        }
        for event in ordered[:LISTED]
    ]
    kinds = {event.what for event in ordered}
    what = next(kind for kind in _NEWEST_FIRST if kind in kinds)
    changed = {"what": what.value, "subject": "", "count": len(ordered), "alerts": each}
    return {**made, **changed}


def _worst_first(event: Event) -> tuple[bool, bool, float, str]:
    ended = event.what is What.RESOLVED
    return (ended, event.level is not Level.CRITICAL, -(event.value or 0.0), event.key.subject)


def wait_s(tries: int) -> float:
    """Give the pause after so many tries: 30 s, 2 min, 8 min, then a quarter of an hour each."""
    return float(min(FIRST_WAIT_S * 4 ** (tries - 1), LONGEST_WAIT_S))


def deliver(
    entries: Iterable[Entry],
    senders: Mapping[str, Callable[[Entry], None]],
    now: datetime,
    *,
    may: Callable[[], bool],
) -> Delivered:
    """Try what is due, oldest first; ``may`` is asked before each try.

    A sender raises DeliveryFailed. A target that is not among the senders is not waited for.
    """
    done = Delivered()
    held: set[str] = set()
    queue = list(entries)
    for entry in queue[: max(0, len(queue) - MOST)]:
        for to in entry["to"]:
            done.given_up.append(_given_up(entry, to, "Too many messages wait."))
    for entry in queue[-MOST:]:
        left = []
        for to in entry["to"]:
            name = to["target"]
            send = senders.get(name)
            if send is None:
                continue
            if name in held or to["next"] > now or not may():
                held.add(name)
                left.append(to)
                continue
            after = _try(entry, to, send, now, done)
            if after is not None:
                held.add(name)
                left.append(after)
        if left:
            done.waiting.append({**entry, "to": left})
    return done


def _try(
    entry: Entry,
    to: Mapping[str, Any],
    send: Callable[[Entry], None],
    now: datetime,
    done: Delivered,
) -> dict[str, Any] | None:
    """Try once; give what to remember where it failed and is worth another try."""
    tries = to["tries"] + 1
    try:
        send(entry)
    except DeliveryFailed as error:
        if error.final or tries >= TRIES:
            done.failed.append((to["target"], f"{error} It is not tried again."))
            done.given_up.append(_given_up(entry, {**to, "tries": tries}, str(error)))
            return None
        done.failed.append((to["target"], f"{error} It is tried again in {wait_s(tries):.0f} s."))
        return {**to, "tries": tries, "next": now + timedelta(seconds=wait_s(tries))}
    done.sent += 1
    return None


def _given_up(entry: Entry, to: Mapping[str, Any], why: str) -> Entry:
    plain = {name: value for name, value in entry.items() if name not in {"to", "kind"}}
    return {**plain, "target": to["target"], "tries": to["tries"], "why": why}
