"""A sample of the fault campaign: about 50 kills, and every other fault in short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from tests.faults import kinds
from tests.faults.campaign import plan
from tests.faults.stage import Stage
from tests.support.accounts import Returned, take_account
from tests.support.worker import MODES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

Log = dict[str, Any]

KILLS = {
    kinds.application: 6,
    kinds.application_in_outage: 3,
    kinds.mongod: 2,
    kinds.both: 2,
}
SHORT = {
    kinds.network: (3, ["direct", "high_volume"]),
    kinds.mongod_stopped: (3, ["direct"]),
    kinds.application_stopped: (3, ["direct", "batch"]),
    kinds.disk_full: (2, ["direct", "high_volume"]),
    kinds.spool_full: (3, ["batch"]),
    kinds.no_disk: (2, ["direct"]),
    kinds.forked: (3, list(MODES)),
    kinds.writer_dies: (4, list(MODES)),
    kinds.outage: (5, ["direct", "batch"]),
}
SAMPLE = [
    *((kind, mode, kills) for kind, kills in KILLS.items() for mode in MODES),
    *((kind, mode, amount) for kind, (amount, modes) in SHORT.items() for mode in modes),
    *((kinds.primary, mode, 1) for mode in ("direct", "high_volume")),
]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Servers for all of this file."""
    with Stage(seed=20) as opened:
        yield opened


@pytest.mark.serial
@pytest.mark.requirement("R6", "R8", "R9", "R12")
@pytest.mark.parametrize(
    ("kind", "mode", "amount"),
    [pytest.param(*one, id=f"{one[0].__name__}-{one[1]}") for one in SAMPLE],
)
def test_every_promise_is_kept(stage: Stage, kind: Any, mode: str, amount: int) -> None:
    """What was acknowledged is there once, what is lost is counted, and the numbers add up."""
    row = kind(stage, mode, amount)
    assert row.errors == []
    assert (row.lost_promised, row.duplicates) == (0, 0)
    assert row.returned > 0
    if kind in KILLS or kind is kinds.primary:
        assert row.kills >= amount
    if mode in {"direct", "batch"} and kind not in {kinds.no_disk, kinds.disk_full}:
        # Each call that returned was promised, but for those that found disk and memory full.
        assert row.promised == row.returned or kind is kinds.spool_full


def test_the_campaign_covers_every_kind_in_every_mode() -> None:
    """The plan names each kind with each mode, and nearly the number of kills it was asked for."""
    steps = list(plan(1000))
    assert {(kind, mode) for kind, mode, _ in steps} == {
        (kind, mode) for kind in {kind for kind, _, _ in steps} for mode in MODES
    }
    assert {kind for kind, _, _ in steps} >= {kind for kind, _, _ in SAMPLE}
    killing = {*KILLS, kinds.primary}
    assert 950 <= sum(amount for kind, _, amount in steps if kind in killing) <= 1050


@pytest.fixture
def counted(database: Database[Log], mongodb_uri: str, tmp_path: Path) -> list[Returned]:
    """Five calls that were recorded by a logger that has ended."""
    with AuditLogger(mongodb_uri, spool_dir=str(tmp_path)) as audit:
        found = []
        for _ in range(5):
            with audit.call(provider="p", message="m", user_id="u") as call:
                call.complete(text="t")
            found.append(Returned(call.call_id, True, 0.0, 1.0))
    return found


def _miss(log: Database[Log], call_id: str) -> None:
    log["llm_audit"].delete_one({"call_id": call_id, "event_type": "llm_response"})


def _double(log: Database[Log], call_id: str) -> None:
    found = log["llm_audit"].find_one({"call_id": call_id})
    assert found is not None
    del found["_id"]
    log["llm_audit"].drop_indexes()
    log["llm_audit"].insert_one(found)


def _miscount(log: Database[Log], call_id: str) -> None:
    log["llm_audit_writers"].update_many({}, {"$inc": {"counters.lost": 1}})


def _forget(log: Database[Log], call_id: str) -> None:
    # A logger that ended at once may have left no other heartbeat.
    log["llm_audit_writers"].update_many({"state": "stopped"}, {"$set": {"state": "running"}})


def _leave_queued(log: Database[Log], call_id: str) -> None:
    change = {"counters.queued": 1, "counters.recorded": 1}
    log["llm_audit_writers"].update_many({}, {"$inc": change})


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (_miss, "promised calls are not there"),
        (_double, "are there twice"),
        (_miscount, "recorded is not"),
        (_forget, "has not ended"),
        (_leave_queued, "still waits"),
    ],
)
def test_the_count_sees_what_is_wrong(
    counted: list[Returned], database: Database[Log], tamper: Any, complaint: str
) -> None:
    """A count that cannot complain would prove nothing."""
    assert take_account(database, counted, in_flight=0).wrong() == []
    tamper(database, counted[2].call_id)
    wrong = take_account(database, counted, in_flight=0).wrong()
    assert any(complaint in text for text in wrong), wrong


def test_the_count_sees_calls_nobody_recorded(
    counted: list[Returned], database: Database[Log]
) -> None:
    """A call that returned and left no trace anywhere is missed, and the sum does not match."""
    ghost = Returned("f" * 24, False, 0.0, 1.0)
    wrong = take_account(database, [*counted, ghost], in_flight=0).wrong()
    assert any("calls are missing" in text for text in wrong)
    assert any("calls of two each returned" in text for text in wrong)
