"""Checkpoints (c2sp.org/tlog-checkpoint): which log, how many leaves, their root, signed.

Ours have exactly three lines. The key that signs bears the log's origin as its name.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection
from typing import Final, NamedTuple

from affidavit.integrity.errors import FormatError, SignatureError
from affidavit.integrity.merkle import HASH_SIZE, MAX_SIZE
from affidavit.integrity.note import (
    Checked,
    Note,
    Signs,
    VerifierKey,
    check_name,
    check_note,
    decode_base64,
    sign_note,
)

_LINES: Final = 3
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """The state of a log: its first ``size`` leaves have this root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Give the text that is signed; ends with a newline."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a checkpoint. Raises FormatError that names the line."""
        lines = text.split("\n")
        if len(lines) != _LINES + 1 or lines[-1]:
            msg = f"A checkpoint has {_LINES} lines, each ended by a newline."
            raise FormatError(msg)
        origin, size, root, _ = lines
        try:
            check_name(origin)
        except FormatError as error:
            msg = f"Line 1: the origin of a log is named like a key. {error}"
            raise FormatError(msg) from error
        count = parse_number(size)
        if count is None:
            msg = "Line 2: the size is a number without leading zeros, up to 2**63 - 1."
            raise FormatError(msg)
        value = decode_base64(root)
        if value is None or len(value) != HASH_SIZE:
            msg = f"Line 3: the root is base64 of {HASH_SIZE} bytes."
            raise FormatError(msg)
        return cls(origin, count, value)


class Opened(NamedTuple):
    """A checkpoint whose signature by the log holds."""

    checkpoint: Checkpoint
    witnesses: tuple[Checked, ...]
    """The cosignatures that hold, of the witnesses asked for."""


def sign_checkpoint(checkpoint: Checkpoint, signer: Signs) -> str:
    """Make the signed note of a checkpoint.

    Raises FormatError where the signer's name is not the origin, or the checkpoint has no form.
    """
    if VerifierKey.parse(signer.vkey).name != checkpoint.origin:
        msg = "A checkpoint is signed by a key with the name of the log's origin."
        raise FormatError(msg)
    Checkpoint.parse(checkpoint.text())
    return str(sign_note(checkpoint.text(), signer))


def open_checkpoint(
    note: str | bytes, key: VerifierKey, witnesses: Collection[VerifierKey] = ()
) -> Opened:
    """Read a signed checkpoint and check that the log's key signed it.

    Signatures by other keys than these are passed over. Raises FormatError for a malformed note,
    SignatureError where the log's signature is missing or wrong, a witness's is wrong, or the
    checkpoint is another log's.
    """
    parsed = Note.parse(note)
    checked = check_note(parsed, [key, *witnesses])
    if not any(found.key == key for found in checked):
        msg = f"The checkpoint is not signed by {key.name}+{key.id.hex()}."
        raise SignatureError(msg)
    checkpoint = Checkpoint.parse(parsed.text)
    if checkpoint.origin != key.name:
        msg = "The checkpoint is another log's: its origin is not the name of the key."
        raise SignatureError(msg)
    return Opened(checkpoint, tuple(found for found in checked if found.key != key))


def parse_number(text: str) -> int | None:
    """Read a decimal number without leading zeros, up to ``2**63 - 1``; None for anything else."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if number <= MAX_SIZE else None
