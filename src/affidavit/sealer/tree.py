"""The growing tree of a sealer: its roots, and the tiles that become whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from affidavit.errors import SealError
from affidavit.event import Document
from affidavit.integrity.errors import ProofError
from affidavit.integrity.merkle import Frontier, perfect_root, split
from affidavit.integrity.tiles import WIDTH, Growth
from affidavit.sealer.replay import leaves_between
from affidavit.store.sealing import SealStore

_HEIGHT: Final = 8

WholeTile = tuple[int, int, bytes]


class Tree:
    """A tree that can be tried out: extend a clone, and take it over once the store agrees."""

    __slots__ = ("_frontier", "_growth")

    def __init__(self, growth: Growth | None, frontier: Frontier | None = None) -> None:
        """Without ``growth`` there are roots and no tiles."""
        self._growth = growth
        self._frontier = frontier or Frontier()

    @classmethod
    def empty(cls) -> Tree:
        """Begin a log."""
        return cls(Growth())

    @property
    def size(self) -> int:
        """How many leaves it has."""
        return self._frontier.size if self._growth is None else self._growth.size

    @property
    def gives_tiles(self) -> bool:
        """Whether whole tiles come out of it."""
        return self._growth is not None

    def clone(self) -> Tree:
        """Copy it."""
        if self._growth is not None:
            return Tree(Growth(self._growth.size, self._growth.partial))
        return Tree(None, Frontier(self._frontier.size, self._frontier.hashes))

    def extend(self, leaves: Sequence[bytes]) -> list[WholeTile]:
        """Add leaves, and give the tiles that have become whole."""
        if self._growth is not None:
            return [(tile.level, tile.number, h) for tile, h in self._growth.extend(leaves)]
        self._frontier.extend(leaves)
        return []

    def root(self) -> bytes:
        """Give the root."""
        return self._frontier.root() if self._growth is None else self._growth.root()

    def frontier(self) -> list[bytes]:
        """Give the roots of the complete subtrees, the largest first."""
        return self._frontier.hashes if self._growth is None else self._growth.frontier()


def load(store: SealStore, last: Document) -> Tree:
    """Continue the tree of the newest seal, and write whole tiles that a dead sealer left out.

    Where stored tiles or leaves do not lead to the seal's root, the tree has roots and no tiles:
    the log can grow, and verification finds what was altered. Raises SealError where the seal
    itself does not hold together.
    """
    size, root = last["size"], bytes(last["root"])
    try:
        frontier = Frontier(size, [bytes(each) for each in last["frontier"]])
    except ProofError as error:
        raise broken(last) from error
    if frontier.root() != root:
        raise broken(last)
    try:
        growth = Growth(size, _partial(store, last))
    except (SealError, ProofError):
        return Tree(None, frontier)
    return Tree(growth) if growth.root() == root else Tree(None, frontier)


def broken(seal: Document) -> SealError:
    """Say that a seal is not what a sealer wrote."""
    msg = (
        f"Seal {seal['_id']} was altered: its parts do not fit its signed checkpoint. Nothing is "
        "sealed on top of it. Run `affidavit verify --checkpoint FILE` with a saved checkpoint."
    )
    return SealError(msg)


def _partial(store: SealStore, last: Document) -> list[list[bytes]]:
    """Give the hashes of the partial tile of each level."""
    size, found, level = last["size"], [], 0
    while count := size >> (_HEIGHT * level):
        first = count - count % WIDTH
        if level == 0:
            found.append(leaves_between(store, last, first, count))
        else:
            found.append(
                [_tile_root(store, last, level - 1, number) for number in range(first, count)]
            )
        level += 1
    # A level that has just become whole is looked at by nobody above.
    return found


def _tile_root(store: SealStore, last: Document, level: int, number: int) -> bytes:
    return perfect_root(split(_tile(store, last, level, number)))


def _tile(store: SealStore, last: Document, level: int, number: int) -> bytes:
    """Read a whole tile; make and keep it where it is missing."""
    known = store.tile(level, number)
    if known is not None:
        return known
    first = number * WIDTH
    if level == 0:
        hashes = leaves_between(store, last, first, first + WIDTH)
    else:
        hashes = [_tile_root(store, last, level - 1, first + at) for at in range(WIDTH)]
    made = b"".join(hashes)
    store.put_tiles([(level, number, made)])
    return made
