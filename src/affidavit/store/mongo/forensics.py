"""Timelines and look-ups after an incident, from MongoDB.

Which index a question uses (tests/integration/test_forensics.py looks at the plans): a user has
one; ``ref`` goes over the annotations by time; a span of time goes over the index on time; hashes
have one. A session or an address has none: the records of the span are read one by one, within the
time that every question has (:data:`affidavit.store.mongo.read.MAX_TIME_MS`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from bson.errors import InvalidId
from bson.objectid import ObjectId

from affidavit.config import AuditConfig
from affidavit.event import EPOCH, Document, EventType, LedgerEvent
from affidavit.pipeline.redact import act
from affidavit.pipeline.redact.configured import policy_of
from affidavit.pipeline.redact.record import Redactor
from affidavit.store.forensics import (
    MOST_SHARERS,
    PAGE,
    Entry,
    Happened,
    Sharer,
    TimelinePage,
    Trail,
)
from affidavit.store.mongo import legacy
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.filters import REQUEST, Cursor, advance, query
from affidavit.store.mongo.happened import happened
from affidavit.store.mongo.read import MAX_TIME_MS
from affidavit.store.mongo.shape import contains, plain
from affidavit.store.questions import SearchFilter

ROUNDS: Final = 20
SCAN: Final = 500
"""Ledger records of one round: so many are looked through for readings about somebody."""

_ANNOTATION: Final = EventType.ANNOTATION.value
_OLDEST: Final = [("timestamp", 1)]
_NEWEST: Final = [("timestamp", -1)]
_LINKED: Final = 1000
_ADDRESSES: Final = 100
_AT_ONCE: Final = 2000
_IDENTITY: Final = ("user_id", "session_id")
_LEDGER_KINDS: Final = [kind.value for kind in LedgerEvent]


class MongoForensics:
    """Answers questions about one log. Any number of threads may use it."""

    def __init__(self, location: Location, config: AuditConfig) -> None:
        """``config`` says where an older logger's times were local, and how identity is stored."""
        self._records = location.database[location.names.records]
        self._ledger = location.database[location.names.ledger]
        self._writers = location.database[location.names.writers]
        self._zone = ZoneInfo(config.legacy_timezone) if config.legacy_timezone else None
        self._config = config

    # -- the timeline ----------------------------------------------------------------------------

    def timeline(
        self, trail: Trail, page_size: int = PAGE, cursor: str | None = None
    ) -> TimelinePage:
        """Give what is known, the oldest first: records, and who has read of them."""
        place = Cursor.decode(cursor) if cursor else None
        with translated("read a timeline"):
            found = self._records.find(self._of_trail(trail, place), max_time_ms=MAX_TIME_MS)
            records = list(found.sort(_OLDEST).limit(page_size + 1))
            readings, horizon = self._readings(trail, place, page_size + 1)
            merged = [("records", record) for record in records]
            merged += [("ledger", record) for record in readings]
            merged.sort(key=lambda each: (each[1]["timestamp"], each[0], str(each[1]["_id"])))
            if horizon is not None:
                merged = [each for each in merged if each[1]["timestamp"] <= horizon]
            page = merged[:page_size]
            leading = _ANNOTATION if trail.ref is not None else REQUEST
            calls = [r for _, r in page if r.get("event_type") == leading]
            linked = self._linked(trail, calls, {r["_id"] for _, r in page})
        after = advance(place, [record for _, record in page])
        if len(merged) <= page_size:
            after = None if horizon is None else _later(after, horizon)
        entries = tuple(
            self._entry(source, record, linked if record.get("event_type") == leading else {})
            for source, record in page
        )
        return TimelinePage(entries, None if after is None else after.encode())

    def moment(self, identity: str) -> datetime | None:
        """Tell when a record or ledger record was made; None where there is none of this id."""
        wanted = {"_id": {"$in": [identity, *_object_ids([identity])]}}
        with translated("read a record"):
            for collection in (self._records, self._ledger):
                found = collection.find_one(wanted, max_time_ms=MAX_TIME_MS)
                if found is not None:
                    at = legacy.read(found, self._zone).get("timestamp")
                    return at if isinstance(at, datetime) else None
        return None

    def _entry(
        self, source: Any, record: Document, linked: Mapping[str, Sequence[Document]]
    ) -> Entry:
        call = _call_of(record)
        return Entry(source, self._shown(record), tuple(linked.get(call or "", ())))

    def _of_trail(self, trail: Trail, place: Cursor | None = None) -> dict[str, Any]:
        """Write the filter for records; only those with a real time are in a timeline."""
        span = SearchFilter(since=trail.since, until=trail.until)
        every = [{"timestamp": {"$gte": EPOCH}}, query(span, self._zone, leads="all")]
        every += [{name: {"$in": forms}} for name, forms in self._identities(trail).items()]
        if trail.ip_address is not None:
            forms = self._forms("ip_address", trail.ip_address)
            places = ("client_info.ip_address", "client_ip")
            every.append({"$or": [{place: {"$in": forms}} for place in places]})
        if trail.ref is not None:
            every.append({"event_type": _ANNOTATION, "details.ref": {"$in": self._refs(trail.ref)}})
        return {"$and": [*every, *_behind(place)]}

    def _identities(self, trail: Trail) -> dict[str, list[str]]:
        given = {name: getattr(trail, name) for name in _IDENTITY}
        return {name: self._forms(name, value) for name, value in given.items() if value}

    def _forms(self, name: str, value: str) -> list[str]:
        """Give what may be stored for somebody: the name, and its token where there is a key."""
        key = self._identity_key
        return [value] if key is None else [value, act.identity(key, name, value)]

    @cached_property
    def _identity_key(self) -> bytes | None:
        return policy_of(self._config).key if self._config.identity == "keyed" else None

    def _refs(self, ref: str) -> list[str]:
        """Give what may be stored for a reference: redaction takes some for cards or secrets."""
        return [ref, stored_ref(self._config, ref)]

    # -- who read of it --------------------------------------------------------------------------

    def _readings(
        self, trail: Trail, place: Cursor | None, limit: int
    ) -> tuple[list[Document], datetime | None]:
        """Give ledger records, and how far they were looked through where not to the end."""
        span = {name: at for name, at in (("$gte", trail.since), ("$lt", trail.until)) if at}
        every: list[dict[str, Any]] = [{"timestamp": {"$gte": EPOCH}}]
        every += [{"timestamp": span}] if span else []
        if not trail.named:
            every += [{"event_type": {"$in": _LEDGER_KINDS}}, *_behind(place)]
            found = self._ledger.find({"$and": every}, max_time_ms=MAX_TIME_MS)
            return list(found.sort(_OLDEST).limit(limit)), None
        every += [{"event_type": LedgerEvent.AUDIT_ACCESS.value}, self._about(trail)]
        kept: list[Document] = []
        for _ in range(ROUNDS):
            found = self._ledger.find({"$and": [*every, *_behind(place)]}, max_time_ms=MAX_TIME_MS)
            batch = list(found.sort(_OLDEST).limit(SCAN))
            kept += self._that_concern(trail, batch)
            if len(batch) < SCAN or len(kept) >= limit:
                return kept, None
            place = advance(place, batch)
        return kept, batch[-1]["timestamp"]

    def _about(self, trail: Trail) -> dict[str, Any]:
        """Choose readings that named who is followed, or one call."""
        named = self._identities(trail)
        if trail.ip_address is not None:
            named["ip_address"] = self._forms("ip_address", trail.ip_address)
        if trail.ref is not None:
            named["ref"] = self._refs(trail.ref)
        places = [{f"details.filter.{name}": {"$in": forms}} for name, forms in named.items()]
        return {"$or": [*places, {"details.filter.call_id": {"$exists": True}}]}

    def _that_concern(self, trail: Trail, batch: Sequence[Document]) -> Iterator[Document]:
        """Choose, among readings of single calls, those of calls that belong to the trail."""
        named = [(record, _filter_of(record).get("call_id")) for record in batch]
        ids = [str(call) for _, call in named if call is not None]
        own = set(self._own_calls(trail, ids)) if ids else set()
        for record, call in named:
            if call is None or str(call) in own:
                yield record

    def _own_calls(self, trail: Trail, ids: list[str]) -> Iterator[str]:
        whole = Trail(trail.user_id, trail.session_id, trail.ip_address, trail.ref)
        if trail.ref is not None:
            wanted = {"$and": [{"call_id": {"$in": ids}}, self._of_trail(whole)]}
        else:
            known = [*_object_ids(ids), *ids]
            wanted = {"$and": [{"_id": {"$in": known}}, self._of_trail(whole)]}
        for record in self._records.find(wanted, {"call_id": 1}, max_time_ms=MAX_TIME_MS):
            yield str(record.get("call_id") or record["_id"])

    # -- what belongs to a call ------------------------------------------------------------------

    def _linked(
        self, trail: Trail, leading: Sequence[Document], shown: set[Any]
    ) -> dict[str, list[Document]]:
        """Find annotations of calls, or, where a ref led to annotations, their calls."""
        ids = [call for record in leading if (call := _call_of(record))]
        if not ids:
            return {}
        wanted: dict[str, Any] = {"call_id": {"$in": ids}, "event_type": _ANNOTATION}
        if trail.ref is not None:
            outcomes = {"call_id": {"$in": ids}, "event_type": EventType.LLM_RESPONSE.value}
            intents = {"_id": {"$in": list(_object_ids(ids))}}
            wanted = {"$or": [intents, outcomes, wanted]}
        linked: dict[str, list[Document]] = {}
        found = self._records.find(wanted, max_time_ms=MAX_TIME_MS).limit(_LINKED)
        for record in sorted(found, key=lambda r: (str(r.get("timestamp")), str(r["_id"]))):
            if record["_id"] not in shown and not self._leads(trail, record):
                linked.setdefault(_call_of(record) or "", []).append(self._shown(record))
        return linked

    def _leads(self, trail: Trail, record: Document) -> bool:
        """Whether an annotation is in the timeline by itself, at its own time."""
        at = record.get("timestamp")
        if not isinstance(at, datetime):
            return False
        if (trail.since and at < trail.since) or (trail.until and at >= trail.until):
            return False
        if trail.ref is not None:
            return (record.get("details") or {}).get("ref") in self._refs(trail.ref)
        forms = self._identities(trail)
        if any(record.get(name) not in of for name, of in forms.items()):
            return False
        if trail.ip_address is None:
            return True
        client = record.get("client_info") or {}
        return client.get("ip_address") in self._forms("ip_address", trail.ip_address)

    # -- addresses -------------------------------------------------------------------------------

    def sharers(self, trail: Trail) -> Sequence[Sharer]:
        """Tell who used the address of the trail, or the addresses of its user."""
        address = {"$ifNull": ["$client_info.ip_address", "$client_ip"]}
        with translated("find who shared an address"):
            if trail.ip_address is not None:
                used = self._forms("ip_address", trail.ip_address)
            else:
                by_address: list[Mapping[str, Any]] = [
                    {"$match": self._of_trail(trail)},
                    {"$group": {"_id": address, "last": {"$max": "$timestamp"}}},
                    {"$match": {"_id": {"$ne": None}}},
                    {"$sort": {"last": -1}},
                    {"$limit": _ADDRESSES},
                ]
                groups = self._records.aggregate(by_address, maxTimeMS=MAX_TIME_MS)
                used = [group["_id"] for group in groups]
            if not used:
                return ()
            everybody = Trail(since=trail.since, until=trail.until)
            places = ("client_info.ip_address", "client_ip")
            at_them = {"$or": [{place: {"$in": used}} for place in places]}
            by_user: list[Mapping[str, Any]] = [
                {"$match": {"$and": [at_them, self._of_trail(everybody)]}},
                {
                    "$group": {
                        "_id": {"ip": address, "user": "$user_id"},
                        "records": {"$sum": 1},
                        "first": {"$min": "$timestamp"},
                        "last": {"$max": "$timestamp"},
                    }
                },
                {"$sort": {"_id.ip": 1, "records": -1, "_id.user": 1}},
                {"$limit": MOST_SHARERS},
            ]
            found = list(self._records.aggregate(by_user, maxTimeMS=MAX_TIME_MS))
        return tuple(
            Sharer(
                row["_id"].get("ip"), row["_id"].get("user"), row["records"], row["first"],
                row["last"],
            )
            for row in found
        )  # fmt: skip

    # -- a span of time --------------------------------------------------------------------------

    def happened(self, since: datetime, until: datetime) -> Happened:
        """Count security events, losses, alerts, changes and readings of a span of time."""
        with translated("count what happened"):
            every = (self._records, self._ledger, self._writers)
            return happened(every, self._zone, since, until)

    # -- texts -----------------------------------------------------------------------------------

    def requests_by_hash(
        self, numbers: Sequence[int], since: datetime | None, until: datetime | None, limit: int
    ) -> Sequence[Document]:
        """Give requests with any of these numbers, newest first."""
        span = query(SearchFilter(since=since, until=until), self._zone, leads="all")
        held: dict[Any, Document] = {}
        with translated("look for hashes"):
            for start in range(0, len(numbers), _AT_ONCE):
                some = list(numbers[start : start + _AT_ONCE])
                wanted = {"$and": [{"said.h": {"$exists": True, "$in": some}}, span]}
                found = self._records.find(wanted, max_time_ms=MAX_TIME_MS)
                held |= {record["_id"]: record for record in found.sort(_NEWEST).limit(limit)}
        newest = sorted(held.values(), key=lambda record: record["timestamp"], reverse=True)
        return [self._shown(record) for record in newest[:limit]]

    def requests_by_text(
        self, text: str, since: datetime | None, until: datetime | None, limit: int
    ) -> Sequence[Document]:
        """Give requests in which a text is stored, whatever the case, newest first."""
        asked = SearchFilter(event_type=REQUEST, since=since, until=until, text=text)
        wanted = query(asked, self._zone, leads="requests")
        kept: list[Document] = []
        with translated("look for a text"):
            found = self._records.find(wanted, max_time_ms=MAX_TIME_MS).sort(_NEWEST)
            for record in found:
                shown = self._shown(record)
                if contains(shown.get("request_data"), text.lower()):
                    kept.append(shown)
                if len(kept) == limit:
                    break
        return kept

    def _shown(self, record: Document) -> Document:
        shown: Document = plain(legacy.read(record, self._zone))
        return shown


