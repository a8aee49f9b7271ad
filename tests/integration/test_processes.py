"""Several processes on one log: uvicorn workers, children of multiprocessing, a read-only disk."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.spool import owner
from tests.support.accounts import Returned, take_account
from tests.support.worker import MODES

if TYPE_CHECKING:
    from pymongo.database import Database

ROOT = Path(__file__).resolve().parents[2]
Log = dict[str, Any]


def surroundings(uri: str, spool: Path, mode: str) -> dict[str, str]:
    """Environment of an application that is configured by variables."""
    variables = {"AFFIDAVIT_MONGODB_URI": uri, "AFFIDAVIT_SPOOL_DIR": str(spool)}
    for name, value in MODES[mode].items():
        variables[f"AFFIDAVIT_{name.upper()}"] = str(value)
    return {**os.environ, **variables}


class Web:
    """Four uvicorn workers on a port of their own."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._log = log.open("wb")
        command = [sys.executable, "-m", "uvicorn", "tests.support.web:app", "--workers", "4"]
        command += ["--host", "127.0.0.1", "--port", "0", "--no-access-log"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=self._log, start_new_session=True
        )
        self.port = 0
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:
            said = log.read_text()
            ready = said.count("Application startup complete")
            found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
            if found and ready == 4:
                self.port = int(found[1])
                return
            assert self._process.poll() is None, said
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    def get(self, count: int) -> list[dict[str, Any]]:
        """Make requests one after the other, each on a connection of its own."""
        found = []
        for _ in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            with contextlib.closing(connection):
                connection.request("GET", "/call")
                found.append(json.loads(connection.getresponse().read()))
        return found

    def load(self, threads: int, count: int) -> list[dict[str, Any]]:
        """Make requests from several threads; returns all answers."""
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(self.get, [count] * threads))
        return [answer for part in parts for answer in part]

    def end(self, number: signal.Signals) -> None:
        """End all of them: politely, or not."""
        if self._process.poll() is None:
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)  # a session of our own: parent and workers
            else:
                self._process.send_signal(number)
        self._process.wait(30)
        self._log.close()


@contextlib.contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[Web]:
    """The workers, killed at the end if they still run."""
    web = Web(environment, log)
    try:
        yield web
    finally:
        web.end(signal.SIGKILL)


def returned(answers: list[dict[str, Any]], *, promised: bool) -> list[Returned]:
    """Answers as calls that returned."""
    return [Returned(answer["call_id"], promised, 0.0, 0.0) for answer in answers]


@pytest.mark.serial
@pytest.mark.requirement("R2", "R6", "R8", "R12")
@pytest.mark.parametrize("mode", ["direct", "high_volume"])
def test_four_workers_write_at_once_and_end_politely(
    database: Database[Log], mongodb_uri: str, tmp_path: Path, mode: str
) -> None:
    """Each has a writer of its own; all calls are there once when the server has stopped."""
    environment = surroundings(mongodb_uri, tmp_path / "spool", mode)
    with running(environment, tmp_path / "web.log") as web:
        answers = web.load(threads=8, count=40)
        web.end(signal.SIGTERM)
        said = (tmp_path / "web.log").read_text()
    account = take_account(database, returned(answers, promised=True), in_flight=0)
    assert account.wrong() == []
    assert account.present == 320
    assert len({answer["pid"] for answer in answers}) == 4, said
    assert database["llm_audit"].distinct("user_id") == ["user_web"]
    assert len(database["llm_audit"].distinct("writer")) == 4
    assert not list(tmp_path.rglob("*.db")), "spools were left over"


@pytest.mark.serial
@pytest.mark.requirement("R6")
@pytest.mark.parametrize("mode", ["direct", "high_volume"])
def test_four_workers_are_killed_and_the_next_four_take_over(
    database: Database[Log], mongodb_uri: str, tmp_path: Path, mode: str
) -> None:
    """Four spools without owners meet four processes that look for some: each is taken once."""
    environment = surroundings(mongodb_uri, tmp_path / "spool", mode)
    promised = mode == "direct"
    with running(environment, tmp_path / "first.log") as web:
        answers = web.load(threads=8, count=20)
        web.end(signal.SIGKILL)
    assert len(list(tmp_path.rglob("*.lock"))) == 4
    with running(environment, tmp_path / "second.log") as web:
        answers += web.load(threads=4, count=10)
        (folder,) = (tmp_path / "spool").iterdir()
        end_s = time.monotonic() + 60
        while len(list(folder.glob("*.lock"))) > 4 and time.monotonic() < end_s:
            time.sleep(0.05)
        web.end(signal.SIGTERM)
    assert owner.orphan_count(folder) == 0
    account = take_account(database, returned(answers, promised=promised), in_flight=8)
    assert account.wrong() == []
    adopted = database["llm_audit_ledger"].count_documents({"event_type": "spool_adopted"})
    assert adopted == 4
    if promised:
        assert account.present == len(answers) == 200


