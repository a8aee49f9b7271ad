"""Sums of users that wait to be added to their months: many of one group in a few documents.

A server takes longest to find a document and to check what is asked of it, so a user's month is
not written with each group. The group's users are bundled by *piece*, a part of all users by their
hash; now and then what waits of one piece is added to its months at once. A bundle holds a column
for each value, since a document for each user would cost what it is to save.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final
from zoneinfo import ZoneInfo

from affidavit.event import Document
from affidavit.tally.cells import USERS, Cell, Part, Times, digest
from affidavit.tally.times import start_of_month

PIECES: Final = tuple("0123456789abcdef")
"""Names of the parts that users fall into."""

MOST: Final = 200
"""Entries of one document; so many are encoded in half a millisecond."""

MOST_TEXT: Final = 2_000_000
"""Characters of keys in one document, but for a last one: far below what a document may have."""

_LARGE: Final = 2**53
_COUNTERS: Final = tuple(sorted(USERS.counters))
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PIECE_OF: Final = {letter: PIECES[n // 4] for n, letter in enumerate(_ALPHABET)}

TIMES: Final = ("first_ms", "last_ms", "corrected_first_ms", "corrected_last_ms")
"""Columns of times, in ms since 1970; None where there is none."""

Entry = tuple[Cell, str, Part]


def piece_of(user_id: str | None) -> str:
    """Tell in which piece a user is."""
    return _PIECE_OF[digest((user_id,))[0]]


def bundle_id(piece: str, serial: int, number: int | None = None) -> str:
    """Name a bundle, or without a number what all of one group begin with."""
    return f"b{piece}/{serial:012d}/" + ("" if number is None else f"{number:06d}")


def pack(cells: Iterable[Cell], serial: int) -> Iterator[Document]:
    """Write cells of users as bundles of the group with this serial number.

    The same cells, in any order, give the same documents.
    """
    pieces: dict[str, list[Entry]] = defaultdict(list)
    for cell in cells:
        entries = pieces[piece_of(cell.values[0])]
        entries += [(cell, day, part) for day, part in cell.days.items()]
    for piece, entries in sorted(pieces.items()):
        entries.sort(key=lambda entry: (entry[0].slot, entry[1], _sorted(entry[0].values)))
        for number, some in enumerate(_cut(entries)):
            yield _document(bundle_id(piece, serial, number), piece, serial, some)


def unpack(documents: Iterable[Document], zone: ZoneInfo) -> Iterator[Cell]:
    """Add up what several bundles hold for each month of a user."""
    cells: dict[tuple[Any, ...], Cell] = {}
    for held in documents:
        n = len(held["k"])
        counters = [name for name in _COUNTERS if name in held]
        counted = [held[name] for name in counters]
        times = [held.get(name) or repeat(None, n) for name in TIMES]
        keys = zip(held["slot"], *(held[name] for name in USERS.keys), strict=True)
        rows = zip(*counted, strict=True) if counted else repeat((), n)
        for key, k, day, values, (first, last, corrected, until) in zip(
            keys, held["k"], held["day"], rows, zip(*times, strict=False), strict=True
        ):
            cell = cells.get(key)
            if cell is None:
                slot = key[0]
                start = start_of_month(int(slot[1:5]), int(slot[6:8]), zone)
                cell = cells[key] = Cell(USERS, slot, start, key[1:])
            cell.k = max(cell.k, k)
            counts = {
                name: int(value) for name, value in zip(counters, values, strict=True) if value
            }
            part = Part(
                counts,
                None if first is None else Times(first, last),
                None if corrected is None else Times(corrected, until),
            )
            if day in cell.days:
                cell.days[day].merge(part)
            else:
                cell.days[day] = part
    yield from cells.values()


def _document(name: str, piece: str, serial: int, entries: Sequence[Entry]) -> Document:
    cells, days, parts = zip(*entries, strict=True)
    found: Document = {
        "_id": name,
        "piece": piece,
        "serial": serial,
        "slot": [cell.slot for cell in cells],
        "day": list(days),
        "k": [cell.k for cell in cells],
    }
    for key, column in zip(
        USERS.keys, zip(*(cell.values for cell in cells), strict=True), strict=True
    ):
        found[key] = list(column)
    for name_, corrects in (("", False), ("corrected_", True)):
        times = [part.corrections if corrects else part.calls for part in parts]
        if any(times):
            found[f"{name_}first_ms"] = [each and each.first_ms for each in times]
            found[f"{name_}last_ms"] = [each and each.last_ms for each in times]
    for counter in sorted({name for part in parts for name in part.counts}):
        found[counter] = [_plain(part.counts.get(counter, 0)) for part in parts]
    return found


def _plain(value: int) -> int | str:
    """Write what is absurdly large as a text: a database's numbers end at 64 bits."""
    return value if -_LARGE < value < _LARGE else str(value)


def _sorted(values: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is not None, value or "") for value in values)


def _cut(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut entries into what one document holds."""
    begin, text = 0, 0
    for n, (cell, _, _) in enumerate(entries):
        text += sum(len(value) for value in cell.values if value)
        if n - begin == MOST - 1 or text > MOST_TEXT:
            yield entries[begin : n + 1]
            begin, text = n + 1, 0
    if begin < len(entries):
        yield entries[begin:]
