"""The tree: roots and proofs as the known answers and the RFC's own words have them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.integrity import merkle
from affidavit.integrity.errors import ProofError
from affidavit.integrity.merkle import Frontier
from tests.support import trees

pytestmark = pytest.mark.requirement("R20", "R21")

KNOWN = trees.known("merkle")
LARGEST = 600
SIZES = st.integers(0, LARGEST)


@cache
def levels() -> list[list[bytes]]:
    """Every complete node of a tree, by level."""
    found = [trees.leaves(LARGEST)]
    while len(found[-1]) > 1:
        below = found[-1]
        found.append(
            [merkle.node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        )
    return found


def hashes(level: int, index: int) -> bytes:
    """The source of nodes for proofs."""
    return levels()[level][index]


@pytest.mark.parametrize("size", list(map(int, KNOWN["roots"])))
def test_roots_are_the_known_ones(size: int) -> None:
    """Grown leaf by leaf, or computed from nodes."""
    frontier = Frontier()
    for leaf in trees.leaves(size):
        frontier.append(leaf)
    assert frontier.root().hex() == KNOWN["roots"][str(size)]
    assert merkle.tree_root(size, hashes) == frontier.root()


@pytest.mark.parametrize("known", KNOWN["inclusion"], ids=lambda k: f"{k['index']} of {k['size']}")
def test_inclusion_proofs_are_the_known_ones(known: dict[str, Any]) -> None:
    """Made and checked."""
    index, size = known["index"], known["size"]
    proof = merkle.inclusion_proof(index, size, hashes)
    assert [value.hex() for value in proof] == known["proof"]
    root = merkle.tree_root(size, hashes)
    merkle.check_inclusion(merkle.leaf_hash(b"event-%d" % index), index, size, proof, root)


@pytest.mark.parametrize("known", KNOWN["consistency"], ids=lambda k: f"{k['old']} to {k['new']}")
def test_consistency_proofs_are_the_known_ones(known: dict[str, Any]) -> None:
    """Made and checked."""
    old, new = known["old"], known["new"]
    proof = merkle.consistency_proof(old, new, hashes)
    assert [value.hex() for value in proof] == known["proof"]
    roots = [merkle.tree_root(size, hashes) for size in (old, new)]
    merkle.check_consistency(old, roots[0], new, roots[1], proof)


@given(SIZES, SIZES)
def test_proofs_of_any_size_are_those_of_the_rfc(one: int, other: int) -> None:
    """Against an implementation that follows its words, and every proof is accepted."""
    old, new = sorted((one, other))
    leaves = trees.leaves(new)
    root = trees.root(leaves)
    proof = merkle.consistency_proof(old, new, hashes)
    if old:
        assert proof == trees.proof(old, leaves)
    merkle.check_consistency(old, trees.root(leaves[:old]), new, root, proof)
    if old < new:
        proof = merkle.inclusion_proof(old, new, hashes)
        assert proof == trees.path(old, leaves)
        merkle.check_inclusion(leaves[old], old, new, proof, root)


@given(st.lists(st.integers(0, 40), max_size=20))
def test_a_tree_grows_from_any_point_that_was_kept(parts: list[int]) -> None:
    """The frontier alone continues it, as after a restart."""
    frontier, size = Frontier(), 0
    for part in parts:
        frontier = Frontier(frontier.size, frontier.hashes)
        frontier.extend(trees.leaves(size + part)[size:])
        size += part
        assert frontier.size == size
        assert len(frontier.hashes) == size.bit_count()
    assert frontier.root() == trees.root(trees.leaves(size))


@given(st.data())
def test_a_changed_proof_is_refused(data: st.DataObject) -> None:
    """One bit, one hash more or less, another index, size, leaf or root: never accepted."""
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    leaf, root = hashes(0, index), merkle.tree_root(size, hashes)
    proof = merkle.inclusion_proof(index, size, hashes)
    kind = data.draw(st.sampled_from(["bit", "more", "less", "index", "leaf", "root", "short"]))
    if kind == "bit" and proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        proof[at] = flip(proof[at], data.draw(st.integers(0, 255)))
    elif kind == "less" and proof:
        proof.pop(data.draw(st.integers(0, len(proof) - 1)))
    elif kind == "short" and proof:
        proof[-1] = proof[-1][:31]
    elif kind == "index" and size > 1:
        index = data.draw(st.integers(0, size - 1).filter(lambda other: other != index))
    elif kind == "leaf":
        leaf = flip(leaf, data.draw(st.integers(0, 255)))
    elif kind == "root":
        root = flip(root, data.draw(st.integers(0, 255)))
    else:
        proof.append(bytes(32))
    with pytest.raises(ProofError):
        merkle.check_inclusion(leaf, index, size, proof, root)


@given(st.data())
def test_a_changed_history_is_refused(data: st.DataObject) -> None:
    """A tree in which an old leaf was altered, left out or put in is not consistent."""
    old = data.draw(st.integers(1, 120))
    new = data.draw(st.integers(old, 150))
    leaves = trees.leaves(new)
    old_root = trees.root(leaves) if old == new else trees.root(leaves[:old])
    at = data.draw(st.integers(0, old - 1))
    kind = data.draw(st.sampled_from(["alter", "leave out", "put in", "swap"]))
    forged = list(leaves)
    if kind == "alter":
        forged[at] = flip(forged[at], 0)
    elif kind == "leave out":
        forged.pop(at)
        forged.append(leaves[at])
    elif kind == "put in":
        forged.insert(at, bytes(32))
    else:
        other = data.draw(st.integers(0, new - 1))
        forged[at], forged[other] = forged[other], forged[at]
    if forged[:old] == leaves[:old]:
        return
    proofs = [trees.proof(old, forged), merkle.consistency_proof(old, new, hashes)]
    for proof in proofs:
        with pytest.raises(ProofError):
            merkle.check_consistency(old, old_root, len(forged), trees.root(forged), proof)


def flip(value: bytes, bit: int) -> bytes:
    """The value with one bit changed."""
    return (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")


@pytest.mark.parametrize(
    ("old", "old_root", "new", "new_root", "proof"),
    [
        (0, bytes(32), 5, bytes(32), []),
        (0, merkle.EMPTY_ROOT, 0, bytes(32), []),
        (0, merkle.EMPTY_ROOT, 1, bytes(32), [bytes(32)]),
        (3, bytes(32), 3, b"\x01" * 32, []),
        (3, bytes(32), 3, bytes(32), [bytes(32)]),
        (4, bytes(32), 3, bytes(32), []),
        (-1, bytes(32), 3, bytes(32), []),
        (1, b"short", 2, bytes(32), [bytes(32)]),
    ],
)
def test_odd_consistency_claims_are_refused(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: list[bytes]
) -> None:
    """The empty tree, equal sizes, a shrunken tree."""
    with pytest.raises(ProofError):
        merkle.check_consistency(old, old_root, new, new_root, proof)


@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (1, 1), (-1, 5), (5, 5), (0, 2**63), (2**64, 2**65)]
)
def test_a_leaf_outside_of_the_tree_has_no_proof(index: int, size: int) -> None:
    """Nor is one accepted."""
    with pytest.raises(ProofError):
        merkle.inclusion_proof(index, size, hashes)
    with pytest.raises(ProofError):
        merkle.check_inclusion(bytes(32), index, size, [], bytes(32))


def test_the_empty_tree_has_the_root_of_nothing() -> None:
    """And the largest tree has few frontier hashes and short proofs."""
    assert Frontier().root() == merkle.EMPTY_ROOT == merkle.tree_root(0, hashes)
    merkle.check_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, [])
    assert len(merkle.inclusion_ranges(2**62, merkle.MAX_SIZE)) <= 63


@pytest.mark.parametrize(
    ("size", "kept"), [(1, []), (3, [bytes(32)]), (0, [bytes(32)]), (1, [b"x"]), (-1, [])]
)
def test_a_frontier_that_does_not_fit_its_size_is_refused(size: int, kept: list[bytes]) -> None:
    """The sealer would go on with a tree that never was."""
    with pytest.raises(ProofError):
        Frontier(size, kept)


def test_hashes_are_cut_apart() -> None:
    """In whole ones only."""
    assert merkle.split(bytes(64)) == [bytes(32), bytes(32)]
    with pytest.raises(ProofError, match="33 bytes"):
        merkle.split(bytes(33))
