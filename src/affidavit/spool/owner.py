"""Who owns a spool file, and taking over those whose owner is gone.

Layout: ``<spool_dir>/<dataset>/<writer>.{lock,db,counters}``; one folder per dataset, so that no
application ever replays another's records into its own database. Folders are 0700, files 0600.
Ownership is an ``flock`` on the lock file, never a process id: the kernel releases it whatever way
the process ends. A forked child closes its copy, so that it does not keep the parent's lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from affidavit.errors import SpoolError
from affidavit.event import Dest
from affidavit.spool.counters import Counters, Slot
from affidavit.spool.sqlite import SqliteSpool

_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs"}
)

_NAME: Final = "dataset"
"""File in a folder that holds the dataset's whole name."""

_HASH: Final = 12
"""Hexadecimal digits of the hash in a folder's name."""


def default_directory() -> Path:
    """Where spools live unless ``spool_dir`` says otherwise: the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME")
    base = Path(state) if state else Path.home() / ".local" / "state"
    return base / "affidavit"


def dataset_folder(directory: Path, dataset: str) -> Path:
    """Name the folder of a dataset: a readable start and a hash."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", dataset).strip("-")[:40]
    return directory / f"{readable}-{hashlib.sha256(dataset.encode()).hexdigest()[:_HASH]}"


def other_datasets(folder: Path) -> Iterator[tuple[Path, str]]:
    """Find the folders of other datasets beside ``folder``, each with its dataset's name.

    A folder's own name cannot be turned back. One of an earlier version has no file that names it;
    then one of its spools does, and without any it is left out.
    """
    for other in sorted(folder.parent.glob("*-" + "[0-9a-f]" * _HASH)):
        if other != folder:
            name = _named_by(other / _NAME) or _named_by_spool(other)
            if name:
                yield other, name


def _name(folder: Path, dataset: str) -> None:
    """Write down whose folder this is; it is of use only after the log has got another name."""
    path = folder / _NAME
    if not path.exists():
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.write(fd, dataset.encode())
            finally:
                os.close(fd)


