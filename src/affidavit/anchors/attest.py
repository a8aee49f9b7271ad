"""Holding a verified log against what its anchors show.

A receipt in the store cannot be forged, only removed: a witness's signature and an authority's
timestamp are checked by keys from the settings, and a folder is read itself. So one that holds
raises the level of a verification, and one that the log did not grow from is a finding.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from affidavit.anchors.authority import Authority
from affidavit.anchors.base import Anchor, AnchorFailed
from affidavit.anchors.configured import anchors_of
from affidavit.anchors.directory import Directory
from affidavit.anchors.run import newest_checkpoint, newest_of
from affidavit.anchors.witness import Witness
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError, SealError
from affidavit.event import Document
from affidavit.integrity.checkpoint import Checkpoint
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.findings import Kind, Level, Report
from affidavit.integrity.note import Note, check_note
from affidavit.integrity.timestamps import check_answer
from affidavit.integrity.trust import NOTHING
from affidavit.store.sealing import SealStore

_RISE: Final = (Level.SELF_ATTESTED, Level.SEPARATED, Level.ANCHORED, Level.WITNESSED)


class _Shown(NamedTuple):
    """What an anchor shows, checked."""

    checkpoint: Checkpoint
    when: str


def hold_against_anchors(store: SealStore, config: AuditConfig, report: Report) -> None:
    """Add to a report on a live log what the configured anchors show.

    Only where the report is clean so far. A log whose key nobody pinned stays self-attested.
    Raises StoreError.
    """
    if not report.clean or not report.size:
        return
    try:
        anchors = anchors_of(config)
        newest = newest_checkpoint(store) if anchors else None
    except (ConfigError, SealError, IntegrityError) as error:
        report.limits.append(f"what anchors show. {error}")
        return
    if newest is None:
        return
    for anchor in anchors:
        try:
            shown = _shown(store, anchor)
        except (AnchorFailed, IntegrityError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            report.limits.append(f"what the {anchor.name} shows. {why}")
            continue
        if shown is None:
            continue
        known = shown.checkpoint
        try:
            newest.check_grown_from(known, f"the {anchor.name}")
        except AnchorFailed as error:
            behind = known.size > newest.checkpoint.size
            report.add(Kind.ROLLED_BACK if behind else Kind.ALTERED, str(error))
            continue
        report.anchored.append(
            f"{anchor.name}: {known.size} of {newest.checkpoint.size} leaves{shown.when}"
        )
        reached = Level.WITNESSED if anchor.kind == "witness" else Level.ANCHORED
        if report.pinned_by != NOTHING and _RISE.index(report.level) < _RISE.index(reached):
            report.level = reached
    if report.kinds:
        report.level = Level.NONE
        report.finish()


def hold_export_against_folder(
    seals: Iterable[Document], config: AuditConfig, report: Report
) -> None:
    """Add to a report on an export what the configured folder of anchors shows of that log.

    Only where the report is clean so far. The newest checkpoint counts that is not larger than the
    export, which may be older; receipts of other anchors are in the store, not in an export.
    """
    if not report.clean or not report.size or config.anchor_directory is None:
        return
    folder = Directory(Path(config.anchor_directory).expanduser())
    try:
        known = folder.newest(at_most=report.size)
    except (AnchorFailed, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        report.limits.append(f"what the {folder.name} shows. {why}")
        return
    if known is None or known.origin != report.origin:
        report.limits.append(f"what the {folder.name} shows: nothing of this log that is so old")
        return
    # Each seal's root was replayed, and every checkpoint is a seal's.
    if not any((seal["size"], bytes(seal["root"])) == (known.size, known.root) for seal in seals):
        text = f"The export did not grow from the {known.size} leaves that the {folder.name} shows."
        report.add(Kind.ROLLED_BACK, text, index=known.size)
        report.level = Level.NONE
        report.finish()
        return
    report.anchored.append(f"{folder.name}: {known.size} of {report.size} leaves")
    if report.pinned_by != NOTHING and _RISE.index(report.level) < _RISE.index(Level.ANCHORED):
        report.level = Level.ANCHORED


def _shown(store: SealStore, anchor: Anchor) -> _Shown | None:
    """Read what an anchor shows; None without any. Raises where it does not hold."""
    if isinstance(anchor, Directory):
        found = anchor.newest()
        return None if found is None else _Shown(found, "")
    receipt = newest_of(store, anchor)
    if receipt is None:
        return None
    note = Note.parse(str(receipt.get("cp")))
    return _Shown(Checkpoint.parse(note.text), _checked(anchor, receipt, note))


def _checked(anchor: Anchor, receipt: Document, note: Note) -> str:
    """Check a receipt by its anchor's key; say when it was made."""
    if isinstance(anchor, Witness):
        signed = check_note(note, [anchor.key])
        if signed and signed[0].time_s is not None:
            return ", cosigned"
    if isinstance(anchor, Authority):
        token = receipt.get("token")
        if isinstance(token, bytes):
            digest = sha256(str(receipt.get("cp")).encode()).digest()
            at = check_answer(token, digest, None, anchor.roots).time
            return f", at {at:%Y-%m-%d %H:%M:%S} UTC"
    msg = "Its receipt in the store holds no proof: it was altered."
    raise AnchorFailed(msg)
