"""Leaf batches: built, signed, stored, checked; whatever is changed in one is noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.integrity import leaves
from affidavit.integrity.leaves import BadBatch, LeafBatch, Signer
from tests.support import trees

pytestmark = pytest.mark.requirement("R20", "R21")

SIGNER = Signer.from_seed(bytes(range(32)), "0123456789ab")


def batch(n: int = 3, s0: int = 7, prev: bytes = leaves.FIRST, **more: Any) -> LeafBatch:
    """A batch of ``n`` leaves."""
    times = [1_700_000_000_000 + number for number in range(n)]
    classes = bytes(number % 2 for number in range(n))
    return leaves.build("0123456789ab", s0, trees.leaves(n), times, classes, prev, SIGNER, **more)


def test_a_batch_says_what_it_is_built_of() -> None:
    """Leaves, times before and after 1970, and classes, in order."""
    made = leaves.build("w", 0, b"".join(trees.leaves(2)), [-1, 2], b"\x00\x01", bytes(32), SIGNER)
    assert (made.id, made.w, made.s0, made.n, made.made) == ("w:0", "w", 0, 2, "writer")
    assert made.leaves == trees.leaves(2)
    assert made.times_ms == (-1, 2)
    assert made.t == b"\xff" * 8 + b"\x00" * 7 + b"\x02"
    assert made.key == SIGNER.public
    leaves.check(made)
    leaves.check(made, SIGNER.public)


def test_what_is_signed_is_as_the_page_says() -> None:
    """Made a second time with the standard library."""
    made = batch()
    sha = {name: hashlib.sha256(getattr(made, name)).hexdigest() for name in "htk"}
    said = {"v": 1, "w": "0123456789ab", "s0": 7, "n": 3, "prev": "00" * 32, **sha}
    assert made.signed == json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    assert made.digest == hashlib.sha256(made.signed).digest()
    rebuilt = batch(made="log")
    assert json.loads(rebuilt.signed) == {**said, "rebuilt": True}
    leaves.check(rebuilt)


@given(st.integers(1, 50), st.integers(0, 2**53 - 60), st.binary(min_size=32, max_size=32))
def test_a_batch_is_read_back_from_the_store(n: int, s0: int, prev: bytes) -> None:
    """With or without the mark of its transport."""
    made = batch(n, s0, prev)
    assert leaves.from_document(made.as_document()) == made
    again = bson.decode(bson.encode({**made.as_document(), "sent_at": None}))
    read = leaves.from_document(again)
    assert read == made
    leaves.check(read, SIGNER.public)


@given(st.data())
def test_a_changed_batch_is_refused(data: st.DataObject) -> None:
    """One bit of any field, or another number."""
    document = batch(4).as_document()
    name = data.draw(st.sampled_from(sorted(document)))
    value = document[name]
    if isinstance(value, bytes):
        at = data.draw(st.integers(0, len(value) * 8 - 1))
        document[name] = (int.from_bytes(value, "big") ^ 1 << at).to_bytes(len(value), "big")
    elif isinstance(value, int):
        document[name] = data.draw(st.integers(-5, 2**54).filter(lambda other: other != value))
    else:
        document[name] = data.draw(
            st.text(max_size=20).filter(lambda other: other != value)
            | st.sampled_from(["log", "0123456789ab:8", "0123456789ac"])
        )
    with pytest.raises(BadBatch):
        leaves.check(leaves.from_document(document))


def test_a_moved_batch_is_refused() -> None:
    """Under another writer or number, whole and consistent: the signature is over both."""
    made = batch()
    for moved in (replace(made, w="x", id="x:7"), replace(made, s0=8, id="0123456789ab:8")):
        with pytest.raises(BadBatch, match="does not hold"):
            leaves.check(moved)


def test_a_batch_by_another_key_is_refused() -> None:
    """Well signed, but not by this writer."""
    stranger = Signer("0123456789ab")
    with pytest.raises(BadBatch, match="another key"):
        leaves.check(batch(), stranger.public)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"_id": "x:7"}, "`_id`"),
        ({"_id": 5}, "`_id`"),
        ({"w": ""}, "`_id`"),
        ({"w": None}, "`w`"),
        ({"s0": -1}, "`s0`"),
        ({"s0": 1.0}, "`s0`"),
        ({"s0": True}, "`s0`"),
        ({"s0": 2**53}, "`s0`"),
        ({"n": 0}, "`n`"),
        ({"n": leaves.MOST_LEAVES + 1}, "`n`"),
        ({"h": bytes(95)}, "`h`"),
        ({"h": "text"}, "`h`"),
        ({"t": bytes(23)}, "`t`"),
        ({"k": b"\x00\x01"}, "`k`"),
        ({"k": b"\x00\x01\x02"}, "`k`"),
        ({"prev": b""}, "`prev`"),
        ({"key": bytes(31)}, "`prev` and `key`"),
        ({"sig": bytes(63)}, "`sig`"),
        ({"made": "nobody"}, "`made`"),
        ({"more": 1}, "exactly its fields"),
    ],
)
def test_a_malformed_batch_is_refused_with_its_field(change: dict[str, Any], said: str) -> None:
    """Whoever reads the error knows where to look; it is a ValueError."""
    with pytest.raises(ValueError, match=said):
        leaves.from_document({**batch().as_document(), **change})
    missing = batch().as_document()
    missing.popitem()
    with pytest.raises(BadBatch, match="missing: made"):
        leaves.from_document(missing)


def test_what_does_not_fit_together_is_not_built() -> None:
    """Times and leaves of different number, or a time of no 64-bit size."""
    for times, classes in (([1], b"\x00"), ([1, 2], b"\x00"), ([1, 2], b"\x00\x05"), ([], b"")):
        with pytest.raises(BadBatch):
            leaves.build("w", 0, trees.leaves(2), times, classes, bytes(32), SIGNER)
    with pytest.raises(BadBatch, match="64 bits"):
        leaves.build("w", 0, trees.leaves(1), [2**63], b"\x00", bytes(32), SIGNER)


def test_an_error_does_not_let_a_forged_name_through() -> None:
    """Control characters in a stored id cannot reach a terminal."""
    with pytest.raises(BadBatch) as refused:
        leaves.from_document({**batch().as_document(), "_id": "\x1b[2J" + "x" * 1000})
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_gap_has_a_leaf_of_its_own() -> None:
    """Which says who, from where, how many, and when it was sealed."""
    entry = leaves.gap_entry("0123456789ab", 7, 3, 1_700_000_000_000)
    assert entry == b'{"gap":"0123456789ab","n":3,"s":7,"t":1700000000000,"v":1}'
    assert leaves.gap_leaf("0123456789ab", 7, 3, 1_700_000_000_000) == trees.leaf(entry)


def test_a_gap_that_was_stored_has_the_same_leaf() -> None:
    """MongoDB gives a time back in a type of its own; a log with a gap is verified all the same."""
    stored = bson.decode(bson.encode({"s0": 7, "n": 3, "t": 1_700_000_000_000}))
    assert type(stored["t"]) is not int
    again = leaves.gap_leaf("0123456789ab", stored["s0"], stored["n"], stored["t"])
    assert again == leaves.gap_leaf("0123456789ab", 7, 3, 1_700_000_000_000)
