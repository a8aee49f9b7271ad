"""The views: the sample document's shape, old documents beside new ones, and their plans."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bson.decimal128 import Decimal128

from affidavit.config import AuditConfig
from affidavit.store.mongo.connect import locate
from affidavit.store.mongo.setup import ensure
from tests.support.documents import START, Numbered, old_call, old_security, stages

if TYPE_CHECKING:
    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R3", "R35")

SAMPLE = [
    "_id", "event_type", "user_id", "timestamp", "request_data", "response_data", "client_info",
    "status", "success", "error_message",
]  # fmt: skip


@pytest.fixture
def log(database: Log) -> Log:
    """A database that is set up, with a retention that keeps the tests' fixed times."""
    config = AuditConfig(ttl_days=36500)
    ensure(locate(database, config), config, 10)
    return database


def test_a_call_has_exactly_the_sample_documents_fields_first(log: Log) -> None:
    """The sample's names in its order, then ours; request and outcome joined."""
    records = Numbered()
    intent = records.intent()
    log.llm_audit.insert_many([intent, records.outcome(intent)])
    [call] = log.llm_calls.find()
    assert list(call)[:2] == ["_id", "event_type"]
    assert set(SAMPLE) <= set(call)
    assert call["event_type"] == "llm_request"
    assert call["request_data"]["message"] == "Analyze BTCUSDT"
    assert call["response_data"]["cost_usd"] == Decimal128("0.045")
    assert (call["status"], call["success"], call["error_message"]) == ("completed", True, None)
    assert call["client_info"] == {
        "ip_address": "192.168.1.100",
        "user_agent": "WADM Frontend/1.0",
    }
    assert (call["input_tokens"], call["schema_version"]) == (300, 1)


def test_a_call_under_way_is_initiated_with_nulls(log: Log) -> None:
    """Without an outcome there is one document still, and nothing of another call."""
    records = Numbered()
    log.llm_audit.insert_many([records.intent(), *records.call()])
    under_way = log.llm_calls.find_one({"status": "initiated"})
    assert under_way is not None
    assert under_way["response_data"] is None
    assert under_way["success"] is None
    assert under_way["error_message"] is None


def test_old_documents_stand_among_the_calls(log: Log) -> None:
    """They keep their values, and have today's client_info and a schema version of 0."""
    log.llm_audit.insert_many([old_call(), old_call(), *Numbered().call()])
    old = list(log.llm_calls.find({"schema_version": 0}))
    assert len(old) == 2
    for call in old:
        assert set(SAMPLE) <= set(call)
        assert call["client_info"] == {"ip_address": "10.0.0.1", "user_agent": None}
        assert (call["provider"], call["response_data"]["cost_usd"]) == ("openai", 0.045)
        assert call["completed_at"] == START + timedelta(seconds=2)


def test_the_old_loggers_own_query_still_answers(log: Log) -> None:
    """{event_type: "llm_request", success: true} finds old and new calls in the view."""
    log.llm_audit.insert_many(
        [old_call(), *Numbered().call(), *Numbered("w2").call(status="failed")]
    )
    assert len(list(log.llm_calls.find({"event_type": "llm_request", "success": True}))) == 2


def test_calls_come_newest_first_without_asking(log: Log) -> None:
    """The view sorts before its join."""
    records = Numbered()
    for minute in (3, 1, 4, 2):
        log.llm_audit.insert_many(records.call(START + timedelta(minutes=minute)))
    times = [call["timestamp"] for call in log.llm_calls.find()]
    assert times == sorted(times, reverse=True)


def test_other_records_are_no_calls(log: Log) -> None:
    """Rate limits, security events and annotations do not appear in the views."""
    records = Numbered()
    log.llm_audit.insert_many(
        [
            records.document("rate_limit_exceeded", START, success=False, details={}),
            records.document("security_event", START, details={"kind": "jailbreak"}),
            old_security(),
        ]
    )
    assert list(log.llm_calls.find()) == []
    assert list(log.llm_outcomes.find()) == []


def test_outcomes_are_finished_calls_of_both_kinds(log: Log) -> None:
    """Neither intents nor an old logger's unfinished calls count."""
    records = Numbered()
    unfinished = old_call(status="initiated")
    for name in ("success", "response_data", "completed_at"):
        del unfinished[name]
    log.llm_audit.insert_many([records.intent(), *records.call(), old_call(), unfinished])
    assert len(list(log.llm_outcomes.find())) == 2


def test_the_database_sums_money_exactly(log: Log) -> None:
    """Ten times ten cents are one dollar."""
    records = Numbered()
    for _ in range(10):
        intent = records.intent()
        outcome = records.outcome(intent)
        outcome["response_data"]["cost_usd"] = Decimal128("0.1")
        log.llm_audit.insert_many([intent, outcome])
    cost = {"$group": {"_id": None, "cost": {"$sum": "$response_data.cost_usd"}}}
    [group] = log.llm_outcomes.aggregate([cost])
    assert group["cost"].to_decimal() == Decimal("1.0")


def _many(log: Log, count: int = 400) -> None:
    records = Numbered()
    batch: list[dict[str, Any]] = []
    for number in range(count):
        at = START + timedelta(minutes=number)
        batch += records.call(at, user_id=f"user_{number % 20}")
        if number % 10 == 0:
            batch.append(old_call(at, user_id=f"user_{number % 20}"))
    log.llm_audit.insert_many(batch)


@pytest.mark.parametrize(
    ("question", "index"),
    [({}, "event_type_1_timestamp_-1"), ({"user_id": "user_3"}, "user_id_1_timestamp_-1")],
)
def test_the_newest_calls_come_from_an_index_without_sorting(
    log: Log, question: dict[str, Any], index: str
) -> None:
    """A filter on the user moves below the join; nothing blocks before the first row."""
    _many(log)
    plan = stages(log, {"find": "llm_calls", "filter": question, "limit": 50})
    assert ("IXSCAN", index) in plan
    assert not {"SORT", "$sort", "COLLSCAN"} & {stage for stage, _ in plan}


def test_a_months_cost_is_read_from_an_index_alone(log: Log) -> None:
    """No document is fetched for the sum, by user neither."""
    _many(log)
    for group in (None, "$user_id", "$response_data.provider_used"):
        pipeline = [
            {"$match": {"timestamp": {"$gte": START}}},
            {"$group": {"_id": group, "cost": {"$sum": "$response_data.cost_usd"}}},
        ]
        plan = stages(log, {"aggregate": "llm_outcomes", "pipeline": pipeline, "cursor": {}})
        assert ("IXSCAN", "outcome_costs") in plan
        assert not {"FETCH", "COLLSCAN"} & {stage for stage, _ in plan}


def test_the_newest_outcomes_are_sorted_by_an_index(log: Log) -> None:
    """llm_outcomes passes documents on unchanged, so a sort reaches its index."""
    _many(log)
    plan = stages(log, {"find": "llm_outcomes", "sort": {"timestamp": -1}, "limit": 50})
    assert not {"SORT", "$sort", "COLLSCAN"} & {stage for stage, _ in plan}


def test_old_documents_do_not_join_each_other(log: Log) -> None:
    """Each stays one document: a missing call_id is nobody's."""
    log.llm_audit.insert_many([old_call(START + timedelta(seconds=n)) for n in range(300)])
    assert len(list(log.llm_calls.find())) == 300
