"""Sealing, step by step, over the store in memory: what is new, late, missing, wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest

from affidavit import canonical
from affidavit.errors import SealError, StoreUnavailable
from affidavit.event import Dest
from affidavit.integrity.leaves import FIRST, from_document
from affidavit.integrity.note import Signer, VerifierKey
from affidavit.sealer import intake
from affidavit.sealer.run import seal_once
from affidavit.store import seals_beside
from affidavit.store.memory import MemoryStore
from affidavit.store.sealing import SealStore
from tests.support.sealing import Writer, check_log, sealed_numbers, sealer_of

pytestmark = pytest.mark.requirement("R20", "R21")


class Clock:
    """A time that passes when it is told."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """What time it is."""
        return self.now

    def later(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)


@pytest.fixture
def store() -> MemoryStore:
    """A store of the test's own."""
    return MemoryStore("memory:sealing")


@pytest.fixture
def seals(store: MemoryStore) -> SealStore:
    """The log beside it."""
    found = seals_beside(store)
    assert found is not None
    return found


def test_new_batches_become_leaves_in_order(store: MemoryStore, seals: SealStore) -> None:
    """One seal for what has come, nothing for nothing, and the next goes on from there."""
    sealer, writer = sealer_of(seals), Writer(store, "a")
    assert sealer.step() is None
    writer.send(writer.record(3), writer.record(2))
    done = sealer.step()
    assert done is not None
    assert (done.k, done.size, done.leaves, done.batches) == (0, 5, 5, 2)
    assert sealer.step() is None
    other = Writer(store, "b")
    other.send(other.record(300))
    done = sealer.step()
    assert done is not None
    assert (done.k, done.size) == (1, 305)
    assert check_log(seals) == 305
    assert [seal["i0"] for seal in seals.seals()] == [0, 5]


def test_a_new_sealer_goes_on_from_the_last_seal(store: MemoryStore, seals: SealStore) -> None:
    """Whatever the size, roots and tiles are those of one sealer that never stopped."""
    writer = Writer(store, "a")
    for size in (1, 254, 1, 1, 255, 600, 256, 1000, 3):
        writer.send(writer.record(size))
        done = sealer_of(seals).step()
        assert done is not None
        assert done.leaves == size
    assert check_log(seals) == writer.seq


def test_tiles_that_a_dead_sealer_left_out_are_made(store: MemoryStore, seals: SealStore) -> None:
    """A tile is written after its seal; who comes next writes what is missing."""
    writer = Writer(store, "a")
    writer.send(writer.record(700))
    sealer = sealer_of(seals)
    put = seals.put_tiles
    seals.put_tiles = _no_answer  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreUnavailable):
        sealer.step()
    seals.put_tiles = put  # type: ignore[method-assign]
    assert seals.tile(0, 0) is None
    writer.send(writer.record(1))
    assert sealer_of(seals).step() is not None
    assert check_log(seals) == 701
    assert sealer.step() is None  # the first one goes on too


def _no_answer(_tiles: object) -> None:
    msg = "The store does not answer."
    raise StoreUnavailable(msg)


def test_altered_tiles_do_not_stop_the_log(store: MemoryStore, seals: SealStore) -> None:
    """The log grows by its frontier; no tile is added on top of a wrong one."""
    writer = Writer(store, "a")
    writer.send(writer.record(300))
    assert sealer_of(seals).step() is not None
    seals._tiles[0, 0] = bytes(256 * 32)  # type: ignore[attr-defined]
    writer.send(writer.record(300))
    sealer = sealer_of(seals)
    done = sealer.step()
    assert done is not None
    assert done.size == 600
    assert not sealer.gives_tiles
    assert seals.tile(0, 1) is None


def test_an_altered_seal_stops_it(store: MemoryStore, seals: SealStore) -> None:
    """Nothing is signed on top of a seal that does not fit its checkpoint."""
    writer = Writer(store, "a")
    writer.send(writer.record(3))
    assert sealer_of(seals).step() is not None
    seals._seals[0]["root"] = bytes(32)  # type: ignore[attr-defined]
    writer.send(writer.record(3))
    with pytest.raises(SealError, match="affidavit verify"):
        sealer_of(seals).step()


