"""Tiles (c2sp.org/tlog-tiles): the tree in pieces of 256 hashes, by which it is kept and read.

A tile of level 0 holds leaf hashes; each hash of a tile above is the root of one whole tile below.
Only whole tiles go up, so a whole tile never changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from affidavit.integrity.errors import FormatError, ProofError
from affidavit.integrity.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    MAX_SIZE,
    fold,
    perfect_root,
    split,
)

WIDTH: Final = 256
"""Hashes in a whole tile."""

_HEIGHT: Final = 8
MAX_LEVEL: Final = 63
_LONGEST_PATH: Final = 64
_PATH: Final = re.compile(
    r"tile/(0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


class Tile(NamedTuple):
    """The place of a tile: which level, the how-manieth, and how many hashes it has."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The path at which a static log serves it: ``tile/0/x001/234`` or ``tile/1/000.p/7``."""
        digits = str(self.number)
        digits = digits.rjust(-(-len(digits) // 3) * 3, "0")
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{self.level}/{number}{partial}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path. Raises FormatError for anything but what :attr:`path` writes."""
        found = _PATH.fullmatch(path) if len(path) <= _LONGEST_PATH else None
        if found is not None:
            level, number, width = found.groups()
            index = int(number.replace("x", "").replace("/", ""))
            tile = cls(int(level), index, WIDTH if width is None else int(width))
            if tile.level <= MAX_LEVEL and index <= MAX_SIZE and tile.path == path:
                return tile
        msg = "This is not the path of a tile, such as tile/0/x001/234 or tile/1/000.p/7."
        raise FormatError(msg)


def width_at(level: int, index: int, size: int) -> int:
    """Tell how many hashes that tile has in a tree of ``size`` leaves: 0 to 256."""
    return max(0, min(WIDTH, (size >> (_HEIGHT * level)) - index * WIDTH))


def tiles_of(size: int) -> list[Tile]:
    """List every tile of a tree: by level, whole ones first, then the partial one if any."""
    found: list[Tile] = []
    level = 0
    while size >> (_HEIGHT * level):
        whole, width = divmod(size >> (_HEIGHT * level), WIDTH)
        found += [Tile(level, index) for index in range(whole)]
        if width:
            found.append(Tile(level, whole, width))
        level += 1
    return found


def tile_of(level: int, index: int) -> tuple[int, int, int, int]:
    """Tell where a node is found: level and index of its tile, its first hash there, how many."""
    tile_level, height = divmod(level, _HEIGHT)
    tile_index, first = divmod(index << height, WIDTH)
    return tile_level, tile_index, first, 1 << height


class TileHashes:
    """Hashes of nodes, read from tiles: a source for proofs. Each tile is fetched once.

    Nothing is believed here: what is read is proved when the proof is checked against a root.
    """

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        """``fetch`` gives a tile's hashes, concatenated, in a tree of ``size`` leaves."""
        self._size = size
        self._fetch = fetch
        self._known: dict[tuple[int, int], list[bytes]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """Give the hash of a node. Raises ProofError where a tile is missing or too short."""
        tile_level, tile_index, first, count = tile_of(level, index)
        tile = Tile(tile_level, tile_index, width_at(tile_level, tile_index, self._size))
        hashes = self._known.get((tile_level, tile_index))
        if hashes is None:
            if first + count > tile.width:
                msg = f"A tree of {self._size} leaves has no node {level}/{index}."
                raise ProofError(msg)
            hashes = split(self._fetch(tile))
            if len(hashes) < tile.width:
                msg = f"The tile {tile.path} has {len(hashes)} hashes."
                raise ProofError(msg)
            self._known[tile_level, tile_index] = hashes
        elif first + count > tile.width:
            msg = f"A tree of {self._size} leaves has no node {level}/{index}."
            raise ProofError(msg)
        return perfect_root(hashes[first : first + count])


class Growth:
    """A growing tree that gives out each tile when it is whole; it keeps the partial ones."""

    __slots__ = ("_partial", "size")

    def __init__(self, size: int = 0, partial: Sequence[Sequence[bytes]] = ()) -> None:
        """Continue a tree: ``partial`` holds, from level 0 up, the hashes of its partial tiles.

        Raises ProofError where they do not fit the size.
        """
        levels = 0
        while size >> (_HEIGHT * levels):
            levels += 1
        widths = [(size >> (_HEIGHT * level)) % WIDTH for level in range(levels)]
        fits = 0 <= size <= MAX_SIZE and [len(hashes) for hashes in partial] == widths
        if not fits or any(len(value) != HASH_SIZE for hashes in partial for value in hashes):
            msg = f"The partial tiles of a tree of {size} leaves have {widths} hashes."
            raise ProofError(msg)
        self.size = size
        self._partial = [list(hashes) for hashes in partial]

    @property
    def partial(self) -> list[list[bytes]]:
        """The hashes of the partial tile of each level, from level 0 up; some may be empty."""
        return [list(hashes) for hashes in self._partial]

    def extend(self, leaves: Iterable[bytes]) -> list[tuple[Tile, bytes]]:
        """Add leaf hashes in order; return the tiles that have become whole, with their hashes."""
        whole: list[tuple[Tile, bytes]] = []
        rising = list(leaves)
        self.size += len(rising)
        level = 0
        while rising:
            if level == len(self._partial):
                self._partial.append([])
            hashes = self._partial[level] + rising
            rising = []
            count = self.size >> (_HEIGHT * level)
            index = (count - len(hashes)) // WIDTH
            at = 0
            while len(hashes) - at >= WIDTH:
                tile = hashes[at : at + WIDTH]
                whole.append((Tile(level, index), b"".join(tile)))
                rising.append(perfect_root(tile))
                index += 1
                at += WIDTH
            self._partial[level] = hashes[at:]
            level += 1
        return whole

    def frontier(self) -> list[bytes]:
        """Give the roots of the complete subtrees, the largest first; see merkle.Frontier."""
        peaks: list[bytes] = []
        for hashes in reversed(self._partial):
            at = 0
            for bit in reversed(range(_HEIGHT)):
                if len(hashes) >> bit & 1:
                    peaks.append(perfect_root(hashes[at : at + (1 << bit)]))
                    at += 1 << bit
        return peaks

    def root(self) -> bytes:
        """Give the root of the tree as it is now."""
        return fold(self.frontier()) if self.size else EMPTY_ROOT
