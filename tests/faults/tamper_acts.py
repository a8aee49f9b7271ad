"""What an administrator of the database may do to a log: one function for each kind of act.

Each changes the database at random, and returns which collections it has touched, and a few words
on what it did. The field that is edited is drawn uniformly over all stored paths.
"""

from __future__ import annotations

import contextlib
import random
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from pymongo.database import Database

from affidavit.canonical import EntryError, entry_of, leaf_hash
from affidavit.integrity.checkpoint import Checkpoint, sign_checkpoint
from affidavit.integrity.leaves import Signer, build, from_document
from affidavit.integrity.merkle import Frontier
from tests.faults.tamper_log import (
    BATCHES,
    LEDGER,
    NAMES,
    RECORDS,
    SEALS,
    TILES,
    Log,
    restore,
)

Docs = dict[str, Any]
Path = tuple[Any, ...]

UNPROVED: Final = {
    BATCHES: {("sent_at",)},
    SEALS: {("at",), ("mark",), ("by",), ("state",), ("full_at",), ("created_at",)},
}
"""What the log's own collections hold about the work of sealing. Nothing is judged by it."""


A_SEAL: Final = {"items": {"$exists": True}}


class Done(NamedTuple):
    """What an act did."""

    touched: tuple[str, ...]
    what: str


Act = Callable[[Database[Docs], Log, random.Random], Done]


# -- edits ---------------------------------------------------------------------------------------