def test_of_two_sealers_one_wins_each_seal(store: MemoryStore, seals: SealStore) -> None:
    """The other takes it over, and both go on; no leaf is sealed twice."""
    first, second = sealer_of(seals), sealer_of(seals)
    writer = Writer(store, "a")
    for turn in range(12):
        writer.send(writer.record(100))
        ahead, behind = (first, second) if turn % 2 else (second, first)
        assert ahead.step() is not None
        assert behind.step() is None
    assert check_log(seals) == 1200
    assert (first.k, second.k) == (11, 11)


def test_the_loser_of_a_race_tries_again(store: MemoryStore, seals: SealStore) -> None:
    """What it had drafted is sealed by its next step, unless the winner had it."""
    sealer, writer = sealer_of(seals), Writer(store, "a")
    writer.send(writer.record(5))
    add = seals.add_seal

    def late(document: dict[str, Any]) -> bool:
        """Let another sealer be faster, with an older view."""
        seals.add_seal = add  # type: ignore[method-assign]
        assert sealer_of(seals).step() is not None
        writer.send(writer.record(7))
        return add(document)

    seals.add_seal = late  # type: ignore[method-assign]
    assert sealer.step() is None
    assert sealer.lost == 1
    assert sealer.more
    done = sealer.step()
    assert done is not None
    assert (done.leaves, done.size) == (7, 12)
    assert check_log(seals) == 12
    assert not sealer.more


def test_a_loser_with_nothing_left_rests(store: MemoryStore, seals: SealStore) -> None:
    """The winner had sealed it all: there is no more to do, and none is promised."""
    sealer, writer = sealer_of(seals), Writer(store, "a")
    writer.send(writer.record(5))
    add = seals.add_seal

    def late(document: dict[str, Any]) -> bool:
        seals.add_seal = add  # type: ignore[method-assign]
        assert sealer_of(seals).step() is not None
        return add(document)

    seals.add_seal = late  # type: ignore[method-assign]
    assert seal_once(sealer) == 0
    assert (sealer.lost, sealer.more) == (1, False)


def test_numbers_that_never_came_are_a_gap_after_the_grace(
    store: MemoryStore, seals: SealStore
) -> None:
    """One leaf stands for them; it is not sealed before a minute has passed."""
    clock = Clock()
    sealer, writer = sealer_of(seals, clock=clock), Writer(store, "a")
    early, lost, later = writer.record(4), writer.record(3, store=False), writer.record(2)
    writer.send(early)
    assert sealer.step() is not None
    writer.send(later)
    done = sealer.step()
    assert done is not None
    assert (done.leaves, done.gaps) == (2, 0)
    clock.later(seconds=50)
    assert sealer.step() is None
    clock.later(seconds=16)
    done = sealer.step()
    assert done is not None
    assert (done.leaves, done.gaps) == (1, len(lost))
    gap = list(seals.seals())[-1]["items"]
    assert [(item["gap"], item["s0"], item["n"]) for item in gap] == [("a", 4, 3)]
    clock.later(hours=2)
    sealer.step()
    assert check_log(seals) == 7


def test_a_late_batch_is_sealed_and_marked(store: MemoryStore, seals: SealStore) -> None:
    """The gap stays; what came later says that it is late, and only that part."""
    clock = Clock()
    sealer, writer = sealer_of(seals, clock=clock), Writer(store, "a")
    early, spooled, later = writer.record(4), writer.record(3, store=False), writer.record(2)
    writer.send(early, later)
    seal_once(sealer)
    clock.later(seconds=70)
    done = sealer.step()
    assert done is not None
    assert done.gaps == 3
    store.append([writer.encoded(seq) for seq in spooled], 10)
    writer.send(spooled)
    clock.later(days=3)
    done = sealer_of(seals, clock=clock).step()
    assert done is not None
    assert (done.leaves, done.late) == (3, 3)
    assert list(seals.seals())[-1]["items"] == [{"b": "a:4", "n": 3, "late": True}]
    assert check_log(seals) == 10


