"""Signed notes (c2sp.org/signed-note) with Ed25519 keys, and witnesses' cosignatures on them.

A note is a text, an empty line, and one line for each signature. A key is known by its name and by
four bytes of a hash over name, kind and public key; as one line of text it is a *vkey*.
``cryptography`` is loaded at the first signature.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from affidavit.canonical.values import is_unicode
from affidavit.integrity.errors import FormatError, SignatureError

ED25519: Final = 1
COSIGNATURE: Final = 4
"""A witness's signature with the time at which it was made (c2sp.org/tlog-cosignature)."""

LONGEST_NOTE: Final = 256 * 1024
MOST_SIGNATURES: Final = 100
LONGEST_NAME: Final = 256
SEED_SIZE: Final = 32
_PUBLIC_SIZE: Final = 32
_SIGNATURE_SIZE: Final = 64
_TIME_SIZE: Final = 8
_ID_SIZE: Final = 4
_MARK: Final = "\u2014 "
_PRIVATE: Final = "PRIVATE+KEY+"
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_LONGEST_KEY: Final = LONGEST_NAME + 128


class Signs(Protocol):
    """Whoever signs: a key in memory, in a vault, or at a provider of keys."""

    @property
    def vkey(self) -> str:
        """The public half, as one line of text."""

    def sign(self, data: bytes) -> bytes:
        """Give the 64 bytes of an Ed25519 signature over ``data``."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key."""

    name: str
    algorithm: int
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.algorithm not in {ED25519, COSIGNATURE} or len(self.public) != _PUBLIC_SIZE:
            msg = "Only Ed25519 keys (kinds 1 and 4, 32 bytes) are known here."
            raise FormatError(msg)

    @property
    def id(self) -> bytes:
        """Four bytes that stand before each signature of this key."""
        kind = bytes([self.algorithm])
        return sha256(self.name.encode() + b"\n" + kind + self.public).digest()[:_ID_SIZE]

    def __str__(self) -> str:
        material = b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{material}"

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Read a vkey. Raises FormatError where it is none, or its parts do not fit together."""
        parts = vkey.split("+", 2) if len(vkey) <= _LONGEST_KEY else []
        if len(parts) == 3:  # noqa: PLR2004 - name, id, material
            material = decode_base64(parts[2])
            if material:
                key = cls(parts[0], material[0], material[1:])
                if str(key) == vkey:
                    return key
        msg = "This is no vkey: it has the form name+1234abcd+base64, and its parts must agree."
        raise FormatError(msg)

    def check(self, data: bytes, signature: bytes) -> None:
        """Check a plain Ed25519 signature by this key. Raises SignatureError."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, data)
        except (InvalidSignature, ValueError) as error:
            msg = f"The signature is not by the key {self.name}+{self.id.hex()}."
            raise SignatureError(msg) from error


class Signer:
    """An Ed25519 key in this process's memory."""

    __slots__ = ("_private", "_seed", "key", "vkey")

    def __init__(self, name: str, seed: bytes | None = None) -> None:
        """Make a new key of that name, or the one of a 32-byte seed. Raises FormatError."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        seed = os.urandom(SEED_SIZE) if seed is None else seed
        if len(seed) != SEED_SIZE:
            msg = f"The seed of a key has {SEED_SIZE} bytes."
            raise FormatError(msg)
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(name, ED25519, self._private.public_key().public_bytes_raw())
        self.vkey = str(self.key)

    def __repr__(self) -> str:
        """Show the name only: the rest is secret."""
        return f"Signer({self.key.name!r})"

    @classmethod
    def from_seed(cls, seed: bytes, name: str = "test") -> Signer:
        """Make the key of a 32-byte seed."""
        return cls(name, seed)

    @classmethod
    def parse(cls, text: str) -> Signer:
        """Read what :meth:`secret_text` wrote. Raises FormatError, without a word of the text."""
        parts = text.removeprefix(_PRIVATE).split("+", 2)
        if text.startswith(_PRIVATE) and len(text) <= _LONGEST_KEY and len(parts) == 3:  # noqa: PLR2004 - as in a vkey
            material = decode_base64(parts[2])
            if material and material[0] == ED25519 and len(material) == 1 + SEED_SIZE:
                found = cls(parts[0], material[1:])
                if found.secret_text() == text:
                    return found
        msg = "This is no private key: it has the form PRIVATE+KEY+name+1234abcd+base64."
        raise FormatError(msg)

    def secret_text(self) -> str:
        """Give the private key as one line, as Go's note package reads it. Keep it secret."""
        material = b64encode(bytes([ED25519]) + self._seed).decode()
        return f"{_PRIVATE}{self.key.name}+{self.key.id.hex()}+{material}"

    @property
    def name(self) -> str:
        """The key's name."""
        return self.key.name

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self.key.public

    def sign(self, data: bytes) -> bytes:
        """Give the 64 bytes of a signature over ``data``."""
        return self._private.sign(data)


class Signature(NamedTuple):
    """One signature line of a note, not checked."""

    name: str
    key_id: bytes
    blob: bytes
    """What follows the key's id: for kind 1 the signature, for kind 4 time and signature."""

    def __str__(self) -> str:
        return f"{_MARK}{self.name} {b64encode(self.key_id + self.blob).decode()}\n"


