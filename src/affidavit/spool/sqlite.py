"""The spool of one process: an SQLite file in WAL mode.

Durability: :meth:`SqliteSpool.append` returns after the transaction is fsynced
(``synchronous=FULL``). Removals are not fsynced: a power cut may bring a removed record back, and
sending it again is harmless. Concurrency: one thread appends, one other reads and removes; writes
take turns under ``_lock``. Order: oldest sequence number first.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from affidavit.errors import SpoolError, SpoolFull
from affidavit.event import Dest
from affidavit.store.base import Encoded

VERSION: Final = 1
ROW_OVERHEAD: Final = 64
"""Bytes a row costs beside its body, for the bound of the spool."""

_WAL_PAGES: Final = 4096
"""Pages of the write-ahead log (16 MiB) from which :meth:`SqliteSpool.tidy` folds it back."""

_DESTS: Final = (Dest.RECORDS, Dest.LEDGER)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, dest INTEGER NOT NULL, id BLOB NOT NULL, body BLOB NOT NULL,
    at_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS leaves (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
"""

_forked_away: list[sqlite3.Connection] = []
"""Connections a fork left in the child: closing one there would damage the parent's file."""


@contextlib.contextmanager
def wrapped(what: str) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into SpoolError, naming the next step."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        msg = (
            f"{what}: {error}. Free disk space or make the directory writable "
            "(setting spool_dir); `affidavit doctor` checks it."
        )
        raise SpoolError(msg) from error


class Spooled(NamedTuple):
    """What waits in a spool."""

    by_dest: dict[Dest, int]
    last_seq: int
    """The highest number, -1 if nothing waits."""


