"""Monitoring as long as it is wanted: look, decide, keep, tell.

Of several processes one acts at a time; the others stand by and take over when it is gone. While
the database does not answer nothing can be kept, and so only one alert is possible, that one: each
process tells it from memory for its own host, since the one that acted may be gone as well, and
writes it down when the database is back. How long it has been away is counted from its last answer,
so between two looks it is asked every few seconds for something small: what is silenced.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from affidavit.errors import AffidavitError, StoreError, StoreRefused
from affidavit.event import LedgerEvent
from affidavit.monitor import outbox
from affidavit.monitor.alerts import (
    Alert,
    Event,
    Key,
    Known,
    NotKnown,
    Observed,
    Phase,
    Silence,
    Stepped,
    What,
    as_document,
    from_document,
    look,
    ripens_in_s,
)
from affidavit.monitor.asked import Question
from affidavit.monitor.message import message_of
from affidavit.monitor.notify.base import DeliveryFailed, Target
from affidavit.monitor.observe import Memory, observe, unseen
from affidavit.monitor.rules import Rule
from affidavit.monitor.sample import Sample
from affidavit.store.alerting import AlertStore, Held

logger: Final = logging.getLogger("affidavit")

HISTORY_FOR: Final = timedelta(days=90)
PRUNE_EVERY: Final = timedelta(hours=1)
ASK_REFUSED_AGAIN_S: Final = 300.0

PROBE_EVERY_S: Final = 5.0
"""Between two looks the database is asked so often whether it answers."""

PROBE_S: Final = 2.0
"""So long it may take to answer that; and while it does not, it is asked again after so long."""

LEAST_PAUSE_S: Final = 1.0

MOST_UNASKED: Final = timedelta(seconds=30)
"""Of the time before a question that was not answered no more than this counts as without one."""

_LEDGER: Final = "ledger"
_HISTORY: Final = "history"
_AWAY: Final = "store_unreachable"
_BLIND: Final = "no_data"


class Sampler(Protocol):
    """Takes samples, and keeps them."""

    def take(self) -> Sample | None:
        """Read the log's state; None where the database does not answer."""

    def keep(self, sample: Sample) -> None:
        """Add a sample to the history of metrics. Raises StoreError."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look came to."""

    acting: bool
    """False: another process acts."""
    reached: bool
    """Whether the database answered."""
    notices: Sequence[Event] = ()
    changes: Sequence[Event] = ()
    delivered: outbox.Delivered = field(default_factory=outbox.Delivered)
    sample: Sample | None = None
    why: str = ""
    """Why the database was not reached."""
    by: str = ""
    """Who acts, where another process does."""


