"""Sealing a real log: the commands, their keys, and what writers do meanwhile."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from affidavit.cli import run
from affidavit.config import AuditConfig
from affidavit.errors import StoreError
from affidavit.integrity.checkpoint import open_checkpoint
from affidavit.integrity.note import Signer, VerifierKey
from affidavit.spool.owner import default_directory
from affidavit.store import connect, connect_seals
from tests.support.sealing import Writer, check_log, sealed_numbers, sealer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from affidavit.sealer.sealing import Sealer
    from affidavit.store.sealing import SealStore

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20", "R21")


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """A database whose address is in the environment; loggers leave sealing to the command."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("AFFIDAVIT_SEAL", "off")
    monkeypatch.chdir(tmp_path)
    return database


@pytest.fixture
def seals(log: Log) -> Iterator[SealStore]:
    """The log's own collections."""
    store = connect_seals(log, AuditConfig())
    yield store
    store.close()


def record(count: int = 3) -> None:
    """Record some calls."""
    with AuditLogger() as audit:
        for _ in range(count):
            with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
                call.complete(text="answer", input_tokens=1, output_tokens=1)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """Run a command with --json and read what it prints."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def key_files() -> list[Path]:
    """What lies where keys lie."""
    return sorted((default_directory() / "keys").glob("*.key*"))


def test_seal_once_seals_everything(
    log: Log, seals: SealStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each stored record, those of the ledger too, has its leaf; a second run finds nothing."""
    record(10)
    said = asked(capsys, "seal", "--once")
    stored = {(d["writer"], d["seq"]) for name in ("llm_audit", "llm_audit_ledger")
              for d in log[name].find()}  # fmt: skip
    assert sealed_numbers(seals).keys() == stored
    assert said["size"] == said["leaves"] == check_log(seals) == len(stored)
    assert (said["gaps"], said["late"], said["refused"]) == (0, 0, 0)
    assert asked(capsys, "seal", "--once")["seals"] == 0
    record(1)
    assert run(["seal", "--once"]) == 0
    assert "leaves in" in capsys.readouterr().out


