"""From readings to values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.monitor.metrics import GROWTH, IMPACT, LATENCY, REQUIRED, SIZE, WRITES
from affidavit.monitor.reading import Readings, Unknown
from affidavit.monitor.sample import sample, share_of_work
from affidavit.sealer.health import Health
from affidavit.store.monitoring import Beats, Day, Effort, Point, Server, Size, Work

pytestmark = pytest.mark.requirement("R25")

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MIB = 1024**2


def beat(writer: str = "w1", age_s: float = 5, stored: int = 100, **more: Any) -> Beats:
    """A running writer that stored 60 records in the minute before its heartbeat."""
    at = NOW - timedelta(seconds=age_s)
    newest = {
        "writer": writer,
        "service": "shop",
        "state": "running",
        "at": at,
        "counters": {"recorded": stored + 3, "stored": stored, "queued": 1, "spooled": 2},
        "latency_ms": {"p95": 90.0},
        "latency_recent_ms": {"p95": 4.0},
        **more,
    }
    return Beats(newest, at - timedelta(minutes=1), stored - 60)


def size(collection: str = "llm_audit", **more: Any) -> Size:
    """A collection of 48 MiB and 16 MiB of indexes."""
    return Size(collection, 1000, 48 * MIB, 16 * MIB, **more)


def server(**more: Any) -> Server:
    """A server with 20 of 100 connections in use."""
    return replace(Server(NOW - timedelta(days=1), 20, 80), **more)


def test_writes_a_minute_are_the_difference_between_two_heartbeats() -> None:
    """Of all writers together."""
    made = sample(None, Readings(NOW, heartbeats=[beat("w1"), beat("w2")]))
    assert made.one(WRITES) == pytest.approx(120)


def test_a_writer_that_is_not_heard_any_more_writes_nothing() -> None:
    """Its last rate is history."""
    made = sample(None, Readings(NOW, heartbeats=[beat(age_s=61)]))
    assert made.one(WRITES) == 0
    assert made.one("affidavit_writers_silent") == 1
    assert made.one("affidavit_writers_alive") == 0


def test_latency_is_the_slowest_writers_of_the_last_minutes() -> None:
    """What was slow an hour ago does not count where the heartbeat tells of what is recent."""
    fast, slow = beat("w1"), beat("w2", latency_recent_ms={"p95": 21.5})
    assert sample(None, Readings(NOW, heartbeats=[fast, slow])).one(LATENCY) == 21.5


def test_without_recent_writes_latency_is_unknown() -> None:
    """Nothing is made up from the hour before."""
    quiet = beat(latency_recent_ms={"p95": None})
    made = sample(None, Readings(NOW, heartbeats=[quiet]))
    assert made.one(LATENCY) is None
    assert "last five minutes" in made.why(LATENCY)


@pytest.mark.parametrize(("count", "told"), [(19, None), (20, 400.0)])
def test_the_latency_of_fewer_than_twenty_writes_is_unknown(count: int, told: float | None) -> None:
    """Of one write after a start, with its connection, the 95th percentile is that one."""
    started = beat(latency_recent_ms={"p95": 400.0, "count": count})
    made = sample(None, Readings(NOW, heartbeats=[started]))
    assert made.one(LATENCY) == told
    assert (LATENCY in made.quiet) == (told is None)
    assert ("20 writes or more" in made.why(LATENCY)) == (told is None)


def test_the_oldest_spooled_record_ages_while_its_writer_is_not_heard() -> None:
    """The database is away for both."""
    away = beat(age_s=120, oldest_spooled_ms=30_000)
    made = sample(None, Readings(NOW, heartbeats=[away]))
    assert made.one("affidavit_spool_oldest_age_seconds") == pytest.approx(150)


def test_counters_stand_by_writer() -> None:
    """So that none of them ever goes down when a writer is forgotten."""
    made = sample(None, Readings(NOW, heartbeats=[beat("w1", stored=5), beat("w2", stored=7)]))
    found = {dict(v.labels)["writer"]: v.value for v in
             made.values["affidavit_records_stored_total"]}  # fmt: skip
    assert found == {"w1": 5, "w2": 7}
    assert made.one("affidavit_records_stored_total") == 12


def test_the_fullest_pool_is_told() -> None:
    """Of the server and of each writer."""
    pools = [beat("w1", pool={"in_use": 1, "size": 2}), beat("w2", pool={"in_use": 9, "size": 10})]
    made = sample(None, Readings(NOW, heartbeats=pools, server=server()))
    found = {dict(v.labels)["scope"]: v.value for v in made.values["affidavit_pool_use_percentage"]}
    assert found == {"writer": 90, "server": 20}


def test_size_is_data_and_indexes_of_every_collection() -> None:
    """In 1024³ bytes."""
    made = sample(None, Readings(NOW, sizes=[size(), size("llm_audit_ledger")]))
    assert made.one(SIZE) == pytest.approx(128 / 1024)


def test_growth_is_reckoned_from_history() -> None:
    """Two days ago the log took half."""
    past = Point(NOW - timedelta(days=2, hours=1), 3600, 1, 0, 0, 0, 32 / 1024)
    made = sample(None, Readings(NOW, sizes=[size()], past=past))
    assert made.one(GROWTH) == pytest.approx(16)
    assert "2.0 days" in made.notes[GROWTH]


@pytest.mark.parametrize("hours", [0.2, 2, 23.9])
def test_growth_is_unknown_before_there_is_a_day_of_history(hours: float) -> None:
    """Its first minutes would make a log that is set up a log that grows by gigabytes."""
    past = Point(NOW - timedelta(hours=hours + 1), 3600, 1, 0, 0, 0, 32 / 1024)
    day = Day(500, Decimal(1), 1000)  # all there is
    made = sample(None, Readings(NOW, sizes=[size()], past=past, day=day))
    assert made.one(GROWTH) is None
    assert f"{hours:.1f} hours of history so far" in made.why(GROWTH)
    assert "a day of history" in made.why(GROWTH)


def test_without_history_growth_is_estimated_and_says_so() -> None:
    """A hundred of a thousand records came in the last day."""
    made = sample(None, Readings(NOW, sizes=[size()], past=None, day=Day(50, Decimal(1), 100)))
    assert made.one(GROWTH) == pytest.approx(6.4)
    assert made.notes[GROWTH] == (
        "estimated from the records of the last day; 0.0 hours of history so far"
    )


def test_what_is_withheld_is_unknown_with_the_reason() -> None:
    """And everything else is told."""
    why = Unknown("The server refuses to tell.", refused=True)
    made = sample(None, Readings(NOW, work=why, sizes=why, heartbeats=[beat()]))
    assert [made.one(name) is None for name in REQUIRED] == [False, True, False, True, True]
    assert made.why(IMPACT) == made.why(SIZE) == "The server refuses to tell."
    seen = {dict(v.labels)["part"]: v.value for v in made.values["affidavit_monitor_visible"]}
    assert (seen["work"], seen["heartbeats"]) == (0, 1)


def test_the_first_reading_has_no_share_of_work() -> None:
    """`top` counts since the server started."""
    work = Work(Effort(5, 1, 1), Effort(9, 2, 1))
    made = sample(None, Readings(NOW, work=work))
    assert "two readings" in made.why(IMPACT)


def readings(at_s: float, ours: Effort, everything: Effort, **more: Any) -> Readings:
    """What a server has done so far."""
    at = NOW + timedelta(seconds=at_s)
    return Readings(at, work=Work(ours, everything), server=server(**more))


def test_a_restarted_server_has_no_share_of_work() -> None:
    """Its counters began again."""
    before = readings(0, Effort(9000, 90, 90), Effort(90_000, 900, 90))
    now = readings(30, Effort(9100, 95, 95), Effort(99_000, 990, 95), started_at=NOW)
    assert "restarted" in sample(before, now).why(IMPACT)


def test_an_idle_server_has_no_share_of_work() -> None:
    """Nine microseconds say nothing."""
    before = readings(0, Effort(9000, 90, 90), Effort(90_000, 900, 90))
    now = readings(30, Effort(9009, 91, 90), Effort(90_009, 901, 90))
    assert "next to nothing" in sample(before, now).why(IMPACT)


def test_the_share_of_one_core_is_told_beside_the_share_of_work() -> None:
    """All the work of a server that has little to do may be the log's, and still be little."""
    before = readings(0, Effort(0, 0, 0), Effort(0, 0, 0), cpu_us=0)
    now = readings(10, Effort(50_000, 100, 0), Effort(50_000, 100, 0), cpu_us=60_000)
    made = sample(before, now)
    parts = {
        dict(v.labels)["part"]: v.value for v in made.values["affidavit_impact_part_percentage"]
    }
    assert parts["time"] == made.one(IMPACT) == 100
    assert parts["core"] == pytest.approx(0.6)


