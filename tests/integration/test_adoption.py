"""Taking over the collection that is there, with the old logger still writing (R35)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from affidavit.config import AuditConfig
from affidavit.store import open_log
from affidavit.store.mongo import plan
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.indexes import of_records
from affidavit.store.mongo.setup import apply, ensure, plan_setup
from affidavit.store.questions import SearchFilter
from tests.support.documents import Numbered, old_call, old_security

if TYPE_CHECKING:
    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R35")

NOW = datetime.now(UTC).replace(microsecond=0)


def adopt(database: Log) -> None:
    """The first use of the new logger on the old collection."""
    config = AuditConfig()
    ensure(locate(database, config), config, 10)


def adoptions(database: Log) -> list[dict[str, Any]]:
    """The details of adoption records."""
    return [r["details"] for r in database.llm_audit_ledger.find({"event_type": "adoption"})]


def test_old_documents_stay_as_they_are(database: Log) -> None:
    """Byte for byte."""
    database.llm_audit.insert_many([old_call(NOW), old_security(NOW)])
    before = list(database.llm_audit.find().sort("_id", 1))
    adopt(database)
    assert list(database.llm_audit.find().sort("_id", 1)) == before


def test_their_count_day_and_shapes_are_noted_once(database: Log) -> None:
    """Without any value of theirs."""
    database.llm_audit.insert_many(
        [*(old_call(NOW - timedelta(days=n)) for n in range(5)), old_security(NOW)]
    )
    adopt(database)
    config = AuditConfig()
    location = locate(database, config)
    apply(location, plan_setup(location, config), config)
    [noted] = adoptions(database)
    assert (noted["count"], noted["day"]) == (6, NOW.date().isoformat())
    assert noted["first"] == NOW - timedelta(days=4)
    assert [(s["event_type"], s["count"]) for s in noted["shapes"]] == [
        ("llm_request", 5),
        ("security_prompt_injection", 1),
    ]
    assert "client_ip" in noted["shapes"][0]["fields"]
    assert "Old question" not in repr(noted)


def test_a_new_collection_has_nothing_to_adopt(database: Log) -> None:
    """No record is written for nothing."""
    adopt(database)
    assert adoptions(database) == []


def test_old_documents_that_come_after_set_up_are_noted_by_the_next_one(database: Log) -> None:
    """A rolling deploy may start with the new logger."""
    adopt(database)
    database.llm_audit.insert_one(old_call(NOW))
    config = AuditConfig()
    location = locate(database, config)
    planned = plan_setup(location, config)
    assert planned.adoption is not None
    apply(location, planned, config)
    assert [noted["count"] for noted in adoptions(database)] == [1]


def test_the_old_logger_goes_on_inserting_and_updating(database: Log) -> None:
    """Insert, then update by _id, beside our records; its own queries still answer."""
    database.llm_audit.create_index([("user_id", 1), ("timestamp", -1)])
    database.llm_audit.insert_one(old_call(NOW))
    adopt(database)
    for number in range(20):
        done = old_call(NOW, user_id="user_old")
        late = {k: done.pop(k) for k in ("response_data", "success", "completed_at", "status")}
        inserted = database.llm_audit.insert_one({**done, "status": "initiated"})
        database.llm_audit.insert_many(Numbered(f"w{number}").call(NOW))
        changed = database.llm_audit.update_one({"_id": inserted.inserted_id}, {"$set": late})
        assert changed.modified_count == 1
    own = {"event_type": "llm_request", "success": True, "user_id": "user_old"}
    assert database.llm_audit.count_documents(own) == 20
    assert len(list(database.llm_calls.find({"success": True}))) == 41
    # The old logger makes sure of its indexes at each start.
    database.llm_audit.create_index([("user_id", 1), ("timestamp", -1)])
    database.llm_audit.create_index([("timestamp", -1)])
    database.llm_audit.create_index([("timestamp", 1)], expireAfterSeconds=7_776_000)


@pytest.mark.requirement("R33")
def test_a_logger_that_starts_leaves_another_loggers_collection_as_it_is(
    database: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither validator nor index: it works, says so once, and the operator's set-up makes them."""
    database.llm_audit.insert_one(old_call(NOW))
    for _ in range(2):
        with AuditLogger(database) as audit:
            with audit.call(provider="p", message="hello") as call:
                call.complete(text="answer")
            assert audit.stats().stored == 2
    assert set(database.llm_audit.index_information()) == {"_id_"}
    assert "validator" not in database.llm_audit.options()
    assert {"llm_audit_ledger", "llm_audit_writers", "llm_calls", "llm_outcomes"} <= set(
        database.list_collection_names()
    )
    assert database.llm_calls.count_documents({"success": True}) == 3
    assert caplog.text.count("llm_audit holds documents of another logger") == 1
    assert [noted["count"] for noted in adoptions(database)] == [1]
    with open_log(database, AuditConfig()) as log:
        wrong = [f for f in log.examine() if f.level == "wrong"]
        assert {f.check for f in wrong} == {"validators", "indexes", "retention"}
        assert all("affidavit setup" in f.text for f in wrong)
        log.apply(log.plan())
        assert [f for f in log.examine() if f.level == "wrong"] == []
    assert len(database.llm_audit.index_information()) == 1 + len(of_records(90))


