"""Notes, proofs and signatures hold for programs that this project did not write."""

from __future__ import annotations

import random
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from affidavit import canonical
from affidavit.integrity import merkle, note
from affidavit.integrity.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from affidavit.integrity.note import Note, Signer
from affidavit.integrity.proof import Proof
from affidavit.testing import capture_events
from tests.support.outside import Outside, OutsideError, openssl_verify
from tests.support.trees import known

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.requirement("R20", "R21"), pytest.mark.xdist_group("outside")]

SIGNER = Signer.from_seed(bytes(range(32)), "audit.example/outside")
WITNESS = Signer("witness.example/w")


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """The program, built once."""
    return Outside(tmp_path_factory.mktemp("go"))


class Log:
    """A log of real records, grown to some size."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.leaves = [canonical.leaf_hash(entry) for entry in entries]

    def hashes(self, level: int, index: int) -> bytes:
        """The source of nodes for proofs."""
        return merkle.perfect_root(self.leaves[index << level : (index + 1) << level])

    def checkpoint(self, size: int) -> str:
        """Signed by the log and by a witness, whom Go passes over."""
        checkpoint = Checkpoint(SIGNER.name, size, merkle.tree_root(size, self.hashes))
        signed = sign_checkpoint(checkpoint, SIGNER)
        return signed + str(note.cosignature_line(checkpoint.text(), WITNESS, 1_800_000_000))

    def proof(self, index: int, size: int) -> str:
        """The text that goes with an entry."""
        hashes = tuple(merkle.inclusion_proof(index, size, self.hashes))
        return Proof(index, hashes, self.checkpoint(size)).text()


@pytest.fixture(scope="module")
def log() -> Log:
    """Entries of real records, and of as many as make odd trees."""
    with capture_events() as captured:
        for number in range(30):
            with captured.audit.call(provider="p", message=f"question {number}") as call:
                call.complete(text="answer", cost_usd="0.01")
        documents = captured.records
    entries = [canonical.entry(document | {"salt": bytes(16)}, "records") for document in documents]
    return Log([*entries, *(b"{}" * number for number in range(240))])


def test_go_accepts_every_record_with_its_proof(go: Outside, log: Log) -> None:
    """In trees of several sizes."""
    choose = random.Random(5)
    for size in (1, 2, 3, 7, 8, 255, 256, 257, 300):
        for index in {0, size - 1, choose.randrange(size)}:
            said = go.record(SIGNER.vkey, log.entries[index], log.proof(index, size))
            assert said == f"record {index} of {size}"


def test_go_accepts_how_the_log_grew(go: Outside, log: Log) -> None:
    """Between any two sizes."""
    for old, new in ((1, 2), (1, 300), (3, 8), (128, 256), (255, 257), (256, 300), (300, 300)):
        proof = [b64encode(h).decode() for h in merkle.consistency_proof(old, new, log.hashes)]
        said = go.growth(SIGNER.vkey, log.checkpoint(old), log.checkpoint(new), proof)
        assert said == f"grew from {old} to {new}"


def test_go_accepts_the_known_answers(go: Outside) -> None:
    """So the program itself is right."""
    answers = known("signed-note")
    vkey = answers["log_vkey"]
    assert go.record(vkey, b"event-1", answers["tlog_proof_index_1"]) == "record 1 of 3"
    old, new = answers["checkpoint_size_2"], answers["checkpoint_size_3"]
    assert go.growth(vkey, old, new, answers["consistency_2_3_b64"]) == "grew from 2 to 3"


def test_go_signs_with_our_key_and_we_accept_it(go: Outside, log: Log) -> None:
    """The text of a private key is the one that Go reads, and both make the same note."""
    checkpoint = Checkpoint(SIGNER.name, 300, merkle.tree_root(300, log.hashes))
    signed = go.sign(SIGNER.secret_text(), checkpoint.text())
    assert open_checkpoint(signed, SIGNER.key).checkpoint == checkpoint
    assert signed == sign_checkpoint(checkpoint, SIGNER)


def test_go_refuses_what_was_changed(go: Outside, log: Log) -> None:
    """Another entry, another key, another checkpoint, a forged history."""
    proof, entry = log.proof(5, 300), log.entries[5]
    for vkey, changed, text in (
        (SIGNER.vkey, log.entries[6], proof),
        (Signer(SIGNER.name).vkey, entry, proof),
        (SIGNER.vkey, entry, proof.replace("\n300\n", "\n299\n")),
        (SIGNER.vkey, entry, proof.replace("index 5", "index 4")),
    ):
        with pytest.raises(OutsideError):
            go.record(vkey, changed, text)
    forged = Log([*log.entries[:5], b"forged", *log.entries[6:]])
    steps = [b64encode(h).decode() for h in merkle.consistency_proof(100, 300, forged.hashes)]
    with pytest.raises(OutsideError):
        go.growth(SIGNER.vkey, log.checkpoint(100), forged.checkpoint(300), steps)


def test_without_go_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests fail then, and say what to run."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"scripts/install-debian\.sh"):
        Outside(tmp_path)


def test_openssl_accepts_a_checkpoint_and_a_leaf_batch(log: Log, tmp_path: Path) -> None:
    """With nothing but the public key, the text and the 64 bytes of the signature."""
    read = Note.parse(log.checkpoint(300))
    signature, text = read.signatures[0].blob, read.text.encode()
    openssl_verify(tmp_path, SIGNER.public, text, signature)
    with pytest.raises(OutsideError):
        openssl_verify(tmp_path, SIGNER.public, text + b"\n", signature)
    witness = read.signatures[1].blob
    seen = b"cosignature/v1\ntime 1800000000\n" + text
    openssl_verify(tmp_path, WITNESS.public, seen, witness[8:])
