"""What putting back an export asks of a store: inserting documents as they were, once.

Contract
--------
Inserting is idempotent: a document that is there already, and is the same, counts as inserted; one
that is there and differs is a conflict, and stays. What :meth:`RestorableStore.insert` has answered
is durable. Nothing is updated, nothing removed.
Errors: :class:`~affidavit.errors.SetupClash` where something else is in the place,
:class:`~affidavit.errors.StoreUnavailable` (*unknown*, repeating is safe),
:class:`~affidavit.errors.StoreRefused` without the right, or for a document that is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from affidavit.event import Document

Part: TypeAlias = Literal["seals", "leaf_batches", "tiles", "records", "ledger"]


class RestorableStore(Protocol):
    """A place that takes a whole log."""

    def check_free(self, identity: Document) -> None:
        """Raise SetupClash unless this place is empty, or holds (a part of) this very log."""

    def insert(self, part: Part, documents: Sequence[Document]) -> int:
        """Insert documents; tell how many of them were not there yet."""
