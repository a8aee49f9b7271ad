"""How long this machine takes for a commit, measured beside something else: a floor for that."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class DiskFloor:
    """Has one small row committed in SQLite, fsynced, some 40 times a second.

    As a log does, the thread that asks hands it to another one, and waits: so a machine which is
    slow to wake a thread shows as well as a slow disk.
    """

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
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE floor (body BLOB)")
        insert, row = "INSERT INTO floor VALUES (?)", (b"x" * 1700,)
        with ThreadPoolExecutor(1) as other:
            while not self._stop.wait(0.025):
                started_s = time.perf_counter()
                other.submit(connection.execute, insert, row).result()
                self._took_ms.append((time.perf_counter() - started_s) * 1000)
        connection.close()
