"""A verification names what was done to a log, and finds nothing in one that nobody touched."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from affidavit.canonical import erase, leaf_of
from affidavit.canonical.values import epoch_ms
from affidavit.integrity.checkpoint import Checkpoint, sign_checkpoint
from affidavit.integrity.coverage import Ranges
from affidavit.integrity.findings import EXIT_CODES, Kind, Level, Report
from affidavit.integrity.leaves import Signer, build, from_document
from affidavit.integrity.note import cosignature_line, cosigner_key, sign_note
from affidavit.integrity.trust import BadCheckpointError, Trust
from affidavit.integrity.verify import Scope, verify
from tests.support.small_log import DAY_S, SmallLog, Writer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.requirement("R20", "R21")


@lru_cache
def _made() -> SmallLog:
    log = SmallLog()
    first, second = log.start("w-a"), log.start("w-b")
    for _ in range(8):
        log.seal([log.calls(first, 30), log.calls(second, 20)])
    log.at += timedelta(minutes=10)
    log.seal([log.calls(first, 3)])
    return log


@pytest.fixture
def log() -> SmallLog:
    """A log of two writers and 406 leaves; its last three are ten minutes after the others."""
    return _made().copy()


def checked(log: SmallLog, *, later_s: float = 1, **options: Any) -> Report:
    """Verify against the key and the checkpoint that were saved before anything was done to it."""
    scope = Scope(**options.pop("scope", {}))
    known = {"vkey": _made().signer.vkey, "saved": _made().checkpoint, **options}
    now_ms = epoch_ms(log.at) + int(later_s * 1000)
    return verify(log, Trust(**known), now_ms=now_ms, scope=scope)


def sealed_on(host: str, where: str = "service") -> SmallLog:
    """A log whose one writer started on the host ``app``, sealed by somebody on a host."""
    log = SmallLog()
    writer = log.start("w-a")
    actor = {"host": "app", "leaf_key": writer.signer.vkey}
    start = {"event_type": "writer_start", "actor": actor}
    log.seal([log.batch(writer, [("ledger", start)])])
    log.seal([log.calls(writer, 3)], by={"host": host, "where": where})
    return log


@pytest.mark.parametrize(
    ("host", "where", "level"),
    [
        ("app", "service", Level.SELF_ATTESTED),
        ("elsewhere", "in-process", Level.SELF_ATTESTED),
        ("elsewhere", "service", Level.SEPARATED),
    ],
)
def test_a_key_that_lies_where_records_are_written_attests_itself(
    host: str, where: str, level: Level
) -> None:
    """As pages and the status judge it: by who sealed, and on which hosts writers ran."""
    log = sealed_on(host, where)
    report = checked(log, vkey=log.signer.vkey, saved=log.checkpoint)
    assert (report.findings, report.level) == ([], level)


# -- untouched -------------------------------------------------------------------------------------


def test_an_untouched_log_is_clean(log: SmallLog) -> None:
    """Every leaf is replayed, every record found under its leaf, and the key was known before."""
    report = checked(log)
    assert (report.findings, report.exit_code, report.level) == ([], 0, Level.SEPARATED)
    assert report.size == report.counts["matched"] == report.saved_size == 406
    assert report.checkpoint == log.checkpoint


def test_a_key_that_only_the_store_names_attests_itself(log: SmallLog) -> None:
    """Without a key from outside nothing is found, and the level says what that is worth."""
    report = checked(log, vkey=None, saved=None)
    assert (report.clean, report.level, report.pinned_by) == (True, Level.SELF_ATTESTED, "nothing")


def test_a_saved_checkpoint_pins_the_key(log: SmallLog) -> None:
    """The key in the store is the log's if it signed what was saved outside."""
    report = checked(log, vkey=None)
    assert (report.clean, report.level, report.pinned_by) == (True, Level.SEPARATED, "checkpoint")


def test_a_saved_checkpoint_that_a_known_witness_signed_is_witnessed(log: SmallLog) -> None:
    """Only a witness that was known beforehand counts, and only with its own signature."""
    text = log.checkpoint.partition("\n\n")[0] + "\n"
    witness, other = Signer("witness.example"), Signer("witness.example")
    cosigned = log.checkpoint + str(cosignature_line(text, witness, 1_800_000_000))
    known = [cosigner_key(witness.key)]
    assert checked(log, saved=cosigned, witnesses=known).level is Level.WITNESSED
    assert checked(log, saved=cosigned).level is Level.SEPARATED
    unknown = [cosigner_key(other.key)]
    assert checked(log, saved=cosigned, witnesses=unknown).level is Level.SEPARATED
    delete(log)
    assert checked(log, saved=cosigned, witnesses=known).level is Level.NONE


