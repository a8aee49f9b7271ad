"""A rolling deploy: the hand-written logger goes on while ours starts on the same collection."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from tests.support.old_logger import OldLogger
from tests.support.worker import MODES

if TYPE_CHECKING:
    from pathlib import Path

    from bson.objectid import ObjectId
    from pymongo.database import Database

Log = dict[str, Any]


@dataclass
class Old:
    """What the old logger did, by its own account."""

    ids: list[ObjectId] = field(default_factory=list)
    succeeded: int = 0
    changed: int = 0
    security: int = 0
    limits: int = 0


def write_old(
    logger: OldLogger, old: Old, stop: threading.Event, errors: list[BaseException]
) -> None:
    """Calls in the old way, with other events among them, until told to stop."""
    try:
        number = 0
        while not stop.is_set():
            identity = logger.log_llm_request(
                f"old_{number % 3}", "Analyze BTCUSDT", client_ip="10.0.0.1"
            )
            old.ids.append(identity)
            time.sleep(0.002)
            good = number % 5 != 0
            old.changed += logger.log_llm_response(
                identity,
                success=good,
                text="It rises." if good else "",
                error=None if good else "x",
            )
            old.succeeded += good
            if number % 10 == 0:
                logger.log_security_event("prompt_injection", "old_0", {"score": 0.9})
                logger.log_rate_limit("old_1", "requests_per_minute", {"minute": 61})
                old.security += 1
                old.limits += 1
            number += 1
    except BaseException as error:
        errors.append(error)


def write_new(
    audit: AuditLogger, ids: list[str], stop: threading.Event, errors: list[BaseException]
) -> None:
    """Calls in our way."""
    try:
        number = 0
        while not stop.is_set():
            with audit.call(
                provider="openai",
                model="small",
                message="Analyze ETHUSDT",
                user_id=f"new_{number % 3}",
                fields={"symbol": "ETHUSDT"},
            ) as call:
                call.complete(text="It falls.", input_tokens=10, output_tokens=5, cost_usd="0.002")
            ids.append(call.call_id)
            number += 1
            time.sleep(0.002)
    except BaseException as error:
        errors.append(error)


@pytest.mark.requirement("R35", "R2")
@pytest.mark.parametrize("mode", MODES)
def test_both_loggers_write_at_once_and_both_are_whole(  # noqa: PLR0915 - one run, many answers
    database: Database[Log], tmp_path: Path, mode: str
) -> None:
    """No error, no loss; the old one's questions answer as before; the view shows both."""
    collection, errors, stop = database["llm_audit"], [], threading.Event()
    collection.create_index([("user_id", 1), ("timestamp", -1)])
    collection.create_index("timestamp", expireAfterSeconds=30 * 24 * 3600)
    old, ids = [Old(), Old()], [[], []]  # type: ignore[var-annotated]
    threads = [
        threading.Thread(target=write_old, args=(OldLogger(collection), mine, stop, errors))
        for mine in old
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # the old one has written when ours comes, and goes on while ours sets up
    with AuditLogger(database, spool_dir=str(tmp_path), **MODES[mode]) as audit:
        writers = [
            threading.Thread(target=write_new, args=(audit, mine, stop, errors)) for mine in ids
        ]
        for thread in writers:
            thread.start()
        time.sleep(1.2)
        stop.set()
        for thread in [*threads, *writers]:
            thread.join()
        assert audit.flush(20)
        stats = audit.stats()
    new_ids = [call_id for mine in ids for call_id in mine]
    old_ids = [identity for mine in old for identity in mine.ids]
    assert errors == []
    assert min(len(mine) for mine in ids) > 20
    assert min(len(mine.ids) for mine in old) > 20
    assert (stats.dead_lettered, stats.lost, stats.spooled) == (0, 0, 0)
    assert stats.stored == 2 * len(new_ids)

    # Nothing is lost on either side, and each change of the old one went through.
    assert sum(mine.changed for mine in old) == len(old_ids)
    found = {d["_id"]: d for d in collection.find({"schema_version": {"$exists": False}})}
    kinds = [d["event_type"] for d in found.values()]
    assert set(old_ids) == {key for key, d in found.items() if d["event_type"] == "llm_request"}
    assert all(found[identity]["status"] in {"completed", "failed"} for identity in old_ids)
    assert kinds.count("security_prompt_injection") == sum(mine.security for mine in old)
    assert kinds.count("rate_limit_exceeded") == sum(mine.limits for mine in old)
    ours = list(collection.find({"schema_version": 1}, {"call_id": 1, "event_type": 1}))
    assert sorted(d["call_id"] for d in ours) == sorted(new_ids * 2)

    # The old one's own questions.
    asking, succeeded = OldLogger(collection), sum(mine.succeeded for mine in old)
    statistics = asking.statistics()
    assert asking.successes() == statistics["succeeded"] == succeeded
    assert statistics["cost"] == pytest.approx(0.0027 * succeeded)
    assert sum(n for user, n in statistics["users"].items() if user.startswith("old_")) == len(
        old_ids
    )
    history = asking.user_history("old_1", 20)
    assert len(history) == 20
    assert history == sorted(history, key=lambda d: d["timestamp"], reverse=True)
    assert len(asking.security_events()) == sum(mine.security for mine in old)

    # The view shows both, in one shape, and answers the old question for both.
    view = list(database["llm_calls"].find())
    assert len(view) == len(old_ids) + len(new_ids)
    assert {row["_id"] for row in view if row["schema_version"] == 0} == set(old_ids)
    assert {row["call_id"] for row in view if row["schema_version"] == 1} == set(new_ids)
    by_old_question = database["llm_calls"].count_documents(
        {"event_type": "llm_request", "success": True}
    )
    assert by_old_question == succeeded + len(new_ids)
    one = next(row for row in view if row["schema_version"] == 0 and row["success"])
    assert one["client_info"]["ip_address"] == "10.0.0.1"
    assert one["response_data"]["provider_used"] == "openai"
    assert one["request_data"]["symbol"] == "BTCUSDT"

    # The old index with another period stands in the way of ours: reported, never forced.
    periods = {
        index["expireAfterSeconds"]
        for index in collection.list_indexes()
        if "expireAfterSeconds" in index
    }
    assert periods == {30 * 24 * 3600}
