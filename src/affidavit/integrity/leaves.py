"""Leaf batches: what a writer says it has written, in order and signed; leaves for what is missing.

A batch holds the leaves of consecutive sequence numbers of one writer, with the time and the
retention class of each. Each names the batch before it by hash, so that a writer's batches are a
chain of their own until the log has them. ``sent_at`` belongs to the transport: not signed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from affidavit.canonical import encode
from affidavit.integrity.errors import BadBatch, FormatError, SignatureError
from affidavit.integrity.merkle import HASH_SIZE, leaf_hash
from affidavit.integrity.note import ED25519, LONGEST_NAME, Signer, Signs, VerifierKey

__all__ = [
    "FIRST",
    "LEDGER",
    "MOST_LEAVES",
    "RECORDS",
    "BadBatch",
    "LeafBatch",
    "Signer",
    "build",
    "check",
    "from_document",
    "gap_entry",
    "gap_leaf",
]

MOST_LEAVES: Final = 10_000
FIRST: Final = bytes(HASH_SIZE)
"""``prev`` of a writer's first batch."""

RECORDS: Final = 0
"""Class of a leaf whose record expires with the records' retention."""

LEDGER: Final = 1
"""Class of a leaf whose record is never deleted."""

WRITER: Final = "writer"
REBUILT: Final = "log"
"""``made`` of a batch that the sealer built from stored records: the writer died with its own."""

_VERSION: Final = 1
_TIME_SIZE: Final = 8
_KEY_SIZE: Final = 32
_SIGNATURE_SIZE: Final = 64
_MOST_SEQ: Final = 2**53 - 1
_BYTES: Final = ("h", "t", "k", "prev", "sig", "key")
_FIELDS: Final = frozenset({"_id", "w", "s0", "n", "made", *_BYTES})
_TRANSPORT: Final = frozenset({"sent_at"})


