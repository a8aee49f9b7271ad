"""A proof as one text (c2sp.org/tlog-proof): a leaf's place, the way to the root, the checkpoint.

Whoever has the entry, this text and the log's vkey can verify it without anything else.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from affidavit.integrity.checkpoint import Opened, open_checkpoint, parse_number
from affidavit.integrity.errors import FormatError
from affidavit.integrity.merkle import HASH_SIZE, check_inclusion
from affidavit.integrity.note import LONGEST_NOTE, VerifierKey, decode_base64

HEADER: Final = "c2sp.org/tlog-proof@v1"
_MOST_HASHES: Final = 63
_LONGEST: Final = LONGEST_NOTE + 4096
_FIRST_HASH: Final = 2


@dataclass(frozen=True, slots=True)
class Proof:
    """A leaf's place, its inclusion proof and the signed checkpoint that it leads to."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    """The signed note as it was published."""

    def text(self) -> str:
        """Give the text of the proof."""
        lines = [HEADER, f"index {self.index}", *(b64encode(h).decode() for h in self.hashes)]
        return "\n".join([*lines, "", self.checkpoint])

    @classmethod
    def parse(cls, text: str | bytes) -> Proof:
        """Read a proof; the checkpoint in it is not checked yet. Raises FormatError."""
        if len(text) > _LONGEST:
            msg = f"A proof has at most {_LONGEST} bytes."
            raise FormatError(msg)
        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError as error:
                msg = "The proof is not UTF-8."
                raise FormatError(msg) from error
        head, mark, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != HEADER:
            msg = f"Line 1: a proof begins with {HEADER}."
            raise FormatError(msg)
        index = None
        if len(lines) >= _FIRST_HASH and lines[1].startswith("index "):
            index = parse_number(lines[1].removeprefix("index "))
        if index is None:
            msg = "Line 2: here stands the word index and a number, and extra data is not taken."
            raise FormatError(msg)
        hashes = lines[_FIRST_HASH:]
        if len(hashes) > _MOST_HASHES:
            msg = f"A proof has at most {_MOST_HASHES} hashes."
            raise FormatError(msg)
        if not mark or not checkpoint:
            at = len(lines) + bool(lines[-1])
            msg = f"Line {at}: an empty line and the checkpoint are missing."
            raise FormatError(msg)
        return cls(index, tuple(_hash(h, at) for at, h in enumerate(hashes, 3)), checkpoint)


def check_proof(
    proof: Proof, leaf: bytes, key: VerifierKey, witnesses: Collection[VerifierKey] = ()
) -> Opened:
    """Check that the log of this key has the leaf; return the checkpoint that says so.

    Raises FormatError, SignatureError or ProofError, whichever part of it does not hold.
    """
    opened = open_checkpoint(proof.checkpoint, key, witnesses)
    size, root = opened.checkpoint.size, opened.checkpoint.root
    check_inclusion(leaf, proof.index, size, proof.hashes, root)
    return opened


def _hash(line: str, number: int) -> bytes:
    value = decode_base64(line)
    if value is None or len(value) != HASH_SIZE:
        msg = f"Line {number}: a hash is base64 of {HASH_SIZE} bytes."
        raise FormatError(msg)
    return value
