"""Places in the log that are looked at, what is stored there, and how both are called."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bson.decimal128 import Decimal128

from affidavit.canonical import EntryError, entry_of, epoch_ms
from affidavit.integrity.leaves import LEDGER, RECORDS
from affidavit.integrity.merkle import HASH_SIZE

NAMES: Final = {RECORDS: "records", LEDGER: "ledger"}
ENDS_MS: Final = 253_402_300_799_999
"""The last moment that a time can be written for."""


class Span(NamedTuple):
    """Consecutive sealed leaves of one writer, to be compared with its records."""

    writer: str
    s0: int
    n: int
    leaves: bytes
    times_ms: tuple[int, ...]
    classes: bytes
    leaf_index: int
    """Where the first leaf stands in the log."""

    def part(self, start: int, n: int) -> Span:
        """Give some of the leaves as a span of their own."""
        return Span(
            self.writer,
            self.s0 + start,
            n,
            self.leaves[start * HASH_SIZE : (start + n) * HASH_SIZE],
            self.times_ms[start : start + n],
            self.classes[start : start + n],
            self.leaf_index + start,
        )


class Place(NamedTuple):
    """A sealed number at which something is wrong."""

    writer: str
    seq: int
    leaf: bytes
    time_ms: int
    kind: int
    leaf_index: int
    dest: str = ""
    document: Mapping[str, Any] | None = None
    why: str = ""


def entry_or_why(document: Mapping[str, Any], dest: str) -> tuple[bytes | None, str]:
    """Make the entry of a stored record; else None, and why there is none."""
    try:
        entry = entry_of(document, dest)
    except EntryError as error:
        return None, str(error).rstrip(".").lower()
    return entry, "" if entry is not None else "its salt was removed"


def number_of(seq: object) -> float:
    """Give a stored number as one that can be compared, whatever type of number it has become."""
    if isinstance(seq, Decimal128):
        seq = seq.to_decimal()
    return seq if isinstance(seq, int | float) else float(str(seq))


def time_of(document: Mapping[str, Any]) -> int:
    """Give the time of a record, far in the past where it has none."""
    value = document.get("timestamp")
    return epoch_ms(value) if isinstance(value, datetime) else -(2**62)


def moment(time_ms: int) -> str:
    """Write a time for people."""
    if not 0 <= time_ms <= ENDS_MS:
        return f"{time_ms} ms"
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def noun(dest: str) -> str:
    """Say what a document of a collection is."""
    return "ledger record" if dest == "ledger" else "record"


def called(place: Place) -> str:
    """Name a record: which, of whom, and of when."""
    document = place.document or {}
    name = f" {plain(document['_id'])}" if "_id" in document else ""
    kind = document.get("event_type")
    what = f" ({plain(kind)})" if isinstance(kind, str) else ""
    return (
        f"the {noun(place.dest or NAMES[place.kind])}{name}{what}, number {place.seq} of the "
        f"writer {place.writer}, of {moment(place.time_ms)},"
    ).removesuffix(",")


def plain(value: object) -> str:
    """Show a name from a store, which may hold anything, as short plain ASCII."""
    return ascii(str(value)[:80])[1:-1]


def upper(text: str) -> str:
    """Begin a sentence."""
    return text[:1].upper() + text[1:]
