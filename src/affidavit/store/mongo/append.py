"""The write side of MongoDB: :class:`MongoStore` implements :class:`affidavit.store.base.Store`.

Vendor exceptions stop here: "no usable answer" becomes StoreUnavailable, "no" becomes StoreRefused,
a refused record becomes a verdict.
"""

from __future__ import annotations

import contextlib
import email.parser  # noqa: F401 - importlib.metadata loads it late; see the note below
import encodings.ascii  # noqa: F401 - the first text read as ASCII loads it; the same note
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import bson
import pymongo
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.errors import (
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WriteError,
)

from affidavit.canonical import EntryError, entry_of
from affidavit.config import AuditConfig
from affidavit.errors import StoreRefused, StoreUnavailable
from affidavit.event import NO_OUTCOME, Dest, Document, EventType, LedgerEvent, utc_from_ms
from affidavit.store.base import STORED, Encoded, Outcome, Verdict
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.driver import cause

# Loaded with this module, by the application's own thread: a fork while a background thread is
# importing leaves the module's lock held in the child, which then waits for it for ever.
from affidavit.store.mongo.setup import ensure
from affidavit.store.unchecked import OF_ANOTHER, claim_of, is_unchecked

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

_RawCollection: TypeAlias = "Collection[RawBSONDocument]"

MAX_DOCUMENT: Final = 16 * 1024**2
"""Bytes MongoDB takes in one document."""

GOODBYE_S: Final = 0.5
"""Seconds the driver may look for a server to end its sessions on; 5 s by default."""

_DUPLICATE: Final = 11000
_REFUSED: Final = frozenset({8000, 13, 18, 20, 31, 33, 53, 59, 73})
"""Codes of an answer that will be the same tomorrow: rights, credentials, illegal operation."""


