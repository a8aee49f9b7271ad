"""Set-up: what it makes, what it leaves alone, and that it can be repeated and raced."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import OperationFailure

from affidavit.config import AuditConfig
from affidavit.errors import StoreRefused, StoreUnavailable
from affidavit.store import open_log
from affidavit.store.mongo import indexes
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.filters import query
from affidavit.store.mongo.setup import apply, ensure, plan_setup
from affidavit.store.planning import State
from affidavit.store.questions import SearchFilter
from tests.support.documents import Numbered, old_call

if TYPE_CHECKING:
    from pymongo.database import Database

    from affidavit.store.planning import Plan, SetupState

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R4")

DAY_S = 86_400


def set_up(database: Log, **settings: Any) -> SetupState:
    """What AuditLogger does at first use."""
    config = AuditConfig(**settings)
    return ensure(locate(database, config), config, 10)


def run(database: Log, *, change_ttl: bool = False, enforce: bool = False, **settings: Any) -> Plan:
    """What ``affidavit setup`` does."""
    config = AuditConfig(**settings)
    location = locate(database, config)
    plan = plan_setup(location, config, change_ttl=change_ttl, enforce=enforce)
    return apply(location, plan, config)


def ttl_s(database: Log, collection: str = "llm_audit", name: str = "timestamp_1") -> int | None:
    """The period of an index."""
    return database[collection].index_information()[name].get("expireAfterSeconds")


def setups(database: Log) -> list[dict[str, Any]]:
    """The details of the ledger's setup records, oldest first."""
    found = database.llm_audit_ledger.find({"event_type": "setup"}).sort("_id", 1)
    return [record["details"] for record in found]


@pytest.mark.requirement("R5")
def test_the_four_indexes_of_the_document_are_made(database: Log) -> None:
    """With MongoDB's default names, and 90 days of retention."""
    set_up(database)
    found = database.llm_audit.index_information()
    keys = {name: entry["key"] for name, entry in found.items()}
    assert keys["user_id_1_timestamp_-1"] == [("user_id", 1), ("timestamp", -1)]
    assert keys["timestamp_-1"] == [("timestamp", -1)]
    assert keys["event_type_1_timestamp_-1"] == [("event_type", 1), ("timestamp", -1)]
    assert keys["timestamp_1"] == [("timestamp", 1)]
    assert found["timestamp_1"]["expireAfterSeconds"] == 7_776_000


@pytest.mark.requirement("R5")
def test_the_ledger_never_expires_and_heartbeats_do(database: Log) -> None:
    """No TTL index on the ledger; 24 hours on the writers."""
    set_up(database)
    held = database.llm_audit_ledger.index_information().values()
    assert not any("expireAfterSeconds" in index for index in held)
    assert ttl_s(database, "llm_audit_writers", "at_1") == DAY_S


@pytest.mark.requirement("R10")
def test_blocks_of_data_and_indexes_are_compressed_with_zstd(database: Log) -> None:
    """One option at creation saves more than compressing fields."""
    assert set_up(database).block_compressor == "zstd"
    stats = database.command("collStats", "llm_audit", indexDetails=True)
    assert "block_compressor=zstd" in stats["wiredTiger"]["creationString"]
    for detail in stats["indexDetails"].values():
        assert "block_compressor=zstd" in detail["creationString"]