def test_a_log_on_a_server_of_its_own_takes_nothing_of_the_main_one() -> None:
    """What is read is its own server; that is told as parts."""
    before = readings(0, Effort(0, 0, 0), Effort(0, 0, 0), cpu_us=0)
    now = readings(10, Effort(50_000, 100, 0), Effort(50_000, 100, 0), cpu_us=60_000)
    made = sample(before, replace(now, apart=True))
    assert made.one(IMPACT) == 0
    assert "of its own" in made.notes[IMPACT]
    assert made.one("affidavit_impact_part_percentage") == 100


def test_without_processor_time_an_operation_counts_a_tenth_of_a_millisecond_more() -> None:
    """As measured; a server may withhold serverStatus and not `top`."""
    share = share_of_work(Work(Effort(1000, 10, 0), Effort(10_000, 20, 0)), None, None)
    assert share is not None
    assert share.percent == pytest.approx(100 * 2000 / 12_000)


def test_journal_syncs_are_the_writers() -> None:
    """Ten of them at 125 µs, all for the log's writes."""
    done = Work(Effort(1000, 10, 10), Effort(2000, 20, 10))
    share = share_of_work(done, 2000 + 20 * 100 + 10 * 125, 10)
    assert share is not None
    assert share.percent == pytest.approx(100 * (1000 + 1000 + 1250) / 5250)


efforts = st.builds(
    lambda inside, count, writes: Effort(inside, count, min(count, writes)),
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


@given(efforts, efforts, st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 10**5))
def test_a_share_is_never_outside_0_and_100(
    ours: Effort, theirs: Effort, cpu_us: int | None, syncs: int | None
) -> None:
    """Whatever the server tells."""
    everything = Effort(
        ours.inside_us + theirs.inside_us, ours.count + theirs.count, ours.writes + theirs.writes
    )
    share = share_of_work(Work(ours, everything), cpu_us, syncs)
    assert share is None or 0 <= share.percent <= 100


def test_sealing_and_the_day_are_told() -> None:
    """As the sealer's health and the sums say."""
    health = Health("o", 10, 3.0, {}, 4.0, 7.5, 2, "separated", 0)
    made = sample(None, Readings(NOW, sealing=health, day=Day(12, Decimal("1.25"), 24)))
    assert made.one("affidavit_sealer_lag_seconds") == 7.5
    assert made.one("affidavit_sealer_age_seconds") == 4
    assert made.one("affidavit_requests_last_day") == 12
    assert made.one("affidavit_cost_last_day_dollars") == 1.25
