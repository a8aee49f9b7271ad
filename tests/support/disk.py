"""How long this machine's disk takes, measured while something else is: a floor to compare with."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class DiskFloor:
    """Commits one small row in SQLite, fsynced, some 40 times a second in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is on the disk in question."""
        self._path = folder / "floor.db"
        self._stop = threading.Event()
        self._took_ms: list[float] = []
        self._thread = threading.Thread(target=self._run, name="disk floor", daemon=True)

    def __enter__(self) -> Self:
        """Measuring."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop measuring."""
        self._stop.set()
        self._thread.join()

    @property
    def p95_ms(self) -> float:
        """The 95th percentile of a commit, in milliseconds."""
        ordered = sorted(self._took_ms)
        return ordered[int(len(ordered) * 0.95)] if ordered else 0.0

    @property
    def longest_ms(self) -> float:
        """The longest commit, in milliseconds."""
        return max(self._took_ms, default=0.0)

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE floor (body BLOB)")
        while not self._stop.wait(0.025):
            started_s = time.perf_counter()
            connection.execute("INSERT INTO floor VALUES (?)", (b"x" * 1700,))
            self._took_ms.append((time.perf_counter() - started_s) * 1000)
        connection.close()