@pytest.mark.requirement("R33")
def test_a_starting_writer_leaves_a_large_collection_without_new_indexes(
    database: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It records at once; the doctor and `affidavit setup` say what is missing."""
    monkeypatch.setattr(plan, "LARGE", 10)
    database.llm_audit.insert_many([old_call(NOW) for _ in range(20)])
    config = AuditConfig()
    state = ensure(locate(database, config), config, 10)
    assert set(database.llm_audit.index_information()) == {"_id_"}
    assert all("quiet time" in clash for clash in state.clashes)
    location = locate(database, config)
    done = apply(location, plan_setup(location, config), config)
    assert done.clashes == []
    assert len(database.llm_audit.index_information()) == 1 + len(of_records(90))


@pytest.mark.requirement("R1", "R6")
def test_the_old_logger_and_ours_write_side_by_side_without_loss(database: Log) -> None:
    """At the same time, on one collection, during a rolling deploy."""
    database.llm_audit.insert_one(old_call(NOW))
    count = 150
    with AuditLogger(database) as audit:

        def old_logger() -> None:
            for number in range(count):
                done = old_call(datetime.now(UTC), user_id=f"old_{number}")
                late = {k: done.pop(k) for k in ("response_data", "success", "completed_at")}
                made = database.llm_audit.insert_one({**done, "status": "initiated"})
                late["status"] = "completed"
                database.llm_audit.update_one({"_id": made.inserted_id}, {"$set": late})

        beside = threading.Thread(target=old_logger)
        beside.start()
        for number in range(count):
            with audit.call(provider="p", message="m", user_id=f"new_{number}") as call:
                call.complete(text="t", cost_usd="0.01")
        beside.join()
        assert audit.flush()
        assert audit.stats().lost == 0
    calls = list(database.llm_calls.find({"event_type": "llm_request", "success": True}))
    users = {call["user_id"] for call in calls} - {"user_1"}
    assert users == {f"{kind}_{number}" for kind in ("old", "new") for number in range(count)}
    assert len(calls) == 2 * count + 1


def test_old_shapes_are_read_in_todays_names(database: Log) -> None:
    """Version 0, with client_info, kind and UTC times."""
    adopt(database)
    database.llm_audit.insert_many([old_call(NOW), old_security(NOW - timedelta(seconds=1))])
    with open_log(database, AuditConfig()) as log:
        call, event = log.reader.search(SearchFilter()).rows
    assert (call["schema_version"], call["client_info"]["ip_address"]) == (0, "10.0.0.1")
    assert (call["provider"], call["timestamp"]) == ("openai", NOW)
    assert (event["event_type"], event["details"]["kind"]) == ("security_event", "prompt_injection")


def test_naive_local_times_are_read_with_their_zone(database: Log) -> None:
    """Noon in Madrid in winter is eleven in UTC; searches by time know that."""
    adopt(database)
    noon = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    database.llm_audit.insert_many([old_call(noon), *Numbered().call(noon, user_id="user_new")])
    config = AuditConfig(legacy_timezone="Europe/Madrid")
    with open_log(database, config) as log:
        early = SearchFilter(until=noon - timedelta(minutes=30))
        [old] = log.reader.search(early).rows
        assert old["timestamp"] == noon - timedelta(hours=1)
        late = SearchFilter(since=noon - timedelta(minutes=30))
        [new] = log.reader.search(late).rows
        assert new["user_id"] == "user_new"
