"""Sealed originals: the host writes them and cannot read them."""

from __future__ import annotations

import pytest

from affidavit.pipeline.redact import Policy, Redactor, seal

pytestmark = pytest.mark.requirement("R21")

RECORD = b"r" * 12


def test_the_holder_of_the_private_key_reads_the_originals() -> None:
    """By the numbers in the placeholders."""
    private, public = seal.keypair()
    redactor = Redactor(Policy.read({"kinds": {"email": "seal"}}, seal_to=public))
    document = {"a": "ana@example.com wrote to bob@example.com", "b": "4111 1111 1111 1111"}
    box = redactor.redact(document, RECORD)
    assert document["a"] == "[sealed email 1] wrote to [sealed email 2]"
    assert box is not None
    assert b"example" not in box
    assert seal.open_box(private, box, RECORD) == {"1": "ana@example.com", "2": "bob@example.com"}


def test_nothing_to_seal_makes_no_box() -> None:
    """And costs nothing."""
    _private, public = seal.keypair()
    redactor = Redactor(Policy.read({"kinds": {"email": "seal"}}, seal_to=public))
    assert redactor.redact({"a": "hello"}, RECORD) is None


def test_each_box_has_a_key_of_its_own() -> None:
    """Equal originals give different boxes: a reader cannot compare them."""
    _private, public = seal.keypair()
    assert seal.seal(public, {"1": "x"}, RECORD) != seal.seal(public, {"1": "x"}, RECORD)


@pytest.mark.parametrize("at", [0, 1, 20, 60, -1])
def test_a_changed_box_does_not_open(at: int) -> None:
    """Every byte of it is authenticated."""
    private, public = seal.keypair()
    box = bytearray(seal.seal(public, {"1": "x"}, RECORD))
    box[at] ^= 1
    with pytest.raises(seal.SealError):
        seal.open_box(private, bytes(box), RECORD)


def test_a_box_moved_to_another_record_does_not_open() -> None:
    """The record's id is authenticated with it."""
    private, public = seal.keypair()
    box = seal.seal(public, {"1": "x"}, RECORD)
    with pytest.raises(seal.SealError, match="does not belong"):
        seal.open_box(private, box, b"s" * 12)


def test_another_key_is_named() -> None:
    """So that one finds the right one in the safe."""
    private, public = seal.keypair()
    _other, other_public = seal.keypair()
    box = seal.seal(other_public, {"1": "x"}, RECORD)
    with pytest.raises(seal.SealError, match=seal.key_id(other_public).hex()):
        seal.open_box(private, box, RECORD)
    assert public != other_public


def test_a_public_key_that_is_none_withholds_the_content() -> None:
    """Sealing fails closed like everything else."""
    redactor = Redactor(Policy.read({"kinds": {"email": "seal"}}, seal_to=b"short"))
    document = {"a": "ana@example.com"}
    assert redactor.redact(document, RECORD) is None
    assert document["a"] == "[withheld]"
