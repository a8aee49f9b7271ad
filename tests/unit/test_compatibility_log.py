"""What was proved once stays provable: logs, evidence and spools of every version so far."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from affidavit import AuditLogger
from affidavit.canonical import entry_of, from_json
from affidavit.event import Dest
from affidavit.evidence.folder import ExportFolder
from affidavit.evidence.inspect import verify_bundle
from affidavit.integrity.findings import Level, Report, Verdict
from affidavit.integrity.leaves import check, from_document
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import verify
from affidavit.spool import owner
from affidavit.store import seals_beside
from affidavit.store.memory import MemoryStore

pytestmark = pytest.mark.requirement("R6", "R20", "R21")

ROOT = Path(__file__).parents[2]
VERIFIER = ROOT / "verifier" / "affidavit_verify.py"
LOGS = sorted((ROOT / "tests" / "fixtures").glob("v*/log"))
of_each_version = pytest.mark.parametrize("log", LOGS, ids=lambda path: path.parent.name)


def checked(log: Path) -> tuple[ExportFolder, Report]:
    """Verify an export against the key and the checkpoint that were kept beside it."""
    folder = ExportFolder(log / "export")
    saved, vkey = (log / "saved.checkpoint").read_text(), (log / "first.vkey").read_text().strip()
    newest = max(seal["at"] for seal in folder.seals()) + timedelta(minutes=1)
    trust = Trust(vkey, "vkey", saved)
    report = verify(folder, trust, now_ms=int(newest.timestamp() * 1000))
    folder.check_manifest(report, trust.keys)
    return folder, report


@of_each_version
def test_an_export_of_each_version_verifies(log: Path) -> None:
    """With a gap, late and rebuilt leaves, a rotated key, erased and adopted documents."""
    folder, report = checked(log)
    assert (report.findings, report.level, report.limits) == ([], Level.SELF_ATTESTED, [])
    assert (report.verdict, report.unconfirmed) == (Verdict.UNCONFIRMED, 8)
    counts = report.counts
    assert report.size > 256
    assert (counts["gaps"], counts["late"], counts["rebuilt"]) == (6, 4, 5)
    assert (counts["erased"], counts["adopted"], counts["unproved"]) == (5, 3, 0)
    assert counts["leaves"] == report.size == counts["matched"] + 1
    kinds = Counter(record["event_type"] for record in folder.documents("ledger"))
    assert kinds.keys() >= {"hold", "erasure", "adoption", "adoption_closed", "key_rotation"}
    assert {"rate_limit_exceeded", "security_event", "annotation", "llm_response"} <= {
        record["event_type"] for record in folder.documents("records")
    }


@of_each_version
@pytest.mark.parametrize("part", ["records", "ledger", "leaf_batches", "seals"])
def test_an_edit_of_such_an_export_is_still_found(log: Path, part: str, tmp_path: Path) -> None:
    """A newer program does not become more lenient with what is old."""
    copy = tmp_path / "log"
    shutil.copytree(log, copy)
    path = copy / "export" / f"{part}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    field = {"seals": b'"n":', "leaf_batches": b'"s0":'}.get(part, b'"seq":')
    at = next(n for n in range(len(lines) // 2, len(lines)) if field in lines[n])
    lines[at] = lines[at].replace(field, field + b"1", 1)
    path.write_bytes(b"".join(lines))
    assert not checked(copy)[1].clean


@of_each_version
def test_the_leaf_batches_of_each_version_are_read(log: Path) -> None:
    """Those of writers, and those that the sealer made, by both keys of the log."""
    made: Counter[str] = Counter()
    for document in ExportFolder(log / "export").documents("leaf_batches"):
        batch = from_document(document)
        check(batch)
        made[batch.made] += 1
    assert made.keys() == {"writer", "log"}


@of_each_version
@pytest.mark.parametrize("name", ["bundle", "bundle-erased"])
def test_a_bundle_of_each_version_verifies(log: Path, name: str) -> None:
    """By the package, by the small program, and by the shell script that lies in it."""
    bundle = log / name
    vkey = (bundle / "log.vkey").read_text().strip()
    report = verify_bundle(bundle, vkey)
    assert (report.findings, report.counts["matched"]) == ([], 3)
    about = json.loads((bundle / "call.json").read_bytes())
    first = bundle / about["records"][0]["folder"]
    record = from_json((first / "record.json").read_bytes())
    assert entry_of(record, "records") == (first / "entry.json").read_bytes()
    assert ("erased" in record) == (name == "bundle-erased")
    command: list[Any] = [sys.executable, VERIFIER, bundle, "--vkey", vkey]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    shell = subprocess.run(["sh", "check.sh"], cwd=bundle, capture_output=True, check=False)
    assert shell.returncode == 0, shell.stdout


@of_each_version
def test_the_small_verifier_reads_an_export_of_each_version(log: Path) -> None:
    """Beginning with the log's first key, and following the rotation."""
    known = ["--vkey", (log / "first.vkey").read_text().strip()]
    command: list[Any] = [sys.executable, VERIFIER, log / "export", *known]
    told = subprocess.run(
        [*command, "--checkpoint", log / "saved.checkpoint"],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert told.returncode == 3, told.stdout  # content was erased after the checkpoint
    assert told.stdout.startswith("NOT CONFIRMED: complete, with 3 erased for reasons")
    told = subprocess.run(command, capture_output=True, check=False, text=True)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize(
    "spool", sorted(ROOT.glob("tests/fixtures/v*/leaves-in-spool")), ids=lambda p: p.parent.name
)
def test_leaf_batches_in_a_spool_of_each_version_are_sent(spool: Path, tmp_path: Path) -> None:
    """With the signatures that they were given then, over the records that come with them."""
    store = MemoryStore(f"memory:compatibility-leaves-{spool.parent.name}")
    folder = owner.dataset_folder(tmp_path, store.dataset)
    folder.mkdir(parents=True)
    for path in spool.iterdir():
        shutil.copy(path, folder / f"0123456789ab{path.suffix}")
    seals = seals_beside(store)
    assert seals is not None
    with AuditLogger(store, spool_dir=str(tmp_path), seal="off"):
        give_up_s = time.monotonic() + 10
        while time.monotonic() < give_up_s:
            kinds = [document["event_type"] for document in store.documents(Dest.LEDGER)]
            if "spool_adopted" in kinds:
                break
            time.sleep(0.02)
    intent, outcome = store.documents()[:2]
    leaves = {}
    for document in seals.batches_of(intent["writer"]):
        batch = from_document(document)
        check(batch)
        leaves.update({batch.s0 + at: leaf for at, leaf in enumerate(batch.leaves)})
    from affidavit.canonical import leaf_hash

    for record in (intent, outcome):
        entry = entry_of(record, "records")
        assert entry is not None
        assert leaves[record["seq"]] == leaf_hash(entry)
