"""What a verification reads, and the form of what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from affidavit.integrity.coverage import Range

_BATCH_ITEM: Final = frozenset({"b", "n", "from", "late"})
_GAP_ITEM: Final = frozenset({"gap", "s0", "n", "t"})


class Reader(Protocol):
    """What a verification reads: a live store (:mod:`affidavit.store.sealing`) or an export."""

    def identity(self) -> dict[str, Any] | None:
        """Give what the log says of itself: ``origin``, ``vkey``."""

    def seals(self, from_k: int = 0) -> Iterator[dict[str, Any]]:
        """Give the seals in order."""

    def batches(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Give these leaf batches, in any order."""

    def batches_of(self, writer: str) -> Iterator[dict[str, Any]]:
        """Give the leaf batches of one writer."""

    def records(self, writer: str, s0: int, n: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the stored records of these numbers, by number, with ``records`` or ``ledger``."""

    def strays(self, writer: str, ranges: Sequence[Range]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the stored records of a writer outside these ranges of numbers."""

    def unnumbered(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the stored records that have no writer, or a number that is none."""

    def ledger(self, event_type: str) -> Iterator[dict[str, Any]]:
        """Give the ledger's records of one kind."""

    def known_writers(self) -> set[str]:
        """Name every writer that has a stored record."""

    def tile(self, level: int, number: int) -> bytes | None:
        """Give a stored tile, or None."""


def items_of(seal: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the items of a seal that have the form of one."""
    items = seal.get("items")
    return [item for item in items if is_item(item)] if isinstance(items, list) else []


def is_seal(document: Mapping[str, Any]) -> bool:
    """Whether a document among the seals has the form of one; what it says may still be wrong."""
    numbers = [document.get(name) for name in ("_id", "i0", "n", "size")]
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers):
        return False
    items, hashes = document.get("items"), document.get("frontier")
    return (
        isinstance(items, list)
        and all(map(is_item, items))
        and isinstance(hashes, list)
        and all(isinstance(each, bytes) for each in (*hashes, document.get("root")))
        and all(isinstance(document.get(name), str) for name in ("cp", "vkey"))
        and isinstance(document.get("at"), datetime)
    )


def is_item(item: object) -> bool:
    """Whether an item of a seal has the form of one."""
    if not isinstance(item, Mapping):
        return False
    if not item.keys() <= (_BATCH_ITEM if "b" in item else _GAP_ITEM):
        return False
    name, n = item.get("b", item.get("gap")), item.get("n")
    start = item.get("from", 0) if "b" in item else item.get("s0")
    numbers = [n, start, *([] if "b" in item else [item.get("t")])]
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in numbers)
    return whole and isinstance(name, str) and bool(name) and n > 0 and start >= 0  # type: ignore[operator]


def size_of(value: object) -> int:
    """Give a number that was found in the store; 0 for anything else."""
    return value if isinstance(value, int) else 0
