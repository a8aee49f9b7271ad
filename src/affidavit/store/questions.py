"""What can be asked of the log, and what comes back: plain data, no driver."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from affidavit.event import Document

GroupBy = Literal["provider", "user_id", "department", "model", "status"]


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which calls and events are wanted; what is None does not matter.

    ``since`` is included and ``until`` is not; both aware. ``text`` is looked for, whatever the
    case, in requests, answers, error texts and details.
    """

    user_id: str | None = None
    department: str | None = None
    event_type: str | None = None
    provider: str | None = None
    model: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None

    def as_details(self) -> dict[str, Any]:
        """Return what was asked, for the ledger."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, newest first, and how to go on.

    A row is a call in the shape of the view ``llm_calls``, or another record as it is stored.
    """

    rows: tuple[Document, ...]
    next: str | None
    """Opaque; give it to the next search. None: there is no more."""


@dataclass(frozen=True, slots=True)
class CallRecords:
    """All that is known of one call."""

    call: Document
    """As the view shows it."""
    intent: Document | None
    outcomes: tuple[Document, ...] = ()
    annotations: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class WriterStatus:
    """The newest heartbeat of one writer."""

    writer: str
    heartbeat: Document
    age_s: float
    silent: bool
    """It said it was running, and has not been heard for longer than it should."""


@dataclass(frozen=True, slots=True)
class LogStatus:
    """The newest heartbeat of each writer of the last 24 hours, and their sums."""

    writers: tuple[WriterStatus, ...]
    totals: dict[str, int] = field(default_factory=dict)

    @property
    def unaccounted(self) -> int:
        """Recorded, and neither queued, stored, spooled, dead-lettered nor counted lost: 0."""
        parts = ("queued", "stored", "spooled", "dead_lettered", "lost")
        return self.totals.get("recorded", 0) - sum(self.totals.get(part, 0) for part in parts)


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls and cost of one group; money in US dollars."""

    group: str | None
    calls: int
    failed: int
    cost_usd: Decimal
    tokens: int
    mean_ms: float | None
