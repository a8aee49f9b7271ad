"""Sealing: what was removed, encrypted to a public key whose private half the host does not have.

One box holds all sealed originals of one record. It is X25519 with a key of its own for each box,
HKDF-SHA256 and AES-256-GCM; the record's id is authenticated with it, so that a box cannot be
moved to another record::

    version (1) | key id (8) | ephemeral public key (32) | ciphertext and tag

The key for AES is used once, so its nonce is fixed. ``cryptography`` is loaded at the first box.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

VERSION: Final = 1
KEY_SIZE: Final = 32
_ID_SIZE: Final = 8
_HEAD: Final = 1 + _ID_SIZE + KEY_SIZE
_RECORD_SIZE: Final = 12
_NONCE: Final = bytes(12)
_INFO: Final = b"affidavit/seal/v1"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


class SealError(ValueError):
    """A box cannot be opened: another key, another record, or it was changed."""


def key_id(public: bytes) -> bytes:
    """Name a public key: the first eight bytes of its SHA-256."""
    return hashlib.sha256(public).digest()[:_ID_SIZE]


def keypair() -> tuple[bytes, bytes]:
    """Make a pair of 32-byte keys: private, public."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def seal(public: bytes, originals: dict[str, str], record: bytes) -> bytes:
    """Encrypt the originals, by their number, for the holder of the private key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    ephemeral = X25519PrivateKey.generate()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    own = ephemeral.public_key().public_bytes_raw()
    head = bytes([VERSION]) + key_id(public) + own
    key = _derive(shared, own + public)
    return head + AESGCM(key).encrypt(_NONCE, _encode(originals), head + record)


def open_box(private: bytes, box: bytes, record: bytes) -> dict[str, str]:
    """Decrypt a box with the compliance officer's key. Raises SealError."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(private) != KEY_SIZE:
        msg = f"A private key has {KEY_SIZE} bytes, and this one has {len(private)}."
        raise SealError(msg)
    if len(record) != _RECORD_SIZE:
        msg = "The record has no _id of 12 bytes, and a box opens only with its own. Export it too."
        raise SealError(msg)
    if len(box) < _HEAD or box[0] != VERSION:
        msg = "This is not a sealed box of version 1."
        raise SealError(msg)
    holder = X25519PrivateKey.from_private_bytes(private)
    public = holder.public_key().public_bytes_raw()
    if box[1 : 1 + _ID_SIZE] != key_id(public):
        msg = (
            f"The box was sealed to key {box[1 : 1 + _ID_SIZE].hex()}, and this is the private"
            f" half "
            f"of {key_id(public).hex()}. Use the other key."
        )
        raise SealError(msg)
    own = box[1 + _ID_SIZE : _HEAD]
    shared = holder.exchange(X25519PublicKey.from_public_bytes(own))
    try:
        plain = AESGCM(_derive(shared, own + public)).decrypt(
            _NONCE, box[_HEAD:], box[:_HEAD] + record
        )
    except InvalidTag as error:
        msg = "The box does not belong to this record, or it was changed."
        raise SealError(msg) from error
    return _decode(plain)


def _derive(shared: bytes, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_SIZE, salt, _INFO).derive(shared)
