"""Signed notes, checkpoints and proofs as text: the known answers, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.integrity import note
from affidavit.integrity.checkpoint import (
    Checkpoint,
    open_checkpoint,
    parse_number,
    sign_checkpoint,
)
from affidavit.integrity.errors import FormatError, IntegrityError, ProofError, SignatureError
from affidavit.integrity.merkle import EMPTY_ROOT
from affidavit.integrity.note import Note, Signer, VerifierKey, check_note
from affidavit.integrity.proof import Proof, check_proof
from tests.support import trees

pytestmark = pytest.mark.requirement("R20", "R21")

KNOWN = trees.known("signed-note")
ORIGIN = "audit.example/llm-log/prod"
LOG = Signer.from_seed(bytes.fromhex(KNOWN["log_seed_hex"]), ORIGIN)
WITNESS = Signer.from_seed(bytes.fromhex(KNOWN["witness_seed_hex"]), "witness.example/w1")
WITNESS_KEY = VerifierKey.parse(KNOWN["witness_vkey"])
TIME_S = KNOWN["witness_time"]


def checkpoint(size: int) -> Checkpoint:
    """The checkpoint of the known answers."""
    return Checkpoint(ORIGIN, size, trees.root(trees.leaves(size)))


def cosigned(size: int) -> str:
    """It, signed by the log and the witness."""
    signed = sign_checkpoint(checkpoint(size), LOG)
    return signed + str(note.cosignature_line(checkpoint(size).text(), WITNESS, TIME_S))


# -- known answers ---------------------------------------------------------------------------------


def test_keys_are_the_known_ones() -> None:
    """Of the log, and of the witness, which is of another kind."""
    assert LOG.vkey == KNOWN["log_vkey"]
    assert VerifierKey.parse(LOG.vkey) == LOG.key
    assert note.cosigner_key(WITNESS.key) == WITNESS_KEY
    assert str(WITNESS_KEY) == KNOWN["witness_vkey"]


def test_checkpoints_are_the_known_ones() -> None:
    """Signed by the log; signed by the log and a witness."""
    assert sign_checkpoint(checkpoint(2), LOG) == KNOWN["checkpoint_size_2"]
    assert cosigned(3) == KNOWN["checkpoint_size_3"]
    opened = open_checkpoint(KNOWN["checkpoint_size_3"], LOG.key, [WITNESS_KEY])
    assert opened.checkpoint == checkpoint(3)
    assert [(w.key, w.time_s) for w in opened.witnesses] == [(WITNESS_KEY, TIME_S)]
    assert open_checkpoint(KNOWN["checkpoint_size_3"].encode(), LOG.key).witnesses == ()


def test_the_proof_is_the_known_one() -> None:
    """Written, read and checked."""
    leaves = trees.leaves(3)
    proof = Proof(1, tuple(trees.path(1, leaves)), cosigned(3))
    assert proof.text() == KNOWN["tlog_proof_index_1"]
    read = Proof.parse(KNOWN["tlog_proof_index_1"].encode())
    assert read == proof
    opened = check_proof(read, leaves[1], LOG.key, [WITNESS_KEY])
    assert opened.checkpoint.size == 3
    with pytest.raises(ProofError):
        check_proof(read, leaves[2], LOG.key)


# -- keys ------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
    lambda name: "+" not in name and not any(c.isspace() or c < " " or c == "\x7f" for c in name)
)


@given(NAMES, st.binary(min_size=32, max_size=32))
def test_a_key_is_read_back_from_its_text(name: str, seed: bytes) -> None:
    """Public and private half, and what is signed with it holds."""
    signer = Signer(name, seed)
    assert VerifierKey.parse(signer.vkey) == signer.key
    again = Signer.parse(signer.secret_text())
    assert again.key == signer.key
    assert again.name == name
    signer.key.check(b"data", again.sign(b"data"))
    with pytest.raises(SignatureError):
        signer.key.check(b"other data", again.sign(b"data"))


def test_a_key_does_not_show_its_secret() -> None:
    """Neither in a traceback nor in an error."""
    assert repr(LOG) == f"Signer('{ORIGIN}')"
    text = LOG.secret_text()
    with pytest.raises(FormatError) as refused:
        Signer.parse(text[:-4] + "AAA=")
    assert text[-20:-4] not in str(refused.value)
    assert Signer("a").public != Signer("a").public


@pytest.mark.parametrize(
    "text",
    [
        "", "name", "name+00000000+AQ==", LOG.vkey + "=", LOG.vkey[:-1], " " + LOG.vkey,
        LOG.vkey.replace("35cbf874", "35CBF874"), LOG.vkey.replace("35cbf874", "35cbf875"),
        "x" + LOG.vkey, LOG.vkey + "\n", "a+" * 2000, LOG.vkey.replace("+AQ", "+Bg"),
    ],
)  # fmt: skip
def test_what_is_no_vkey_is_refused(text: str) -> None:
    """Its parts must agree, and be written in one way."""
    with pytest.raises(FormatError):
        VerifierKey.parse(text)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\x00", "a" * 257, "\ud800"]
)
def test_a_name_that_would_break_a_note_is_refused(name: str) -> None:
    """Spaces of any script, plus signs, control characters."""
    with pytest.raises(FormatError):
        Signer(name)


def test_a_seed_has_32_bytes() -> None:
    """Else it is no key."""
    with pytest.raises(FormatError, match="32 bytes"):
        Signer("a", b"short")
    with pytest.raises(FormatError):
        Signer.parse("PRIVATE+KEY+a+00000000+" + "A" * 44)


# -- notes -----------------------------------------------------------------------------------------

TEXTS = st.lists(st.text(st.characters(codec="utf-8", min_codepoint=32), max_size=20), min_size=1)


@given(TEXTS.map(lambda lines: "\n".join(lines) + "\n"), st.integers(0, 3))
def test_a_note_is_read_back(text: str, others: int) -> None:
    """Whatever its text, empty lines included; other keys' signatures are passed over."""
    strangers = [Signer(f"stranger{number}") for number in range(others)]
    signed = note.sign_note(text, *strangers, LOG)
    read = Note.parse(str(signed).encode())
    assert read == signed
    assert [found.key for found in check_note(read, [LOG.key, WITNESS_KEY])] == [LOG.key]
    assert check_note(read, [WITNESS_KEY]) == []


