"""What the database itself refuses: records that lack what every reader relies on.

Texts are left free: odd content is recorded and flagged, not refused, and a long text may be stored
compressed. A document without ``schema_version`` comes from an older logger and is let through,
until ``affidavit setup --enforce``.
"""

from __future__ import annotations

from typing import Any, Final

from affidavit.event import EventType, Status

_WHOLE: Final = ["int", "long"]

PERMISSIVE: Final = "Affidavit records, version 1; older documents may pass"
ENFORCED: Final = "Affidavit records, version 1; enforced"
LEDGER: Final = "Affidavit ledger, version 1"


def _identity() -> dict[str, Any]:
    return {
        "_id": {"bsonType": "objectId"},
        "timestamp": {"bsonType": "date"},
        "writer": {"bsonType": "string", "minLength": 1},
        "seq": {"bsonType": _WHOLE, "minimum": 0},
        "schema_version": {"bsonType": _WHOLE, "minimum": 1},
    }


def _record() -> dict[str, Any]:
    return {
        "required": ["event_type", "timestamp", "writer", "seq", "schema_version"],
        "properties": {
            **_identity(),
            "event_type": {"enum": [kind.value for kind in EventType]},
            "call_id": {"bsonType": "string"},
            "status": {"enum": [status.value for status in Status]},
            "success": {"bsonType": "bool"},
            "request_data": {"bsonType": "object"},
            "response_data": {
                "bsonType": "object",
                "properties": {"cost_usd": {"bsonType": ["decimal", "null"]}},
            },
            "client_info": {"bsonType": "object"},
        },
    }


def of_records(*, enforced: bool) -> dict[str, Any]:
    """Write the validator of the records collection."""
    if enforced:
        return {"$jsonSchema": {"title": ENFORCED, **_record()}}
    older = {"not": {"required": ["schema_version"]}}
    return {"$jsonSchema": {"title": PERMISSIVE, "anyOf": [older, _record()]}}


def of_ledger() -> dict[str, Any]:
    """Write the validator of the ledger."""
    properties = {**_identity(), "event_type": {"bsonType": "string", "minLength": 1}}
    required = ["event_type", "timestamp", "writer", "seq", "schema_version"]
    schema = {"title": LEDGER, "required": required, "properties": properties}
    return {"$jsonSchema": schema}


def title(validator: Any) -> str:
    """Return the title of a validator of ours; empty for none and for another's."""
    schema = validator.get("$jsonSchema") if isinstance(validator, dict) else None
    found = schema.get("title") if isinstance(schema, dict) else None
    return found if found in {PERMISSIVE, ENFORCED, LEDGER} else ""