def test_a_living_writer_is_waited_for_while_it_has_something_spooled(
    store: MemoryStore, seals: SealStore
) -> None:
    """Ten minutes at most."""
    clock = Clock()
    sealer, writer = sealer_of(seals, clock=clock), Writer(store, "a")
    writer.record(3, store=False)
    writer.send(writer.record(2))
    assert sealer.step() is not None
    for _ in range(9):
        clock.later(seconds=61)
        writer.beat(clock.now, spool_bytes=10)
        assert sealer.step() is None
    clock.later(seconds=61)
    done = sealer.step()
    assert done is not None
    assert done.gaps == 3


def test_batches_that_died_with_their_writer_are_built_again(
    store: MemoryStore, seals: SealStore
) -> None:
    """From its stored records, signed by the log; numbers without a record become a gap."""
    clock = Clock()
    sealer, writer = sealer_of(seals, clock=clock), Writer(store, "a")
    writer.send(writer.record(3))
    writer.record(5)
    writer.record(2, store=False)
    writer.record(1500)
    writer.beat(clock.now)
    assert sealer.step() is not None
    clock.later(seconds=59)
    assert sealer.step() is None
    clock.later(seconds=30)
    done = sealer.step()
    assert done is not None
    assert (done.rebuilt, done.leaves, done.gaps) == (3, 1506, 2)
    assert check_log(seals) == 3 + 1506
    rebuilt = from_document(_plain(store.leaf_batches["a:3"]))
    identity = seals.identity()
    assert identity is not None
    assert (rebuilt.made, rebuilt.n) == ("log", 5)
    assert rebuilt.key == VerifierKey.parse(identity["vkey"]).public
    assert rebuilt.leaves == writer.batch(range(3, 8)).leaves
    clock.later(seconds=90)
    assert sealer.step() is None


def test_a_batch_that_comes_after_all_must_agree(store: MemoryStore, seals: SealStore) -> None:
    """What is new of it is sealed; where it differs from what was built again, that is noted."""
    clock = Clock()
    sealer = sealer_of(seals, clock=clock)
    honest, other = Writer(store, "a"), Writer(store, "b")
    for writer in (honest, other):
        writer.record(1)
        writer.record(4, store=False)
        writer.record(5)
        writer.beat(clock.now)
    clock.later(seconds=90)
    done = sealer.step()
    assert done is not None
    assert (done.rebuilt, done.gaps) == (4, 8)
    honest.send(range(1, 9))
    other.documents[6][1]["user_id"] = "somebody else"
    other.send(range(1, 9))
    clock.later(seconds=30)
    done = sealer.step()
    assert done is not None
    assert (done.late, done.refused) == (8, 1)
    last = list(seals.seals())[-1]
    assert last["items"] == [{"b": f"{w}:1", "n": 4, "late": True} for w in "ab"]
    assert last["refused"][0]["b"] == "b:1"
    assert check_log(seals) == 14 + 8


def test_wrong_batches_are_not_sealed(store: MemoryStore, seals: SealStore) -> None:
    """Not by a foreign key, not altered, not malformed; the records are sealed past them.

    Only the number by which a wrong batch is named, where a batch built again begins, is a gap.
    """
    clock = Clock()
    sealer, writer = sealer_of(seals, clock=clock), Writer(store, "a")
    numbers = writer.record(6)
    writer.beat(clock.now)
    foreign = writer.batch(range(2), signer=Signer("a"))
    altered = writer.batch(range(2, 4)).as_document() | {"t": bytes(16)}
    claimed = writer.batch(range(4, 5), made="log", prev=FIRST)
    for document in (
        foreign.as_document(),
        altered,
        claimed.as_document(),
        {"_id": "a:99", "w": 1},
    ):
        store.append_leaves([bson.encode(document)], 10)
    done = sealer.step()
    assert done is not None
    assert (done.leaves, done.refused) == (0, 4)
    assert sealer.step() is None
    clock.later(seconds=90)
    done = sealer.step()
    assert done is not None
    assert sealed_numbers(seals) == {("gap a", 0): 1, **{("a", seq): 1 for seq in range(1, 6)}}
    assert (done.rebuilt, done.gaps) == (1, 1)
    assert check_log(seals) == 6
    assert len(numbers) == 6


