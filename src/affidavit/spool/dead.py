"""Dead letters: records the store refused for good, with the reason, kept for a retry.

One SQLite file for all processes of a dataset (``dead.db``); SQLite's own locking is enough, since
dead letters are rare. Keyed by writer and sequence number, so that noting one twice is harmless.
How many of a writer's letters were stored by a retry stands here too, since another process retries
than the one that counts: the writer takes that number over (:class:`.counters.Counters`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from affidavit.event import Dest
from affidavit.spool.sqlite import wrapped
from affidavit.store.base import Encoded

FILE: Final = "dead.db"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS dead (
    writer TEXT NOT NULL, seq INTEGER NOT NULL, dest TEXT NOT NULL, id BLOB NOT NULL,
    body BLOB NOT NULL, reason TEXT NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (writer, seq)
);
CREATE TABLE IF NOT EXISTS retried (
    writer TEXT NOT NULL, dest TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (writer, dest)
);
"""


class DeadLetter(NamedTuple):
    """One refused record."""

    writer: str
    record: Encoded
    reason: str
    at_ms: int


class DeadLetters:
    """The dead letters of one dataset folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with wrapped(f"The dead letters in {FILE} cannot be used"):
            # Made private before SQLite opens it, whose files take over its mode.
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            os.fchmod(descriptor, 0o600)
            os.close(descriptor)
            with contextlib.closing(sqlite3.connect(self.path, timeout=10.0)) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                connection.executescript(_SCHEMA)
                with connection:
                    yield connection

    def bury(self, writer: str, refused: Sequence[tuple[Encoded, str]]) -> None:
        """Keep refused records, fsynced. Raises SpoolError when the disk refuses."""
        now_ms = time.time_ns() // 1_000_000
        with self._open() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO dead VALUES (?,?,?,?,?,?,?)",
                [
                    (writer, r.seq, r.dest.value, r.record_id, r.body, reason, now_ms)
                    for r, reason in refused
                ],
            )

    def all(self, writer: str | None = None) -> list[DeadLetter]:
        """List them, oldest first; an empty list where there is no file."""
        if not self.path.exists():
            return []
        with self._open() as connection:
            rows = connection.execute(
                "SELECT writer, seq, dest, id, body, reason, at_ms FROM dead "
                "WHERE ?1 IS NULL OR writer = ?1 ORDER BY at_ms, writer, seq",
                (writer,),
            ).fetchall()
        return [
            DeadLetter(w, Encoded(Dest(dest), rid, seq, body), reason, at_ms)
            for w, seq, dest, rid, body, reason, at_ms in rows
        ]

    def forget(self, letters: Sequence[DeadLetter]) -> None:
        """Drop letters after a retry stored them, and count that for their writers.

        In one transaction, so that each letter is counted once, whoever retries it how often.
        """
        with self._open() as connection:
            for letter in letters:
                writer, record = letter.writer, letter.record
                gone = connection.execute(
                    "DELETE FROM dead WHERE writer=? AND seq=?", (writer, record.seq)
                )
                if gone.rowcount:
                    connection.execute(
                        "INSERT INTO retried VALUES (?, ?, 1) "
                        "ON CONFLICT (writer, dest) DO UPDATE SET count = count + 1",
                        (writer, record.dest.value),
                    )

    def writers(self) -> list[str]:
        """List whose letters are here."""
        if not self.path.exists():
            return []
        with self._open() as connection:
            return [row[0] for row in connection.execute("SELECT DISTINCT writer FROM dead")]

    def take_over(self, other: DeadLetters, writer: str) -> None:
        """Move a writer's letters, and their accounts, here from another folder."""
        if not other.path.exists():
            return
        with other._open() as source:
            letters = source.execute("SELECT * FROM dead WHERE writer=?", (writer,)).fetchall()
            counts = source.execute("SELECT * FROM retried WHERE writer=?", (writer,)).fetchall()
            if not letters and not counts:
                return
            with self._open() as target:
                target.executemany("INSERT OR IGNORE INTO dead VALUES (?,?,?,?,?,?,?)", letters)
                target.executemany("INSERT OR REPLACE INTO retried VALUES (?,?,?)", counts)
            # Safe here by now: a crash before the next line leaves a copy, which is recognised.
            source.execute("DELETE FROM dead WHERE writer=?", (writer,))
            source.execute("DELETE FROM retried WHERE writer=?", (writer,))

    def changed_ns(self) -> int:
        """When the file was changed last, for whoever looks often; 0 where there is none."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def retried(self, writer: str) -> dict[Dest, int]:
        """Tell how many letters of a writer were stored by a retry, by destination."""
        found = dict.fromkeys(Dest, 0)
        if self.path.exists():
            with self._open() as connection:
                rows = connection.execute(
                    "SELECT dest, count FROM retried WHERE writer=?", (writer,)
                ).fetchall()
            found |= {Dest(dest): count for dest, count in rows}
        return found
