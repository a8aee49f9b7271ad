"""From readings to values: pure functions, and no value where nothing is known.

The share of the database's work (``main_db_impact_percentage``) is, between two readings::

    100 * (a * t + o * n + j * w) / (a * T + o * N + j * W)

``t``, ``n`` and ``w`` are the time inside operations on the log's collections, the number of those
operations, and how many of them write, by the server's ``top``; ``T``, ``N`` and ``W`` the same of
all collections. ``top`` leaves out what an operation costs before and after: reading it from the
network, checking rights, answering (``o``), and bringing a write's journal to disk (``j``). And an
operation that has to wait for a processor is inside for longer than it works: ``a`` is 1 or less.
They come from the processor time ``C`` of the server's process and the number ``S`` of its journal
syncs, at 125 µs for one: ``j = 125 * S / W``, and ``C = a * T + o * N + 125 * S`` is fulfilled by
the ``a`` and ``o`` that are nearest to what is usual, 1 and 100 µs. Where the server does not tell
``C``, they are taken as usual. ``docs/adr`` has the measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from affidavit.monitor import metrics
from affidavit.monitor.metrics import GIB, METRICS, MIB, Over
from affidavit.monitor.reading import Readings, Unknown
from affidavit.store.monitoring import Beats, Effort, Point, Server, Size, Work

SILENT_S: Final = 60.0
"""A running writer beats every ten seconds; after this it is silent."""

LEAST_WORK_US: Final = 1000
"""Below this much time between two readings a share says nothing."""

OVERHEAD_US: Final = 100.0
"""What an operation costs besides, usually: measured on one machine."""

OVERHEAD_STEP_US: Final = 50.0
AWAKE_STEP: Final = 0.5

SYNC_US: Final = 125.0
"""What bringing the journal to disk once costs: measured on one machine."""

MOST_OVERHEAD_US: Final = 1000.0
"""An idle server's own housekeeping is not the cost of the few operations there are."""

LEAST_AWAKE: Final = 0.05

LEAST_SPAN: Final = timedelta(days=1)
"""A growth a day is not reckoned from less history: nights differ from days, and a log that is set
up takes its first megabytes at once."""

LEAST_WRITES: Final = 20
"""Of fewer writes the 95th percentile is the slowest one, such as the first after a start."""

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a metric."""

    value: float
    labels: Labels = ()


@dataclass(slots=True)
class Sample:
    """Every metric's values at one moment, and the reason where there is none."""

    at: datetime
    values: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """What has to be said of a value, such as that it is estimated."""
    quiet: set[str] = field(default_factory=set)
    """Metrics without a value because next to nothing happened: what fired by them is over."""

    def one(self, name: str) -> float | None:
        """Give a metric as one number: the sum, or the highest, of its labelled values."""
        found = self.values.get(name)
        if not found:
            return None
        each = [value.value for value in found]
        return sum(each) if METRICS[name].over is Over.SUM else max(each)

    def ones(self) -> dict[str, float]:
        """Give every metric that is known as one number."""
        found = ((name, self.one(name)) for name in METRICS)
        return {name: value for name, value in found if value is not None}

    def why(self, name: str) -> str:
        """Say why a metric has no value; empty where it has one."""
        if self.values.get(name):
            return ""
        return self.unknown.get(name, "Nothing was read of it.")

    def put(self, name: str, value: float | Unknown, **labels: str) -> None:
        """Add a value, or the reason why there is none."""
        if isinstance(value, Unknown):
            self.unknown.setdefault(name, value.why)
            return
        added = Value(float(value), tuple(sorted(labels.items())))
        self.values[name] = (*self.values.get(name, ()), added)


def sample(before: Readings | None, now: Readings) -> Sample:
    """Make the values of two readings; without an earlier one, rates of the server are unknown."""
    made = Sample(now.at)
    _heartbeats(made, now)
    _sizes(made, now)
    _work(made, before, now)
    _server(made, now)
    _proof(made, now)
    _day(made, now)
    made.put("affidavit_slow_operations", now.profiler)
    made.put("affidavit_clock_offset_seconds", now.clock)
    for part, found in now.parts().items():
        made.put("affidavit_monitor_visible", float(not isinstance(found, Unknown)), part=part)
    return made


