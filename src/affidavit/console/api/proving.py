"""The proof of a call as one document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affidavit.canonical import EntryError, entry_of, leaf_hash
from affidavit.console.seeing import records_of
from affidavit.evidence.place import Prover, index_of, numbered

if TYPE_CHECKING:
    from affidavit.console.visitor import Scope
    from affidavit.store.sealing import SealStore


def prove(seals: SealStore, call_id: str, scope: Scope) -> dict[str, Any]:
    """Prove each stored record of a call that a scope shows, or say of it why that cannot be done.

    Raises SealError where nothing is sealed, or the log does not hold together; StoreError.
    """
    prover = Prover(seals)
    proved: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for dest, document in records_of(seals, call_id, scope):
        row = {
            "id": str(document.get("_id")),
            "event_type": str(document.get("event_type")),
            "collection": dest,
        }
        place = numbered(document)
        if place is None:
            left_out.append({**row, "why": "it was written by another logger, and has no number"})
            continue
        try:
            entry = entry_of(document, dest)
        except EntryError:
            left_out.append({**row, "why": "it was altered"})
            continue
        if entry is None:
            left_out.append({**row, "why": "it has no salt: it was altered, or is very old"})
            continue
        index = index_of(seals, *place)
        if index is None:
            left_out.append({**row, "why": "it is not sealed yet"})
            continue
        leaf = leaf_hash(entry)
        made = prover.prove(index, leaf)
        proved.append({**row, "index": index, "entry": entry, "leaf": leaf, "proof": made.text()})
    return {
        "call_id": call_id,
        "origin": prover.key.name,
        "vkey": str(prover.key),
        "size": prover.size,
        "checkpoint": prover.checkpoint,
        "sealed_by": prover.sealed_by,
        "records": proved,
        "left_out": left_out,
    }
