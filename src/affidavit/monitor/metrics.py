"""The list of metrics: the only place where their names stand.

Prometheus' text, the tables of the documentation, rules, dashboard and OpenTelemetry's instruments
are all made from this list. The first five are those of the requirements, by the names they have
there; two of those carry a unit that Prometheus' own style check would rather see in bytes, so each
has a second name, with a factor, for whoever wants that (``affidavit metrics --names base``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

GIB: Final = 1024**3
MIB: Final = 1024**2


class Kind(StrEnum):
    """How a metric's value moves."""

    GAUGE = "gauge"
    """Up and down."""
    COUNTER = "counter"
    """Only up, from 0 at the start of what the labels name."""


class Over(StrEnum):
    """What one number stands for several labelled values of a metric."""

    SUM = "sum"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    kind: Kind
    unit: str
    """In words: ``records``, ``bytes``, ``seconds``, ``milliseconds``, ``percent``, …"""
    help: str
    """One sentence: what is counted, of what, and over which time."""
    labels: tuple[str, ...] = ()
    over: Over = Over.SUM
    base: tuple[str, float] | None = None
    """A name in Prometheus' base units, and what to multiply by."""
    source: str = "heartbeats"
    """The part of a reading it comes from; see :class:`affidavit.monitor.reading.Readings`."""


def _gauge(
    name: str, unit: str, text: str, source: str = "heartbeats", *labels: str, **more: object
) -> Metric:
    return Metric(name, Kind.GAUGE, unit, text, labels, source=source, **more)  # type: ignore[arg-type]


def _counted(name: str, unit: str, text: str) -> Metric:
    return Metric(name, Kind.COUNTER, unit, text, ("writer", "service"))


WRITES: Final = "audit_writes_per_minute"
SIZE: Final = "audit_collection_size_gb"
LATENCY: Final = "audit_write_latency_p95"
IMPACT: Final = "main_db_impact_percentage"
GROWTH: Final = "storage_growth_rate_mb_per_day"
REQUIRED: Final = (WRITES, SIZE, LATENCY, IMPACT, GROWTH)
"""The five dashboard metrics of requirement R25."""

ALL: Final[tuple[Metric, ...]] = (
    _gauge(
        WRITES,
        "records a minute",
        "Records that the database confirmed, over the last minute or so of each writer's "
        "heartbeats, all writers together.",
    ),
    _gauge(
        SIZE,
        "GB (1024³ bytes)",
        "Disk that all collections of the log take, with their indexes.",
        "sizes",
        base=("audit_collection_size_bytes", GIB),
    ),
    _gauge(
        LATENCY,
        "milliseconds",
        "95th percentile of the time from handing a record over to the database's confirmation, in "
        "the last five minutes; of several writers the slowest one's, of those with at least 20 "
        "writes in that time. With fewer it is unknown.",
        over=Over.MAX,
    ),
    _gauge(
        IMPACT,
        "percent",
        "Share of the server's work that it did on the log's collections, between two readings: "
        "time by collection (`top`), and each operation's share of the rest of its processor time.",
        "work",
    ),
    _gauge(
        GROWTH,
        "MB (1024² bytes) a day",
        "Change of the disk that the log takes, a day, over one to seven days of history. Before "
        "there is a day of it: the records of the last day at the size of the average one, where "
        "there are older ones, else unknown.",
        "sizes",
        base=("storage_growth_rate_bytes_per_day", MIB),
    ),
    # -- what becomes of records -----------------------------------------------------------------
    _counted("affidavit_records_recorded_total", "records", "Records handed over for writing."),
    _counted("affidavit_records_stored_total", "records", "Records the database has confirmed."),
    _counted(
        "affidavit_records_replayed_total", "records", "Records stored after waiting on disk."
    ),
    _counted("affidavit_records_lost_total", "records", "Records that are gone, counted."),
    _counted(
        "affidavit_slow_writes_total", "writes", "Writes that took over slow_query_threshold."
    ),
    _counted("affidavit_outages_total", "outages", "Times the database stopped answering."),
    _gauge("affidavit_records_queued", "records", "Records in memory, on their way."),
    _gauge("affidavit_records_spooled", "records", "Records waiting on local disks."),
    _gauge("affidavit_records_dead_lettered", "records", "Records the database refused, kept."),
    _gauge("affidavit_queue_size_bytes", "bytes", "Size of the queues in memory."),
    _gauge("affidavit_spool_size_bytes", "bytes", "Size of the spools on local disks."),
    _gauge(
        "affidavit_spool_oldest_age_seconds",
        "seconds",
        "Age of the oldest record that waits on a local disk; 0 where none does.",
        over=Over.MAX,
    ),
    _gauge("affidavit_writers_alive", "writers", "Writers heard from within the last minute."),
    _gauge(
        "affidavit_writers_silent",
        "writers",
        "Writers that said they were running, and have not been heard from for over a minute.",
    ),
    _gauge(
        "affidavit_writers_store_away",
        "writers",
        "Writers alive whose last word is that the database does not answer them.",
    ),
    # -- the database ----------------------------------------------------------------------------
    _gauge(
        "affidavit_pool_use_percentage",
        "percent",
        "Connections in use of those allowed: of the server (scope server), and of the pool of the "
        "writer that uses most of its own (scope writer).",
        "pool",
        "scope",
        over=Over.MAX,
    ),
    _gauge(
        "affidavit_impact_part_percentage",
        "percent",
        "The log's share of one thing its server has: time (as main_db_impact_percentage), one "
        "core of the processor, connections, cache, or disk (bytes written).",
        "work",
        "part",
        over=Over.MAX,
    ),
    _gauge(
        "affidavit_collection_size_bytes",
        "bytes",
        "Disk that one collection takes: its data, or its indexes.",
        "sizes",
        "collection",
        "part",
    ),
    _gauge(
        "affidavit_collection_documents",
        "documents",
        "Documents of one collection, by the server's own count.",
        "sizes",
        "collection",
    ),
    _gauge(
        "affidavit_slow_operations",
        "operations",
        "Operations on the log's collections over slow_query_threshold in the last five minutes, "
        "by the server's profiler.",
        "profiler",
    ),
    _gauge(
        "affidavit_clock_offset_seconds",
        "seconds",
        "The server's clock minus this machine's; of several servers the one that answered.",
        "clock",
        over=Over.MAX,
    ),
    # -- proof -----------------------------------------------------------------------------------
    _gauge(
        "affidavit_sealer_lag_seconds",
        "seconds",
        "Age of the oldest leaf batch that no seal holds; 0 where all are sealed.",
        "sealing",
        over=Over.MAX,
    ),
    _gauge(
        "affidavit_sealer_age_seconds",
        "seconds",
        "Time since a sealer was last seen.",
        "sealing",
        over=Over.MAX,
    ),
    _gauge("affidavit_sealed_leaves", "leaves", "Leaves under the newest checkpoint.", "sealing"),
    _gauge(
        "affidavit_leaf_batches_waiting", "batches", "Leaf batches that no seal holds.", "sealing"
    ),
    _gauge(
        "affidavit_anchor_age_seconds",
        "seconds",
        "Time since the newest receipt of an anchor.",
        "anchors",
        "anchor",
        over=Over.MAX,
    ),
    _gauge(
        "affidavit_anchor_failing",
        "0 or 1",
        "Whether an anchor needs looking at: its last try failed, or receipts are late or wrong.",
        "anchors",
        "anchor",
    ),
    # -- use -------------------------------------------------------------------------------------
    _gauge(
        "affidavit_requests_last_day",
        "calls",
        "Calls that ended in the last 24 hours.",
        "day",
    ),
    _gauge(
        "affidavit_cost_last_day_dollars",
        "US dollars",
        "Cost of the calls that ended in the last 24 hours.",
        "day",
    ),
    # -- monitoring itself -----------------------------------------------------------------------
    _gauge(
        "affidavit_monitor_visible",
        "0 or 1",
        "Whether one part of the reading could be read; 0 where the server withholds it.",
        "monitor",
        "part",
    ),
)

METRICS: Final[dict[str, Metric]] = {metric.name: metric for metric in ALL}
"""Every metric by its name."""