def test_the_first_seal_makes_the_key(
    log: Log, seals: SealStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that only its owner reads; its public half is the log's identity."""
    record()
    assert run(["seal", "--once"]) == 0
    [path] = key_files()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    identity = seals.identity()
    assert identity is not None
    assert re.fullmatch(r"affidavit/[0-9a-f]{16}", identity["origin"])
    assert identity["vkey"] in capsys.readouterr().err
    shown = asked(capsys, "keys", "show")
    assert (shown["vkey"], shown["private"]) == (identity["vkey"], str(path))
    assert asked(capsys, "keys", "export")["vkey"] == identity["vkey"]
    assert run(["keys", "export", "--private"]) == 2
    assert run(["keys", "export", "--private", "--out", "backup.key"]) == 0
    assert run(["keys", "export", "--private", "--out", "backup.key"]) == 2
    assert Path("backup.key").read_text() == path.read_text()
    assert stat.S_IMODE(Path("backup.key").stat().st_mode) == 0o600
    printed = capsys.readouterr()
    assert "PRIVATE" not in printed.out + printed.err


def test_a_checkpoint_is_a_signed_note(
    log: Log, seals: SealStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed or written as it is, it is checked with the public key alone."""
    assert run(["checkpoint"]) == 1
    assert "affidavit seal --once" in capsys.readouterr().err
    record()
    assert run(["seal", "--once"]) == 0
    vkey = asked(capsys, "keys", "export")["vkey"]
    capsys.readouterr()
    assert run(["checkpoint", "--out", "saved.txt"]) == 0
    assert "saved.txt" in capsys.readouterr().out
    assert run(["checkpoint"]) == 0
    text = capsys.readouterr().out
    assert Path("saved.txt").read_text() == text
    opened = open_checkpoint(text, VerifierKey.parse(vkey)).checkpoint
    assert opened.size == check_log(seals)
    assert asked(capsys, "checkpoint")["size"] == opened.size


def test_a_lost_key_stops_the_sealer(
    log: Log, seals: SealStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """No second one is made; put back from its backup, it goes on."""
    record()
    assert run(["seal", "--once"]) == 0
    [path] = key_files()
    backup = path.read_text()
    path.unlink()
    record()
    capsys.readouterr()
    assert run(["seal", "--once"]) == 1
    told = capsys.readouterr().err
    assert str(path) in told
    assert "backup" in told
    assert key_files() == []
    assert asked(capsys, "keys", "show")["private"] == "not on this host"
    path.write_text(backup)
    assert run(["seal", "--once"]) == 1
    assert "chmod 600" in capsys.readouterr().err
    path.chmod(0o600)
    assert run(["seal", "--once"]) == 0
    assert check_log(seals) > 8


def test_a_swapped_key_stops_the_sealer(
    log: Log, seals: SealStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file or in the environment; nothing is signed by it."""
    record()
    assert run(["seal", "--once"]) == 0
    [path] = key_files()
    right = path.read_text()
    identity = seals.identity()
    assert identity is not None
    wrong = Signer(identity["origin"]).secret_text()
    path.write_text(wrong)
    assert run(["seal", "--once"]) == 1
    assert "not the key of this log" in capsys.readouterr().err
    assert asked(capsys, "keys", "show", code=1)["wrong"]
    path.write_text("nonsense")
    assert run(["seal", "--once"]) == 1
    path.unlink()
    monkeypatch.setenv("AFFIDAVIT_SEAL_KEY", wrong)
    record()
    assert run(["seal", "--once"]) == 1
    told = capsys.readouterr()
    assert "not the key of this log" in told.err
    assert wrong[12:] not in told.err + told.out
    monkeypatch.setenv("AFFIDAVIT_SEAL_KEY", right.strip())
    assert run(["seal", "--once"]) == 0
    assert key_files() == []
    assert check_log(seals) > 8


def test_a_key_is_rotated_inside_the_log(
    log: Log, seals: SealStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old one signs for the new one, the ledger says so, and the old one is of no use then."""
    record()
    assert run(["seal", "--once"]) == 0
    [path] = key_files()
    old = path.read_text()
    said = asked(capsys, "keys", "rotate")
    assert key_files() == [path]
    assert path.read_text() != old
    noted = log.llm_audit_ledger.find_one({"event_type": "key_rotation"})
    assert noted is not None
    assert noted["details"] == {"from": said["from"], "to": said["to"]}
    assert (noted["writer"], noted["seq"]) in sealed_numbers(seals)
    record()
    assert run(["seal", "--once"]) == 0
    assert check_log(seals) > 9
    last = seals.last_seal()
    assert last is not None
    open_checkpoint(last["cp"], VerifierKey.parse(said["to"]))
    shown = asked(capsys, "keys", "show")
    assert (shown["vkey"], shown["rotated"]) == (said["to"], True)
    path.write_text(old)
    assert run(["seal", "--once"]) == 1
    assert "rotated" in capsys.readouterr().err


def test_many_records_are_read_in_order_and_can_be_left(log: Log, seals: SealStore) -> None:
    """A thread asks ahead; it ends with who reads, in the middle too, and its error is theirs."""
    log.llm_audit.insert_many([{"writer": "w", "seq": seq} for seq in range(1500)])
    log.llm_audit_ledger.insert_many([{"writer": "w", "seq": seq} for seq in (1500, 2000)])
    found = [(dest, document["seq"]) for dest, document in seals.records("w", 0, 3000)]
    ledger = [("ledger", 1500), ("ledger", 2000)]
    assert found == [("records", seq) for seq in range(1500)] + ledger
    reading = seals.records("w", 0, 3000)
    assert next(reading)[1]["seq"] == 0
    reading.close()  # type: ignore[attr-defined]
    assert not [t.name for t in threading.enumerate() if "read-ahead" in t.name]
    reading = seals.records("w", 0, 3000)
    next(reading)
    log.llm_audit.drop()
    with pytest.raises(StoreError):
        list(reading)


@pytest.mark.parametrize(
    "garbage",
    [
        {"_id": 10**9},
        {"_id": 10**9, "size": "x", "items": 3, "by": 7, "at": 1, "refused": 2},
        {"_id": 0.5, "items": [{"b": "w:0"}]},
        {"_id": "next", "i0": 0, "n": 1, "items": [{"b": 5}], "size": 9, "cp": "x", "vkey": 1},
        {"_id": "next", "key": 5, "items": [{"gap": 1}]},
    ],
    ids=["far", "far and odd", "between", "next", "next and odd"],
)
def test_garbage_among_the_seals_is_named_and_stops_nothing_with_a_traceback(
    garbage: dict[str, Any],
    log: Log,
    seals: SealStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each command says which document it is, or does its work; a verification finds it."""
    for _ in range(2):
        record()
        assert run(["seal", "--once"]) == 0
    last = seals.last_seal()
    call = log.llm_audit.find_one({"event_type": "llm_request"})
    assert last is not None
    assert call is not None
    name = last["_id"] + 1 if garbage["_id"] == "next" else garbage["_id"]
    log.llm_audit_seals.insert_one({**garbage, "_id": name})
    record()
    newest = name != 0.5
    for number, (command, codes) in enumerate([
        (["seal", "--once"], {1} if newest else {0}),
        (["status"], {0, 1}),
        (["doctor"], {0, 1}),
        (["keys", "show"], {1} if newest else {0}),
        (["checkpoint"], {1} if newest else {0}),
        (["export", "--out", str(tmp_path / "export")], {1}),
        (["prove", str(call["_id"]), "--out", str(tmp_path / "bundle")], {1} if newest else {0}),
        (["anchor"], {0, 1, 2}),
    ]):  # fmt: skip
        capsys.readouterr()
        assert run(command) in codes, (number, command)
        said = capsys.readouterr()
        assert "unexpected" not in said.err, command
        assert not newest or command[0] in {"anchor", "doctor"} or str(name) in said.out + said.err
    capsys.readouterr()
    assert run(["verify", "--vkey", last["vkey"]]) >= 10
    assert f"The document {name} among the seals is no seal" in capsys.readouterr().out


def test_an_emptied_or_older_store_is_not_sealed_on(
    log: Log, seals: SealStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """The host remembers what it has sealed, and makes no second key for what is gone."""
    record()
    assert run(["seal", "--once"]) == 0
    record()
    assert run(["seal", "--once"]) == 0
    [path] = key_files()
    last = log.llm_audit_seals.find_one_and_delete({"_id": 1})
    record()
    assert run(["seal", "--once"]) == 1
    assert "rolled back" in capsys.readouterr().err
    log.llm_audit_seals.delete_many({})
    assert run(["seal", "--once"]) == 1
    assert "emptied" in capsys.readouterr().err
    assert key_files() == [path]
    assert last is not None
    assert seals.identity() is None


def test_the_daemon_seals_within_seconds_and_stops(
    log: Log, seals: SealStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line of JSON for each seal; SIGTERM ends it with 0; status and doctor have seen it."""
    program = [sys.executable, "-m", "affidavit.cli", "seal", "--json"]
    daemon = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        record(5)
        _wait_for(lambda: _all_sealed(log, seals))
        found = asked(capsys, "status")["sealing"]
        assert found["sealer"]["where"] == "service"
        assert (found["waiting"], found["level"]) == (0, "self-attested")
        assert found["size"] == check_log(seals)
        assert run(["doctor"]) == 0
        told = capsys.readouterr().out
        assert "nothing waits" in told
        assert "self-attested" in told
    finally:
        daemon.send_signal(signal.SIGTERM)
        out, err = daemon.communicate(timeout=20)
    assert daemon.returncode == 0, err
    assert sum(json.loads(line)["leaves"] for line in out.splitlines()) == check_log(seals)


def _all_sealed(log: Log, seals: SealStore) -> bool:
    names = {each["_id"] for each in log.llm_audit_leaf_batches.find({}, {"_id": 1})}
    return bool(names) and seals.sealed(list(names)) == names


def _wait_for(condition: Any, seconds: float = 20) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_four_that_start_at_once_make_one_key(log: Log, seals: SealStore) -> None:
    """On one host they share its file; nothing provisional is left behind."""
    record(5)
    program = [sys.executable, "-m", "affidavit.cli", "seal", "--once"]
    started = [subprocess.Popen(program, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for each in started:
        _, err = each.communicate(timeout=60)
        assert each.returncode == 0, err
    assert len(key_files()) == 1
    assert check_log(seals) == log.llm_audit.count_documents(
        {}
    ) + log.llm_audit_ledger.count_documents({})


def test_of_four_hosts_that_start_at_once_one_has_the_key(
    log: Log, seals: SealStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others stop and say where it is; the key they had made does not stay behind."""
    record(5)
    program = [sys.executable, "-m", "affidavit.cli", "seal", "--once"]
    started = []
    for host in "abcd":
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / host))
        started.append(subprocess.Popen(program, stderr=subprocess.PIPE, text=True))
    ended = [(each.communicate(timeout=60)[1], each.returncode) for each in started]
    assert sorted(code for _, code in ended) == [0, 1, 1, 1]
    assert sum("no second one is ever made" in err for err, _ in ended) == 3
    keys = list(tmp_path.glob("*/affidavit/keys/*.key*"))
    assert len(keys) == 1
    identity = seals.identity()
    assert identity is not None
    assert Signer.parse(keys[0].read_text().strip()).vkey == identity["vkey"]
    assert check_log(seals) > 10


def test_sealers_that_race_seal_each_leaf_once(log: Log, seals: SealStore) -> None:
    """Three at full speed on one log while batches come: one history, and nothing left out."""
    ready = connect(log, AuditConfig())
    ready.prepare(30)
    writer = Writer(ready, "racer")
    made, stop = [sealer_of(connect_seals(log, AuditConfig())) for _ in range(3)], threading.Event()
    errors: list[Exception] = []

    def work(sealer: Sealer) -> None:
        try:
            while not stop.is_set():
                sealer.step()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(each,)) for each in made]
    for thread in threads:
        thread.start()
    for _ in range(120):
        writer.send(writer.record(7))
    _wait_for(lambda: (seals.last_seal() or {"size": 0})["size"] >= writer.seq)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert check_log(seals) == writer.seq + 1  # and the leaf of the set-up's own record
    assert sum(each.lost for each in made) > 0


def test_a_sealer_that_starts_reads_little(log: Log, seals: SealStore) -> None:
    """Of a log with many seals it reads the newest ones, not all."""
    ready = connect(log, AuditConfig())
    ready.prepare(30)
    writer, late = Writer(ready, "w"), [timedelta(0)]
    sealer = sealer_of(seals, clock=lambda: datetime.now(UTC) + late[0])
    for number in range(400):
        writer.send(writer.record(1))
        late[0] += timedelta(seconds=1)
        sealer.step()
        if number == 390:
            late[0] += timedelta(seconds=61)
    read: list[int] = []
    counting = connect_seals(log, AuditConfig())
    seals_from = counting.seals

    def counted(from_k: int = 0) -> Iterator[dict[str, Any]]:
        for each in seals_from(from_k):
            read.append(each["_id"])
            yield each

    counting.seals = counted  # type: ignore[method-assign]
    writer.send(writer.record(1))
    done = sealer_of(counting, clock=lambda: datetime.now(UTC) + late[0]).step()
    assert done is not None
    assert done.leaves == 1
    assert len(read) < 600  # in two looks: what is covered, and the leaves of the partial tile
    assert min(read) > 0
    assert check_log(seals) == writer.seq + 1


def test_a_log_with_a_gap_goes_on_and_verifies(
    log: Log, seals: SealStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers that never came are sealed; then another sealer goes on, and all can be verified."""
    store = connect(log, AuditConfig())
    store.prepare(30)
    writer = Writer(store, "aaaaaaaaaaaa")
    writer.send(writer.record(3))
    writer.record(4, store=False)
    writer.send(writer.record(3))
    later = datetime.now(UTC) + timedelta(minutes=20)
    assert sealer_of(seals, clock=lambda: later).step() is not None
    writer.send(writer.record(5))
    later += timedelta(minutes=1)
    done = sealer_of(seals, clock=lambda: later).step()
    assert done is not None
    assert check_log(seals) == done.size
    capsys.readouterr()
    assert run(["verify", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["gaps"] == 4
    store.close()
