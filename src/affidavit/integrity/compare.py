"""The stored records of sealed numbers against their leaves: the part of a verification that costs.

:func:`compare` looks at consecutive leaves and the records of their numbers, and says what it saw;
nothing is judged here. What it gives can be pickled, so that other processes can do it: see
:class:`Comparer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Protocol, TypeAlias

from affidavit.canonical import EntryError, entry_of
from affidavit.integrity.excuses import Expired
from affidavit.integrity.leaves import LEDGER
from affidavit.integrity.merkle import HASH_SIZE
from affidavit.integrity.places import ENDS_MS, NAMES, Place, Span, entry_or_why, number_of
from affidavit.integrity.reader import Reader

MOST_KEPT: Final = 1000
"""Altered and unsealed records that are kept to be looked at together; more are only counted."""

_END: Final = float("inf")
_Held: TypeAlias = tuple[str, Mapping[str, Any]]


@dataclass(slots=True)
class Compared:
    """What was seen at some leaves."""

    matched: int = 0
    expired: Expired = field(default_factory=Expired)
    """Records that are gone and whose time had come, by the retention that was claimed."""
    oldest_ms: int = ENDS_MS
    """Time of the oldest record that is there and may expire."""
    ledger: list[tuple[Mapping[str, Any], int]] = field(default_factory=list)
    """Ledger records that were found under their leaves, and where in the log these stand."""
    erased: list[tuple[str, list[str], Place]] = field(default_factory=list)
    """Records with marks of an erasure, by their id, and the groups that are gone."""
    gone: list[Place] = field(default_factory=list)
    altered: list[Place] = field(default_factory=list)
    more_altered: int = 0
    """Altered ones that are not in the list."""
    unsealed: list[_Held] = field(default_factory=list)
    """Records beside those that were sealed."""
    more_unsealed: int = 0
    damaged: set[str] = field(default_factory=set)
    """Writers of which a record does not fit its leaf."""


class Comparer(Protocol):
    """Compares, here and now or elsewhere and later."""

    def give(self, spans: Sequence[Span], horizon_ms: int | None) -> Iterable[Compared]:
        """Take leaves; give what is done, of these or earlier ones, in the order they came in."""

    def rest(self) -> Iterable[Compared]:
        """Give what is still to come."""


class Here:
    """Compares at once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def give(self, spans: Sequence[Span], horizon_ms: int | None) -> Iterable[Compared]:
        """Compare these leaves."""
        return (compare(self._reader, spans, horizon_ms),)

    def rest(self) -> Iterable[Compared]:
        """Give nothing: all is done."""
        return ()


def compare(reader: Reader, spans: Sequence[Span], horizon_ms: int | None) -> Compared:
    """Compare the records of these numbers with their leaves.

    Records that are gone and not newer than ``horizon_ms`` count as expired. Raises what the reader
    raises.
    """
    comparison = _Comparison(reader, horizon_ms)
    run: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.writer, each.s0)):
        if run and (span.writer, span.s0) != (run[-1].writer, run[-1].s0 + run[-1].n):
            comparison.run(run)
            run = []
        run.append(span)
    if run:
        comparison.run(run)
    return comparison.seen


