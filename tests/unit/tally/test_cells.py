"""Cells: how calls are sorted into slots of a zone, and that they count what sums count."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.event import utc_from_ms
from affidavit.tally.cells import (
    HOURS,
    MODELS,
    SHAPES,
    USERS,
    Fold,
    cell_id,
    contribution,
    slot_end,
    slot_start,
    slot_text,
)
from affidavit.tally.facts import Correction, Fact, key_of
from affidavit.tally.sums import COUNTERS, SKETCHES, Sums

pytestmark = pytest.mark.requirement("R13", "R15")

MADRID = ZoneInfo("Europe/Madrid")
ZONES = ("UTC", "Europe/Madrid", "Asia/Kathmandu", "America/Lima", "Pacific/Apia")
MOMENTS = st.integers(157_766_400_000, 2_840_140_800_000).map(utc_from_ms)
"""From 1975 to 2060."""


def drawn(chance: random.Random) -> Fact:
    """A call of any kind."""
    few = (None, 0, 1, 17, 950)
    return Fact(
        call_id="c",
        at=datetime(2026, 10, 25, tzinfo=UTC) + timedelta(seconds=chance.randrange(10**5)),
        model=chance.choice([None, "m"]),
        status=chance.choice(["completed", "failed", "aborted", "odd"]),
        finish_reason=chance.choice([None, "stop", "length"]),
        input_tokens=chance.choice(few),
        output_tokens=chance.choice(few),
        cached_tokens=chance.choice(few),
        reasoning_tokens=chance.choice(few),
        tokens=chance.choice(few),
        cost_nano=chance.choice([*few, -5, 10**20]),
        cost_status=chance.choice([None, "estimated"]),
        latency_ms=chance.choice([None, 0.0, 0.0004, 1.04, 950.25]),
        ttft_ms=chance.choice([None, 0.0, 33.3]),
        retries=chance.choice([0, 3]),
        prompt_chars=chance.choice(few),
        answer_chars=chance.choice(few),
        is_empty=chance.choice([True, False]),
    )


@pytest.mark.parametrize("seed", range(200))
def test_a_call_contributes_what_sums_count(seed: int) -> None:
    """The quick way of the keeper and the plain one of the answers are the same."""
    chance = random.Random(seed)
    fact: Fact | Correction = drawn(chance)
    if chance.random() < 0.3:
        assert isinstance(fact, Fact)
        fact = Correction(fact, chance.choice([0, 5, -7]), chance.random() < 0.5)
    sums = Sums.of([fact])
    expected = {name: value for name in COUNTERS if (value := getattr(sums, name))}
    for name in SKETCHES:
        expected |= {f"{name}.{b}": n for b, n in getattr(sums, name).buckets.items()}
    counts = [each for part in contribution(fact) for each in part]
    assert dict(counts) == expected
    assert len(counts) == len(expected)


@given(at=MOMENTS, zone=st.sampled_from(ZONES))
def test_a_slot_holds_its_time(at: datetime, zone: str) -> None:
    """Slots follow each other without a gap, across daylight saving, leap days and years."""
    tz = ZoneInfo(zone)
    for shape in SHAPES:
        start = slot_start(shape.slot, at, tz)
        end = slot_end(shape.slot, start, tz)
        assert start <= at < end
        assert slot_start(shape.slot, end, tz) == end
        assert slot_start(shape.slot, end - timedelta(milliseconds=1), tz) == start
        assert slot_text(shape, start, tz) < slot_text(shape, end, tz)


@given(at=MOMENTS, zone=st.sampled_from(ZONES))
def test_units_of_a_slot_are_those_of_its_calls(at: datetime, zone: str) -> None:
    """An hour, day or month is named by the start of its slot as by any call within it."""
    tz, fact = ZoneInfo(zone), Fact("c", at)
    for shape, units in (
        (HOURS, ("hour", "hour_of_day", "day", "week", "weekday", "month")),
        (MODELS, ("day", "week", "weekday", "month")),
        (USERS, ("month",)),
    ):
        start = Fact("s", slot_start(shape.slot, at, tz))
        for unit in units:
            assert key_of(start, unit, tz) == key_of(fact, unit, tz)


def test_the_hour_that_comes_twice_has_two_cells() -> None:
    """When summer ends, two hours have one name and two cells."""
    fold = Fold(MADRID)
    for minutes in (30, 90):
        at = datetime(2026, 10, 25, 0, tzinfo=UTC) + timedelta(minutes=minutes)
        fold.add(Fact("c", at), 0)
    assert sorted(c.slot for c in fold.cells if c.shape is HOURS) == [
        "h2026-10-25T00:00", "h2026-10-25T01:00"
    ]  # fmt: skip
    assert [c.slot for c in fold.cells if c.shape is MODELS] == ["m2026-10-25"]


def test_a_trading_day_is_not_a_day_of_utc() -> None:
    """A call at 23:30 UTC is of the next day, and perhaps month, in Madrid."""
    fold = Fold(MADRID)
    fold.add(Fact("c", datetime(2026, 10, 31, 23, 30, tzinfo=UTC), user_id="u"), 3)
    [user] = [cell for cell in fold.cells if cell.shape is USERS]
    assert (user.slot, list(user.days), user.k) == ("u2026-11", ["01"], 3)
    assert user.whole.counts["calls"] == 1


def test_what_has_expired_is_left_out() -> None:
    """A call from before the rollups' beginning makes no cell."""
    fold = Fold(MADRID, datetime(2026, 11, 1, tzinfo=UTC))
    fold.add(Fact("c", datetime(2026, 10, 31, 23, 59, tzinfo=UTC)), 0)
    assert not list(fold.cells)


def test_ids_tell_values_apart() -> None:
    """None, an empty text and texts with the same letters are different; odd text is taken."""
    values = [(None, "a"), ("", "a"), ("a", None), ("a", ""), ("\ud800", "a"), ('a","b', "c")]
    assert len({cell_id("u2026-11", each) for each in values}) == len(values)
    one, other = cell_id("u2026-11", ("ana", "x")), cell_id("u2026-11", ("ana", "y"))
    assert one[:31] == other[:31]