def _named_by(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _named_by_spool(folder: Path) -> str | None:
    spools = (path for path in sorted(folder.glob("*.db")) if path.stem != "dead")
    return next(filter(None, map(_dataset_of, spools)), None)


def _dataset_of(path: Path) -> str | None:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key='dataset'").fetchone()
    except sqlite3.Error:  # damaged, or no spool: not ours to judge
        return None
    return None if row is None else str(row[0])


def file_system(path: Path) -> str:
    """Tell the type of the file system below ``path``; empty where the system does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    real = os.path.realpath(path)
    for line in mounts:
        _device, point, fs_type, *_rest = line.split(" ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fs_type
    return kind


def is_network(path: Path) -> bool:
    """Whether ``path`` lies on a network file system, where SQLite's WAL is not safe."""
    return file_system(path) in _NETWORK


def open_to_others(*folders: Path) -> list[tuple[Path, str]]:
    """Find folders that other users may enter or list: each with what is wrong with it."""
    found = []
    for folder in folders:
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(folder.stat().st_mode)
            if mode & 0o077:
                found.append((folder, f"{folder} is open to other users (mode {mode:04o})"))
    return found


@dataclass(slots=True)
class OwnedSpool:
    """A spool this process holds the lock of."""

    writer: str
    folder: Path
    lock_fd: int
    spool: SqliteSpool
    counters: Counters

    def release(self, *, delete: bool) -> None:
        """Give it up; ``delete`` removes the files, which must be empty of records."""
        self.spool.close()
        self.counters.close()
        if delete:
            _delete_files(self.folder, self.writer)
        os.close(self.lock_fd)

    def abandon(self) -> None:
        """In a forked child: let go of the inherited descriptors without touching the files."""
        self.spool.abandon()
        with contextlib.suppress(OSError):
            os.close(self.lock_fd)


def create(directory: Path, dataset: str, writer: str, max_bytes: int) -> OwnedSpool:
    """Make and lock the spool of a new writer.

    Raises SpoolError when the directory cannot be used; the text says how to mend it.
    """
    folder = dataset_folder(directory, dataset)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if is_network(folder):
            msg = (
                f"The spool directory lies on a network file system ({file_system(folder)}), where "
                "it cannot be made durable. Set spool_dir to a local directory."
            )
            raise SpoolError(msg)
        _name(folder, dataset)
        lock_fd = _new_lock(folder, writer)
    except OSError as error:
        msg = (
            f"The spool directory {directory} cannot be written: {error.strerror}. "
            "Set spool_dir (AFFIDAVIT_SPOOL_DIR) to a writable local directory."
        )
        raise SpoolError(msg) from error
    counters = None
    try:
        counters = Counters.create(folder / f"{writer}.counters")
        _touch(folder / f"{writer}.db")
        spool = SqliteSpool(
            folder / f"{writer}.db", writer=writer, dataset=dataset, max_bytes=max_bytes
        )
    except BaseException as error:
        if counters is not None:
            counters.close()
        _delete_files(folder, writer)
        os.close(lock_fd)
        if isinstance(error, OSError):
            msg = f"The spool of this process cannot be made: {error.strerror}."
            raise SpoolError(msg) from error
        raise
    return OwnedSpool(writer, folder, lock_fd, spool, counters)


def orphans(folder: Path, dataset: str, max_bytes: int) -> tuple[list[OwnedSpool], list[str]]:
    """Take over every spool in the folder whose owner is gone.

    Returns them, and what is wrong with those that cannot be opened; these are left in place.
    """
    taken: list[OwnedSpool] = []
    damaged: list[str] = []
    for lock in sorted(folder.glob("*.lock")):
        writer = lock.stem
        lock_fd = _try_lock(lock)
        if lock_fd is None:
            continue
        path = folder / f"{writer}.db"
        if not path.exists():
            _delete_files(folder, writer)  # its owner died before anything was written
            os.close(lock_fd)
            continue
        try:
            spool = SqliteSpool(path, writer=writer, dataset=dataset, max_bytes=max_bytes)
        except SpoolError as error:
            damaged.append(str(error))
            os.close(lock_fd)
            continue
        counters = _counters_of(folder / f"{writer}.counters", spool)
        taken.append(OwnedSpool(writer, folder, lock_fd, spool, counters))
    return taken, damaged


def _counters_of(path: Path, spool: SqliteSpool) -> Counters:
    """Open a writer's counters; after a power cut they may be gone, but its records are not."""
    try:
        return Counters.open(path)
    except SpoolError:
        counters = Counters.in_memory()
        for dest in Dest:
            waiting = spool.count_of(dest)
            counters.add(Slot.RECORDED, dest, waiting)
            counters.add(Slot.SPOOLED_IN, dest, waiting)
        counters.next_seq = counters.settled = counters.get(Slot.RECORDED, None)
        return counters


def orphan_count(folder: Path) -> int:
    """Count spools without an owner, without taking them."""
    count = 0
    for lock in folder.glob("*.lock"):
        lock_fd = _try_lock(lock)
        if lock_fd is not None:
            os.close(lock_fd)
            count += 1
    return count


def _new_lock(folder: Path, writer: str) -> int:
    # Locked under a temporary name first: nobody may see the file before it is held.
    temporary = folder / f".{writer}.new"
    lock_fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    temporary.rename(folder / f"{writer}.lock")
    return lock_fd


def _try_lock(path: Path) -> int | None:
    try:
        lock_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The owner may have deleted the file between our open and our lock.
        if os.fstat(lock_fd).st_ino == path.stat().st_ino:
            return lock_fd
    except OSError:
        pass
    os.close(lock_fd)
    return None


def _touch(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _delete_files(folder: Path, writer: str) -> None:
    # The lock goes last: as long as it is there and held, nobody else touches the others.
    for suffix in (".db", ".db-wal", ".db-shm", ".counters", ".lock"):
        with contextlib.suppress(OSError):
            (folder / f"{writer}{suffix}").unlink()
