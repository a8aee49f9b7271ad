"""Each alert, provoked for real: it fires once, reaches a receiver, and resolves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from affidavit import AuditConfig, AuditLogger
from affidavit._monitor_settings import THRESHOLDS
from affidavit.cli import run
from affidavit.demo.mongod import Mongod
from affidavit.errors import AffidavitError
from affidavit.store import alerts_of, monitor_of, open_log
from tests.support.proxy import Proxy
from tests.support.receivers import HttpReceiver, SmtpReceiver
from tests.support.watching import SECRET, beat, until, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R23", "R24")

WARNED = [("firing", "warning"), ("resolved", "warning")]
ALARMED = [("firing", "critical"), ("resolved", "critical")]
OTHERS_OFF = {name: {"off": True} for name in THRESHOLDS if name != "security_events"}
"""A busy machine has slow writes, which are no part of a test that counts every post."""


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mongodb_uri: str) -> None:
    """The command finds the log; no logger seals by itself."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("AFFIDAVIT_SEAL", "off")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def proxy(mongodb_uri: str) -> Iterator[Proxy]:
    """A line to the server that can be made slow, or cut."""
    port = int(mongodb_uri.partition("://")[2].rpartition("@")[2].partition("/")[0].split(":")[1])
    with Proxy(port) as line:
        yield line


def through(proxy: Proxy, uri: str) -> str:
    """The address by way of the proxy."""
    head, _, tail = uri.partition("://")
    hosts, slash, rest = tail.partition("/")
    login, at, _ = hosts.rpartition("@")
    mark = "&" if "?" in rest else "?"
    return f"{head}://{login}{at}127.0.0.1:{proxy.port}{slash}{rest}{mark}directConnection=true"


def record(audit: AuditLogger, calls: int = 1, **more: Any) -> None:
    """Record some calls."""
    for _ in range(calls):
        with audit.call(provider="p", model="m", message="hello", user_id="ana") as call:
            call.complete(text="answer", input_tokens=1, output_tokens=1, **more)


def ledger(log: Log, rule: str) -> list[tuple[str, str]]:
    """What the ledger says of a rule, in order."""
    wanted = {"event_type": {"$in": ["alert_firing", "alert_resolved"]}, "details.rule": rule}
    found = log["llm_audit_ledger"].find(wanted).sort("timestamp", 1)
    return [(each["event_type"], each["details"]["level"]) for each in found]


def test_every_rule_is_provoked_on_this_page() -> None:
    """A rule without a test could be one that never fires."""
    page = Path(__file__).read_text(encoding="utf-8")
    provoked = {*re.findall(r'told\("(\w+)"', page), *re.findall(r'_told_of\(\w+, "(\w+)"', page)}
    assert provoked >= set(THRESHOLDS)


def test_a_slow_store_is_told_by_latency_and_by_slow_writes(
    mongodb_uri: str, database: Log, proxy: Proxy
) -> None:
    """Through a line that takes 200 ms each way; heartbeats tell it, and no profiler is needed."""
    # Above what a busy machine takes without the slow line.
    limits = {"write_latency_p95": {"warning": 250, "critical": 280}}
    with (
        watching(mongodb_uri, {"monitoring_thresholds": limits}) as watch,
        AuditLogger(through(proxy, mongodb_uri)) as audit,
    ):
        record(audit)
        beat(audit)
        watch.look()
        proxy.delay(0.2)
        record(audit, 10)  # of fewer than twenty writes no percentile is told
        for _ in range(6):
            beat(audit)
            watch.look()
        proxy.heal()
        assert watch.told("slow_writes") == WARNED[:1]
        assert watch.told("write_latency_p95") == ALARMED[:1]
        record(audit, 300)
        for _ in range(16):
            beat(audit)
            watch.look()
        assert watch.told("slow_writes") == WARNED
        assert watch.told("write_latency_p95")[0] == ("firing", "critical")
        assert watch.told("write_latency_p95")[-1][0] == "resolved"
    assert ledger(database, "slow_writes") == [
        ("alert_firing", "warning"),
        ("alert_resolved", "warning"),
    ]


def test_a_burst_of_calls_is_told_at_the_documents_thresholds(
    mongodb_uri: str, database: Log
) -> None:
    """As a warning at the first, as critical at the second, and when it is over."""
    limits = {"daily_requests": {"warning": 5, "critical": 10}}
    with AuditLogger() as audit, watching(mongodb_uri, {"monitoring_thresholds": limits}) as watch:
        record(audit, 6)
        watch.look()
        record(audit, 6)
        watch.look(300)
        watch.look(300)
        database["llm_audit"].delete_many({})  # as the retention does
        watch.look(300)
        watch.look(300)
        expected = [("firing", "warning"), ("level", "critical"), ("resolved", "critical")]
        assert watch.told("daily_requests") == expected


def ballast(log: Log, name: str, size_bytes: int) -> None:
    """Let the log take so many bytes more on the disk, in a collection of its own."""
    part = 256 * 1024
    rows = [{"x": os.urandom(part)} for _ in range(max(1, round(size_bytes / part)))]
    log[f"llm_audit_{name}"].insert_many(rows)
    log.client.admin.command("fsync")  # sizes are those of the last checkpoint


