"""What was taken over from another logger, committed to once: the closing of an adoption.

Documents that others wrote have no entry and no leaf. When nothing more of them is to come,
``affidavit setup --close-adoption`` puts a digest of each into the ledger. From then on one that
was changed, removed or added is found, like any record.

A closing is told in parts, each a ledger record: rows of 56 bytes, 16 of the SHA-256 of the
document's ``_id``, 32 of the SHA-256 of its canonical JSON (zeros where it has none), and its time
in ms since 1970, 8 bytes, big-endian, signed. It counts when all of its parts are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from affidavit.canonical import encode, normalise
from affidavit.integrity.places import time_of

NAME_SIZE: Final = 16
_DIGEST_SIZE: Final = 32
_TIME_SIZE: Final = 8
ROW_SIZE: Final = NAME_SIZE + _DIGEST_SIZE + _TIME_SIZE
NO_FORM: Final = bytes(_DIGEST_SIZE)
"""In place of the digest of a document that holds a value without a canonical form."""

NO_TIME_MS: Final = -(2**61)
"""Before this lies the time of a document that has none: it never expires."""

_NO_FORM: Final = (TypeError, ValueError, ArithmeticError, RecursionError)


class Adopted(NamedTuple):
    """One document as it was when the adoption was closed."""

    digest: bytes
    time_ms: int
    leaf_index: int = -1
    """Where the log says so: the last part of the closing."""


def name_of(document: Mapping[str, Any]) -> bytes:
    """Name a document by the hash of its ``_id``, which can be of any type."""
    try:
        form = encode(normalise(document.get("_id")))
    except _NO_FORM:
        form = ascii(document.get("_id")).encode()
    return sha256(form).digest()[:NAME_SIZE]


def digest_of(document: Mapping[str, Any]) -> bytes:
    """Hash a whole document; zeros where a value in it has no canonical form."""
    try:
        return sha256(encode(normalise(document))).digest()
    except _NO_FORM:
        return NO_FORM


def rows_of(documents: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Give each document's row."""
    for document in documents:
        time_ms = time_of(document).to_bytes(_TIME_SIZE, "big", signed=True)
        yield name_of(document) + digest_of(document) + time_ms


class Closing:
    """The closings that the ledger tells of."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[int, bytes]] = {}
        self._counts: dict[str, int] = {}
        self._index: dict[str, int] = {}
        self._left: dict[bytes, Adopted] | None = None

    def learn(self, details: Mapping[str, Any], index: int = -1) -> None:
        """Take a part from a ledger record; ``index``: its place in the log."""
        name, part, parts = details.get("closing"), details.get("part"), details.get("parts")
        rows = details.get("rows")
        if not isinstance(name, str) or not isinstance(rows, bytes) or len(rows) % ROW_SIZE:
            return
        if isinstance(part, int) and isinstance(parts, int) and 0 <= part < parts:
            self._parts.setdefault(name, {})[part] = bytes(rows)
            self._counts[name] = parts
            self._index[name] = max(self._index.get(name, -1), index)

    @property
    def is_closed(self) -> bool:
        """Whether all parts of a closing are there."""
        return any(len(parts) == self._counts[name] for name, parts in self._parts.items())

    @property
    def left(self) -> dict[bytes, Adopted]:
        """The documents that were not taken out yet with :meth:`take`.

        What one closing says of a document, no later one can change.
        """
        if self._left is None:
            self._left = {}
            for name, parts in sorted(self._parts.items(), key=lambda each: self._index[each[0]]):
                if len(parts) != self._counts[name]:
                    continue
                for rows in parts.values():
                    for at in range(0, len(rows), ROW_SIZE):
                        row = rows[at : at + ROW_SIZE]
                        end = NAME_SIZE + _DIGEST_SIZE
                        time_ms = int.from_bytes(row[end:], "big", signed=True)
                        adopted = Adopted(row[NAME_SIZE:end], time_ms, self._index[name])
                        self._left.setdefault(row[:NAME_SIZE], adopted)
        return self._left

    def take(self, document: Mapping[str, Any]) -> Adopted | None:
        """Give what was committed to of a document, once; None where it was not there."""
        return self.left.pop(name_of(document), None)