@given(st.data())
def test_a_changed_checkpoint_is_refused(data: st.DataObject) -> None:
    """One byte anywhere: it is malformed, or the signature does not hold."""
    original = KNOWN["checkpoint_size_2"].encode()
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != original[at]))
    with pytest.raises(IntegrityError):
        open_checkpoint(bytes(changed), LOG.key)


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(garbage: str | bytes) -> None:
    """No other error than ours."""
    for parse in (Note.parse, Proof.parse, lambda text: open_checkpoint(text, LOG.key)):
        with pytest.raises(IntegrityError):
            parse(garbage)


SIGNED = KNOWN["checkpoint_size_2"]
LINE = SIGNED.rpartition("\n\n")[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SIGNED[:-1], "Line 5: each signature is a line"),
        (SIGNED + "\n", "Line 7"),
        (SIGNED.replace("\n\n", "\n"), "empty line"),
        (SIGNED.replace("\n2\n", "\n2\r\n"), "Line 2: a note holds"),
        (SIGNED.replace("\n2\n", "\n\x00\n"), "Line 2: a note holds"),
        (SIGNED + "- name AAAA\n", "Line 6: this is no signature"),
        (SIGNED + "\u2014 name  AAAABB==\n", "Line 6: this is no signature"),
        (SIGNED + "\u2014 name AAAA\n", "Line 6: this is no signature"),
        (SIGNED + "\u2014 name AAAAAAB=\n", "Line 6: this is no signature"),
        (SIGNED + "\u2014 na+me AAAAAAA=\n", "Line 6: The name of a key"),
        (SIGNED + "\u2014 x AAAAAAA=\n" * 100, "more than 100"),
        (SIGNED + "x" * 300_000, "at most"),
        (b"\xff\n\n" + LINE.encode(), "UTF-8"),
        ("\ud800\n\n" + LINE, "Line 1: a note holds"),
    ],
)
def test_a_malformed_note_is_refused_with_its_line(text: str | bytes, said: str) -> None:
    """Whoever reads the error knows where to look."""
    with pytest.raises(FormatError, match=said):
        Note.parse(text)


def test_a_known_key_signs_once_and_well() -> None:
    """A second line of the same key, or one that does not hold, spoils the note."""
    with pytest.raises(SignatureError, match="twice"):
        open_checkpoint(SIGNED + LINE, LOG.key)
    other = sign_checkpoint(checkpoint(3), LOG)
    with pytest.raises(SignatureError, match="not by the key"):
        open_checkpoint(SIGNED.replace(LINE, other.rpartition("\n\n")[2]), LOG.key)
    with pytest.raises(SignatureError, match="not signed by"):
        open_checkpoint(SIGNED, Signer(ORIGIN).key)
    short = note.Signature(LOG.key.name, LOG.key.id, bytes(63))
    with pytest.raises(SignatureError, match="wrong length"):
        open_checkpoint(checkpoint(2).text() + "\n" + str(short), LOG.key)


