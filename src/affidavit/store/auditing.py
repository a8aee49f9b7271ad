"""What an auditor looks up beside the proofs: who read what, and what was lost or never came.

Every method raises :class:`~affidavit.errors.StoreUnavailable` when it takes too long, and
:class:`~affidavit.errors.StoreRefused` without the right to read. Any number of threads may ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from affidavit.event import LedgerEvent


@dataclass(frozen=True, slots=True)
class ReadingsWanted:
    """Which readings are wanted; what is None does not matter.

    ``since`` is included and ``until`` is not; both aware. ``who`` is a visitor of the service, or
    an operating system's user, by name. ``by`` are the ids of one visitor of the service, of which
    a reading has one as its account; or, where it is older than accounts, as that of a token or
    session. ``text`` is compared with what was looked for, value by value.
    """

    since: datetime | None = None
    until: datetime | None = None
    who: str | None = None
    command: str | None = None
    text: str | None = None
    by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the log by a person or a program, as the ledger has it."""

    id: str
    at: datetime
    who: str
    how: str
    """``session`` or ``token`` of the service; else the program that was run."""
    host: str
    command: str
    wanted: Mapping[str, Any] = field(default_factory=dict)
    """What was looked for, as plain values."""
    count: int | None = None
    """How much came of it; None where that is not known."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReadingsPage:
    """Some readings, the newest first, and how to go on."""

    rows: tuple[Reading, ...]
    next: str | None
    """Opaque; give it to the next question. None: there is no more."""


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that the ledger says happened to the log."""

    id: str
    at: datetime
    event: LedgerEvent
    writer: str
    """Of which writer it is said, or who says it."""
    lost: int
    """Records that are gone by it; 0 where it is about something else."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain values: names and numbers, no content."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers of a writer that never came, as a seal holds them."""

    at: datetime
    """When they were sealed as a gap."""
    seal: int
    writer: str
    first: int
    count: int


class AuditStore(Protocol):
    """What the auditor's room asks for; see the module for the contract."""

    def readings(
        self, wanted: ReadingsWanted, limit: int = 50, cursor: str | None = None
    ) -> ReadingsPage:
        """Give readings, the newest first. Raises ConfigError for a cursor that is none."""

    def noted(self, since: datetime, until: datetime, limit: int = 200) -> Sequence[Noted]:
        """Give losses, faults and changes of the log, the newest first."""

    def gaps(self, since: datetime, until: datetime, limit: int = 200) -> Sequence[Gap]:
        """Give the gaps that were sealed in that time, the newest first."""
