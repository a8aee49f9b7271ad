"""Each mode and each kind of target against a real MongoDB."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from pymongo import AsyncMongoClient, MongoClient, monitoring

from affidavit import AsyncAuditLogger, AuditConfig, AuditLogger, AuditUnavailable, ConfigError
from affidavit.store.mongo.append import closing_query

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.demo.mongod import Mongod

MODES = {
    "direct": AuditConfig(),
    "batch": AuditConfig(batch_writes=True, flush_interval=0.3),
    "async": AuditConfig(async_writes=True),
    "high_volume": AuditConfig(batch_writes=True, async_writes=True, flush_interval=0.3),
}

Docs = dict[str, Any]


def one_call(audit: AuditLogger, message: str = "Analyze BTCUSDT") -> str:
    """Record one call."""
    with audit.call(provider="anthropic", model="m", message=message, user_id="u") as call:
        call.complete(text="fine", input_tokens=10, output_tokens=5, cost_usd="0.045")
    return call.call_id


@pytest.mark.requirement("R1", "R2", "R8", "R9", "R12")
@pytest.mark.parametrize("mode", MODES)
def test_every_call_is_stored_once(mode: str, mongodb_uri: str, database: Database[Docs]) -> None:
    """Two records a call, one document in the view, and the numbers agree."""
    with AuditLogger(mongodb_uri, MODES[mode]) as audit:
        ids = sorted(one_call(audit) for _ in range(60))
        assert audit.flush()
        stats = audit.stats()
    assert sorted(d["call_id"] for d in database.llm_audit.find()) == sorted(ids * 2)
    assert sorted(d["call_id"] for d in database.llm_calls.find()) == ids
    assert (stats.recorded, stats.stored, stats.lost) == (120, 120, 0)


@pytest.mark.requirement("R8")
@pytest.mark.parametrize("fixture", ["mongod", "replica_set"])
def test_direct_writes_are_journaled_by_a_majority_before_the_block_is_left(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    """Seen from the wire: inserts ask for w=majority and j=true; both records are in by the end."""
    uri = request.getfixturevalue(fixture).uri
    seen: list[Any] = []

    class Listener(monitoring.CommandListener):
        def started(self, event: Any) -> None:
            if event.command_name == "insert":
                seen.append(event.command)

        def succeeded(self, event: Any) -> None: ...
        def failed(self, event: Any) -> None: ...

    client: MongoClient[Docs] = MongoClient(uri, event_listeners=[Listener()])
    name = f"wire_{fixture}"
    try:
        audit = AuditLogger(client[name])
        one_call(audit)
        seen.clear()
        call_id = one_call(audit)
        assert client[name].llm_audit.count_documents({"call_id": call_id}) == 2
        inserts = [c for c in seen if c["insert"] == "llm_audit"]
        assert sum(len(c["documents"]) for c in inserts) == 2
        assert all(c["writeConcern"] == {"w": "majority", "j": True} for c in inserts)
        audit.close()
    finally:
        client.drop_database(name)
        client.close()


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("kind", ["client", "database", "collection"])
def test_an_existing_connection_is_used_and_left_open(
    kind: str, mongodb_uri: str, database: Database[Docs]
) -> None:
    """A client, database or collection of the application; close() does not close it."""
    client: MongoClient[Docs] = MongoClient(mongodb_uri)
    own = client.get_default_database()
    target = {"client": client, "database": own, "collection": own["my_audit"]}[kind]
    with AuditLogger(target) as audit:
        one_call(audit)
    name = "my_audit" if kind == "collection" else "llm_audit"
    assert own[name].count_documents({}) == 2
    assert f"{name}_ledger" in own.list_collection_names()
    client.close()


@pytest.mark.requirement("R2", "R33")
@pytest.mark.parametrize("mode", MODES)
def test_a_shared_pool_lends_at_most_two_connections(
    mode: str, mongodb_uri: str, database: Database[Docs]
) -> None:
    """Whatever is recorded, the application's pool keeps the rest for itself."""
    in_use, most, lock = 0, 0, threading.Lock()

    class Listener(monitoring.ConnectionPoolListener):
        def connection_checked_out(self, event: Any) -> None:
            nonlocal in_use, most
            with lock:
                in_use += 1
                most = max(most, in_use)

        def connection_checked_in(self, event: Any) -> None:
            nonlocal in_use
            with lock:
                in_use -= 1

        def _nothing(self, event: Any) -> None: ...

        pool_created = pool_ready = pool_cleared = pool_closed = _nothing
        connection_created = connection_ready = connection_closed = _nothing
        connection_check_out_started = connection_check_out_failed = _nothing

    client: MongoClient[Docs] = MongoClient(mongodb_uri, event_listeners=[Listener()])
    with AuditLogger(client.get_default_database(), MODES[mode]) as audit:
        threads = [
            threading.Thread(target=lambda: [one_call(audit) for _ in range(30)]) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert audit.flush()
    client.close()
    assert 1 <= most <= 2


@pytest.mark.requirement("R2")
async def test_an_async_client_needs_its_address_beside_it(
    mongodb_uri: str, database: Database[Docs]
) -> None:
    """The text says why; with uri= it works, in the database of the async object."""
    client: AsyncMongoClient[Docs] = AsyncMongoClient(mongodb_uri)
    with pytest.raises(ConfigError, match="uri='mongodb://"):
        AsyncAuditLogger(client)
    async with AsyncAuditLogger(client[database.name], uri=mongodb_uri) as audit:
        async with audit.call(provider="p", message="hi") as call:
            call.complete(text="x")
        assert await audit.flush()
    assert await client[database.name].llm_audit.count_documents({}) == 2
    await client.close()


@pytest.mark.requirement("R7", "R29")
def test_a_separate_database_gets_everything(
    mongodb_uri: str, database: Database[Docs], mongod: Mongod
) -> None:
    """``<database>_audit.llm_logs`` with ledger and views beside it; the main one stays clean."""
    client: MongoClient[Docs] = MongoClient(mongod.uri)
    separate = client[f"{database.name}_audit"]
    try:
        with AuditLogger(mongodb_uri, AuditConfig.high_volume()) as audit:
            call_id = one_call(audit)
            assert audit.flush()
        assert separate.llm_logs.count_documents({"call_id": call_id}) == 2
        assert separate.llm_calls.count_documents({"call_id": call_id}) == 1
        assert separate.llm_logs_ledger.count_documents({"event_type": "writer_start"}) == 1
        assert database.list_collection_names() == []
    finally:
        client.drop_database(separate.name)
        client.close()


@pytest.mark.requirement("R6", "R8")
@pytest.mark.serial
@pytest.mark.parametrize("mode", MODES)
def test_a_killed_database_loses_nothing(mode: str, private_mongod: Mongod) -> None:
    """The server is killed in mid-run and comes back: every call is there once."""
    uri = f"{private_mongod.uri.rstrip('/')}/wadm"
    config = AuditConfig.load(MODES[mode], write_timeout=0.5)
    audit, ids, stop = AuditLogger(uri, config), [], threading.Event()

    def record() -> None:
        while not stop.is_set():
            ids.append(one_call(audit))
            time.sleep(0.005)

    thread = threading.Thread(target=record)
    thread.start()
    time.sleep(0.7)
    private_mongod.kill()
    time.sleep(1.5)
    private_mongod.restart()
    time.sleep(0.7)
    stop.set()
    thread.join()
    assert audit.flush(30)
    stats = audit.stats()
    audit.close()
    client: MongoClient[Docs] = MongoClient(uri)
    stored = [d["call_id"] for d in client.wadm.llm_audit.find({}, {"call_id": 1})]
    client.close()
    assert sorted(stored) == sorted(ids * 2)
    assert (stats.recorded, stats.lost, stats.spooled) == (len(ids) * 2, 0, 0)
    assert stats.replayed > 0


@pytest.mark.requirement("R6")
@pytest.mark.serial
def test_an_unreachable_server_at_start_is_a_warning_or_under_refuse_an_error(
    private_mongod: Mongod, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The application starts and records; under refuse it does not start."""
    uri = f"{private_mongod.uri.rstrip('/')}/wadm"
    private_mongod.kill()
    with pytest.raises(AuditUnavailable, match="on_failure='spool'"):
        AuditLogger(uri, on_failure="refuse")
    audit = AuditLogger(uri, write_timeout=0.3)
    start = time.perf_counter()
    one_call(audit)
    assert time.perf_counter() - start < 2.5
    assert audit.stats().spooled >= 2
    assert "spool" in caplog.text
    private_mongod.restart()
    assert audit.flush(30)
    audit.close()


@pytest.mark.requirement("R6")
def test_what_the_validator_refuses_is_a_dead_letter(
    mongodb_uri: str, database: Database[Docs]
) -> None:
    """An administrator's own strict rule costs no record: it waits with its reason."""
    with AuditLogger(mongodb_uri) as audit:
        one_call(audit)
        database.command(
            "collMod",
            "llm_audit",
            validator={"user_id": {"$ne": "refused"}},
            validationLevel="strict",
        )
        with audit.call(provider="p", message="hi", user_id="refused") as call:
            call.complete(text="x")
        one_call(audit)
        stats = audit.stats()
    assert (stats.stored, stats.dead_lettered, stats.lost) == (4, 2, 0)
    letters = list(database.llm_audit_ledger.find({"event_type": "dead_letter"}))
    assert {reason for x in letters for reason in x["details"]["reasons"]} == {"validation"}


@pytest.mark.requirement("R10")
def test_fields_are_compressed_only_where_blocks_are_not(
    mongodb_uri: str, database: Database[Docs]
) -> None:
    """In a zstd collection texts stay searchable; in an adopted snappy one they shrink."""
    text = "the price of the contract " * 300
    with AuditLogger(mongodb_uri) as audit:
        one_call(audit, text)
        assert audit.flush()
    kept = database.llm_audit.find_one({"status": "initiated"})
    assert kept is not None
    assert kept["request_data"]["message"] == text
    database.create_collection("adopted")
    database.adopted.insert_one({"event_type": "llm_request", "success": True})
    with AuditLogger(database.adopted) as audit:
        one_call(audit, text)
        assert audit.flush()
    packed = database.adopted.find_one({"status": "initiated"})
    assert packed is not None
    assert len(packed["request_data"]["message"]) < len(text) / 5


@pytest.mark.requirement("R33")
def test_the_sweep_asks_by_index(mongodb_uri: str, database: Database[Docs]) -> None:
    """Looking for calls that never ended never scans the collection."""
    with AuditLogger(mongodb_uri) as audit:
        ids = [one_call(audit) for _ in range(5)]
    plan = database.llm_audit.find(closing_query(ids)).explain()["queryPlanner"]["winningPlan"]
    assert "COLLSCAN" not in str(plan)
    assert "call_id_1" in str(plan)


def test_pymongo_is_the_tested_version() -> None:
    """The driver's behaviour was measured with 4.20."""
    assert pymongo.version_tuple >= (4, 20)
