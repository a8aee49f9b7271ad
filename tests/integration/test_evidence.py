"""Verifying a live log, a bundle and an export: by the command, a small program, and a shell."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from affidavit import AuditConfig, AuditLogger
from affidavit.canonical import entry_of, from_json
from affidavit.cli import run
from affidavit.errors import StoreUnavailable
from affidavit.evidence.apart import Apart
from affidavit.evidence.place import index_of, numbered
from affidavit.integrity import verify as integrity_verify
from affidavit.integrity.checkpoint import Checkpoint, sign_checkpoint
from affidavit.integrity.findings import Report
from affidavit.integrity.note import Signer
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import verify
from affidavit.lifecycle import erasure
from affidavit.sealer.keys import LogKey
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import connect_seals, open_log
from affidavit.store.erasing import Chosen
from tests.support.outside import Outside, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

Docs = dict[str, Any]
VERIFIER = Path(__file__).parents[2] / "verifier" / "affidavit_verify.py"
pytestmark = pytest.mark.requirement("R20", "R21")


class Held(NamedTuple):
    """A sealed log, and what an auditor holds outside of it."""

    database: Database[Docs]
    key: Signer
    call_id: str
    saved: Path
    folder: Path


def seal(database: Database[Docs], key: Signer) -> str:
    """Seal what is there; give the newest checkpoint."""
    store = connect_seals(database, AuditConfig())
    if store.identity() is None:
        store.claim(key.name, key.vkey)
    seal_once(Sealer(store, lambda: LogKey(key), where="service"))
    last = store.last_seal()
    return "" if last is None else str(last["cp"])


def record(database: Database[Docs], spool: Path, calls: int = 300) -> str:
    """Record some calls; give the id of one with all kinds of fields."""
    with AuditLogger(database, spool_dir=str(spool), seal="off", async_writes=True) as audit:
        for number in range(calls):
            fields = {"share": 0.25, "gro\u00dfes": ["~x", None, {"deep": 1.5}], "n": 2**60}
            message = f"~question {number} \u20ac"
            with audit.call(
                provider="p", model="m", message=message, user_id="u", fields=fields
            ) as call:
                call.complete(text="answer\n\x01", input_tokens=3, cost_usd="0.0000123")
        audit.annotate(call.call_id, kind="score", name="n", value=1)
        audit.security_event(kind="blocked", user_id="u", details={"at": [1, 2.5, b"\x00"]})
    return call.call_id


@pytest.fixture
def held(
    database: Database[Docs], mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Held:
    """A log of some hundred records in MongoDB, sealed; the command finds it by the environment."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    key = Signer("affidavit/evidence")
    call_id = record(database, tmp_path / "spool")
    saved = tmp_path / "saved"
    saved.write_text(seal(database, key), encoding="utf-8")
    return Held(database, key, call_id, saved, tmp_path)


