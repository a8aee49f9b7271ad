"""Long sums beside an application are made in short spells."""

from __future__ import annotations

import pytest

from affidavit.tally.pace import HURRY, REST_S, SPELL_S, Gentle

pytestmark = pytest.mark.requirement("R12", "R33")


class Hours:
    """A clock that goes on when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now_s += seconds


def test_a_gentle_pace_rests_after_each_spell() -> None:
    """Work of ten spells has ten rests, however small its pieces are."""
    clock = Hours()
    pace = Gentle(lambda: clock.now_s, clock.sleep)
    for _ in pace.through(range(100)):
        clock.now_s += SPELL_S / 10 * 1.001
    assert clock.slept == [REST_S] * 10


def test_a_gentle_pace_does_not_rest_without_work() -> None:
    """Asking often costs nothing."""
    clock = Hours()
    pace = Gentle(lambda: clock.now_s, clock.sleep)
    assert list(pace.through(range(1000))) == list(range(1000))
    assert not clock.slept


def test_a_gentle_pace_takes_few_documents_at_a_time() -> None:
    """What reads and writes them is not interrupted."""
    assert Gentle.rows < HURRY.rows
    assert Gentle.writes < HURRY.writes
