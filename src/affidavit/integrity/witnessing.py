"""What is said to a witness, and what it answers (c2sp.org/tlog-witness, ``add-checkpoint``)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Final, NamedTuple

from affidavit.integrity.checkpoint import parse_number
from affidavit.integrity.errors import FormatError, SignatureError
from affidavit.integrity.note import COSIGNATURE, LONGEST_NOTE, Note, VerifierKey, check_note

MOST_HASHES: Final = 63
"""Lines of a consistency proof that a request may have."""

SIZE_TYPE: Final = "text/x.tlog.size"
"""Type of an answer 409 that names the size that the witness knows."""


class Cosigned(NamedTuple):
    """A checkpoint with a witness's signature that holds."""

    note: str
    """The checkpoint as it was sent, and the witness's line after it."""
    time_s: int
    """When the witness says to have seen it, in seconds since 1970."""


def request(old: int, proof: Sequence[bytes], checkpoint: str) -> bytes:
    """Write the body of a request: the size known to the witness, the proof, the checkpoint.

    Raises FormatError for a proof that is too long.
    """
    if len(proof) > MOST_HASHES:
        msg = f"A request to a witness holds at most {MOST_HASHES} hashes."
        raise FormatError(msg)
    lines = "".join(f"{b64encode(value).decode()}\n" for value in proof)
    return f"old {old}\n{lines}\n{checkpoint}".encode()


def known_size(body: bytes) -> int | None:
    """Read the size in an answer 409; None where the answer holds none."""
    text = body[:32].decode("ascii", "replace")
    return parse_number(text.removesuffix("\n")) if len(body) <= len(text) else None


def cosigned(checkpoint: str, answer: bytes, witness: VerifierKey) -> Cosigned:
    """Check the cosignature in an answer 200, and put it under the checkpoint.

    Lines of other keys are passed over. Raises FormatError where the answer is no list of
    signatures, SignatureError where the witness's is missing or does not hold.
    """
    if witness.algorithm != COSIGNATURE:
        msg = "The key is not a witness's: such a key is of kind 4 (cosignature/v1)."
        raise FormatError(msg)
    if len(answer) > LONGEST_NOTE or not answer.startswith("\u2014 ".encode()):
        msg = "The witness's answer is no list of signatures."
        raise FormatError(msg)
    sent = Note.parse(checkpoint)
    both = Note.parse(checkpoint.encode() + answer)
    if both.text != sent.text:
        msg = "The witness's answer is no list of signatures."
        raise FormatError(msg)
    found = check_note(both, [witness])
    if not found or found[0].time_s is None:
        msg = f"The answer has no signature by {witness.name}+{witness.id.hex()}."
        raise SignatureError(msg)
    named = (witness.name, witness.id)
    line = next(each for each in both.signatures if (each.name, each.key_id) == named)
    lines = [each for each in sent.signatures if (each.name, each.key_id) != named]
    return Cosigned(str(Note(sent.text, (*lines, line))), found[0].time_s)