def test_records_of_older_versions_are_neither_leaf_nor_gap(
    store: MemoryStore, seals: SealStore
) -> None:
    """A writer whose records have no salt is unproved, and no reason to seal anything."""
    clock = Clock()
    writer = Writer(store, "old")
    writer.record(5, store=False)
    for _, document in writer.documents.values():
        del document["salt"]
    store.append([writer.encoded(seq) for seq in range(5)], 10)
    clock.later(days=1)
    assert seal_once(sealer_of(seals, clock=clock)) == 0
    newer = Writer(store, "both")
    newer.record(4, store=False)
    del newer.documents[1][1]["salt"]
    store.append([newer.encoded(seq) for seq in range(4)], 10)
    clock.later(days=1)
    assert seal_once(sealer_of(seals, clock=clock)) == 1
    assert sealed_numbers(seals).keys() == {("both", 0), ("both", 2), ("both", 3)}


def test_an_idle_log_is_signed_every_ten_minutes(store: MemoryStore, seals: SealStore) -> None:
    """So it is known that nothing happened."""
    clock = Clock()
    sealer, writer = sealer_of(seals, clock=clock), Writer(store, "a", at=clock.now)
    writer.send(writer.record(2))
    first = sealer.step()
    clock.later(minutes=9)
    assert sealer.step() is None
    clock.later(minutes=1, seconds=1)
    done = sealer.step()
    assert done is not None
    assert first is not None
    assert (done.k, done.leaves, done.size) == (1, 0, 2)
    assert done.checkpoint == first.checkpoint
    assert check_log(seals) == 2


def test_a_clock_ahead_hides_nothing(store: MemoryStore, seals: SealStore) -> None:
    """A batch from the future does not move the watermark there; one from the past is found."""
    sealer, ahead, behind = sealer_of(seals), Writer(store, "ahead"), Writer(store, "behind")
    ahead.send(ahead.record(2))
    store.leaf_batches["ahead:0"]["sent_at"] += timedelta(days=1)
    assert sealer.step() is not None
    behind.send(behind.record(2))
    assert sealer.step() is not None
    behind.send(behind.record(2))
    store.leaf_batches["behind:2"]["sent_at"] -= timedelta(hours=5)
    assert sealer.step() is None
    assert seal_once(sealer) == 1
    assert check_log(seals) == 6


def test_a_large_backlog_is_sealed_in_parts(store: MemoryStore, seals: SealStore) -> None:
    """Fifty thousand leaves a seal; each batch once."""
    writer = Writer(store, "a")
    document = {"timestamp": datetime.now(UTC)}
    leaf = canonical.leaf_hash(b"{}")
    from affidavit.integrity.leaves import build

    for first in range(0, 130_000, 1000):
        times = [canonical.epoch_ms(document["timestamp"])] * 1000
        batch = build("a", first, leaf * 1000, times, bytes(1000), FIRST, writer.signer)
        store.append_leaves([bson.encode(batch.as_document())], 10)
    assert seal_once(sealer_of(seals)) == 3
    last = seals.last_seal()
    assert last is not None
    assert last["size"] == 130_000
    assert seal_once(sealer_of(seals)) == 0


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "sent_at"}


def test_the_ledger_class_is_kept(store: MemoryStore, seals: SealStore) -> None:
    """A rebuilt batch knows which of its leaves never expire."""
    clock = Clock()
    writer = Writer(store, "a")
    writer.record(2)
    clock.later(minutes=5)
    assert seal_once(sealer_of(seals, clock=clock)) == 1
    assert store.leaf_batches["a:0"]["k"] == b"\x01\x00"
    assert writer.documents[0][0] is Dest.LEDGER


def test_of_very_many_writers_some_are_looked_at_in_each_step(
    store: MemoryStore, seals: SealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them in the end; one step does not hold up what is new."""
    monkeypatch.setattr(intake, "_MOST_ENDED", 5)
    clock = Clock()
    for number in range(12):
        Writer(store, f"w{number:02}").record(1)
    clock.later(minutes=5)
    sealer = sealer_of(seals, clock=clock)
    done = sealer.step(full=True)
    assert done is not None
    assert done.rebuilt == 5
    assert sealer.more
    assert seal_once(sealer) == 2
    assert check_log(seals) == 12
    assert seal_once(sealer_of(seals, clock=clock)) == 0
