"""The log is verified again and again where it is sealed, slowly, and findings are told once."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import bson
import pytest

from affidavit.canonical.values import epoch_ms
from affidavit.event import Dest
from affidavit.integrity.findings import Kind
from affidavit.integrity.sample import fits
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import verify
from affidavit.sealer import rolling
from affidavit.sealer.health import look
from affidavit.sealer.rolling import Rolling
from affidavit.store.memory import MemoryStore
from affidavit.store.memory_sealing import MemorySeals
from tests.support.sealing import Writer, sealer_of
from tests.support.small_log import DAY_S, SmallLog

if TYPE_CHECKING:
    from affidavit.sealer.sealing import Sealer

pytestmark = pytest.mark.requirement("R20", "R21")


class Held:
    """A log of one writer, and what its rolling verification says."""

    def __init__(self, percent: float = 50) -> None:
        self.store = MemoryStore()
        self.seals = MemorySeals.beside(self.store)
        self.writer = Writer(self.store, "w")
        self.sealer: Sealer = sealer_of(self.seals)
        self.told: list[str] = []
        self.rolling = Rolling(
            self.seals, lambda: self.sealer.key.vkey, percent, where="service",
            tell=self.told.append,
        )  # fmt: skip

    def grow(self, count: int = 20) -> None:
        """Record and seal."""
        self.writer.send(self.writer.record(count))
        self.sealer.step(full=True)

    def outcome(self) -> dict[str, Any] | None:
        """The newest outcome that is kept."""
        return self.seals.newest_receipt("verified:")


@pytest.fixture
def held() -> Held:
    """A log of twenty leaves."""
    held = Held()
    held.grow()
    return held


def alter(held: Held, seq: int) -> None:
    """Change a stored record, as an administrator does."""
    bodies = held.store._bodies[Dest.RECORDS]
    for name, body in bodies.items():
        document = bson.decode(body)
        if document["seq"] == seq:
            bodies[name] = bson.encode({**document, "user_id": "another"})


def test_nothing_is_verified_before_something_is_sealed() -> None:
    """An empty log has no outcome."""
    held = Held()
    assert held.rolling.round() is None
    assert held.outcome() is None


def test_a_clean_round_is_kept_once_an_hour_and_not_told(held: Held) -> None:
    """Status finds when the whole was verified; nobody is disturbed."""
    report = held.rolling.round()
    assert report is not None
    assert (report.clean, report.counts["matched"]) == (True, 20)
    kept = held.outcome()
    assert kept is not None
    assert (kept["size"], kept["matched"], kept["found"]) == (20, 20, {})
    held.rolling.round()
    assert held.outcome() == kept
    assert held.told == held.seals.damage == []
    health = look(held.seals, kept["at"] + timedelta(seconds=5))
    assert (health.verified_age_s, health.damage) == (5.0, None)


def test_a_finding_is_told_noted_and_kept_once(held: Held) -> None:
    """Again it is told only when something else is wrong; and when all is well, that is kept."""
    held.rolling.round()
    alter(held, 7)
    for _ in range(2):
        held.rolling.round()
    assert len(held.told) == len(held.seals.damage) == 1
    assert "THE LOG DOES NOT HOLD: 1 altered" in held.told[0]
    assert held.seals.damage[0]["found"] == {"altered": 1}
    kept = held.outcome()
    assert kept is not None
    health = look(held.seals, kept["at"])
    assert health.damage is not None
    assert "number 7 of the writer w" in health.damage
    alter(held, 3)
    held.rolling.round()
    assert len(held.told) == 2


def excuse(held: Held, seq: int, writer: Writer) -> None:
    """Delete a record, and let another writer say that it was lost; both are sealed."""
    bodies = held.store._bodies[Dest.RECORDS]
    for name, body in list(bodies.items()):
        document = bson.decode(body)
        if (document["writer"], document["seq"]) == ("w", seq):
            del bodies[name]
    numbers = writer.record(1, store=False)
    _, document = writer.documents[numbers.start]
    details = {"writer": "w", "lost_seqs": [[seq, seq]]}
    document |= {"event_type": "spool_adopted", "details": details}
    writer.documents[numbers.start] = Dest.LEDGER, document
    held.store.append([writer.encoded(numbers.start)], 10)
    writer.send(numbers)
    held.sealer.step(full=True)


def test_a_new_reason_for_what_is_gone_is_told_once(held: Held) -> None:
    """Nothing is wrong, and whoever looks after the log hears that the ledger explains something.

    Also across a restart: what the round before had taken stands beside its outcome.
    """
    other = Writer(held.store, "x")
    other.send(other.record(1))
    held.rolling.round()
    assert held.told == []
    excuse(held, 7, other)
    for _ in range(2):
        report = held.rolling.round()
        assert report is not None
        assert report.clean
    assert len(held.told) == 1
    assert "NEW REASONS FOR WHAT IS GONE: records of the writer w were lost: 1" in held.told[0]
    kept = held.outcome()
    assert kept is not None
    assert kept["excused"] == {"explained": 1}
    assert "were lost" in str(look(held.seals, kept["at"]).excuses)
    excuse(held, 9, other)
    again = Rolling(
        held.seals, lambda: held.sealer.key.vkey, 50, where="service", tell=held.told.append
    )
    again.round()
    assert len(held.told) == 2


def test_a_round_remembers_what_the_one_before_has_seen(held: Held) -> None:
    """An end that was cut off is found by the sealer's own memory, without a saved checkpoint."""
    held.grow()
    held.rolling.round()
    held.seals._seals.pop()
    report = held.rolling.round()
    assert report is not None
    assert report.kinds == {Kind.CUT_OFF: 1}


