"""Dead letters: records the store refused for good, with the reason, kept for a retry.

One SQLite file for all processes of a dataset (``dead.db``); SQLite's own locking is enough, since
dead letters are rare. Keyed by writer and sequence number, so that noting one twice is harmless.
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
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
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
        """Drop letters after a retry stored them."""
        with self._open() as connection:
            connection.executemany(
                "DELETE FROM dead WHERE writer=? AND seq=?",
                [(letter.writer, letter.record.seq) for letter in letters],
            )
