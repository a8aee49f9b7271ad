"""How long the writer works before it gives way, by what others do."""

from __future__ import annotations

import threading
import time

import pytest

from affidavit._engine.sender import Sender
from affidavit._engine.turns import CALM_S, LONG_S, LOOK_S, SHORT_S, Turns
from affidavit.store.memory import MemoryStore

pytestmark = pytest.mark.requirement("R12", "R22")


class Others:
    """A process whose other threads use what a test says."""

    def __init__(self) -> None:
        self.used_s = 5.0
        self.now_s = 100.0
        self.turns = Turns(lambda: self.used_s)

    def work(self, share: float, for_s: float = 4 * CALM_S) -> float:
        """Let time pass in turns, others using that share of it; give the last turn's length."""
        end_s, turn_s = self.now_s + for_s, 0.0
        while self.now_s < end_s:
            turn_s = self.turns.next_s(self.now_s)
            self.now_s += turn_s
            self.used_s += share * turn_s
        return turn_s


def test_the_first_turns_are_short() -> None:
    """Before anything is known of the others."""
    assert Others().work(0.0, CALM_S / 2) == SHORT_S


def test_turns_are_long_where_nobody_else_computes() -> None:
    """The application waits, or sleeps; the log's own threads use little."""
    assert Others().work(0.0) == LONG_S
    assert Others().work(0.05) == LONG_S
    assert Others().work(-0.001) == LONG_S  # clocks are read one after the other


def test_turns_are_short_while_others_compute() -> None:
    """Half of the time, or all of it on another processor."""
    assert Others().work(0.5) == SHORT_S
    assert Others().work(1.0) == SHORT_S


def test_turns_are_long_beside_a_thread_that_wakes_up_for_a_moment() -> None:
    """As the log's own do, twenty times a second."""
    others = Others()
    others.work(0.0)
    for _ in range(20):
        others.used_s += 0.001
        assert others.work(0.0, 0.05) == LONG_S


def test_turns_are_short_soon_after_others_begin() -> None:
    """At the next look; and the calm has to last again."""
    others = Others()
    assert others.work(0.0) == LONG_S
    assert others.work(0.5, 2 * LOOK_S) == SHORT_S
    assert others.work(0.0, CALM_S) == SHORT_S
    assert others.work(0.0) == LONG_S


def test_turns_are_short_after_a_pause() -> None:
    """What others did while the writer slept says nothing of now."""
    others = Others()
    assert others.work(0.0) == LONG_S
    others.now_s += 1.0
    assert others.work(0.0, SHORT_S) == SHORT_S


def test_turns_are_short_after_a_thread_of_ours_has_ended() -> None:
    """Its time does not count any more, and the sum goes back."""
    others = Others()
    assert others.work(0.0) == LONG_S
    others.used_s -= 3.0
    assert others.work(0.0, 2 * LOOK_S) == SHORT_S


def test_the_senders_tell_what_they_have_used() -> None:
    """Nothing before they run and after they have ended; more after each batch."""
    sender = Sender(MemoryStore("memory:turns"), threading.Lock(), lambda: None, "sender-of-a-test")
    assert sender.used_s() == 0.0
    sender.start()
    used_s = 0.0
    for _ in range(3):
        sender.launch([], 10.0)
        sender.land()
        assert sender.used_s() > used_s
        used_s = sender.used_s()
    sender.stop()
    for thread in threading.enumerate():
        if thread.name == "sender-of-a-test":
            thread.join(10)
    end_s = time.monotonic() + 10
    while sender.used_s() > 0.0 and time.monotonic() < end_s:
        time.sleep(0.01)
    assert sender.used_s() == 0.0
