"""What one record is: its kinds, its states and the names of its fields.

Nothing but the standard library is imported here. A record on its way is a plain ``dict`` in the
shape of the stored document, because that is what it will become; this file is the only place
where the names stand. Names of the user's sample document (requirement R3) are kept unchanged:
``request_data``, ``response_data``, ``client_info``, ``status``, ``success``, ``error_message``.

Two records tell one call: the *intent* (``llm_request``, status ``initiated``), written before the
model is asked, and the *outcome* (``llm_response``), written when it answered or failed. They are
tied by ``call_id``, which is the intent's ``_id`` as 24 hexadecimal digits.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeAlias

Document: TypeAlias = dict[str, Any]
"""A record as it is stored: field name to value."""

SCHEMA_VERSION: Final = 1
"""Of the records written now. Records of the older, hand-written loggers count as version 0."""


class EventType(StrEnum):
    """Values of ``event_type`` in the records collection."""

    LLM_REQUEST = "llm_request"
    LLM_RESPONSE = "llm_response"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    SECURITY_EVENT = "security_event"
    ANNOTATION = "annotation"
    CORRECTION = "correction"


class LedgerEvent(StrEnum):
    """Values of ``event_type`` in the ledger: what happened *to* the log."""

    WRITER_START = "writer_start"
    WRITER_STOP = "writer_stop"
    WRITER_RESTARTED = "writer_restarted"
    RECORDS_LOST = "records_lost"
    SETUP = "setup"
    ADOPTION = "adoption"
    CONFIG_CHANGED = "config_changed"
    AUDIT_ACCESS = "audit_access"
    SPOOL_ADOPTED = "spool_adopted"
    DEAD_LETTER = "dead_letter"
    KEY_ROTATION = "key_rotation"
    VERIFICATION_FAILED = "verification_failed"
    ALERT_FIRING = "alert_firing"
    ALERT_RESOLVED = "alert_resolved"
    ALERT_SILENCED = "alert_silenced"
    ERASURE = "erasure"
    HOLD = "hold"
    ADOPTION_CLOSED = "adoption_closed"
    LOG_IMPORTED = "log_imported"
    REPRICING = "repricing"


class Status(StrEnum):
    """Values of ``status`` of a call."""

    INITIATED = "initiated"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"


class Dest(StrEnum):
    """Where a record belongs."""

    RECORDS = "records"
    LEDGER = "ledger"


NO_OUTCOME: Final = "no_outcome"
"""``kind`` of the annotation by which the sweep flags a call that nothing ended."""

CALL_UNCHECKED: Final = "call_unchecked"
"""First field, true, of an outcome that was taken in while nobody could tell whose call it is."""

DIMENSIONS: Final = (
    "user_id",
    "department",
    "tenant",
    "environment",
    "service",
    "session_id",
    "conversation_id",
)
"""Who and where: the fields every question can be grouped by. Absent when not known."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def utc_from_ms(epoch_ms: int) -> datetime:
    """Turn milliseconds since 1970 into an aware UTC time, without going through a float."""
    return EPOCH + timedelta(milliseconds=epoch_ms)