class _Comparison:
    """One call of :func:`compare`."""

    def __init__(self, reader: Reader, horizon_ms: int | None) -> None:
        self._reader, self._horizon_ms = reader, horizon_ms
        self.seen = Compared()

    def run(self, run: Sequence[Span]) -> None:
        """Compare consecutive numbers of one writer."""
        first, last = run[0], run[-1]
        found = iter(self._reader.records(first.writer, first.s0, last.s0 + last.n - first.s0))
        held, number = _next(found)
        for span in run:
            for at in range(span.n):
                seq = span.s0 + at
                while number < seq:  # between two whole numbers
                    self._unsealed(*held)
                    held, number = _next(found)
                if number != seq:
                    self._gone(span, at)
                    continue
                one = held
                held, number = _next(found)
                if number != seq:
                    if not self._fits(span, at, *one):
                        self._one(span, at, [one])
                    continue
                several = [one]
                while number == seq:
                    several.append(held)
                    held, number = _next(found)
                self._one(span, at, several)
        while number != _END:
            self._unsealed(*held)
            held, number = _next(found)

    def _fits(self, span: Span, at: int, dest: str, document: Mapping[str, Any]) -> bool:
        """Note the usual case, a record under its leaf with nothing to say of it; else False."""
        try:
            entry = entry_of(document, dest)
        except EntryError:
            return False
        leaf = span.leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE]
        if entry is None or sha256(b"\x00" + entry).digest() != leaf:
            return False
        time_ms, kind = span.times_ms[at], span.classes[at]
        usual = kind != LEDGER and dest == NAMES[kind] and "erased" not in document
        if not usual or not _says_time(entry, time_ms):
            return False
        self.seen.matched += 1
        self.seen.oldest_ms = min(self.seen.oldest_ms, time_ms)
        return True

    def _one(self, span: Span, at: int, held: Sequence[_Held]) -> None:
        """Note any case: what is stored under one number, and which of it was sealed, if any."""
        place = _place(span, at)
        matching: int | None = None
        why = ""
        for which, (dest, document) in enumerate(held):
            entry, why = entry_or_why(document, dest)
            if entry is not None and sha256(b"\x00" + entry).digest() == place.leaf:
                matching = which
                self._matched(place, dest, document, entry)
                break
        if matching is None:
            dest, document = held[0]
            self._altered(place._replace(dest=dest, document=document, why=why))
            self.seen.damaged.add(span.writer)
        for which, (dest, document) in enumerate(held):
            if which != (matching or 0):
                self._unsealed(dest, document)

    def _matched(self, place: Place, dest: str, document: Mapping[str, Any], entry: bytes) -> None:
        seen = self.seen
        seen.matched += 1
        if place.kind == LEDGER:
            seen.ledger.append((document, place.leaf_index))
        else:
            seen.oldest_ms = min(seen.oldest_ms, place.time_ms)
        if not _says_time(entry, place.time_ms) or dest != NAMES[place.kind]:
            why = "its leaf batch gives it another time or another collection"
            self._altered(place._replace(dest=dest, document=document, why=why))
        if "erased" in document:
            shown = {n: document[n] for n in ("_id", "event_type", "call_id") if n in document}
            name, groups = str(document.get("_id")), list(document["erased"])
            seen.erased.append((name, groups, place._replace(dest=dest, document=shown)))

    def _gone(self, span: Span, at: int) -> None:
        time_ms, horizon_ms = span.times_ms[at], self._horizon_ms
        if span.classes[at] != LEDGER and horizon_ms is not None and time_ms <= horizon_ms:
            self.seen.expired.add(time_ms)
        else:
            self.seen.gone.append(_place(span, at))

    def _altered(self, place: Place) -> None:
        if len(self.seen.altered) < MOST_KEPT:
            self.seen.altered.append(place)
        else:
            self.seen.more_altered += 1

    def _unsealed(self, dest: str, document: Mapping[str, Any]) -> None:
        if len(self.seen.unsealed) < MOST_KEPT:
            self.seen.unsealed.append((dest, document))
        else:
            self.seen.more_unsealed += 1


_NOBODY: Final[_Held] = ("", {})


def _next(found: Iterator[_Held]) -> tuple[_Held, float]:
    """Give the next record and its number; an endless number after the last."""
    pair = next(found, None)
    if pair is None:
        return _NOBODY, _END
    seq = pair[1].get("seq")
    return pair, seq if type(seq) is int else number_of(seq)


def _place(span: Span, at: int) -> Place:
    leaf = span.leaves[at * HASH_SIZE : (at + 1) * HASH_SIZE]
    time_ms, kind = span.times_ms[at], span.classes[at]
    return Place(span.writer, span.s0 + at, leaf, time_ms, kind, span.leaf_index + at)


def _says_time(entry: bytes, time_ms: int) -> bool:
    """Whether an entry has this time, without making its time again.

    Its keys are sorted, and neither the first nor the last is ``t``; a quotation mark inside a
    text is written with a backslash.
    """
    return b',"t":%d,' % time_ms in entry
