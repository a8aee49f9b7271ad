"""Logs for tests of sealing: records and leaf batches as a writer leaves them, and a log's key."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import bson
from bson.objectid import ObjectId

from affidavit import canonical
from affidavit.config import AuditConfig
from affidavit.event import Dest
from affidavit.integrity.checkpoint import open_checkpoint
from affidavit.integrity.leaves import FIRST, LeafBatch, build
from affidavit.integrity.note import Signer, VerifierKey
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import verify
from affidavit.sealer import keys
from affidavit.sealer.replay import leaves_of
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.sealer.seen import Seen
from affidavit.store import connect_seals
from affidavit.store.base import Encoded
from tests.support.trees import root as tree_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from affidavit.integrity.findings import Report
    from affidavit.store import Store
    from affidavit.store.sealing import SealStore


@dataclass
class Writer:
    """A writer that stores records and sends leaf batches only as it is told."""

    store: Store
    name: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    enrolled: bool = True
    seq: int = 0
    prev: bytes = FIRST

    def __post_init__(self) -> None:
        self.signer = Signer(self.name)
        self.documents: dict[int, tuple[Dest, dict[str, Any]]] = {}

    def record(self, count: int = 1, *, store: bool = True) -> range:
        """Make records, the first of them the writer's start; returns their numbers."""
        first = self.seq
        made = []
        for _ in range(count):
            dest = Dest.LEDGER if self.seq == 0 else Dest.RECORDS
            details = {"leaf_key": self.signer.vkey} if self.enrolled else {}
            document: dict[str, Any] = {
                "_id": ObjectId(),
                "event_type": "writer_start" if dest is Dest.LEDGER else "annotation",
                "timestamp": self.at.replace(microsecond=0),
                "user_id": "u",
                "details": details if dest is Dest.LEDGER else {"number": self.seq},
                "schema_version": 1,
                "writer": self.name,
                "seq": self.seq,
                "salt": canonical.new_salt(),
            }
            self.documents[self.seq] = (dest, document)
            made.append(self.encoded(self.seq))
            self.seq += 1
        if store:
            self.store.append(made, 10)
        return range(first, self.seq)

    def encoded(self, seq: int) -> Encoded:
        """A record as it is stored."""
        dest, document = self.documents[seq]
        return Encoded(dest, document["_id"].binary, seq, bson.encode(document))

    def batch(self, numbers: range, **other: Any) -> LeafBatch:
        """The signed batch of these numbers."""
        leaves, times, classes = [], [], []
        for seq in numbers:
            dest, document = self.documents[seq]
            leaves.append(canonical.leaf_of(document, dest.value))
            times.append(canonical.epoch_ms(document["timestamp"]))
            classes.append(int(dest is Dest.LEDGER))
        given = {"prev": self.prev, "signer": self.signer, **other}
        made = build(self.name, numbers.start, leaves, times, bytes(classes), **given)
        self.prev = made.digest
        return made

    def send(self, *numbers: range) -> None:
        """Send the batches of these numbers."""
        bodies = [bson.encode(self.batch(each).as_document()) for each in numbers]
        self.store.append_leaves(bodies, 10)

    def beat(self, at: datetime, **more: Any) -> None:
        """Leave a heartbeat."""
        beat = {"_id": ObjectId(), "writer": self.name, "at": at, "state": "running", **more}
        self.store.heartbeat(bson.encode(beat), 10)


def sealer_of(
    seals: SealStore,
    config: AuditConfig | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    *,
    seen: bool = False,
) -> Sealer:
    """A sealer with a key file in this test's state directory."""
    chosen = config or AuditConfig()
    return Sealer(
        seals,
        lambda: keys.open_key(seals, chosen),
        clock=clock,
        seen=Seen(seals.dataset) if seen else None,
    )


def sealed_numbers(seals: SealStore) -> dict[tuple[str, int], int]:
    """How often each (writer, number) has a leaf of its own; gaps under the writer's name."""
    found: dict[tuple[str, int], int] = {}
    for seal in seals.seals():
        for item in seal["items"]:
            if "gap" in item:
                key = (f"gap {item['gap']}", 0)
                found[key] = found.get(key, 0) + item["n"]
                continue
            writer, _, s0 = item["b"].rpartition(":")
            start = int(s0) + item.get("from", 0)
            for seq in range(start, start + item["n"]):
                found[writer, seq] = found.get((writer, seq), 0) + 1
    return found


def check_log(seals: SealStore) -> int:
    """Check every seal against a tree made by other code; returns the size of the log."""
    identity = seals.identity()
    assert identity is not None
    vkey, leaves, numbers = identity["vkey"], list[bytes](), 0
    for k, seal in enumerate(seals.seals()):
        assert seal["_id"] == k
        assert seal["i0"] == len(leaves)
        leaves += leaves_of(seals, [seal])
        assert len(leaves) == seal["size"] == seal["i0"] + seal["n"]
        numbers += sum(1 if "gap" in item else item["n"] for item in seal["items"])
        assert numbers == len(leaves)
        opened = open_checkpoint(seal["cp"], VerifierKey.parse(vkey)).checkpoint
        assert opened == (identity["origin"], seal["size"], bytes(seal["root"]))
        if "key" in seal:
            vkey = keys.check_rotation(seal["key"]["note"], vkey)
    last = seals.last_seal()
    if last is not None:
        assert bytes(last["root"]) == tree_root(leaves)
        for number in range(len(leaves) // 256):
            tile = b"".join(leaves[256 * number : 256 * number + 256])
            assert seals.tile(0, number) == tile
    assert all(count == 1 for (name, _), count in sealed_numbers(seals).items() if " " not in name)
    return len(leaves)


def verified(uri: str, config: AuditConfig) -> Report:
    """Seal everything, also what is late, with the log's key as ``config`` has it; and verify."""
    store = connect_seals(uri, AuditConfig())
    for late in (timedelta(0), timedelta(minutes=2), timedelta(hours=2)):
        clock: Any = lambda late=late: datetime.now(UTC) + late  # noqa: E731 - said at once
        seal_once(Sealer(store, lambda: keys.open_key(store, config), clock=clock))
    vkey, now_ms = keys.open_key(store, config).vkey, int(time.time() * 1000)
    report = verify(store, Trust(vkey), now_ms=now_ms)
    store.close()
    return report