def test_a_witness_s_signature_is_checked_with_its_time() -> None:
    """Another time, and it does not hold; a witness of whom nobody asks is passed over."""
    line = note.cosignature_line(checkpoint(2).text(), WITNESS, TIME_S)
    later = line._replace(blob=(TIME_S + 1).to_bytes(8, "big") + line.blob[8:])
    with pytest.raises(SignatureError, match="not by the key"):
        open_checkpoint(SIGNED + str(later), LOG.key, [WITNESS_KEY])
    assert open_checkpoint(SIGNED + str(later), LOG.key).witnesses == ()
    never = line._replace(blob=b"\xff" * 8 + line.blob[8:])
    with pytest.raises(SignatureError, match="time"):
        open_checkpoint(SIGNED + str(never), LOG.key, [WITNESS_KEY])


def test_a_text_that_no_note_can_hold_is_not_signed() -> None:
    """Nor one without a newline at its end."""
    for text in ("no newline", "tab\t\n", "\ud800\n"):
        with pytest.raises(FormatError):
            note.sign_note(text, LOG)
        with pytest.raises(FormatError):
            note.cosignature_line(text, WITNESS, TIME_S)


# -- checkpoints -----------------------------------------------------------------------------------


@given(NAMES, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_back(origin: str, size: int, root: bytes) -> None:
    """Of any log, size and root."""
    whole = Checkpoint(origin, size, root)
    assert Checkpoint.parse(whole.text()) == whole


ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"o\n0\n{ROOT}", "3 lines"),
        (f"o\n0\n{ROOT}\nextension\n", "3 lines"),
        (f"\n0\n{ROOT}\n", "Line 1"),
        (f"o p\n0\n{ROOT}\n", "Line 1"),
        (f"o\n00\n{ROOT}\n", "Line 2"),
        (f"o\n-1\n{ROOT}\n", "Line 2"),
        (f"o\n+1\n{ROOT}\n", "Line 2"),
        (f"o\n\u0661\n{ROOT}\n", "Line 2"),
        (f"o\n9223372036854775808\n{ROOT}\n", "Line 2"),
        (f"o\n0\n{ROOT[:-1]}\n", "Line 3"),
        (f"o\n0\n{ROOT[:-2]}V=\n", "Line 3"),
        ("o\n0\nAAAA\n", "Line 3"),
    ],
)
def test_a_malformed_checkpoint_is_refused_with_its_line(text: str, said: str) -> None:
    """Also where only its spelling differs."""
    with pytest.raises(FormatError, match=said):
        Checkpoint.parse(text)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    """Even with a signature by the right key: a key signs for its own log only."""
    foreign = Checkpoint("another.example/log", 0, EMPTY_ROOT)
    with pytest.raises(FormatError, match="origin"):
        sign_checkpoint(foreign, LOG)
    with pytest.raises(SignatureError, match="another log"):
        open_checkpoint(str(note.sign_note(foreign.text(), LOG)), LOG.key)
    with pytest.raises(FormatError, match="Line 2"):
        sign_checkpoint(Checkpoint(ORIGIN, -1, EMPTY_ROOT), LOG)
    assert parse_number("9223372036854775807") == 2**63 - 1


# -- proofs ----------------------------------------------------------------------------------------

PROOF = KNOWN["tlog_proof_index_1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Line 1"),
        (PROOF.replace("@v1", "@v2"), "Line 1"),
        (PROOF.replace("index 1", "index 01"), "Line 2"),
        (PROOF.replace("index 1", "extra AAAA\nindex 1"), "Line 2"),
        (PROOF.replace("index 1", "index  1"), "Line 2"),
        (PROOF.replace("ZzTb", "ZzT"), "Line 3"),
        (PROOF.replace("T7cN", "\tT7cN"), "Line 4"),
        (PROOF.partition("\n\n")[0] + "\n", "Line 5"),
        (PROOF.partition("\n\n")[0] + "\n\n", "Line 5"),
        (PROOF.replace("index 1\n", "index 1\n" + f"{ROOT}\n" * 62), "63 hashes"),
        (b"\xff", "UTF-8"),
        ("x" * 300_000, "at most"),
    ],
)
def test_a_malformed_proof_is_refused_with_its_line(text: str | bytes, said: str) -> None:
    """Before anything is computed from it."""
    with pytest.raises(FormatError, match=said):
        Proof.parse(text)


@given(st.data())
def test_a_changed_proof_is_refused(data: st.DataObject) -> None:
    """One byte anywhere, but in the witness's line, which is not asked about."""
    original = PROOF.encode()
    end = original.index("\u2014 witness".encode())
    at = data.draw(st.integers(0, end - 1))
    changed = bytearray(original)
    changed[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != original[at]))
    with pytest.raises(IntegrityError):
        check_proof(Proof.parse(bytes(changed)), trees.leaves(3)[1], LOG.key)
