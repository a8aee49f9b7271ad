"""When an alert fires, resolves and is told: a pure state machine, one step at a time.

An alert is one rule about one subject (an anchor, a user, … or nothing in particular)::

    inactive ──above──▶ pending ──for_s later──▶ firing ──below the clearing value──▶ resolved
        ▲                  │below                   ▲                                     │
        └──────────────────┘                        └───────────── pending ◀────above─────┘

What is told follows from one comparison: what was told last with what is so now. Where they differ
and nothing silences the alert, it is told, once. So there is no second notice without a change; a
silence never loses a resolution, because what was told before it still differs after it; and what
fires and resolves within a silence is never told (the ledger has it).

Times are handed in; nothing here looks at a clock. While a value is not known, nothing fires and
nothing resolves, and the time until firing stands still.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from affidavit.monitor.rules import Rule

GAP: Final = timedelta(minutes=5)
"""Of the time between two looks no more than this counts as time for which a value was above; the
rest is not known."""

MOST_SUBJECTS: Final = 200
"""Alerts of one rule that are followed at a time; the worst ones are."""


class Phase(StrEnum):
    """Where an alert is."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Level(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    CRITICAL = "critical"


class Key(NamedTuple):
    """Which alert."""

    rule: str
    subject: str


@dataclass(frozen=True, slots=True)
class Known:
    """What a rule is about, looked at: a value for each subject, in the threshold's unit.

    A subject that is not named has none: its alert ends.
    """

    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NotKnown:
    """Why a rule's value could not be read."""

    why: str


Observed = Known | NotKnown


@dataclass(frozen=True, slots=True)
class Alert:
    """The state of one alert."""

    key: Key
    phase: Phase = Phase.INACTIVE
    level: Level | None = None
    """While firing."""
    warning_since: datetime | None = None
    critical_since: datetime | None = None
    since: datetime | None = None
    """Since when its value has been above, without a look between at which it was not."""
    changed_at: datetime | None = None
    """When it last fired, resolved or changed its level."""
    value: float | None = None
    """The last one known."""
    seen_at: datetime | None = None
    """When it was last looked at, with or without a value."""
    told: Level | None = None
    """What whoever is notified believes; None: that all is well."""
    told_at: datetime | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing about it need be remembered."""
        return self.phase in {Phase.INACTIVE, Phase.RESOLVED} and self.told is None


class What(StrEnum):
    """What a notice or a change says."""

    FIRING = "firing"
    LEVEL = "level"
    """It goes on at another level."""
    REPEATED = "repeated"
    """It goes on; said again after a while."""
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Event:
    """A change of an alert, or a notice about one: alike in form, told to different readers."""

    what: What
    key: Key
    level: Level
    """Of a resolution: the level it had."""
    at: datetime
    value: float | None
    silenced: bool = False
    since: datetime | None = None
    """Since when the value is above; of a resolution: was."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is told of these alerts until then."""

    rule: str
    """``*`` is every rule."""
    subject: str
    """``*`` is every subject."""
    since: datetime
    until: datetime

    def covers(self, key: Key, at: datetime) -> bool:
        """Whether an alert is silenced at that time."""
        named = self.rule in {"*", key.rule} and self.subject in {"*", key.subject}
        return named and self.since <= at < self.until


@dataclass(frozen=True, slots=True)
class Stepped:
    """What one look at everything came to."""

    alerts: dict[Key, Alert]
    changes: list[Event]
    """For the ledger and the history, silenced or not."""
    notices: list[Event]
    """For people."""


