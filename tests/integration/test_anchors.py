"""Anchors of a real log: the command, the service, and what a cut-off tail is found by."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditLogger
from affidavit.cli import run
from affidavit.integrity.note import Signer, cosigner_key
from tests.support.timestamps import Authority, openssl
from tests.support.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

    Log = Database[dict[str, Any]]

pytestmark = pytest.mark.requirement("R20", "R21")


@pytest.fixture
def log(database: Log, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Log:
    """A sealed log of some records."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("AFFIDAVIT_SEAL", "off")
    monkeypatch.chdir(tmp_path)
    grow()
    return database


def grow() -> None:
    """Record some calls, and seal them."""
    with AuditLogger() as audit:
        for _ in range(3):
            with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
                call.complete(text="answer", input_tokens=1, output_tokens=1)
    assert run(["seal", "--once"]) == 0


@pytest.fixture
def anchors(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Witness, Authority]]:
    """One of each kind, in the settings."""
    folder = tmp_path / "outside"
    folder.mkdir()
    identity = log["llm_audit_seals"].find_one({"_id": "log"})
    assert identity is not None
    with Witness(identity["vkey"]) as witness, Authority(tmp_path / "tsa") as authority:
        for name, value in {
            "DIRECTORY": str(folder),
            "WITNESSES": f"{witness.url} {witness.vkey}",
            "TSA": authority.url,
            "TSA_CA": str(authority.ca_file),
        }.items():
            monkeypatch.setenv(f"AFFIDAVIT_ANCHOR_{name}", value)
        yield folder, witness, authority


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """Run a command with --json and read what it prints."""
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def cut(log: Log, size: int) -> None:
    """Take away everything that was sealed after the first leaves, as an administrator can."""
    for seal in list(log["llm_audit_seals"].find({"i0": {"$gte": size}})):
        for item in seal["items"]:
            batch = log["llm_audit_leaf_batches"].find_one_and_delete({"_id": item["b"]})
            assert batch is not None
            numbers = {"$gte": batch["s0"], "$lt": batch["s0"] + batch["n"]}
            for name in ("llm_audit", "llm_audit_ledger"):
                log[name].delete_many({"writer": batch["w"], "seq": numbers})
        log["llm_audit_seals"].delete_one({"_id": seal["_id"]})


