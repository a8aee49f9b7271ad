"""An export read as a log: the same rules verify it as a live one."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

from affidavit.canonical import from_json
from affidavit.errors import ConfigError
from affidavit.evidence.export import MANIFEST_FORMAT
from affidavit.evidence.place import numbered
from affidavit.integrity.checkpoint import Checkpoint
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.findings import Kind, Report
from affidavit.integrity.note import Note, VerifierKey, check_note
from affidavit.integrity.tiles import Tile
from affidavit.integrity.told import TOLD_BY

_EVERY: Final = 64
"""One line of so many is kept by its place; the others are read on the way from there."""

_DESTS: Final = ("records", "ledger")
Docs = dict[str, Any]


class ExportFolder:
    """The reader over an export's files; memory holds batches' places, and few of the records'."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the folder is no export, or a line of it cannot be read."""
        self.path = path
        self._files: dict[str, BinaryIO] = {}
        try:
            self._identity = from_json((path / "identity.json").read_bytes().rstrip(b"\n"))
            self.checkpoint = (path / "checkpoint").read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            msg = (
                f"{path} is no export of a log ({type(error).__name__}: identity.json, checkpoint)."
            )
            raise ConfigError(msg) from error
        self._batches = {b["_id"]: at for at, b in self._lines("leaf_batches.jsonl")}
        self._by_writer: dict[str, list[str]] = {}
        for name in self._batches:
            self._by_writer.setdefault(str(name).rpartition(":")[0], []).append(name)
        self._marks: dict[str, tuple[list[tuple[str, int]], list[int]]] = {}
        self._writers: set[str] = set()
        self._odd: list[tuple[str, Docs]] = []
        self._special: dict[str, list[Docs]] = {}
        for dest in _DESTS:
            self._survey(dest)

    def _survey(self, dest: str) -> None:
        """Read a file once: places of every so-manieth line, writers, what is out of order."""
        keys: list[tuple[str, int]] = []
        offsets: list[int] = []
        last: tuple[str, int] = ("", -(2**63))
        count = 0
        for at, document in self._lines(f"{dest}.jsonl"):
            place = numbered(document)
            if dest == "ledger" and document.get("event_type") in TOLD_BY:
                self._special.setdefault(str(document.get("event_type")), []).append(document)
            if place is None or place < last:
                self._odd.append((dest, document))
                continue
            if count % _EVERY == 0:
                keys.append(place)
                offsets.append(at)
            count += 1
            last = place
            self._writers.add(place[0])
        self._marks[dest] = keys, offsets

    def _lines(self, name: str, offset: int = 0) -> Iterator[tuple[int, Docs]]:
        at = offset
        try:
            with (self.path / name).open("rb") as file:
                file.seek(offset)
                for line in file:
                    yield at, from_json(line.rstrip(b"\n"))
                    at += len(line)
        except (OSError, ValueError) as error:
            msg = f"{self.path / name} cannot be read at byte {at} ({error})."
            raise ConfigError(msg) from error

    # -- the reader of a verification -------------------------------------------------------------

    def identity(self) -> Docs | None:
        """Give what the log says of itself."""
        return self._identity or None

    def seals(self, from_k: int = 0) -> Iterator[Docs]:
        """Give the seals in order."""
        yield from (seal for _, seal in self._lines("seals.jsonl") if seal["_id"] >= from_k)

    def last_seal(self) -> Docs | None:
        """Give the newest seal."""
        newest = deque(self._lines("seals.jsonl"), maxlen=1)
        return newest[0][1] if newest else None

    def documents(self, name: str) -> Iterator[Docs]:
        """Give every document of a part: ``leaf_batches``, ``records`` or ``ledger``."""
        yield from (document for _, document in self._lines(f"{name}.jsonl"))

    def batches(self, ids: Sequence[str]) -> Iterator[Docs]:
        """Give these leaf batches."""
        for name in ids:
            if name in self._batches:
                yield next(self._lines("leaf_batches.jsonl", self._batches[name]))[1]

    def batches_of(self, writer: str) -> Iterator[Docs]:
        """Give the leaf batches of one writer."""
        yield from self.batches(self._by_writer.get(writer, ()))

    def records(self, writer: str, s0: int, n: int) -> Iterator[tuple[str, Docs]]:
        """Give the records of these numbers, by number."""
        found = [(d, doc) for d in _DESTS for doc in self._between(d, writer, s0, s0 + n)]
        yield from sorted(found, key=lambda each: each[1]["seq"])

    def _between(self, dest: str, writer: str, start: int, end: int) -> Iterator[Docs]:
        keys, offsets = self._marks[dest]
        if not keys:
            return
        at = bisect_right(keys, (writer, start - 1)) - 1
        for _, document in self._lines(f"{dest}.jsonl", offsets[max(at, 0)]):
            place = numbered(document)
            if place is not None and place >= (writer, end):
                return
            if place is not None and place >= (writer, start):
                yield document

    def strays(self, writer: str, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Docs]]:
        """Give the records of a writer outside these ranges."""
        for dest in _DESTS:
            for document in self._between(dest, writer, -(2**62), 2**62):
                if not any(start <= document["seq"] < end for start, end in ranges):
                    yield dest, document

    def unnumbered(self) -> Iterator[tuple[str, Docs]]:
        """Give the records without a number, and those that are not in their order."""
        yield from self._odd

    def ledger(self, event_type: str) -> Iterator[Docs]:
        """Give the ledger's records of one kind."""
        yield from self._special.get(event_type, ())

    def known_writers(self) -> set[str]:
        """Name every writer."""
        return set(self._writers)

    def tile(self, level: int, number: int) -> bytes | None:
        """Give a whole tile."""
        try:
            return (self.path / Tile(level, number).path).read_bytes()
        except OSError:
            return None

    # -- the manifest -----------------------------------------------------------------------------

    def check_manifest(self, report: Report, keys: Sequence[VerifierKey]) -> None:
        """Compare the files with the manifest, and the manifest with its signature, if any."""
        try:
            whole = (self.path / "manifest.json").read_bytes()
            for name, row in json.loads(whole)["files"].items():
                if self._digest(name) != row["sha256"]:
                    text = f"The file {name} of the export is not the one that was written."
                    report.add(Kind.ALTERED, text, file=name)
            size = Checkpoint.parse(Note.parse(self.checkpoint).text).size
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"The export's manifest cannot be followed ({type(error).__name__})."
            report.add(Kind.ALTERED, text, file="manifest.json")
            return
        if size != report.size:
            text = f"The export's checkpoint has {size} leaves, its seals {report.size}."
            report.add(Kind.CUT_OFF, text)
        self._check_signature(whole, report, keys)

    def _digest(self, name: str) -> str:
        place = Path(name)
        if ".." in place.parts or place.is_absolute():
            return ""
        digest = sha256()
        with (self.path / place).open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
        return digest.hexdigest()

    def _check_signature(self, whole: bytes, report: Report, keys: Sequence[VerifierKey]) -> None:
        note = self.path / "manifest.note"
        if not note.exists():
            report.limits.append("who made the export: its manifest is not signed")
            return
        try:
            signed = Note.parse(note.read_text(encoding="utf-8"))
            if signed.text != f"{MANIFEST_FORMAT}\n{sha256(whole).hexdigest()}\n":
                report.add(Kind.ALTERED, "The manifest is not the one that was signed.")
            if not check_note(signed, keys):
                report.add(Kind.FOREIGN_KEY, "The manifest is not signed by the log's key.")
        except (OSError, IntegrityError) as error:
            report.add(Kind.FORGED_CHECKPOINT, f"The manifest's signature does not hold. {error}")
