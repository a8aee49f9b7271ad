"""One call from its records, in Python: the same shape as the view ``llm_calls``.

The reader joins by itself because it pages over either side of a call, and because long texts may
be compressed, which the database cannot undo. A test holds this and the view together.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from affidavit.event import DIMENSIONS, Document
from affidavit.pipeline.compress import expand
from affidavit.store.mongo.views import OF_OUTCOME


def as_call(intent: Document, outcome: Document | None) -> Document:
    """Join an intent (or an old document, which is both) with its outcome."""
    late: Document = outcome or {}
    response = _first(late.get("response_data"), intent.get("response_data"))
    request = intent.get("request_data") or {}
    call: Document = {
        "_id": intent.get("_id"),
        "event_type": intent.get("event_type"),
        "user_id": intent.get("user_id"),
        "timestamp": intent.get("timestamp"),
        "request_data": intent.get("request_data"),
        "response_data": response,
        "client_info": intent.get("client_info") or {"ip_address": None, "user_agent": None},
    }
    for name in ("status", "success", "error_message"):
        call[name] = _first(late.get(name), intent.get(name))
    for name in ("call_id", *DIMENSIONS[1:]):
        if name in intent:
            call[name] = intent[name]
    used = response.get("provider_used") if outcome is None and isinstance(response, dict) else None
    asked = request if isinstance(request, dict) else {}
    call["provider"] = _first(
        late.get("provider"), intent.get("provider"), used, asked.get("provider")
    )
    call["model"] = _first(late.get("model"), intent.get("model"), asked.get("model"))
    for name in OF_OUTCOME:
        if name in late:
            call[name] = late[name]
    call["completed_at"] = _first(late.get("timestamp"), intent.get("completed_at"))
    call["schema_version"] = intent.get("schema_version") or 0
    return call


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


_AS_THEY_ARE: Final = frozenset({str, int, float, bool, type(None), datetime, ObjectId})
"""Types of most values: looked at first, since a list of calls has thousands."""


def plain(value: Any) -> Any:
    """Expand compressed texts and turn the database's decimals into Python's, in a new value."""
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, dict):
        return {
            key: item if type(item) in _AS_THEY_ARE else plain(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.to_decimal() if isinstance(value, Decimal128) else expand(value)


def contains(value: Any, wanted: str) -> bool:
    """Whether any text below ``value`` holds ``wanted``, which is in lower case."""
    if isinstance(value, str):
        return wanted in value.lower()
    if isinstance(value, dict):
        return any(contains(item, wanted) for item in value.values())
    if isinstance(value, list):
        return any(contains(item, wanted) for item in value)
    return isinstance(value, Decimal) and wanted in str(value)
