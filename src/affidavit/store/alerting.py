"""What alerts need of a store: who acts, what is so, and what happened.

Contract
--------
One document holds the state of all alerts, with what is still to be told. :meth:`AlertStore.take`
makes one process its holder for a while, by the server's clock, and gives it a *fence*, a number
that grows with every change of the holder. :meth:`AlertStore.save` replaces the state only for the
holder with the newest fence, so a process that was stopped and woke up again changes nothing.
What is kept is journaled, and on a replica set held by a majority.

History has one document for each change, delivery given up, and silence; it is removed by age.
Errors are those of :mod:`affidavit.store.monitoring`. Any number of threads may ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from affidavit.event import Document, LedgerEvent


@dataclass(frozen=True, slots=True)
class Held:
    """The right to act, and the state as it is."""

    fence: int
    state: Document
    """Empty at the very first."""


@dataclass(frozen=True, slots=True)
class KeptSilence:
    """A silence as it is kept."""

    name: str
    rule: str
    subject: str
    since: datetime
    until: datetime
    by: str
    reason: str


class AlertStore(Protocol):
    """The state of alerts; see the module for the contract."""

    def ping(self, for_s: float) -> None:
        """Ask whether the store answers, within so many seconds. Raises StoreUnavailable."""

    def take(self, holder: str, for_s: float) -> Held | None:
        """Take or keep the right to act for so many seconds; None while another has it."""

    def save(self, holder: str, fence: int, state: Mapping[str, Any], for_s: float) -> bool:
        """Replace the state and keep the right; False where it was lost meanwhile."""

    def release(self, holder: str, fence: int) -> None:
        """Give the right back, so that another need not wait for its end."""

    def peek(self) -> tuple[Document, str | None]:
        """Give the state, and who acts now if somebody does; takes nothing."""

    def silences(self, now: datetime, within_s: float | None = None) -> Sequence[KeptSilence]:
        """Give the silences that have not ended; within so many seconds, or not at all."""

    def add_silence(self, silence: KeptSilence) -> None:
        """Keep a silence."""

    def end_silence(self, name: str, now: datetime) -> KeptSilence | None:
        """End a silence now; None where there is none of that name that has not ended."""

    def remember(self, entry_id: str, at: datetime, entry: Mapping[str, Any]) -> None:
        """Add to the history; the same id at the same time is kept once."""

    def history(self, since: datetime, limit: int) -> Sequence[Document]:
        """Give what happened since then, newest first."""

    def forget(self, before: datetime) -> int:
        """Remove history, and silences that ended, before that time; says how many."""

    def note(self, event: LedgerEvent, details: Mapping[str, Any], at: datetime) -> None:
        """Add a ledger record, unless one with the same ``details.change`` is there already."""

    def severe_events(self, since: datetime) -> Mapping[str, int]:
        """Count security events of high or critical severity since then, by their kind."""

    def ledger_records(self, event: LedgerEvent, since: datetime) -> int:
        """Count the ledger's records of one kind since then."""