class Note(NamedTuple):
    """A text and its signature lines, not checked."""

    text: str
    """Ends with a newline."""
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))

    @classmethod
    def parse(cls, note: str | bytes) -> Note:
        """Read a signed note. Raises FormatError; see :func:`check_note` for the signatures."""
        whole = _decoded(note)
        body, mark, lines = whole.rpartition("\n\n")
        if not mark:
            msg = "This is no signed note: an empty line must stand before the signatures."
            raise FormatError(msg)
        text = body + "\n"
        first = text.count("\n") + 2
        if not lines.endswith("\n"):
            msg = f"Line {first}: each signature is a line, and ends with a newline."
            raise FormatError(msg)
        found = lines[:-1].split("\n")
        if len(found) > MOST_SIGNATURES:
            msg = f"The note has more than {MOST_SIGNATURES} signatures."
            raise FormatError(msg)
        return cls(text, tuple(_signature(line, first + at) for at, line in enumerate(found)))


class Checked(NamedTuple):
    """A signature that holds."""

    key: VerifierKey
    time_s: int | None = None
    """For a witness's: seconds since 1970 at which it says to have seen the text."""


def check_note(note: Note, keys: Collection[VerifierKey]) -> list[Checked]:
    """Check the signatures by these keys, and pass over those of others.

    Returns those that hold, in the order of the lines: perhaps none. Raises SignatureError where a
    known key's signature does not hold, or stands there twice.
    """
    known = {(key.name, key.id): key for key in keys}
    checked: list[Checked] = []
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if any(before.key == key for before in checked):
            msg = f"The key {key.name}+{key.id.hex()} signed the note twice."
            raise SignatureError(msg)
        checked.append(_check(key, note.text, signature.blob))
    return checked


def signature_line(text: str, signer: Signs) -> Signature:
    """Sign a text that ends with a newline. Raises FormatError where a note may not hold it."""
    _check_text(text)
    key = VerifierKey.parse(signer.vkey)
    return Signature(key.name, key.id, signer.sign(text.encode()))


def sign_note(text: str, *signers: Signs) -> Note:
    """Make a note of a text that ends with a newline, signed by each of the signers."""
    return Note(text, tuple(signature_line(text, signer) for signer in signers))


def cosignature_line(text: str, signer: Signs, time_s: int) -> Signature:
    """Sign a checkpoint's text as a witness does: with the time, in seconds since 1970."""
    _check_text(text)
    key = cosigner_key(VerifierKey.parse(signer.vkey))
    blob = time_s.to_bytes(_TIME_SIZE, "big") + signer.sign(_cosigned(text, time_s))
    return Signature(key.name, key.id, blob)


def cosigner_key(key: VerifierKey) -> VerifierKey:
    """Give the same public key as a witness's."""
    return VerifierKey(key.name, COSIGNATURE, key.public)


def check_name(name: str) -> None:
    """Check the name of a key. Raises FormatError."""
    if not name or len(name) > LONGEST_NAME or "+" in name:
        msg = f"The name of a key has 1 to {LONGEST_NAME} characters, and no plus sign."
        raise FormatError(msg)
    if any(c.isspace() or c < " " or c == "\x7f" for c in name) or not is_unicode(name):
        msg = "The name of a key holds no spaces, no control characters, and is valid Unicode."
        raise FormatError(msg)


def decode_base64(text: str) -> bytes | None:
    """Decode standard base64 in its one spelling; None for anything else."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return None
    return data if b64encode(data).decode() == text else None


def _check(key: VerifierKey, text: str, blob: bytes) -> Checked:
    if key.algorithm == ED25519:
        if len(blob) == _SIGNATURE_SIZE:
            key.check(text.encode(), blob)
            return Checked(key)
    elif len(blob) == _TIME_SIZE + _SIGNATURE_SIZE:
        time_s = int.from_bytes(blob[:_TIME_SIZE], "big")
        if time_s < 1 << 63:
            key.check(_cosigned(text, time_s), blob[_TIME_SIZE:])
            return Checked(key, time_s)
    msg = f"The signature by {key.name}+{key.id.hex()} has a wrong length or time."
    raise SignatureError(msg)


def _cosigned(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _decoded(note: str | bytes) -> str:
    if len(note) > LONGEST_NOTE:
        msg = f"A note has at most {LONGEST_NOTE} bytes."
        raise FormatError(msg)
    if isinstance(note, bytes):
        try:
            note = note.decode()
        except UnicodeDecodeError as error:
            msg = "The note is not UTF-8."
            raise FormatError(msg) from error
    _check_characters(note)
    return note


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        msg = "The text of a note ends with a newline."
        raise FormatError(msg)
    _check_characters(text)


def _check_characters(text: str) -> None:
    found = _CONTROL.search(text)
    if found is not None or not is_unicode(text):
        line = text.count("\n", 0, found.start()) + 1 if found is not None else 1
        msg = f"Line {line}: a note holds valid Unicode, and no control character but newline."
        raise FormatError(msg)


def _signature(line: str, number: int) -> Signature:
    parts = line.removeprefix(_MARK).split(" ")
    if line.startswith(_MARK) and len(parts) == 2:  # noqa: PLR2004 - name and signature
        data = decode_base64(parts[1])
        if data is not None and len(data) > _ID_SIZE:
            try:
                check_name(parts[0])
            except FormatError as error:
                msg = f"Line {number}: {error}"
                raise FormatError(msg) from error
            return Signature(parts[0], data[:_ID_SIZE], data[_ID_SIZE:])
    msg = f"Line {number}: this is no signature, which is an em dash, a name and base64."
    raise FormatError(msg)
