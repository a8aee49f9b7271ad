"""An application that runs no sealer seals its log itself, and is not troubled by it."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from affidavit import AuditConfig, AuditLogger
from affidavit.cli import run
from affidavit.spool.owner import default_directory
from affidavit.store import connect_seals
from tests.support.sealing import check_log, sealed_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.store.sealing import SealStore

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20", "R21")


@pytest.fixture
def seals(database: Log) -> Iterator[SealStore]:
    """The log's own collections."""
    store = connect_seals(database, AuditConfig())
    yield store
    store.close()


def call(audit: AuditLogger, count: int = 1) -> None:
    """Record some calls."""
    for _ in range(count):
        with audit.call(provider="p", model="m", message="hello", user_id="u") as one:
            one.complete(text="answer")


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until it holds."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def stored(database: Log) -> set[tuple[str, int]]:
    """Writer and number of every record."""
    return {
        (document["writer"], document["seq"])
        for name in ("llm_audit", "llm_audit_ledger")
        for document in database[name].find({}, {"writer": 1, "seq": 1})
    }


def test_a_logger_seals_its_log(database: Log, mongodb_uri: str, seals: SealStore) -> None:
    """While it runs, and the last records as it closes."""
    with AuditLogger(mongodb_uri) as audit:
        call(audit, 5)
        assert audit.flush(10)
        wait_for(lambda: (seals.last_seal() or {"size": 0})["size"] >= 10)
        call(audit, 5)
    assert sealed_numbers(seals).keys() == stored(database)
    assert check_log(seals) == 20 + 2 + 1
    last = seals.last_seal()
    assert last is not None
    assert last["by"]["where"] == "in-process"


def test_a_short_program_is_sealed_on_closing(
    database: Log, mongodb_uri: str, seals: SealStore
) -> None:
    """Several in a row: each begins at once, because the one before said that it ends."""
    for _ in range(3):
        with AuditLogger(mongodb_uri) as audit:
            call(audit)
    assert sealed_numbers(seals).keys() == stored(database)
    assert check_log(seals) == 3 * 4 + 1


def test_seal_off_leaves_it_to_others(database: Log, mongodb_uri: str, seals: SealStore) -> None:
    """Neither key nor seal is made."""
    with AuditLogger(mongodb_uri, seal="off") as audit:
        call(audit)
    assert seals.identity() is None
    assert not (default_directory() / "keys").exists()


def test_another_sealer_that_was_just_seen_is_left_alone(
    database: Log, mongodb_uri: str, seals: SealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sealed within the last minute goes on alone."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    assert run(["setup"]) == 0
    assert run(["seal", "--once"]) == 0
    with AuditLogger(mongodb_uri) as audit:
        call(audit)
        time.sleep(1.0)
    assert [seal["by"]["where"] for seal in seals.seals()] == ["service"]


def test_of_several_loggers_one_seals(database: Log, mongodb_uri: str, seals: SealStore) -> None:
    """Started at once in one process or many, nothing is sealed twice and all of it is."""
    loggers = [AuditLogger(mongodb_uri) for _ in range(4)]
    threads = [threading.Thread(target=call, args=(each, 20)) for each in loggers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: (seals.last_seal() or {"size": 0})["size"] >= 4 * 40)
    for each in loggers:
        each.close()
    assert run(["seal", "--once", "--uri", mongodb_uri]) == 0
    assert sealed_numbers(seals).keys() == stored(database)
    assert len(list((default_directory() / "keys").glob("*.key*"))) == 1
    check_log(seals)


def test_four_workers_that_fork_make_one_key(
    database: Log, mongodb_uri: str, seals: SealStore
) -> None:
    """A server that forks its workers late: each has a thread of its own, and there is one log."""
    audit = AuditLogger(mongodb_uri)
    call(audit, 2)
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            call(audit, 3)
            audit.close()
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    audit.close()
    assert run(["seal", "--once", "--uri", mongodb_uri]) == 0
    assert len({seal["vkey"] for seal in seals.seals()}) == 1
    assert len(list((default_directory() / "keys").glob("*.key*"))) == 1
    assert sealed_numbers(seals).keys() == stored(database)
    check_log(seals)


def test_without_the_key_it_is_silent(
    database: Log,
    mongodb_uri: str,
    seals: SealStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On a host without the log's key nothing is sealed, made or complained about."""
    with AuditLogger(mongodb_uri) as audit:
        call(audit)
    size = check_log(seals)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    with AuditLogger(mongodb_uri) as audit:
        call(audit)
        time.sleep(1.0)
    assert check_log(seals) == size
    assert not list(tmp_path.glob("other/affidavit/keys/*.key*"))
    assert not [one for one in caplog.records if one.levelname != "INFO"]


def test_it_uses_two_connections_at_most(database: Log, mongodb_uri: str, seals: SealStore) -> None:
    """Those that a logger may have anyway, also while it seals and writes."""
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_uri)
    with client:

        def mine() -> int:
            asked = {"$currentOp": {"allUsers": True, "idleConnections": True}}
            found = client.admin.aggregate([asked])
            return sum(1 for each in found if each.get("appName") == "affidavit")

        before = mine()
        with AuditLogger(mongodb_uri) as audit:
            most = 0
            for _ in range(20):
                call(audit, 20)
                most = max(most, mine() - before)
    assert check_log(seals) > 800
    assert most <= 2 + 2  # and the driver's own two, which watch the server
