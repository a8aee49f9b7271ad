"""Finding and replacing records in MongoDB; the contract is in :mod:`affidavit.store.erasing`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

from bson.codec_options import DatetimeConversion
from bson.errors import InvalidId
from bson.objectid import ObjectId
from pymongo import ReplaceOne

from affidavit.event import Document, LedgerEvent
from affidavit.store.erasing import Chosen
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.indexes import CORRECTION, JOINED
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.roles import role_name

_IN_GROUPS: Final = 1000


class MongoErasing:
    """Records of one log, to be erased by a user with the role for it."""

    def __init__(self, location: Location) -> None:
        """No I/O happens here."""
        database, names = location.database, location.names
        records = database[names.records]
        # A time that Python cannot hold is kept as it is stored, and so is everything else.
        codec = records.codec_options.with_options(
            datetime_conversion=DatetimeConversion.DATETIME_AUTO
        )
        self._records = records.with_options(codec_options=codec)
        self._role = role_name(names, "privacy")
        self._ledger = database[names.ledger]
        self._notes = Ledger(location)

    def select(self, chosen: Chosen) -> Iterator[Document]:
        """Give the records that are meant: of a user through the index, then all of their calls."""
        seen: set[Any] = set()
        calls: dict[str, None] = dict.fromkeys(chosen.calls)
        questions: list[dict[str, Any]] = []
        if chosen.records:
            questions.append({"_id": {"$in": [*_object_ids(chosen.records), *chosen.records]}})
        if chosen.users:
            bounds = {"$gte": chosen.since, "$lt": chosen.until}
            limits = {name: bound for name, bound in bounds.items() if bound is not None}
            when = {"timestamp": limits} if limits else {}
            questions.append({"user_id": {"$in": list(chosen.users)}, **when})
        with translated("read the records to be erased"):
            for question in questions:
                for document in self._records.find(question):
                    if chosen.users and isinstance(document.get("call_id"), str):
                        calls[document["call_id"]] = None
                    if document["_id"] not in seen:
                        seen.add(document["_id"])
                        yield document
            for group in _groups(calls):
                first = self._records.find({"_id": {"$in": [*_object_ids(group), *group]}})
                tied = (
                    self._records.find({"call_id": {"$in": group}, "event_type": kinds})
                    for kinds in ({"$in": list(JOINED)}, CORRECTION)
                )
                for document in chain(first, *tied):
                    if document["_id"] not in seen:
                        seen.add(document["_id"])
                        yield document

    def fetch(self, ids: Sequence[Any]) -> list[Document]:
        """Give the records with these ids."""
        with translated("read the records to be erased"):
            return list(self._records.find({"_id": {"$in": list(ids)}}))

    def check_right(self) -> None:
        """Update a document that does not exist: the server looks at the right first."""
        with translated(f"erase in {self._records.name} (the role {self._role} may)"):
            self._records.update_one({"_id": ObjectId()}, {"$unset": {"salt": 1}})

    def replace(self, pairs: Sequence[tuple[Document, Document]]) -> int:
        """Replace records whose salts are still those that were read."""
        if not pairs:
            return 0
        changes = [ReplaceOne(_unchanged(before), after) for before, after in pairs]
        with translated(f"replace records in {self._records.name}"):
            # What is left of an older logger's document may be less than is wanted of new ones.
            done = self._records.bulk_write(changes, ordered=False, bypass_document_validation=True)
        return done.matched_count

    def ledger(self, event: LedgerEvent) -> Iterator[Document]:
        """Give the ledger's records of one kind, oldest first."""
        with translated(f"read {self._ledger.name}"):
            yield from self._ledger.find({"event_type": event.value}).sort(
                [("timestamp", 1), ("_id", 1)]
            )

    def note(self, event: LedgerEvent, details: Mapping[str, Any]) -> None:
        """Add a ledger record, and its signed leaf."""
        self._notes.record(event, details)


def _unchanged(document: Document) -> dict[str, Any]:
    """Ask for a record as it was read: its salts say so; of an old one, its state."""
    names = ("salt", "erased") if "salt" in document or "erased" in document else ("status",)
    return {"_id": document["_id"], **{name: document.get(name) for name in names}}


def _object_ids(texts: Iterable[str]) -> Iterator[ObjectId]:
    for text in texts:
        with contextlib.suppress(InvalidId, TypeError):
            yield ObjectId(text)


def _groups(texts: Iterable[str]) -> Iterator[list[str]]:
    left = iter(texts)
    while group := list(islice(left, _IN_GROUPS)):
        yield group
