"""What the HTTP service keeps, in MongoDB; the contract is in :mod:`affidavit.store.serving`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pymongo.errors import DuplicateKeyError

from affidavit.event import Document
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated

_LEASE: Final = "lease"
_ADDED: Final = frozenset({"_id", "kind", "name", "made_at", "until"})


class MongoService:
    """What :class:`affidavit.store.serving.ServiceStore` asks for."""

    def __init__(self, location: Location) -> None:
        """No I/O happens here."""
        self._kept = location.database[location.names.service]

    def add(
        self, kind: str, name: str, document: Mapping[str, Any], until: datetime | None = None
    ) -> bool:
        """Insert it; what has ended and is not removed yet makes room."""
        made = _made(kind, name, document, until)
        with translated(f"insert into {self._kept.name}"):
            self._kept.delete_one({"_id": made["_id"], "until": {"$lte": datetime.now(UTC)}})
            try:
                self._kept.insert_one(made)
            except DuplicateKeyError:
                return False
        return True

    def put(
        self, kind: str, name: str, document: Mapping[str, Any], until: datetime | None = None
    ) -> None:
        """Replace it, or insert it."""
        made = _made(kind, name, document, until)
        with translated(f"write {self._kept.name}"):
            self._kept.replace_one({"_id": made["_id"]}, made, upsert=True)

    def get(self, kind: str, name: str) -> Document | None:
        """Find one by its ``_id``."""
        with translated(f"read {self._kept.name}"):
            found = self._kept.find_one({"_id": _id(kind, name)})
        return None if found is None or _ended(found) else _given(found)

    def all(
        self, kind: str, where: Mapping[str, Any] | None = None, limit: int = 200
    ) -> Sequence[Document]:
        """Find those of a kind."""
        with translated(f"read {self._kept.name}"):
            wanted = {"kind": kind, **_equal(where)}
            found = list(self._kept.find(wanted).sort("made_at", -1).limit(limit))
        return [_given(document) for document in found if not _ended(document)]

    def change(
        self,
        kind: str,
        name: str,
        fields: Mapping[str, Any],
        where: Mapping[str, Any] | None = None,
    ) -> Document | None:
        """Update one by its ``_id``."""
        wanted = {"_id": _id(kind, name), **_equal(where)}
        with translated(f"update {self._kept.name}"):
            found = self._kept.find_one_and_update(
                wanted, {"$set": dict(fields)}, return_document=True
            )
        return None if found is None or _ended(found) else _given(found)

    def remove(self, kind: str, name: str) -> Document | None:
        """Delete one by its ``_id``."""
        with translated(f"remove from {self._kept.name}"):
            found = self._kept.find_one_and_delete({"_id": _id(kind, name)})
        return None if found is None or _ended(found) else _given(found)

    def clear(self, kind: str, where: Mapping[str, Any] | None = None) -> int:
        """Delete those of a kind."""
        with translated(f"remove from {self._kept.name}"):
            return self._kept.delete_many({"kind": kind, **_equal(where)}).deleted_count

    def take(self, name: str, holder: str, for_s: float) -> bool:
        """Become or stay the holder by one atomic update, with the server's own clock."""
        me = {"$literal": holder}
        free = {"$or": [{"$eq": ["$holder", me]}, {"$lte": ["$until", "$$NOW"]}]}
        change = {"holder": me, "until": {"$add": ["$$NOW", int(for_s * 1000)]}}
        one = _id(_LEASE, name)
        with translated(f"take the lease {name} in {self._kept.name}"):
            done = self._kept.update_one({"_id": one, "$expr": free}, [{"$set": change}])
            if done.matched_count:
                return True
            try:  # another holds it, or nobody ever has
                self._kept.insert_one(_made(_LEASE, name, {"holder": ""}, datetime.now(UTC)))
            except DuplicateKeyError:
                return False
            done = self._kept.update_one({"_id": one, "$expr": free}, [{"$set": change}])
        return bool(done.matched_count)

    def release(self, name: str, holder: str) -> None:
        """Let the lease end now."""
        with translated(f"release the lease {name} in {self._kept.name}"):
            self._kept.update_one(
                {"_id": _id(_LEASE, name), "holder": holder}, [{"$set": {"until": "$$NOW"}}]
            )


def _id(kind: str, name: str) -> str:
    return f"{kind}:{name}"


def _made(kind: str, name: str, document: Mapping[str, Any], until: datetime | None) -> Document:
    own = {field: value for field, value in document.items() if field not in _ADDED}
    more = {} if until is None else {"until": until}
    return {
        "_id": _id(kind, name),
        "kind": kind,
        "name": name,
        "made_at": datetime.now(UTC),
        **more,
        **own,
    }


def _equal(where: Mapping[str, Any] | None) -> dict[str, Any]:
    """Compare with values as they are: none is read as an operator."""
    return {field: {"$eq": value} for field, value in (where or {}).items()}


def _ended(document: Mapping[str, Any]) -> bool:
    until = document.get("until")
    return until is not None and until <= datetime.now(UTC)


def _given(document: Mapping[str, Any]) -> Document:
    given = {name: value for name, value in document.items() if name != "_id"}
    return {"until": None, **given}