class MongoStore:
    """Appends to the records and ledger collections of one database."""

    def __init__(self, target: object, config: AuditConfig, uri: str | None = None) -> None:
        self._config = config
        self.location = locate(target, config, uri)
        names, database = self.location.names, self.location.database
        self._collections: dict[Dest, _RawCollection] = {
            Dest.RECORDS: _raw(database, names.records),
            Dest.LEDGER: _raw(database, names.ledger),
        }
        self._writers = _raw(database, names.writers)
        self._leaf_batches = _raw(database, names.leaf_batches)
        self._block_compressor = ""

    @property
    def dataset(self) -> str:
        """Where records go, without secrets."""
        return self.location.dataset

    def is_same_log(self, dataset: str) -> bool:
        """Whether that name of a dataset, perhaps of an earlier host list, means this log."""
        return self.location.is_same_log(dataset)

    def prepare(self, timeout_s: float) -> None:
        """Look for a finished set-up, or do it where that is allowed."""
        with _translated():
            state = ensure(self.location, self._config, timeout_s)
        self._block_compressor = state.block_compressor

    def open_intents(self, since_ms: int, until_ms: int, limit: int, timeout_s: float) -> list[str]:
        """List calls begun in that time without an outcome: two index reads, no join."""
        collection = self._collections[Dest.RECORDS]
        begun = {
            "event_type": EventType.LLM_REQUEST.value,
            "timestamp": {"$gte": utc_from_ms(since_ms), "$lt": utc_from_ms(until_ms)},
            "call_id": {"$type": "string"},
        }
        found: list[str] = []
        with _translated(), pymongo.timeout(timeout_s):
            cursor = collection.find(begun, {"call_id": 1}).sort("timestamp", 1)
            for group in _groups(cursor, 500):
                ids = [str(document["call_id"]) for document in group]
                closed = {d["call_id"] for d in collection.find(closing_query(ids), {"call_id": 1})}
                found += [call_id for call_id in ids if call_id not in closed]
                if len(found) >= limit:
                    break
        return found[:limit]

    def last_start(self, service: str | None, but: str, timeout_s: float) -> Document | None:
        """Return the newest start record of that service by another writer."""
        asked = {
            "event_type": LedgerEvent.WRITER_START.value,
            "actor.service": service,
            "writer": {"$ne": but},
        }
        with _translated(), pymongo.timeout(timeout_s):
            found = self._collections[Dest.LEDGER].find_one(asked, sort=[("timestamp", -1)])
        return bson.decode(found.raw) if found is not None else None

    def pool_use(self) -> tuple[int, int] | None:
        """Look into the driver's pools, the application's own where its client was passed in.

        The driver tells this to nobody in public, and listeners can be added to no client that is
        open already. So this reads attributes that another version may name otherwise; it then
        tells nothing.
        """
        try:
            servers = self.location.client._topology._servers.values()  # noqa: SLF001 - see above
            pools: list[Any] = [server.pool for server in servers]
            each = [(int(pool.active_sockets), int(pool.opts.max_pool_size)) for pool in pools]
        except (AttributeError, RuntimeError, TypeError, ValueError, OverflowError):
            return None
        bounded = [pool for pool in each if pool[1] > 0]
        return max(bounded, key=lambda pool: pool[0] / pool[1], default=None)

    def compresses_blocks(self) -> bool:
        """Whether set-up noted zstd or zlib blocks for the records collection."""
        return self._block_compressor in {"zstd", "zlib"}

    def append(self, batch: Sequence[Encoded], timeout_s: float) -> list[Verdict]:
        """Insert the records, journaled and by majority; see the contract."""
        marked = [place for place, record in enumerate(batch) if is_unchecked(record)]
        if not marked:
            return self._append(batch, timeout_s)
        with _translated(), pymongo.timeout(timeout_s):  # one time-out for the look and the rest
            wrong = self._of_others(batch, marked)
            rest = [record for place, record in enumerate(batch) if place not in wrong]
            found = iter(self._append(rest, timeout_s) if rest else ())
        return [OF_ANOTHER if place in wrong else next(found) for place in range(len(batch))]

    def _of_others(self, batch: Sequence[Encoded], marked: Iterable[int]) -> set[int]:
        """Tell which of these marked outcomes are about a call that is stored, and not theirs.

        Not one that is stored already and is sent again: what is there is compared later.
        """
        claims = {p: claim for p in marked if (claim := claim_of(batch[p])) is not None}
        ids = {*(batch[p].record_id for p in claims), *(claim.call for claim in claims.values())}
        asked = {"_id": {"$in": [ObjectId(each) for each in ids]}}
        known = {
            cast("ObjectId", found["_id"]).binary: (found.get("department"), found.get("tenant"))
            for found in self._collections[Dest.RECORDS].find(asked, {"department": 1, "tenant": 1})
        }
        return {
            place
            for place, claim in claims.items()
            if known.get(claim.call, claim.whose) != claim.whose
            and batch[place].record_id not in known
        }

    def _append(self, batch: Sequence[Encoded], timeout_s: float) -> list[Verdict]:
        if len(batch) == 1:
            return [self._append_one(batch[0], timeout_s)]
        verdicts: list[Verdict | None] = [None] * len(batch)
        with _translated(), pymongo.timeout(timeout_s):  # one time-out for both collections
            for dest, collection in self._collections.items():
                places = [
                    place
                    for place, record in enumerate(batch)
                    if record.dest is dest and len(record.body) <= MAX_DOCUMENT
                ]
                if not places:
                    continue
                try:
                    self._append_many(collection, batch, places, verdicts)
                except OperationFailure as error:
                    if error.code not in _UNREADABLE:
                        raise
                    # One cannot even be read, and the server refuses them all: each by itself.
                    for place in places:
                        verdicts[place] = self._append_one(batch[place], _EACH_S)
        too_large = Verdict(Outcome.REJECTED, "too_large")
        return [verdict or too_large for verdict in verdicts]

    def _append_one(self, record: Encoded, timeout_s: float) -> Verdict:
        if len(record.body) > MAX_DOCUMENT:
            return Verdict(Outcome.REJECTED, "too_large")
        collection = self._collections[record.dest]
        with _translated(), pymongo.timeout(timeout_s):
            try:
                collection.insert_one(RawBSONDocument(record.body))
            except DuplicateKeyError as error:
                return self._duplicates(collection, [(record, dict(error.details or {}))])[0]
            except WriteConcernError:
                raise
            except WriteError as error:
                return _rejected(error.code)
            except DocumentTooLarge:
                return Verdict(Outcome.REJECTED, "too_large")
            except OperationFailure as error:
                if error.code not in _UNREADABLE:
                    raise
                return Verdict(Outcome.REJECTED, f"code {error.code}")
        return STORED

    def _append_many(
        self,
        collection: _RawCollection,
        batch: Sequence[Encoded],
        places: list[int],
        verdicts: list[Verdict | None],
    ) -> None:
        documents = [RawBSONDocument(batch[place].body) for place in places]
        try:
            collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            details = error.details
            if details.get("writeConcernErrors"):
                msg = "MongoDB did not confirm the write by a journaled majority in time."
                raise StoreUnavailable(msg) from None
            twice: list[tuple[int, dict[str, Any]]] = []
            for failure in details["writeErrors"]:
                place = places[failure["index"]]
                if failure["code"] == _DUPLICATE:
                    twice.append((place, failure))
                elif _is_passing(failure["code"]):
                    msg = f"MongoDB could not write for now (code {failure['code']})."
                    raise StoreUnavailable(msg) from None
                else:
                    verdicts[place] = _rejected(failure["code"])
            found = self._duplicates(collection, [(batch[place], f) for place, f in twice])
            for (place, _failure), verdict in zip(twice, found, strict=True):
                verdicts[place] = verdict
        for place in places:
            if verdicts[place] is None:
                verdicts[place] = STORED

    def _duplicates(
        self, collection: _RawCollection, failed: Sequence[tuple[Encoded, dict[str, Any]]]
    ) -> list[Verdict]:
        """A duplicate key is success only if what is stored is this very record.

        One question for all: after an outage a whole batch may be there already, and asking for
        each would take longer than the batch may.
        """
        if not failed:
            return []
        ids = [ObjectId(record.record_id) for record, _failure in failed]
        known = {
            cast("ObjectId", document["_id"]).binary: bytes(document.raw)
            for document in collection.find({"_id": {"$in": ids}})
        }
        return [_of_duplicate(record, known.get(record.record_id), f) for record, f in failed]

    def append_leaves(self, batches: Sequence[bytes], timeout_s: float) -> None:
        """Insert leaf batches; see the contract."""
        now = datetime.now(UTC)
        documents = [
            RawBSONDocument(bson.encode({**bson.decode(body), "sent_at": now})) for body in batches
        ]
        with _translated(), pymongo.timeout(timeout_s):
            try:
                self._leaf_batches.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                if error.details.get("writeConcernErrors"):
                    msg = "MongoDB did not confirm the write by a journaled majority in time."
                    raise StoreUnavailable(msg) from None
                for failure in error.details["writeErrors"]:
                    if failure["code"] != _DUPLICATE:
                        _rejected(failure["code"])  # raises when it may pass later
                        msg = f"MongoDB refuses leaf batches (code {failure['code']})."
                        raise StoreRefused(msg) from None

    def heartbeat(self, document: bytes, timeout_s: float) -> None:
        """Insert one heartbeat."""
        with _translated(), pymongo.timeout(timeout_s):
            self._writers.insert_one(RawBSONDocument(document))

    def present(self, writer: str, dest: Dest, since_seq: int, timeout_s: float) -> set[int]:
        """Tell which sequence numbers of a writer are stored, by the unique index."""
        with _translated(), pymongo.timeout(timeout_s):
            cursor = self._collections[dest].find(
                {"writer": writer, "seq": {"$gte": since_seq}}, {"_id": 0, "seq": 1}
            )
            return {cast("int", document["seq"]) for document in cursor}

    def close(self) -> None:
        """Close the client if it is ours; the driver's good-bye to a dead server is cut short."""
        with pymongo.timeout(GOODBYE_S):
            self.location.close()


