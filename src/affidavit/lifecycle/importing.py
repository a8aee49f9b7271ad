"""Putting an export back, into an empty place: the same documents, leaves and checkpoints.

Nothing is hashed again or made anew: ids, numbers, salts, signatures and times are those of the
export. The newest seal goes first, so that a sealer which is started too early goes on from it and
never begins a second history. Whatever interrupts, doing it again goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from affidavit.errors import ConfigError
from affidavit.event import Document, LedgerEvent
from affidavit.evidence.folder import ExportFolder
from affidavit.integrity.tiles import WIDTH, tiles_of
from affidavit.store.erasing import LedgerStore
from affidavit.store.restoring import Part, RestorableStore

AT_ONCE: Final = 500
"""Documents that are inserted together."""

Progress = Callable[[str, int], None]


@dataclass(slots=True)
class Imported:
    """What an import has done."""

    origin: str
    size: int
    read: Counter[str] = field(default_factory=Counter)
    """Documents of each part in the export."""
    new: Counter[str] = field(default_factory=Counter)
    """Of these, those that were not there yet."""


def bring_in(
    folder: ExportFolder,
    store: RestorableStore,
    ledger: LedgerStore,
    progress: Progress | None = None,
) -> Imported:
    """Put an export that was verified into a place that is set up; note it in the ledger.

    Raises SetupClash where another log, or another document, is in the place, ConfigError for an
    export without seals.
    """
    identity = folder.identity() or {}
    last = folder.last_seal()
    if last is None:
        msg = f"{folder.path} has no seals, so there is no log in it."
        raise ConfigError(msg)
    store.check_free(identity)
    done = Imported(str(identity.get("origin")), int(last["size"]))
    parts: list[tuple[Part, Iterable[Document]]] = [
        ("seals", (identity, last)),
        ("seals", folder.seals()),
        ("leaf_batches", folder.documents("leaf_batches")),
        ("tiles", _tiles(folder, done.size)),
        ("records", folder.documents("records")),
        ("ledger", folder.documents("ledger")),
    ]
    for part, documents in parts:
        _bring(store, part, documents, done, progress)
    done.read["seals"] -= 1  # the newest one was read twice
    told = {"origin": done.origin, "size": done.size, "checkpoint": folder.checkpoint}
    if done.new.total() or not _is_noted(ledger, told):
        counts = {name: done.new[name] for name in sorted(done.read)}
        ledger.note(LedgerEvent.LOG_IMPORTED, {**told, "counts": counts})
    return done


def _is_noted(ledger: LedgerStore, told: Mapping[str, Any]) -> bool:
    noted = (document["details"] for document in ledger.ledger(LedgerEvent.LOG_IMPORTED))
    return any(told.items() <= details.items() for details in noted)


def _bring(
    store: RestorableStore,
    part: Part,
    documents: Iterable[Document],
    done: Imported,
    progress: Progress | None,
) -> None:
    left = iter(documents)
    while group := list(islice(left, AT_ONCE)):
        done.new[part] += store.insert(part, group)
        done.read[part] += len(group)
        if progress is not None:
            progress(part, done.read[part])


def _tiles(folder: ExportFolder, size: int) -> Iterator[dict[str, Any]]:
    """Give the whole tiles; what is in the others is in the batches."""
    for tile in tiles_of(size):
        data = folder.tile(tile.level, tile.number) if tile.width == WIDTH else None
        if data is not None:
            yield {"_id": f"{tile.level}/{tile.number}", "h": data}