# -- heartbeats ----------------------------------------------------------------------------------

_COUNTED: Final = ("recorded", "stored", "replayed", "lost")
_LEVELS: Final = ("queued", "spooled", "dead_lettered")


def _heartbeats(made: Sample, now: Readings) -> None:
    found = now.heartbeats
    if isinstance(found, Unknown):
        for metric in metrics.ALL:
            if metric.source == "heartbeats":
                made.put(metric.name, found)
        made.put("affidavit_pool_use_percentage", found)
        return
    for beat in found:
        newest = beat.newest
        counters = newest.get("counters", {})
        who = {
            "writer": str(newest.get("writer")),
            "service": str(newest.get("service") or newest.get("program") or ""),
        }
        for name in _COUNTED:
            made.put(f"affidavit_records_{name}_total", _number(counters.get(name)), **who)
        made.put("affidavit_slow_writes_total", _number(newest.get("slow_writes")), **who)
        made.put("affidavit_outages_total", _number(newest.get("outages")), **who)
    for name in _LEVELS:
        level = sum(_number(beat.newest.get("counters", {}).get(name)) for beat in found)
        made.put(f"affidavit_records_{name}", level)
    for place in ("queue", "spool"):
        size = sum(_number(beat.newest.get(f"{place}_bytes")) for beat in found)
        made.put(f"affidavit_{place}_size_bytes", size)
    alive = [beat for beat in found if _is_running(beat) and _age_s(beat, now) <= SILENT_S]
    silent = [beat for beat in found if _is_running(beat) and _age_s(beat, now) > SILENT_S]
    away = [beat for beat in alive if beat.newest.get("breaker") == "open"]
    made.put("affidavit_writers_alive", len(alive))
    made.put("affidavit_writers_silent", len(silent))
    made.put("affidavit_writers_store_away", len(away))
    made.put("affidavit_spool_oldest_age_seconds", _oldest_s(found, now))
    made.put(metrics.WRITES, sum(_rate(beat, now) for beat in found))
    latency = _latency(alive)
    made.put(metrics.LATENCY, latency)
    if isinstance(latency, Unknown):
        made.quiet.add(metrics.LATENCY)
    _pools(made, alive)


def _is_running(beat: Beats) -> bool:
    return beat.newest.get("state") == "running"


def _age_s(beat: Beats, now: Readings) -> float:
    """Tell how old a heartbeat is; its writer's clock and ours are taken for one."""
    at = beat.newest.get("at")
    return max(0.0, (now.at - at).total_seconds()) if isinstance(at, datetime) else float("inf")


def _rate(beat: Beats, now: Readings) -> float:
    """Give records a minute since the earlier heartbeat; of a writer not heard any more, none."""
    at = beat.newest.get("at")
    if not isinstance(at, datetime) or _age_s(beat, now) > SILENT_S or beat.earlier_at is None:
        return 0.0
    span_s = (at - beat.earlier_at).total_seconds()
    stored = _number(beat.newest.get("counters", {}).get("stored")) - beat.earlier_stored
    # What a process stored within seconds is that many in this minute, and no rate for an hour.
    return max(0.0, 60.0 * stored / max(60.0, span_s))


def _latency(alive: Sequence[Beats]) -> float | Unknown:
    """Give the slowest writer's p95, of the last five minutes where its heartbeat tells that."""
    found = []
    for beat in alive:
        recent = beat.newest.get("latency_recent_ms")
        told = recent if isinstance(recent, dict) else beat.newest.get("latency_ms", {})
        count = told.get("count", LEAST_WRITES)  # an older writer does not tell
        if isinstance(told.get("p95"), int | float) and count >= LEAST_WRITES:
            found.append(float(told["p95"]))
    if found:
        return max(found)
    return Unknown(
        f"No writer that is alive has made {LEAST_WRITES} writes or more in the last five minutes."
        if alive
        else "No writer is alive."
    )


