"""What a store must do, and the contract each implementation is tested against.

Durability: when :meth:`Store.append` returns a record as ``STORED``, that record is journaled, and
on a replica set held by a majority; a SIGKILL of every process involved does not lose it.
Idempotence: appending the same record again is harmless and answers ``STORED`` again.
Atomicity: none across records; each gets its own verdict.
Concurrency: any number of threads may call one store; it never uses more than two connections.
Errors: :class:`~affidavit.errors.StoreUnavailable` means *unknown* for every record of the batch
(send it again later); :class:`~affidavit.errors.StoreRefused` means that nothing was written.
There is no update and no delete.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from affidavit.event import Dest, Document


class Encoded(NamedTuple):
    """A finished record: these bytes are what is spooled, sent and stored, unchanged."""

    dest: Dest
    record_id: bytes
    """The 12 bytes of the record's ObjectId."""
    seq: int
    body: bytes
    """The whole document as BSON."""


class Outcome(StrEnum):
    """What became of one record."""

    STORED = "stored"
    REJECTED = "rejected"


class Verdict(NamedTuple):
    """The store's answer for one record, in the order of the batch."""

    outcome: Outcome
    reason: str = ""
    """For ``REJECTED``: ``validation``, ``too_large``, ``id_conflict``, ``seq_conflict``,
    ``call_conflict`` or ``code <n>``."""


STORED = Verdict(Outcome.STORED)


class Store(Protocol):
    """The write side of a store: append, and nothing else."""

    def prepare(self, timeout_s: float) -> None:
        """Make the store ready: connect, and create what is missing where that is allowed.

        Raises StoreUnavailable or StoreRefused. Calling it again is cheap.
        """

    def append(self, batch: Sequence[Encoded], timeout_s: float) -> list[Verdict]:
        """Insert the records and wait until they are durable; one verdict for each, in order.

        An outcome that is marked (see :mod:`affidavit.store.unchecked`) is refused where its call
        is stored, and is another department's or tenant's than the outcome says.
        Raises StoreUnavailable when the answer did not come within ``timeout_s``.
        """

    def append_leaves(self, batches: Sequence[bytes], timeout_s: float) -> None:
        """Insert leaf batches (BSON, see :mod:`affidavit.integrity.leaves`) beside the records.

        Each gets ``sent_at``, by which the sealer finds it. One that is there already counts as
        inserted. Raises StoreUnavailable, or StoreRefused where the right or the place is missing.
        """

    def heartbeat(self, document: bytes, timeout_s: float) -> None:
        """Insert one BSON document into the writers' collection; kept for 24 hours."""

    def present(self, writer: str, dest: Dest, since_seq: int, timeout_s: float) -> set[int]:
        """Tell which sequence numbers of a writer, from ``since_seq`` on, are stored there."""

    def open_intents(self, since_ms: int, until_ms: int, limit: int, timeout_s: float) -> list[str]:
        """List calls begun in that time (milliseconds since 1970) that have no outcome.

        Calls already flagged by an annotation of kind ``no_outcome`` are left out. Oldest first.
        """

    def last_start(self, service: str | None, but: str, timeout_s: float) -> Document | None:
        """Return the newest ledger record of a writer's start in that service.

        Starts of the writer ``but`` do not count.
        """

    def pool_use(self) -> tuple[int, int] | None:
        """Tell how many connections of the client's pool are in use now, of how many allowed.

        None where there is no pool, or it does not tell. Never raises, and asks no server.
        """

    def compresses_blocks(self) -> bool:
        """Whether the engine compresses well by itself (zstd), so that fields need not be."""

    @property
    def dataset(self) -> str:
        """A stable name of *where* records go (replica set or hosts, database, collection).

        Without secrets. The spool's folder is named after it.
        """

    def is_same_log(self, dataset: str) -> bool:
        """Whether that name means this log too: the host list of an address may change.

        Asked after :meth:`prepare`; spools under such a name are taken over.
        """

    def close(self) -> None:
        """Give back connections this store opened; a client passed in stays open."""