@pytest.mark.parametrize("at", [0, 3, 7])
def test_an_older_checkpoint_is_met_on_the_way(log: SmallLog, at: int) -> None:
    """The log grew from the saved checkpoint if its root is met at that size."""
    report = checked(log, saved=log.log[at]["cp"])
    assert report.clean
    assert report.saved_size == log.log[at]["size"]


def test_only_what_came_after_the_saved_checkpoint(log: SmallLog) -> None:
    """From a checkpoint that is believed on, only newer leaves and records are read."""
    saved = log.log[6]
    report = checked(log, saved=saved["cp"], scope={"from_saved": True})
    assert report.clean
    assert report.counts["leaves"] == report.counts["matched"] == 406 - saved["size"]
    log.held["records"][-1]["model"] = "x"
    found = checked(log, saved=saved["cp"], scope={"from_saved": True})
    assert found.kinds == {Kind.ALTERED: 1}


@pytest.mark.parametrize("how", ["cut", "emptied", "frontier", "rewritten"])
def test_the_saved_checkpoint_is_not_passed_over(log: SmallLog, how: str) -> None:
    """Whoever reads only what is newer still sees that what is older is not there any more."""
    saved, kind = log.log[6]["cp"], Kind.ROLLED_BACK
    if how == "cut":
        del log.log[4:]
        kind = Kind.CUT_OFF
    elif how == "emptied":
        empty(log)
    elif how == "frontier":
        log.log[6]["frontier"] = log.log[5]["frontier"]
    else:
        key = log.signer
        log.__dict__.update(SmallLog().__dict__)
        log.signer, log.who = key, {"_id": "log", "origin": key.name, "vkey": key.vkey}
        for _ in range(20):
            log.seal([log.calls(log.start(f"w{len(log.log)}"), 30)])
    report = checked(log, saved=saved, scope={"from_saved": True})
    assert kind in report.kinds
    assert sum(report.kinds.values()) <= (1 if how != "emptied" else 2) or how == "rewritten"


def test_a_gap_and_its_late_records_are_clean() -> None:
    """Numbers that never came are sealed as a gap; late ones are sealed when they come."""
    log = SmallLog()
    writer = log.start("w")
    early, late = log.calls(writer, 5), log.calls(writer, 4)
    writer.seq += 3  # lost in memory
    after = log.calls(writer, 5)
    gap = {"gap": "w", "s0": 6, "n": 7, "t": epoch_ms(log.at)}
    log.seal([early, gap, after])
    log.at += timedelta(hours=3)
    log.seal([{**late, "late": True}])
    report = checked(log, vkey=None, saved=None)
    assert report.clean, report.findings
    assert (report.counts["late"], report.counts["gaps"]) == (4, 7)


def test_a_writer_whose_announcement_never_came_is_not_accused() -> None:
    """Its first numbers are sealed as a gap; what it signed afterwards is judged by the tree."""
    log = SmallLog()
    writer = Writer("w")
    writer.seq = 2
    after = log.calls(writer, 5)
    log.seal([{"gap": "w", "s0": 0, "n": 2, "t": epoch_ms(log.at)}, after])
    assert checked(log, vkey=None, saved=None).clean


def test_records_of_the_last_minutes_wait_for_the_sealer(log: SmallLog) -> None:
    """What was just written is not proved yet, and is no finding."""
    writer = log.start("w-c")
    log.calls(writer, 4)
    report = checked(log)
    assert report.clean
    assert report.counts["pending"] == 4


# -- what an administrator does --------------------------------------------------------------------


def edit(log: SmallLog) -> None:
    """A cost is made smaller."""
    log.held["records"][40]["response_data"]["cost_usd"] = Decimal128("0.000000100")


def edit_the_ledger(log: SmallLog) -> None:
    """Retention is said to have been shorter."""
    log.held["ledger"][0]["details"]["ttl_s"] = 60


def delete(log: SmallLog) -> None:
    """One record goes."""
    del log.held["records"][40]


