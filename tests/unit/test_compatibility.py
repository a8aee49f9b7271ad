"""What was written once stays readable: files of every version so far are read by this program."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from affidavit import AuditLogger
from affidavit.event import Dest
from affidavit.spool import owner
from affidavit.spool.counters import Counters, Slot
from affidavit.spool.dead import DeadLetters
from affidavit.store.memory import MemoryStore

pytestmark = pytest.mark.requirement("R6")

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir() and path.name[0] == "v")
KINDS = ["llm_request", "llm_response", "rate_limit_exceeded", "security_event", "annotation"]


def put(version: str, folder: Path, writer: str) -> None:
    """Lay a kept spool where a logger looks for orphans."""
    folder.mkdir(parents=True)
    for path in (FIXTURES / version).glob("spool*"):
        name = "dead.db" if path.name.endswith("dead.db") else f"{writer}{path.suffix}"
        shutil.copy(path, folder / name)


def adoptions(store: MemoryStore) -> int:
    """How many spools the ledger says were taken over."""
    return [d["event_type"] for d in store.documents(Dest.LEDGER)].count("spool_adopted")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_spool_of_each_version_is_taken_over_and_replayed(version: str, tmp_path: Path) -> None:
    """Its records arrive with the bytes they were given then."""
    store = MemoryStore(f"memory:compatibility-{version}")
    folder = owner.dataset_folder(tmp_path, store.dataset)
    put(version, folder, "0123456789ab")
    with AuditLogger(store, spool_dir=str(tmp_path)):
        give_up = time.monotonic() + 10
        while not adoptions(store) and time.monotonic() < give_up:
            time.sleep(0.02)
    records = store.documents()
    assert [r["event_type"] for r in records] == KINDS
    assert {r["schema_version"] for r in records} == {int(version[1:])}
    assert records[0]["request_data"]["message"] == "Analyze BTCUSDT"
    assert str(records[1]["response_data"]["cost_usd"]) == "0.045000000"
    assert adoptions(store) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_counters_and_dead_letters_of_each_version_are_read(version: str, tmp_path: Path) -> None:
    """With the numbers and the reason of then."""
    put(version, tmp_path / "x", "0123456789ab")
    counters = Counters.open(tmp_path / "x" / "0123456789ab.counters")
    assert counters.get(Slot.RECORDED) == len(KINDS)
    assert counters.spooled() == len(KINDS)
    counters.close()
    (letter,) = DeadLetters(tmp_path / "x").all()
    assert letter.reason == "validation"
