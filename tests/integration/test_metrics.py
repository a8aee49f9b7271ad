"""Metrics, their history and the screen of them, on a real database."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from affidavit import AuditLogger
from affidavit.cli import run
from affidavit.config import AuditConfig
from affidavit.demo.mongod import Mongod
from affidavit.monitor.advice import judge_plans
from affidavit.monitor.history import History
from affidavit.monitor.metrics import ALL, IMPACT, REQUIRED, SIZE, WRITES
from affidavit.monitor.reading import Looker, Unknown
from affidavit.monitor.sample import sample
from affidavit.store import monitor_of, open_log
from tests.support.promtool import promtool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database
    from pymongo.monitoring import (
        CommandFailedEvent,
        CommandStartedEvent,
        CommandSucceededEvent,
    )

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R25")

NAME = "wadm"
PASSWORD = "a pass/word"


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Log:
    """A log with ten calls, its address in the environment, an empty working directory."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    record(database, 10)
    return database


def record(target: Any, calls: int) -> None:
    """Record some calls."""
    with AuditLogger(target) as audit:
        for number in range(calls):
            with audit.call(provider="anthropic", model="m", user_id=f"u{number % 3}") as call:
                call.complete(text="Sideways.", cost_usd="0.01")


def test_promtool_reads_what_the_command_prints(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it, from a real log."""
    assert run(["metrics", "--over", "0.2", "--names", "base"]) == 0
    printed = capsys.readouterr().out
    checked = promtool("check", "metrics", text=printed)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    [calls] = re.findall(r"^affidavit_requests_last_day\{.*\} (\d+)$", printed, re.MULTILINE)
    assert calls == "10"


def test_each_of_the_five_has_a_value_or_a_reason(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every metric of the list stands in the JSON."""
    assert run(["metrics", "--over", "0.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["metrics"]
    assert set(told) == {metric.name for metric in ALL}
    for name in REQUIRED:
        assert told[name]["value"] is not None or told[name]["unknown"]
    assert told[SIZE]["value"] > 0
    assert told["affidavit_records_lost_total"]["value"] == 0
    assert told["affidavit_cost_last_day_dollars"]["value"] == pytest.approx(0.1)


def test_writes_a_minute_are_counted_from_heartbeats(log: Log) -> None:
    """Twenty records between two heartbeats of a process that has stopped since."""
    with open_log(log, AuditConfig()) as opened:
        looker = Looker(monitor_of(opened), opened.seals)
        made = sample(None, looker.take())
    assert made.one(WRITES) in {0, 20}  # 0 where its first heartbeat came late
    assert made.one("affidavit_records_stored_total") == 20


def test_a_heartbeat_tells_of_latency_spool_and_pool(log: Log) -> None:
    """What monitoring cannot see from outside."""
    newest = log.llm_audit_writers.find_one({"state": "stopped"})
    assert newest is not None
    assert newest["latency_recent_ms"]["p95"] > 0
    assert newest["oldest_spooled_ms"] == 0
    assert set(newest["pool"]) == {"in_use", "size"}
    assert newest["pool"]["size"] >= 2


# -- history -------------------------------------------------------------------------------------


def test_a_sample_counts_once_however_often_it_is_kept(log: Log) -> None:
    """An answer that was lost on its way is no second sample."""
    at = datetime.now(UTC)
    with open_log(log, AuditConfig()) as opened:
        store = monitor_of(opened)
        for _ in range(3):
            store.keep(at, {WRITES: 5.0}, (30,))
        store.keep(at + timedelta(milliseconds=5), {WRITES: 7.0}, (30,))
        [point] = store.history(WRITES, 30, at - timedelta(minutes=1), at + timedelta(minutes=1))
    assert (point.count, point.low, point.high, point.mean, point.last) == (2, 5, 7, 6, 7)


def test_history_is_coarser_and_shorter_as_it_ages(log: Log) -> None:
    """After a pruning nothing is left that is older than its size of bucket is kept for."""
    now = datetime.now(UTC)
    with open_log(log, AuditConfig()) as opened:
        store = monitor_of(opened)
        for days in (0, 2, 20, 500):
            store.keep(now - timedelta(days=days), {WRITES: 1.0}, (30, 300, 3600))
        removed = History(store).prune(now)
        left = {
            step: len(store.history(WRITES, step, now - timedelta(days=600), now))
            for step in (30, 300, 3600)
        }
    assert removed == 3 + 2 + 1
    assert left == {30: 1, 300: 2, 3600: 3}


def test_the_command_shows_history(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one metric, over a span of time."""
    with open_log(log, AuditConfig()) as opened:
        monitor_of(opened).keep(datetime.now(UTC), {WRITES: 12.5}, (30, 300, 3600))
    assert run(["metrics", "--history", WRITES, "--last", "7d", "--json"]) == 0
    [point] = json.loads(capsys.readouterr().out)["points"]
    assert point["mean"] == 12.5
    assert run(["metrics", "--history", "no_such_metric"]) == 2
    assert "audit_writes_per_minute" in capsys.readouterr().err


# -- what the server withholds -------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[Mongod]:
    """A server with access control, a set-up log, and users with few rights."""
    with Mongod.start(auth=True) as server:
        root = server.uri_for(server.user or "", server.password or "", NAME)
        assert run(["setup", "--roles", "--uri", root]) == 0
        record(root, 3)
        with MongoClient[dict[str, Any]](root) as client:
            for user in ("reader", "monitor"):
                client[NAME].command("createUser", user, pwd=PASSWORD, roles=[f"llm_audit_{user}"])
            seeing = ["llm_audit_monitor", {"role": "clusterMonitor", "db": "admin"}]
            client[NAME].command("createUser", "seeing", pwd=PASSWORD, roles=seeing)
        yield server


def looked(server: Mongod, user: str) -> dict[str, Any]:
    """Every part of a reading by a user."""
    uri = server.uri_for(user, PASSWORD, NAME, auth_source=NAME)
    with open_log(uri, AuditConfig()) as opened:
        looker = Looker(monitor_of(opened), opened.seals)
        return looker.take().parts()


def withheld(parts: dict[str, Any]) -> set[str]:
    """The parts that could not be read; each says why."""
    assert all(len(part.why) > 20 for part in parts.values() if isinstance(part, Unknown))
    return {name for name, part in parts.items() if isinstance(part, Unknown)}


def test_a_reader_sees_heartbeats_and_sums_and_is_told_what_it_does_not_see(
    guarded: Mongod,
) -> None:
    """Sizes, `top`, serverStatus, connections and the profiler are withheld, each in words."""
    parts = looked(guarded, "reader")
    assert withheld(parts) == {"work", "server", "connections", "profiler", "sizes"}
    assert "`top`" in parts["work"].why
    assert "clusterMonitor" in parts["work"].why
    assert "$collStats" in parts["sizes"].why


def test_the_role_for_monitoring_sees_sizes(guarded: Mongod) -> None:
    """And the server's own state with clusterMonitor besides; the profiler is off."""
    assert withheld(looked(guarded, "monitor")) == {"work", "server", "connections", "profiler"}
    assert withheld(looked(guarded, "seeing")) == {"profiler"}


def test_a_collection_that_the_role_does_not_know_is_left_out_of_the_size(
    guarded: Mongod,
) -> None:
    """Its name begins like the log's, and nobody granted anything on it."""
    root = guarded.uri_for(guarded.user or "", guarded.password or "", NAME)
    with MongoClient[dict[str, Any]](root) as client:
        client[NAME].llm_audit_of_somebody.insert_one({})
        try:
            sizes = looked(guarded, "monitor")["sizes"]
        finally:
            client[NAME].drop_collection("llm_audit_of_somebody")
    assert "llm_audit" in {size.collection for size in sizes}
    assert "llm_audit_of_somebody" not in {size.collection for size in sizes}


def test_the_metrics_of_a_reader_say_unknown(
    guarded: Mongod, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command goes on with what there is."""
    uri = guarded.uri_for("reader", PASSWORD, NAME, auth_source=NAME)
    assert run(["metrics", "--over", "0", "--uri", uri]) == 0
    printed = capsys.readouterr().out
    assert f"# {IMPACT} is unknown: The server refuses to tell the time it spends" in printed
    assert 'affidavit_monitor_visible{log="wadm.llm_audit",part="work"} 0' in printed
    assert 'affidavit_requests_last_day{log="wadm.llm_audit"} 3' in printed


def test_the_role_for_monitoring_is_enough_to_keep_history_and_advice(
    guarded: Mongod, capsys: pytest.CaptureFixture[str]
) -> None:
    """It writes what monitoring keeps, and shows indexes with sizes and uses."""
    uri = guarded.uri_for("monitor", PASSWORD, NAME, auth_source=NAME)
    with open_log(uri, AuditConfig()) as opened:
        looker = Looker(monitor_of(opened), opened.seals)
        History(looker.store).keep(sample(None, looker.take()))
        assert judge_plans(looker.store) == []
    assert run(["store", "indexes", "--json", "--uri", uri]) == 0
    told = json.loads(capsys.readouterr().out)
    assert all(index["uses"] is not None and index["size_bytes"] for index in told["indexes"])
    assert "profiler" in " ".join(told["not_seen"])


@pytest.fixture(scope="module")
def managed() -> Iterator[Mongod]:
    """A server that can be told to refuse commands to anybody, as managed services do."""
    with Mongod.start(extra_args=("--setParameter", "enableTestCommands=1")) as server:
        record(server.database_uri(NAME), 3)
        yield server


@contextmanager
def refusing(server: Mongod, *commands: str, **more: Any) -> Iterator[None]:
    """Let the server answer these commands with "no such command"."""
    data = {"failCommands": list(commands), "errorCode": 59, **more}
    with server.client() as client:
        client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
        try:
            yield
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")


def test_what_a_server_refuses_to_anybody_is_said_in_words(
    managed: Mongod, capsys: pytest.CaptureFixture[str]
) -> None:
    """`top`, serverStatus and the profiler; everything else is told, and alerts go on."""
    uri = managed.database_uri(NAME)
    with refusing(managed, "top", "serverStatus", "profile"):
        with open_log(uri, AuditConfig()) as opened:
            parts = Looker(monitor_of(opened), opened.seals).take().parts()
        assert run(["metrics", "--over", "0", "--uri", uri]) == 0
        assert run(["monitor", "--once", "--uri", uri]) == 0
    assert withheld(parts) == {"work", "server", "profiler"}
    assert "to anybody (code 59); managed services and mongos do so" in parts["work"].why
    printed = capsys.readouterr().out
    assert f"# {IMPACT} is unknown: The server refuses to tell the time it spends" in printed
    assert f'{SIZE}{{log="wadm.llm_audit"}}' in printed


def test_statistics_that_a_server_refuses_are_said_in_words(
    managed: Mongod, capsys: pytest.CaptureFixture[str]
) -> None:
    """`$collStats` and `$indexStats`: sizes are unknown, and so are an index's size and uses."""
    uri = managed.database_uri(NAME)
    with refusing(managed, "aggregate", namespace=f"{NAME}.llm_audit"):
        with open_log(uri, AuditConfig()) as opened:
            sizes = Looker(monitor_of(opened), opened.seals).take().parts()["sizes"]
        assert run(["store", "indexes", "--json", "--uri", uri]) == 0
    assert "to tell the sizes of collections ($collStats), to anybody (code 59)" in sizes.why
    told = json.loads(capsys.readouterr().out)
    ours = [index for index in told["indexes"] if index["collection"] == "llm_audit"]
    assert {(index["size_bytes"], index["uses"]) for index in ours} == {(None, None)}
    unused = [each["collection"] for each in told["advice"] if each["kind"] == "unused"]
    assert "llm_audit" not in unused


def test_a_log_on_a_server_of_its_own_is_known_as_such(
    mongodb_uri: str, private_mongod: Mongod, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """By its hosts; in another database of the same server it is not."""
    monkeypatch.setenv("AFFIDAVIT_SEPARATE_DATABASE", "true")
    for own, impact in ((mongodb_uri, None), (private_mongod.uri, 0)):
        monkeypatch.setenv("AFFIDAVIT_AUDIT_URI", f"{own.rstrip('/')}")
        assert run(["metrics", "--over", "0", "--json", "--uri", mongodb_uri]) == 0
        told = json.loads(capsys.readouterr().out)["metrics"][IMPACT]
        if impact is None:
            assert "note" not in told
        else:
            assert (told["value"], "server of its own" in told["note"]) == (0, True)


def test_a_database_that_is_away_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    uri = "mongodb://127.0.0.1:1/wadm?serverSelectionTimeoutMS=200"
    assert run(["metrics", "--uri", uri]) == 3
    assert "does not answer" in capsys.readouterr().err


# -- what monitoring costs -----------------------------------------------------------------------


class Counted(CommandListener):
    """Counts commands of one client."""

    def __init__(self) -> None:
        self.commands = 0

    def started(self, event: CommandStartedEvent) -> None:
        """Count one."""
        self.commands += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing."""


@pytest.mark.serial
@pytest.mark.requirement("R33")
def test_monitoring_an_idle_log_costs_less_than_a_command_a_second(
    private_mongod: Mongod,
) -> None:
    """And less than one percent of a core here and there: an hour of readings, each 30 s."""
    hour_s, every_s = 3600, 30
    counted, at_s = Counted(), 0.0
    uri = f"{private_mongod.uri.rstrip('/')}/{NAME}"
    record(uri, 100)
    client: MongoClient[dict[str, Any]] = MongoClient(uri, tz_aware=True, event_listeners=[counted])
    with client, open_log(client[NAME], AuditConfig()) as opened:
        store = monitor_of(opened)
        start = datetime.now(UTC)
        looker = Looker(
            store,
            opened.seals,
            now=lambda: start + timedelta(seconds=at_s),
            clock_s=lambda: at_s,
        )
        history, before = History(store), looker.take()
        server_us = store.server().cpu_us
        counted.commands, here_s = 0, time.process_time()
        while at_s < hour_s:
            at_s += every_s
            now = looker.take()
            history.keep(sample(before, now))
            before = now
            if at_s % 600 == 0:
                judge_plans(store)
        commands, here_s = counted.commands, time.process_time() - here_s
        server_now_us = store.server().cpu_us
    assert commands / hour_s <= 1.0, commands
    assert here_s / hour_s <= 0.01, here_s
    assert server_us is not None
    assert server_now_us is not None
    assert (server_now_us - server_us) / 1e6 / hour_s <= 0.01


# -- the screen ----------------------------------------------------------------------------------


def heed_interrupts() -> None:
    """In the new process: a shell's background jobs, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_status_watch_draws_metrics_and_ends_by_ctrl_c(log: Log, mongodb_uri: str) -> None:
    """On a terminal: one screen, drawn again, the terminal given back, exit code 0."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "affidavit.cli", "status", "--watch"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment,
        start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as shown:  # fmt: skip
        os.close(follower)
        text = read_until(leader, lambda t: t.count("audit_writes_per_minute") >= 3)
        shown.send_signal(signal.SIGINT)
        text += read_until(leader, lambda _: shown.poll() is not None)
        assert shown.wait(20) == 0
    os.close(leader)
    assert "main_db_impact_percentage" in text
    assert "stopped" in text  # the state of the writer
    assert "Traceback" not in text
    assert text.rfind("\x1b[?1049l") > text.rfind("\x1b[?1049h")  # the screen before is back


def test_status_watch_outlives_a_database_that_is_away(private_mongod: Mongod) -> None:
    """It says so, keeps what was known, and goes on when the database is back."""
    uri = f"{private_mongod.uri.rstrip('/')}/{NAME}?serverSelectionTimeoutMS=500"
    record(uri, 2)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "affidavit.cli", "status", "--watch", "--uri", uri]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment,
        start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as shown:  # fmt: skip
        os.close(follower)
        read_until(leader, lambda t: "audit_writes_per_minute" in t)
        private_mongod.kill()
        assert "does not answer" in read_until(leader, lambda t: "does not answer" in t)
        private_mongod.restart()
        assert is_back(read_until(leader, is_back))
        shown.send_signal(signal.SIGINT)
        read_until(leader, lambda _: shown.poll() is not None)
        assert shown.wait(20) == 0
    os.close(leader)


def is_back(text: str) -> bool:
    """Whether the screen drawn last is whole, and says nothing of a database that is away."""
    last = text.rpartition("Ctrl-C ends this")[2]
    return "affidavit_cost_last_day_dollars" in last and "does not answer" not in last


def read_until(terminal: int, enough: Any, for_s: float = 30.0) -> str:
    """What a terminal shows until something is true."""
    text, end_s = "", time.monotonic() + for_s
    while time.monotonic() < end_s and not enough(text):
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                text += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                break
    return text