def delete_a_writer(log: SmallLog) -> None:
    """Everything of one writer goes, its batches too."""
    for dest, documents in log.held.items():
        log.held[dest] = [d for d in documents if d["writer"] != "w-b"]
    log.leaf_batches = {k: b for k, b in log.leaf_batches.items() if b["w"] != "w-b"}


def insert(log: SmallLog) -> None:
    """A record is made up, with the next number."""
    made_up = {**log.held["records"][40], "_id": ObjectId(), "seq": 5000}
    log.held["records"].append(made_up)


def insert_without_number(log: SmallLog) -> None:
    """A record is made up in the form of an older logger."""
    made_up = dict(log.held["records"][40])
    for name in ("writer", "seq", "salt"):
        del made_up[name]
    log.held["records"].append({**made_up, "_id": ObjectId()})


def duplicate(log: SmallLog) -> None:
    """A record is there twice."""
    log.held["records"].append({**log.held["records"][40], "_id": ObjectId()})


def swap(log: SmallLog) -> None:
    """Two records exchange their numbers."""
    one, other = log.held["records"][40], log.held["records"][45]
    one["seq"], other["seq"] = other["seq"], one["seq"]


def cut_off(log: SmallLog) -> None:
    """The last seals go; records stay."""
    del log.log[-3:]


def roll_back(log: SmallLog) -> None:
    """The database is put back to an earlier state."""
    seals = log.log[:-3]
    names = {item["b"] for seal in seals for item in seal["items"]}
    log.log = seals
    log.leaf_batches = {k: b for k, b in log.leaf_batches.items() if k in names}
    for dest, documents in log.held.items():
        log.held[dest] = [
            d
            for d in documents
            if any(
                b["w"] == d["writer"] and b["s0"] <= d["seq"] < b["s0"] + b["n"]
                for b in log.leaf_batches.values()
            )
        ]


def empty(log: SmallLog) -> None:
    """Nothing is left."""
    log.held, log.leaf_batches, log.log, log.who = {"records": [], "ledger": []}, {}, [], None


def forge_a_checkpoint(log: SmallLog) -> None:
    """A checkpoint is changed, and its signature cannot be."""
    seal = log.log[-1]
    seal["cp"] = seal["cp"].replace(f"\n{seal['size']}\n", f"\n{seal['size'] + 1}\n")


def sign_with_another_key(log: SmallLog) -> None:
    """Every checkpoint is signed anew, with a key of the same name, and the store names it."""
    key = Signer(log.signer.name)
    for seal in log.log:
        state = Checkpoint(key.name, seal["size"], seal["root"])
        seal["cp"], seal["vkey"] = sign_checkpoint(state, key), key.vkey
    assert log.who is not None
    log.who["vkey"] = key.vkey


def rewrite(log: SmallLog) -> None:
    """The whole log is made again without one record, with keys of its own."""
    log.__dict__.update(SmallLog().__dict__)
    writer = log.start("w-a")
    for _ in range(20):
        log.seal([log.calls(writer, 30)])


def change_a_leaf(log: SmallLog) -> None:
    """A record is edited, and its batch is signed again by a key of one's own."""
    record = next(d for d in log.held["records"] if (d["writer"], d["seq"]) == ("w-a", 35))
    record["model"] = "cheaper"
    old = from_document(log.leaf_batches["w-a:31"])
    leaves = [*old.leaves]
    leaves[4] = leaf_of(record, "records")
    new = build("w-a", 31, leaves, old.times_ms, old.k, old.prev, Signer("w-a"))
    log.leaf_batches["w-a:31"] = {**new.as_document(), "sent_at": log.at}


def change_times(log: SmallLog) -> None:
    """A batch says that its records are older than they are, so that they could have expired."""
    batch = log.leaf_batches["w-a:31"]
    batch["t"] = bytes(len(batch["t"]))


def change_a_seal(log: SmallLog) -> None:
    """A seal's frontier is changed."""
    log.log[4]["frontier"] = [bytes(32), *log.log[4]["frontier"][1:]]


def remove_a_seal(log: SmallLog) -> None:
    """A seal in the middle goes."""
    del log.log[4]


def remove_a_batch(log: SmallLog) -> None:
    """A leaf batch goes, with its records."""
    del log.leaf_batches["w-a:31"]


def change_a_tile(log: SmallLog) -> None:
    """A tile is changed, so that proofs would fail."""
    log.tiles[0, 0] = bytes(len(log.tiles[0, 0]))