def _oldest_s(found: Sequence[Beats], now: Readings) -> float:
    """Give the age of what waits longest: as told, and as long ago as it was told."""
    ages = [0.0]
    for beat in found:
        waiting = _number(beat.newest.get("counters", {}).get("spooled"))
        told_ms = beat.newest.get("oldest_spooled_ms")
        if isinstance(told_ms, int | float) and told_ms > 0:
            ages.append(float(told_ms) / 1000 + _age_s(beat, now))
        elif waiting:
            ages.append(_age_s(beat, now))
    return max(ages)


def _pools(made: Sample, alive: Sequence[Beats]) -> None:
    shares = [
        100.0 * _number(pool.get("in_use")) / size
        for beat in alive
        if isinstance(pool := beat.newest.get("pool"), dict)
        and (size := _number(pool.get("size"))) > 0
    ]
    name = "affidavit_pool_use_percentage"
    if shares:
        made.put(name, max(shares), scope="writer")
    else:
        made.put(name, Unknown("No writer that is alive tells of its pool."))


def _number(found: Any) -> float:
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else 0.0


# -- sizes ---------------------------------------------------------------------------------------


def _sizes(made: Sample, now: Readings) -> None:
    sizes = now.sizes
    if isinstance(sizes, Unknown):
        for name in (metrics.SIZE, metrics.GROWTH):
            made.put(name, sizes)
        for name in ("affidavit_collection_size_bytes", "affidavit_collection_documents"):
            made.put(name, sizes)
        return
    for each in sizes:
        for part, size in (("data", each.data_bytes), ("indexes", each.index_bytes)):
            made.put("affidavit_collection_size_bytes", size, collection=each.collection, part=part)
        made.put("affidavit_collection_documents", each.documents, collection=each.collection)
    total = sum(each.disk_bytes for each in sizes)
    made.put(metrics.SIZE, total / GIB)
    made.put(metrics.GROWTH, _growth(made, now, total))


def _growth(made: Sample, now: Readings, total: int) -> float | Unknown:
    """Give MB a day: from the history, else from what the last day's records take."""
    past = now.past
    # A bucket's last value is from its end, or before where nobody looked any more.
    then = past.at + timedelta(seconds=past.seconds) if isinstance(past, Point) else now.at
    span = max(now.at - then, timedelta(0))
    if isinstance(past, Point) and span >= LEAST_SPAN:
        days = span / timedelta(days=1)
        made.notes[metrics.GROWTH] = f"over {days:.1f} days of history"
        return (total - past.last * GIB) / MIB / days
    history = f"{span / timedelta(hours=1):.1f} hours of history so far"
    records = _largest(now.sizes)
    if isinstance(now.day, Unknown) or records is None or records.documents <= now.day.records:
        return Unknown(
            "It takes a day of history of the log's size, which `affidavit monitor` keeps "
            f"({history}), or records that are older than a day."
        )
    made.notes[metrics.GROWTH] = f"estimated from the records of the last day; {history}"
    return total / records.documents * now.day.records / MIB


def _largest(sizes: Sequence[Size] | Unknown) -> Size | None:
    """Give the records' collection: the first of the sizes."""
    return None if isinstance(sizes, Unknown) or not sizes else sizes[0]


# -- the server's work ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the server's work was the log's."""

    ours_us: float
    """Processor time, as estimated."""
    all_us: float

    @property
    def percent(self) -> float:
        """Of 100."""
        return min(100.0, 100.0 * self.ours_us / self.all_us)


