"""A search as a MongoDB query: which records lead, from which index, and where a page ends.

Pages go by time. The index on time does not hold ``_id``, so ties in one millisecond are settled by
naming, in the cursor, the ids already shown at its time: no row twice, none left out, no sort.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import bson
from bson.code import Code
from bson.decimal128 import Decimal128, create_decimal128_context
from bson.objectid import ObjectId

from affidavit.errors import ConfigError
from affidavit.event import Document, EventType, Status
from affidavit.store.mongo.legacy import SECURITY_PREFIX, as_stored
from affidavit.store.questions import EQUAL, FINISHED_EQUAL, RANGES, SearchFilter

REQUEST: Final = EventType.LLM_REQUEST.value
RESPONSE: Final = EventType.LLM_RESPONSE.value
_TEXTS: Final = (
    "request_data.message",
    "request_data.messages.content",
    "request_data.messages.content.text",
    "response_data.text",
    "error_message",
)
_COMPRESSIBLE: Final = ("request_data", "response_data", "details")
_LONGEST_CURSOR: Final = 64 * 1024
_DEEPEST: Final = 8
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_DECIMALS: Final = create_decimal128_context()
_IDS: Final = (ObjectId, str, int, float, bytes, UUID, datetime, Decimal128)
_NO_CURSOR: Final = (
    binascii.Error,
    bson.errors.BSONError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)
_FINISHED: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.ABORTED})


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: a time, and the ids shown at exactly that time."""

    at: datetime
    shown: list[Any] = field(default_factory=list)

    def encode(self) -> str:
        """Write it as an opaque text."""
        packed: bytes = bson.encode({"at": self.at, "shown": self.shown})
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read it again; raises ConfigError for a text that is no cursor.

        It comes from outside: no pattern and no operator gets through to the database.
        """
        try:
            if len(text) > _LONGEST_CURSOR:
                raise ValueError
            packed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
            found = bson.decode(packed)
            at, shown = found["at"], found["shown"]
            if not (
                isinstance(at, datetime) and isinstance(shown, list) and all(map(_is_id, shown))
            ):
                raise TypeError
            return cls(at.replace(tzinfo=UTC), list(shown))
        except _NO_CURSOR as error:
            msg = "The cursor is not one that a search gave. Start again without it."
            raise ConfigError(msg) from error


def _is_id(value: Any, depth: int = 0) -> bool:
    """Whether a value can be a document's ``_id``: nothing that a question would act on."""
    if isinstance(value, dict):
        inner = all(not name.startswith("$") for name in value)
        return inner and depth < _DEEPEST and all(_is_id(v, depth + 1) for v in value.values())
    return value is None or (isinstance(value, _IDS) and not isinstance(value, Code))


def advance(cursor: Cursor | None, taken: list[Document]) -> Cursor | None:
    """Return the cursor behind some more records; None when the last of them has no time."""
    if not taken:
        return cursor
    last = taken[-1].get("timestamp")
    if not isinstance(last, datetime):
        return None
    shown = [record["_id"] for record in taken if record.get("timestamp") == last]
    before = cursor.shown if cursor is not None and cursor.at == last else []
    return Cursor(last, [*before, *shown])


def leading(wanted: SearchFilter) -> str:
    """Tell which records lead the search: ``outcomes``, ``requests`` or ``all``."""
    if wanted.text is not None:
        return "all"
    if wanted.status in _FINISHED or wanted.event_type == RESPONSE or wanted.of_finished:
        return "outcomes"
    return "requests"


def query(
    wanted: SearchFilter,
    zone: ZoneInfo | None,
    cursor: Cursor | None = None,
    leads: str | None = None,
) -> dict[str, Any]:
    """Write the filter for the leading records; ``leads`` overrides :func:`leading`."""
    every: list[dict[str, Any]] = [_kinds(wanted, leads or leading(wanted))]
    every += [scope(wanted)]
    every += [{n: value} for n in EQUAL if (value := getattr(wanted, n)) is not None]
    every += [_own(name, value) for name, value in wanted.fields.items()]
    if wanted.text is None:
        # With a text, either record may be found: what a call came to is looked at once joined.
        every += _finished(wanted)
    for name in ("provider", "model"):
        value = getattr(wanted, name)
        if value is not None:
            places = [{name: value}, {f"request_data.{name}": value}]
            if name == "provider":
                places.append({"response_data.provider_used": value})
            every.append({"$or": places})
    if wanted.status is not None and wanted.text is None:
        every.append({"status": wanted.status})
    if wanted.text is not None:
        every.append(_text(wanted.text))
    every += _time(wanted, zone, cursor)
    return {"$and": [part for part in every if part] or [{}]}


def scope(wanted: SearchFilter) -> dict[str, Any]:
    """Write what whoever asks may see at all; nothing where that is everything."""
    named = (("department", wanted.departments), ("tenant", wanted.tenants))
    return {name: {"$in": list(seen)} for name, seen in named if seen is not None}


