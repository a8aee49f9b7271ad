"""Long sums beside an application are made in short spells."""

from __future__ import annotations

import gc

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


def test_in_a_hurry_nobody_looks_for_garbage_and_afterwards_as_before() -> None:
    """The interpreter's collector rests for the while, if it is on, also where the work fails."""
    assert gc.isenabled()
    with HURRY.undisturbed():
        assert not gc.isenabled()
        with HURRY.undisturbed():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), HURRY.undisturbed():
        _ = 1 / 0
    assert gc.isenabled()


def test_beside_an_application_its_garbage_is_looked_for() -> None:
    """What an application makes meanwhile may need it."""
    with Gentle().undisturbed():
        assert gc.isenabled()