def share_of_work(done: Work, cpu_us: int | None, syncs: int | None) -> Share | None:
    """Work out the share of what was done between two readings; see the module for the formula.

    ``cpu_us`` and ``syncs`` are the server's between the two, None where it does not tell.
    None where there was next to no work.
    """
    ours, everything = done.ours, done.everything
    if min(ours.inside_us, ours.count, ours.writes) < 0 or everything.inside_us < LEAST_WORK_US:
        return None
    journal_us = SYNC_US * (syncs or 0)
    awake, each_us = 1.0, OVERHEAD_US
    if cpu_us is not None:
        journal_us = min(journal_us, float(cpu_us))
        awake, each_us = _explained(cpu_us - journal_us, everything)
    written_us = journal_us / max(1, everything.writes)

    def cost_us(effort: Effort) -> float:
        return awake * effort.inside_us + each_us * effort.count + written_us * effort.writes

    return Share(cost_us(ours), cost_us(everything))


def _explained(spent_us: float, done: Effort) -> tuple[float, float]:
    """Give ``a`` and ``o`` that explain processor time: as near to 1 and 100 µs as can be.

    Near is meant in steps of 0.5 for the one and 50 µs for the other.
    """
    inside_us, count = done.inside_us, max(1, done.count)
    part, each = inside_us * AWAKE_STEP, count * OVERHEAD_STEP_US
    missing = (spent_us - inside_us - OVERHEAD_US * count) / (part * part + each * each)
    awake = 1.0 + missing * part * AWAKE_STEP
    if awake > 1.0:  # nothing runs for longer than its time: the rest is of each operation
        awake = 1.0
        return awake, max(0.0, min(MOST_OVERHEAD_US, (spent_us - inside_us) / count))
    overhead_us = OVERHEAD_US + missing * each * OVERHEAD_STEP_US
    return max(LEAST_AWAKE, awake), max(0.0, overhead_us)


_FIRST: Final = Unknown("It takes two readings; this is the first.")
_RESTARTED: Final = Unknown("The server was restarted between two readings.")
_IDLE: Final = Unknown("The server had next to nothing to do between two readings.")
_PART: Final = "affidavit_impact_part_percentage"


def _work(made: Sample, before: Readings | None, now: Readings) -> None:
    share = _share(before, now)
    if now.apart:
        made.put(metrics.IMPACT, 0.0)
        made.notes[metrics.IMPACT] = "the log has a server of its own; the parts are about that one"
    elif isinstance(share, Unknown):
        made.put(metrics.IMPACT, share)
    else:
        made.put(metrics.IMPACT, share.percent)
    if not isinstance(share, Unknown):
        made.put(_PART, share.percent, part="time")
        if before is not None and (span_us := (now.at - before.at).total_seconds() * 1e6) > 0:
            made.put(_PART, 100.0 * share.ours_us / span_us, part="core")
    for part, found in (
        ("connections", _share_of_connections(now)),
        ("cache", _share_of_cache(now)),
        ("disk", _share_of_disk(before, now)),
    ):
        if not isinstance(found, Unknown):
            made.put(_PART, found, part=part)
    if _PART not in made.values:
        made.put(_PART, share if isinstance(share, Unknown) else _FIRST)


def _share(before: Readings | None, now: Readings) -> Share | Unknown:
    if isinstance(now.work, Unknown):
        return now.work
    if before is None or isinstance(before.work, Unknown):
        return _FIRST
    if _restarted(before, now) or now.work.everything.count < before.work.everything.count:
        return _RESTARTED
    cpu_us, syncs = (_counted(before, now, name) for name in ("cpu_us", "syncs"))
    share = share_of_work(now.work.since(before.work), cpu_us, syncs)
    return _IDLE if share is None else share


def _counted(before: Readings, now: Readings, name: str) -> int | None:
    """Give by how much one of the server's counters grew; None where it does not tell."""
    if isinstance(before.server, Unknown) or isinstance(now.server, Unknown):
        return None
    then, this = getattr(before.server, name), getattr(now.server, name)
    return None if then is None or this is None else max(0, this - then)


