"""A whole log as files: JSON Lines, tiles, and a manifest of counts and hashes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, Final

from affidavit.canonical import to_json
from affidavit.evidence.out import new_file, new_folder
from affidavit.evidence.place import Prover
from affidavit.integrity.note import Signs, sign_note
from affidavit.integrity.tiles import tiles_of
from affidavit.sealer.replay import sound
from affidavit.store.sealing import SealStore

MANIFEST_FORMAT: Final = "affidavit export v1"
_GROUP: Final = 500


def write_export(
    store: SealStore,
    out: Path,
    *,
    signer: Signs | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> dict[str, Any]:
    """Write the log into a new folder, up to the newest checkpoint; return the manifest.

    Records that are not sealed yet are written too, and cannot be proved. With ``signer``, the
    log's key, the manifest is signed. Raises ConfigError for a folder that is there already,
    SealError where nothing is sealed.
    """
    prover = Prover(store)
    new_folder(out)
    manifest: dict[str, Any] = {
        "format": MANIFEST_FORMAT,
        "origin": prover.key.name,
        "size": prover.size,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "files": {},
    }
    told: dict[str, Any] = manifest["files"]
    sealed: list[str] = []

    def lines(name: str, documents: Iterable[Mapping[str, Any]]) -> None:
        count, digest = 0, sha256()
        with new_file(out / name).open("wb") as file:
            for document in documents:
                line = to_json(document) + b"\n"
                file.write(line)
                digest.update(line)
                count += 1
                if progress is not None and count % _GROUP == 0:
                    progress(name, count)
        told[name] = {"count": count, "sha256": digest.hexdigest()}

    lines("seals.jsonl", _seals(store, prover.size, sealed))
    lines("leaf_batches.jsonl", _batches(store, sealed))
    for dest in ("records", "ledger"):
        lines(f"{dest}.jsonl", _records(store, dest))
    single = {
        "identity.json": to_json(store.identity() or {}) + b"\n",
        "log.vkey": f"{prover.key}\n".encode(),
        "checkpoint": prover.checkpoint.encode(),
    }
    for tile in tiles_of(prover.size):
        single[tile.path] = prover.tile(tile.level, tile.number)
    for name, data in single.items():
        new_file(out / name).write_bytes(data)
        told[name] = {"sha256": sha256(data).hexdigest()}
    whole = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    new_file(out / "manifest.json").write_bytes(whole)
    if signer is not None:
        note = sign_note(f"{MANIFEST_FORMAT}\n{sha256(whole).hexdigest()}\n", signer)
        new_file(out / "manifest.note").write_text(str(note), encoding="utf-8")
    text = (files("affidavit.evidence") / "files" / "README-export.txt").read_text("utf-8")
    new_file(out / "README.txt").write_text(
        text.format(origin=prover.key.name, made=manifest["made"], size=prover.size), "utf-8"
    )
    return manifest


def _seals(store: SealStore, size: int, sealed: list[str]) -> Iterator[dict[str, Any]]:
    for seal in map(sound, store.seals()):
        if seal["size"] > size:
            return
        sealed += (item["b"] for item in seal["items"] if "b" in item)
        yield seal


def _batches(store: SealStore, sealed: list[str]) -> Iterator[dict[str, Any]]:
    """Give the batches that are sealed, each once, in the order of the log."""
    names = iter(dict.fromkeys(sealed))
    while group := list(islice(names, _GROUP)):
        held = {batch["_id"]: batch for batch in store.batches(group)}
        yield from (held[name] for name in group if name in held)


def _records(store: SealStore, dest: str) -> Iterator[dict[str, Any]]:
    """Give the records by writer and number, and then those that have none."""
    yield from store.all_records(dest)
    for where, document in store.unnumbered():
        if where == dest:
            yield document