@lru_cache(maxsize=64)
def stored_ref(config: AuditConfig, ref: str) -> str:
    """Give a reference as it is stored in an annotation, under these settings."""
    noted: Document = {"event_type": _ANNOTATION, "details": {"ref": ref}}
    Redactor(policy_of(config)).redact(noted)
    return str(noted["details"]["ref"])


def _behind(place: Cursor | None) -> list[dict[str, Any]]:
    """Choose what comes after a place."""
    if place is None:
        return []
    return [{"timestamp": {"$gte": place.at}, "_id": {"$not": {"$in": place.shown}}}]


def _later(place: Cursor | None, horizon: datetime) -> Cursor:
    """Go on where the ledger was looked through, if that is later than what was shown."""
    return place if place is not None and place.at >= horizon else Cursor(horizon)


def _call_of(record: Mapping[str, Any]) -> str | None:
    call = record.get("call_id")
    if call is not None:
        return str(call)
    return str(record["_id"]) if record.get("event_type") == REQUEST else None


def _filter_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    details = record.get("details")
    asked = details.get("filter") if isinstance(details, Mapping) else None
    return asked if isinstance(asked, Mapping) else {}


def _object_ids(texts: Iterable[Any]) -> Iterator[ObjectId]:
    for text in texts:
        with contextlib.suppress(InvalidId, TypeError):
            yield ObjectId(text)