def erase_quietly(log: SmallLog) -> None:
    """Content is erased the way an erasure does it, and no ledger record says so."""
    log.held["records"][40] = erase(log.held["records"][40], "records", ["request"])


ACTS: list[tuple[Callable[[SmallLog], None], set[Kind]]] = [
    (edit, {Kind.ALTERED}),
    (edit_the_ledger, {Kind.ALTERED}),
    (delete, {Kind.MISSING}),
    (delete_a_writer, {Kind.MISSING}),
    (insert, {Kind.INSERTED}),
    (insert_without_number, {Kind.INSERTED}),
    (duplicate, {Kind.INSERTED}),
    (swap, {Kind.REORDERED}),
    (cut_off, {Kind.CUT_OFF}),
    (roll_back, {Kind.ROLLED_BACK}),
    (empty, {Kind.ROLLED_BACK}),
    (forge_a_checkpoint, {Kind.FORGED_CHECKPOINT}),
    (sign_with_another_key, {Kind.FOREIGN_KEY}),
    (rewrite, {Kind.FOREIGN_KEY, Kind.ROLLED_BACK}),
    (change_a_leaf, {Kind.FOREIGN_KEY, Kind.ALTERED}),
    (change_times, {Kind.UNSIGNED_BATCH}),
    (change_a_seal, {Kind.ALTERED}),
    (remove_a_seal, {Kind.MISSING}),
    (remove_a_batch, {Kind.MISSING}),
    (change_a_tile, {Kind.ALTERED}),
    (erase_quietly, {Kind.ERASED_WITHOUT_RECORD}),
]


@pytest.mark.parametrize(("act", "kinds"), ACTS, ids=[act.__name__ for act, _ in ACTS])
def test_each_act_is_found_and_named(
    log: SmallLog, act: Callable[[SmallLog], None], kinds: set[Kind]
) -> None:
    """What was done is named, and it decides the exit code; the level promises nothing then."""
    act(log)
    report = checked(log)
    assert kinds <= set(report.kinds), report.findings
    assert report.exit_code == min(EXIT_CODES[kind] for kind in report.kinds)
    assert report.level is Level.NONE
    assert [f.first for f in report.findings] == [True, *[False] * (len(report.findings) - 1)]


@pytest.mark.parametrize("act", [edit, delete, duplicate, swap], ids=lambda act: act.__name__)
def test_the_finding_names_the_record(log: SmallLog, act: Callable[[SmallLog], None]) -> None:
    """Which record: collection, writer, number, place in the log and time."""
    hit = dict(log.held["records"][40])
    act(log)
    where = checked(log).findings[0].where
    assert (where["collection"], where["writer"], where["seq"]) == (
        "records",
        hit["writer"],
        hit["seq"],
    )


@pytest.mark.parametrize("act", [sign_with_another_key, rewrite], ids=lambda act: act.__name__)
def test_a_saved_checkpoint_alone_shows_an_exchanged_key(
    log: SmallLog, act: Callable[[SmallLog], None]
) -> None:
    """The key that the store names did not sign what was saved."""
    act(log)
    report = checked(log, vkey=None)
    assert report.kinds[Kind.FOREIGN_KEY]


def test_without_anything_from_outside_a_rewritten_log_attests_itself(log: SmallLog) -> None:
    """This is why the level matters: whoever can rewrite everything passes without an anchor."""
    rewrite(log)
    report = checked(log, vkey=None, saved=None)
    assert (report.clean, report.level) == (True, Level.SELF_ATTESTED)


def test_one_bad_seal_does_not_hide_the_next_one(log: SmallLog) -> None:
    """After damage the replay goes on from a frontier that leads to a signed root."""
    log.leaf_batches["w-a:31"]["h"] = bytes(32) + log.leaf_batches["w-a:31"]["h"][32:]
    log.leaf_batches["w-a:121"]["h"] = bytes(32) + log.leaf_batches["w-a:121"]["h"][32:]
    seals = [
        f.where["seal"]
        for f in checked(log).findings
        if f.kind is Kind.ALTERED and "seal" in f.where
    ]
    assert len(set(seals)) == 2


