"""What can be asked after an incident: a timeline, who shared an address, where a text was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from affidavit.event import Document

PAGE: Final = 200
"""Entries of a page, unless another size is asked for."""

MOST_PAGE: Final = 1000
MOST_SHARERS: Final = 1000
"""Rows of an answer about shared addresses."""

MOST_NOTABLE: Final = 1000
MOST_GROUPS: Final = 200

Source = Literal["records", "ledger"]


@dataclass(frozen=True, slots=True)
class Trail:
    """What is followed. Without any name it is everything between ``since`` and ``until``.

    ``since`` is included and ``until`` is not; both aware. ``ref`` is what an annotation points
    to: an order, a ticket, a decision.
    """

    user_id: str | None = None
    session_id: str | None = None
    ip_address: str | None = None
    ref: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def named(self) -> bool:
        """Whether somebody or something is followed, and not everything in a span of time."""
        return any((self.user_id, self.session_id, self.ip_address, self.ref))

    @property
    def indexed(self) -> bool:
        """Whether an index leads to the records: by user, by time alone, or to annotations."""
        return self.user_id is not None or self.ref is not None or not self.named

    def as_details(self) -> dict[str, Any]:
        """Return what was asked, for the ledger."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a timeline."""

    source: Source
    record: Document
    linked: tuple[Document, ...] = ()
    """Of a request: annotations of the call, whenever they were made. Of an annotation that was
    found by its ``ref``: the call's own records.
    """


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Some entries, the oldest first, and how to go on."""

    entries: tuple[Entry, ...]
    next: str | None
    """Opaque; give it to the next question. None: there is no more."""


@dataclass(frozen=True, slots=True)
class Sharer:
    """A user at an address; None where the records name none."""

    ip_address: str | None
    user_id: str | None
    records: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in a span of time beside the calls, counted."""

    security: tuple[tuple[str, str, int], ...] = ()
    """Kind, severity, events; the most frequent first."""
    lost: int = 0
    """Records that writers counted as lost which stopped, or were taken over, in that time."""
    lost_running: int = 0
    """The same of writers that still run, since they began: perhaps in another month."""
    unfinished: int = 0
    """Calls that were begun and never ended, as the sweep flagged them."""
    ledger: Mapping[str, int] = field(default_factory=dict)
    """Ledger records by kind."""
    notable: tuple[Document, ...] = ()
    """Ledger records of losses, faults, alerts and changes, oldest first."""
    left_out: int = 0
    """So many more of them are not given."""
    readings: tuple[tuple[str, str, int], ...] = ()
    """Who read, by which command, how often; the most frequent first."""


class Forensics(Protocol):
    """Reads a log after an incident.

    Every method raises StoreUnavailable when it takes too long, and StoreRefused without the right
    to read.
    """

    def timeline(
        self, trail: Trail, page_size: int = PAGE, cursor: str | None = None
    ) -> TimelinePage:
        """Give what is known, the oldest first: records, and who has read of them.

        Raises ConfigError for a cursor that no timeline gave.
        """

    def moment(self, identity: str) -> datetime | None:
        """Tell when a record or ledger record was made; None where there is none of this id."""

    def sharers(self, trail: Trail) -> Sequence[Sharer]:
        """Tell who used the address of the trail, or the addresses of its user."""

    def happened(self, since: datetime, until: datetime) -> Happened:
        """Count security events, losses, alerts, changes and readings of a span of time."""

    def requests_by_hash(
        self, numbers: Sequence[int], since: datetime | None, until: datetime | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Give requests with any of these keyed hashes, newest first."""

    def requests_by_text(
        self, text: str, since: datetime | None, until: datetime | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Give requests in which a text is stored, whatever the case, newest first."""
