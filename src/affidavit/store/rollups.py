"""What keeping and asking rollups needs of a store.

There are two *sides*, of which one answers questions while the other can be built anew. Each side
has a state:

``{_id: side, zone, since, k, serial, at, folded_at, missing, pending, building}``: the seals up to
``k`` are in its cells, but for the numbers in ``missing``, ``[k, writer, first, many]`` each, whose
records were not there when they were looked for. ``at`` is when seal ``k`` was made. Nothing before
``since`` is in the cells. ``pending`` is the group under way, written down before anything of it is
applied: ``{serial, to, late, missing, at, begun}``, the seals up to ``to``, the numbers in ``late``
that have come since, and without those in ``missing``. ``building``: it has not answered yet.

What users add up to waits in *bundles* (:mod:`affidavit.tally.bundles`), which a side's cells do
not have yet. ``bundles`` names the pieces of users that have some, ``{piece: serial}`` of the
newest, and ``merged`` up to which serial a piece is in the cells: a bundle is to be added to what
the cells say if its serial is above that. Adding a piece to the cells is a group, too; its
``pending`` is ``{serial, piece, to, begun}``, up to the bundles of group ``to``.

Durability and errors are those of :mod:`affidavit.store.sealing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from affidavit.event import Document
from affidavit.tally.cells import Cell
from affidavit.tally.columns import Row
from affidavit.tally.pace import HURRY, Pace

SIDES: Final = ("a", "b")


class Numbers(NamedTuple):
    """Consecutive numbers of one writer, and the seal that holds their leaves."""

    k: int
    writer: str
    first: int
    many: int


class Page(NamedTuple):
    """Some of what was asked for."""

    calls: Sequence[Row]
    corrections: Sequence[Document]


class RollupStore(Protocol):
    """Rollups and how far they are; any number of threads and processes may use it."""

    def current(self) -> Document | None:
        """Give ``{side, zone}`` of the side that answers questions; None before the first."""

    def state(self, side: str) -> Document | None:
        """Give a side's state."""

    def begin(self, zone: str, since: datetime | None) -> Document:
        """Make the first side's state if there is none; give what :meth:`current` gives."""

    def start_over(self, side: str, zone: str, since: datetime | None, k: int) -> None:
        """Empty a side, and let it go on behind seal ``k``."""

    def switch(self, side: str) -> None:
        """Let this side answer questions."""

    def write_down(self, state: Document, group: Document) -> bool:
        """Write down the group that follows this state; False if another one was faster."""

    def add(
        self, side: str, cells: Iterable[Cell], late: int | None = None, pace: Pace = HURRY
    ) -> None:
        """Add to the cells of a side, each only if it has not got this yet.

        That is told by the cell's ``k``, or, with the serial number of a group of ``late``
        records, by that of the latest such group.
        """

    def hold(self, side: str, cells: Iterable[Cell], serial: int, pace: Pace = HURRY) -> set[str]:
        """Keep cells of users as bundles of this group, if it has none yet; names their pieces."""

    def bundles(self, side: str, piece: str, after: int, upto: int) -> Iterator[Document]:
        """Give the bundles of a piece, of groups after one serial number and up to another."""

    def forget(self, side: str, piece: str, upto: int) -> None:
        """Remove the bundles of a piece, of groups up to this serial number."""

    def finish(self, side: str, serial: int, changes: Document) -> bool:
        """Note that a group is applied; False if it was noted already."""

    def note(self, side: str, changes: Document) -> None:
        """Change other parts of a state."""

    def prune(self, side: str, since: datetime, zone: str) -> int:
        """Remove the cells, and days of cells, that lie before ``since``; tell how many cells."""

    def sizes(self, side: str) -> dict[str, int]:
        """Count the cells of each kind."""

    # -- what is folded --------------------------------------------------------------------------

    def calls(self, writer: str, first: int, many: int, pace: Pace = HURRY) -> Iterator[Page]:
        """Give the finished calls and corrections of these numbers, without texts, in no order."""

    def stored(self, writer: str, first: int, many: int, expected: int) -> set[int] | None:
        """Tell which of these numbers have a record; None if it is as many as expected."""

    def classes(self, batch_ids: Sequence[str]) -> dict[str, bytes]:
        """Tell the class of each leaf of these batches; see :mod:`affidavit.integrity.leaves`."""

    def zone(self) -> str:
        """Tell the time zone that the log's days are counted in."""

    def retention(self) -> timedelta | None:
        """Tell how long records are kept; None without an end."""


def as_list(numbers: Iterable[Numbers]) -> list[list[object]]:
    """Write numbers as a state holds them."""
    return [list(each) for each in numbers]


def as_numbers(held: Iterable[Sequence[object]]) -> list[Numbers]:
    """Read numbers as a state holds them."""
    return [Numbers(int(k), str(w), int(s), int(n)) for k, w, s, n in held]  # type: ignore[call-overload]
