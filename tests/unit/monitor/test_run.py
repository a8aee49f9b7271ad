"""The loop against a store that dies at any step: nothing is lost, and nothing is noted twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit import AuditConfig
from affidavit.errors import StoreUnavailable
from affidavit.monitor.asked import Question
from affidavit.monitor.rules import rules_of
from affidavit.monitor.run import Looked, Monitor, Post
from affidavit.monitor.sample import Sample
from affidavit.store.alerting import Held, KeptSilence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from affidavit.event import Document, LedgerEvent
    from affidavit.monitor.notify.base import Message

pytestmark = pytest.mark.requirement("R23", "R24")

START = datetime(2026, 11, 23, tzinfo=UTC)
DEAD = "affidavit_records_dead_lettered"
OFF: dict[str, Any] = {
    name: {"off": True} for name in ("no_data", "records_lost", "slow_writes", "store_unreachable")
}


class Killed(BaseException):
    """The process ends here."""


@dataclass
class World:
    """What outlives a process: the store, the receiver, the time; and when the next kill comes."""

    at: datetime = START
    state: dict[str, Any] = field(default_factory=dict)
    holder: str | None = None
    until: datetime = START
    fence: int = 0
    ledger: dict[str, str] = field(default_factory=dict)
    history: dict[str, str] = field(default_factory=dict)
    arrived: list[tuple[str, str]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    dead: float = 0.0
    steps: int = 0
    kill_at: frozenset[int] = frozenset()
    silences: list[KeptSilence] = field(default_factory=list)
    frozen: tuple[datetime, datetime] = (START, START)
    """Between these two times the store stands still, and whoever asks waits in vain."""

    def now(self) -> datetime:
        """The time."""
        return self.at

    def seconds(self) -> float:
        """The same, for what is timed."""
        return self.at.timestamp()

    def happens(self) -> None:
        """Count a step towards the next kill; a kill comes before it or after it."""
        self.steps += 1
        if self.steps in self.kill_at:
            raise Killed

    def answers(self, patience_s: float) -> None:
        """Pass, or be away for as long as whoever asks has patience."""
        begins, ends = self.frozen
        if begins <= self.at < ends:
            self.at += timedelta(seconds=patience_s)
            _unavailable()


class Store:
    """The contract of AlertStore in memory; each call may be the last."""

    def __init__(self, world: World) -> None:
        self._world = world

    def ping(self, for_s: float) -> None:
        """Not used here."""

    def take(self, holder: str, for_s: float) -> Held | None:
        """Take the lease."""
        world = self._world
        world.answers(10.0)
        world.happens()
        if holder != world.holder:
            if world.at < world.until:
                return None
            world.holder, world.fence = holder, world.fence + 1
        world.until = world.at + timedelta(seconds=for_s)
        return Held(world.fence, dict(world.state))

    def save(self, holder: str, fence: int, state: Mapping[str, Any], for_s: float) -> bool:
        """Replace the state."""
        world = self._world
        world.happens()
        if (holder, fence) != (world.holder, world.fence):
            return False
        world.state, world.until = dict(state), world.at + timedelta(seconds=for_s)
        world.happens()
        return True

    def release(self, holder: str, fence: int) -> None:
        """Give the lease back."""
        if (holder, fence) == (self._world.holder, self._world.fence):
            self._world.until = self._world.at

    def peek(self) -> tuple[Document, str | None]:
        """Give the state."""
        return self._world.state, self._world.holder

    def silences(self, now: datetime, within_s: float | None = None) -> Sequence[KeptSilence]:
        """Those that have not ended."""
        self._world.answers(10.0 if within_s is None else within_s)
        return [each for each in self._world.silences if now < each.until]

    def add_silence(self, silence: KeptSilence) -> None:
        """Not used here."""

    def end_silence(self, name: str, now: datetime) -> KeptSilence | None:
        """Not used here."""

    def remember(self, entry_id: str, at: datetime, entry: Mapping[str, Any]) -> None:
        """Add to the history, once."""
        self._world.happens()
        self._world.history[entry_id] = entry["what"]
        self._world.happens()

    def history(self, since: datetime, limit: int) -> Sequence[Document]:
        """Not used here."""
        return []

    def forget(self, before: datetime) -> int:
        """There is nothing old."""
        return 0

    def note(self, event: LedgerEvent, details: Mapping[str, Any], at: datetime) -> None:
        """Add to the ledger, unless it is there."""
        self._world.happens()
        self._world.ledger.setdefault(details["change"], event.value)
        self._world.happens()

    def severe_events(self, since: datetime) -> Mapping[str, int]:
        """There are none."""
        return {}

    def ledger_records(self, event: LedgerEvent, since: datetime) -> int:
        """There are none."""
        return 0


class Samples:
    """Samples of one metric."""

    def __init__(self, world: World) -> None:
        self._world = world

    def take(self) -> Sample | None:
        """Take one."""
        sample = Sample(self._world.at)
        sample.put(DEAD, self._world.dead)
        return sample

    def keep(self, sample: Sample) -> None:
        """Elsewhere."""


class Receiver:
    """Takes every message, unless the process ends before or after."""

    name = "receiver"

    def __init__(self, world: World) -> None:
        self._world = world

    def send(self, message: Message) -> None:
        """Take it."""
        self._world.happens()
        self._world.arrived.append((message.id, message.data["what"]))
        self._world.messages.append(message)
        self._world.happens()


def started(
    world: World,
    holder: str,
    thresholds: Mapping[str, Any] | None = None,
    questions: Sequence[Question] = (),
) -> Monitor:
    """A process that watches."""
    given = dict(OFF if thresholds is None else thresholds)
    return Monitor(
        Store(world),
        Samples(world),
        rules_of(AuditConfig(monitoring_thresholds=given)),
        [Receiver(world)],
        questions,
        Post("log", holder, "host", now=world.now, clock_s=world.seconds),
    )


def lived(kill_at: frozenset[int], *, processes: int = 1) -> World:
    """Let an alert fire, resolve and fire again, under kills; who is killed is started anew."""
    world, number = World(kill_at=kill_at), 0
    running = [started(world, f"first {n}") for n in range(processes)]
    for dead in (0, 0, 1, 1, 1, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2):
        world.dead = dead
        for _ in range(3):
            world.at += timedelta(seconds=30)
            for place, monitor in enumerate(running):
                try:
                    monitor.step()
                except Killed:
                    number += 1
                    running[place] = started(world, f"after {number}")
    return world


def test_without_kills_each_change_arrives_once() -> None:
    """Firing, resolved, firing again; as in the ledger and the history."""
    world = lived(frozenset())
    wanted = ["firing", "resolved", "firing"]
    assert [what for _, what in world.arrived] == wanted
    assert list(world.history.values()) == wanted
    assert list(world.ledger.values()) == ["alert_firing", "alert_resolved", "alert_firing"]


@given(st.frozensets(st.integers(1, 120), max_size=6), st.integers(1, 3))
def test_whatever_is_killed_every_change_arrives_and_is_noted_once(
    kill_at: frozenset[int], processes: int
) -> None:
    """A message may come twice, under one id; the ledger and the history never have it twice."""
    world = lived(kill_at, processes=processes)
    wanted = ["firing", "resolved", "firing"]
    first = list(dict.fromkeys(world.arrived))
    assert [what for _, what in first] == wanted
    assert list(world.history.values()) == wanted
    assert list(world.ledger.values()) == ["alert_firing", "alert_resolved", "alert_firing"]
    twice = sum(count - 1 for count in Counter(world.arrived).values())
    assert twice <= len(kill_at)


def test_a_process_that_stood_still_tells_nothing_after_another_took_over() -> None:
    """It wakes up between its look and its save."""
    world = World()
    one, other = started(world, "one"), started(world, "other")
    assert one.step().acting
    assert not other.step().acting
    world.at += timedelta(seconds=3600)  # "one" stands still
    world.dead = 1
    assert other.step().acting
    assert [what for _, what in world.arrived] == ["firing"]
    assert not one.step().acting
    assert len(world.arrived) == 1


def test_a_store_that_is_away_for_less_than_a_minute_is_not_told() -> None:
    """An election is no alert."""
    world = World()
    monitor = Monitor(
        Store(world),
        Samples(world),
        rules_of(AuditConfig()),
        [Receiver(world)],
        (),
        Post("log", "me", "host", now=world.now, clock_s=world.seconds),
    )
    monitor.step()
    away: Any = monitor._store
    taken, away.take = away.take, _unavailable
    for _ in range(2):
        world.at += timedelta(seconds=20)
        assert not monitor.step().reached
    away.take = taken
    world.at += timedelta(seconds=20)
    assert monitor.step().reached
    assert world.arrived == []


def test_a_process_that_stands_by_tells_of_a_store_that_is_away_until_it_is_back() -> None:
    """Whether the acting one lives nobody can know then; what one told as firing it resolves."""
    world = World()
    watching = [
        Monitor(
            Store(world),
            Samples(world),
            rules_of(AuditConfig()),
            [Receiver(world)],
            (),
            Post("log", host, host, now=world.now, clock_s=world.seconds),
        )
        for host in ("acts", "stands by")
    ]
    stores: Any = [monitor._store for monitor in watching]
    taken = [store.take for store in stores]
    assert [monitor.step().acting for monitor in watching] == [True, False]
    for store in stores:
        store.take = _unavailable
    for _ in range(5):
        world.at += timedelta(seconds=30)
        assert [monitor.step().reached for monitor in watching] == [False, False]
    assert [what for _, what in world.arrived] == ["firing", "firing"]
    for store, take in zip(stores, taken, strict=True):
        store.take = take
    back = [monitor.step() for monitor in watching]
    assert [done.acting for done in back] == [True, False]
    assert [[event.what.value for event in done.changes] for done in back] == [["resolved"]] * 2
    assert [what for _, what in world.arrived] == ["firing", "firing", "resolved", "resolved"]


@pytest.mark.parametrize(
    ("metric", "late"), [("affidavit_writers_silent", 2.0), ("affidavit_sealer_age_seconds", 130.0)]
)
def test_what_could_not_be_heard_during_an_outage_is_no_alert_after_it(
    metric: str, late: float
) -> None:
    """The first look comes before the next heartbeats."""
    world = World()
    monitor = started(world, "one")

    def take(value: float) -> Sample:
        sample = Sample(world.at)
        sample.put(metric, value)
        return sample

    sampler: Any = monitor._sampler
    for value in (late, 0.0, 0.0):
        world.at += timedelta(seconds=30)
        sampler.take = lambda value=value: take(value)
        assert monitor.step().acting
    assert world.arrived == []
    for _ in range(3):
        world.at += timedelta(seconds=30)
        sampler.take = lambda: take(late)
        monitor.step()
    assert [what for _, what in world.arrived] == ["firing"]


def ticking(world: World, *monitors: Monitor, for_s: float) -> list[Looked]:
    """Let processes run as the command runs them, for so long."""
    ends, found = world.at + timedelta(seconds=for_s), []
    due = dict.fromkeys(range(len(monitors)), world.at)
    while (at := min(due.values())) < ends:
        number = min(due, key=lambda each: due[each])
        world.at = max(world.at, at)
        done = monitors[number].tick()
        found += [done] if done is not None else []
        due[number] = world.at + timedelta(seconds=max(0.05, monitors[number].wait_s()))
    world.at = max(world.at, ends)
    return found


@pytest.mark.parametrize("frozen_s", [70, 98, 400])
@pytest.mark.parametrize("after_s", [1, 8, 15, 22, 29])
def test_an_outage_over_a_minute_is_told_while_it_lasts_and_its_end_at_once(
    after_s: int, frozen_s: int
) -> None:
    """However it lies between two looks half a minute apart, and however long each try hangs."""
    world = World()
    begins = START + timedelta(seconds=30 + after_s)
    world.frozen = (begins, begins + timedelta(seconds=frozen_s))
    monitor = started(world, "one", {})
    ticking(world, monitor, for_s=30 + after_s + frozen_s)
    assert [what for _, what in world.arrived] == ["firing"]
    ticking(world, monitor, for_s=10)
    assert [what for _, what in world.arrived] == ["firing", "resolved"]


@pytest.mark.parametrize("after_s", [1, 8, 15, 22, 29])
def test_an_outage_of_less_than_a_minute_is_told_by_nobody(after_s: int) -> None:
    """Nor by the process that stands by; the ledger has nothing either."""
    world = World()
    begins = START + timedelta(seconds=30 + after_s)
    world.frozen = (begins, begins + timedelta(seconds=45))
    ticking(world, started(world, "one", {}), started(world, "other", {}), for_s=200)
    assert (world.arrived, world.ledger) == ([], {})


def test_a_silence_that_was_made_seconds_before_a_maintenance_is_heeded_by_everybody() -> None:
    """By the process that acts, and by the one that stands by and keeps no state."""
    world = World()
    monitors = [started(world, name, {}) for name in ("acts", "stands by")]
    ticking(world, *monitors, for_s=62)
    made = KeptSilence("s", "*", "*", world.at, world.at + timedelta(hours=1), "ops", "upgrade")
    world.silences.append(made)
    begins = world.at + timedelta(seconds=6)
    world.frozen = (begins, begins + timedelta(seconds=300))
    done = ticking(world, *monitors, for_s=600)
    assert world.arrived == []
    changes = [event for each in done for event in each.changes]
    assert [(event.what.value, event.silenced) for event in changes] == [
        ("firing", True), ("firing", True), ("resolved", True), ("resolved", True),
    ]  # fmt: skip


def test_an_outage_is_noted_with_the_time_of_the_last_answer() -> None:
    """So the ledger says for how long nothing was recorded there."""
    world = World()
    begins = START + timedelta(seconds=40)
    world.frozen = (begins, begins + timedelta(seconds=98))
    done = ticking(world, started(world, "one", {}), for_s=200)
    changes = [event for each in done for event in each.changes]
    assert [event.what.value for event in changes] == ["firing", "resolved"]
    assert all(event.since is not None for event in changes)
    assert all(begins - event.since <= timedelta(seconds=5) for event in changes if event.since)


def test_a_process_that_stood_still_itself_takes_its_own_silence_for_no_outage() -> None:
    """A machine that slept for a night and finds the network a moment late."""
    world = World()
    monitor = started(world, "one", {})
    ticking(world, monitor, for_s=60)
    world.at += timedelta(hours=8)
    world.frozen = (world.at, world.at + timedelta(seconds=15))
    ticking(world, monitor, for_s=100)
    assert world.arrived == []


def test_what_is_pending_is_looked_at_again_when_its_time_comes() -> None:
    """Not half a minute later: a writer that is silent for 30 seconds more."""
    world = World()
    monitor = started(world, "one", {"dead_letters": {"warning": 0, "for_s": 12}})
    ticking(world, monitor, for_s=1)
    world.dead = 1
    ticking(world, monitor, for_s=30)
    assert world.arrived == []
    ticking(world, monitor, for_s=12)
    assert [what for _, what in world.arrived] == ["firing"]


def test_a_monitor_restarted_in_the_middle_goes_on_with_the_time_that_has_passed() -> None:
    """Of two minutes above, one was before the restart."""
    world = World(dead=1)
    waiting = {"dead_letters": {"warning": 0, "for_s": 120}}
    first = started(world, "first", waiting)
    ticking(world, first, for_s=60)
    first.close()
    second = started(world, "second", waiting)
    ticking(world, second, for_s=58)
    assert world.arrived == []
    ticking(world, second, for_s=4)
    assert [what for _, what in world.arrived] == ["firing"]


def test_who_stands_by_is_told_who_acts() -> None:
    """And when that one is gone, it acts itself."""
    world = World()
    one, other = started(world, "one"), started(world, "other")
    assert one.step().by == ""
    stands = other.step()
    assert (stands.acting, stands.by) == (False, "one")
    one.close()
    assert other.step().acting


def test_many_alerts_of_one_rule_are_one_message_in_each_round() -> None:
    """Forty users over their budget are no forty mails."""
    world = World()
    users = {f"u{number:02}": 80.0 + number for number in range(40)}
    asked = Question("budget_user", 0.0, lambda _: users)
    monitor = started(world, "one", {}, [asked])
    monitor.step()
    (message,) = world.messages
    assert message.data["count"] == 40
    assert [each["subject"] for each in message.data["alerts"]][:2] == ["u39", "u38"]
    assert len(message.data["alerts"]) == 20
    assert message.title == "[CRITICAL] budget_user (u39 and 39 more) in log"
    assert "- u39: 119% (alerts from 100%), critical, since 2026-11-23" in message.text
    assert "- and 20 more: `affidavit alerts list` shows all." in message.text
    users.clear()
    world.at += timedelta(seconds=30)
    monitor.step()
    assert [each.data["what"] for each in world.messages] == ["firing", "resolved"]
    assert len(world.ledger) == 80  # each change has its record


def test_a_state_that_cannot_be_read_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever somebody wrote into it: watching goes on, and says so."""
    world = World(state={"alerts": [{"rule": 1}]}, dead=1)
    assert started(world, "one").step().acting
    assert "begins anew" in caplog.text
    assert [what for _, what in world.arrived] == ["firing"]


def _unavailable(*_: object) -> Held | None:
    msg = "away"
    raise StoreUnavailable(msg)
