"""Erasing content on request, on a real server: figures and proofs stay, and everything is told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import bson
import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from affidavit import AuditConfig, AuditLogger, canonical
from affidavit.cli import run
from affidavit.integrity.note import Signer
from affidavit.sealer.keys import LogKey
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import connect, connect_seals, open_log
from tests.support.documents import old_call, old_security
from tests.support.sealing import Writer

if TYPE_CHECKING:
    from pymongo.database import Database

Docs = dict[str, Any]
VERIFIER = Path(__file__).parents[2] / "verifier" / "affidavit_verify.py"
pytestmark = pytest.mark.requirement("R21", "R20")

WHO = "ana-maria-0815"
SAID = "Ana Maria asks about her mortgage"
ASK = ["--reason", "request 2026-117", "--yes"]


class Held(NamedTuple):
    """A sealed log of two users, and what an auditor holds outside of it."""

    database: Database[Docs]
    key: Signer
    saved: Path
    folder: Path
    calls: list[str]
    """The first user's."""


def seal(database: Database[Docs], key: Signer) -> str:
    """Seal what is there; give the newest checkpoint."""
    store = connect_seals(database, AuditConfig())
    if store.identity() is None:
        store.claim(key.name, key.vkey)
    seal_once(Sealer(store, lambda: LogKey(key), where="service"))
    last = store.last_seal()
    return "" if last is None else str(last["cp"])


def record(database: Database[Docs], spool: Path, calls: int = 20, **more: Any) -> list[str]:
    """Record calls of two users in turn, one with an annotation; give the first user's."""
    made = []
    with AuditLogger(database, spool_dir=str(spool), seal="off", batch_writes=True, **more) as log:
        for number in range(2 * calls):
            who = WHO if number % 2 else "bob"
            with log.call(
                provider="p", model="m", message=f"{SAID} {number}" if number % 2 else "hello",
                user_id=who, department="research", ip_address="192.0.2.7", fields={"symbol": "B"},
            ) as call:  # fmt: skip
                answer = f"the answer to {SAID}" if number % 2 else "hello"
                call.complete(text=answer, input_tokens=3, cost_usd="0.25")
            if number % 2:
                made.append(call.call_id)
        log.annotate(made[0], kind="review", name="tone", value=1, note=f"{SAID}: fine")
    return made


