"""Taking over a collection that an older, hand-written logger filled (R35).

Nothing of it is changed. Set-up counts what is there and notes it in the ledger, so that it can be
told later which documents were there before proofs began.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from affidavit.store.mongo.connect import Location

if TYPE_CHECKING:
    from pymongo.collection import Collection

OLD: Final[dict[str, Any]] = {"schema_version": None}
"""Documents without a schema version: whatever others wrote."""

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