def alone(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the small verifier in a process that cannot import the package."""
    barred = "import sys; sys.modules['affidavit'] = None; import runpy; sys.argv = sys.argv[1:];"
    code = f"{barred} runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-I", "-c", code, str(VERIFIER), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


# -- the live log ----------------------------------------------------------------------------------


def test_a_live_log_is_verified_against_what_lies_outside(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """Key and checkpoint come from outside, this host writes, and the level says so."""
    code = run(["verify", "--checkpoint", str(held.saved), "--vkey", held.key.vkey, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (code, told["level"], told["found"]) == (0, "self-attested", {})
    assert told["counts"]["matched"] == told["size"] > 600
    noted = held.database.llm_audit_ledger.find_one({"event_type": "audit_access"})
    assert noted is not None
    assert noted["details"]["command"] == "verify"


def test_a_key_known_only_from_the_store_is_self_attested(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output says what that is worth, and what to do."""
    assert run(["verify"]) == 0
    told = capsys.readouterr()
    assert "self-attested" in told.out
    assert "affidavit checkpoint" in told.err


def test_an_edited_cost_is_named(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """Which record, and what was done to it; the exit code tells the kind."""
    wanted = {"call_id": held.call_id, "event_type": "llm_response"}
    change = {"$set": {"response_data.cost_usd": Decimal128("0.000000001")}}
    held.database.llm_audit.update_one(wanted, change)
    assert run(["verify", "--checkpoint", str(held.saved)]) == 14
    told = capsys.readouterr().out
    hit = held.database.llm_audit.find_one(wanted)
    assert hit is not None
    assert "ALTERED" in told
    assert str(hit["_id"]) in told
    assert f"number {hit['seq']} of the writer {hit['writer']}" in told


def test_a_seal_that_is_none_does_not_stop_the_verification(held: Held) -> None:
    """Whoever may insert cannot make the command fail; what was put there is found."""
    last = held.database.llm_audit_seals.find_one(sort=[("_id", -1)], filter={"_id": {"$gte": 0}})
    assert last is not None
    held.database.llm_audit_seals.insert_one({"_id": last["_id"] + 1, "items": [], "cp": "x"})
    assert run(["verify", "--checkpoint", str(held.saved)]) == 11


def test_the_exit_code_tells_the_gravest_kind(held: Held) -> None:
    """An emptied log is an older one than the saved checkpoint, whatever else is wrong."""
    held.database.llm_audit.delete_one({"call_id": held.call_id})
    assert run(["verify", "--checkpoint", str(held.saved)]) == 15
    for part in ("", "_ledger", "_leaf_batches", "_seals", "_tiles"):
        held.database[f"llm_audit{part}"].delete_many({})
    assert run(["verify", "--checkpoint", str(held.saved), "--vkey", held.key.vkey]) == 12
    assert run(["verify"]) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--vkey", "nonsense"], "no vkey"),
        (["--checkpoint", "nowhere"], "cannot be read"),
        (["--since", "checkpoint"], "--checkpoint FILE"),
        (["--vkey", Signer("affidavit/other").vkey, "--checkpoint", "saved"], "another log's"),
        (["elsewhere"], "is no export"),
    ],
)
def test_a_wrong_argument_is_a_wrong_argument(
    held: Held, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake of whoever verifies is told from damage."""
    assert run(["verify", *options]) == 2
    assert text in capsys.readouterr().err


def test_a_part_of_the_log_can_be_read(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """A sample, the newest records, or what came after the checkpoint."""
    for options, most in ((["--sample", "20"], 80), (["--since", "2099-01-01"], 20)):
        assert run(["verify", "--checkpoint", str(held.saved), "--json", *options]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["counts"]["matched"] < most
        assert told["counts"]["leaves"] == told["size"]
    record(held.database, held.folder / "more", calls=5)
    seal(held.database, held.key)
    assert run(["verify", "--checkpoint", str(held.saved), "--since", "checkpoint", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    counts = told["counts"]
    assert counts["matched"] == counts["leaves"] == told["size"] - told["saved_size"]


def test_several_processes_find_the_same_in_the_same_order(
    held: Held, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report of two processes is that of one, untouched and with damage of many kinds."""
    monkeypatch.setattr(integrity_verify, "CHUNK_LEAVES", 50)
    trust = partial(Trust, held.key.vkey, "vkey", held.saved.read_text())

    def both() -> tuple[Docs, Docs]:
        now_ms = int(time.time() * 1000)
        seals = connect_seals(held.database, AuditConfig())
        alone = verify(seals, trust(), now_ms=now_ms)
        with Apart(mongodb_uri, AuditConfig(), 2) as apart:
            together = verify(seals, trust(), now_ms=now_ms, comparer=apart)
        return alone.as_dict(), together.as_dict()

    one, two = both()
    assert one == two
    assert one["counts"]["matched"] == one["size"] > 600
    records = held.database.llm_audit
    ids = [each["_id"] for each in records.find({}, {"_id": 1}).sort([("writer", 1), ("seq", 1)])]
    records.update_many({"_id": {"$in": ids[10:600:90]}}, {"$set": {"model": "another"}})
    records.delete_many({"_id": {"$in": ids[55:600:70]}})
    copied = records.find_one({"_id": ids[3]})
    assert copied is not None
    half = {**copied, "_id": ObjectId(), "seq": copied["seq"] + 0.5}
    records.insert_one(half, bypass_document_validation=True)
    one, two = both()
    assert one == two
    assert {"altered", "missing", "inserted"} <= one["found"].keys()


def test_the_option_and_a_process_that_dies(
    held: Held, mongodb_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--jobs says how many processes read; one that is killed ends the command with a reason."""
    arguments = ["verify", "--jobs", "2", "--vkey", held.key.vkey, "--json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["found"] == {}
    with Apart(mongodb_uri, AuditConfig(), 1) as apart:
        apart._pool.submit(os._exit, 9)
        with pytest.raises(StoreUnavailable, match="--jobs 1"):
            list(chain(apart.give([], None), apart.rest()))


# -- a bundle --------------------------------------------------------------------------------------


@pytest.fixture
def bundle(held: Held) -> Path:
    """The evidence of one call."""
    out = held.folder / "bundle"
    assert run(["prove", held.call_id, "--out", str(out)]) == 0
    return out


def test_a_bundle_holds_the_call_and_its_proofs(held: Held, bundle: Path) -> None:
    """Request, answer and annotation, readable by the owner only; the package verifies it."""
    about = json.loads((bundle / "call.json").read_bytes())
    kinds = [row["event_type"] for row in about["records"]]
    assert kinds == ["llm_request", "llm_response", "annotation"]
    assert (bundle / "log.vkey").read_text().strip() == held.key.vkey
    assert all(path.stat().st_mode & 0o077 == 0 for path in bundle.rglob("*"))
    assert about["sealed_by"] == "service"
    assert run(["verify", str(bundle), "--vkey", held.key.vkey]) == 0


def test_a_bundle_verifies_without_the_package(held: Held, bundle: Path) -> None:
    """The small program needs hashing and signatures, and nothing of ours."""
    told = alone(bundle, "--vkey", held.key.vkey)
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("holds") == 3
    assert "Compare it" in alone(bundle).stdout


def test_a_bundle_verifies_with_a_shell_and_openssl(bundle: Path) -> None:
    """For whoever trusts neither Python nor us."""
    told = by_shell(bundle)
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("right") == 3


def test_the_script_compares_the_key_and_says_what_was_checked(held: Held, bundle: Path) -> None:
    """With the key that the auditor was given; kind, time and call are those of the entries."""
    told = by_shell(bundle, held.key.vkey)
    assert told.returncode == 0, told.stdout + told.stderr
    lines = [line for line in told.stdout.splitlines() if line.startswith("right")]
    assert all(f"call {held.call_id}" in line and " UTC," in line for line in lines)
    assert "llm_request of " in lines[0]
    assert "Compare the key" not in told.stdout
    other = by_shell(bundle, Signer("ev/other").vkey)
    assert (other.returncode, "WRONG" in other.stdout) == (1, True)


def by_shell(bundle: Path, *known: str, shell: str = "sh") -> subprocess.CompletedProcess[str]:
    """Run the script that lies in the bundle."""
    command = [shell, "check.sh", *known]
    return subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)


def _replace(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


ASKED, ANSWERED = "records/1-llm_request", "records/2-llm_response"
FORGERIES: dict[str, tuple[str, bytes, bytes]] = {
    "record": (f"{ANSWERED}/record.json", b"answer", b"refusal"),
    "cost": (f"{ANSWERED}/record.json", b"~d0.000012300", b"~d0.000000001"),
    "entry": (f"{ASKED}/entry.json", b'"model":"m"', b'"model":"n"'),
    "group": (f"{ASKED}/groups/request.json", b"question", b"Question"),
    "index": (f"{ASKED}/proof.tlog-proof", b"index ", b"index 1"),
    "checkpoint": (f"{ASKED}/proof.tlog-proof", b"\n\naffidavit/ev", b"\n\naffidavit/Ev"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_changed_bundle_does_not_verify(held: Held, bundle: Path, forgery: str) -> None:
    """Neither by the package nor by the small program, and the shell sees what it looks at."""
    name, old, new = FORGERIES[forgery]
    _replace(bundle / name, old, new)
    assert run(["verify", str(bundle), "--vkey", held.key.vkey]) >= 10
    assert alone(bundle, "--vkey", held.key.vkey).returncode == 1
    assert (by_shell(bundle).returncode == 0) == (forgery in {"record", "cost"})


def _salted(bundle: Path) -> None:
    """Move the beginning of an answer into its salt: both together hash to the same."""
    salt, text = (bundle / ANSWERED / f"groups/response.{end}" for end in ("salt", "json"))
    data = text.read_bytes()
    salt.write_bytes(salt.read_bytes() + data[:20])
    text.write_bytes(data[20:])


def _added(bundle: Path) -> None:
    shutil.copytree(bundle / ANSWERED, bundle / "records/9-llm_response")
    _replace(bundle / "records/9-llm_response/groups/response.json", b"answer", b"refusal")


def _elsewhere(bundle: Path) -> None:
    shutil.copytree(bundle / "records", bundle / ".kept")
    for name in ("record.json", "groups/response.json"):
        _replace(bundle / ANSWERED / name, b"answer", b"refusal")
    about = bundle / "call.json"
    about.write_bytes(about.read_bytes().replace(b'"records/', b'".kept/'))


DISGUISES: dict[str, Callable[[Path], object]] = {
    "salt": _salted,
    "record added": _added,
    "part added": lambda at: (at / ANSWERED / "groups/response.txt").write_text("refusal"),
    "records elsewhere": _elsewhere,
    "no records": lambda at: [shutil.rmtree(each) for each in (at / "records").iterdir()],
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_what_nothing_vouches_for_is_not_let_pass(held: Held, bundle: Path, disguise: str) -> None:
    """A reader looks at every file in records/, so each of them is checked or complained of."""
    DISGUISES[disguise](bundle)
    assert run(["verify", str(bundle), "--vkey", held.key.vkey]) in {2, 14, 17}
    assert alone(bundle, "--vkey", held.key.vkey).returncode == 1
    told = by_shell(bundle, held.key.vkey)
    assert (told.returncode, "WRONG" in told.stdout) == (1, True)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_runs_nothing_that_lies_in_a_bundle(bundle: Path, shell: str) -> None:
    """A number in a proof is none before it was looked at: shells run what stands in brackets."""
    _replace(bundle / ASKED / "proof.tlog-proof", b"index ", b"index PPID[$(touch ran)]")
    told = by_shell(bundle, shell=shell)
    assert (told.returncode, "WRONG" in told.stdout) == (1, True)
    assert not (bundle / "ran").exists()


def test_the_script_says_which_parts_are_not_shown(bundle: Path) -> None:
    """An answer that is held back is not one that never was."""
    for end in ("json", "salt"):
        (bundle / ANSWERED / f"groups/response.{end}").unlink()
    told = by_shell(bundle)
    assert f"absent {ANSWERED}/groups/response.json" in told.stdout
    assert told.returncode == 0


def test_a_garbled_list_of_records_is_told_as_such(held: Held, bundle: Path) -> None:
    """Nothing in a bundle makes the command fail in an unexpected way."""
    for text in ('{"records": [], "left_out": ["x"]}', "[]", '{"records": [{"folder": "/etc"}]}'):
        (bundle / "call.json").write_text(text, encoding="utf-8")
        assert run(["verify", str(bundle), "--vkey", held.key.vkey]) == 2


def test_a_bundle_of_another_key_is_foreign(held: Held, bundle: Path) -> None:
    """Whoever makes up a bundle has to make up a key too."""
    other = Signer(held.key.name)
    assert run(["verify", str(bundle), "--vkey", other.vkey]) == 10
    assert alone(bundle, "--vkey", other.vkey).returncode == 1


def test_an_altered_record_cannot_be_proved(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """No evidence is given away that would not hold."""
    held.database.llm_audit.update_many({"call_id": held.call_id}, {"$set": {"model": "x"}})
    held.database.llm_audit.update_one(
        {"event_type": "llm_request", "call_id": held.call_id}, {"$set": {"model": "x"}}
    )
    assert run(["prove", held.call_id, "--out", str(held.folder / "b")]) != 0
    assert "affidavit verify" in capsys.readouterr().err


# -- an export -------------------------------------------------------------------------------------


@pytest.fixture
def exported(held: Held, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The whole log as files, signed."""
    monkeypatch.setenv("AFFIDAVIT_SEAL_KEY", held.key.secret_text())
    out = held.folder / "export"
    assert run(["export", "--out", str(out)]) == 0
    return out


def test_an_export_verifies_like_the_log(
    held: Held, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same rules, the same counts; the manifest is signed by the log's key."""
    capsys.readouterr()
    assert run(["verify", str(exported), "--checkpoint", str(held.saved), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["level"] == "self-attested"
    assert told["counts"]["matched"] == told["size"]
    assert told["not_looked_at"] == []
    assert (exported / "tile/0/000").stat().st_size == 256 * 32


def test_an_export_is_held_against_the_folder_of_anchors(
    held: Held,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the newest checkpoint that is not larger; another history of the same log is found."""
    folder = tmp_path / "anchors"
    folder.mkdir()
    monkeypatch.setenv("AFFIDAVIT_ANCHOR_DIRECTORY", str(folder))

    def verified() -> Docs:
        capsys.readouterr()
        run(["verify", str(exported), "--vkey", held.key.vkey, "--json"])
        found: Docs = json.loads(capsys.readouterr().out)
        return found

    assert verified()["level"] == "self-attested"
    saved = held.saved.read_text()
    size = int(saved.split("\n")[1])
    (folder / f"{size}.checkpoint").write_text(saved)
    newer = Checkpoint(held.key.name, 10**6, bytes(32))
    (folder / f"{10**6}.checkpoint").write_text(sign_checkpoint(newer, held.key))
    assert verified()["level"] == "anchored"
    other = Checkpoint(held.key.name, size, bytes(32))
    (folder / f"{size}.checkpoint").write_text(sign_checkpoint(other, held.key))
    told = verified()
    assert (told["level"], told["found"]) == ("none", {"rolled_back": 1})


def test_an_export_verifies_without_the_package(held: Held, exported: Path) -> None:
    """Every leaf, every root, every record, offline."""
    told = alone(exported, "--checkpoint", held.saved, "--vkey", held.key.vkey)
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.startswith("Complete.\n")


@pytest.mark.parametrize("name", ["records", "ledger", "leaf_batches", "seals"])
@pytest.mark.parametrize("how", ["edit", "delete"])
def test_a_changed_export_does_not_verify(held: Held, exported: Path, name: str, how: str) -> None:
    """One digit of one line, or one line, is enough."""
    path = exported / f"{name}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    # Not the record of the export's own reading, which is newer than the checkpoint.
    at = next(n for n in range(len(lines) // 2, -1, -1) if b"audit_access" not in lines[n])
    if how == "edit":
        field = {"records": b'"seq":', "ledger": b'"seq":', "seals": b'"n":'}.get(name, b'"s0":')
        assert field in lines[at]
        lines[at] = lines[at].replace(field, field + b"1", 1)
    else:
        del lines[at]
    path.write_bytes(b"".join(lines))
    assert run(["verify", str(exported), "--checkpoint", str(held.saved)]) >= 10
    told = alone(exported, "--checkpoint", held.saved, "--vkey", held.key.vkey)
    expired = name == "records"  # the small program does not judge retention: it counts
    assert told.returncode in ((0, 1) if expired else (1, 2))
    assert told.returncode != 0 or told.stdout.startswith("Complete, with 1 records missing")


def test_a_rotated_export_verifies_without_the_package(held: Held) -> None:
    """With the first key or the one in force, and a checkpoint that either has signed."""
    store = connect_seals(held.database, AuditConfig())
    new = Signer(held.key.name)
    assert Sealer(store, lambda: LogKey(held.key)).rotate(new) is not None
    record(held.database, held.folder / "spool", 5)
    newest = held.folder / "newest"
    newest.write_text(seal(held.database, new), encoding="utf-8")
    out = held.folder / "rotated"
    assert run(["export", "--out", str(out)]) == 0
    for saved in (held.saved, newest):
        for options in ([], ["--vkey", held.key.vkey], ["--vkey", new.vkey]):
            told = alone(out, "--checkpoint", saved, *options)
            assert told.returncode == 0, told.stdout + told.stderr
    other = Signer(held.key.name)
    told = alone(out, "--vkey", other.vkey)
    assert told.returncode == 1
    assert "has signed no checkpoint" in told.stdout


def test_the_small_verifier_says_what_is_gone_and_why(held: Held) -> None:
    """The same first words as the command; a reason after the checkpoint is not confirmed."""
    held.database.llm_audit.delete_one({"call_id": held.call_id})
    with open_log(held.database, AuditConfig()) as log:
        planned = erasure.plan(log.erasing, Chosen(users=("u",)), {"request"})
        assert erasure.carry_out(log.erasing, planned, "on request").erased
    seal(held.database, held.key)
    out = held.folder / "lacking"
    assert run(["export", "--out", str(out)]) == 0
    told = alone(out, "--checkpoint", held.saved)
    assert told.returncode == 3, told.stdout + told.stderr
    first, *lines = told.stdout.splitlines()
    assert first.startswith("NOT CONFIRMED: complete, with 1 records missing and ")
    assert first.endswith(" erased for reasons the log's owner gave.")
    assert any("erasure, says" in line and "AFTER your checkpoint" in line for line in lines)
    assert alone(out).returncode == 0
    assert run(["verify", str(out), "--checkpoint", str(held.saved)]) == 15


def test_the_small_verifier_is_small_and_needs_nothing_of_ours() -> None:
    """At most 400 lines, the standard library, and one package for signatures."""
    text = VERIFIER.read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines()]
    imports = {words[1].split(".")[0] for words in lines if words[:1] in (["import"], ["from"])}
    assert imports - set(sys.stdlib_module_names) == {"cryptography"}
    assert len(text.splitlines()) <= 400


def test_the_small_verifier_knows_the_fields_that_the_package_knows() -> None:
    """It has tables of its own, and they must say the same."""
    from affidavit.canonical import record

    small = runpy.run_path(str(VERIFIER))
    assert small["TEXTS"] == record._CLEAR_TEXTS
    assert small["NUMBERS"] == record._CLEAR_NUMBERS
    assert small["GROUPED"] == record._GROUPED
    assert set(small["REQUEST"]) == record._REQUEST_OWN
    assert set(small["RESPONSE"]) == record._RESPONSE_OWN


def test_a_bundle_verifies_with_the_packages_of_go(
    held: Held, bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Programs of others read key, entry and proof as they lie in the bundle."""
    program = Outside(tmp_path_factory.mktemp("outside"))
    for folder in sorted((bundle / "records").iterdir()):
        entry = (folder / "entry.json").read_bytes()
        proof = (folder / "proof.tlog-proof").read_text(encoding="utf-8")
        program.record(held.key.vkey, entry, proof)
        with pytest.raises(OutsideError):
            program.record(held.key.vkey, entry + b" ", proof)


def test_an_export_verifies_with_the_packages_of_go(
    held: Held, exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Programs of others read its checkpoint and its tiles, and find each record in them."""
    program = Outside(tmp_path_factory.mktemp("outside"))
    store = connect_seals(held.database, AuditConfig())
    lines = (exported / "records.jsonl").read_bytes().splitlines()
    for line in (lines[-1], lines[300], lines[0]):
        document = from_json(line)
        entry, place = entry_of(document, "records"), numbered(document)
        assert entry is not None
        assert place is not None
        index = index_of(store, *place)
        assert index is not None
        assert f"found {index}" in program.exported(held.key.vkey, entry, index, exported)
        with pytest.raises(OutsideError):
            program.exported(held.key.vkey, entry + b" ", index, exported)
    tile = exported / "tile" / "0" / "000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    with pytest.raises(OutsideError):
        program.exported(held.key.vkey, entry, index, exported)


@pytest.mark.parametrize("mode", ["direct", "high_volume"])
def test_a_log_that_is_being_written_is_never_accused(
    mode: str, database: Database[Docs], tmp_path: Path
) -> None:
    """Records, leaves and seals arrive in any order while a verification reads; none is wrong."""
    many = mode == "high_volume"
    key, stop = Signer("affidavit/live"), threading.Event()
    reports: list[Report] = []
    config = AuditConfig(batch_writes=many, async_writes=many, flush_interval=0.2, seal="off")

    def write(audit: AuditLogger) -> None:
        while not stop.is_set():
            with audit.call(provider="p", model="m", message="hello", user_id="u") as call:
                call.complete(text="answer")
            stop.wait(0.005)

    def grow() -> None:
        while not stop.wait(0.2):
            seal(database, key)

    with AuditLogger(database, config, spool_dir=str(tmp_path)) as audit:
        connect_seals(database, AuditConfig()).claim(key.name, key.vkey)
        threads = [threading.Thread(target=write, args=(audit,)) for _ in range(3)]
        threads.append(threading.Thread(target=grow))
        for thread in threads:
            thread.start()
        ends_s = time.monotonic() + 5
        while time.monotonic() < ends_s:
            now_ms = time.time_ns() // 1_000_000
            store = connect_seals(database, AuditConfig())
            reports.append(verify(store, Trust(key.vkey), now_ms=now_ms))
        stop.set()
        for thread in threads:
            thread.join()
    assert len(reports) > 5
    assert [finding for report in reports for finding in report.findings] == []
    assert reports[-1].counts["matched"] > reports[0].counts["matched"]