@dataclass(slots=True)
class _State:
    """What is kept in the store between two looks."""

    alerts: dict[Key, Alert]
    memory: Memory
    due: list[outbox.Entry]
    unknown: dict[str, str] = field(default_factory=dict)
    """By rule, why its value could not be read; for people."""
    values: dict[str, float] = field(default_factory=dict)
    """By rule, the worst value seen last; for people."""
    due_at: dict[str, datetime] = field(default_factory=dict)
    """By rule, when its question is to be asked again."""
    looked_at: datetime | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> _State:
        """Read what is stored; what cannot be read begins anew, and is said."""
        try:
            alerts = [from_document(each) for each in document.get("alerts", ())]
            return cls(
                {each.key: each for each in alerts},
                Memory.from_document(document.get("memory", {})),
                list(document.get("due", ())),
                unknown=dict(document.get("unknown", {})),
                values=dict(document.get("values", {})),
                due_at=dict(document.get("due_at", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            logger.exception("affidavit: the state of alerts cannot be read; it begins anew.")
            return cls({}, Memory(), [])

    def as_document(self) -> dict[str, Any]:
        return {
            "alerts": [as_document(alert) for alert in self.alerts.values()],
            "memory": self.memory.as_document(),
            "due": self.due,
            "unknown": self.unknown,
            "values": self.values,
            "due_at": self.due_at,
            "looked_at": self.looked_at,
        }


@dataclass(frozen=True, slots=True)
class Post:
    """Who watches what, how often, and by which clocks."""

    log: str
    """A short name of the log, for people."""
    holder: str
    """Names this process, and no other."""
    host: str
    every_s: float = 30.0
    repeat_s: float = 0.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock_s: Callable[[], float] = time.monotonic


class Monitor:
    """Watches one log. For one thread."""

    def __init__(
        self,
        store: AlertStore,
        sampler: Sampler,
        rules: Sequence[Rule],
        targets: Iterable[Target],
        questions: Iterable[Question],
        post: Post,
    ) -> None:
        self._store = store
        self._sampler = sampler
        self._rules = {rule.name: rule for rule in rules}
        self._targets = {target.name: target for target in targets}
        self._questions = tuple(questions)
        self._post = post
        self._log = post.log
        self._now, self._clock_s = post.now, post.clock_s
        self._lease_s = 2 * post.every_s + 10.0
        self._lease_until_s = float("-inf")
        self._fence: int | None = None
        self._pruned_at: datetime | None = None
        self._silences: list[Silence] = []
        self._answered_at: datetime | None = None
        self._away_since: datetime | None = None
        self._look_at_s = float("-inf")
        self._away: dict[Key, Alert] = {}
        self._away_due: list[outbox.Entry] = []
        self._away_noted: list[Event] = []
        self._acted = True
        self._senders: dict[str, Callable[[outbox.Entry], None]] = {
            name: self._sender(target) for name, target in self._targets.items()
        }

    def tick(self) -> Looked | None:
        """Do what is due: look, or ask what is silenced, which says whether the database answers.

        Gives None where it does and no look was due. Call it again after :meth:`wait_s`. Raises
        StoreRefused where a right is missing.
        """
        away = self._away_since is not None
        if not away and self._clock_s() >= self._look_at_s:
            try:
                return self.step()
            finally:
                self._look_at_s = max(self._look_at_s, self._clock_s() + LEAST_PAUSE_S)
        asked_at = self._now()
        try:
            self._read_silences(PROBE_S)
        except StoreError as error:
            return self._alone(str(error), asked_at)
        self._answered_at = self._now()
        return self.step() if away else None

    def wait_s(self) -> float:
        """Give how long to wait before the next :meth:`tick`: a few seconds at most."""
        if self._away_since is not None:
            return PROBE_S
        left_s = self._look_at_s - self._clock_s()
        return min(max(left_s, 0.0), PROBE_EVERY_S)

    def step(self) -> Looked:
        """Look once, and do what is to be done. Raises StoreRefused where a right is missing."""
        began_s, asked_at = self._clock_s(), self._now()
        why = "It answers nothing that is asked of it."
        self._look_at_s = began_s + self._post.every_s
        try:
            held = self._store.take(self._post.holder, self._lease_s)
            if held is None:
                self._acted, self._fence = False, None
                by = self._store.peek()[1] or ""
                self._read_silences()
                return Looked(acting=False, reached=True, changes=self._returned(), by=by)
            self._lease_until_s = began_s + self._lease_s
            self._acted, self._fence = True, held.fence
            sample = self._sampler.take()
            if sample is not None:
                returned = self._returned()
                done = self._act(held, sample)
                return replace(done, changes=[*returned, *done.changes])
        except StoreRefused:
            raise
        except StoreError as error:
            why = str(error)
        return self._alone(why, asked_at)

    def close(self) -> None:
        """Let another act at once."""
        if self._fence is not None:
            with contextlib.suppress(StoreError):
                self._store.release(self._post.holder, self._fence)
            self._fence = None

    # -- with the database -----------------------------------------------------------------------

    def _act(self, held: Held, sample: Sample) -> Looked:
        at = self._now()
        state = _State.read(held.state)
        self._read_silences()
        observed = self._observed(sample, at, state)
        rules = [rule for rule in self._rules.values() if rule.name != _AWAY]
        done = look(rules, state.alerts, observed, self._silences, at, self._post.repeat_s)
        for name, seen in observed.items():
            why = seen.why if isinstance(seen, NotKnown) else self._quiet(name, sample)
            (state.unknown if why is None else state.values).pop(name, None)
            if why is not None:
                state.unknown[name] = why
            elif isinstance(seen, Known):
                state.values[name] = max(seen.values.values(), default=0.0)
        due = state.due + self._entries(done, at)
        after = replace(state, alerts=done.alerts, due=due, looked_at=at)
        if not self._save(after):
            return Looked(acting=False, reached=True)
        delivered = outbox.deliver(due, self._all_senders(), at, may=self._holds)
        for given_up in delivered.given_up:
            self._remember_given_up(given_up, at)
        if delivered.waiting != due:
            self._save(replace(after, due=delivered.waiting))
        self._plan(after, delivered.waiting, at)
        self._sampler.keep(sample)
        self._prune(at)
        return Looked(
            acting=True,
            reached=True,
            notices=done.notices,
            changes=done.changes,
            delivered=delivered,
            sample=sample,
        )

    def _read_silences(self, within_s: float | None = None) -> None:
        """Read what is silenced; also who stands by has to know it when the database goes away."""
        self._silences = [
            Silence(each.rule, each.subject, each.since, each.until)
            for each in self._store.silences(self._now(), within_s)
        ]

    def _quiet(self, name: str, sample: Sample) -> str | None:
        """Say why there is nothing to be judged by a rule, where that is so."""
        metric = self._rules[name].metric
        return sample.why(metric) if metric is not None and metric in sample.quiet else None

    def _plan(self, state: _State, waiting: Iterable[outbox.Entry], at: datetime) -> None:
        """Look sooner where an alert's time comes, or a delivery is to be tried again, before."""
        known = {name: rule for name, rule in self._rules.items() if name not in state.unknown}
        waits = [(to["next"] - at).total_seconds() for entry in waiting for to in entry["to"]]
        ripens_s = ripens_in_s(known, state.alerts.values(), at)
        if ripens_s is not None:
            waits.append(ripens_s)
        soonest_s = min((wait_s for wait_s in waits if wait_s > 0), default=None)
        if soonest_s is not None:
            pause_s = max(LEAST_PAUSE_S, soonest_s)
            self._look_at_s = min(self._look_at_s, self._clock_s() + pause_s)

    def _observed(self, sample: Sample, at: datetime, state: _State) -> dict[str, Observed]:
        found = observe(self._rules.values(), sample, state.memory)
        visible = sample.values.get("affidavit_monitor_visible", ())
        parts = {dict(each.labels)["part"]: bool(each.value) for each in visible}
        for question in self._questions:
            due_at = state.due_at.get(question.rule, at)
            if at < due_at <= at + timedelta(seconds=question.every_s + ASK_REFUSED_AGAIN_S):
                continue  # beyond that the clock was set back since
            answer = _answer(question, at)
            refused = isinstance(answer, NotKnown)
            pause_s = ASK_REFUSED_AGAIN_S if refused else question.every_s
            state.due_at[question.rule] = at + timedelta(seconds=pause_s)
            found[question.rule] = answer
            parts[question.rule] = not refused
        if _BLIND in self._rules:
            found[_BLIND] = unseen(parts, at, state.memory)
        return found

    def _entries(self, done: Stepped, at: datetime) -> list[outbox.Entry]:
        changes = [
            outbox.entry_of(each, outbox.CHANGE, self._log, (_LEDGER, _HISTORY), at)
            for each in done.changes
        ]
        return changes + self._notices(done, at)

    def _notices(self, done: Stepped, at: datetime) -> list[outbox.Entry]:
        return [
            outbox.notice_of(events, self._log, self._targets, at)
            for events in outbox.grouped(done.notices)
        ]

    def _save(self, state: _State) -> bool:
        if self._fence is None:
            return False
        asked_s = self._clock_s()
        kept = self._store.save(self._post.holder, self._fence, state.as_document(), self._lease_s)
        if kept:
            self._lease_until_s = asked_s + self._lease_s
        else:
            self._acted, self._fence = False, None
        return kept

    def _holds(self) -> bool:
        """Whether nobody else can be acting by now."""
        return self._fence is not None and self._clock_s() < self._lease_until_s

    def _all_senders(self) -> dict[str, Callable[[outbox.Entry], None]]:
        return {
            **self._senders,
            _LEDGER: _stored(self._note),
            _HISTORY: _stored(lambda entry: self._remember(entry, entry["at"])),
        }

    def _sender(self, target: Target) -> Callable[[outbox.Entry], None]:
        return lambda entry: target.send(message_of(entry, self._rules, self._log))

    def _note(self, entry: Mapping[str, Any]) -> None:
        ended = entry["what"] == What.RESOLVED.value
        rule = self._rules.get(entry["rule"])
        personal = rule is not None and rule.personal
        details = {
            "change": entry["id"],
            "rule": entry["rule"],
            # The ledger never expires, and who it is stands in the history, which does.
            "subject": "[withheld]" if personal else entry["subject"],
            "what": entry["what"],
            "level": entry["level"],
            "value": entry["value"],
            "threshold": None if rule is None else rule.thresholds.get(entry["level"]),
            "at": entry["at"],
            "silenced": entry["silenced"],
        }
        event = LedgerEvent.ALERT_RESOLVED if ended else LedgerEvent.ALERT_FIRING
        self._store.note(event, details, entry["at"])

    def _remember(self, entry: Mapping[str, Any], at: datetime) -> None:
        plain = {n: v for n, v in entry.items() if n not in {"to", "kind", "at", "id"}}
        self._store.remember(entry["id"], at, plain)

    def _remember_given_up(self, entry: outbox.Entry, at: datetime) -> None:
        logger.error(
            "affidavit: a notice of %s was not delivered to %s after %s tries: %s",
            entry["rule"], entry["target"], entry["tries"], entry["why"],
        )  # fmt: skip
        told = {**entry, "what": "undelivered", "was": entry["what"]}
        with contextlib.suppress(StoreError):
            self._remember({**told, "id": f"{entry['id']}:{entry['target']}"}, at)

    def _prune(self, at: datetime) -> None:
        if self._pruned_at is None or at - self._pruned_at >= PRUNE_EVERY:
            self._store.forget(at - HISTORY_FOR)
            self._pruned_at = at

    # -- without ---------------------------------------------------------------------------------

    def _alone(self, why: str, asked_at: datetime) -> Looked:
        """Decide whether the database has been away for long enough, and tell it from memory."""
        at = self._now()
        if self._away_since is None:
            # A process that stood still itself has not asked, and knows of no silence.
            earliest = asked_at - MOST_UNASKED
            self._away_since = max(self._answered_at or asked_at, earliest)
            self._begin_away(self._away_since)
        away_s = max(1.0, (at - self._away_since).total_seconds())
        done = self._about_away(Known({self._post.host: away_s}), at)
        delivered = self._tell_away(done, at)
        return Looked(
            acting=self._acted,
            reached=False,
            notices=done.notices,
            changes=done.changes,
            delivered=delivered,
            why=why,
        )

    def _begin_away(self, since: datetime) -> None:
        """Let the alert's time run from the last answer, and not from the first look without."""
        rule, key = self._rules.get(_AWAY), Key(_AWAY, self._post.host)
        if rule is None or key in self._away:
            return
        lowest = min(rule.thresholds.values())
        critical = None if rule.critical is None else since + timedelta(seconds=rule.critical)
        self._away[key] = Alert(
            key,
            phase=Phase.PENDING,
            warning_since=since + timedelta(seconds=lowest),
            critical_since=critical,
            since=since,
            seen_at=since,
        )

    def _returned(self) -> Sequence[Event]:
        """The database answers: end the alert, and write down what could not be."""
        self._answered_at = self._now()
        if self._away_since is None and not self._away and not self._away_due:
            return ()
        at = self._now()
        self._away_since = None
        done = self._about_away(Known({}), at)
        self._tell_away(done, at)
        noted, self._away_noted = self._away_noted, []
        for event in noted:
            entry = outbox.entry_of(event, outbox.CHANGE, self._log, (), event.at)
            try:
                self._note(entry)
                self._remember(entry, entry["at"])
            except StoreError:
                self._away_noted.append(event)
        return done.changes

    def _about_away(self, seen: Observed, at: datetime) -> Stepped:
        rules = [rule for rule in self._rules.values() if rule.name == _AWAY]
        done = look(rules, self._away, {_AWAY: seen}, self._silences, at, self._post.repeat_s)
        self._away = done.alerts
        self._away_noted += done.changes
        return done

    def _tell_away(self, done: Stepped, at: datetime) -> outbox.Delivered:
        # A process that stood by tells too: the one that acted may have gone with the database.
        self._away_due += self._notices(done, at)
        delivered = outbox.deliver(self._away_due, self._senders, at, may=lambda: True)
        self._away_due = delivered.waiting
        return delivered


def _answer(question: Question, at: datetime) -> Observed:
    try:
        return Known(question.ask(at))
    except AffidavitError as error:
        return NotKnown(str(error))


def _stored(write: Callable[[outbox.Entry], None]) -> Callable[[outbox.Entry], None]:
    """Make a writer into the store a sender: what fails is tried again, for as long as others."""

    def send(entry: outbox.Entry) -> None:
        try:
            write(entry)
        except StoreError as error:
            raise DeliveryFailed(str(error)) from error

    return send