@pytest.fixture
def held(
    database: Database[Docs], mongodb_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Held:
    """A sealed log; the command finds it by the environment."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    key = Signer("affidavit/erasing")
    calls = record(database, tmp_path / "spool")
    saved = tmp_path / "saved"
    saved.write_text(seal(database, key), encoding="utf-8")
    return Held(database, key, saved, tmp_path, calls)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Docs]:
    """Run a command with --json; its exit code and answer."""
    capsys.readouterr()
    code = run([*arguments, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


def verified(held: Held, capsys: pytest.CaptureFixture[str]) -> tuple[int, Docs]:
    """Verify the whole log against what was saved before, by somebody who has asked why."""
    return told(
        capsys,
        *("verify", "--checkpoint", str(held.saved), "--vkey", held.key.vkey, "--accept-excuses"),
    )


def everything(database: Database[Docs]) -> bytes:
    """Every stored byte of the database."""
    names = sorted(database.list_collection_names(filter={"type": "collection"}))
    return b"".join(bson.encode(each) for name in names for each in database[name].find())


def of_ana(held: Held) -> list[Docs]:
    """What is stored of the first user's calls, erased or not."""
    ids = [ObjectId(call) for call in held.calls]
    asked: Docs = {"$or": [{"_id": {"$in": ids}}, {"call_id": {"$in": held.calls}}]}
    return list(held.database.llm_audit.find(asked).sort("seq", 1))


# -- a user's content ------------------------------------------------------------------------------


def test_what_a_user_said_is_gone_and_the_proofs_hold(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a byte of it is left, figures are, nothing is wrong; who has a checkpoint is to ask."""
    before = of_ana(held)
    code, said = told(capsys, "erase", "--user", WHO, *ASK)
    assert (code, said["receipt"]["erased"], said["receipt"]["left"]) == (0, 41, [])
    left = of_ana(held)
    assert len(left) == len(before) == 41
    for was, now in zip(before, left, strict=True):
        assert canonical.entry_of(now, "records") == canonical.entry_of(was, "records")
        assert now.keys().isdisjoint({"salt", "department", "client_info", "details"})
        assert now.get("user_id") is None
    paid = [d["response_data"]["cost_usd"] for d in left if d["event_type"] == "llm_response"]
    assert paid == [Decimal128("0.250000000")] * 20
    code, report = verified(held, capsys)
    assert (code, report["found"], report["counts"]["erased"]) == (0, {}, 41)
    seal(held.database, held.key)
    code, report = verified(held, capsys)
    assert (code, report["found"], report["counts"]["erased"]) == (0, {}, 41)
    older = ("verify", "--checkpoint", str(held.saved), "--vkey", held.key.vkey)
    code, report = told(capsys, *older)
    assert (code, report["found"], report["verdict"]) == (21, {}, "unconfirmed")
    stored = everything(held.database)
    assert SAID.encode() not in stored
    assert WHO.encode() not in stored
    assert b"bob" in stored
    assert run(["verify"]) == 0
    assert "41 with content erased" in capsys.readouterr().out


def test_the_ledger_is_told_before_and_after_and_never_what(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which records, which groups, why, by whom; then the receipt."""
    reason = "asked by anna@example.org, ticket 5"
    assert run(["erase", "--user", WHO, "--yes", "--reason", reason]) == 0
    first, last = held.database.llm_audit_ledger.find({"event_type": "erasure"}).sort("seq", 1)
    assert first["details"]["phase"] == "announced"
    assert {str(each) for each in first["details"]["records"]} == {
        str(each["_id"]) for each in of_ana(held)
    }
    assert "response" in first["details"]["groups"]
    assert first["actor"]["os_user"]
    assert "example.org" not in first["details"]["reason"]
    assert "ticket 5" in first["details"]["reason"]
    assert (last["details"]["phase"], last["details"]["erased"]) == ("done", 41)
    assert last["details"]["erasure"] == first["details"]["erasure"]
    assert "receipt  erasure-" in capsys.readouterr().out


def test_erasing_again_finds_nothing(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """By call, for a user can no more be found; nothing is announced twice."""
    assert run(["erase", "--user", WHO, *ASK]) == 0
    code, said = told(capsys, "erase", "--user", WHO, *ASK)
    assert (code, said["planned"]["records"], said["receipt"]) == (0, 0, None)
    calls = [word for call in held.calls for word in ("--call", call)]
    code, said = told(capsys, "erase", *calls, *ASK)
    assert (code, said["planned"]["nothing_to_erase"], said["receipt"]) == (0, 41, None)
    assert held.database.llm_audit_ledger.count_documents({"event_type": "erasure"}) == 2


def test_single_groups_of_a_single_call(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest of it stays, and can be erased later; so can a single record."""
    call = held.calls[3]
    options = ["--groups", "request,response", *ASK]
    code, said = told(capsys, "erase", "--call", call, *options)
    assert (code, said["receipt"]["erased"]) == (0, 2)
    intent = held.database.llm_audit.find_one({"_id": ObjectId(call)})
    assert intent is not None
    assert (intent["user_id"], intent["request_data"]) == (WHO, {"symbol": "B"})
    code, said = told(capsys, "erase", "--record", call, *ASK)
    assert (code, said["receipt"]["erased"]) == (0, 1)
    seal(held.database, held.key)
    code, report = verified(held, capsys)
    assert (code, report["counts"]["erased"]) == (0, 2)
    assert run(["show", call]) == 0
    assert run(["search", "--since", "1h"]) == 0


def test_since_and_until_bound_whole_calls(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """What lies outside stays as it is."""
    code, said = told(capsys, "erase", "--user", WHO, "--until", "2020-01-01", *ASK)
    assert (code, said["planned"]["records"]) == (0, 0)
    code, said = told(capsys, "erase", "--user", WHO, "--since", "1h", *ASK)
    assert (code, said["receipt"]["erased"]) == (0, 41)


def test_a_dry_run_says_what_would_go_and_changes_nothing(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """It needs no reason, and the reading is noted without the name."""
    before = list(held.database.llm_audit.find())
    code, said = told(capsys, "erase", "--user", WHO, "--dry-run")
    assert (code, said["planned"]["records"], said["receipt"]) == (0, 41, None)
    assert said["planned"]["by_group"]["subject"] >= 40
    assert list(held.database.llm_audit.find()) == before
    noted = held.database.llm_audit_ledger.find_one({"details.command": "erase"})
    assert noted is not None
    assert WHO not in str(noted["details"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "one of --user, --call and --record"),
        (["--user", WHO, "--call", "x"], "one of --user, --call and --record"),
        (["--call", "x", "--since", "1h"], "--user only"),
        (["--user", WHO, "--groups", "everything"], "Groups are"),
        (["--user", WHO], "--reason"),
        (["--user", WHO, "--reason", "r"], "--yes"),
    ],
)
def test_a_wrong_argument_erases_nothing(
    held: Held, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text names the option that is missing or wrong."""
    assert run(["erase", *options]) == 2
    assert text in capsys.readouterr().err
    assert WHO.encode() in everything(held.database)


def test_a_keyed_user_is_found_by_name_and_by_token(
    database: Database[Docs], mongodb_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Where records hold tokens, whoever has the key erases by the name."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.setenv("AFFIDAVIT_REDACTION_KEY", "hex:" + "ab" * 32)
    monkeypatch.setenv("AFFIDAVIT_IDENTITY", "keyed")
    record(database, tmp_path / "spool", calls=2)
    code, said = told(capsys, "erase", "--user", WHO, *ASK)
    assert (code, said["receipt"]["erased"]) == (0, 5)


def test_sums_by_user_are_made_anew(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says that they still name the user; rebuilt, both sides are without the name."""
    assert run(["rollups", "run"]) == 0
    assert WHO.encode() in everything(held.database)
    code, said = told(capsys, "erase", "--user", WHO, *ASK)
    assert (code, said["rollups_to_rebuild"]) == (0, True)
    seal(held.database, held.key)
    left = [
        name
        for name in held.database.list_collection_names(filter={"type": "collection"})
        if any(WHO.encode() in bson.encode(each) for each in held.database[name].find())
    ]
    assert left == ["llm_audit_rollups_a"]
    for _ in range(2):
        assert run(["rollups", "rebuild"]) == 0
    assert WHO.encode() not in everything(held.database)
    code, answer = told(capsys, "stats", "usage")
    assert code == 0
    assert answer["totals"]["calls"] == 40


# -- evidence made later ---------------------------------------------------------------------------


def test_exports_and_bundles_made_later_verify(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command, by the small verifier and by a shell; what was erased is not in them."""
    assert run(["erase", "--user", WHO, *ASK]) == 0
    assert run(["export", "--out", "early"]) == 0  # the ledger's records are not sealed yet
    seal(held.database, held.key)
    assert run(["export", "--out", "late"]) == 0
    assert run(["prove", held.calls[0], "--out", "bundle"]) == 0
    key = ["--vkey", held.key.vkey]
    for folder in ("early", "late"):
        saved = ("--checkpoint", str(held.saved), *key, "--accept-excuses")
        code, report = told(capsys, "verify", folder, *saved)
        assert (code, report["counts"]["erased"]) == (0, 41)
        assert SAID.encode() not in (Path(folder) / "records.jsonl").read_bytes()
    assert run(["verify", "bundle", *key]) == 0
    for folder in ("late", "bundle"):
        command = [sys.executable, str(VERIFIER), folder, *key]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    shell = subprocess.run(["sh", "check.sh"], cwd="bundle", capture_output=True, check=False)
    assert shell.returncode == 0, shell.stdout
    about = json.loads(Path("bundle/records/1-llm_request/record.json").read_bytes())
    assert "request" in about["erased"]


# -- under the pretext of an erasure ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"$set": {"response_data.cost_usd": Decimal128("0.010000000")}}, "altered"),
        ({"$set": {"response_data.text": "I never said that"}}, "altered"),
        ({"$set": {"erased.response": bytes(32)}}, "altered"),
        ({"$unset": {"erased": 1}}, "altered"),
        ({"$unset": {"salts": 1, "erased": 1}}, "altered"),
    ],
    ids=["cost", "put back", "commitment", "marks", "all marks"],
)
def test_a_field_edited_under_the_pretext_of_an_erasure_is_found(
    held: Held, change: Docs, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The entry is what it was, or the record was altered, whatever the ledger says."""
    assert run(["erase", "--user", WHO, *ASK]) == 0
    seal(held.database, held.key)
    wanted = {"call_id": held.calls[2], "event_type": "llm_response"}
    assert held.database.llm_audit.update_one(wanted, change).modified_count == 1
    code, report = verified(held, capsys)
    assert (code, report["found"]) == (14, {kind: 1})


def test_more_erased_than_was_announced_is_found(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """An announcement is about groups too: the rest of the record is not free for all."""
    call = held.calls[1]
    assert run(["erase", "--call", call, "--groups", "request", *ASK]) == 0
    seal(held.database, held.key)
    wanted = {"call_id": call, "event_type": "llm_response"}
    document = held.database.llm_audit.find_one(wanted)
    assert document is not None
    less = canonical.erase(document, "records", ["response"])
    held.database.llm_audit.replace_one(wanted, less)
    code, report = verified(held, capsys)
    assert (code, report["found"]) == (20, {"erased_without_record": 1})
    assert str(document["_id"]) in report["findings"][0]["text"]


def test_an_altered_record_is_not_made_good_by_erasing(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was edited before stays a finding; what has no entry left is not touched."""
    edited = {"call_id": held.calls[1], "event_type": "llm_response"}
    held.database.llm_audit.update_one(edited, {"$set": {"model": "another"}})
    broken = {"call_id": held.calls[2], "event_type": "llm_response"}
    held.database.llm_audit.update_one(broken, {"$set": {"erased": {"details": bytes(32)}}})
    code, said = told(capsys, "erase", "--user", WHO, *ASK)
    assert (code, said["receipt"]["erased"], len(said["planned"]["altered"])) == (1, 40, 1)
    seal(held.database, held.key)
    code, report = verified(held, capsys)
    assert (code, report["found"]) == (14, {"altered": 2})


# -- interrupted -----------------------------------------------------------------------------------


KILLED_AT = {
    "after half of the announcement": ("note", 1, 0),
    "after the announcement": ("note", 2, 0),
    "in the middle": ("replace", 2, 400),
    "in the middle of a replacement": ("replace", 3, 500),
    "before the receipt": ("replace", 5, 842),
}
"""In which method, at which of its calls, and how many records are erased by then."""


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("moment", KILLED_AT)
def test_an_erasure_that_is_killed_can_be_finished(
    held: Held, moment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it was killed, the log verifies in between, and nothing is left in the end."""
    method, call, erased = KILLED_AT[moment]
    record(held.database, held.folder / "more", calls=400)
    seal(held.database, held.key)
    part = "pairs[:100]" if "of a replacement" in moment else "pairs"
    program = f"""
import os, signal, sys
from affidavit.lifecycle import erasure
from affidavit.store.mongo.erasing import MongoErasing as M
erasure.ANNOUNCED_AT_ONCE = 500
was, seen = M.{method}, [0]
def now(self, *arguments):
    seen[0] += 1
    pairs = arguments[0]
    last = seen[0] == {call}
    done = was(self, {part}) if last and {method!r} == "replace" else was(self, *arguments)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
M.{method} = now
from affidavit.cli import run
sys.exit(run(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, "erase", "--user", WHO, *ASK]
    died = subprocess.run(command, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert held.database.llm_audit.count_documents({"erased": {"$exists": True}}) == erased
    code, report = verified(held, capsys)
    assert (code, report["found"], report["counts"].get("erased", 0)) == (0, {}, erased)
    begun = 0 if "half" in moment else 1
    code, said = told(capsys, "erase", "--user", "nobody", *ASK)
    assert (code, len(said["interrupted"])) == (begun, begun)
    code, receipts = told(capsys, "erase", "--finish", "--yes")
    assert (code, len(receipts)) == (0, begun)
    for receipt in receipts:
        assert (receipt["erased"], receipt["already"]) == (842 - erased, erased)
    if not begun:
        assert run(["erase", "--user", WHO, *ASK]) == 0
    done = {"event_type": "erasure", "details.phase": "done"}
    assert held.database.llm_audit_ledger.count_documents(done) == 1
    seal(held.database, held.key)
    code, report = verified(held, capsys)
    assert (code, report["found"], report["counts"]["erased"]) == (0, {}, 842)
    assert SAID.encode() not in everything(held.database)


def test_what_was_not_wholly_announced_was_not_begun(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next erasure looks anew: an annotation may be in the part that is missing."""
    from affidavit.event import LedgerEvent

    with open_log(held.database, AuditConfig()) as log:
        details = {"erasure": "erasure-x", "phase": "announced", "part": 0, "parts": 2,
                   "groups": ["subject"], "records": [ObjectId(held.calls[0])]}  # fmt: skip
        log.erasing.note(LedgerEvent.ERASURE, details)
    code, said = told(capsys, "erase", "--user", WHO, *ASK)
    assert (code, said["interrupted"], said["receipt"]["erased"]) == (0, [], 41)


def test_an_announcement_alone_is_no_order(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may add to the ledger can write one: it is shown with its author, and asked about."""
    from affidavit.event import LedgerEvent

    with open_log(held.database, AuditConfig()) as log:
        details = {"erasure": "erasure-x", "phase": "announced", "part": 0, "parts": 1,
                   "groups": ["subject"], "reason": "why", "selected_by": "user",
                   "records": [ObjectId(held.calls[0])]}  # fmt: skip
        log.erasing.note(LedgerEvent.ERASURE, details)
    assert run(["erase", "--user", "bob", *ASK]) == 1
    assert held.database.llm_audit.count_documents({"user_id": WHO}) == 40
    assert run(["erase", "--finish"]) == 2
    said = capsys.readouterr().err
    assert "subject of 1 records" in said
    assert run(["doctor"]) == 1
    assert "erasure-x of 1 records was announced and not finished" in capsys.readouterr().out
    assert "--yes" in said
    assert held.database.llm_audit.count_documents({"user_id": WHO}) == 40


def test_a_spool_that_is_sent_again_brings_nothing_back(database: Database[Docs]) -> None:
    """A record that is there without its content is the same record; an edited one is not."""
    store = connect(database, AuditConfig())
    store.prepare(30)
    writer = Writer(store, "aaaaaaaaaaaa")
    writer.record(3)
    for seq, change in ((1, {"erase": "u"}), (2, {"edit": "x"})):
        document = database.llm_audit.find_one({"seq": seq})
        assert document is not None
        less = canonical.erase(document, "records", ["subject", "details"])
        kept = less if "erase" in change else {**document, "user_id": "x"}
        database.llm_audit.replace_one({"_id": document["_id"]}, kept)
    again = store.append([writer.encoded(seq) for seq in range(3)], 10)
    assert [verdict.outcome for verdict in again] == ["stored", "stored", "rejected"]
    assert "user_id" not in (database.llm_audit.find_one({"seq": 1}) or {})
    store.close()


# -- holds -----------------------------------------------------------------------------------------


def test_a_hold_refuses_until_it_is_released(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """By user; the ledger and the list do not name who it is, and another user is not held."""
    code, said = told(capsys, "hold", "add", "--user", WHO, "--reason", "case 12")
    assert code == 0
    code, refused = told(capsys, "erase", "--user", WHO, *ASK)
    assert (code, refused["receipt"], refused["planned"]["held"]) == (1, None, {said["hold"]: 40})
    assert SAID.encode() in everything(held.database)
    assert run(["erase", "--user", "bob", *ASK]) == 0
    for kept in held.database.llm_audit_ledger.find({"event_type": "hold"}):
        assert WHO.encode() not in bson.encode(kept["details"])
    assert run(["hold", "list"]) == 0
    assert "case 12" in capsys.readouterr().out
    assert run(["hold", "release", said["hold"], "--reason", "closed"]) == 0
    assert run(["hold", "release", said["hold"], "--reason", "closed"]) == 2
    assert run(["erase", "--user", WHO, *ASK]) == 0
    seal(held.database, held.key)
    assert verified(held, capsys)[0] == 0


@pytest.mark.parametrize("of", ["--call", "--record", "--all"])
def test_calls_records_and_everything_can_be_held(
    held: Held, of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One held record is enough to refuse an erasure of more."""
    name = [] if of == "--all" else [held.calls[0]]
    assert run(["hold", "add", of, *name, "--reason", "case 1"]) == 0
    assert run(["erase", "--user", WHO, *ASK]) == 1
    assert "hold list" in capsys.readouterr().err


def test_a_hold_set_after_the_announcement_is_respected(
    held: Held, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is held by the time its turn comes is left, and said to be."""
    from affidavit.lifecycle import erasure, holds
    from affidavit.store.erasing import Chosen

    with open_log(held.database, AuditConfig()) as log:
        planned = erasure.plan(log.erasing, Chosen(users=(WHO,)))
        holds.add(log.erasing, "call", [held.calls[0]], "case 2")
        receipt = erasure.carry_out(log.erasing, planned, "r")
    assert (receipt.erased, len(receipt.left)) == (38, 3)
    seal(held.database, held.key)
    assert verified(held, capsys)[0] == 0


# -- never proved ----------------------------------------------------------------------------------


@pytest.mark.requirement("R35")
def test_an_older_loggers_documents_are_erased_too(
    database: Database[Docs], mongodb_uri: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whatever fields they have; what they cost and when stays."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    at = datetime.now(UTC) - timedelta(hours=1)
    database.llm_audit.insert_many([
        old_call(at, user_id=WHO, prompt=SAID, app={"who": WHO}),
        old_security(at) | {"user_id": WHO},
        old_call(at, user_id="bob"),
    ])  # fmt: skip
    assert run(["setup", "--enforce"]) == 0
    code, said = told(capsys, "erase", "--user", WHO, *ASK)
    assert (code, said["receipt"]["erased"], said["receipt"]["without_proof"]) == (0, 2, 2)
    code, said = told(capsys, "erase", "--user", WHO, *ASK)
    assert said["receipt"] is None
    left = [each for each in database.llm_audit.find() if each.get("user_id") != "bob"]
    assert WHO.encode() not in b"".join(map(bson.encode, left))
    (call,) = [each for each in left if each["event_type"] == "llm_request"]
    assert call["response_data"] == {
        "provider_used": "openai", "tokens_used": 1250, "cost_usd": 0.045,
        "processing_time_ms": 1500,
    }  # fmt: skip
    assert call["timestamp"] == at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert run(["search", "--since", "1d"]) == 0
