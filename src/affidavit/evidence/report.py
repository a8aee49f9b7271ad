"""A report that leaves the house: its files, a manifest, and the log's signature on that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from affidavit.analytics.month import Integrity
from affidavit.errors import ConfigError
from affidavit.evidence.out import new_file, new_folder
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.note import Note, Signs, VerifierKey, check_note, sign_note
from affidavit.sealer.health import look
from affidavit.sealer.keys import current_vkey
from affidavit.sealer.replay import sound
from affidavit.store.sealing import SealStore

FORMAT: Final = "affidavit report v1"
_MANIFEST: Final = "manifest.json"
_NOTE: Final = "manifest.note"
_MOST_BYTES: Final = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of checking a report's files."""

    month: str
    origin: str | None
    problems: tuple[str, ...]
    signed: bool
    """Whether the manifest is signed by the key that was given, or else by that in the folder."""
    pinned: bool
    """Whether the key was known beforehand."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A report's files by name, as they are handed over, and what the manifest says of them."""

    files: Mapping[str, bytes]
    manifest: Mapping[str, Any]
    signed: bool


def integrity_of(
    store: SealStore, now: datetime, anchors: tuple[str, ...], vkey: str | None = None
) -> Integrity:
    """Tell what the log's own collections say of its proofs. Raises StoreError.

    ``vkey`` is the key of the settings.
    """
    identity, last, health = store.identity(), store.last_seal(), look(store, now, vkey)
    at = last.get("at") if last is not None else None
    return Integrity(
        origin=health.origin,
        vkey=None if identity is None else current_vkey(store, identity),
        size=health.size,
        sealed_at=at if isinstance(at, datetime) else None,
        level=health.level,
        waiting=health.waiting,
        lag_s=health.lag_s,
        anchors=anchors,
        watched_age_s=health.verified_age_s,
        damage=health.damage,
        excuses=health.excuses,
    )


def packed(
    report: Mapping[str, str],
    about: Mapping[str, Any],
    store: SealStore,
    signer: Signs | None = None,
) -> Packed:
    """Put a report's files together, with key, checkpoint and manifest.

    ``report`` has texts by file name, ``about`` what the manifest says of them: ``month``,
    ``timezone``, ``made``. With ``signer``, the log's key, the manifest is signed. Raises
    StoreError.
    """
    identity, last = store.identity(), store.last_seal()
    texts = dict(report)
    if identity is not None:
        texts["log.vkey"] = f"{current_vkey(store, identity)}\n"
    if last is not None:
        texts["checkpoint"] = str(last["cp"])
    origin = None if identity is None else str(identity["origin"])
    size = 0 if last is None else int(sound(last)["size"])
    readme = (files("affidavit.evidence") / "files" / "README-report.txt").read_text("utf-8")
    texts["README.txt"] = readme.format(
        month=about["month"],
        origin=origin or "not sealed by anybody",
        made=about["made"],
        report=" and ".join(name for name in report if name != "report.json"),
    )
    found = {name: text.encode() for name, text in texts.items()}
    told = {
        name: {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in found.items()
    }
    manifest = {"format": FORMAT, **about, "origin": origin, "size": size, "files": told}
    whole = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    found[_MANIFEST] = whole
    if signer is not None:
        note = sign_note(f"{FORMAT}\n{sha256(whole).hexdigest()}\n", signer)
        found[_NOTE] = str(note).encode()
    return Packed(found, manifest, signer is not None)


def write_report(out: Path, report: Packed) -> None:
    """Write a report's files into a new folder. Raises ConfigError for one that is there."""
    new_folder(out)
    for name, data in report.files.items():
        new_file(out / name).write_bytes(data)


def check_report(path: Path, vkey: str | None = None) -> Checked:
    """Compare a report's files with its manifest, and the manifest with its signature.

    ``vkey`` is the log's key as it is known beforehand; without it the one in the folder counts.
    Raises ConfigError for a folder that is no report, or a key that is none.
    """
    try:
        whole = _read(path / _MANIFEST)
        manifest = json.loads(whole)
        told, month, origin = manifest["files"], str(manifest["month"]), manifest["origin"]
        if manifest["format"] != FORMAT or not isinstance(told, dict):
            raise KeyError("format")  # noqa: TRY301 - the same message
        hashes = {str(name): str(row["sha256"]) for name, row in told.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} is no report of this program ({type(error).__name__} in {_MANIFEST})."
        raise ConfigError(msg) from error
    problems = [
        f"{name} is not the file that was written."
        for name, digest in hashes.items()
        if _digest(path, name) != digest
    ]
    named = {*hashes, _MANIFEST, _NOTE}
    problems += [
        f"{found.name} is not named in the manifest."
        for found in sorted(path.iterdir())
        if found.name not in named
    ]
    key = _key(path, vkey)
    signed = False
    if (path / _NOTE).exists():
        wrong = _wrong_signature(path, whole, key)
        signed = wrong is None
        problems += [] if wrong is None else [wrong]
    elif vkey is not None:
        problems.append("The manifest is not signed, so the key cannot show who made it.")
    return Checked(month, origin, tuple(problems), signed, vkey is not None)


def _wrong_signature(path: Path, whole: bytes, key: VerifierKey | None) -> str | None:
    if key is None:
        return "The manifest is signed, and there is no key to check it with: give --vkey."
    try:
        note = Note.parse(_read(path / _NOTE).decode())
        if note.text != f"{FORMAT}\n{sha256(whole).hexdigest()}\n":
            return "The manifest is not the one that was signed."
        if not check_note(note, [key]):
            return "The manifest is not signed by the log's key."
    except (OSError, ValueError, IntegrityError) as error:
        return f"The manifest's signature does not hold ({type(error).__name__})."
    return None


def _key(path: Path, vkey: str | None) -> VerifierKey | None:
    try:
        if vkey is not None:
            return VerifierKey.parse(vkey)
        return VerifierKey.parse(_read(path / "log.vkey").decode().strip())
    except OSError:
        return None
    except (ValueError, IntegrityError) as error:
        if vkey is None:
            return None
        msg = f"--vkey is no key of a log. {error}"
        raise ConfigError(msg) from error


def _digest(path: Path, name: str) -> str:
    if "/" in name or name.startswith("."):
        return ""
    try:
        return sha256(_read(path / name)).hexdigest()
    except OSError:
        return ""


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)
