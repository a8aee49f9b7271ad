"""What waits to be delivered: order, pauses, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.monitor.alerts import Event, Key, Level, What
from affidavit.monitor.notify.base import DeliveryFailed
from affidavit.monitor.outbox import (
    MOST,
    TRIES,
    deliver,
    entry_of,
    grouped,
    notice_of,
    wait_s,
)

pytestmark = pytest.mark.requirement("R23", "R24")

START = datetime(2026, 11, 23, tzinfo=UTC)


def entry(number: int, *targets: str) -> dict[str, Any]:
    """An entry that is due."""
    event = Event(What.FIRING, Key("rule", str(number)), Level.WARNING, START, 1.0)
    return entry_of(event, "notice", "log", targets or ("t",), START)


class Receiver:
    """Takes what it is sent, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.final = False
        self.taken: list[str] = []

    def __call__(self, sent: dict[str, Any]) -> None:
        """Take one."""
        if self.away:
            msg = "away"
            raise DeliveryFailed(msg, final=self.final)
        self.taken.append(sent["subject"])


def test_what_is_taken_is_gone_and_the_other_targets_wait() -> None:
    """Each target has its own tries."""
    one, other = Receiver(), Receiver()
    other.away = True
    done = deliver([entry(1, "a", "b")], {"a": one, "b": other}, START, may=lambda: True)
    assert one.taken == ["1"]
    (left,) = done.waiting
    assert [(to["target"], to["tries"]) for to in left["to"]] == [("b", 1)]
    assert done.failed == [("b", "away It is tried again in 30 s.")]


def test_messages_to_one_target_keep_their_order_while_it_is_away() -> None:
    """A resolution never comes before what it resolves."""
    receiver = Receiver()
    receiver.away = True
    waiting = deliver([entry(1), entry(2)], {"t": receiver}, START, may=lambda: True).waiting
    assert [each["to"][0]["tries"] for each in waiting] == [1, 0]
    receiver.away = False
    soon = deliver(waiting, {"t": receiver}, START + timedelta(seconds=29), may=lambda: True)
    assert (receiver.taken, len(soon.waiting)) == ([], 2)
    deliver(waiting, {"t": receiver}, START + timedelta(seconds=30), may=lambda: True)
    assert receiver.taken == ["1", "2"]


def test_pauses_grow_to_a_quarter_of_an_hour() -> None:
    """Half a minute first."""
    assert [wait_s(n) for n in (1, 2, 3, 4, 11)] == [30, 120, 480, 900, 900]


def test_a_message_is_given_up_after_so_many_tries_or_at_once_where_that_is_final() -> None:
    """With the reason, and how often it was tried."""
    receiver = Receiver()
    receiver.away = True
    waiting, now, given_up = [entry(1)], START, list[dict[str, Any]]()
    for _ in range(TRIES):
        done = deliver(waiting, {"t": receiver}, now, may=lambda: True)
        waiting, given_up, now = done.waiting, done.given_up, now + timedelta(hours=1)
    assert waiting == []
    assert [(each["tries"], each["why"], each["target"]) for each in given_up] == [
        (TRIES, "away", "t")
    ]
    receiver.final = True
    refused = deliver([entry(2)], {"t": receiver}, START, may=lambda: True)
    assert refused.given_up[0]["tries"] == 1
    assert refused.failed == [("t", "away It is not tried again.")]


def test_what_is_told_of_one_rule_at_one_time_is_one_message_the_worst_first() -> None:
    """And what has ended last; what is new decides what the message is. Other rules have theirs."""

    def event(what: What, rule: str, subject: str, level: Level, value: float) -> Event:
        return Event(what, Key(rule, subject), level, START, value, since=START)

    events = [
        event(What.RESOLVED, "budget_user", "eve", Level.CRITICAL, 0),
        event(What.FIRING, "budget_user", "ana", Level.WARNING, 85),
        event(What.FIRING, "pool_use", "server", Level.WARNING, 90),
        event(What.LEVEL, "budget_user", "ben", Level.CRITICAL, 101),
    ]
    budget, pool = (notice_of(each, "log", ["t"], START) for each in grouped(events))
    assert (budget["rule"], budget["what"], budget["level"], budget["count"]) == (
        *("budget_user", "firing", "critical"),
        3,
    )
    assert [each["subject"] for each in budget["alerts"]] == ["ben", "ana", "eve"]
    assert (pool["rule"], pool["subject"], "alerts" in pool) == ("pool_use", "server", False)


def test_a_message_lists_twenty_alerts_and_counts_the_others() -> None:
    """A thousand of them must fit into the state."""
    events = [Event(What.FIRING, Key("r", str(n)), Level.WARNING, START, 1.0) for n in range(200)]
    made = notice_of(events, "log", ["t"], START)
    assert (made["count"], len(made["alerts"])) == (200, 20)


def test_a_target_that_is_not_configured_any_more_is_not_waited_for() -> None:
    """Settings change between two starts."""
    assert deliver([entry(1, "gone")], {}, START, may=lambda: True).waiting == []


def test_nothing_is_sent_without_the_right_to_act() -> None:
    """It may have passed to another process."""
    receiver = Receiver()
    done = deliver([entry(1)], {"t": receiver}, START, may=lambda: False)
    assert (receiver.taken, len(done.waiting)) == ([], 1)


def test_at_most_a_thousand_wait_and_the_oldest_are_given_up() -> None:
    """A state that grows without end would not be stored any more."""
    receiver = Receiver()
    receiver.away = True
    queue = [entry(n) for n in range(MOST + 2)]
    done = deliver(queue, {"t": receiver}, START, may=lambda: True)
    assert len(done.waiting) == MOST
    assert [each["subject"] for each in done.given_up] == ["0", "1"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 2000)), max_size=60))
def test_everything_is_delivered_once_and_in_order_or_given_up(steps: Any) -> None:
    """However the receivers come and go."""
    receivers = {"a": Receiver(), "b": Receiver()}
    waiting, now, given_up, made = list[dict[str, Any]](), START, list[dict[str, Any]](), 0
    for name, away, after_s in steps:
        receivers[name].away = away
        now += timedelta(seconds=after_s)
        waiting.append(entry(made, "a", "b"))
        made += 1
        done = deliver(waiting, receivers, now, may=lambda: True)
        waiting, given_up = done.waiting, given_up + done.given_up
    for name, receiver in receivers.items():
        lost = [each["subject"] for each in given_up if each["target"] == name]
        left = [e["subject"] for e in waiting if name in {to["target"] for to in e["to"]}]
        assert receiver.taken == sorted(receiver.taken, key=int)
        assert sorted(receiver.taken + lost + left, key=int) == [str(n) for n in range(made)]
