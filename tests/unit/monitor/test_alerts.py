"""The state machine of alerts: when they fire, resolve and are told, on a simulated clock."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.monitor.alerts import (
    GAP,
    MOST_SUBJECTS,
    Alert,
    Event,
    Key,
    Known,
    Level,
    NotKnown,
    Observed,
    Phase,
    Silence,
    What,
    as_document,
    from_document,
    look,
    ripens_in_s,
)
from affidavit.monitor.rules import Rule

pytestmark = pytest.mark.requirement("R23", "R24")

START = datetime(2026, 11, 23, tzinfo=UTC)
EVERY_S = 30
RULE = Rule("latency", "latency", "ms", "Look.", warning=20, critical=50, for_s=60, clear=0.8)
REPEAT_S = 600.0


class Watch:
    """One rule, watched over simulated time: what happened, and what was told."""

    def __init__(self, rule: Rule = RULE, repeat_s: float = REPEAT_S) -> None:
        self.rule, self.repeat_s = rule, repeat_s
        self.at = START
        self.alerts: dict[Key, Alert] = {}
        self.silences: list[Silence] = []
        self.changes: list[Event] = []
        self.notices: list[Event] = []

    def see(self, *values: float | None, after_s: float = EVERY_S) -> Watch:
        """Look once for each value; None is a value that could not be read."""
        for value in values:
            seen: Observed = NotKnown("away") if value is None else Known({"": value})
            self.look({self.rule.name: seen}, after_s)
        return self

    def look(self, observed: dict[str, Observed], after_s: float = EVERY_S) -> None:
        """Look once; the state goes through its stored form each time."""
        self.at += timedelta(seconds=after_s)
        stored = [as_document(alert) for alert in self.alerts.values()]
        self.alerts = {a.key: a for a in map(from_document, stored)}
        done = look([self.rule], self.alerts, observed, self.silences, self.at, self.repeat_s)
        self.alerts = done.alerts
        self.changes += done.changes
        self.notices += done.notices

    def silence(self, seconds: float) -> None:
        """Silence everything from now on, for so long."""
        self.silences.append(Silence("*", "*", self.at, self.at + timedelta(seconds=seconds)))

    @property
    def told(self) -> list[tuple[str, str]]:
        """What was told, in short."""
        return [(event.what.value, event.level.value) for event in self.notices]

    @property
    def phase(self) -> Phase:
        """Where the alert is."""
        alert = self.alerts.get(Key(self.rule.name, ""))
        return Phase.INACTIVE if alert is None else alert.phase


def test_a_value_above_the_threshold_fires_only_after_it_has_held() -> None:
    """Pending for 60 seconds, then firing: at the third look, not at the second."""
    watch = Watch().see(30, 30)
    assert (watch.phase, watch.told) == (Phase.PENDING, [])
    watch.see(30)
    assert (watch.phase, watch.told) == (Phase.FIRING, [("firing", "warning")])


def test_a_value_that_falls_while_pending_is_never_told() -> None:
    """The wait begins anew with the next one."""
    watch = Watch().see(30, 30, 5, 30, 30)
    assert (watch.phase, watch.told, watch.changes) == (Phase.PENDING, [], [])


def test_an_alert_is_told_once_and_its_end_once() -> None:
    """However often it is looked at."""
    watch = Watch(repeat_s=0).see(*[30] * 100, *[1] * 100)
    assert watch.told == [("firing", "warning"), ("resolved", "warning")]


def test_an_alert_ends_below_the_clearing_value_and_not_just_below_the_threshold() -> None:
    """Between 16 and 20 nothing changes, so a value that flutters is told once."""
    watch = Watch(repeat_s=0).see(30, 30, 30, *[19, 21] * 20)
    assert watch.told == [("firing", "warning")]
    assert watch.see(16).told[1:] == [("resolved", "warning")]
    assert watch.phase is Phase.INACTIVE


def test_an_alert_that_grows_worse_and_better_says_so_each_time() -> None:
    """A change of the level is a change."""
    watch = Watch().see(30, 30, 30, 60, 60, 60, 30, 30)
    assert watch.told == [("firing", "warning"), ("level", "critical"), ("level", "warning")]


def test_a_jump_to_critical_is_told_as_critical_only() -> None:
    """One notice, not one for each level."""
    assert Watch().see(60, 60, 60).told == [("firing", "critical")]


def test_what_goes_on_is_repeated_at_the_interval_and_not_sooner() -> None:
    """Every ten minutes, that is every twentieth look."""
    watch = Watch().see(*[30] * 3).see(*[30] * 19)
    assert watch.told == [("firing", "warning")]
    watch.see(30)
    assert watch.told == [("firing", "warning"), ("repeated", "warning")]


def test_while_the_value_is_unknown_nothing_fires_and_nothing_resolves() -> None:
    """Neither is known."""
    pending = Watch().see(30, *[None] * 50)
    assert (pending.phase, pending.told) == (Phase.PENDING, [])
    firing = Watch(repeat_s=0).see(30, 30, 30, *[None] * 50)
    assert (firing.phase, firing.told) == (Phase.FIRING, [("firing", "warning")])


def test_time_in_which_nothing_was_known_does_not_count_as_held() -> None:
    """After the gap it takes the rest of the 60 seconds."""
    watch = Watch().see(30, *[None] * 5, 30)
    assert watch.phase is Phase.PENDING
    assert watch.see(30).phase is Phase.FIRING


def test_between_two_looks_no_more_than_five_minutes_count() -> None:
    """A schedule that looks every hour fires in the end, and not by two looks alone."""
    slow = Watch(replace(RULE, for_s=900)).see(30, after_s=3600)
    slow.see(30, 30, after_s=3600)
    assert slow.phase is Phase.PENDING
    slow.see(30, after_s=3600)
    assert slow.phase is Phase.FIRING


def test_a_silenced_alert_is_noted_and_told_when_the_silence_ends() -> None:
    """If it goes on by then."""
    watch = Watch()
    watch.silence(300)
    watch.see(*[30] * 5)
    assert watch.told == []
    assert [(c.what, c.silenced) for c in watch.changes] == [(What.FIRING, True)]
    assert watch.see(*[30] * 5).told == [("firing", "warning")]


def test_an_end_within_a_silence_is_told_after_it() -> None:
    """Who was told that it fires is told that it ended."""
    watch = Watch().see(30, 30, 30)
    watch.silence(300)
    watch.see(*[1] * 5)
    assert watch.told == [("firing", "warning")]
    watch.see(*[1] * 6)
    assert watch.told == [("firing", "warning"), ("resolved", "warning")]
    assert watch.alerts == {}


def test_what_begins_and_ends_within_a_silence_is_never_told() -> None:
    """The changes are noted all the same."""
    watch = Watch()
    watch.silence(3600)
    watch.see(30, 30, 30, 1)
    watch.see(*[1] * 200)
    assert watch.told == []
    assert [change.what for change in watch.changes] == [What.FIRING, What.RESOLVED]


def test_a_silence_covers_the_rule_and_subject_it_names_and_nothing_else() -> None:
    """By name, or by ``*``."""
    until = START + timedelta(hours=1)
    key = Key("anchor_age", "a")
    assert Silence("anchor_age", "*", START, until).covers(key, START)
    assert Silence("anchor_age", "a", START, until).covers(key, START)
    assert not Silence("anchor_age", "b", START, until).covers(key, START)
    assert not Silence("pool_use", "*", START, until).covers(key, START)
    assert not Silence("*", "*", START, until).covers(key, until)


def test_each_subject_has_an_alert_of_its_own_and_one_that_is_gone_ends() -> None:
    """Two users over their budget are two alerts; next month neither is."""
    watch = Watch(replace(RULE, for_s=0))
    watch.look({"latency": Known({"ana": 30, "ben": 60, "eve": 1})})
    assert {event.key.subject: event.level for event in watch.notices} == {
        "ana": Level.WARNING,
        "ben": Level.CRITICAL,
    }
    watch.look({"latency": Known({"ben": 60})})
    assert watch.notices[-1].what is What.RESOLVED
    assert watch.notices[-1].key.subject == "ana"


def test_at_most_two_hundred_subjects_of_a_rule_are_followed_the_worst_ones() -> None:
    """A flood of alerts is no help to anybody."""
    watch = Watch(replace(RULE, for_s=0))
    watch.look({"latency": Known({f"u{n:04}": 100.0 + n for n in range(1000)})})
    assert len(watch.notices) == MOST_SUBJECTS
    assert {event.key.subject for event in watch.notices} == {f"u{n:04}" for n in range(800, 1000)}


def test_alerts_of_a_rule_that_was_switched_off_end() -> None:
    """And that is told."""
    watch = Watch().see(30, 30, 30)
    done = look([], watch.alerts, {}, [], watch.at, 0)
    assert [event.what for event in done.notices] == [What.RESOLVED]
    assert done.alerts == {}


def test_each_change_says_since_when_the_value_was_above() -> None:
    """Also its end, also after a change of the level, and anew the next time."""
    watch = Watch(repeat_s=0).see(5, 30, 30, 30, 60, 60, 60, 1, 1, 30, 30, 30)
    first, again = START + timedelta(seconds=60), START + timedelta(seconds=300)
    assert [(event.what.value, event.since) for event in watch.notices] == [
        ("firing", first),
        ("level", first),
        ("resolved", first),
        ("firing", again),
    ]


def test_a_state_of_a_version_that_kept_no_beginning_is_read() -> None:
    """What fired before an upgrade goes on firing after it."""
    watch = Watch(repeat_s=0).see(30, 30, 30)
    (alert,) = watch.alerts.values()
    document = as_document(alert)
    del document["since"]
    assert from_document(document) == replace(alert, since=None)


def test_the_time_of_the_next_change_is_known_before_it_comes() -> None:
    """After one look of two minutes above 20: 30 s until it fires, and critical later."""
    watch = Watch().see(30)
    rules = {RULE.name: RULE}

    def left_s() -> float | None:
        return ripens_in_s(rules, watch.alerts.values(), watch.at)

    assert left_s() == 60
    watch.see(60)
    assert left_s() == 30
    watch.see(60)
    assert (watch.told, left_s()) == ([("firing", "warning")], 30)
    watch.see(60)
    assert (watch.told[1:], left_s()) == ([("level", "critical")], None)


def test_what_is_repeated_is_repeated_together_with_the_others_of_its_rule() -> None:
    """Two that began at different times come to one notice in each interval."""
    watch = Watch(replace(RULE, for_s=0), repeat_s=600)
    watch.look({"latency": Known({"ana": 30})})
    for _ in range(6):
        watch.look({"latency": Known({"ana": 30})})
    for _ in range(80):
        watch.look({"latency": Known({"ana": 30, "ben": 30})})
    rounds: dict[datetime, set[str]] = {}
    for event in watch.notices:
        if event.what is What.REPEATED:
            rounds.setdefault(event.at, set()).add(event.key.subject)
    assert list(rounds.values()) == [{"ana", "ben"}] * 4


def test_a_rule_that_was_not_looked_at_keeps_its_state_and_tells_what_is_due() -> None:
    """Some rules are asked less often than others."""
    watch = Watch()
    watch.silence(300)
    watch.see(30, 30, 30)
    for _ in range(10):
        watch.look({})
    assert watch.told == [("firing", "warning")]


def test_a_threshold_that_is_itself_too_much_fires_at_it() -> None:
    """A budget of which 100 % is spent."""
    rule = replace(RULE, warning=80, critical=100, at_least=True, for_s=0, clear=1.0)
    assert Watch(rule).see(79.9, 80, 100).told == [("firing", "warning"), ("level", "critical")]


# -- over random histories -------------------------------------------------------------------------

VALUES = st.one_of(
    st.none(), st.sampled_from([0.0, 10.0, 16.0, 19.0, 20.0, 21.0, 45.0, 51.0, 90.0])
)
STEPS = st.lists(
    st.tuples(
        VALUES,
        st.sampled_from([0.0, 1.0, 30.0, 30.0, 30.0, 90.0, 4000.0]),
        st.sampled_from([0, 0, 0, 0, 0, 20, 200]),
    ),
    max_size=60,
)
RULES = st.builds(
    lambda for_s, clear, warning: replace(RULE, for_s=for_s, clear=clear, warning=warning),
    for_s=st.sampled_from([0.0, 60.0, 300.0]),
    clear=st.sampled_from([1.0, 0.8]),
    warning=st.sampled_from([None, 20.0]),
)


def replayed(rule: Rule, steps: list[tuple[float | None, float, int]]) -> Watch:
    """Walk through a random history, with its silences."""
    watch = Watch(rule)
    for value, after_s, silent_s in steps:
        if silent_s:
            watch.silence(silent_s)
        watch.see(value, after_s=after_s)
    return watch


@given(RULES, STEPS)
def test_two_notices_in_a_row_never_say_the_same_unless_one_repeats(rule: Rule, steps: Any) -> None:
    """A change lies between any two notices; a repetition comes no sooner than it may."""
    notices = replayed(rule, steps).notices
    believed, told_at = None, START
    for event in notices:
        now = None if event.what is What.RESOLVED else event.level
        if event.what is What.REPEATED:
            assert now == believed
            assert (event.at - told_at).total_seconds() >= REPEAT_S
        else:
            assert now != believed
            assert (event.what is What.FIRING) == (believed is None)
        believed, told_at = now, event.at


@given(RULES, STEPS)
def test_nothing_is_told_while_it_is_silenced(rule: Rule, steps: Any) -> None:
    """Whatever happens."""
    watch = Watch(rule)
    for value, after_s, silent_s in steps:
        if silent_s:
            watch.silence(silent_s)
        told = len(watch.notices)
        watch.see(value, after_s=after_s)
        silenced = any(s.covers(Key("latency", ""), watch.at) for s in watch.silences)
        assert not (silenced and watch.notices[told:])


@given(RULES, STEPS)
def test_whoever_was_told_that_it_fires_is_told_that_it_ended(rule: Rule, steps: Any) -> None:
    """However silences lay: once all is quiet for good, nobody believes otherwise."""
    watch = replayed(rule, steps)
    watch.see(0.0, 0.0, after_s=10_000)
    assert watch.alerts == {}
    firing = sum(event.what is What.FIRING for event in watch.notices)
    assert firing == sum(event.what is What.RESOLVED for event in watch.notices)


@given(RULES, STEPS)
def test_changes_alternate_and_what_is_noted_does_not_depend_on_silences(
    rule: Rule, steps: Any
) -> None:
    """The ledger says what was so; a silence changes only what is told."""
    loud = replayed(rule, [(value, after_s, 0) for value, after_s, _ in steps])
    changes = replayed(rule, steps).changes
    assert [replace(c, silenced=False) for c in changes] == loud.changes
    firing = False
    for change in changes:
        assert (change.what is What.FIRING) == (not firing)
        firing = change.what is not What.RESOLVED


@given(RULES, STEPS)
def test_it_fires_only_when_known_values_were_above_for_as_long_as_it_takes(
    rule: Rule, steps: Any
) -> None:
    """Counted anew, from the values alone: an oracle without states."""
    watch = Watch(rule)
    lowest = rule.warning if rule.warning is not None else rule.critical
    assert lowest is not None
    above_s, before = -1.0, START
    for value, after_s, _ in steps:
        was_firing = watch.phase is Phase.FIRING
        watch.see(value, after_s=after_s)
        gap_s = (watch.at - before).total_seconds()
        before = watch.at
        if value is None:
            continue
        if value <= lowest:
            above_s = -1.0
        elif above_s < 0:
            above_s = 0.0
        else:
            above_s += min(gap_s, GAP.total_seconds())
        if watch.phase is Phase.FIRING and not was_firing:
            assert above_s >= rule.for_s


@given(STEPS, st.integers(0, 60))
def test_a_clock_that_is_set_back_neither_raises_nor_tells_twice(steps: Any, where: int) -> None:
    """The time of a look is never before that of the one before."""
    watch = Watch()
    for number, (value, after_s, _) in enumerate(steps):
        watch.see(value, after_s=-7200 if number == where else after_s)
    told = [event.what for event in watch.notices if event.what is not What.REPEATED]
    assert all(a is not b or a is What.LEVEL for a, b in itertools.pairwise(told))