def meets(wanted: SearchFilter, call: Document) -> bool:
    """Whether a joined call meets what only its outcome can tell."""
    if any(
        value is not None and call.get(name) != value
        for name in FINISHED_EQUAL
        if (value := getattr(wanted, name)) is not None
    ):
        return False
    response = call.get("response_data")
    told = response if isinstance(response, dict) else {}
    for name, (place, way) in RANGES.items():
        limit = getattr(wanted, name)
        if limit is None:
            continue
        value = told.get(place.partition(".")[2])
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return False
        exact = Decimal(str(value))
        bound = Decimal(str(limit))
        if exact < bound if way == "$gte" else exact > bound:
            return False
    return True


def _finished(wanted: SearchFilter) -> list[dict[str, Any]]:
    """Write what only an outcome can tell."""
    named = [{n: value} for n in FINISHED_EQUAL if (value := getattr(wanted, n)) is not None]
    bounds: dict[str, dict[str, Any]] = {}
    for name, (place, way) in RANGES.items():
        limit = getattr(wanted, name)
        if limit is not None:
            if isinstance(limit, Decimal):
                limit = Decimal128(_DECIMALS.create_decimal(limit))
            bounds.setdefault(place, {})[way] = limit
    return [*named, *({place: limits} for place, limits in bounds.items())]


def _own(name: str, value: str) -> dict[str, Any]:
    """Write a field of the application's own: in the request or the answer, a text or a number."""
    same: list[Any] = [value]
    if value in {"true", "false"}:
        same.append(value == "true")
    elif _NUMBER.fullmatch(value):
        same.append(float(value) if "." in value else int(value))
    alike = {"$in": same} if len(same) > 1 else value
    return {"$or": [{f"request_data.{name}": alike}, {f"response_data.{name}": alike}]}


def _kinds(wanted: SearchFilter, leads: str) -> dict[str, Any]:
    kind = wanted.event_type
    if kind == EventType.SECURITY_EVENT:
        return {"event_type": {"$in": [kind, re.compile(f"^{SECURITY_PREFIX}")]}}
    if kind == RESPONSE:
        return {"event_type": RESPONSE}
    if leads == "outcomes":
        # Finished old documents are requests too; intents of ours are never finished.
        return {"event_type": {"$in": [REQUEST, RESPONSE]}}
    if kind == REQUEST:
        return {"event_type": {"$in": [REQUEST, RESPONSE]} if leads == "all" else REQUEST}
    if kind is not None:
        return {"event_type": kind}
    return {} if leads == "all" else {"event_type": {"$ne": RESPONSE}}


def _text(text: str) -> dict[str, Any]:
    pattern = re.compile(_literal(text), re.IGNORECASE)
    plain = [{place: pattern} for place in _TEXTS]
    # Compressed texts, and those in fields of the application, are looked at on this side.
    inside = {
        "$expr": {
            "$or": [
                {
                    "$gt": [
                        {
                            "$size": {
                                "$filter": {
                                    "input": {"$objectToArray": _object(f"${part}")},
                                    "as": "field",
                                    "cond": _worth_a_look(text),
                                }
                            }
                        },
                        0,
                    ]
                }
                for part in _COMPRESSIBLE
            ]
        }
    }
    return {"$or": [*plain, inside]}


def _literal(text: str) -> str:
    """Write a text as a pattern; a pattern cannot hold NUL itself."""
    return re.escape(text).replace("\0", r"\x00")


def _object(path: str) -> dict[str, Any]:
    return {"$cond": [{"$eq": [{"$type": path}, "object"]}, path, {}]}


def _worth_a_look(text: str) -> dict[str, Any]:
    kind = {"$type": "$$field.v"}
    found = {"$regexMatch": {"input": "$$field.v", "regex": _literal(text), "options": "i"}}
    return {
        "$switch": {
            "branches": [
                {"case": {"$in": [kind, ["binData", "object", "array"]]}, "then": True},
                {"case": {"$eq": [kind, "string"]}, "then": found},
            ],
            "default": False,
        }
    }


def _time(
    wanted: SearchFilter, zone: ZoneInfo | None, cursor: Cursor | None
) -> list[dict[str, Any]]:
    bounds: list[dict[str, Any]] = []
    since, until = wanted.since, wanted.until
    if zone is None:
        bounds.append(_range(since, until))
    elif since is not None or until is not None:
        old = [as_stored(moment, zone) if moment else None for moment in (since, until)]
        lows, highs = [since, old[0]], [until, old[1]]
        bounds += [
            # The widest range gives the index its bounds; which half applies is looked at after.
            _range(
                min(filter(None, lows)) if since else None,
                max(filter(None, highs)) if until else None,
            ),
            {
                "$or": [
                    {"schema_version": {"$ne": None}, **_range(since, until)},
                    {"schema_version": None, **_range(old[0], old[1])},
                ]
            },
        ]
    if cursor is not None:
        bounds.append({"timestamp": {"$lte": cursor.at}, "_id": {"$not": {"$in": cursor.shown}}})
    return bounds


def _range(since: datetime | None, until: datetime | None) -> dict[str, Any]:
    limits = {name: value for name, value in (("$gte", since), ("$lt", until)) if value is not None}
    return {"timestamp": limits} if limits else {}