def test_a_checkpoint_of_another_log_is_refused(log: SmallLog) -> None:
    """That is a mistake of whoever verifies, not a finding."""
    with pytest.raises(BadCheckpointError, match="another log's"):
        checked(log, saved=SmallLog().checkpoint)
    with pytest.raises(BadCheckpointError, match="cannot be read"):
        checked(log, saved="no checkpoint")


@pytest.mark.parametrize("how", ["altered", "gone", "made up"])
def test_damage_everywhere_is_counted_and_not_kept(
    log: SmallLog, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes every record does not make the verification hold all of them in memory."""
    from affidavit.integrity import bodies, compare

    monkeypatch.setattr(bodies, "MOST_KEPT", 10)
    monkeypatch.setattr(compare, "MOST_KEPT", 10)
    monkeypatch.setattr(bodies, "_MOST_MISSING", 10)
    records = log.held["records"]
    if how == "altered":
        for record in records:
            record["model"] = "x"
    elif how == "gone":
        records.clear()
    else:
        records += [{**record, "_id": ObjectId()} for record in records]
    report = checked(log)
    assert len(report.findings) < 30
    if how == "gone":
        assert any("393 more records are gone" in finding.text for finding in report.findings)
    else:
        kind = Kind.ALTERED if how == "altered" else Kind.INSERTED
        assert report.kinds[kind] == 403


@pytest.mark.parametrize("after", [2, 242])
def test_a_record_between_two_numbers_is_inserted(log: SmallLog, after: int) -> None:
    """A number that is no whole one hides a record nowhere, not even behind a writer's last one."""
    of_one = [record for record in log.held["records"] if record["writer"] == "w-a"]
    copied = next(record for record in of_one if record["seq"] == after)
    log.held["records"].append({**copied, "_id": ObjectId(), "seq": after + 0.5})
    assert checked(log).kinds == {Kind.INSERTED: 1}


# -- retention -------------------------------------------------------------------------------------


def test_expiry_is_clean_and_a_day_early_is_not(log: SmallLog) -> None:
    """Bodies may go when retention ends; the leaves, and so the proof, stay."""
    log.held["records"] = log.held["records"][-3:]
    assert checked(log, later_s=90 * DAY_S).clean
    report = checked(log, later_s=89 * DAY_S)
    assert report.kinds == {Kind.DELETED_TOO_EARLY: 2}
    assert "retention has not ended" in report.findings[0].text


def test_ledger_records_never_expire(log: SmallLog) -> None:
    """A ledger record that is gone is missing, however old it is."""
    del log.held["ledger"][1]
    assert checked(log, later_s=5000 * DAY_S).kinds[Kind.MISSING]


def test_a_longer_retention_does_not_accuse_what_had_expired_before(log: SmallLog) -> None:
    """What counts is the retention in force when the record went."""
    log.at += timedelta(days=95)
    log.command({"ttl_s": 365 * DAY_S})
    log.held["records"] = []
    assert checked(log).clean
    log.at -= timedelta(days=10)


def test_a_ledger_record_that_nobody_sealed_excuses_nothing(log: SmallLog) -> None:
    """Whoever deletes records cannot allow it to himself afterwards."""
    setup = {**log.held["ledger"][0], "_id": ObjectId(), "writer": "cli-x"}
    setup["details"] = {"ttl_s": 1}
    log.held["ledger"].append({**setup, "timestamp": log.at})
    del log.held["records"][:30]
    report = checked(log, later_s=3600)
    assert Kind.DELETED_TOO_EARLY in report.kinds


def test_lost_records_that_the_ledger_names_are_explained(log: SmallLog) -> None:
    """A leaf whose record died with its process is explained by what its successor counted."""
    gone = log.held["records"].pop(40)
    log.start("w-c")
    log.say("w-c", "spool_adopted", {"writer": gone["writer"], "lost_seqs": [[gone["seq"]] * 2]})
    report = checked(log)
    assert report.clean
    assert report.counts["explained"] == 1


# -- keys ------------------------------------------------------------------------------------------


def test_a_rotated_key_is_followed(log: SmallLog) -> None:
    """The key before and the new one sign the change; either one may be the pinned one."""
    old, new = log.signer, Signer(log.signer.name)
    handed = sign_note(f"affidavit key rotation v1\n{old.vkey}\n{new.vkey}\n1\n", old, new)
    log.seal([], key={"vkey": new.vkey, "note": str(handed)})
    log.signer = new
    log.command({"ttl_s": 90 * DAY_S})
    assert checked(log).clean
    assert checked(log, vkey=new.vkey, saved=log.checkpoint).clean
    report = checked(log, vkey=None, saved=log.checkpoint)
    assert (report.clean, report.pinned_by, report.level) == (True, "checkpoint", Level.SEPARATED)


def test_a_witness_counts_for_a_checkpoint_of_a_later_key(log: SmallLog) -> None:
    """Whichever key of the log has signed what the witness has cosigned, and which one is known."""
    old, new = log.signer, Signer(log.signer.name)
    handed = sign_note(f"affidavit key rotation v1\n{old.vkey}\n{new.vkey}\n1\n", old, new)
    log.seal([], key={"vkey": new.vkey, "note": str(handed)})
    log.signer = new
    log.command({"ttl_s": 90 * DAY_S})
    witness = Signer("witness.example")
    text = log.checkpoint.partition("\n\n")[0] + "\n"
    cosigned = log.checkpoint + str(cosignature_line(text, witness, 1_800_000_000))
    known = [cosigner_key(witness.key)]
    for vkey in (old.vkey, new.vkey, None):
        report = checked(log, vkey=vkey, saved=cosigned, witnesses=known)
        assert (report.level, report.witnesses) == (Level.WITNESSED, ("witness.example",))
        assert checked(log, vkey=vkey, saved=log.checkpoint).level is Level.SEPARATED


def test_a_key_that_has_only_been_handed_the_log_proves_nothing_of_it(log: SmallLog) -> None:
    """Whoever holds the key before it could put the hand-over at the end of another history."""
    old, new = log.signer, Signer(log.signer.name)
    handed = sign_note(f"affidavit key rotation v1\n{old.vkey}\n{new.vkey}\n1\n", old, new)
    log.seal([], key={"vkey": new.vkey, "note": str(handed)})
    report = checked(log, vkey=new.vkey, saved=None)
    assert (report.clean, report.level) == (True, Level.SELF_ATTESTED)
    assert "it has signed no checkpoint yet" in report.limits[0]
    log.signer = new
    log.command({"ttl_s": 90 * DAY_S})
    assert checked(log, vkey=new.vkey, saved=None).level is Level.SEPARATED


def test_a_rotation_that_the_old_key_did_not_sign_is_foreign(log: SmallLog) -> None:
    """Nobody else can hand the log over."""
    old, new = log.signer, Signer(log.signer.name)
    note = sign_note(f"affidavit key rotation v1\n{old.vkey}\n{new.vkey}\n1\n", new)
    log.seal([], key={"vkey": new.vkey, "note": str(note)})
    assert checked(log).kinds[Kind.FOREIGN_KEY]


# -- at random -------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
def test_every_flipped_byte_of_the_sealed_parts_is_found(seed: int) -> None:
    """Leaves, times, classes, roots, checkpoints: one bit anywhere is a finding."""
    log, rng = _made().copy(), random.Random(seed)
    name = rng.choice(["h", "t", "k", "prev", "sig", "key", "root", "frontier", "cp"])
    if name in {"root", "frontier", "cp"}:
        seal = rng.choice(log.log)
        if name == "root":
            seal["root"] = _flipped(seal["root"], rng)
        elif name == "frontier":
            at = rng.randrange(len(seal["frontier"]))
            seal["frontier"][at] = _flipped(seal["frontier"][at], rng)
        else:
            seal["cp"] = _flipped(seal["cp"].encode(), rng).decode(errors="replace")
    else:
        batch = log.leaf_batches[rng.choice(sorted(log.leaf_batches))]
        batch[name] = _flipped(batch[name], rng)
    assert not checked(log).clean


def _flipped(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=20))
def test_ranges_hold_what_was_added(parts: list[tuple[int, int]]) -> None:
    """As a set of numbers would, and they say what was there before."""
    ranges, numbers = Ranges(), set[int]()
    for start, n in parts:
        added = set(range(start, start + n))
        before = ranges.add(start, start + n)
        assert {x for s, e in before for x in range(s, e)} == added & numbers
        numbers |= added
    assert {x for s, e in ranges for x in range(s, e)} == numbers
    assert len(ranges) == len(numbers)
    assert {x for s, e in ranges.holes() for x in range(s, e)} == (
        set(range(max(numbers, default=-1) + 1)) - numbers
    )
    assert all((x in ranges) == (x in numbers) for x in range(80))
