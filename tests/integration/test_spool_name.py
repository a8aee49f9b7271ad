"""The spool's folder follows the log, not the list of hosts in an address."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig, AuditLogger
from affidavit._engine.retry import dead_letters
from affidavit.cli import run
from affidavit.spool import owner
from affidavit.spool.dead import DeadLetters
from affidavit.store import connect
from affidavit.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.demo.mongod import Mongod

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R6")


def dataset_of(uri: str) -> str:
    """How the log at an address is named."""
    store = connect(uri, AuditConfig())
    try:
        return store.dataset
    finally:
        store.close()


def leave_behind(spool: Path, dataset: str) -> str:
    """A spool with one call in it, under that name, and whose process is gone; the call's id."""
    store = MemoryStore(dataset)
    store.unavailable = True
    audit = AuditLogger(store, spool_dir=str(spool), write_timeout=0.1)
    with audit.call(provider="p", message="left behind") as call:
        call.complete(text="answer")
    assert audit.stats().spooled == 2
    audit.close(0.1)
    assert list(owner.dataset_folder(spool, dataset).glob("*.db"))
    return call.call_id


def eventually(condition: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    """Wait for a condition."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.05)
    return False


def arrived(database: Log, call_id: str) -> bool:
    """Whether both records of a call are in the database."""
    return database.llm_audit.count_documents({"call_id": call_id}) == 2


def test_a_replica_set_is_named_by_its_name(replica_set: Mongod) -> None:
    """So that a member that comes or goes changes nothing."""
    one = dataset_of("mongodb://a:1,b:2/wadm?replicaSet=rs7")
    more = dataset_of("mongodb://c:3,b:2,a:1/wadm?replicaSet=rs7")
    assert one == more == "rs7/wadm.llm_audit"
    assert dataset_of("mongodb://b:2,a:1/wadm") == dataset_of("mongodb://a:1,b:2/wadm")


@pytest.mark.parametrize("earlier", ["{host}", "gone.example:27017,{host}"])
def test_a_spool_under_an_earlier_host_list_is_taken_over(
    replica_set: Mongod, replica_database: Log, tmp_path: Path, earlier: str
) -> None:
    """After `replicaSet=` was added to the address, or members changed; and nothing is left."""
    host = f"127.0.0.1:{replica_set.port}"
    old = f"{earlier.format(host=host)}/{replica_database.name}.llm_audit"
    call_id = leave_behind(tmp_path, old)
    uri = f"mongodb://{host}/{replica_database.name}?replicaSet=rs0"
    assert dataset_of(uri) == f"rs0/{replica_database.name}.llm_audit"
    with AuditLogger(uri, spool_dir=str(tmp_path)) as audit:
        assert eventually(lambda: arrived(replica_database, call_id))
        folder = owner.dataset_folder(tmp_path, old)
        assert eventually(lambda: not list(folder.glob("*.db")))
        assert audit.stats().lost == 0


def test_the_spool_of_another_log_is_left_alone(
    replica_set: Mongod, replica_database: Log, tmp_path: Path
) -> None:
    """Another collection on the same host, and the same collection on another host."""
    host, name = f"127.0.0.1:{replica_set.port}", replica_database.name
    others = [f"{host}/{name}.llm_other", f"elsewhere:1/{name}.llm_audit", f"rs9/{name}.llm_audit"]
    for other in others:
        leave_behind(tmp_path, other)
    uri = f"mongodb://{host}/{name}?replicaSet=rs0"
    with AuditLogger(uri, spool_dir=str(tmp_path)) as audit:
        with audit.call(provider="p", message="mine") as call:
            call.complete()
        assert eventually(lambda: arrived(replica_database, call.call_id))
        time.sleep(1.0)
        assert replica_database.llm_audit.count_documents({}) == 2
    for other in others:
        assert list(owner.dataset_folder(tmp_path, other).glob("*.db")), other


def test_dead_letters_come_along(tmp_path: Path) -> None:
    """With their accounts; those of other writers stay."""
    from bson.objectid import ObjectId

    from affidavit.event import Dest
    from affidavit.store.base import Encoded

    folders = [tmp_path / "old", tmp_path / "new"]
    for folder in folders:
        folder.mkdir()
    old, new = map(DeadLetters, folders)
    for writer in ("w1", "w2"):
        for seq in (0, 1):
            letter = Encoded(Dest.RECORDS, ObjectId().binary, seq, b"body")
            old.bury(writer, [(letter, "validation")])
    moved = old.all("w1")
    old.forget(moved[:1])
    new.take_over(old, "w1")
    new.take_over(old, "w1")
    assert (new.all(), old.all("w1"), len(old.all("w2"))) == (moved[1:], [], 2)
    assert (new.retried("w1")[Dest.RECORDS], old.retried("w1")[Dest.RECORDS]) == (1, 0)


def test_dead_letters_are_found_again_under_the_new_name(
    replica_set: Mongod, replica_database: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of writers that had ended in order, and left nothing but them."""
    host, name = f"127.0.0.1:{replica_set.port}", replica_database.name
    store = MemoryStore(f"{host}/{name}.llm_audit")
    with AuditLogger(store, spool_dir=str(tmp_path)) as audit:
        with audit.call(provider="p", message="hello") as call:
            store.reject[call.intent_id] = "validation"
            call.complete()
        assert audit.stats().dead_lettered == 1
    assert not list(owner.dataset_folder(tmp_path, store.dataset).glob("*.lock"))
    uri = f"mongodb://{host}/{name}?replicaSet=rs0"
    letters = dead_letters(AuditConfig(spool_dir=str(tmp_path)), dataset_of(uri))
    with AuditLogger(uri, spool_dir=str(tmp_path)):
        assert eventually(lambda: len(letters.all()) == 1)
    monkeypatch.setenv("AFFIDAVIT_SPOOL_DIR", str(tmp_path))
    assert run(["dead-letters", "retry", "--uri", uri]) == 0
    assert replica_database.llm_audit.count_documents({"call_id": call.call_id}) == 1
