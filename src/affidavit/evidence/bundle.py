"""The bundle of one call: what was said, and the proof of it, for who has nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from affidavit.canonical import EntryError, entry_of, leaf_hash, openings, to_json
from affidavit.errors import SealError
from affidavit.evidence.out import new_file, new_folder
from affidavit.evidence.place import Prover, index_of, numbered
from affidavit.store.sealing import SealStore

VERSION: Final = 1


def write_bundle(
    store: SealStore, call_id: str, records: Iterable[tuple[str, Mapping[str, Any]]], out: Path
) -> dict[str, Any]:
    """Write the bundle of a call's stored records into a new folder; return what stands in it.

    Files are readable by their owner only: they hold content. Raises ConfigError for a folder that
    is there already, SealError where none of the records is sealed, or the log does not hold.
    """
    prover = Prover(store)
    made = new_folder(out)
    told: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for number, (dest, document) in enumerate(records, 1):
        kind = str(document.get("event_type"))
        here = f"records/{number}-{''.join(c for c in kind if c.isalnum() or c == '_')[:40]}"
        why = _write_record(store, prover, dest, document, made / here)
        row = {"id": str(document.get("_id")), "event_type": kind, "collection": dest}
        if why:
            left_out.append({**row, "why": why})
        else:
            told.append({**row, "folder": here})
    if not told:
        why = left_out[0]["why"] if left_out else "there are none"
        msg = f"None of the records of {call_id} can be proved: {why}."
        raise SealError(msg)
    origin, now = prover.key.name, _now()
    about = {"v": VERSION, "call_id": call_id, "origin": origin, "made": now}
    about |= {"sealed_by": prover.sealed_by, "records": told, "left_out": left_out}
    _write(made / "log.vkey", f"{prover.key}\n".encode())
    _write(made / "checkpoint", prover.checkpoint.encode())
    _write(made / "call.json", (json.dumps(about, indent=2) + "\n").encode())
    text = _text("README-bundle.txt").format(
        call_id=call_id, origin=origin, made=now, count=len(told)
    )
    _write(made / "README.txt", text.encode())
    _write(made / "check.sh", _text("check.sh").encode())
    return about


def _write_record(
    store: SealStore, prover: Prover, dest: str, document: Mapping[str, Any], folder: Path
) -> str:
    """Write one record's folder; else say why it cannot be proved."""
    place = numbered(document)
    if place is None:
        return "it was written by another logger, and has no number"
    try:
        entry = entry_of(document, dest)
    except EntryError as error:
        return f"it was altered: {error}"
    if entry is None:
        return "it has no salt: it was written by an older version, or altered"
    index = index_of(store, *place)
    if index is None:
        return "it is not sealed yet"
    proof = prover.prove(index, leaf_hash(entry))
    _write(folder / "record.json", to_json(document))
    _write(folder / "entry.json", entry)
    _write(folder / "proof.tlog-proof", proof.text().encode())
    for name, (salt, opened) in openings(document, dest).items():
        _write(folder / "groups" / f"{name}.json", opened)
        _write(folder / "groups" / f"{name}.salt", salt)
    return ""


def _write(path: Path, data: bytes) -> None:
    new_file(path).write_bytes(data)


def _text(name: str) -> str:
    return (files("affidavit.evidence") / "files" / name).read_text(encoding="utf-8")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
