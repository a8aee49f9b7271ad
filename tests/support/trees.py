"""A Merkle tree by the words of RFC 6962, section 2.1: slow, recursive, with nothing of ours."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

KNOWN = Path(__file__).parents[1] / "fixtures" / "known"


def known(name: str) -> dict[str, Any]:
    """The known answers of a file."""
    read: dict[str, Any] = json.loads((KNOWN / f"{name}.json").read_text("utf-8"))
    return read


def leaf(entry: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\x00" + entry).digest()


def leaves(size: int, what: str = "event") -> list[bytes]:
    """The leaves of the known answers: the hashes of ``event-0``, ``event-1`` and so on."""
    return [leaf(f"{what}-{number}".encode()) for number in range(size)]


def root(hashes: list[bytes]) -> bytes:
    """MTH(D[n])."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = _k(len(hashes))
    return sha256(b"\x01" + root(hashes[:k]) + root(hashes[k:])).digest()


def path(m: int, hashes: list[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    n = len(hashes)
    if n == 1:
        return []
    k = _k(n)
    if m < k:
        return [*path(m, hashes[:k]), root(hashes[k:])]
    return [*path(m - k, hashes[k:]), root(hashes[:k])]


def proof(m: int, hashes: list[bytes]) -> list[bytes]:
    """PROOF(m, D[n])."""
    return [] if m == 0 else _subproof(m, hashes, whole=True)


def _subproof(m: int, hashes: list[bytes], *, whole: bool) -> list[bytes]:
    n = len(hashes)
    if m == n:
        return [] if whole else [root(hashes)]
    k = _k(n)
    if m <= k:
        return [*_subproof(m, hashes[:k], whole=whole), root(hashes[k:])]
    return [*_subproof(m - k, hashes[k:], whole=False), root(hashes[:k])]


def _k(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k