def closing_query(call_ids: list[str]) -> dict[str, Any]:
    """Ask for the records that end calls, in words that let the partial index on call_id serve."""
    response, annotation = EventType.LLM_RESPONSE.value, EventType.ANNOTATION.value
    return {
        "call_id": {"$in": call_ids},
        "event_type": {"$in": [response, annotation]},
        "$or": [{"event_type": response}, {"kind": NO_OUTCOME}],
    }


def _groups(cursor: Iterable[RawBSONDocument], size: int) -> Iterator[list[RawBSONDocument]]:
    iterator = iter(cursor)
    while group := list(islice(iterator, size)):
        yield group


def _of_duplicate(record: Encoded, known: bytes | None, failure: dict[str, Any]) -> Verdict:
    if known is not None:
        same = known == record.body or _is_less_of(known, record)
        return STORED if same else Verdict(Outcome.REJECTED, "id_conflict")
    if "_id" in (failure.get("keyPattern") or {}):
        # It was there a moment ago and is not now (rolled back, expired): send it again.
        msg = "MongoDB reported a duplicate that is not there. The record is sent again."
        raise StoreUnavailable(msg)
    return Verdict(Outcome.REJECTED, "seq_conflict")


def _is_less_of(known: bytes, record: Encoded) -> bool:
    """Whether what is stored is this record too: erased since, or put back by an import."""
    try:
        entries = [entry_of(bson.decode(body), record.dest) for body in (known, record.body)]
    except (EntryError, bson.errors.BSONError):
        return False
    return entries[0] is not None and entries[0] == entries[1]


