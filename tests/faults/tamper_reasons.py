"""What an administrator may do who may also write to the ledger, or remove what anchors have said.

The ledger records are sealed like everything else, by the log's own sealer; see
:mod:`tests.faults.tamper_acts`.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from bson.objectid import ObjectId

from affidavit.canonical import epoch_ms, erase, leaf_of, openings
from affidavit.integrity.adopted import rows_of
from affidavit.integrity.leaves import FIRST, Signer, build
from tests.faults.tamper_acts import Act, Docs, Done, one
from tests.faults.tamper_log import BATCHES, LEDGER, NAMES, RECORDS, SEALS, Log, seal

if TYPE_CHECKING:
    from pymongo.database import Database

A_RECEIPT: Final = {"anchor": {"$exists": True}}

# -- receipts ------------------------------------------------------------------------------------


def remove_receipts(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """What a witness or an authority has signed of the log, taken out of the store."""
    kind = rng.choice(["witness", "timestamp"])
    count = database[SEALS].delete_many({**A_RECEIPT, "kind": kind}).deleted_count
    return Done((SEALS,), f"{count} of a {kind}")


def edit_receipt(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """What is signed, or the signature, in the newest receipt of an anchor."""
    kind, field = rng.choice([("witness", "cp"), ("timestamp", "cp"), ("timestamp", "token")])
    newest = database[SEALS].find_one({**A_RECEIPT, "kind": kind}, sort=[("_id", -1)])
    assert newest is not None
    old = newest[field]
    data = old if isinstance(old, bytes) else old.encode()
    # Of a witness's note the lines that it signs: the log's own signature stands below them, and
    # says nothing there. Of a token the end, which is the signature: there are bytes around it that
    # no reader looks at.
    at = rng.randrange(data.index(b"\n\n") if kind == "witness" else len(data))
    at = rng.randrange(len(data) - 32, len(data)) if field == "token" else at
    new: Any = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    new = new if isinstance(old, bytes) else new.decode(errors="replace")
    database[SEALS].update_one({"_id": newest["_id"]}, {"$set": {field: new}})
    return Done((SEALS,), f"{field} of a {kind}, byte {at}")


# -- reasons in the ledger -----------------------------------------------------------------------


def call_it_lost(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """A record deleted that a sealed ledger record calls lost."""
    gone = one(database, RECORDS, rng)
    details = {"writer": gone["writer"], "lost_seqs": [[gone["seq"], gone["seq"]]]}
    how = rng.choice(["a writer", "a command", "a silent writer"])
    _say(database, log, "spool_adopted", details, rng, how)
    database[RECORDS].delete_one({"_id": gone["_id"]})
    return Done(NAMES, f"says {how}")


def shorten_retention(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Records deleted that a sealed ledger record lets expire."""
    days = rng.randrange(11)
    _say(database, log, "setup", {"ttl_s": days * 86_400 + 60}, rng, "a command")
    older = {"timestamp": {"$lt": log.ends - timedelta(days=days)}}
    count = database[RECORDS].delete_many(older).deleted_count
    return Done(NAMES, f"to {days} days, and {count} records deleted")


def announce_an_erasure(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """Content erased, the way an erasure does it, after it was announced and sealed."""
    groups: list[str] = []
    while not groups:
        document = one(database, RECORDS, rng)
        groups = sorted(openings(document, "records"))
    group = rng.choice(groups)
    details = {"records": [str(document["_id"])], "groups": [group], "reason": "on request"}
    _say(database, log, "erasure", details, rng, "a command")
    database[RECORDS].replace_one({"_id": document["_id"]}, erase(document, "records", [group]))
    return Done(NAMES, f"group {group}")


def take_over_a_made_up_record(database: Database[Docs], log: Log, rng: random.Random) -> Done:
    """A record of the past that never was, as if of another logger, and a sealed adoption of it."""
    made_up = one(database, RECORDS, rng)
    for name in ("writer", "seq", "salt", "salts", "erased"):
        made_up.pop(name, None)
    made_up["_id"] = ObjectId()
    database[RECORDS].insert_one(made_up)
    how = rng.choice(["adoption", "adoption_closed"])
    details: Docs = {"documents": 1}
    if how == "adoption_closed":
        stored = database[RECORDS].find_one({"_id": made_up["_id"]})
        assert stored is not None
        details = {"closing": "c", "part": 0, "parts": 1, "rows": b"".join(rows_of([stored]))}
    _say(database, log, how, details, rng, "a command")
    return Done(NAMES, how)


def _say(
    database: Database[Docs], log: Log, kind: str, details: Docs, rng: random.Random, how: str
) -> None:
    """Have a ledger record sealed: as a writer that starts, as a command, or as a silent writer."""
    at, writer = log.ends + timedelta(minutes=20), f"host-9-{rng.randrange(2**32):x}"
    signer, first = Signer(writer), 0
    said: Docs = {"event_type": kind, "details": details}
    told: list[Docs] = [said]
    if how == "a writer":
        told.insert(0, {"event_type": "writer_start", "details": {"leaf_key": signer.vkey}})
    elif how == "a command":
        said["actor"] = {"leaf_key": signer.vkey}
    else:
        writer = rng.choice(sorted(database[LEDGER].distinct("writer")))
        numbers = [d["seq"] for name in (RECORDS, LEDGER) for d in database[name].find(
            {"writer": writer}, {"seq": 1})]  # fmt: skip
        first = max(numbers) + 1
    leaves, times_ms = [], []
    for seq, each in enumerate(told, first):
        document = {
            "_id": ObjectId(), **each, "timestamp": at, "schema_version": 1, "writer": writer,
            "seq": seq, "salt": rng.randbytes(16),
        }  # fmt: skip
        database[LEDGER].insert_one(document)
        leaves.append(leaf_of(document, "ledger"))
        times_ms.append(epoch_ms(at))
    if how != "a silent writer":
        made = build(writer, 0, leaves, times_ms, b"\x01" * len(leaves), FIRST, signer)
        database[BATCHES].insert_one({**made.as_document(), "sent_at": at})
    seal(database, log.key, at + timedelta(minutes=20))


SHARES: Final[dict[Act, int]] = {
    remove_receipts: 3,
    edit_receipt: 3,
    call_it_lost: 5,
    shorten_retention: 3,
    announce_an_erasure: 3,
    take_over_a_made_up_record: 3,
}
"""Of 125 acts."""