@dataclass(frozen=True, slots=True)
class LeafBatch:
    """Consecutive leaves of one writer; see :func:`check` for whether it holds."""

    id: str
    """``<writer>:<first sequence number>``."""
    w: str
    s0: int
    n: int
    h: bytes
    """Leaf hashes, 32 bytes each."""
    t: bytes
    """Times of the events in ms since 1970, 8 bytes each, big-endian, signed."""
    k: bytes
    """Retention class of each leaf, one byte: :data:`RECORDS` or :data:`LEDGER`."""
    prev: bytes
    """:attr:`digest` of this writer's batch before, zeros for the first."""
    sig: bytes
    key: bytes
    """Ed25519 public key."""
    made: str
    """``writer``, or ``log`` for one that the sealer rebuilt."""

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return _signed(self.w, self.s0, self.n, (self.h, self.t, self.k), self.prev, self.made)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes: what the next batch of this writer names."""
        return sha256(self.signed).digest()

    @property
    def leaves(self) -> list[bytes]:
        """The leaf hashes, apart."""
        return [self.h[at : at + HASH_SIZE] for at in range(0, len(self.h), HASH_SIZE)]

    @property
    def times_ms(self) -> tuple[int, ...]:
        """The times of the events, in ms since 1970."""
        return struct.unpack(f">{self.n}q", self.t)

    def as_document(self) -> dict[str, Any]:
        """Give the document that is stored, without ``sent_at``."""
        return {
            "_id": self.id,
            "w": self.w,
            "s0": self.s0,
            "n": self.n,
            "h": self.h,
            "t": self.t,
            "k": self.k,
            "prev": self.prev,
            "sig": self.sig,
            "key": self.key,
            "made": self.made,
        }


def build(
    writer: str,
    s0: int,
    leaves: Sequence[bytes] | bytes,
    times_ms: Sequence[int],
    classes: bytes,
    prev: bytes,
    signer: Signs,
    *,
    made: str = WRITER,
) -> LeafBatch:
    """Make and sign a batch: the leaves of ``s0`` and the numbers after it. Raises BadBatch."""
    h = leaves if isinstance(leaves, bytes) else b"".join(leaves)
    n = len(times_ms)
    try:
        t = struct.pack(f">{n}q", *times_ms)
    except struct.error as error:
        msg = "A time does not fit into 64 bits."
        raise BadBatch(msg) from error
    data = _signed(writer, s0, n, (h, t, classes), prev, made)
    key = VerifierKey.parse(signer.vkey).public
    sig = signer.sign(data)
    batch = LeafBatch(f"{writer}:{s0}", writer, s0, n, h, t, classes, prev, sig, key, made)
    _check_form(batch)
    return batch


def from_document(document: Mapping[str, Any]) -> LeafBatch:
    """Read a stored batch. Raises BadBatch, a ValueError, that names the field that is wrong."""
    names = set(document)
    if names - _TRANSPORT != _FIELDS:
        wrong = sorted(map(str, (names - _TRANSPORT) ^ _FIELDS))[:3]
        msg = f"A leaf batch has exactly its fields; wrong or missing: {', '.join(wrong)[:100]}."
        raise BadBatch(msg)
    for name in _BYTES:
        if not isinstance(document[name], bytes):
            msg = f"The field `{name}` of a leaf batch must be binary data."
            raise BadBatch(msg)
    for name in ("_id", "w", "made"):
        if not isinstance(document[name], str):
            msg = f"The field `{name}` of a leaf batch must be text."
            raise BadBatch(msg)
    for name in ("s0", "n"):
        if not isinstance(document[name], int) or isinstance(document[name], bool):
            msg = f"The field `{name}` of a leaf batch must be a whole number."
            raise BadBatch(msg)
    parts = {name: bytes(document[name]) for name in _BYTES}
    batch = LeafBatch(
        id=document["_id"],
        w=document["w"],
        s0=int(document["s0"]),
        n=int(document["n"]),
        made=document["made"],
        **parts,
    )
    _check_form(batch)
    return batch


def check(batch: LeafBatch, public_key: bytes | None = None) -> None:
    """Check that a batch is well formed and signed: by ``public_key``, or else by its own ``key``.

    That the key is really the writer's is known from the ledger (``writer_start``), not from here.
    Raises BadBatch with the reason.
    """
    _check_form(batch)
    if public_key is not None and public_key != batch.key:
        msg = f"The leaf batch {_shown(batch.id)} is signed by another key than its writer's."
        raise BadBatch(msg)
    try:
        VerifierKey("leaves", ED25519, batch.key).check(batch.signed, batch.sig)
    except (SignatureError, FormatError) as error:
        msg = f"The signature of the leaf batch {_shown(batch.id)} does not hold."
        raise BadBatch(msg) from error


def gap_entry(writer: str, s0: int, n: int, at_ms: int) -> bytes:
    """Make the entry that stands for ``n`` sequence numbers from ``s0`` that never came."""
    # A number that was stored may come back in a type of the driver's.
    return encode({"v": _VERSION, "gap": writer, "s": int(s0), "n": int(n), "t": int(at_ms)})


def gap_leaf(writer: str, s0: int, n: int, at_ms: int) -> bytes:
    """Make the leaf of a gap; ``at_ms`` is when it was sealed, in ms since 1970."""
    return leaf_hash(gap_entry(writer, s0, n, at_ms))


def _signed(
    w: str, s0: int, n: int, parts: tuple[bytes, bytes, bytes], prev: bytes, made: str
) -> bytes:
    h, t, k = (sha256(part).hexdigest() for part in parts)
    said: dict[str, Any] = {
        "v": _VERSION, "w": w, "s0": s0, "n": n, "h": h, "t": t, "k": k, "prev": prev.hex()
    }  # fmt: skip
    if made != WRITER:
        said["rebuilt"] = True
    return encode(said)


def _check_form(batch: LeafBatch) -> None:  # noqa: C901 - one check after another
    n = batch.n
    wrong = None
    if not 1 <= n <= MOST_LEAVES:
        wrong = f"`n` must be 1 to {MOST_LEAVES}"
    elif not 0 <= batch.s0 <= _MOST_SEQ - n:
        wrong = "`s0` is out of range"
    elif not 0 < len(batch.w) <= LONGEST_NAME or batch.id != f"{batch.w}:{batch.s0}":
        wrong = "`_id` must be the writer and its first number"
    elif len(batch.h) != n * HASH_SIZE:
        wrong = f"`h` must hold {HASH_SIZE} bytes for each leaf"
    elif len(batch.t) != n * _TIME_SIZE:
        wrong = f"`t` must hold {_TIME_SIZE} bytes for each leaf"
    elif len(batch.k) != n or not set(batch.k) <= {RECORDS, LEDGER}:
        wrong = "`k` must hold one byte, 0 or 1, for each leaf"
    elif len(batch.prev) != HASH_SIZE or len(batch.key) != _KEY_SIZE:
        wrong = "`prev` and `key` must hold 32 bytes"
    elif len(batch.sig) != _SIGNATURE_SIZE:
        wrong = "`sig` must hold 64 bytes"
    elif batch.made not in {WRITER, REBUILT}:
        wrong = "`made` must be `writer` or `log`"
    if wrong is not None:
        msg = f"In the leaf batch {_shown(batch.id)}, {wrong}."
        raise BadBatch(msg)


def _shown(text: str) -> str:
    """Show a name from a store, which may hold anything, as short plain ASCII."""
    return ascii(text[:80])