def test_what_comes_meanwhile_waits_for_the_next_round(held: Held) -> None:
    """Its leaves are replayed, its records are not read; so a round ends however fast a log grows.

    A writer that was away for a day, and sends its spool in the middle of a round, is no intruder.
    """
    late = Writer(held.store, "away", at=held.writer.at - timedelta(days=1))
    late.record(30, store=False)
    records, grown = held.seals.records, list[bool]()

    def grow_first(writer: str, s0: int, n: int) -> Any:
        if not grown:
            grown.append(True)
            held.store.append([late.encoded(seq) for seq in range(30)], 10)
            late.send(range(30))
            held.grow(30)
        return records(writer, s0, n)

    held.seals.records = grow_first  # type: ignore[method-assign]
    held.rolling._next_draw_s = time.monotonic() + 60
    report = held.rolling.round()
    assert report is not None
    assert (report.findings, report.size) == ([], 80)
    assert report.counts["matched"] == 21
    report = held.rolling.round()
    assert report is not None
    assert report.counts["matched"] == 80


def test_it_rests_as_long_as_its_share_says() -> None:
    """At five percent of a processor, wall time is twenty times the processor's."""
    held = Held(percent=5)
    held.grow(400)
    began_s, cpu_s = time.perf_counter(), time.thread_time()
    report = held.rolling.round()
    took_s, cpu_s = time.perf_counter() - began_s, time.thread_time() - cpu_s
    assert report is not None
    assert report.counts["matched"] == 400
    assert took_s > 8 * cpu_s


def test_it_ends_in_the_middle_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing does not wait for a round."""
    monkeypatch.setattr(rolling, "FIRST_S", 0.0)
    held = Held(percent=1)
    held.grow(2000)
    held.rolling._first_s = 0.0
    held.rolling.start()
    time.sleep(0.3)
    began_s = time.perf_counter()
    with held.rolling:
        pass
    assert time.perf_counter() - began_s < 2
    assert held.rolling.rounds == 0
    assert held.told == []


def test_a_seal_drawn_at_random_that_does_not_fit_makes_it_hurry(held: Held) -> None:
    """The round that is under way goes on faster; only it accuses."""
    held.rolling._draw()
    assert held.rolling._hurry == 1
    alter(held, 7)
    held.rolling._draw()
    assert held.rolling._hurry == rolling.HURRY
    assert held.told == []


def test_every_seal_of_an_untouched_log_fits_and_damage_does_not() -> None:
    """Tree, signature, leaves and records of one seal, by themselves."""
    log = SmallLog()
    first = log.start("w-a")
    for _ in range(4):
        log.seal([log.calls(first, 10)])
    now_ms, last = epoch_ms(log.at), len(log.log) - 1
    assert all(fits(log, log.signer.key, k, now_ms) for k in range(last + 1))
    assert not fits(log, log.signer.key, last + 1, now_ms)
    for change in (
        lambda log: log.held["records"][-1].update(model="x"),
        lambda log: log.held["records"].pop(),
        lambda log: log.log[-1].update(root=bytes(32), cp=log.log[-2]["cp"]),
        lambda log: log.log[-2].update(frontier=[bytes(32)]),
        lambda log: log.leaf_batches.popitem(),
    ):
        other = log.copy()
        change(other)
        assert not fits(other, log.signer.key, last, now_ms)


def test_what_expires_during_a_long_verification_is_not_missing() -> None:
    """The time is asked again at the end; a day early is still a day early."""
    log = SmallLog(retention_days=30)
    first = log.start("w-a")
    log.seal([log.calls(first, 10)])
    gone_ms = max(epoch_ms(record["timestamp"]) for record in log.held["records"])
    log.at += timedelta(days=40)
    log.seal([log.calls(first, 3)])
    del log.held["records"][:10]
    due_ms, day_ms = gone_ms + 30 * DAY_S * 1000, DAY_S * 1000
    for ends_ms, kinds in ((due_ms, {}), (due_ms - day_ms, {Kind.DELETED_TOO_EARLY: 1})):
        report = verify(
            log, Trust(log.signer.vkey), now_ms=due_ms - 2 * day_ms, clock=lambda at=ends_ms: at
        )
        assert report.kinds == kinds
