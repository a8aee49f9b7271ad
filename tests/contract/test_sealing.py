"""The contract of the log's own collections, for each implementation."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson.objectid import ObjectId

from affidavit.config import AuditConfig
from affidavit.event import Dest
from affidavit.integrity.leaves import FIRST, build
from affidavit.integrity.note import Signer
from affidavit.store import Store, connect, seals_beside
from affidavit.store.base import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.store.sealing import SealStore

pytestmark = pytest.mark.requirement("R20", "R21")


@pytest.fixture(params=["memory", "mongodb", "replica set"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each kind of store, empty and prepared."""
    if request.param == "memory":
        opened = connect(f"memory:{request.node.nodeid}", AuditConfig())
    else:
        fixture = "database" if request.param == "mongodb" else "replica_database"
        opened = connect(request.getfixturevalue(fixture), AuditConfig())
    opened.prepare(30)
    yield opened
    opened.close()


@pytest.fixture
def seals(store: Store) -> SealStore:
    """The log's own collections beside it."""
    found = seals_beside(store)
    assert found is not None
    return found


def record(writer: str, seq: int, dest: Dest = Dest.RECORDS) -> Encoded:
    """A small valid record."""
    identity = ObjectId()
    document: dict[str, Any] = {
        "_id": identity,
        "event_type": "annotation" if dest is Dest.RECORDS else "writer_start",
        "timestamp": bson.datetime_ms.DatetimeMS(1_800_000_000_000 + seq),
        "user_id": "u",
        "schema_version": 1,
        "details": {},
        "writer": writer,
        "seq": seq,
    }
    return Encoded(dest, identity.binary, seq, bson.encode(document))


def seal(k: int, *items: dict[str, Any]) -> dict[str, Any]:
    """A seal with these items; what else it holds is the sealer's affair."""
    return {"_id": k, "i0": k, "n": 1, "items": list(items), "at": datetime.now(UTC)}


def batch(writer: str, s0: int) -> dict[str, Any]:
    """A batch of two leaves."""
    return build(
        writer, s0, bytes(64), [1, 2], bytes(2), FIRST, Signer("t", bytes(32))
    ).as_document()


def test_the_log_is_claimed_once(seals: SealStore) -> None:
    """Of eight that claim it at once, all are given the same identity."""
    assert seals.identity() is None
    given: list[Any] = []

    def claim(number: int) -> None:
        given.append(seals.claim(f"log/{number}", f"vkey-{number}"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each["vkey"] for each in given} == {given[0]["vkey"]}
    found = seals.identity()
    assert found is not None
    assert (found["origin"], found["vkey"]) == (given[0]["origin"], given[0]["vkey"])
    assert seals.claim("another", "key")["origin"] == found["origin"]
    assert seals.last_seal() is None


def test_of_two_seals_with_one_number_one_is_taken(seals: SealStore) -> None:
    """The number is the compare-and-set."""
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda: won.append(seals.add_seal(seal(0)))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]
    seals.claim("log/x", "vkey")
    assert [seals.add_seal(seal(k)) for k in (1, 2, 3)] == [True] * 3
    assert [each["_id"] for each in seals.seals()] == [0, 1, 2, 3]
    assert [each["_id"] for each in seals.seals(2)] == [2, 3]
    last = seals.last_seal()
    assert last is not None
    assert last["_id"] == 3


def test_what_is_sealed_of_a_writer_is_found(seals: SealStore) -> None:
    """Items of batches and of gaps, in the order of the log, and nobody else's."""
    mine = [{"b": "w:0", "n": 2}, {"gap": "w", "s0": 2, "n": 3, "t": 1}, {"b": "w:5", "n": 1}]
    seals.add_seal(seal(0, {"b": "v:0", "n": 9}, mine[0]))
    seals.add_seal(seal(1, mine[1], {"b": "ww:0", "n": 1}, {"gap": "v", "s0": 9, "n": 1, "t": 1}))
    seals.add_seal(seal(2, mine[2]))
    assert list(seals.items_of("w")) == mine
    assert list(seals.items_of("nobody")) == []
    assert seals.sealed(["w:0", "w:5", "w:7", "ww:0"]) == {"w:0", "w:5", "ww:0"}
    assert seals.sealed([]) == set()


