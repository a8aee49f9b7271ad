"""The Merkle tree of RFC 6962: growing it, and proofs of inclusion and of consistency.

A *node* is (level, index): the hash over the ``2**level`` leaves from ``index << level`` on, all of
which are there. Whatever proofs need is asked of a :class:`Hashes` source by nodes, so that a proof
can be made of tiles without reading the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

from affidavit.integrity.errors import ProofError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
MAX_SIZE: Final = 2**63 - 1
"""Leaves a tree may have: what a checkpoint's readers hold in a signed 64-bit integer."""

Node: TypeAlias = tuple[int, int]
Hashes: TypeAlias = Callable[[int, int], bytes]
"""Gives the hash of the node (level, index)."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash an entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees to the one above them."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree, of which only the roots of its complete subtrees are kept.

    There is one for each set bit of the size, the largest first: at most 63 hashes for any log.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Continue a tree of ``size`` leaves. Raises ProofError where the hashes do not fit it."""
        if not 0 <= size <= MAX_SIZE or len(hashes) != size.bit_count():
            msg = f"A tree of {size} leaves has {max(size, 0).bit_count()} frontier hashes."
            raise ProofError(msg)
        if any(len(value) != HASH_SIZE for value in hashes):
            msg = f"A frontier hash is not {HASH_SIZE} bytes long."
            raise ProofError(msg)
        self.size = size
        self._peaks = list(hashes)

    @property
    def hashes(self) -> list[bytes]:
        """The roots of the complete subtrees, the largest first."""
        return list(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes, each of 32 bytes, in order."""
        peaks, size, digest = self._peaks, self.size, sha256
        for leaf in leaves:
            value, carry = leaf, size
            while carry & 1:
                value = digest(b"\x01" + peaks.pop() + value).digest()
                carry >>= 1
            peaks.append(value)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """Give the root of the tree as it is now."""
        return fold(self._peaks) if self._peaks else EMPTY_ROOT


def split(data: bytes) -> list[bytes]:
    """Cut concatenated hashes apart. Raises ProofError where the length is no multiple of 32."""
    if len(data) % HASH_SIZE:
        msg = f"{len(data)} bytes are no whole number of hashes of {HASH_SIZE} bytes."
        raise ProofError(msg)
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def fold(hashes: Sequence[bytes]) -> bytes:
    """Hash neighbouring complete subtrees, the largest first, to the root over all of them."""
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Hash a power of two of neighbouring nodes of one level to the node above them all."""
    level = list(hashes)
    while len(level) > 1:
        pairs = iter(level)
        level = [
            sha256(b"\x01" + left + right).digest()
            for left, right in zip(pairs, pairs, strict=True)
        ]
    return level[0]


# -- which nodes -----------------------------------------------------------------------------------


def nodes(start: int, end: int) -> list[Node]:
    """List the nodes that cover the leaves ``start`` to ``end``, the largest first.

    ``start`` must be a multiple of a power of two that is no less than ``end - start``.
    """
    found: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """List the leaves under each hash of an inclusion proof, in the proof's order.

    Raises ProofError for a leaf that is not in the tree.
    """
    if not 0 <= index < size <= MAX_SIZE:
        msg = f"A tree of {size} leaves has no leaf {index}."
        raise ProofError(msg)
    ranges: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _half(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """List the leaves under each hash of a consistency proof, in the proof's order.

    Raises ProofError where the old tree is the larger one.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        msg = f"A tree of {new} leaves cannot have grown from one of {old}."
        raise ProofError(msg)
    if old in {0, new}:
        return []
    ranges: list[tuple[int, int]] = []
    start, end = 0, new
    while old != end:
        middle = start + _half(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:  # else the old tree is a subtree by itself, and the verifier has its root
        ranges.append((start, end))
    return ranges[::-1]


def _half(size: int) -> int:
    """Give the largest power of two below ``size``, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


# -- making proofs ---------------------------------------------------------------------------------


def tree_root(size: int, hashes: Hashes) -> bytes:
    """Give the root of the tree of the first ``size`` leaves."""
    return _range_root(0, size, hashes) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, hashes: Hashes) -> list[bytes]:
    """Prove that a leaf is in the tree. Raises ProofError where it is not."""
    return [_range_root(start, end, hashes) for start, end in inclusion_ranges(index, size)]


def consistency_proof(old: int, new: int, hashes: Hashes) -> list[bytes]:
    """Prove that a tree of ``new`` leaves begins with the one of ``old`` leaves."""
    return [_range_root(start, end, hashes) for start, end in consistency_ranges(old, new)]


def _range_root(start: int, end: int, hashes: Hashes) -> bytes:
    return fold([hashes(level, index) for level, index in nodes(start, end)])


# -- checking them ---------------------------------------------------------------------------------


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf stands at ``index`` in the tree of this size and root.

    Raises ProofError where the proof does not show it.
    """
    if root_of_inclusion(leaf, index, size, proof) != root:
        msg = f"The proof for leaf {index} does not lead to the root of the tree of {size}."
        raise ProofError(msg)


def root_of_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Give the root that an inclusion proof leads to. Raises ProofError for a wrong length."""
    expected = inclusion_ranges(index, size)
    _check_lengths(proof, len(expected), leaf)
    value = leaf
    for (start, _), sibling in zip(expected, proof, strict=True):
        value = node_hash(value, sibling) if start > index else node_hash(sibling, value)
    return value


def check_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the new tree only added leaves to the old one. Raises ProofError if not shown."""
    expected = consistency_ranges(old, new)
    _check_lengths(proof, len(expected), old_root, new_root)
    if old == 0 and old_root != EMPTY_ROOT:
        msg = "The tree of no leaves has another root."
        raise ProofError(msg)
    if old == new and old_root != new_root:
        msg = f"Two trees of {old} leaves have different roots."
        raise ProofError(msg)
    if old in {0, new}:
        return
    steps = list(zip(expected, proof, strict=True))
    if expected[0][1] == old:  # the last subtree of the old tree, which is not the whole of it
        older = newer = proof[0]
        steps = steps[1:]
    else:
        older = newer = old_root
    for (start, _), value in steps:
        if start >= old:
            newer = node_hash(newer, value)
        else:
            older = node_hash(value, older)
            newer = node_hash(value, newer)
    if older != old_root:
        msg = f"The proof does not start at the root of the tree of {old}."
        raise ProofError(msg)
    if newer != new_root:
        msg = f"The proof from {old} does not lead to the root of the tree of {new}."
        raise ProofError(msg)


def _check_lengths(proof: Sequence[bytes], expected: int, *others: bytes) -> None:
    if len(proof) != expected:
        msg = f"The proof has {len(proof)} hashes, and {expected} are needed."
        raise ProofError(msg)
    if any(len(value) != HASH_SIZE for value in (*proof, *others)):
        msg = f"A hash of the proof is not {HASH_SIZE} bytes long."
        raise ProofError(msg)
