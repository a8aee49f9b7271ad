"""Taking over a collection that an older, hand-written logger filled (R35).

Nothing of it is changed. Set-up counts what is there and notes it in the ledger, so that it can be
told later which documents were there before proofs began. When the older logger is gone,
:func:`close` puts a digest of each of its documents into the ledger: from then on none can be
added, changed or removed unseen.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from affidavit.event import LedgerEvent
from affidavit.integrity.adopted import NAME_SIZE, NO_FORM, ROW_SIZE, Closing, rows_of
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.ledger import Ledger

if TYPE_CHECKING:
    from pymongo.collection import Collection

OLD: Final[dict[str, Any]] = {"schema_version": None}
"""Documents without a schema version: whatever others wrote."""

UNPROVED: Final[dict[str, Any]] = {"salt": None, "salts": None}
"""Documents without an entry: of other loggers, and of our versions before the log had proofs."""

PART_ROWS: Final = 20_000
"""Digests in one ledger record: 1.1 MB."""

_COUNT_MS: Final = 30_000
_QUICK_MS: Final = 1_000
_SAMPLE: Final = 2000
_SHAPES: Final = 40


def has_old(location: Location, *, first_time: bool) -> bool:
    """Whether there are old documents.

    Later on only those of calls are looked for, which the index of outcomes finds at once; a
    search for all would read the whole collection.
    """
    records = location.database[location.names.records]
    known = {} if first_time else {"success": {"$in": [True, False]}, "event_type": "llm_request"}
    return records.find_one({**known, **OLD}, {"_id": 1}) is not None


def survey(location: Location, *, quick: bool) -> dict[str, Any]:
    """Describe the old documents: count, first and last time, and the shapes seen.

    ``quick`` takes the server's own estimate of the count, for a writer that is waiting.
    """
    records = location.database[location.names.records]
    count, exact = _count(records, quick=quick)
    return {
        "count": count,
        "count_is_exact": exact,
        "day": datetime.now(UTC).date().isoformat(),
        "first": _edge(records, 1, quick=quick),
        "last": _edge(records, -1, quick=quick),
        "shapes": _shapes(records),
        "shapes_seen_in": min(count, _SAMPLE),
    }


def closed(location: Location) -> dict[str, Any] | None:
    """Give what the ledger says of a closing that is complete; None where there is none."""
    ledger = location.database[location.names.ledger]
    parts: dict[str, Closing] = {}
    with translated(f"read {ledger.name}"):
        for document in ledger.find({"event_type": LedgerEvent.ADOPTION_CLOSED.value}):
            details = document["details"]
            closing = parts.setdefault(details["closing"], Closing())
            closing.learn(details)
            if closing.is_closed:
                return {name: value for name, value in details.items() if name not in _OF_PARTS}
    return None


_OF_PARTS: Final = frozenset({"part", "parts", "rows"})


def close(location: Location, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Put a digest of every unproved document into the ledger; give what it says.

    Once is enough: a closing that is there and complete is given back as it is. Documents that are
    written meanwhile may be missing in it, and are findings then: the older logger must be gone.
    Raises StoreRefused without the right, StoreUnavailable without an answer.
    """
    known = closed(location)
    if known is not None:
        return known
    records = location.database[location.names.records]
    codec = records.codec_options.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
    rows = bytearray()
    without_form = 0
    with translated("read the documents of an older logger"):
        found = records.with_options(codec_options=codec).find(UNPROVED)
        for count, row in enumerate(rows_of(found), 1):
            rows += row
            without_form += row[NAME_SIZE : NAME_SIZE + len(NO_FORM)] == NO_FORM
            if progress is not None and count % 1000 == 0:
                progress(count)
    size = PART_ROWS * ROW_SIZE
    parts = [bytes(rows[at : at + size]) for at in range(0, len(rows), size)] or [b""]
    said = {
        "closing": f"closing-{secrets.token_hex(6)}",
        "count": len(rows) // ROW_SIZE,
        "without_form": without_form,
        "day": datetime.now(UTC).date().isoformat(),
    }
    ledger = Ledger(location)
    for part, data in enumerate(parts):
        details = {**said, "part": part, "parts": len(parts), "rows": data}
        ledger.record(LedgerEvent.ADOPTION_CLOSED, details)
    return said


def _count(records: Collection[dict[str, Any]], *, quick: bool) -> tuple[int, bool]:
    if not quick:
        try:
            return records.count_documents(OLD, maxTimeMS=_COUNT_MS), True
        except PyMongoError:  # too many to count in time; the estimate says so of itself
            pass
    return records.estimated_document_count(), False


def _edge(records: Collection[dict[str, Any]], way: int, *, quick: bool) -> datetime | None:
    """Find the first or last time; None where that takes too long, for lack of an index."""
    with contextlib.suppress(PyMongoError):
        found = records.find_one(
            {**OLD, "timestamp": {"$type": "date"}},
            sort=[("timestamp", way)],
            max_time_ms=_QUICK_MS if quick else _COUNT_MS,
        )
        return found["timestamp"] if found else None
    return None


def _shapes(records: Collection[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group a sample by kind and by which top-level fields are there. Values are not looked at."""
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    raw = records.with_options(
        codec_options=records.codec_options.with_options(document_class=RawBSONDocument)
    )
    for document in raw.find(OLD).limit(_SAMPLE):
        shape = (str(document.get("event_type")), tuple(sorted(document.keys())))
        seen[shape] = seen.get(shape, 0) + 1
    ranked = sorted(seen.items(), key=lambda item: -item[1])[:_SHAPES]
    return [
        {"event_type": kind, "fields": list(fields), "count": count}
        for (kind, fields), count in ranked
    ]