def edit_record(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Any field of a record."""
    return _edit(database, RECORDS, rng)


def edit_ledger(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Any field of a ledger record."""
    return _edit(database, LEDGER, rng)


def edit_proof(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Any field of a leaf batch, a seal or a tile that is judged."""
    names = [BATCHES, SEALS, *([TILES] if log.whole[TILES] else [])]
    return _edit(database, rng.choice(names), rng)


def edit_and_rehash(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """A record, and its leaf batch made again to fit it, signed by a key of one's own."""
    document = one(database, RECORDS, rng)
    kept = {"writer", "seq", "_id", "salt", "salts", "erased", "timestamp"}
    leaf = None
    while leaf is None:  # some edits of an erased record leave nothing that could be hashed
        path = rng.choice([p for p in paths(document) if p[0] not in kept])
        changed = put(document, path, flipped(at(document, path)))
        with contextlib.suppress(EntryError):
            leaf = _leaf(changed)
    database[RECORDS].replace_one({"_id": document["_id"]}, changed)
    batch = _batch_of(database, changed)
    leaves = list(batch.leaves)
    leaves[changed["seq"] - batch.s0] = leaf
    new = build(batch.w, batch.s0, leaves, batch.times_ms, batch.k, batch.prev, Signer(batch.w))
    stored = {**new.as_document(), "sent_at": datetime(2026, 9, 1)}  # noqa: DTZ001 - stored as UTC
    database[BATCHES].replace_one({"_id": batch.id}, stored)
    return Done((RECORDS, BATCHES), f"{_path(path)} of a record, and its batch")


def erase_quietly(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Content, the way an erasure does it, without the ledger's record."""
    from affidavit.canonical import erase, openings

    groups: list[str] = []
    while not groups:  # of some records everything was erased on request
        document = one(database, RECORDS, rng)
        groups = sorted(openings(document, "records"))
    group = rng.choice(groups)
    database[RECORDS].replace_one({"_id": document["_id"]}, erase(document, "records", [group]))
    return Done((RECORDS,), f"group {group} of a record erased")


def _leaf(document: Docs) -> bytes:
    entry = entry_of(document, "records")
    assert entry is not None
    return leaf_hash(entry)


# -- less ----------------------------------------------------------------------------------------


def delete_one(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """One record, of the records or of the ledger."""
    name = rng.choice([RECORDS, RECORDS, LEDGER])
    database[name].delete_one({"_id": one(database, name, rng)["_id"]})
    return Done((name,), f"one of {name}")


def delete_range(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """All records of a span of time."""
    start = log.ends - timedelta(hours=rng.uniform(1, 260))
    wanted = {"timestamp": {"$gte": start, "$lt": start + timedelta(hours=rng.uniform(24, 72))}}
    count = database[RECORDS].delete_many(wanted).deleted_count
    return Done((RECORDS,), f"{count} records") if count else delete_range(database, log, rng)


def delete_writer(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Everything of one writer, its leaf batches too."""
    writer = rng.choice(sorted(database[RECORDS].distinct("writer")))
    for name in (RECORDS, LEDGER):
        database[name].delete_many({"writer": writer})
    if rng.random() < 0.5:
        database[BATCHES].delete_many({"w": writer})
    return Done((RECORDS, LEDGER, BATCHES), "a writer")


def delete_a_day_early(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """What expires tomorrow."""
    horizon = log.ends + EARLY - timedelta(days=90)
    count = database[RECORDS].delete_many({"timestamp": {"$lt": horizon + timedelta(days=1)}})
    return Done((RECORDS,), f"{count.deleted_count} records, up to a day before their time")


# -- more ----------------------------------------------------------------------------------------


def insert(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """A record of the past that never was: with a next number, a new writer, or none."""
    sealed_by = log.ends - timedelta(days=1)  # what is newer may still be waiting for the sealer
    made_up = {**one(database, RECORDS, rng, {"timestamp": {"$lt": sealed_by}}), "_id": ObjectId()}
    how = rng.choice(["next number", "new writer", "no number", "no salt"])
    if how == "next number":
        newest = database[RECORDS].find_one({"writer": made_up["writer"]}, sort=[("seq", -1)])
        assert newest is not None
        made_up["seq"] = newest["seq"] + rng.randrange(5, 99)
    elif how == "new writer":
        made_up["writer"] = f"host-1-{rng.randrange(2**32):x}"
    elif how == "no salt":
        made_up["seq"] += 1000
    else:
        del made_up["writer"], made_up["seq"]
    if how in {"no salt", "no number"}:
        for name in ("salt", "salts", "erased"):
            made_up.pop(name, None)
    database[RECORDS].insert_one(made_up)
    return Done((RECORDS,), how)


def duplicate(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """A record twice."""
    name = rng.choice([RECORDS, LEDGER])
    database[name].insert_one({**one(database, name, rng), "_id": ObjectId()})
    return Done((name,), f"one of {name}")


# -- otherwise -----------------------------------------------------------------------------------


def swap(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Two records exchange numbers, or everything but their ids."""
    one, other = rng.sample(list(database[RECORDS].find()), 2)
    if rng.random() < 0.5:
        numbers = [{name: d[name] for name in ("writer", "seq")} for d in (one, other)]
        database[RECORDS].update_one({"_id": one["_id"]}, {"$set": numbers[1]})
        database[RECORDS].update_one({"_id": other["_id"]}, {"$set": numbers[0]})
        return Done((RECORDS,), "numbers")
    database[RECORDS].replace_one({"_id": one["_id"]}, {**other, "_id": one["_id"]})
    database[RECORDS].replace_one({"_id": other["_id"]}, {**one, "_id": other["_id"]})
    return Done((RECORDS,), "contents")


def cut_tail(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """The last seals, so far that the saved checkpoint is behind the end; records stay."""
    size = Checkpoint.parse(log.saved.partition("\n\n")[0] + "\n").size
    ends = [seal["_id"] for seal in database[SEALS].find({**A_SEAL, "size": {"$lt": size}})]
    database[SEALS].delete_many({**A_SEAL, "_id": {"$gt": rng.choice(ends)}})
    return Done((SEALS,), "seals only")


def roll_back(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """The whole database to an earlier day, or to nothing."""
    day = rng.randrange(-1, 10)
    for name in NAMES:
        database[name].delete_many({})
    if day >= 0:
        restore(database, log.days[day], NAMES)
    return Done(NAMES, f"to day {day + 1}")


def older_backup(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """An older backup, after which application and sealer went on."""
    restore(database, rng.choice(log.regrown), NAMES)
    return Done(NAMES, "and the log grew on")


# -- keys ----------------------------------------------------------------------------------------


def forge_checkpoint(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """A checkpoint without the key: another size, root, or signature; or a key of one's own."""
    seal = rng.choice(list(database[SEALS].find(A_SEAL)))
    origin, size, root, rest = seal["cp"].split("\n", 3)
    how = rng.choice(["size", "root", "signature", "own key"])
    if how == "size":
        size = str(int(size) + rng.randrange(1, 9))
    elif how == "root":
        root = b64encode(rng.randbytes(32)).decode()
    elif how == "signature":
        good = rest.rstrip("\n")
        head, blob = good.rsplit(" ", 1)
        rest = f"{head} {b64encode(b64_bytes(blob)[:4] + rng.randbytes(64)).decode()}\n"
    cp = f"{origin}\n{size}\n{root}\n{rest}"
    if how == "own key":
        cp = sign_checkpoint(Checkpoint(origin, int(size), rng.randbytes(32)), Signer(origin))
    database[SEALS].update_one({"_id": seal["_id"]}, {"$set": {"cp": cp}})
    return Done((SEALS,), how)


def swap_key(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """A record edited, and the whole log signed again by another key, which the store names."""
    key = Signer(log.key.name)
    document = one(database, RECORDS, rng)
    document["model"] = "cheaper"
    database[RECORDS].replace_one({"_id": document["_id"]}, document)
    batch = _batch_of(database, document)
    leaves = list(batch.leaves)
    leaves[document["seq"] - batch.s0] = _leaf(document)
    new = build(batch.w, batch.s0, leaves, batch.times_ms, batch.k, batch.prev, Signer(batch.w))
    database[BATCHES].update_one({"_id": batch.id}, {"$set": new.as_document()})
    tree = Frontier()
    held = {b["_id"]: b["h"] for b in database[BATCHES].find()}
    for seal in database[SEALS].find(A_SEAL).sort("_id", 1):
        for item in seal["items"]:
            h, start = held[item["b"]], item.get("from", 0)
            tree.extend(h[32 * n : 32 * n + 32] for n in range(start, start + item["n"]))
        cp = sign_checkpoint(Checkpoint(key.name, tree.size, tree.root()), key)
        said = {"cp": cp, "root": tree.root(), "frontier": tree.hashes, "vkey": key.vkey}
        database[SEALS].update_one({"_id": seal["_id"]}, {"$set": said})
    if rng.random() < 0.7:
        database[SEALS].update_one({"_id": "log"}, {"$set": {"vkey": key.vkey}})
    database[TILES].delete_many({})
    return Done((RECORDS, BATCHES, SEALS, TILES), "everything signed again")


def garbage(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """A document among the seals that is none."""
    newest = database[SEALS].find_one(A_SEAL, sort=[("_id", -1)])
    assert newest is not None
    name = rng.choice([newest["_id"] + 1, newest["_id"] + rng.randrange(2, 10**6), 0.5])
    odd = rng.choice([{}, {"items": []}, {"size": "x", "at": 1}, {"items": [{"b": 5}], "n": 1}])
    database[SEALS].insert_one({**odd, "_id": name})
    return Done((SEALS,), f"{name}: {sorted(odd)}")


# -- nothing wrong -------------------------------------------------------------------------------

EARLY: Final = timedelta(days=83)
"""How long after the log's end the auditor looks at what expired: the first days are over then."""


def expire(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """What the TTL index removes; the verification must be clean."""
    horizon = log.ends + EARLY - timedelta(days=90)
    count = database[RECORDS].delete_many({"timestamp": {"$lt": horizon}}).deleted_count
    return Done((RECORDS,), f"{count} records whose retention is over")


def nothing(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Nothing; the verification must be clean."""
    return Done((), "")


CLEAN: Final[tuple[Act, ...]] = (nothing, expire)
LATER: Final[tuple[Act, ...]] = (expire, delete_a_day_early)
"""Acts that are looked at when the first records' retention is over."""

SHARES: Final[dict[Act, int]] = {
    edit_record: 24,
    edit_ledger: 10,
    edit_proof: 10,
    edit_and_rehash: 5,
    erase_quietly: 3,
    delete_one: 6,
    delete_range: 3,
    delete_writer: 3,
    delete_a_day_early: 3,
    insert: 6,
    duplicate: 3,
    swap: 4,
    cut_tail: 3,
    roll_back: 3,
    older_backup: 3,
    forge_checkpoint: 4,
    swap_key: 3,
    garbage: 3,
    expire: 3,
    nothing: 3,
}
"""Of 125 acts, with those in :mod:`tests.faults.tamper_reasons`."""


# -- documents -----------------------------------------------------------------------------------


def paths(value: Any, here: Path = ()) -> list[Path]:
    """Every path of a document: of its mappings, lists and values."""
    found = [here] if here else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*here, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, (*here, index))
    return found


def at(document: Any, path: Path) -> Any:
    """The value at a path."""
    for step in path:
        document = document[step]
    return document


def put(document: Any, path: Path, value: Any) -> Any:
    """A copy with another value at a path."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = put(copy[path[0]], path[1:], value)
    return copy


def flipped(value: Any) -> Any:  # noqa: PLR0911 - a dispatch over types
    """Another value of the same type."""
    if value is None:
        return "not null"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if abs(value) < 2**52 else value - 1000
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:] if value else b"x"
    if isinstance(value, ObjectId):
        return ObjectId(flipped(value.binary))
    if isinstance(value, Decimal128):
        return Decimal128(value.to_decimal() + 1)
    if isinstance(value, datetime):
        return value + timedelta(milliseconds=1)
    return [*value, "one more"] if isinstance(value, list) else {**value, "one_more": 1}


def b64_bytes(text: str) -> bytes:
    """Bytes of base64."""
    from base64 import b64decode

    return b64decode(text)


def _edit(database: Database[Docs], name: str, rng: random.Random) -> Done:
    """Change the value at one path, drawn uniformly over those of all documents; `_id` too."""
    documents = list(database[name].find({"anchor": {"$exists": False}}))
    spared = UNPROVED.get(name, set())
    places = [
        (document, path)
        for document in documents
        for path in paths(document)
        if path[:1] not in spared and path[-1] != "late" and not _named(name, document, path)
    ]
    document, path = rng.choice(places)
    old = at(document, path)
    if path == ("_id",):
        database[name].delete_one({"_id": old})
        new = {**document, "_id": flipped(old)}
        database[name].replace_one({"_id": new["_id"]}, new, upsert=True)
    elif _removable(name, path, old) and rng.random() < 0.2:
        database[name].update_one({"_id": document["_id"]}, {"$unset": {_path(path): ""}})
        return Done((name,), f"{_path(path)} removed")
    else:
        changed = put(document, path, flipped(old))
        database[name].replace_one({"_id": document["_id"]}, changed)
    return Done((name,), _path(path))


def _named(name: str, document: Docs, path: Path) -> bool:
    """Whether this is the id of a tile or of the identity: without it, it is simply not there."""
    return path == ("_id",) and (name == TILES or document["_id"] == "log")


def _removable(name: str, path: Path, old: Any) -> bool:
    """Whether its removal is an act: a null is as good as absent, and a tile is computed again."""
    return old is not None and isinstance(path[-1], str) and name != TILES


def _path(path: Path) -> str:
    return ".".join(map(str, path))


def one(database: Database[Docs], name: str, rng: random.Random, of: Docs | None = None) -> Docs:
    """Any document of a collection, or of those that are asked for."""
    names = [document["_id"] for document in database[name].find(of or {}, {"_id": 1})]
    found = database[name].find_one({"_id": rng.choice(names)})
    assert found is not None
    return found


def _batch_of(database: Database[Docs], document: Docs) -> Any:
    wanted = {"w": document["writer"], "s0": {"$lte": document["seq"]}}
    found = database[BATCHES].find_one(wanted, sort=[("s0", -1)])
    assert found is not None
    return from_document(found)
