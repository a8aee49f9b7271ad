"""What erasing asks of a store: the only change of stored records that there is.

Contract
--------
Selecting gives each record once. Replacing is guarded: a record that is no longer what was read
stays as it is, so two that erase at once, or a write in between, undo nothing.
Errors: :class:`~affidavit.errors.StoreUnavailable` means *unknown* (ask again; repeating is safe),
:class:`~affidavit.errors.StoreRefused` that a right is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from affidavit.event import Document, LedgerEvent


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which records are meant: of a user, of calls, or single ones. Calls are meant whole."""

    users: tuple[str, ...] = ()
    """The forms in which one user is stored: as it is, and as a token."""
    calls: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    since: datetime | None = None
    """With ``users``: only calls and events from then on; aware."""
    until: datetime | None = None

    @property
    def by(self) -> str:
        """In one word what they were chosen by; not whom."""
        return "user" if self.users else "call" if self.calls else "record"


class LedgerStore(Protocol):
    """The ledger, in which everything is told."""

    def ledger(self, event: LedgerEvent) -> Iterator[Document]:
        """Give the ledger's records of one kind, oldest first."""

    def note(self, event: LedgerEvent, details: Mapping[str, Any]) -> None:
        """Add a ledger record; durable when this returns."""


class ErasableStore(LedgerStore, Protocol):
    """Records that can be found and replaced, and the ledger."""

    def select(self, chosen: Chosen) -> Iterator[Document]:
        """Give the records that are meant, each once."""

    def fetch(self, ids: Sequence[Any]) -> list[Document]:
        """Give the records with these ids; those that are gone are left out."""

    def check_right(self) -> None:
        """Raise StoreRefused where this user may not replace records; changes nothing."""

    def replace(self, pairs: Sequence[tuple[Document, Document]]) -> int:
        """Put the second document of each pair in place of the first, where that is unchanged.

        Returns how many were replaced; durable when this returns.
        """