def test_a_tail_that_was_cut_off_is_found_by_each_receipt(
    log: Log,
    anchors: tuple[Path, Witness, Authority],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log verifies by itself afterwards; against what an anchor holds it does not."""
    folder, _, authority = anchors
    before = asked(capsys, "checkpoint")["size"]
    grow()
    done = asked(capsys, "anchor", "--out", "receipts")
    assert [(each["kind"], each["failure"]) for each in done] == [
        ("directory", None),
        ("witness", None),
        ("timestamp", None),
    ]
    size = done[0]["size"]
    receipts = {each.name.split("-")[2]: each for each in (tmp_path / "receipts").iterdir()}
    assert set(receipts) == {
        "directory", "witness", "timestamp",
    }  # fmt: skip
    files = sorted((tmp_path / "receipts").glob("*.checkpoint"))
    assert len(files) == 3
    (stamped,) = (tmp_path / "receipts").glob("*.tsr")
    openssl(
        "ts", "-verify", "-data", stamped.with_suffix(".checkpoint"), "-in", stamped,
        "-CAfile", authority.ca_file,
    )  # fmt: skip
    for file in (*files, folder / f"{size}.checkpoint"):
        assert run(["verify", "--checkpoint", str(file)]) == 0
    cut(log, before)
    for name in ("DIRECTORY", "WITNESSES", "TSA", "TSA_CA"):
        monkeypatch.delenv(f"AFFIDAVIT_ANCHOR_{name}")
    found = asked(capsys, "verify")
    assert (found["size"], found["clean"]) == (before, True)
    for file in (*files, folder / f"{size}.checkpoint"):
        capsys.readouterr()
        assert run(["verify", "--checkpoint", str(file)]) > 0
        assert f"{size}" in capsys.readouterr().out


def test_anchoring_a_log_that_was_cut_off_fails_everywhere(
    log: Log, anchors: tuple[Path, Witness, Authority], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each anchor says it, so do status and doctor; without receipts, those that remember."""
    before = asked(capsys, "checkpoint")["size"]
    grow()
    assert run(["anchor"]) == 0
    state = asked(capsys, "status")["anchors"]
    assert [(each["kind"], each["failure"], each["shrunk"]) for each in state] == [
        ("directory", None, False),
        ("witness", None, False),
        ("timestamp", None, False),
    ]
    cut(log, before)
    assert all(each["shrunk"] for each in asked(capsys, "status", code=1)["anchors"])
    assert all("cut off" in each["failure"] for each in asked(capsys, "anchor", code=1))
    assert run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert said.count("the log has FEWER leaves now") == 3
    assert run(["status"]) == 1
    assert "rolled back or cut off" in capsys.readouterr().out
    log["llm_audit_seals"].delete_many({"_id": {"$type": "string", "$regex": "^anchor"}})
    failures = {each["kind"]: each["failure"] for each in asked(capsys, "anchor", code=1)}
    assert "cut off" in failures["directory"]
    assert "cut off" in failures["witness"]
    assert failures["timestamp"] is None


def test_a_failure_is_seen_until_it_works_again(
    log: Log, anchors: tuple[Path, Witness, Authority], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the exit code, in status and in doctor; the others go on."""
    _, witness, _ = anchors
    keys, witness.keys = witness.keys, {}
    failed = asked(capsys, "anchor", code=1)
    assert [each["failure"] is None for each in failed] == [True, False, True]
    state = asked(capsys, "status", code=1)["anchors"][1]
    assert "does not know this log" in state["failure"]
    assert run(["doctor"]) == 1
    assert "FAILED" in capsys.readouterr().out
    witness.keys = keys
    assert run(["anchor"]) == 0
    assert run(["status"]) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_doctor_says_that_nobody_outside_knows_the_log(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a note, with what is then not noticed; the command names the settings."""
    run(["doctor"])
    assert "no anchor is configured here" in capsys.readouterr().out
    assert run(["anchor"]) == 2
    assert "anchor_directory" in capsys.readouterr().err
    monkeypatch.setenv("AFFIDAVIT_ANCHOR_WITNESSES", f"http://w.example {_vkey()}")
    run(["doctor"])
    assert "not https" in capsys.readouterr().out


def _vkey() -> str:
    return str(cosigner_key(Signer("w", bytes(32)).key))


def test_the_service_anchors_on_its_schedule(
    log: Log, anchors: tuple[Path, Witness, Authority]
) -> None:
    """At its start, and when the interval is over; it ends at once when it is told to."""
    folder, witness, _ = anchors
    environment = {**os.environ, "AFFIDAVIT_ANCHOR_EVERY_S": "10"}
    with subprocess.Popen(
        [sys.executable, "-m", "affidavit.cli", "seal"],
        env=environment, stderr=subprocess.PIPE, text=True,
    ) as service:  # fmt: skip
        try:
            until = time.monotonic() + 40
            while len(witness.asked) < 2 and time.monotonic() < until:
                time.sleep(0.1)
            service.send_signal(signal.SIGTERM)
            _, said = service.communicate(timeout=30)
        finally:
            service.kill()
    assert service.returncode == 0
    assert len(witness.asked) == 2
    assert len(list(folder.iterdir())) >= 1
    assert said.count("anchored witness") == 2


@pytest.mark.parametrize(
    ("left", "level"),
    [("DIRECTORY", "anchored"), ("TSA", "anchored"), ("WITNESSES", "witnessed"), ("", "")],
)
def test_a_verification_holds_the_log_against_what_anchors_show(
    log: Log,
    anchors: tuple[Path, Witness, Authority],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    left: str,
    level: str,
) -> None:
    """They raise the level of a log whose key is pinned, and find a rollback unasked."""
    before = asked(capsys, "checkpoint")
    grow()
    assert run(["anchor"]) == 0
    for name in {"DIRECTORY", "WITNESSES", "TSA"} - {left}:
        monkeypatch.delenv(f"AFFIDAVIT_ANCHOR_{name}")
        if name == "TSA":
            monkeypatch.delenv("AFFIDAVIT_ANCHOR_TSA_CA")
    plain = asked(capsys, "verify")
    assert (plain["level"], len(plain["anchored"])) == ("self-attested", 1 if left else 0)
    pinned = asked(capsys, "verify", "--vkey", before["vkey"])
    assert pinned["level"] == (level or pinned["level"])
    cut(log, before["size"])
    if left:
        found = asked(capsys, "verify", code=12)
        assert (found["level"], list(found["found"])) == ("none", ["rolled_back"])
    else:
        assert asked(capsys, "verify")["clean"]


def test_a_receipt_that_was_altered_in_the_store_raises_nothing(
    log: Log,
    anchors: tuple[Path, Witness, Authority],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another's signature, another's timestamp, or none: said, and not believed."""
    assert run(["anchor"]) == 0
    monkeypatch.delenv("AFFIDAVIT_ANCHOR_DIRECTORY")
    seals = log["llm_audit_seals"]
    last = seals.find_one({"_id": 0})
    assert last is not None
    seals.update_one({"kind": "witness"}, {"$set": {"cp": last["cp"]}})
    seals.update_one({"kind": "timestamp"}, {"$set": {"token": b"0"}})
    report = asked(capsys, "verify", "--vkey", last["vkey"])
    assert report["level"] not in {"anchored", "witnessed"}
    assert report["anchored"] == []
    assert len(report["not_looked_at"]) == 2
