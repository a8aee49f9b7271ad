"""Reading what older, hand-written loggers wrote (R35): one document per call, other names.

Nothing is rewritten in the database; a document without ``schema_version`` is read as version 0:
``client_ip`` becomes ``client_info``, ``security_<kind>`` becomes a ``security_event``, and naive
local times, which the driver stored as if they were UTC, are shifted by ``legacy_timezone``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from affidavit.event import Document, EventType

SECURITY_PREFIX: Final = "security_"
_KINDS: Final = frozenset(kind.value for kind in EventType)


def is_old(document: Document) -> bool:
    """Whether somebody else wrote it."""
    return document.get("schema_version") is None


def read(document: Document, zone: ZoneInfo | None) -> Document:
    """Return an old document in today's names; one of ours comes back as it is."""
    if not is_old(document):
        return document
    shaped = dict(document)
    kind = str(document.get("event_type"))
    if kind.startswith(SECURITY_PREFIX) and kind not in _KINDS:
        shaped["event_type"] = EventType.SECURITY_EVENT.value
        details = shaped.get("details")
        rest = details if isinstance(details, dict) else {"details": details} if details else {}
        shaped["details"] = {"kind": kind.removeprefix(SECURITY_PREFIX), **rest}
    if not shaped.get("client_info"):
        shaped["client_info"] = {
            "ip_address": shaped.pop("client_ip", None),
            "user_agent": shaped.pop("user_agent", None),
        }
    for name in ("timestamp", "completed_at"):
        shaped[name] = to_utc(shaped.get(name), zone)
    if shaped["completed_at"] is None:
        del shaped["completed_at"]
    shaped["schema_version"] = 0
    return shaped


def to_utc(value: Any, zone: ZoneInfo | None) -> Any:
    """Read a stored local time as what it meant."""
    if zone is None or not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=zone).astimezone(UTC)


def as_stored(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return how an older logger in that zone stored a moment: local time, taken for UTC."""
    return moment.astimezone(zone).replace(tzinfo=UTC)