def taken(uri: str) -> int:
    """What the log takes, as the monitor sees it."""
    with open_log(uri, AuditConfig()) as log:
        return sum(size.disk_bytes for size in monitor_of(log).sizes())


def test_a_log_that_is_large_is_told_until_it_is_clearly_smaller(
    mongodb_uri: str, database: Log
) -> None:
    """It fires above 10 MB, holds just below, and ends below nine tenths; through restarts."""
    limits = {"audit_collection_size": {"warning": "10MB", "critical": "1GB"}}
    mib = 1024**2
    with AuditLogger() as audit:
        record(audit, 5)
    ballast(database, "one", int(9.4 * mib) - taken(mongodb_uri))
    while taken(mongodb_uri) < 9.2 * mib:
        ballast(database, "one", mib // 4)
    ballast(database, "two", 2 * mib)
    settings = {"monitoring_thresholds": limits, "alert_repeat_s": 3600}
    with watching(mongodb_uri, settings) as watch:
        watch.look()
        assert watch.told("audit_collection_size") == []  # it waits for two minutes
        watch.restart()
        watch.look(130)
        assert watch.told("audit_collection_size") == WARNED[:1]
        watch.restart()
        database.drop_collection("llm_audit_two")
        assert 9.0 * mib < taken(mongodb_uri) < 10 * mib
        watch.look(310, times=3)
        assert watch.told("audit_collection_size") == WARNED[:1]
        watch.look(3600)
        repeated = [*WARNED[:1], ("repeated", "warning")]
        assert watch.told("audit_collection_size") == repeated
        database.drop_collection("llm_audit_one")
        watch.look(310)
        assert watch.told("audit_collection_size") == [*repeated, WARNED[1]]
        watch.look(3600, times=2)
        assert watch.told("audit_collection_size") == [*repeated, WARNED[1]]
    assert ledger(database, "audit_collection_size") == [
        ("alert_firing", "warning"),
        ("alert_resolved", "warning"),
    ]


def test_a_log_that_grows_fast_is_told_after_a_day_and_until_it_grows_slower(
    mongodb_uri: str, database: Log
) -> None:
    """5 MB in a day are 150 MB in thirty; the same over three days are 50 MB."""
    with AuditLogger() as audit, watching(mongodb_uri) as watch:
        record(audit, 5)
        watch.look()
        watch.look(3700)
        ballast(database, "one", 5 * 1024**2)
        watch.look(310, times=3)
        assert watch.told("storage_growth_rate") == []  # an hour or two are no day
        assert run(["alerts", "silence", "storage_growth_rate", "--for", "26h"]) == 0
        watch.look(25 * 3600)
        watch.look(310)
        assert watch.told("storage_growth_rate") == []  # silenced
        watch.look(3600)
        assert watch.told("storage_growth_rate") == WARNED[:1]
        watch.look(86_400, times=2)
        watch.look(310)
        assert watch.told("storage_growth_rate") == WARNED
    assert ledger(database, "storage_growth_rate") == [
        ("alert_firing", "warning"),
        ("alert_resolved", "warning"),
    ]


def test_a_latency_that_fires_ends_when_nobody_writes_any_more(
    mongodb_uri: str, proxy: Proxy
) -> None:
    """There is nothing slow then; what cannot be read is another matter, and ends nothing."""
    limits = {"write_latency_p95": {"warning": 100, "critical": None}}
    with (
        watching(mongodb_uri, {"monitoring_thresholds": limits}) as watch,
        AuditLogger(through(proxy, mongodb_uri)) as audit,
    ):
        record(audit)
        proxy.delay(0.1)
        record(audit, 10)
        for _ in range(6):
            beat(audit)
            watch.look()
        proxy.heal()
        assert watch.told("write_latency_p95") == WARNED[:1]
        watch.monitor.close()
    with watching(mongodb_uri, {"monitoring_thresholds": limits}) as later:
        later.look(120)
        assert later.told("write_latency_p95") == WARNED[1:]


def test_a_pool_that_is_used_up_is_told_when_that_lasts(tmp_path: Path) -> None:
    """A server that takes few connections, most of them in use for two minutes."""
    with Mongod.start(extra_args=("--maxConns", "40")) as server:
        uri = server.database_uri("wadm")
        with watching(uri) as watch:
            watch.look()
            clients = [server.client(maxPoolSize=1) for _ in range(12)]
            for client in clients:
                client.admin.command("ping")
            watch.look(times=2)
            assert watch.told("pool_use") == []
            watch.look(times=4)
            assert watch.told("pool_use", "server")[0][0] == "firing"
            for client in clients:
                client.close()
            until(lambda: _in_use(server) < 40 * 0.6, "free connections", 20)
            watch.look(times=3)
            assert watch.told("pool_use", "server")[-1][0] == "resolved"


def test_the_pool_of_the_application_is_told_too(mongodb_uri: str, database: Log) -> None:
    """A client that was passed in, nine of whose ten connections the application uses."""
    database["busy"].insert_one({})
    stop = threading.Event()

    def work(client: MongoClient[Any]) -> None:
        while not stop.is_set():
            list(client[database.name]["busy"].find({"$where": "sleep(200) || true"}))

    with (
        MongoClient[Any](mongodb_uri, maxPoolSize=10) as client,
        AuditLogger(client[database.name]) as audit,
        watching(mongodb_uri) as watch,
        ThreadPoolExecutor(9) as workers,
    ):
        record(audit)
        for _ in range(9):
            workers.submit(work, client)
        try:
            for _ in range(6):
                beat(audit)
                watch.look()
            assert watch.told("pool_use", "writer")[0][0] == "firing"
        finally:
            stop.set()
        workers.shutdown()
        for _ in range(2):
            beat(audit)
            watch.look()
        assert watch.told("pool_use", "writer")[-1][0] == "resolved"


def _in_use(server: Mongod) -> int:
    with server.client() as client:
        return int(client.admin.command("serverStatus")["connections"]["current"])


def test_a_dropped_index_is_told_by_the_question_that_needs_it(
    mongodb_uri: str, database: Log
) -> None:
    """Until set-up has built it again."""
    with AuditLogger() as audit:
        record(audit, 3)
    with watching(mongodb_uri) as watch:
        watch.look()
        assert watch.told("query_plans") == []
        database["llm_audit"].drop_index("writer_1_seq_1")
        watch.look(3601)
        assert run(["setup"]) == 0
        watch.look(3601)
        assert watch.told("query_plans", "records by number") == WARNED


def test_records_that_wait_in_a_spool_for_over_a_minute_are_told(mongodb_uri: str) -> None:
    """Collected in batches whose time does not come."""
    waiting: Any = {"batch_writes": True, "batch_size": 1000, "flush_interval": 3600}
    with watching(mongodb_uri) as watch:
        with AuditLogger(**waiting) as audit:
            record(audit, 5)
            beat(audit)
            watch.look()
            assert watch.told("records_spooled") == []
            watch.look(times=2)
            assert watch.told("records_spooled") == WARNED[:1]
        watch.look()
        assert watch.told("records_spooled") == WARNED


def test_records_that_were_lost_are_told_once(mongodb_uri: str, tmp_path: Path) -> None:
    """No disk to spool to, no database, and a full queue: what is over is lost, and counted."""
    with Mongod.start() as server, Proxy(int(server.address.rpartition(":")[2])) as line:
        uri = server.database_uri("wadm")
        (tmp_path / "file").write_text("no folder")
        small: Any = {
            "spool_dir": str(tmp_path / "file" / "spool"),
            "max_queue_bytes": 1024**2,
            "queue_wait": 0.0,
            "write_timeout": 0.2,
        }
        with watching(uri) as watch, AuditLogger(through(line, uri), **small) as audit:
            record(audit)
            beat(audit)
            watch.look()
            line.refuse()
            text = "x" * 9000
            for _ in range(300):
                audit.security_event(kind="k", details={"text": text})
            assert audit.stats().lost > 0
            line.heal()
            until(lambda: _beats(audit), "the store", 20)
            watch.look(times=3)
            assert watch.told("records_lost") == ALARMED[:1]
            for _ in range(13):
                watch.look(290)
            assert watch.told("records_lost") == ALARMED


def _beats(audit: AuditLogger) -> bool:
    try:
        beat(audit)
    except AssertionError:
        return False
    return True


def test_records_that_the_database_refuses_are_told_until_they_are_stored(
    mongodb_uri: str, database: Log
) -> None:
    """Dead letters, sent again after the cause is gone."""
    with AuditLogger() as audit, watching(mongodb_uri) as watch:
        record(audit)
        rules = database["llm_audit"].options()["validator"]
        database.command("collMod", "llm_audit", validator={"no_such_field": {"$exists": True}})
        record(audit)
        beat(audit)
        watch.look()
        database.command("collMod", "llm_audit", validator=rules)
        assert watch.told("dead_letters") == WARNED[:1]
        assert run(["dead-letters", "retry"]) == 0
        until(lambda: _dead_after_a_beat(audit) == 0, "the retry", 20)
        watch.look()
        assert watch.told("dead_letters") == WARNED


def _dead_after_a_beat(audit: AuditLogger) -> int:
    beat(audit)
    return audit.stats().dead_lettered


def test_a_writer_that_is_killed_is_told_as_silent_until_its_spool_is_taken_over(
    mongodb_uri: str, tmp_path: Path
) -> None:
    """It left no stop record; the next process of the host ends its account."""
    program = (
        "import time\nfrom affidavit import AuditLogger\naudit = AuditLogger()\n"
        "with audit.call(provider='p') as call:\n    call.complete(text='x')\n"
        "r = audit._engine._running.shipper.beat('running')\nprint(r, flush=True)\n"
        "time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "True"
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    with watching(mongodb_uri) as watch:
        watch.look()
        assert watch.told("writers_silent") == []
        watch.look(times=3)
        assert watch.told("writers_silent") == WARNED[:1]
        with AuditLogger() as audit:
            record(audit)
            until(lambda: _looked(watch, audit) == WARNED, "the taking over", 30)


def _looked(watch: Any, audit: AuditLogger) -> list[tuple[str, str]]:
    watch.look(1)
    return list(watch.told("writers_silent"))


def test_a_sealer_that_is_killed_is_told_until_another_seals(mongodb_uri: str) -> None:
    """Two minutes after it was last seen."""
    with AuditLogger() as audit:
        record(audit)
    command = [sys.executable, "-m", "affidavit.cli", "seal", "--json"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as sealer,
        watching(mongodb_uri) as watch,
    ):
        try:
            assert sealer.stdout is not None
            assert sealer.stdout.readline()
            watch.look()
        finally:
            sealer.kill()
        sealer.wait(10)
        watch.look(times=5)
        assert watch.told("sealer_stopped") == WARNED[:1]
        with AuditLogger() as audit:
            record(audit)
        assert run(["seal", "--once"]) == 0
        watch.look(1)
        assert watch.told("sealer_stopped") == WARNED


def test_an_anchor_that_is_behind_is_told_until_it_anchors(
    mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three intervals without a receipt."""
    (tmp_path / "outside").mkdir()
    monkeypatch.setenv("AFFIDAVIT_ANCHOR_DIRECTORY", str(tmp_path / "outside"))
    with AuditLogger() as audit:
        record(audit)
    assert run(["seal", "--once"]) == 0
    assert run(["anchor"]) == 0
    settings = {"anchor_directory": str(tmp_path / "outside")}
    with watching(mongodb_uri, settings) as watch:
        watch.look()
        assert watch.told("anchor_age") == []
        watch.look(3 * 3600 + 60)
        assert watch.told("anchor_age") == WARNED[:1]
        with AuditLogger() as audit:
            record(audit)
        assert run(["seal", "--once"]) == 0
        assert run(["anchor"]) == 0
        watch.look(61)
        assert watch.told("anchor_age") == WARNED


def test_an_anchor_that_fails_is_told_also_where_it_never_worked(
    mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten minutes; it ends with the first receipt."""
    folder = tmp_path / "outside"
    folder.mkdir()
    monkeypatch.setenv("AFFIDAVIT_ANCHOR_DIRECTORY", str(folder))
    with AuditLogger() as audit:
        record(audit)
    assert run(["seal", "--once"]) == 0
    folder.rmdir()
    assert run(["anchor"]) == 1
    with watching(mongodb_uri, {"anchor_directory": str(folder)}) as watch:
        watch.look(120, times=7)
        assert watch.told("anchor_failing") == WARNED[:1]
        folder.mkdir()
        assert run(["anchor"]) == 0
        watch.look(120)
        assert watch.told("anchor_failing") == WARNED


def test_a_record_that_was_altered_is_told_when_the_sealer_verifies_again(
    mongodb_uri: str, database: Log
) -> None:
    """By its record in the ledger, for a day after it was found."""
    with AuditLogger() as audit:
        record(audit)
    assert run(["seal", "--once"]) == 0
    changed = {"$set": {"response_data.text": "another answer"}}
    database["llm_audit"].update_one({"event_type": "llm_response"}, changed)
    found = {"event_type": "verification_failed"}
    command = [sys.executable, "-m", "affidavit.cli", "seal"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as sealer:
        try:
            until(
                lambda: database["llm_audit_ledger"].count_documents(found) > 0, "the finding", 60
            )
        finally:
            sealer.kill()
    with watching(mongodb_uri) as watch:
        watch.look()
        watch.look(86_500)
        assert watch.told("verification_failed") == ALARMED


def test_a_clock_that_is_off_is_told_when_that_lasts(mongodb_uri: str) -> None:
    """This machine's runs ahead of the server's for two minutes, and is put right."""
    with watching(mongodb_uri) as watch:
        watch.look(times=4)
        assert watch.told("clock_offset") == []
        watch.look(times=2)
        watch.look(-6 * 30)
        assert watch.told("clock_offset") == ALARMED


def test_users_over_the_same_budget_are_told_in_one_post_and_one_mail(mongodb_uri: str) -> None:
    """Twenty-five of them, the first twenty by name."""
    with SmtpReceiver() as mails, AuditLogger() as audit:
        settings: Any = {
            "budgets": {"user": {"*": 1}},
            "alert_smtp": f"smtp://127.0.0.1:{mails.port}",
            "alert_email_to": "ops@example.org",
            "alert_email_from": "affidavit@example.org",
        }
        for number in range(25):
            with audit.call(provider="p", user_id=f"u{number:02}") as call:
                call.complete(text="x", cost_usd=f"{1 + number / 10}")
        with watching(mongodb_uri, settings) as watch:
            watch.look()
            assert watch.told("budget_user") == ALARMED[:1]
            (body,) = [json.loads(posted.body) for posted in watch.receiver.posted]
            (mail,) = mails.mails
            watch.look(31 * 86_400)
            assert watch.told("budget_user") == ALARMED
    assert (body["count"], len(body["alerts"]), body["subject"]) == (25, 20, "")
    assert body["alerts"][0]["subject"] == "u24"
    assert "and 24 more" in mail["Subject"]
    assert "and 5 more" in mail.get_content()


def test_a_budget_is_told_at_80_and_at_100_percent_until_the_month_is_over(
    mongodb_uri: str, database: Log
) -> None:
    """Of users and departments; the ledger does not say which user."""
    budgets = {"user": {"*": 100, "ana": 10}, "department": {"research": 10}}
    with watching(mongodb_uri, {"budgets": budgets}) as watch, AuditLogger() as audit:
        with audit.context(department="research"):
            record(audit, cost_usd="7.99")
            watch.look()
            assert watch.told("budget_user") == []
            record(audit, cost_usd="0.01")
            watch.look(300)
            record(audit, cost_usd="2")
            watch.look(300)
            watch.look(31 * 86_400)
        expected = [("firing", "warning"), ("level", "critical"), ("resolved", "critical")]
        assert watch.told("budget_user", "ana") == expected
        assert watch.told("budget_department", "research") == expected
    noted = database["llm_audit_ledger"].find({"details.rule": "budget_user"})
    assert {each["details"]["subject"] for each in noted} == {"[withheld]"}


def test_a_security_event_of_high_severity_is_told_at_once(mongodb_uri: str) -> None:
    """One of low severity is not."""
    with watching(mongodb_uri) as watch, AuditLogger() as audit:
        audit.security_event(kind="jailbreak", severity="high", user_id="eve")
        audit.security_event(kind="odd", severity="low", user_id="eve")
        watch.look()
        watch.look(3700)
        assert watch.told("security_events") == ALARMED
        assert watch.told("security_events", "jailbreak") == ALARMED


def test_slow_operations_are_told_from_the_profiler_where_it_is_on(
    mongodb_uri: str, database: Log
) -> None:
    """A question that takes 80 ms."""
    with AuditLogger() as audit:
        record(audit)
    database.command("profile", 1, slowms=50)
    try:
        with watching(mongodb_uri) as watch:
            watch.look()
            list(database["llm_audit"].find({"$where": "sleep(80) || true"}).limit(1))
            watch.look(60)
            watch.look(310)
            assert watch.told("slow_operations") == WARNED
    finally:
        database.command("profile", 0)


def test_a_database_that_is_away_is_told_from_memory_and_noted_when_it_is_back(
    tmp_path: Path,
) -> None:
    """After a minute; the ledger then has the times at which it was so."""
    with Mongod.start() as server, Proxy(int(server.address.rpartition(":")[2])) as line:
        uri = through(line, server.database_uri("wadm")) + "&serverSelectionTimeoutMS=300"
        with watching(uri) as watch:
            watch.look()
            line.refuse()
            watch.look()
            assert watch.told("store_unreachable") == []
            watch.look(times=4)
            assert watch.told("store_unreachable", "host-1") == ALARMED[:1]
            line.heal()
            until(lambda: watch.look(1).reached, "the store", 20)
            watch.look(1)
            assert watch.told("store_unreachable") == ALARMED
        with server.client() as client:
            assert ledger(client["wadm"], "store_unreachable") == [
                ("alert_firing", "critical"),
                ("alert_resolved", "critical"),
            ]


def test_a_server_that_stands_still_holds_the_monitor_up_for_seconds_only(
    private_mongod: Mongod,
) -> None:
    """Its connections stay open and nothing answers: that is told, too."""
    with watching(private_mongod.database_uri("wadm")) as watch:
        watch.look()
        private_mongod.freeze()
        try:
            began_s = time.monotonic()
            assert not watch.look().reached
            assert time.monotonic() - began_s < 30
            watch.look(40, times=2)
            assert watch.told("store_unreachable") == ALARMED[:1]
        finally:
            private_mongod.thaw()
        until(lambda: watch.look(1).reached, "the store", 60)
        watch.look(1)
        assert watch.told("store_unreachable") == ALARMED


@pytest.mark.serial
def test_the_command_tells_of_a_server_that_stands_still_while_it_does(
    private_mongod: Mongod,
) -> None:
    """With looks half a minute apart: after ten seconds without an answer, and when it is back."""
    away = {"store_unreachable": {"critical": 0, "for_s": 10}}
    with HttpReceiver() as receiver, _daemon(
        receiver,
        AFFIDAVIT_MONGODB_URI=private_mongod.database_uri("wadm"),
        AFFIDAVIT_MONITORING_THRESHOLDS=json.dumps(away),
    ) as daemon:  # fmt: skip
        assert _line(daemon)["acting"]
        time.sleep(1)
        frozen_s = time.monotonic()
        private_mongod.freeze()
        try:
            until(lambda: bool(_told_of(receiver, "store_unreachable")), "the notice", 60)
            assert time.monotonic() - frozen_s < 25
        finally:
            private_mongod.thaw()
        until(
            lambda: _told_of(receiver, "store_unreachable") == ["firing", "resolved"], "its end", 30
        )


def _told_of(receiver: HttpReceiver, rule: str) -> list[str]:
    bodies = [json.loads(posted.body) for posted in list(receiver.posted)]
    return [body["what"] for body in bodies if body["rule"] == rule]


@contextmanager
def _daemon(receiver: HttpReceiver, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """`affidavit monitor` as a service, which posts to this receiver."""
    environment = {
        **os.environ,
        "AFFIDAVIT_ALERT_WEBHOOKS": receiver.url(),
        "AFFIDAVIT_ALERT_WEBHOOK_SECRET": SECRET,
        "AFFIDAVIT_ALERT_PRIVATE_ADDRESSES": "true",
        **settings,
    }
    daemon = subprocess.Popen(
        [sys.executable, "-m", "affidavit.cli", "monitor", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield daemon
    finally:
        daemon.kill()
        daemon.communicate(timeout=20)


def test_a_right_that_is_taken_away_is_told_as_missing_data(mongodb_uri: str) -> None:
    """What was known once, and has not been for ten minutes."""
    from affidavit.errors import StoreRefused
    from affidavit.store.mongo.monitoring import MongoMonitor

    with watching(mongodb_uri) as watch, pytest.MonkeyPatch.context() as taken:
        watch.look()

        def refused(_: object) -> Any:
            msg = "No right to it."
            raise StoreRefused(msg)

        taken.setattr(MongoMonitor, "server", refused)
        watch.look(60, times=9)
        assert watch.told("no_data") == []
        watch.look(60, times=3)
        assert watch.told("no_data", "server") == WARNED[:1]
        taken.undo()
        watch.look(310)
        assert watch.told("no_data", "server") == WARNED


# -- delivery, restarts, several processes ---------------------------------------------------------


def test_a_notice_is_tried_again_until_it_arrives_and_then_no_more(mongodb_uri: str) -> None:
    """The same id each time; resolved only after firing was taken."""
    with watching(mongodb_uri) as watch, AuditLogger() as audit:
        watch.receiver.statuses[:] = [503, 500]
        audit.security_event(kind="k", severity="critical")
        watch.look()
        watch.look(45)
        watch.look(130)
        watch.look(3700, times=2)
        assert len(set(watch.ids[:3])) == 1
        assert watch.told("security_events") == [("firing", "critical")] * 3 + ALARMED[1:]


def test_what_cannot_be_delivered_is_given_up_and_kept_in_the_history(mongodb_uri: str) -> None:
    """A receiver that refuses for good, and one that never answers."""
    settings = {"monitoring_thresholds": OTHERS_OFF}
    with watching(mongodb_uri, settings) as watch, AuditLogger() as audit:
        watch.receiver.statuses[:] = [410, *[500] * 100]
        audit.security_event(kind="one", severity="critical")
        watch.look()
        audit.security_event(kind="two", severity="critical")
        watch.look(61)
        watch.look(901, times=12)
        assert run(["alerts", "history", "--since", "7d", "--json"]) == 0
        history = watch.store.history(datetime.now(UTC) - timedelta(days=1), 1000)
        lost = [entry for entry in history if entry["what"] == "undelivered"]
        fired = [entry for entry in lost if entry["was"] == "firing"]
        assert [(entry["subject"], entry["tries"]) for entry in fired][::-1] == [
            ("one", 1),
            ("two", 12),
        ]
        assert all("webhook" in entry["target"] for entry in lost)


def test_an_alert_survives_the_monitors_restart_and_is_not_told_twice(mongodb_uri: str) -> None:
    """The state is in the store; the second process goes on from it."""
    with AuditLogger() as audit:
        audit.security_event(kind="k", severity="high")
    with watching(mongodb_uri) as first:
        first.look()
        first.monitor.close()
        assert first.told("security_events") == ALARMED[:1]
    with watching(mongodb_uri) as second:
        second.look(times=3)
        assert second.told("security_events") == []
        second.look(3700)
        assert second.told("security_events") == ALARMED[1:]


def test_a_silence_by_the_command_holds_notices_back_and_the_ledger_has_all(
    mongodb_uri: str, database: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """And it has who silenced it."""
    with watching(mongodb_uri) as watch, AuditLogger() as audit:
        arguments = ["alerts", "silence", "security_events", "--for", "1h", "--reason", "a drill"]
        assert run(arguments) == 0
        audit.security_event(kind="drill", severity="high")
        watch.look(times=2)
        assert watch.told("security_events") == []
        capsys.readouterr()
        assert run(["alerts", "list", "--firing"]) == 1
        assert "a drill" in capsys.readouterr().out
    assert ledger(database, "security_events") == [("alert_firing", "critical")]
    noted = database["llm_audit_ledger"].find_one({"event_type": "alert_silenced"})
    assert noted is not None
    assert (noted["details"]["reason"], noted["details"]["action"]) == ("a drill", "add")
    assert noted["actor"]["os_user"]


def test_the_command_sends_a_test_to_every_target_and_says_which_failed(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A post, a mail and a log line; exit code 1 where one did not take it."""
    with HttpReceiver() as hooks, SmtpReceiver() as mails:
        settings = {
            "WEBHOOKS": hooks.url("/t0ken"),
            "WEBHOOK_SECRET": SECRET,
            "PRIVATE_ADDRESSES": "true",
            "SMTP": f"smtp://127.0.0.1:{mails.port}",
            "EMAIL_TO": "ops@example.org",
            "EMAIL_FROM": "affidavit@example.org",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"AFFIDAVIT_ALERT_{name}", value)
        assert run(["alerts", "test"]) == 0
        assert json.loads(hooks.posted[0].body)["type"] == "affidavit.test"
        assert mails.mails[0]["Subject"].startswith("[TEST] alerts of ")
        hooks.statuses.append(500)
        assert run(["alerts", "test"]) == 1
        assert run(["config"]) == 0
    shown = capsys.readouterr()
    assert "answered with status 500" in shown.out
    assert "t0ken" not in shown.out + shown.err
    assert SECRET not in shown.out + shown.err


def test_a_test_says_nothing_of_tries_that_do_not_come(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sends once; that an alert would be tried again stands beside it."""
    with HttpReceiver() as gone:
        url = gone.url("/t0ken")
    monkeypatch.setenv("AFFIDAVIT_ALERT_WEBHOOKS", url)
    monkeypatch.setenv("AFFIDAVIT_ALERT_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("AFFIDAVIT_ALERT_PRIVATE_ADDRESSES", "true")
    assert run(["alerts", "test"]) == 1
    shown = capsys.readouterr()
    assert "does not answer" in shown.out
    assert "again" not in shown.out
    assert "A test is sent once" in shown.err
    with HttpReceiver(statuses=[410]) as refusing:
        monkeypatch.setenv("AFFIDAVIT_ALERT_WEBHOOKS", refusing.url("/t0ken"))
        assert run(["alerts", "test"]) == 1
    assert "again" not in capsys.readouterr().err  # nor would an alert be


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"WEBHOOKS": "https://hooks.example.org/t0ken"}, "alert_webhook_secret"),
        ({"WEBHOOKS": "https://169.254.169.254/x", "WEBHOOK_SECRET": SECRET}, "link-local"),
        ({"WEBHOOKS": "hooks.example.org", "WEBHOOK_SECRET": SECRET}, "https://host/path"),
        ({"EMAIL_TO": "ops@example.org"}, "needs alert_smtp"),
        ({"SMTP": "mail.example.org"}, "alert_smtp must be"),
    ],
)
def test_the_list_names_a_mistake_in_the_settings_of_targets(
    mongodb_uri: str,
    settings: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Beside the alerts, which are shown all the same; exit code 1, and no secret."""
    for name, value in settings.items():
        monkeypatch.setenv(f"AFFIDAVIT_ALERT_{name}", value)
    assert run(["alerts", "list"]) == 1
    shown = capsys.readouterr()
    assert "cannot be delivered with these settings" in shown.err
    assert said in shown.err
    assert "write_latency_p95" in shown.out
    assert "t0ken" not in shown.err
    assert run(["alerts", "list", "--json"]) == 1
    assert said in json.loads(capsys.readouterr().out)["targets_mistake"]


def test_the_status_says_who_watches_and_the_program_of_a_service_without_a_name(
    mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody; then a monitor, with what fires; then nobody any more."""
    with AuditLogger() as audit:
        audit.security_event(kind="k", severity="high")
    run(["status"])
    shown = capsys.readouterr().out
    assert "monitor: nobody watches this log; `affidavit monitor` does" in shown
    assert os.path.basename(sys.argv[0]) in shown  # noqa: PTH119 - argv is text
    with watching(mongodb_uri) as watch:
        watch.look()
        run(["status", "--json"])
        told = json.loads(capsys.readouterr().out)["monitor"]
        assert (told["firing"], bool(told["by"]), bool(told["looked_at"])) == (1, True, True)
        watch.monitor.close()
    run(["status"])
    assert "monitor: nobody watches at the moment" in capsys.readouterr().out


def test_a_silence_is_ended_early_by_its_name(
    mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it held back is told then; one that has ended cannot be ended."""
    with watching(mongodb_uri) as watch, AuditLogger() as audit:
        assert run(["alerts", "silence", "*", "--for", "1h", "--json"]) == 0
        name = json.loads(capsys.readouterr().out)["name"]
        audit.security_event(kind="k", severity="high")
        watch.look()
        assert watch.told("security_events") == []
        assert run(["alerts", "silence", "--end", name]) == 0
        watch.look()
        assert watch.told("security_events") == ALARMED[:1]
        assert run(["alerts", "silence", "--end", name]) == 2
        assert run(["alerts", "silence", "no_such_rule"]) == 2
        assert run(["alerts", "silence", "*", "--for", "900d"]) == 2


def test_a_process_that_stands_by_says_so_and_who_acts(
    mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once when it is asked once, and as a service at its start."""
    said = "Another process acts (somebody:1); this one stands by"
    with open_log(mongodb_uri, AuditConfig()) as log:
        held = alerts_of(log).take("somebody:1", 600)
        assert held is not None
        assert run(["monitor", "--once"]) == 0
        assert said in capsys.readouterr().out
        command = [sys.executable, "-m", "affidavit.cli", "monitor"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
            assert service.stderr is not None
            lines = [service.stderr.readline() for _ in range(2)]
            service.terminate()
        assert "Watching" in lines[0]
        assert said in lines[1]


@pytest.mark.serial
@pytest.mark.timeout(300)
def test_of_two_processes_one_tells_and_the_other_takes_over_when_it_is_killed(
    mongodb_uri: str, tmp_path: Path
) -> None:
    """Two daemons, one event after the other, a kill between them: each told once.

    The kill comes when the delivery is noted; before that a notice would be sent again, on purpose.
    """
    with (
        HttpReceiver() as receiver,
        AuditLogger() as audit,
        open_log(mongodb_uri, AuditConfig()) as log,
    ):
        record(audit)
        settings = {
            **os.environ,
            "AFFIDAVIT_MONITOR_EVERY_S": "5",
            "AFFIDAVIT_MONITORING_THRESHOLDS": json.dumps(OTHERS_OFF),
            "AFFIDAVIT_ALERT_WEBHOOKS": receiver.url(),
            "AFFIDAVIT_ALERT_WEBHOOK_SECRET": SECRET,
            "AFFIDAVIT_ALERT_PRIVATE_ADDRESSES": "true",
        }
        daemons = [
            subprocess.Popen(
                [sys.executable, "-m", "affidavit.cli", "monitor", "--json"],
                env=settings,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        try:
            lines = [_line(daemon) for daemon in daemons]
            assert sorted(line["acting"] for line in lines) == [False, True]
            acting = [line["acting"] for line in lines].index(True)
            audit.security_event(kind="one", severity="high")
            until(lambda: bool(receiver.posted), "the first notice", 90)
            until(lambda: not (alerts_of(log).peek()[0] or {}).get("due"), "the note of it", 30)
            daemons[acting].kill()
            audit.security_event(kind="two", severity="high")
            until(lambda: len(receiver.posted) > 1, "the second notice", 110)
            time.sleep(6)
        finally:
            for daemon in daemons:
                daemon.terminate()
                daemon.communicate(timeout=20)
    told = [(b["subject"], b["what"]) for b in (json.loads(p.body) for p in receiver.posted)]
    assert told == [("one", "firing"), ("two", "firing")]


def _line(daemon: subprocess.Popen[str]) -> dict[str, Any]:
    assert daemon.stdout is not None
    found: dict[str, Any] = json.loads(daemon.stdout.readline())
    return found


def test_a_process_that_lost_its_lease_changes_nothing(mongodb_uri: str) -> None:
    """It was stopped while another took over; its fence is older."""
    with open_log(mongodb_uri, AuditConfig()) as log:
        store = alerts_of(log)
        held = store.take("a", 0.2)
        assert held is not None
        assert store.take("b", 60) is None
        time.sleep(0.3)
        after = store.take("b", 60)
        assert after is not None
        assert after.fence == held.fence + 1
        assert not store.save("a", held.fence, {"alerts": [1]}, 60)
        assert store.save("b", after.fence, {"alerts": []}, 60)
        assert store.peek() == ({"alerts": []}, "b")
        store.release("b", after.fence)
        assert store.take("a", 60) is not None


def test_history_is_pruned_by_age(mongodb_uri: str) -> None:
    """After 90 days; the ledger keeps what it has."""
    with watching(mongodb_uri) as watch, AuditLogger() as audit:
        audit.security_event(kind="k", severity="high")
        watch.look()
        since = datetime.now(UTC) - timedelta(days=1)
        assert [entry["what"] for entry in watch.store.history(since, 100)] == ["firing"]
        watch.look(91 * 86_400)
        kept = watch.store.history(since, 100)
        assert [e["what"] for e in kept if e["rule"] == "security_events"] == ["resolved"]


def test_the_role_for_monitoring_is_enough_and_the_readers_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a server with access control; a reader may not silence."""
    with Mongod.start(auth=True) as server:
        root = server.uri_for(server.user or "", server.password or "", "wadm")
        monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", root)
        assert run(["setup", "--roles"]) == 0
        with server.client() as client:
            for role in ("monitor", "reader"):
                client["wadm"].command("createUser", role, pwd="pw", roles=[f"llm_audit_{role}"])
        with AuditLogger(root) as audit:
            audit.security_event(kind="k", severity="high")
        one, other = (
            server.uri_for(role, "pw", "wadm", auth_source="wadm") for role in ("monitor", "reader")
        )
        assert run(["monitor", "--once", "--uri", one]) == 1
        assert run(["alerts", "silence", "pool_use", "--uri", one]) == 0
        capsys.readouterr()
        assert run(["alerts", "list", "--firing", "--json", "--uri", other]) == 1
        assert json.loads(capsys.readouterr().out)["alerts"][0]["rule"] == "security_events"
        assert run(["alerts", "silence", "pool_use", "--uri", other]) == 4
        assert run(["monitor", "--once", "--uri", other]) == 4


def test_a_look_at_an_idle_log_costs_less_than_a_command_a_second(
    mongodb_uri: str, database: Log
) -> None:
    """All that is asked in half an hour, with budgets, plans and the questions between looks."""
    with AuditLogger() as audit:
        record(audit)
    commands: list[str] = []

    class Counter(CommandListener):
        def started(self, event: Any) -> None:
            commands.append(event.command_name)

        def succeeded(self, event: Any) -> None:
            """Counted when it started."""

        def failed(self, event: Any) -> None:
            """Counted when it started."""

    with (
        MongoClient[Any](mongodb_uri, event_listeners=[Counter()], tz_aware=True) as client,
        watching(client[database.name], {"budgets": {"user": {"*": 5}}}) as watch,
    ):
        watch.look()
        commands.clear()
        began_s = time.process_time()
        watch.run(1800)
        used_s = time.process_time() - began_s
    print(f"{len(commands) / 1800:.2f} commands/s, {100 * used_s / 1800:.3f} % of a core")
    assert len(commands) < 1800
    assert used_s < 0.01 * 1800


def test_without_a_database_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, with exit code 3."""
    monkeypatch.setenv(
        "AFFIDAVIT_MONGODB_URI", "mongodb://127.0.0.1:9/wadm?serverSelectionTimeoutMS=200"
    )
    assert run(["monitor", "--once"]) == 3
    assert issubclass(AffidavitError, Exception)