def look(
    rules: Iterable[Rule],
    alerts: Mapping[Key, Alert],
    observed: Mapping[str, Observed],
    silences: Sequence[Silence],
    at: datetime,
    repeat_s: float,
) -> Stepped:
    """Take one step with every alert.

    A rule that is not in ``observed`` was not looked at this time: nothing about it changes, but
    what is due to be told is told. Alerts of rules that are switched off end.
    """
    found = Stepped({}, [], [])
    wanted = {rule.name: rule for rule in rules}
    for rule in wanted.values():
        seen = observed.get(rule.name)
        stepped = []
        for key in _keys(rule, alerts, seen):
            alert = alerts.get(key, Alert(key))
            value = seen.values.get(key.subject) if isinstance(seen, Known) else None
            if isinstance(seen, Known) and value is None:
                value = 0.0
            stepped.append(step(rule, alert, value, at) if seen is not None else (alert, None))
        again_s = _again_s([alert for alert, _ in stepped], silences, at, repeat_s)
        for after, change in stepped:
            _settle(found, after, change, silences, at, again_s)
    for key, alert in alerts.items():
        if key.rule not in wanted:
            after, change = _resolved(alert, at)
            _settle(found, after, change, silences, at, repeat_s)
    return found


def step(rule: Rule, alert: Alert, value: float | None, at: datetime) -> tuple[Alert, Event | None]:
    """Take one step with one alert; ``value`` None is "not known"."""
    at = at if alert.seen_at is None else max(at, alert.seen_at)  # a clock that was set back
    gap = timedelta(0) if alert.seen_at is None else at - alert.seen_at
    unknown = gap if value is None else max(gap - GAP, timedelta(0))
    if unknown:
        alert = replace(
            alert,
            warning_since=_later(alert.warning_since, unknown),
            critical_since=_later(alert.critical_since, unknown),
        )
    if value is None:
        return replace(alert, seen_at=at), None
    above = alert.phase is Phase.FIRING or alert.warning_since is not None
    firing = alert.level if alert.phase is Phase.FIRING else None
    critical = rule.holds(value, rule.critical, held=firing is Level.CRITICAL)
    warning = critical or rule.holds(value, rule.warning, held=firing is not None)
    alert = replace(
        alert,
        value=value,
        seen_at=at,
        since=at if warning and not above else alert.since,
        warning_since=(alert.warning_since or at) if warning else None,
        critical_since=(alert.critical_since or at) if critical else None,
    )
    level = _ripe(rule, alert, at)
    if firing is not None and warning and level is None:
        level = firing  # it was told so already; a new wait would call it resolved
    if level is not None:
        return _fired(alert, level, at)
    if firing is not None:
        return _resolved(alert, at)
    if warning:
        return replace(alert, phase=Phase.PENDING), None
    quiet = Phase.RESOLVED if alert.phase is Phase.RESOLVED else Phase.INACTIVE
    return replace(alert, phase=quiet), None


def ripens_in_s(rules: Mapping[str, Rule], alerts: Iterable[Alert], at: datetime) -> float | None:
    """Give in how many seconds the next alert fires or grows worse if no value changes.

    None where nothing waits for its time.
    """
    waits = [
        rule.for_s - (at - since).total_seconds()
        for alert in alerts
        if (rule := rules.get(alert.key.rule)) is not None
        for level, since in (
            (Level.WARNING, alert.warning_since if rule.warning is not None else None),
            (Level.CRITICAL, alert.critical_since),
        )
        if since is not None and alert.level not in {level, Level.CRITICAL}
    ]
    return min((wait for wait in waits if wait > 0), default=None)


def _later(since: datetime | None, by: timedelta) -> datetime | None:
    return None if since is None else since + by


def _ripe(rule: Rule, alert: Alert, at: datetime) -> Level | None:
    """Give the highest level that has held for long enough."""
    wait = timedelta(seconds=rule.for_s)
    if alert.critical_since is not None and at - alert.critical_since >= wait:
        return Level.CRITICAL
    held = alert.warning_since is not None and at - alert.warning_since >= wait
    return Level.WARNING if held and rule.warning is not None else None


def _fired(alert: Alert, level: Level, at: datetime) -> tuple[Alert, Event | None]:
    if alert.phase is Phase.FIRING and alert.level is level:
        return alert, None
    what = What.LEVEL if alert.phase is Phase.FIRING else What.FIRING
    after = replace(alert, phase=Phase.FIRING, level=level, changed_at=at)
    return after, Event(what, alert.key, level, at, alert.value, since=alert.since)


