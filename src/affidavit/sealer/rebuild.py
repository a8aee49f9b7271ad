"""Leaf batches that died with their writer, built again from its stored records.

They are signed by the log's key and say so (``made: log``): what they prove begins when they are
sealed. A batch that the writer brings after all must agree with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from affidavit import canonical
from affidavit.event import Dest, Document
from affidavit.integrity.leaves import FIRST, LEDGER, REBUILT, RECORDS, LeafBatch, build
from affidavit.integrity.note import Signs
from affidavit.sealer.cover import Span
from affidavit.sealer.gaps import split_runs
from affidavit.store.sealing import SealStore

MOST_AT_ONCE: Final = 20_000
"""Records that are read at a time."""

MOST_LEAVES: Final = 1000
_CLASSES: Final = {Dest.RECORDS.value: RECORDS, Dest.LEDGER.value: LEDGER}


@dataclass(slots=True)
class Found:
    """What the store has for numbers that no batch brought."""

    batches: list[LeafBatch] = field(default_factory=list)
    absent: list[Span] = field(default_factory=list)
    """Numbers without a record: they become gaps."""
    unproved: list[Span] = field(default_factory=list)
    """Numbers whose record has no entry, because an older version wrote it."""
    end: int = 0
    """How far was looked."""


def rebuild(store: SealStore, signer: Signs, writer: str, start: int, end: int) -> Found:
    """Build the batches of one writer's stored records from ``start`` up to ``end``."""
    made: dict[int, tuple[bytes, int, int]] = {}
    unproved: list[int] = []
    read = 0
    last = start - 1
    for dest, document in islice(store.records(writer, start, end - start), MOST_AT_ONCE):
        read += 1
        last = document["seq"]
        try:
            entry = canonical.entry_of(document, dest)
            time_ms = canonical.epoch_ms(document["timestamp"])
        except (ValueError, TypeError, AttributeError, KeyError):
            continue  # nothing that this program wrote: a gap, and verification will ask about it
        if entry is None:
            unproved.append(last)
        else:
            made[last] = (canonical.leaf_hash(entry), time_ms, _CLASSES[dest])
    found = Found(end=end if read < MOST_AT_ONCE else last + 1)
    known = sorted({*made, *unproved})
    _, found.absent = split_runs(known, start, found.end)
    found.unproved, _ = split_runs(unproved, start, found.end)
    runs, _ = split_runs(sorted(made), start, found.end)
    for low, high in runs:
        for first in range(low, high, MOST_LEAVES):
            part = [made[seq] for seq in range(first, min(high, first + MOST_LEAVES))]
            leaves, times_ms, classes = zip(*part, strict=True)
            batch = build(
                writer, first, leaves, times_ms, bytes(classes), FIRST, signer, made=REBUILT
            )
            found.batches.append(batch)
    return found


def part_of(batch: LeafBatch, start: int, end: int, signer: Signs) -> LeafBatch:
    """Build a batch of some consecutive numbers of another one."""
    part = slice(start - batch.s0, end - batch.s0)
    leaves, times_ms, classes = batch.leaves[part], batch.times_ms[part], batch.k[part]
    return build(batch.w, start, leaves, times_ms, classes, FIRST, signer, made=REBUILT)


def has_leaves(document: Document) -> bool:
    """Whether a record is of the kind that leaves are made of."""
    return "salt" in document or "salts" in document