class SqliteSpool:
    """A bounded, durable queue of finished records."""

    def __init__(self, path: Path, *, writer: str, dataset: str, max_bytes: int) -> None:
        self.path = path
        self.writer = writer
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        with wrapped(f"The spool {path.name} cannot be opened"):
            self._append = _connect(path, "FULL")
            self._append.executescript(_SCHEMA)
            self._remove = _connect(path, "NORMAL")
            self._append.executemany(
                "INSERT OR IGNORE INTO meta VALUES (?, ?)",
                [("version", str(VERSION)), ("writer", writer), ("dataset", dataset)],
            )
            version = self._append.execute("SELECT value FROM meta WHERE key='version'").fetchone()
            if version[0] != str(VERSION):
                msg = f"The spool {path.name} has version {version[0]}; this program reads 1."
                raise SpoolError(msg)
            row = self._append.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0), min(at_ms) FROM records"
            ).fetchone()
            leaves = self._append.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0) FROM leaves"
            ).fetchone()
        self._count: int = row[0]
        self._bytes: int = row[1] + row[0] * ROW_OVERHEAD
        self._oldest_ms: int | None = row[2]
        self._leaf_count: int = leaves[0]
        self._leaf_bytes: int = leaves[1]

    @property
    def count(self) -> int:
        """Records waiting."""
        return self._count

    @property
    def size_bytes(self) -> int:
        """Bytes waiting, as counted against the bound."""
        return self._bytes + self._leaf_bytes

    @property
    def leaf_count(self) -> int:
        """Leaf batches waiting."""
        return self._leaf_count

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest waiting record was spooled (milliseconds since 1970), or None."""
        return self._oldest_ms

    def append(self, batch: Sequence[Encoded], leaves: Sequence[bytes] = ()) -> None:
        """Make the records and their leaf batches durable in one transaction, all or none.

        Raises SpoolFull when the bound would be passed, SpoolError when the disk refuses.
        """
        size = sum(len(record.body) + ROW_OVERHEAD for record in batch)
        leaf_size = sum(map(len, leaves))
        if self.size_bytes + size + leaf_size > self._max_bytes:
            msg = (
                f"The spool holds {self.size_bytes} of {self._max_bytes} bytes. Bring the database "
                "back, or raise max_spool_bytes."
            )
            raise SpoolFull(msg)
        now_ms = time.time_ns() // 1_000_000
        rows = [(r.seq, int(r.dest is Dest.LEDGER), r.record_id, r.body, now_ms) for r in batch]
        with self._lock, wrapped(f"The spool {self.path.name} cannot be written"):
            try:
                self._append.execute("BEGIN IMMEDIATE")
                self._append.executemany("INSERT OR IGNORE INTO records VALUES (?,?,?,?,?)", rows)
                self._append.executemany(
                    "INSERT INTO leaves (body) VALUES (?)", ((body,) for body in leaves)
                )
                self._append.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._append.execute("ROLLBACK")
                raise
            self._count += len(rows)
            self._bytes += size
            self._leaf_count += len(leaves)
            self._leaf_bytes += leaf_size
            if self._oldest_ms is None and rows:
                self._oldest_ms = now_ms

    def recount(self) -> Spooled:
        """Count what is really there; the appending thread died perhaps before it had counted."""
        with self._lock, wrapped(f"The spool {self.path.name} cannot be read"):
            rows = self._remove.execute(
                "SELECT dest, count(*), sum(length(body)), max(seq), min(at_ms) FROM records "
                "GROUP BY dest"
            ).fetchall()
            self._count = sum(row[1] for row in rows)
            self._bytes = sum(row[2] for row in rows) + self._count * ROW_OVERHEAD
            self._oldest_ms = min((row[4] for row in rows), default=None)
        by_dest = dict.fromkeys(Dest, 0) | {_DESTS[row[0]]: row[1] for row in rows}
        return Spooled(by_dest, max((row[3] for row in rows), default=-1))

    def read(self, limit: int, max_bytes: int) -> list[Encoded]:
        """Read the oldest records, at most ``limit`` and about ``max_bytes``; at least one."""
        found: list[Encoded] = []
        size = 0
        with wrapped(f"The spool {self.path.name} cannot be read"):
            cursor = self._remove.execute(
                "SELECT dest, id, seq, body FROM records ORDER BY seq LIMIT ?", (limit,)
            )
            for dest, record_id, seq, body in cursor:
                found.append(Encoded(_DESTS[dest], record_id, seq, body))
                size += len(body)
                if size >= max_bytes:
                    break
            cursor.close()
        return found

    def count_of(self, dest: Dest) -> int:
        """Count what waits for one destination."""
        with wrapped(f"The spool {self.path.name} cannot be read"):
            row = self._remove.execute(
                "SELECT count(*) FROM records WHERE dest=?", (_DESTS.index(dest),)
            ).fetchone()
        return int(row[0])

    def seqs(self, since_seq: int) -> set[int]:
        """Tell which sequence numbers from ``since_seq`` on are waiting here."""
        with wrapped(f"The spool {self.path.name} cannot be read"):
            rows = self._remove.execute("SELECT seq FROM records WHERE seq >= ?", (since_seq,))
            return {row[0] for row in rows}

    def remove(self, batch: Sequence[Encoded]) -> None:
        """Take records out after the store confirmed them, or after they became dead letters."""
        with self._lock, wrapped(f"The spool {self.path.name} cannot be written"):
            try:
                self._remove.execute("BEGIN IMMEDIATE")
                self._remove.executemany("DELETE FROM records WHERE seq=?", _keys(batch))
                self._remove.execute("COMMIT")
            except BaseException:  # a thread that dies here must not leave the file locked
                with contextlib.suppress(sqlite3.Error):
                    self._remove.execute("ROLLBACK")
                raise
            self._count -= len(batch)
            self._bytes -= sum(len(record.body) + ROW_OVERHEAD for record in batch)
            row = self._remove.execute("SELECT at_ms FROM records ORDER BY seq LIMIT 1").fetchone()
            self._oldest_ms = row[0] if row else None

    def read_leaves(self, limit: int) -> list[bytes]:
        """Read the oldest leaf batches, at most ``limit``."""
        with wrapped(f"The spool {self.path.name} cannot be read"):
            rows = self._remove.execute("SELECT body FROM leaves ORDER BY number LIMIT ?", (limit,))
            return [row[0] for row in rows]

    def remove_leaves(self, count: int) -> None:
        """Take out the oldest leaf batches after the store has them."""
        with self._lock, wrapped(f"The spool {self.path.name} cannot be written"):
            self._remove.execute(
                "DELETE FROM leaves WHERE number IN "
                "(SELECT number FROM leaves ORDER BY number LIMIT ?)",
                (count,),
            )
            row = self._remove.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0) FROM leaves"
            ).fetchone()
            self._leaf_count, self._leaf_bytes = row

    def tidy(self) -> None:
        """Fold the write-ahead log back when it has grown; called off the appending thread."""
        wal = self.path.with_name(self.path.name + "-wal")
        with wrapped(f"The spool {self.path.name} cannot be tidied"):
            size = wal.stat().st_size if wal.exists() else 0
            if self._count == 0 and size:
                with self._lock:
                    self._remove.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            elif size > _WAL_PAGES * 4096:
                self._remove.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close the file; what waits in it stays for the next process."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._append.close()
            self._remove.close()

    def abandon(self) -> None:
        """In a forked child: forget the connections without closing them."""
        _forked_away.extend((self._append, self._remove))


def _keys(batch: Sequence[Encoded]) -> Iterable[tuple[int]]:
    return ((record.seq,) for record in batch)


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=16
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    # Folding the log back costs 8 to 15 ms; tidy() does it where nobody waits.
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection
