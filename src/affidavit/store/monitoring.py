"""What monitoring reads of a store and keeps in it: plain data, and the Protocol behind it.

Contract
--------
Nothing here changes a record. Reading a part raises :class:`~affidavit.errors.StoreRefused` where
the server or the database user's rights withhold it, with words that say what is missing, and
:class:`~affidavit.errors.StoreUnavailable` where the server does not answer; whoever asks goes on
with the other parts. Each question has a limit on its time. Any number of threads may ask.

Sizes are bytes, times aware and UTC. Counters that the server keeps (time per collection, bytes
written) begin again when it starts: ``started_at`` tells two runs apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from affidavit.event import Document


@dataclass(frozen=True, slots=True)
class Beats:
    """The newest heartbeat of a writer, and how many of its records were stored before."""

    newest: Document
    earlier_at: datetime | None = None
    """When the oldest heartbeat of the window was written; None where there is no other."""
    earlier_stored: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """What one collection takes."""

    collection: str
    documents: int
    data_bytes: int
    """On disk, compressed, with space that was freed and not given back."""
    index_bytes: int
    cache_bytes: int | None = None
    """In the storage engine's cache; None where it does not say."""
    written_bytes: int | None = None
    """Written from the cache to disk since the server started."""

    @property
    def disk_bytes(self) -> int:
        """Data and indexes together."""
        return self.data_bytes + self.index_bytes


@dataclass(frozen=True, slots=True)
class Effort:
    """What some operations took, and how many there were."""

    inside_us: int
    """Microseconds inside the operations."""
    count: int
    writes: int
    """How many of them insert, update or remove."""

    def since(self, before: Effort) -> Effort:
        """Give the difference."""
        return Effort(
            self.inside_us - before.inside_us,
            self.count - before.count,
            self.writes - before.writes,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What the server has done since it started: on the log's collections, and on all.

    Without its own databases ``local``, ``config`` and ``admin``.
    """

    ours: Effort
    everything: Effort

    def since(self, before: Work) -> Work:
        """Give what was done after an earlier reading."""
        return Work(self.ours.since(before.ours), self.everything.since(before.everything))


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself."""

    started_at: datetime
    connections: int
    connections_left: int
    """How many more it would take."""
    cache_bytes: int | None = None
    written_bytes: int | None = None
    cpu_us: int | None = None
    """Processor time of its process since it started; None where it does not tell."""
    syncs: int | None = None
    """How often it has brought its journal to disk since it started."""


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours."""

    calls: int
    cost_usd: Decimal
    records: int


@dataclass(frozen=True, slots=True)
class IndexUse:
    """One index as it is, with what it is good for and what it costs."""

    collection: str
    name: str
    keys: tuple[tuple[str, Any], ...]
    size_bytes: int | None
    uses: int | None
    """Since ``since``; None where the server does not tell."""
    since: datetime | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of ``unique``, ``partialFilterExpression``, ``expireAfterSeconds``, ``sparse``, those set."""
    purpose: str = ""
    """What set-up makes it for; empty where it is none of ours."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the server carries out one question."""

    shape: str
    """Which question, such as ``search by user``."""
    collection: str
    index: str | None
    """Name of the index it walks; None where it reads the whole collection."""
    stages: tuple[str, ...]
    examined: int | None = None
    """Documents it looked at; None where it was planned and not run."""
    keys: int | None = None
    returned: int | None = None

    @property
    def scans(self) -> bool:
        """Whether it reads the whole collection."""
        return "COLLSCAN" in self.stages


@dataclass(frozen=True, slots=True)
class SlowShape:
    """A question on the log's collections that took long, without its values."""

    collection: str
    equal: tuple[str, ...]
    """Fields asked for by one value."""
    ranged: tuple[str, ...]
    sort: tuple[tuple[str, int], ...]
    count: int
    slowest_ms: int
    summary: str
    """How the server carried it out, such as ``COLLSCAN``."""


@dataclass(frozen=True, slots=True)
class Point:
    """One bucket of history: what a metric was in ``seconds`` from ``at`` on."""

    at: datetime
    seconds: int
    count: int
    mean: float
    low: float
    high: float
    last: float


class MonitorStore(Protocol):
    """What monitoring needs of a store; see the module for the contract."""

    @property
    def log(self) -> str:
        """A short name of the log: database and records collection."""

    @property
    def apart(self) -> bool:
        """Whether the log has a server of its own, so that the main one does nothing for it."""

    def clock_offset_s(self) -> float:
        """Give the server's clock minus this machine's."""

    def beats(self, window_s: float) -> Sequence[Beats]:
        """Give each writer's newest heartbeat of the last 24 hours, and one of the window."""

    def sizes(self) -> Sequence[Size]:
        """Give the size of each collection of the log that exists."""

    def work(self) -> Work:
        """Give the time spent by collection."""

    def server(self) -> Server:
        """Give what the server says of itself."""

    def own_connections(self) -> int:
        """Count the server's connections that clients of this package have opened."""

    def slow_operations(self, since: datetime, over_ms: float) -> int:
        """Count the profiler's operations on the log's collections that took longer."""

    def last_day(self) -> Day:
        """Count and add up the calls that ended in the last 24 hours."""

    # -- history ---------------------------------------------------------------------------------

    def keep(self, at: datetime, values: Mapping[str, float], steps: Iterable[int]) -> None:
        """Add a sample to the bucket of each step (seconds); the same ``at`` counts once."""

    def history(self, metric: str, step: int, since: datetime, until: datetime) -> Sequence[Point]:
        """Give the buckets of one step in which the metric is known, oldest first."""

    def prune(self, step: int, before: datetime) -> int:
        """Remove the buckets of one step that begin before that time; says how many."""

    # -- advice ----------------------------------------------------------------------------------

    def indexes(self) -> Sequence[IndexUse]:
        """Give every index of the log's collections with its size and uses."""

    def plans(self, *, run: bool) -> Sequence[Plan]:
        """Ask the server how it carries out each question of the read side.

        With ``run`` they are run too (and counted, nothing is returned), each within a second.
        """

    def slow_shapes(self, since: datetime, over_ms: float) -> Sequence[SlowShape]:
        """Give the shapes of the profiler's slow questions on the log's collections."""

    # -- notes of measurements -------------------------------------------------------------------

    def add_note(self, kind: str, document: Document) -> str:
        """Keep a measurement; gives its name. ``at`` is added."""

    def notes(self, kind: str, limit: int = 50) -> Sequence[Document]:
        """Give the measurements of a kind, newest first."""
