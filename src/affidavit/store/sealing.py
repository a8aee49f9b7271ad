"""What the log's own collections must do: leaf batches, seals, tiles, and reading what they prove.

Contract
--------
Durability: what :meth:`SealStore.claim`, :meth:`~SealStore.add_seal`,
:meth:`~SealStore.add_batch` and :meth:`~SealStore.put_tiles` have answered is journaled, and on a
replica set held by a majority. Whatever is read is held by a majority too, so that nothing is
sealed which a fail-over could still take away.
Concurrency: any number of sealers, on any number of hosts, may work on one log. ``_id`` is unique:
of several that add the seal ``k``, exactly one is told True, and of several that claim the log, all
are given the same identity. Any number of threads may call one store.
Nothing is updated and nothing removed here.
Errors: :class:`~affidavit.errors.StoreUnavailable` means *unknown* (ask again; repeating is safe),
:class:`~affidavit.errors.StoreRefused` that nothing was written.

Documents
---------
Times are aware and UTC, bytes are ``bytes``.

``identity``
    ``{_id: "log", origin, vkey, created_at}``, inserted once.
a seal
    ``{_id: k, i0, n, items, frontier, size, root, cp, vkey, at, mark, by}``, ``k`` = 0, 1, 2, …:
    the leaves ``i0`` to ``i0 + n - 1`` are those of the items in order; then the tree has ``size``
    leaves, the ``root``, and ``frontier`` as its complete subtrees; ``cp`` is the signed checkpoint
    that says so. An item is ``{b: batch id, n}`` with ``from`` where it begins inside the batch and
    ``late: True`` where a gap had been sealed in its place, or ``{gap: writer, s0, n, t}``, one
    leaf. ``vkey`` is the key that signed, ``mark`` the newest ``sent_at`` that was looked at, and
    ``by`` the process that sealed. ``key: {vkey, note}`` means that the seals after this one are
    signed by that key: the note is signed by the key before and by the new one.
    ``refused: [{b, why}]`` names batches that are not sealed because they are wrong. ``state`` is,
    now and then, what is sealed of each writer that is at work, so that a sealer that starts need
    not read the whole log; it proves nothing.
a receipt
    ``{_id: "anchor:…", anchor, kind, at, …}`` stands among the seals; see
    :mod:`affidavit.anchors.run`. It proves what it holds by itself, wherever it is kept.
a batch
    see :class:`affidavit.integrity.leaves.LeafBatch`, with ``sent_at``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from affidavit.event import Document


class BatchName(NamedTuple):
    """A leaf batch, without its leaves."""

    id: str
    sent_at: datetime


class SealStore(Protocol):
    """The log's own collections; see the module for the contract."""

    @property
    def dataset(self) -> str:
        """A stable name of where the log lies, without secrets."""

    # -- the log ---------------------------------------------------------------------------------

    def identity(self) -> Document | None:
        """Give the log's identity, or None where nobody has claimed it yet."""

    def claim(self, origin: str, vkey: str) -> Document:
        """Make this the log's identity if it has none; give the one it has in either case."""

    def last_seal(self) -> Document | None:
        """Give the newest seal."""

    def seals(self, from_k: int = 0) -> Iterator[Document]:
        """Give the seals from ``from_k`` on, in order."""

    def add_seal(self, document: Document) -> bool:
        """Insert a seal; False if its ``_id`` is taken."""

    def items_of(self, writer: str) -> Iterator[Document]:
        """Give what is sealed of one writer: the items of all seals, in the order of the log."""

    def seals_of(self, writer: str) -> Iterator[Document]:
        """Give the seals that hold something of one writer, in order."""

    def sealed(self, batch_ids: Sequence[str]) -> set[str]:
        """Tell which of these batches are named by a seal."""

    # -- receipts of anchors ---------------------------------------------------------------------

    def add_receipt(self, document: Document) -> bool:
        """Insert a receipt, whose ``_id`` is a text; False if it is taken."""

    def newest_receipt(self, prefix: str) -> Document | None:
        """Give the receipt with the highest ``_id`` that begins so and goes on with digits."""

    def note_damage(self, details: Document) -> None:
        """Leave a ledger record, with its leaf, of a verification that found something.

        Raises StoreRefused without the right to insert into the ledger.
        """

    # -- leaf batches ----------------------------------------------------------------------------

    def batch_names(self, since: datetime | None = None) -> Iterator[BatchName]:
        """Name the batches sent at ``since`` or later, by ``sent_at``; all of them without it."""

    def batches(self, ids: Sequence[str]) -> Iterator[Document]:
        """Give these batches, in no order; those that do not exist are left out."""

    def batches_since(self, sent_at: datetime) -> Iterator[Document]:
        """Give the batches sent at that time or later, by ``sent_at``."""

    def batches_of(self, writer: str) -> Iterator[Document]:
        """Give the batches of one writer, by ``s0``."""

    def all_batch_ids(self) -> Iterator[BatchName]:
        """Name every batch."""

    def add_batch(self, document: Document) -> bool:
        """Insert a batch that was built again; ``sent_at`` is added. False if its id is taken."""

    # -- what is proved --------------------------------------------------------------------------

    def records(self, writer: str, s0: int, n: int) -> Iterator[tuple[str, Document]]:
        """Give the stored records of these numbers, by number, with where each belongs.

        That is ``records`` or ``ledger``, as in :class:`affidavit.event.Dest`.
        """

    def all_records(self, dest: str) -> Iterator[Document]:
        """Give every record of one collection that has writer and number, by writer and number."""

    def strays(
        self, writer: str, ranges: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[str, Document]]:
        """Give the stored records of a writer outside these ranges, with where each belongs.

        A range is its first number and the one after its last; they are in order.
        """

    def unnumbered(self) -> Iterator[tuple[str, Document]]:
        """Give the stored records whose writer is no text, or whose number is none."""

    def of_call(self, call_id: str) -> Iterator[tuple[str, Document]]:
        """Give the stored records of one call, oldest first."""

    def last_number(self, writer: str) -> int | None:
        """Give the highest number of a writer that is stored; None without any."""

    def known_writers(self) -> set[str]:
        """Name every writer that has a numbered record."""

    def ledger(self, event_type: str, since: datetime | None = None) -> Iterator[Document]:
        """Give the ledger's records of one kind, oldest first."""

    # -- marks of life ---------------------------------------------------------------------------

    def writers(self) -> dict[str, Document]:
        """Give the newest heartbeat of each writer of the last 24 hours."""

    def sealer_seen(self) -> Document | None:
        """Give the newest mark that a sealer has left, or None; a seal is no mark.

        Marks are told apart by the millisecond; of two in the same one, either is given.
        """

    def mark_sealer(self, document: Document) -> None:
        """Leave a mark that a sealer works here; it is kept for 24 hours. ``at`` is added."""

    # -- tiles -----------------------------------------------------------------------------------

    def put_tiles(self, tiles: Sequence[tuple[int, int, bytes]]) -> None:
        """Keep whole tiles: level, number, hashes. One that is there stays as it is."""

    def tile(self, level: int, number: int) -> bytes | None:
        """Give the hashes of a whole tile, or None."""

    def close(self) -> None:
        """Give back connections that this store opened."""
