"""The demonstration as a user runs it: a command, an outage, and a count that must match."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pymongo.uri_parser import parse_uri

from affidavit.demo.mongod import Mongod

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.serial, pytest.mark.timeout(300)]
COMMAND = Path(sys.executable).with_name("affidavit")
DEMO = ("demo", "--llm", "canned")
INTERRUPTIBLE = (  # a shell's background jobs, and all that they start, ignore SIGINT
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def run(
    *arguments: str, directory: Path, more: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], str]:
    """Run ``affidavit demo --json``: exit code, report, and what it said on the way."""
    ran = subprocess.run(
        [COMMAND, "demo", "--llm", "canned", "--json", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(directory), **(more or {})},
        cwd=directory,
    )
    try:
        report = json.loads(ran.stdout)
    except ValueError:
        pytest.fail(f"no report, exit code {ran.returncode}: {ran.stdout}\n{ran.stderr}")
    return ran.returncode, report, ran.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str, Path]:
    """One run for the module, with a server of its own that is killed in the middle."""
    directory = tmp_path_factory.mktemp("demo")
    return (*run("--pairs", "10", directory=directory), directory)


Ran = tuple[int, dict[str, Any], str, Path]


@pytest.mark.requirement("R1", "R13")
def test_it_leaves_the_console_running_and_prints_the_way_in(tmp_path: Path) -> None:
    """Whoever follows the link sees the demo's calls; Ctrl-C ends it all."""
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, COMMAND, *DEMO, "--serve", "--pairs", "0"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            cwd=tmp_path,
        )
    try:
        link, until_s = None, time.monotonic() + 200
        while link is None:
            printed = (tmp_path / "out").read_text("utf-8")
            link = re.search(r"http\S+/login/first\?key=(\S+)", printed)
            assert process.poll() is None, printed
            assert time.monotonic() < until_s, printed
            time.sleep(0.2)
        url, _, path = link[0].partition("/login/first")
        with httpx.Client(base_url=url, follow_redirects=True, timeout=30) as browser:
            assert path
            assert browser.post("/login/first", data={"key": link[1]}).is_success
            page = browser.get("/calls")
            assert page.is_success
            assert "canned" in page.text
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
    assert code == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")


@pytest.mark.requirement("R1", "R6", "R8")
def test_everything_called_is_stored_though_mongod_was_killed(demo: Ran) -> None:
    """Two records for each call and one for each event, each exactly once, and none lost."""
    code, report, said, _ = demo
    assert (code, report["problems"]) == (0, []), said
    called, stored = report["called"], report["stored"]
    assert stored["intents"] == stored["outcomes"] == called["model_calls"] > 0
    assert stored["rate_limit_exceeded"] == called["rate_limited"] > 0
    assert stored["security_event"] == called["refused"] > 0
    assert report["audit"]["lost"] == 0


@pytest.mark.requirement("R1")
def test_failed_calls_are_recorded_as_failed(demo: Ran) -> None:
    """A provider's 500, its rate limit, a broken line and a time-out are outcomes too."""
    _, report, _, _ = demo
    failed = {row["model"]: row["failed"] for row in report["by_model"] if row["failed"]}
    assert sum(failed.values()) == report["called"]["failed"] > 0
    assert all(model.startswith("fault-") for model in failed)


@pytest.mark.requirement("R1")
def test_streams_that_were_left_are_recorded_as_aborted(demo: Ran) -> None:
    """With both SDKs: what arrived, and an estimate of what it cost."""
    _, report, _, _ = demo
    aborted = [row for row in report["by_model"] if row["aborted"]]
    assert sum(row["aborted"] for row in aborted) == report["called"]["left"] > 0
    assert {row["provider"] for row in aborted} == {"openai", "anthropic"}


@pytest.mark.requirement("R1")
def test_calls_past_the_sdks_are_caught_by_the_guard(demo: Ran) -> None:
    """Each leaves a security event, and no call through an SDK does."""
    _, report, _, _ = demo
    assert report["stored"]["unaudited_egress"] == report["called"]["unaudited"] > 0


@pytest.mark.requirement("R1")
def test_limits_of_the_providers_have_records_of_their_own(demo: Ran) -> None:
    """Beside the failed outcome of the call."""
    _, report, _, _ = demo
    assert report["stored"]["provider_limit"] == report["called"]["provider_limited"] > 0


