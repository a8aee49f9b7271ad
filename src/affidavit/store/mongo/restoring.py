"""Putting an export back into MongoDB; the contract is in :mod:`affidavit.store.restoring`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo.errors import BulkWriteError

from affidavit.canonical import to_json
from affidavit.errors import SetupClash, StoreRefused
from affidavit.event import Document
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.restoring import Part

_DUPLICATE: Final = 11000
_INVALID: Final = 121
_OF_COMMANDS: Final = "cli-"


class MongoRestoring:
    """The collections of one log, to be filled from an export."""

    def __init__(self, location: Location) -> None:
        """No I/O happens here."""
        database, names = location.database, location.names
        self._parts = {
            "seals": database[names.seals],
            "leaf_batches": database[names.leaf_batches],
            "tiles": database[names.tiles],
            "records": database[names.records],
            "ledger": database[names.ledger],
        }

    def check_free(self, identity: Document) -> None:
        """Look for another log, and for records that are of none."""
        records, ledger = self._parts["records"], self._parts["ledger"]
        seals = self._parts["seals"]
        with translated("look whether the place is free"):
            held = seals.find_one({"_id": identity.get("_id")})
            if held is not None:
                if (held.get("origin"), held.get("vkey")) != (
                    identity.get("origin"), identity.get("vkey"),
                ):  # fmt: skip
                    msg = f"{seals.name} is of another log, {held.get('origin')}. {_ELSEWHERE}"
                    raise SetupClash(msg)
                return
            others = {"writer": {"$not": {"$regex": f"^{_OF_COMMANDS}"}}}
            for collection, asked in ((records, {}), (ledger, others), (seals, {})):
                if collection.find_one(asked, {"_id": 1}) is not None:
                    msg = f"{collection.name} holds something already. {_ELSEWHERE}"
                    raise SetupClash(msg)

    def insert(self, part: Part, documents: Sequence[Document]) -> int:
        """Insert documents; those that are there are compared."""
        collection = self._parts[part]
        if not documents:
            return 0
        with translated(f"insert into {collection.name}"):
            try:
                collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                failures: list[Mapping[str, Any]] = error.details["writeErrors"]
                self._judge(part, documents, failures)
                return len(documents) - len(failures)
        return len(documents)

    def _judge(
        self, part: Part, documents: Sequence[Document], failures: Sequence[Mapping[str, Any]]
    ) -> None:
        """Let pass what is there already and the same."""
        collection = self._parts[part]
        failed = {failure["index"]: failure["code"] for failure in failures}
        for at, code in failed.items():
            if code == _DUPLICATE:
                continue
            why = "its validator refuses it" if code == _INVALID else f"code {code}"
            msg = f"{collection.name} does not take {documents[at]['_id']}: {why}."
            raise StoreRefused(msg)
        ids = [documents[at]["_id"] for at in failed]
        held = {_key(each): each for each in collection.find({"_id": {"$in": ids}})}
        for at in failed:
            document = documents[at]
            found = held.get(_key(document))
            if found is None:
                msg = f"{collection.name} has the number of {document['_id']} under another id."
                raise SetupClash(f"{msg} {_ELSEWHERE}")
            if to_json(found) != to_json(document):
                msg = f"{collection.name} has another {document['_id']}."
                raise SetupClash(f"{msg} {_ELSEWHERE}")


_ELSEWHERE: Final = "Import into an empty database, or under another name with --collection."


def _key(document: Mapping[str, Any]) -> bytes:
    return to_json({"_id": document["_id"]})