def _resolved(alert: Alert, at: datetime) -> tuple[Alert, Event | None]:
    level = alert.level
    quiet = {"warning_since": None, "critical_since": None, "level": None}
    if alert.phase is not Phase.FIRING or level is None:
        return replace(alert, phase=Phase.INACTIVE, **quiet), None  # type: ignore[arg-type]
    after = replace(alert, phase=Phase.RESOLVED, changed_at=at, **quiet)  # type: ignore[arg-type]
    return after, Event(What.RESOLVED, alert.key, level, at, alert.value, since=alert.since)


def _settle(
    found: Stepped,
    alert: Alert,
    change: Event | None,
    silences: Sequence[Silence],
    at: datetime,
    repeat_s: float,
) -> None:
    """Note a change, tell what is to be told, and keep what must be remembered."""
    silenced = any(silence.covers(alert.key, at) for silence in silences)
    if change is not None:
        found.changes.append(replace(change, silenced=silenced))
    if not silenced:
        alert, notice = _told(alert, at, repeat_s)
        if notice is not None:
            found.notices.append(notice)
    if not alert.idle:
        found.alerts[alert.key] = alert


def _again_s(
    alerts: Sequence[Alert], silences: Sequence[Silence], at: datetime, repeat_s: float
) -> float:
    """Give after how long the alerts of one rule are told again.

    Where one of them is due, those told half as long ago are said with it: a rule with many alerts
    that began at different times comes to one notice in each interval, not to one for each alert.
    """
    due = any(
        alert.phase is Phase.FIRING
        and alert.told is alert.level
        and alert.told_at is not None
        and (at - alert.told_at).total_seconds() >= repeat_s
        and not any(silence.covers(alert.key, at) for silence in silences)
        for alert in alerts
    )
    return repeat_s / 2 if due and repeat_s > 0 else repeat_s


def _told(alert: Alert, at: datetime, repeat_s: float) -> tuple[Alert, Event | None]:
    level = alert.level if alert.phase is Phase.FIRING else None
    if level is alert.told:
        due = alert.told_at is not None and repeat_s > 0
        if level is None or not due or (at - (alert.told_at or at)).total_seconds() < repeat_s:
            return alert, None
        what = What.REPEATED
    elif level is None:
        what = What.RESOLVED
    else:
        what = What.FIRING if alert.told is None else What.LEVEL
    said = level or alert.told
    if said is None:  # both are None: the first branch has returned
        return alert, None
    notice = Event(what, alert.key, said, at, alert.value, since=alert.since)
    return replace(alert, told=level, told_at=at), notice


def _keys(rule: Rule, alerts: Mapping[Key, Alert], seen: Observed | None) -> list[Key]:
    """Name the alerts of a rule: those remembered, and the worst of those seen now."""
    old = [key for key in alerts if key.rule == rule.name]
    if not isinstance(seen, Known):
        return old
    worst = sorted(seen.values, key=lambda subject: (-seen.values[subject], subject))
    known = set(old)
    new = [key for key in (Key(rule.name, subject) for subject in worst) if key not in known]
    return old + new[: max(0, MOST_SUBJECTS - len(old))]


# -- as documents ----------------------------------------------------------------------------------

_TIMES: Final = ("warning_since", "critical_since", "changed_at", "seen_at", "told_at")


def as_document(alert: Alert) -> dict[str, Any]:
    """Write an alert as it is stored: times stay times."""
    return {
        "rule": alert.key.rule,
        "subject": alert.key.subject,
        "phase": alert.phase.value,
        "level": None if alert.level is None else alert.level.value,
        "value": alert.value,
        "told": None if alert.told is None else alert.told.value,
        "since": alert.since,
        **{name: getattr(alert, name) for name in _TIMES},
    }


def from_document(document: Mapping[str, Any]) -> Alert:
    """Read a stored alert. Raises ValueError or KeyError for what is none."""
    level, told = document["level"], document["told"]
    return Alert(
        Key(str(document["rule"]), str(document["subject"])),
        phase=Phase(document["phase"]),
        level=None if level is None else Level(level),
        value=document["value"],
        told=None if told is None else Level(told),
        since=document.get("since"),  # an older version kept none
        **{name: document[name] for name in _TIMES},
    )