def test_batches_are_found_by_when_they_were_sent(store: Store, seals: SealStore) -> None:
    """Those of writers and those that were built again; nothing is sent twice."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    store.append_leaves([bson.encode(batch("w", 0)), bson.encode(batch("w", 2))], 10)
    store.append_leaves([bson.encode(batch("w", 0))], 10)
    assert seals.add_batch(batch("v", 10))
    assert not seals.add_batch(batch("v", 10))
    # What set-up noted in the ledger has a leaf too.
    names = [name for name in seals.batch_names(before) if not name.id.startswith("cli-")]
    assert [name.id for name in names] == ["w:0", "w:2", "v:10"]
    assert set(seals.all_batch_ids()) >= set(names)
    assert list(seals.batch_names(names[-1].sent_at + timedelta(seconds=1))) == []
    assert [each["_id"] for each in seals.batches_since(names[-1].sent_at)] == ["v:10"]
    assert {each["_id"] for each in seals.batches(["v:10", "w:2", "none:0"])} == {"v:10", "w:2"}
    assert [each["_id"] for each in seals.batches_of("w")] == ["w:0", "w:2"]
    stored = next(iter(seals.batches(["v:10"])))
    sent_at = stored.pop("sent_at")
    assert sent_at.tzinfo is not None
    assert stored == batch("v", 10)


def test_records_are_found_by_number(store: Store, seals: SealStore) -> None:
    """Out of both collections, in one order."""
    mixed = [record("w", n, Dest.LEDGER if n % 3 == 0 else Dest.RECORDS) for n in range(10)]
    store.append([*mixed, record("v", 4), record("ww", 50)], 10)
    found = list(seals.records("w", 2, 5))
    assert [(dest, document["seq"]) for dest, document in found] == [
        ("records", 2), ("ledger", 3), ("records", 4), ("records", 5), ("ledger", 6)
    ]  # fmt: skip
    assert list(seals.records("w", 100, 2**50)) == []
    assert [seals.last_number(name) for name in ("w", "v", "nobody")] == [9, 4, None]
    assert {name for name in seals.known_writers() if "cli" not in name} == {"v", "w", "ww"}
    assert [(d["writer"], d["seq"]) for d in seals.all_records("records")] == [
        ("v", 4), *(("w", n) for n in range(10) if n % 3), ("ww", 50)
    ]  # fmt: skip
    starts = list(seals.ledger("writer_start"))
    assert [document["seq"] for document in starts] == [0, 3, 6, 9]
    assert list(seals.ledger("writer_start", starts[2]["timestamp"])) == starts[2:]
    assert starts[0]["timestamp"].tzinfo is not None


def test_marks_of_sealers_are_no_heartbeats(store: Store, seals: SealStore) -> None:
    """Each is found apart from the other; the newest counts."""
    assert seals.sealer_seen() is None
    at = datetime.now(UTC).replace(microsecond=0)
    for age_s in (20, 10):
        beat = {"_id": ObjectId(), "writer": "w", "at": at - timedelta(seconds=age_s)}
        store.heartbeat(bson.encode(beat), 10)
    for k in (1, 2):
        seals.mark_sealer({"host": "h", "k": k})
        time.sleep(0.002)
    assert {writer: beat["at"] for writer, beat in seals.writers().items()} == {
        "w": at - timedelta(seconds=10)
    }
    mark = seals.sealer_seen()
    assert mark is not None
    assert (mark["host"], mark["k"]) == ("h", 2)
    assert mark["at"] >= at


def test_a_whole_tile_is_kept_as_it_was_first(seals: SealStore) -> None:
    """Tiles never change."""
    seals.put_tiles([])
    seals.put_tiles([(0, 0, b"a" * 8192), (1, 0, b"b" * 8192)])
    seals.put_tiles([(0, 0, b"x" * 8192), (0, 1, b"c" * 8192)])
    assert [seals.tile(*place) for place in ((0, 0), (0, 1), (1, 0), (1, 1))] == [
        b"a" * 8192, b"c" * 8192, b"b" * 8192, None
    ]  # fmt: skip


def test_records_that_nothing_seals_are_found(store: Store, seals: SealStore) -> None:
    """Outside of ranges of numbers, in both collections; the holes between them count too."""
    store.append([record("w", seq) for seq in (0, 1, 5, 9)], 5)
    store.append([record("w", 3, Dest.LEDGER), record("v", 1)], 5)

    def strays(writer: str, *ranges: tuple[int, int]) -> list[tuple[str, int]]:
        return sorted((dest, d["seq"]) for dest, d in seals.strays(writer, ranges))

    assert strays("w", (0, 2), (5, 6)) == [("ledger", 3), ("records", 9)]
    assert strays("w", (0, 10)) == []
    assert strays("v") == [("records", 1)]
    assert list(seals.unnumbered()) == []


def test_the_seals_of_a_writer_are_found(seals: SealStore) -> None:
    """By its batches and by its gaps, each seal once, with its place in the log."""
    seals.add_seal(seal(0, {"b": "w:0", "n": 1}, {"b": "w:1", "n": 1}))
    seals.add_seal(seal(1, {"b": "ww:0", "n": 1}))
    seals.add_seal(seal(2, {"gap": "w", "s0": 2, "n": 4, "t": 1}))
    assert [found["i0"] for found in seals.seals_of("w")] == [0, 2]


def test_receipts_of_anchors_are_kept_beside_the_seals(seals: SealStore) -> None:
    """Each once; the newest of one kind is found, and none of them is taken for a seal."""
    assert seals.newest_receipt("anchor:a:") is None
    for name in ("anchor:a:001", "anchor:a:003", "anchor:a:002", "anchor:ab:009"):
        assert seals.add_receipt({"_id": name, "n": name[-1]})
    assert not seals.add_receipt({"_id": "anchor:a:003", "n": "x"})
    assert seals.newest_receipt("anchor:a:") == {"_id": "anchor:a:003", "n": "3"}
    assert seals.last_seal() is None
    assert seals.add_seal(seal(0, {"b": "w:0", "n": 1}))
    assert [each["_id"] for each in seals.seals()] == [0]