def test_a_server_that_refuses_storage_options_gets_none(
    database: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Managed services do that; the plan says so, and all else is made."""
    refused = {"configString": "block_compressor=unheard-of"}
    monkeypatch.setitem(indexes.ZSTD, "wiredTiger", refused)
    plan = run(database)
    step = next(step for step in plan.steps if step.key == "collection:llm_audit")
    assert (step.state, "refuses" in step.note) == (State.DONE, True)
    assert plan.clashes == []
    assert ttl_s(database) == 90 * DAY_S


def test_set_up_twice_changes_nothing_and_notes_it_once(database: Log) -> None:
    """The second look is one query."""
    assert set_up(database).made_now
    before = sorted(database.list_collection_names())
    assert not set_up(database).made_now
    assert run(database).in_state(State.TODO) == ()
    assert sorted(database.list_collection_names()) == before
    assert len(setups(database)) == 1


def test_eight_workers_can_set_up_at_once(database: Log) -> None:
    """None fails, and the result is whole."""
    gate, failures = threading.Barrier(8), list[Exception]()

    def work() -> None:
        gate.wait()
        try:
            set_up(database)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {step.state for step in run(database).steps} == {State.DONE}


def test_a_plan_changes_nothing_and_its_commands_are_exact(database: Log) -> None:
    """Each step that is to do has a line for mongosh."""
    config = AuditConfig()
    plan = plan_setup(locate(database, config), config)
    todo = plan.in_state(State.TODO)
    assert len(todo) == len(plan.steps)
    assert all(f'db.getSiblingDB("{database.name}")' in step.mongosh for step in todo)
    assert database.list_collection_names() == []


def test_the_validator_refuses_malformed_records_and_lets_old_ones_pass(database: Log) -> None:
    """A record with a schema version has the shape; one without is an older logger's."""
    set_up(database)
    good = Numbered().call()
    database.llm_audit.insert_many([*good, old_call()])
    for name, bad in {
        "event_type": "llm_nonsense",
        "timestamp": "2026-11-01",
        "writer": "",
        "seq": "7",
        "call_id": 12,
        "status": "done",
    }.items():
        broken = {**Numbered("other").intent(), name: bad}
        with pytest.raises(OperationFailure) as refused:
            database.llm_audit.insert_one(broken)
        assert refused.value.code == 121, name


def test_money_that_is_no_decimal_is_refused(database: Log) -> None:
    """A binary floating point number could not be summed exactly."""
    set_up(database)
    intent = Numbered().intent()
    outcome = Numbered().outcome(intent)
    outcome["response_data"]["cost_usd"] = 0.045
    with pytest.raises(OperationFailure):
        database.llm_audit.insert_one(outcome)


def test_enforce_refuses_old_documents_from_then_on(database: Log) -> None:
    """Those there stay; a later set-up without the option keeps it enforced."""
    database.llm_audit.insert_one(old_call(datetime.now(UTC)))
    set_up(database)
    run(database, enforce=True)
    with pytest.raises(OperationFailure) as refused:
        database.llm_audit.insert_one(old_call())
    assert refused.value.code == 121
    assert database.llm_audit.count_documents({}) == 1
    assert run(database).in_state(State.TODO) == ()
    assert setups(database)[-1]["enforced"] is True


def test_a_sequence_number_is_used_once(database: Log) -> None:
    """In records and in the ledger."""
    set_up(database)
    for collection in (database.llm_audit, database.llm_audit_ledger):
        collection.insert_one(Numbered("w1").document("security_event", datetime.now(UTC)))
        with pytest.raises(OperationFailure) as refused:
            collection.insert_one(Numbered("w1").document("security_event", datetime.now(UTC)))
        assert refused.value.code == 11000


@pytest.mark.requirement("R5")
def test_our_own_retention_is_lengthened_at_once(database: Log) -> None:
    """On a live collection, by collMod."""
    set_up(database, ttl_days=30)
    run(database, ttl_days=60)
    assert ttl_s(database) == 60 * DAY_S
    assert setups(database)[-1]["ttl_days"] == 60


@pytest.mark.requirement("R5")
def test_a_retention_that_would_remove_records_wants_a_confirmation(database: Log) -> None:
    """Shortened below the age of what is there, it is reported; --change-ttl does it."""
    set_up(database, ttl_days=90)
    old = datetime.now(UTC) - timedelta(days=60)
    database.llm_audit.insert_many(Numbered().call(old))
    [clash] = run(database, ttl_days=30).clashes
    assert "--change-ttl" in str(clash)
    assert "collMod" in clash.remedy
    assert ttl_s(database) == 90 * DAY_S
    assert run(database, ttl_days=30, change_ttl=True).clashes == []
    assert ttl_s(database) == 30 * DAY_S


@pytest.mark.requirement("R5", "R35")
def test_another_period_on_a_collection_that_is_taken_over_is_kept(database: Log) -> None:
    """Code 85: reported with the command, which then works."""
    database.llm_audit.insert_one(old_call(datetime.now(UTC)))
    database.llm_audit.create_index("timestamp", expireAfterSeconds=30 * DAY_S)
    [clash] = run(database).clashes
    assert "30 days" in str(clash)
    assert "code 85" in str(clash)
    assert ttl_s(database) == 30 * DAY_S
    assert setups(database)[-1]["clashes"][0]["remedy"] == clash.remedy
    run(database, change_ttl=True)
    assert ttl_s(database) == 90 * DAY_S


@pytest.mark.requirement("R5", "R35")
def test_a_retention_is_not_put_over_old_documents_unasked(database: Log) -> None:
    """A first set-up would otherwise remove what an older logger kept for longer."""
    two_years = datetime.now(UTC) - timedelta(days=730)
    database.llm_audit.insert_one(old_call(two_years))
    state = set_up(database)
    assert any("older than 90 days" in clash for clash in state.clashes)
    assert "timestamp_1" not in database.llm_audit.index_information()
    assert database.llm_audit.count_documents({}) == 1


@pytest.mark.requirement("R5")
def test_a_second_ttl_index_is_reported(database: Log) -> None:
    """The shorter period would win unseen."""
    database.llm_audit.create_index([("timestamp", -1)], expireAfterSeconds=7 * DAY_S)
    [clash] = run(database).clashes
    assert "7 days" in str(clash)


def test_an_index_of_another_shape_in_its_place_is_reported_not_replaced(database: Log) -> None:
    """A partial one under the plain one's name: code 86."""
    partial = {"user_id": {"$exists": True}}
    database.llm_audit.create_index([("timestamp", -1)], partialFilterExpression=partial)
    [clash] = run(database).clashes
    assert "dropIndexes" in clash.remedy
    assert "createIndexes" in clash.remedy
    held = database.llm_audit.index_information()["timestamp_-1"]
    assert held["partialFilterExpression"] == partial


def test_another_validator_is_kept(database: Log) -> None:
    """It is somebody's; the command that would replace it is shown."""
    theirs = {"user_id": {"$type": "string"}}
    database.create_collection("llm_audit", validator=theirs)
    [clash] = run(database).clashes
    assert "collMod" in clash.remedy
    assert database.llm_audit.options()["validator"] == theirs


def test_a_collection_that_cannot_hold_the_log_is_refused_in_words(database: Log) -> None:
    """A capped collection would drop the oldest records."""
    database.create_collection("llm_audit", capped=True, size=10_000)
    with pytest.raises(StoreRefused, match="capped"):
        set_up(database)


def test_a_view_of_an_older_version_is_brought_up_to_date(database: Log) -> None:
    """Views are ours; they hold no data."""
    set_up(database)
    database.command("collMod", "llm_calls", viewOn="llm_audit", pipeline=[])
    run(database)
    assert database.llm_calls.options()["pipeline"] != []


def test_without_index_optimization_only_what_must_be_is_made(database: Log) -> None:
    """The index for sums is left out; the document's four and the unique one stay."""
    set_up(database, index_optimization=False)
    held = set(database.llm_audit.index_information())
    assert "outcome_costs" not in held
    assert {"timestamp_-1", "timestamp_1", "writer_1_seq_1", "call_id_1"} <= held


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("name", ["department", "tenant"])
def test_few_records_of_a_department_are_found_among_many(database: Log, name: str) -> None:
    """A list of theirs, or of nobody's, reads no records of others, whatever the time asked for."""
    set_up(database)
    numbered = Numbered("w")
    since = datetime(2026, 11, 1, tzinfo=UTC)
    made = [numbered.intent(since + timedelta(seconds=n)) | {name: "many"} for n in range(500)]
    for n in (3, 250):
        made[n][name] = "few"
    database.llm_audit.insert_many(made)
    with open_log(database, AuditConfig(seal="off")) as log:
        for wanted, count in (("few", 2), ("none", 0)):
            chosen: dict[str, Any] = {name: wanted, "since": since}
            shown = SearchFilter(**chosen, until=since + timedelta(days=30))
            assert len(log.reader.search(shown).rows) == count
            asked = {"find": "llm_audit", "filter": query(shown, None), "sort": {"timestamp": -1}}
            told = database.command("explain", asked, verbosity="executionStats")
            assert told["executionStats"]["totalDocsExamined"] == count


def test_records_without_a_department_cost_no_bytes_of_its_index(database: Log) -> None:
    """It holds those alone that have one."""
    set_up(database)
    held = database.llm_audit.index_information()
    for name in ("department", "tenant"):
        expected = {name: {"$exists": True}}
        assert held[f"{name}_1_timestamp_-1"]["partialFilterExpression"] == expected


def test_without_auto_setup_nothing_is_made(database: Log) -> None:
    """The text names the command that does it."""
    with pytest.raises(StoreRefused, match="affidavit setup"):
        set_up(database, auto_setup=False)
    assert database.list_collection_names() == []


@pytest.mark.requirement("R29")
def test_a_separate_database_has_names_of_its_own(database: Log) -> None:
    """<database>_audit.llm_logs, with ledger and views beside it."""
    set_up(database, separate_database=True)
    beside = database.client[f"{database.name}_audit"]
    names = set(beside.list_collection_names())
    assert {"llm_logs", "llm_logs_ledger", "llm_logs_writers", "llm_calls"} <= names
    assert database.list_collection_names() == []


@pytest.mark.requirement("R6")
def test_no_server_is_said_to_be_unavailable() -> None:
    """Within the time that was given."""
    config = AuditConfig()
    location = locate("mongodb://127.0.0.1:9/wadm", config)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        ensure(location, config, 0.3)
    location.close()