@pytest.mark.requirement("R6")
def test_the_users_are_served_during_the_outage(demo: Ran) -> None:
    """Their records wait in the spool, and are replayed when the database is back."""
    _, report, _, _ = demo
    outage = report["outage"]
    assert outage["answered_meanwhile"] == outage["requests_meanwhile"] > 0
    assert outage["spooled_at_the_end"] > 0
    assert report["audit"]["replayed"] >= outage["spooled_at_the_end"]
    assert report["audit"]["spooled"] == 0


@pytest.mark.requirement("R13", "R22")
def test_costs_and_overhead_are_reported(demo: Ran) -> None:
    """Costs are exact, and the overhead has an interval and a method."""
    _, report, _, _ = demo
    costs = [Decimal(row["cost_usd"]) for row in report["by_model"] if not row["failed"]]
    assert costs
    assert all(cost > 0 for cost in costs)
    overhead = report["overhead"]
    assert overhead["added_low_ms"] <= overhead["added_ms"] <= overhead["added_high_ms"]
    assert overhead["method"]


@pytest.mark.requirement("R3")
def test_the_last_calls_are_shown_with_their_users(demo: Ran) -> None:
    """The view joins what was asked and what came of it."""
    _, report, _, _ = demo
    calls = report["last_calls"]
    assert [call["time"] for call in calls] == sorted((c["time"] for c in calls), reverse=True)
    assert all(call["user_id"] and call["department"] for call in calls)


def test_nothing_is_left_behind(demo: Ran) -> None:
    """No server listens any more, and the temporary files are gone."""
    _, report, _, directory = demo
    host, port = parse_uri(report["mongodb"])["nodelist"][0]
    with socket.socket() as probe:
        assert probe.connect_ex((host, port)) != 0
    assert list(directory.iterdir()) == []


@pytest.mark.requirement("R20")
def test_an_edited_cost_and_a_deleted_record_are_named(demo: Ran) -> None:
    """Each finding belongs to what was done, with call, user and cost, and there is no other."""
    _, report, _, _ = demo
    done = report["tampering"]
    assert (done["clean_before"], done["problems"], done["left_out"]) == (True, [], "")
    acts = done["acts"]
    assert [(act["what"], act["found_as"]) for act in acts] == [
        ("edited", "altered"),
        ("deleted", "missing"),
    ]
    assert Decimal(acts[0]["cost_now_usd"]) * 100 == Decimal(acts[0]["cost_usd"]) > 0
    assert all(act["call_id"] and act["user_id"] and act["cost_usd"] for act in acts)
    assert acts[0]["call_id"] != acts[1]["call_id"]
    assert done["leaves"] >= report["stored"]["records"]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """One run against a server of the user's, which goes on afterwards."""
    directory = tmp_path_factory.mktemp("given")
    state = {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
    with Mongod.start() as server:
        pid = server.pid
        arguments = ("--uri", server.database_uri("trading"), "--pairs", "0")
        code, report, said = run(*arguments, directory=directory, more=state)
        assert (code, report["problems"], server.pid) == (0, [], pid), said
        yield server, report, directory


Given = tuple[Mongod, dict[str, Any], Path]


@pytest.mark.requirement("R2", "R6")
def test_a_mongodb_of_the_users_is_used_and_left_running(given: Given) -> None:
    """Only the line to it is cut; afterwards it holds what was called."""
    server, report, _ = given
    assert "cut" in report["outage"]["what"]
    assert report["outage"]["spooled_at_the_end"] > 0
    with server.client() as client:
        query = {"environment": report["environment"]}
        assert client.trading.llm_audit.count_documents(query) == report["stored"]["records"]


@pytest.mark.requirement("R20")
def test_a_log_of_the_users_verifies_after_it_was_tampered_with(given: Given) -> None:
    """Both were found and put back, and the command that was named finds nothing wrong."""
    server, report, directory = given
    done = report["tampering"]
    assert [act["found_as"] for act in done["acts"]] == ["altered", "missing"]
    assert done["put_back"]
    command = [*done["command"].split(), "--uri", server.database_uri("trading"), "--json"]
    ran = subprocess.run(
        [COMMAND, *command[1:]], capture_output=True, text=True, check=False, cwd=directory
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["key_pinned_by"] == "checkpoint"
    assert [path.suffix for path in directory.iterdir()] == [".checkpoint"]


def test_a_wrong_address_is_refused_in_words(tmp_path: Path) -> None:
    """The text says what to do, and no password is in it."""
    uri = "mongodb://ana:s3cret@127.0.0.1:1/?serverSelectionTimeoutMS=200"
    ran = subprocess.run(
        [COMMAND, "demo", "--uri", uri, "--llm", "canned"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 3
    assert "does not answer" in ran.stdout + ran.stderr
    assert "s3cret" not in ran.stdout + ran.stderr
