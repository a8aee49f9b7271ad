"""An export put back elsewhere is the same log: same leaves, same checkpoints, and it goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import bson
import pytest

from affidavit import AuditConfig, AuditLogger, canonical
from affidavit.cli import run
from affidavit.demo.mongod import Mongod
from affidavit.integrity.note import Signer
from affidavit.store import connect_seals
from tests.conftest import with_database
from tests.integration.test_erasure import ASK, WHO, record, seal
from tests.support.documents import old_call
from tests.support.servers import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

Docs = dict[str, Any]
pytestmark = pytest.mark.requirement("R20", "R21")


class Moved(NamedTuple):
    """A log, its export, what was saved of it, and an empty database."""

    source: Database[Docs]
    target: Database[Docs]
    uri: str
    """Of the target."""
    key: Signer
    export: Path
    saved: Path


@pytest.fixture
def moved(
    database: Database[Docs], mongodb_uri: str, mongod: Mongod, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Moved]:  # fmt: skip
    """A log with an old document, an erased user, and records that are not sealed yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    key = Signer("affidavit/moved")
    monkeypatch.setenv("AFFIDAVIT_SEAL_KEY", key.secret_text())
    database.llm_audit.insert_one(old_call())
    assert run(["setup"]) == 0
    record(database, tmp_path / "spool", calls=70)
    with AuditLogger(database, spool_dir=str(tmp_path / "odd"), seal="off") as audit:
        fields = {"n": 2**60, "f": -0.0, "gro\u00dfe": ["~x", None], "b": b"\x00", "at": 1e21}
        with audit.call(provider="p", message="~odd\x01", user_id="u", fields=fields) as call:
            call.complete(text="x" * 9000, cost_usd="0.0000001")
    seal(database, key)
    assert run(["erase", "--user", WHO, *ASK]) == 0
    saved = tmp_path / "saved"
    saved.write_text(seal(database, key), encoding="utf-8")
    record(database, tmp_path / "late", calls=2)
    export = tmp_path / "export"
    assert run(["export", "--out", str(export)]) == 0
    with fresh_database(mongod.uri) as target:
        uri = with_database(mongod.uri, target.name)
        monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", uri)
        yield Moved(database, target, uri, key, export, saved)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Docs]:
    """Run a command with --json; its exit code and answer."""
    capsys.readouterr()
    code = run([*arguments, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


def leaves(database: Database[Docs]) -> dict[str, bytes | None]:
    """The entry of every record that has one, by its id."""
    return {
        str(document["_id"]): canonical.entry_of(document, dest)
        for dest, name in (("records", "llm_audit"), ("ledger", "llm_audit_ledger"))
        for document in database[name].find()
    }


def test_the_imported_log_is_the_same_one(moved: Moved, capsys: pytest.CaptureFixture[str]) -> None:
    """Every id, entry and signature; it verifies against what was saved of the first."""
    code, done = told(capsys, "import", str(moved.export), "--checkpoint", str(moved.saved))
    assert (code, done["verification"]["found"]) == (0, {})
    assert done["read"] == done["new"]
    before, after = leaves(moved.source), leaves(moved.target)
    assert before.items() <= after.items()
    for part in ("llm_audit_seals", "llm_audit_tiles", "llm_audit_leaf_batches"):
        held = {str(each["_id"]): each for each in moved.target[part].find()}
        sealed = [each for each in moved.source[part].find() if str(each["_id"]) in held]
        assert all(held[str(each["_id"])] == each for each in sealed)
        assert held
    options = ["--checkpoint", str(moved.saved), "--vkey", moved.key.vkey]
    code, report = told(capsys, "verify", *options)
    assert (code, report["found"], report["level"]) == (0, {}, "self-attested")
    assert report["counts"]["erased"] == 141
    noted = moved.target.llm_audit_ledger.find_one({"event_type": "log_imported"})
    assert noted is not None
    assert noted["details"]["origin"] == "affidavit/moved"


def test_the_imported_log_goes_on(moved: Moved, tmp_path: Path) -> None:
    """With the same key: what was not sealed yet, the import itself, and what is new."""
    assert run(["import", str(moved.export)]) == 0
    record(moved.target, tmp_path / "new", calls=3)
    seal(moved.target, moved.key)
    options = ["--checkpoint", str(moved.saved), "--vkey", moved.key.vkey]
    assert run(["verify", *options]) == 0
    last = connect_seals(moved.target, AuditConfig()).last_seal()
    first = connect_seals(moved.source, AuditConfig()).last_seal()
    assert last is not None
    assert first is not None
    assert last["size"] > first["size"]
    assert run(["export", "--out", "again"]) == 0
    assert run(["verify", "again", *options]) == 0


def test_importing_twice_changes_nothing(moved: Moved, capsys: pytest.CaptureFixture[str]) -> None:
    """The second finds everything there, and notes nothing."""
    assert run(["import", str(moved.export)]) == 0
    before = leaves(moved.target)
    code, done = told(capsys, "import", str(moved.export))
    assert (code, sum(done["new"].values())) == (0, 0)
    assert leaves(moved.target) == before


@pytest.mark.serial
@pytest.mark.parametrize("part", ["seals", "records", "ledger"])
def test_an_import_that_is_killed_can_be_repeated(
    moved: Moved, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it was: what is there is compared, the rest comes in."""
    code = (
        "import os, signal, sys\n"
        "from affidavit.store.mongo.restoring import MongoRestoring as M\n"
        "from affidavit.lifecycle import importing\n"
        "importing.AT_ONCE = 50\n"
        "was, seen = M.insert, [0]\n"
        "def insert(self, part, documents):\n"
        "    done = was(self, part, documents)\n"
        f"    if part == {part!r} and (len(documents) < 50 or seen[0]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"    seen[0] += part == {part!r}\n"
        "    return done\n"
        "M.insert = insert\n"
        "from affidavit.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "import", str(moved.export)]
    died = subprocess.run(command, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    code_now, done = told(capsys, "import", str(moved.export), "--checkpoint", str(moved.saved))
    assert (code_now, done["verification"]["found"]) == (0, {})
    assert sum(done["new"].values()) < sum(done["read"].values())
    assert moved.target.llm_audit_ledger.count_documents({"event_type": "log_imported"}) == 1
    assert leaves(moved.source).items() <= leaves(moved.target).items()


@pytest.mark.parametrize("name", ["records", "ledger", "seals", "leaf_batches"])
def test_an_export_that_does_not_hold_is_not_imported(moved: Moved, name: str) -> None:
    """Verified first: the place stays empty."""
    path = moved.export / f"{name}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    assert run(["import", str(moved.export), "--checkpoint", str(moved.saved)]) >= 10
    assert moved.target.list_collection_names() == []


@pytest.mark.parametrize("what", ["another log", "records", "one that differs"])
def test_a_place_that_holds_something_else_is_refused(
    moved: Moved, what: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And is left as it is; the text says where else to go."""
    if what == "another log":
        record(moved.target, tmp_path / "x", calls=1)
        seal(moved.target, Signer("affidavit/another"))
    elif what == "records":
        moved.target.llm_audit.insert_one(old_call())
    else:
        assert run(["import", str(moved.export)]) == 0
        moved.target.llm_audit.update_one({"user_id": "u"}, {"$set": {"model": "edited"}})
    before = bson.encode({"all": [*moved.target.llm_audit.find().sort("_id", 1)]})
    assert run(["import", str(moved.export)]) == 1
    assert "--collection" in capsys.readouterr().err
    assert bson.encode({"all": [*moved.target.llm_audit.find().sort("_id", 1)]}) == before


def test_a_log_can_be_imported_beside_another(
    moved: Moved, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under another name, in the database it came from."""
    options = ["--uri", moved.uri.replace(moved.target.name, moved.source.name)]
    options += ["--collection", "restored"]
    assert run(["import", str(moved.export), *options]) == 0
    assert run(["verify", "--checkpoint", str(moved.saved), *options]) == 0
    assert "it holds" in capsys.readouterr().out


def test_an_import_needs_no_more_than_two_roles(moved: Moved) -> None:
    """A writer's and a sealer's, where set-up was done before."""
    password = "pass"
    with Mongod.start(auth=True) as server:
        admin = server.uri_for(server.user or "", server.password or "", "wadm")
        assert run(["setup", "--roles", "--uri", admin]) == 0
        with server.client() as client:
            for roles in (["writer", "sealer"], ["writer"]):
                names = [f"llm_audit_{role}" for role in roles]
                client["wadm"].command("createUser", "+".join(roles), pwd=password, roles=names)
        for user, expected in (("writer", 4), ("writer+sealer", 0)):
            uri = server.uri_for(user, password, "wadm", auth_source="wadm")
            began_s = time.monotonic()
            assert run(["import", str(moved.export), "--uri", uri]) == expected
            assert time.monotonic() - began_s < 60
