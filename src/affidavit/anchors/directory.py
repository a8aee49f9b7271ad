"""A folder that only grows: one file for each checkpoint, on a disk that others cannot rewrite.

A file is made once and never opened for writing again, and nothing is removed or renamed, so the
folder may be append-only (``chattr +a``) or lie on write-once storage.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from affidavit.anchors.base import AnchorFailed, Newest, Receipt
from affidavit.integrity.checkpoint import Checkpoint
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.note import LONGEST_NOTE, Note

_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,18})\.checkpoint")
_MODE: Final = 0o444


class Directory:
    """A folder with files ``<size>.checkpoint``."""

    kind = "directory"

    def __init__(self, folder: Path) -> None:
        """The folder must exist: one that is not mounted is not made in its place."""
        self.folder = folder.absolute()
        self.name = f"directory {self.folder}"

    def anchor(self, newest: Newest, known: Checkpoint | None) -> Receipt:  # noqa: ARG002 - the folder says it
        """Write the checkpoint if it grew from the folder's newest. Raises AnchorFailed."""
        try:
            before = self.newest()
            if before is not None:
                newest.check_grown_from(before, f"{before.size}.checkpoint in {self.folder}")
            place = self.folder / f"{newest.checkpoint.size}.checkpoint"
            if before is None or before.size < newest.checkpoint.size:
                self._write(place, newest.note.encode())
        except OSError as error:
            msg = f"{self.folder} cannot be used ({error.strerror}). Is it there, and writable?"
            raise AnchorFailed(msg) from error
        return Receipt(newest.note, place=str(place))

    def newest(self, at_most: int | None = None) -> Checkpoint | None:
        """Read the largest checkpoint that was written whole; with ``at_most`` leaves, if given.

        Raises AnchorFailed, and OSError.
        """
        names = [_NAME.fullmatch(each.name) for each in self.folder.iterdir()]
        sizes = [int(name[1]) for name in names if name is not None]
        for size in sorted(sizes, reverse=True):
            if at_most is not None and size > at_most:
                continue
            path = self.folder / f"{size}.checkpoint"
            data = _read(path)
            if not data.endswith(b"\n"):
                continue  # the writing was cut off by a crash; it was never told as anchored
            try:
                found = Checkpoint.parse(Note.parse(data).text)
            except IntegrityError as error:
                msg = f"{path} is no checkpoint. Find out who wrote it, and move it away."
                raise AnchorFailed(msg) from error
            if found.size != size:
                msg = f"{path} holds a checkpoint of {found.size} leaves. Find out who changed it."
                raise AnchorFailed(msg)
            return found
        return None

    def _write(self, place: Path, data: bytes) -> None:
        try:
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
        except FileExistsError as error:
            if _read(place) == data:
                return  # another sealer was first
            msg = (
                f"{place} is there and is not whole; it is never overwritten. The next checkpoint "
                "that is larger is written beside it."
            )
            raise AnchorFailed(msg) from error
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # some network file systems cannot, and need not
                os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LONGEST_NOTE + 1)
