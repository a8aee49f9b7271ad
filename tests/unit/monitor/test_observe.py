"""What rules see of a sample: levels, growth of counters, and parts that are not known any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from affidavit import AuditConfig
from affidavit.monitor.alerts import Known, NotKnown, Observed
from affidavit.monitor.observe import Memory, observe, unseen
from affidavit.monitor.rules import Rule, rules_of
from affidavit.monitor.sample import Sample

pytestmark = pytest.mark.requirement("R23", "R24")

START = datetime(2026, 11, 23, tzinfo=UTC)
RULES = {rule.name: rule for rule in rules_of(AuditConfig())}


class Looks:
    """Looks at one counter of some writers, half a minute apart; the memory is stored between."""

    def __init__(self, rule: str) -> None:
        self.rule: Rule = RULES[rule]
        self.at = START
        self.memory = Memory()

    def see(self, after_s: float = 30, **writers: float) -> float:
        """Look once, and give how much it grew."""
        self.at += timedelta(seconds=after_s)
        sample = Sample(self.at)
        for writer, count in writers.items():
            sample.put(self.rule.metric or "", count, writer=writer)
        self.memory = Memory.from_document(self.memory.as_document())
        (seen,) = observe([self.rule], sample, self.memory).values()
        assert isinstance(seen, Known)
        return seen.values[""]


def test_growth_is_added_up_over_the_window_and_over_writers() -> None:
    """And leaves it again."""
    looks = Looks("slow_writes")
    assert looks.see(a=0, b=0) == 0
    assert looks.see(a=2, b=1) == 3
    assert looks.see(a=2, b=2) == 4
    assert looks.see(280, a=2, b=2) == 1
    assert looks.see(30, a=2, b=2) == 0


def test_a_counter_that_begins_again_counts_from_nought() -> None:
    """A process that restarted under the same name."""
    looks = Looks("slow_writes")
    looks.see(a=5)
    assert looks.see(a=2) == 2


def test_a_writer_that_is_new_counts_whole_and_one_that_is_gone_takes_nothing_back() -> None:
    """Heartbeats are kept for a day."""
    looks = Looks("slow_writes")
    looks.see(a=5)
    assert looks.see(a=5, b=3) == 3
    assert looks.see(b=3) == 3


def test_the_first_look_counts_what_was_lost_before_and_not_what_was_slow() -> None:
    """A loss that nobody was told of must be told; slow writes of yesterday need not."""
    assert Looks("slow_writes").see(a=7) == 0
    assert Looks("records_lost").see(a=7) == 7


def test_a_clock_behind_is_as_bad_as_one_ahead() -> None:
    """The rule looks at how far it is off."""
    sample = Sample(START)
    sample.put("affidavit_clock_offset_seconds", -4.0)
    assert seen(sample, "clock_offset") == Known({"": 4.0})


def test_each_value_of_the_label_is_a_subject() -> None:
    """Two anchors are two alerts, in intervals."""
    sample = Sample(START)
    sample.put("affidavit_anchor_age_seconds", 7200.0, anchor="one")
    sample.put("affidavit_anchor_age_seconds", 3600.0, anchor="two")
    assert seen(sample, "anchor_age") == Known({"one": 2.0, "two": 1.0})


def test_what_the_sample_does_not_know_is_not_known_with_its_reason() -> None:
    """Which people read in `affidavit alerts list`."""
    sample = Sample(START, unknown={"affidavit_slow_operations": "The profiler is off."})
    assert seen(sample, "slow_operations") == NotKnown("The profiler is off.")


def test_a_metric_with_nothing_to_tell_ends_what_fired_by_it() -> None:
    """Nobody writes any more, so no write is slow; that is known, unlike what is withheld."""
    sample = Sample(START, unknown={"audit_write_latency_p95": "Too few writes."})
    assert seen(sample, "write_latency_p95") == NotKnown("Too few writes.")
    sample.quiet.add("audit_write_latency_p95")
    assert seen(sample, "write_latency_p95") == Known({})


def seen(sample: Sample, rule: str) -> Observed:
    """What one rule sees."""
    return observe([RULES[rule]], sample, Memory())[rule]


def test_a_part_that_was_known_once_counts_the_seconds_since_and_one_never_known_none() -> None:
    """A right that was never there is no alert."""
    memory = Memory()
    unseen({"top": True, "profiler": False}, START, memory)
    after = unseen({"top": False, "profiler": False}, START + timedelta(minutes=11), memory)
    assert after == Known({"top": 660.0})


def test_a_part_that_is_asked_for_less_often_stays_missing_in_between() -> None:
    """Until it is known again."""
    memory = Memory()
    unseen({"plans": True}, START, memory)
    unseen({"plans": False}, START + timedelta(minutes=5), memory)
    memory = Memory.from_document(memory.as_document())
    later = START + timedelta(minutes=12)
    assert unseen({"top": True}, later, memory) == Known({"plans": 720.0})
    assert unseen({"plans": True}, later, memory) == Known({})