PARENT = """
import json, multiprocessing, sys
from affidavit import AuditLogger

def record(audit, count, ids):
    for _ in range(count):
        with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
            call.complete(text="answer")
        ids.append(call.call_id)

def child(audit, queue):
    ids = []
    record(audit, 25, ids)
    queue.put(ids)

if __name__ == "__main__":
    audit, ids = AuditLogger(), []
    record(audit, 10, ids)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=child, args=(audit, queue)) for _ in range(4)]
    for process in children:
        process.start()
    record(audit, 30, ids)
    for _ in children:
        ids += queue.get(timeout=30)
    for process in children:
        process.join(30)
    print(json.dumps({"ids": ids, "codes": [process.exitcode for process in children]}))
"""


@pytest.mark.requirement("R6", "R12")
@pytest.mark.parametrize("mode", MODES)
def test_children_of_multiprocessing_record_with_the_inherited_logger(
    database: Database[Log], mongodb_uri: str, tmp_path: Path, mode: str
) -> None:
    """Nobody closes anything: parent and children drain when they end, under five names."""
    (tmp_path / "parent.py").write_text(PARENT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::UserWarning", str(tmp_path / "parent.py")],
        env=surroundings(mongodb_uri, tmp_path / "spool", mode),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["codes"] == [0, 0, 0, 0], done.stderr
    ids = [{"call_id": call_id} for call_id in told["ids"]]
    account = take_account(database, returned(ids, promised=True), in_flight=0)
    assert account.wrong() == [], done.stderr
    assert account.present == len(ids) == 140
    assert len(database["llm_audit"].distinct("writer")) == 5
    assert not list(tmp_path.rglob("*.db")), "spools were left over"


READ_ONLY = """
import json, logging, sys
logging.basicConfig(level=logging.WARNING)
from affidavit import AuditLogger, AuditUnavailable

audit = AuditLogger(sys.argv[1])
with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
    call.complete(text="answer")
print(json.dumps(audit.stats().as_dict()))
audit.close()
try:
    AuditLogger(sys.argv[1], on_failure="refuse")
except AuditUnavailable as error:
    print(json.dumps({"refused": str(error)}))
"""


@pytest.mark.requirement("R6")
def test_a_home_that_cannot_be_written_is_a_warning_and_memory(
    database: Database[Log], mongodb_uri: str
) -> None:
    """As in a container with a read-only root: it records, says so, and refuses under refuse."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AFFI", "XDG"))
    }
    environment |= {"HOME": "/proc/nothing", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, mongodb_uri],
        env=environment,
        cwd="/proc",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["spool"], first["stored"], first["lost"]) == ("memory", 2, 0)
    assert "spool directory" in done.stderr
    assert "AFFIDAVIT_SPOOL_DIR" in done.stderr
    assert "on_failure='refuse'" in second["refused"]
    assert database["llm_audit"].count_documents({}) == 2


IMPORTS = """
import sys, threading

class Watch:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread():
            print(name)

from affidavit import AuditLogger
sys.meta_path.insert(0, Watch())
audit = AuditLogger(batch_writes=True, async_writes=True)
for _ in range(20):
    with audit.call(provider="p", model="m", message="x" * 20_000, user_id="u") as call:
        call.complete(text="y" * 20_000, cost_usd="0.1")
audit.flush()
print("stored", audit.stats().stored)
audit.close()
"""


@pytest.mark.requirement("R6")
def test_our_threads_import_no_module(
    database: Database[Log], mongodb_uri: str, tmp_path: Path
) -> None:
    """A fork in the middle of an import leaves its lock held in the child, for ever."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        env=surroundings(mongodb_uri, tmp_path / "spool", "direct"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.splitlines()
    assert said[-1] == "stored 40", done.stderr
    assert [name for name in said if name.startswith(("affidavit", "pymongo", "bson"))] == []
