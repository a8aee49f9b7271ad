"""What can be asked of the log, and what comes back: plain data, no driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from affidavit.errors import ConfigError
from affidavit.event import Document
from affidavit.tally.facts import CONTENT, FIELD, FIELD_NAME

GroupBy = Literal["provider", "user_id", "department", "model", "status"]


LONGEST_VALUE: Final = 500
"""Characters of a text that is looked for, and of the value of a filter."""

MAX_FIELDS: Final = 8
"""Filters by fields of the application's own that one search may have."""


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which calls and events are wanted; what is None does not matter.

    ``since`` is included and ``until`` is not; both aware. ``text`` is looked for, whatever the
    case, in requests, answers, error texts and details. Both ends of a range are included, and a
    call whose cost, latency or tokens are not known is in none. ``fields`` are the application's
    own, by name.

    ``departments`` and ``tenants`` are what whoever asks may see at all, whatever else is asked
    for: a record of another one, or of none, is not found. Raises ConfigError for the name of a
    field that is none, and for a text that is too long.
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
    tenant: str | None = None
    environment: str | None = None
    service: str | None = None
    session_id: str | None = None
    conversation_id: str | None = None
    error_type: str | None = None
    finish_reason: str | None = None
    cost_min_usd: Decimal | None = None
    cost_max_usd: Decimal | None = None
    latency_min_ms: float | None = None
    latency_max_ms: float | None = None
    tokens_min: int | None = None
    tokens_max: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    departments: tuple[str, ...] | None = None
    tenants: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check what comes from outside: names become part of a question to the database."""
        if len(self.fields) > MAX_FIELDS:
            msg = f"A search takes {MAX_FIELDS} fields of the application's own at most."
            raise ConfigError(msg)
        for name in self.fields:
            if not FIELD_NAME.fullmatch(name):
                msg = (
                    "A field's name has letters, digits, _ and -, 64 at most, as in "
                    f"{FIELD}symbol=ABC."
                )
                raise ConfigError(msg)
            if name in CONTENT:
                msg = f"{FIELD}{name} holds content or a measure. Look for texts with text."
                raise ConfigError(msg)
        texts = (getattr(self, name) for name in (*EQUAL, *FINISHED_EQUAL, "provider", "text"))
        for value in (*texts, self.model, self.status, self.event_type, *self.fields.values()):
            if value is not None and len(value) > LONGEST_VALUE:
                msg = f"A filter's value has {LONGEST_VALUE} characters at most."
                raise ConfigError(msg)

    @property
    def of_finished(self) -> bool:
        """Whether something is asked that only the outcome of a call can tell."""
        return any(getattr(self, name) is not None for name in (*FINISHED_EQUAL, *RANGES))

    def sees(self, record: Mapping[str, Any]) -> bool:
        """Whether whoever asks may see a record at all."""
        return (self.departments is None or record.get("department") in self.departments) and (
            self.tenants is None or record.get("tenant") in self.tenants
        )

    def as_details(self) -> dict[str, Any]:
        """Return what was asked, for the ledger."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        own = named.pop("fields")
        named |= {f"{FIELD}{name}": value for name, value in own.items()}
        for name in ("departments", "tenants"):
            named[name] = None if named[name] is None else list(named[name])
        for name, value in named.items():
            if isinstance(value, Decimal):
                named[name] = str(value)
        return {name: value for name, value in named.items() if value is not None}


EQUAL: Final = (
    "user_id",
    "department",
    "tenant",
    "environment",
    "service",
    "session_id",
    "conversation_id",
)
"""Filters by equality that both records of a call can answer."""

FINISHED_EQUAL: Final = ("error_type", "finish_reason")
"""Filters by equality that only an outcome can answer."""

RANGES: Final[Mapping[str, tuple[str, str]]] = {
    "cost_min_usd": ("response_data.cost_usd", "$gte"),
    "cost_max_usd": ("response_data.cost_usd", "$lte"),
    "latency_min_ms": ("response_data.processing_time_ms", "$gte"),
    "latency_max_ms": ("response_data.processing_time_ms", "$lte"),
    "tokens_min": ("response_data.tokens_used", "$gte"),
    "tokens_max": ("response_data.tokens_used", "$lte"),
}
"""Filters by range: the place in an outcome, and how it is compared."""


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
