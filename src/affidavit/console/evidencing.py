"""What the auditor's room does in the background: verify the log, and pack evidence of it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from affidavit.anchors.attest import hold_against_anchors
from affidavit.errors import SealError
from affidavit.evidence.apart import LEAST_LEAVES, Apart, processors
from affidavit.evidence.bundle import write_bundle
from affidavit.evidence.export import write_export
from affidavit.integrity import words
from affidavit.integrity.reader import size_of
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import Scope as Part
from affidavit.integrity.verify import verify
from affidavit.sealer.keys import open_key

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.console.jobs import Tell, Work
    from affidavit.console.visitor import Visitor
    from affidavit.integrity.compare import Comparer
    from affidavit.integrity.findings import Report
    from affidavit.store.sealing import SealStore

VERIFICATION: Final = "verification"
PACKAGE: Final = "package"
LARGEST_CHECKPOINT: Final = 64 * 1024
"""Bytes; a checkpoint has some hundred, and one line for each witness."""

PACKAGES_KEPT_S: Final = 24 * 3600.0


def trust_of(backend: Backend, saved: str | None, vkey: str | None) -> Trust:
    """Read what is known from outside. Raises IntegrityError for what is no key or checkpoint."""
    known = vkey or backend.config.seal_vkey
    return Trust(known, "vkey" if vkey else "configuration", saved or None)


def verification(
    backend: Backend, visitor: Visitor, trust: Callable[[], Trust], part: Part
) -> Work:
    """Write the work of one verification, as `affidavit verify` does it."""

    def work(tell: Tell) -> Mapping[str, Any]:
        seals, now_ms = backend.log.seals, int(datetime.now(UTC).timestamp() * 1000)
        last = seals.last_seal() or {}
        size = size_of(last.get("size"))
        tell("records", 0, size)

        def progress(done: int, total: int) -> None:
            tell("records", done, max(total, size))

        with _comparer(backend, size) as comparer:
            report = verify(
                seals, trust(), now_ms=now_ms, scope=part, progress=progress, comparer=comparer
            )
        tell("anchors", size, size)
        hold_against_anchors(seals, backend.config, report)
        made = result_of(report)
        told = {name: made[name] for name in ("verdict", "clean", "level", "size", "found")}
        # The result is noted before anybody sees it: an outcome that pleases nobody stays known.
        backend.note(visitor, "verify result", told, sum(report.kinds.values()))
        return made

    return work


def result_of(report: Report) -> dict[str, Any]:
    """Give a report as plain values, with the words that `affidavit verify` prints."""
    plain = report.as_dict()
    plain["findings"] = plain["findings"][:200]
    return {
        **plain,
        "told": words.told(report),
        "said": words.findings(report),
        "more": words.more(report),
        "sentence": words.verdict(report),
        "advice": words.advice(report),
    }


def _comparer(backend: Backend, size: int) -> AbstractContextManager[Comparer | None]:
    """Read records in other processes where that is worth it, so that pages go on meanwhile."""
    if size < LEAST_LEAVES:
        return nullcontext()
    return Apart(backend.uri, backend.config, max(1, processors()))


# -- evidence --------------------------------------------------------------------------------------


def bundle(
    seals: SealStore, call_id: str, records: list[tuple[str, dict[str, Any]]], folder: Path
) -> bytes:
    """Pack the bundle of one call. Raises SealError where none of its records can be proved."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        inside = Path(place) / f"evidence-{_plain(call_id)}"
        write_bundle(seals, call_id, records, inside)
        packed = Path(place) / "evidence.zip"
        for _ in _pack(inside, packed):
            pass
        return packed.read_bytes()


def package(backend: Backend) -> Work:
    """Write the work of packing the whole log, as `affidavit export` writes it."""

    def work(tell: Tell) -> Mapping[str, Any]:
        folder = packages(backend)
        seals = backend.log.seals
        try:
            signer = open_key(seals, backend.config, create=False).signer
        except SealError:
            signer = None
        size = size_of((seals.last_seal() or {}).get("size"))
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            inside = place / "affidavit-export"
            manifest = write_export(
                seals, inside, signer=signer, progress=lambda name, n: tell(name, n, size)
            )
            packed = place / "export.zip"
            for name in _pack(inside, packed):
                tell(name, size, size)
            kept = folder / f"{place.name}.zip"
            packed.rename(kept)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        counts = {n: row["count"] for n, row in manifest["files"].items() if "count" in row}
        return {
            "file": kept.name,
            "bytes": kept.stat().st_size,
            "size": manifest["size"],
            "counts": counts,
            "signed": signer is not None,
        }

    return work


def packages(backend: Backend) -> Path:
    """Give the folder of packages that can be downloaded; those older than a day are removed."""
    folder = backend.state_dir / "evidence"
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in folder.glob("*.zip"):
        with contextlib.suppress(FileNotFoundError):  # another request was quicker
            if time.time() - path.stat().st_mtime > PACKAGES_KEPT_S:
                path.unlink()
    return folder


def packed(backend: Backend, name: str) -> Path | None:
    """Find a package by its file's name; None where it is gone, or was made by another process."""
    path = packages(backend) / Path(name).name
    return path if path.suffix == ".zip" and path.is_file() else None


def _pack(inside: Path, out: Path) -> Iterator[str]:
    """Pack a folder; gives the name of each file before it is packed."""
    out.touch(mode=0o600)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(inside.rglob("*")):
            if path.is_file():
                name = path.relative_to(inside.parent).as_posix()
                yield name
                made.write(path, name)


def _plain(text: str) -> str:
    """Keep what a file may be called by."""
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "-_"))[:60] or "call"


# -- for checking it elsewhere ---------------------------------------------------------------------


def verifier() -> str | None:
    """Give the small verifier, one file of Python; None where this installation lacks it."""
    from importlib.resources import files

    name = "affidavit_verify.py"
    beside = files("affidavit.evidence") / "files" / name
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    in_clone = Path(__file__).parents[3] / "verifier" / name
    return in_clone.read_text(encoding="utf-8") if in_clone.is_file() else None
