"""What goes on beside the answers: sealed, added up, watched; by one of several, and to the end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from affidavit import AuditLogger
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.store import alerts_of, open_log
from tests.integration.console.test_serve import TOLD, is_ready, service, wait_until
from tests.support.console import serving

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.demo.mongod import Mongod
    from affidavit.store.mongo.log import MongoLog


def sealed(log: MongoLog) -> bool:
    """Whether every leaf batch is in a seal."""
    database, names = log.location.database, log.location.names
    batches = {each["_id"] for each in database[names.leaf_batches].find({}, {"_id": 1})}
    seals = database[names.seals].find({"items": {"$exists": True}})
    inside = {item.get("b") for seal in seals for item in seal["items"]}
    return bool(batches) and batches <= inside


def record(audit: AuditLogger, count: int = 1) -> None:
    """Record some calls."""
    for _ in range(count):
        with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
            call.complete(text="answer", input_tokens=1, output_tokens=1, cost_usd="0.01")


@pytest.mark.requirement("R13", "R14")
def test_one_process_seals_adds_up_and_watches(mongodb_uri: str) -> None:
    """Everything that commands do as services is done beside the answers."""
    with serving(mongodb_uri, schedules=True, audit={"monitor_every_s": 5}) as served:
        backend = served.backend
        record(backend.audit, 5)
        wait_until(lambda: sealed(backend.log), 60)
        wait_until(lambda: backend.log.seals.sealer_seen() is not None, 60)
        wait_until(lambda: backend.alerts.peek()[1] is not None, 60)
        names, database = backend.log.location.names, backend.log.location.database
        wait_until(lambda: database[names.rollup_states].count_documents({}) > 0, 60)
        wait_until(lambda: database[names.metrics].count_documents({}) > 0, 60)
        holder = backend.alerts.peek()[1]
        assert holder is not None
    with open_log(mongodb_uri, AuditConfig()) as log:
        assert sealed(log)
        assert alerts_of(log).peek()[1] is None, "the lease was not given back"


@pytest.mark.requirement("R13")
def test_what_came_last_is_sent_and_sealed_when_the_service_ends(mongodb_uri: str) -> None:
    """Records that were taken in the moment before the end are in the log, and under a seal."""
    with serving(mongodb_uri, schedules=True) as served:
        wait_until(lambda: served.backend.log.seals.sealer_seen() is not None, 60)
        record(served.backend.audit, 20)
    with open_log(mongodb_uri, AuditConfig()) as log:
        database, names = log.location.database, log.location.names
        assert database[names.records].count_documents({}) == 40
        assert sealed(log)


@pytest.mark.requirement("R13")
def test_of_several_instances_one_acts(mongodb_uri: str, tmp_path: Path) -> None:
    """Both answer; the log grows by one hand, and one watches."""
    settings = {"AFFIDAVIT_MONITOR_EVERY_S": "5", "XDG_STATE_HOME": str(tmp_path / "state")}
    with ExitStack() as stack:
        both = [
            stack.enter_context(service(tmp_path / name, "--uri", mongodb_uri, **settings))
            for name in ("a", "b")
        ]
        for each in both:
            url = each.found(TOLD)
            wait_until(lambda url=url: is_ready(url), 90)
        with (
            AuditLogger(mongodb_uri, seal="off") as audit,
            open_log(mongodb_uri, AuditConfig()) as log,
        ):
            for _ in range(5):
                record(audit, 4)
                assert audit.flush()
                time.sleep(0.5)
            wait_until(lambda: sealed(log), 60)
            seals: list[dict[str, Any]] = list(
                log.location.database[log.location.names.seals].find({"by": {"$exists": True}})
            )
            pids = {seal["by"]["pid"] for seal in seals}
            assert len(pids) == 1, seals
            assert pids <= {each.process.pid for each in both}
            wait_until(lambda: alerts_of(log).peek()[1] is not None, 60)
        assert [each.end() for each in both] == [0, 0]
        assert "Traceback" not in both[0].err + both[1].err


@pytest.mark.requirement("R9", "R13")
def test_schedules_begin_when_the_database_comes(private_mongod: Mongod) -> None:
    """Started while it is down, the service seals and watches once it is up; nobody restarts it."""
    private_mongod.shut_down()
    uri = private_mongod.database_uri("late")
    with serving(
        uri, schedules=True, with_token=False, audit={"monitor_every_s": 5, "write_timeout": 1.0}
    ) as served:
        wait_until(lambda: served.backend.pulse.away_since is not None, 30)
        record(served.backend.audit, 2)
        private_mongod.restart()
        wait_until(lambda: served.backend.pulse.away_since is None, 30)
        wait_until(lambda: sealed(served.backend.log), 90)
        wait_until(lambda: served.backend.alerts.peek()[1] is not None, 60)
        assert httpx.get(f"{served.url}/readyz").is_success


@pytest.mark.requirement("R13")
def test_a_page_that_listens_for_events_does_not_hold_up_the_end(mongodb_uri: str) -> None:
    """Streams are let go, and nobody waits for a limit."""
    with (
        serving(mongodb_uri) as served,
        served.client() as client,
        client.stream("GET", "/live") as events,
    ):
        told = events.iter_text()
        assert next(told)
        began_s = time.monotonic()
        served.server.should_exit = True
        assert isinstance("".join(told), str), "it ends as an answer does"
        assert time.monotonic() - began_s < 4


def test_wrong_settings_of_monitoring_stop_the_start(mongodb_uri: str) -> None:
    """They are said before anything listens."""
    wrong = {"alert_webhooks": "ftp://somewhere"}
    with pytest.raises(ConfigError), serving(mongodb_uri, schedules=True, audit=wrong):
        pass
