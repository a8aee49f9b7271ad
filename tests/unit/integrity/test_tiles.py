"""Tiles: their paths, which there are, and proofs made from nothing but tiles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affidavit.integrity import merkle, tiles
from affidavit.integrity.errors import FormatError, ProofError
from affidavit.integrity.tiles import Growth, Tile, TileHashes
from tests.support import trees

pytestmark = pytest.mark.requirement("R20", "R21")


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(1, 999, 7), "tile/1/999.p/7"),
        (Tile(63, 1000, 255), "tile/63/x001/000.p/255"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    """Both ways."""
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(st.builds(Tile, st.integers(0, 63), st.integers(0, 2**55), st.integers(1, 256)))
def test_any_path_is_read_back(tile: Tile) -> None:
    """Whole and partial ones."""
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "tile/0/0", "tile/0/0000", "tile/0/x000/001", "tile/00/000", "tile/64/000",
        "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000 ", "/tile/0/000",
        "tile/0/001/002", "tile/0/x001", "tile/0/\u0661\u0661\u0661", "tile/-1/000", "tile/0/000\n",
        "tile/0/" + "x999/" * 20 + "999", "tile/entries/000",
    ],
)  # fmt: skip
def test_other_paths_are_refused(path: str) -> None:
    """There is one way to write a path."""
    with pytest.raises(FormatError, match="path of a tile"):
        Tile.parse(path)


def test_the_tiles_of_the_specification_s_example() -> None:
    """70,000 leaves, and the edge at 256."""
    found = tiles.tiles_of(70_000)
    assert len([t for t in found if t.level == 0 and t.width == 256]) == 273
    assert [t for t in found if t.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert [t for t in found if t.level == 1 and t.width == 256] == [Tile(1, 0)]
    assert tiles.tiles_of(256) == [Tile(0, 0), Tile(1, 0, 1)]
    assert tiles.tiles_of(0) == []
    assert [tiles.width_at(0, n, 300) for n in range(3)] == [256, 44, 0]


@settings(max_examples=20)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=4), st.data())
def test_a_growing_tree_gives_out_each_tile_once(parts: list[int], data: st.DataObject) -> None:
    """And its tiles alone are enough for the root and for any proof."""
    kept: dict[Tile, bytes] = {}
    growth, size = Growth(), 0
    for part in parts:
        growth = Growth(growth.size, growth.partial)
        for tile, content in growth.extend(trees.leaves(size + part)[size:]):
            assert tile not in kept
            kept[tile] = content
        size += part
    partial = {
        Tile(level, tiles.width_at(level, 0, size) and (size >> 8 * level) // 256, len(hashes)):
        b"".join(hashes)
        for level, hashes in enumerate(growth.partial) if hashes
    }  # fmt: skip
    assert kept.keys() == {tile for tile in tiles.tiles_of(size) if tile.width == 256}
    assert partial.keys() == {tile for tile in tiles.tiles_of(size) if tile.width < 256}
    leaves = trees.leaves(size)
    root = trees.root(leaves)
    assert growth.root() == root
    assert growth.frontier() == grown(leaves).hashes
    if not size:
        return
    source = TileHashes(size, {**kept, **partial}.__getitem__)
    assert merkle.tree_root(size, source) == root
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    proof = merkle.inclusion_proof(index, size, source)
    merkle.check_inclusion(leaves[index], index, size, proof, root)
    proof = merkle.consistency_proof(old, size, source)
    merkle.check_consistency(old, trees.root(leaves[:old]), size, root, proof)


def grown(leaves: list[bytes]) -> merkle.Frontier:
    """The frontier of these leaves."""
    frontier = merkle.Frontier()
    frontier.extend(leaves)
    return frontier


def test_a_proof_reads_few_tiles() -> None:
    """In a log of 20 million leaves: those on the way up, each once."""
    asked: list[Tile] = []

    def fetch(tile: Tile) -> bytes:
        asked.append(tile)
        return bytes(32 * tile.width)

    merkle.inclusion_proof(12_345_678, 20_000_000, TileHashes(20_000_000, fetch))
    assert len(asked) == len(set(asked)) <= 8


@pytest.mark.parametrize("content", [b"", bytes(32 * 43), bytes(33)])
def test_a_tile_that_is_too_short_is_refused(content: bytes) -> None:
    """The proof could not hold."""
    with pytest.raises(ProofError):
        TileHashes(300, lambda _: content)(0, 256)


def test_a_node_beyond_the_tree_is_refused() -> None:
    """Also when its tile was read before, and is longer than the tree."""
    source = TileHashes(300, lambda _: bytes(32 * 256))
    assert source(0, 299) == bytes(32)
    for level, index in ((0, 300), (3, 37), (8, 1), (0, 5000)):
        with pytest.raises(ProofError, match="no node"):
            source(level, index)


@pytest.mark.parametrize(
    ("size", "partial"),
    [(1, []), (0, [[]]), (256, [[]]), (1, [[b"x"]]), (300, [[bytes(32)] * 43, [bytes(32)]])],
)
def test_partial_tiles_that_do_not_fit_are_refused(size: int, partial: list[list[bytes]]) -> None:
    """The sealer would go on with a tree that never was."""
    with pytest.raises(ProofError, match="partial tiles"):
        Growth(size, partial)