def _restarted(before: Readings, now: Readings) -> bool:
    then, this = before.server, now.server
    if isinstance(then, Unknown) or isinstance(this, Unknown):
        return False
    return abs((this.started_at - then.started_at).total_seconds()) > 10.0  # noqa: PLR2004 - clocks


def _share_of_connections(now: Readings) -> float | Unknown:
    if isinstance(now.connections, Unknown):
        return now.connections
    if isinstance(now.server, Unknown) or not now.server.connections:
        return _FIRST
    return min(100.0, 100.0 * now.connections / now.server.connections)


def _share_of_cache(now: Readings) -> float | Unknown:
    ours, everything = _stored(now, "cache_bytes")
    if ours is None or not everything:
        return Unknown("The storage engine does not tell.")
    return min(100.0, 100.0 * ours / everything)


def _share_of_disk(before: Readings | None, now: Readings) -> float | Unknown:
    """Bytes written between two readings of the sizes; they may lie minutes apart."""
    if before is None or _restarted(before, now):
        return _FIRST
    ours, everything = _stored(now, "written_bytes")
    ours_then, everything_then = _stored(before, "written_bytes")
    if None in {ours, everything, ours_then, everything_then}:
        return Unknown("The storage engine does not tell.")
    assert ours is not None  # noqa: S101 - for the type checker: looked at above
    assert everything is not None  # noqa: S101 - the same
    written = everything - (everything_then or 0)
    if written <= 0 or ours < (ours_then or 0):
        return _IDLE
    return min(100.0, 100.0 * (ours - (ours_then or 0)) / written)


def _stored(readings: Readings, name: str) -> tuple[int | None, int | None]:
    """Give one of the storage engine's numbers: the log's, and the server's."""
    sizes, server = readings.sizes, readings.server
    if isinstance(sizes, Unknown) or not isinstance(server, Server):
        return None, None
    each = [getattr(size, name) for size in sizes]
    ours = None if None in each or not each else sum(each)
    return ours, getattr(server, name)


def _server(made: Sample, now: Readings) -> None:
    server = now.server
    name = "affidavit_pool_use_percentage"
    if isinstance(server, Unknown):
        made.put(name, server)
        return
    allowed = server.connections + server.connections_left
    if allowed:
        made.put(name, 100.0 * server.connections / allowed, scope="server")


# -- proof and use -------------------------------------------------------------------------------


def _proof(made: Sample, now: Readings) -> None:
    found = now.sealing
    sealing = (
        "affidavit_sealer_lag_seconds",
        "affidavit_sealed_leaves",
        "affidavit_leaf_batches_waiting",
        "affidavit_sealer_age_seconds",
    )
    if isinstance(found, Unknown):
        _all_unknown(made, sealing, found)
    else:
        never = Unknown("No sealer has been seen.")
        numbers = (found.lag_s, found.size, found.waiting)
        for name, value in zip(sealing, numbers, strict=False):
            made.put(name, value)
        made.put(sealing[-1], never if found.sealer_age_s is None else found.sealer_age_s)
    anchors = now.anchors
    ages = ("affidavit_anchor_age_seconds", "affidavit_anchor_failing")
    if isinstance(anchors, Unknown):
        _all_unknown(made, ages, anchors)
        return
    if not anchors:
        _all_unknown(made, ages, Unknown("No anchor is configured here."))
    for each in anchors:
        none = Unknown(f"{each.anchor} has no receipt yet.")
        made.put(ages[0], none if each.age_s is None else each.age_s, anchor=each.anchor)
        made.put(ages[1], float(each.wrong), anchor=each.anchor)


def _day(made: Sample, now: Readings) -> None:
    names = ("affidavit_requests_last_day", "affidavit_cost_last_day_dollars")
    if isinstance(now.day, Unknown):
        _all_unknown(made, names, now.day)
        return
    made.put(names[0], now.day.calls)
    made.put(names[1], float(now.day.cost_usd))


def _all_unknown(made: Sample, names: Iterable[str], why: Unknown) -> None:
    for name in names:
        made.put(name, why)
