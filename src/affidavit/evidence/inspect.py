"""Verifying a bundle: each record against its entry, its place in the log, and the log's key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affidavit.canonical import EntryError, entry_of, from_json, leaf_hash, openings
from affidavit.errors import ConfigError
from affidavit.integrity.checkpoint import Checkpoint, open_checkpoint
from affidavit.integrity.errors import FormatError, ProofError, SignatureError
from affidavit.integrity.findings import Kind, Report, level_of, lies_beside
from affidavit.integrity.note import Note, VerifierKey
from affidavit.integrity.proof import Proof, check_proof
from affidavit.integrity.trust import BadCheckpointError


def is_bundle(path: Path) -> bool:
    """Whether a folder is the bundle of a call."""
    return (path / "call.json").is_file()


def verify_bundle(
    path: Path, vkey: str | None = None, pinned_by: str = "vkey", saved: str | None = None
) -> Report:
    """Verify a bundle and report.

    A saved checkpoint can show that the key is the one that signed it, and, at the same size, that
    the log is the same. Raises ConfigError for a folder that is no bundle, BadCheckpointError for a
    checkpoint of another key.
    """
    report = Report(subject="bundle")
    try:
        about = json.loads((path / "call.json").read_text(encoding="utf-8"))
        rows: list[Mapping[str, Any]] = list(about["records"])
        left_out: list[Mapping[str, Any]] = [dict(row) for row in about.get("left_out", ())]
        own = VerifierKey.parse((path / "log.vkey").read_text(encoding="utf-8").strip())
        named = [str(row["folder"]) for row in rows]
        there = {f"records/{each.name}" for each in path.glob("records/[!.]*")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path} is no bundle that can be read ({type(error).__name__})."
        raise ConfigError(msg) from error
    if not all(re.fullmatch(r"records/[^./][^/]*", name) for name in named):
        msg = f"{path} names folders that are not in its folder records."
        raise ConfigError(msg)
    if not rows and not there:
        msg = f"{path} is a bundle without records."
        raise ConfigError(msg)
    key = own if vkey is None else VerifierKey.parse(vkey)
    if key != own:
        text = "The bundle's log.vkey is not the key of the log that was asked for."
        report.add(Kind.FOREIGN_KEY, text, file="log.vkey")
    report.origin, report.vkey = key.name, str(key)
    report.pinned_by = "nothing" if vkey is None else pinned_by
    older = None if saved is None else _saved(saved, key, report)
    for name in sorted(there.difference(named)):
        text = f"{name} is not among the records of call.json: nothing vouches for it."
        report.add(Kind.INSERTED, text, folder=name)
    for row, name in zip(rows, named, strict=True):
        _check(path / name, row, key, older, report)
    for row in left_out:
        report.limits.append(f"{row.get('event_type')} {row.get('id')}: {row.get('why')}")
    report.limits.append("whether the log is whole: a bundle is one call")
    if report.clean and report.counts["matched"]:
        beside = lies_beside({"where": about.get("sealed_by")}, ())
        report.level = level_of(pinned=report.pinned_by != "nothing", beside=beside)
    report.finish()
    return report


def _saved(saved: str, key: VerifierKey, report: Report) -> Checkpoint:
    try:
        note = Note.parse(saved)
        found = Checkpoint.parse(note.text)
        if not any(line.key_id == key.id for line in note.signatures):
            msg = "The saved checkpoint is not signed by the key of this bundle's log."
            raise BadCheckpointError(msg)
    except FormatError as error:
        msg = f"The saved checkpoint cannot be read. {error}"
        raise BadCheckpointError(msg) from error
    try:
        open_checkpoint(saved, key)
    except SignatureError as error:
        msg = f"The saved checkpoint was changed. {error}"
        raise BadCheckpointError(msg) from error
    if report.pinned_by == "nothing":
        report.pinned_by = "checkpoint"
    report.saved_size = found.size
    return found


def _check(
    folder: Path,
    row: Mapping[str, Any],
    key: VerifierKey,
    older: Checkpoint | None,
    report: Report,
) -> None:
    where = {"folder": folder.name, "id": row.get("id"), "collection": row.get("collection")}
    try:
        document = from_json((folder / "record.json").read_bytes())
        entry = (folder / "entry.json").read_bytes()
        proof = Proof.parse((folder / "proof.tlog-proof").read_bytes())
        dest = str(row.get("collection"))
        if entry_of(document, dest) != entry:
            text = f"{folder.name}/record.json is not the record that entry.json is of."
            report.add(Kind.ALTERED, text, **where)
        opened_by = openings(document, dest)
        known = {name + end for name in opened_by for end in (".json", ".salt")}
        shown = {each.name for each in folder.glob("groups/[!.]*")}
        for name in sorted(shown - known):
            text = f"{folder.name}/groups/{name} is no part of the record: nothing vouches for it."
            report.add(Kind.INSERTED, text, **where)
        for name, (salt, opened) in opened_by.items():
            group = folder / "groups" / name
            same = group.with_suffix(".json").read_bytes() == opened
            if not same or group.with_suffix(".salt").read_bytes() != salt:
                text = f"{folder.name}/groups/{name} is not what the record commits to."
                report.add(Kind.ALTERED, text, **where)
        opened_note = check_proof(proof, leaf_hash(entry), key)
    except SignatureError as error:
        text = f"The checkpoint of {folder.name} is not signed by the log's key. {error}"
        report.add(Kind.FORGED_CHECKPOINT, text, **where)
    except (ProofError, FormatError) as error:
        text = f"{folder.name} is not in the log. {error}"
        report.add(Kind.ALTERED, text, **where)
    except (OSError, EntryError, ValueError) as error:
        text = f"{folder.name} cannot be read ({type(error).__name__})."
        report.add(Kind.ALTERED, text, **where)
    else:
        at = opened_note.checkpoint
        report.counts["matched"] += 1
        report.size, report.checkpoint = at.size, proof.checkpoint
        if older is not None and older.size == at.size and older.root != at.root:
            text = "The log was rewritten since the checkpoint was saved."
            report.add(Kind.ROLLED_BACK, text, **where)