def _raw(database: Database[dict[str, Any]], name: str) -> _RawCollection:
    options = database.codec_options.with_options(document_class=RawBSONDocument)
    return cast("_RawCollection", database.get_collection(name, codec_options=options))


def _rejected(code: int | None) -> Verdict:
    if _is_passing(code):
        msg = f"MongoDB could not write for now (code {code})."
        raise StoreUnavailable(msg)
    reason = {121: "validation", 10334: "too_large", 2: "bad_value"}.get(code or 0, f"code {code}")
    return Verdict(Outcome.REJECTED, reason)


_EACH_S: Final = 60.0
"""Seconds for one of several that are sent by themselves; the time of the whole batch counts too.
"""

_UNREADABLE: Final = frozenset({15, 22, 10334})
"""Codes of a command with a document that the server cannot read: nested too deeply, damaged, too
large. It will not be able to tomorrow."""

_PASSING: Final = frozenset(
    {6, 7, 50, 64, 89, 91, 100, 112, 133, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}
    | {14031, 39}  # disk full, file stream failed: an operator mends these
)
"""Codes of single writes that say "not now": elections, time-outs, shut-down, disk full."""


def _is_passing(code: int | None) -> bool:
    return code in _PASSING


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what the driver raises into our two errors. Texts hold no content and no password."""
    try:
        yield
    except (ExecutionTimeout, WriteConcernError) as error:
        msg = f"MongoDB did not finish the operation in time (code {error.code})."
        raise StoreUnavailable(msg) from error
    except OperationFailure as error:
        if error.code in _REFUSED:
            msg = (
                f"MongoDB refuses the operation (code {error.code}, {_code_name(error)}). "
                "`affidavit doctor` says which right is missing."
            )
            raise StoreRefused(msg) from error
        msg = f"MongoDB could not do it for now (code {error.code}, {_code_name(error)})."
        raise StoreUnavailable(msg) from error
    except PyMongoError as error:
        msg = f"MongoDB does not answer ({cause(error)}). Records wait in the spool."
        raise StoreUnavailable(msg) from error


def _code_name(error: OperationFailure) -> str:
    details = error.details or {}
    return str(details.get("codeName", "unnamed"))
