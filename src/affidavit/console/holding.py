"""Verifying one call where it is shown: each of its records against the log's newest checkpoint.

It computes what a sceptic would: the entry of the stored record, its leaf, the way from the leaf to
the root, and the signature over that root. What it cannot know is whether the key is the right one:
that stands outside the database, and the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from affidavit.canonical import EntryError, entry_of, leaf_hash
from affidavit.console.seeing import records_of
from affidavit.errors import SealError
from affidavit.evidence.place import Prover, index_of, numbered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from affidavit.console.visitor import Scope
    from affidavit.store.sealing import SealStore

Verdict = Literal["holds", "waits", "altered", "foreign", "unsealed"]
"""``holds``: proved. ``waits``: not sealed yet. ``altered``: it does not fit its leaf, or the log.
``foreign``: by another logger, without a number. ``unsealed``: nothing of the log is sealed."""

MOST_RECORDS: Final = 200


@dataclass(frozen=True, slots=True)
class Held:
    """One record of a call."""

    id: str
    event_type: str
    verdict: Verdict
    why: str = ""
    """What is wrong, in words of the log; empty where nothing is."""
    index: int | None = None
    leaf: str = ""
    """The leaf's hash in hexadecimal digits."""
    hashes: tuple[str, ...] = ()
    """The way from the leaf to the root."""
    text: str = ""
    """The proof as a file that other tools read (c2sp.org/tlog-proof)."""


@dataclass(frozen=True, slots=True)
class CallProof:
    """What came of verifying a call."""

    records: tuple[Held, ...]
    origin: str = ""
    size: int = 0
    checkpoint: str = ""
    vkey: str = ""
    sealed_by: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worst of its records; ``unsealed`` where there are none."""
        order: tuple[Verdict, ...] = ("altered", "unsealed", "foreign", "waits", "holds")
        found = {record.verdict for record in self.records}
        return next((verdict for verdict in order if verdict in found), "unsealed")


def hold(store: SealStore, call_id: str, scope: Scope) -> CallProof | None:
    """Verify the stored records of a call that a scope shows; None where there are none.

    Raises StoreError.
    """
    records = records_of(store, call_id, scope)[:MOST_RECORDS]
    if not records:
        return None
    try:
        prover = Prover(store)
    except SealError as error:
        return CallProof(tuple(_told(document, "unsealed", str(error)) for _, document in records))
    return CallProof(
        tuple(_held(store, prover, dest, document) for dest, document in records),
        prover.key.name,
        prover.size,
        prover.checkpoint,
        str(prover.key),
        prover.sealed_by,
    )


def _held(store: SealStore, prover: Prover, dest: str, document: Mapping[str, Any]) -> Held:
    place = numbered(document)
    if place is None:
        return _told(document, "foreign")
    try:
        entry = entry_of(document, dest)
    except EntryError as error:
        return _told(document, "altered", str(error))
    if entry is None:
        return _told(document, "altered", "It has no salt: something took it away.")
    index = index_of(store, *place)
    if index is None or index >= prover.size:
        return _told(document, "waits")
    leaf = leaf_hash(entry)
    try:
        proof = prover.prove(index, leaf)
    except SealError as error:
        return _told(document, "altered", str(error))
    return Held(
        id=str(document.get("_id")),
        event_type=str(document.get("event_type")),
        verdict="holds",
        index=index,
        leaf=leaf.hex(),
        hashes=tuple(each.hex() for each in proof.hashes),
        text=proof.text(),
    )


def _told(document: Mapping[str, Any], verdict: Verdict, why: str = "") -> Held:
    return Held(str(document.get("_id")), str(document.get("event_type")), verdict, why)
