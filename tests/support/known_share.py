"""Loads whose share of a server's work is known by an independent measure.

Blocks of the log's work and of the application's follow each other, never at once. What each costs
is the processor time of the server's process, as the kernel counts it for its threads. Run by
itself it prints a table::

    python -m tests.support.known_share
"""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affidavit.config import AuditConfig
from affidavit.demo.mongod import Mongod
from affidavit.monitor.sample import share_of_work
from affidavit.store import monitor_of, open_log
from tests.support.load import ForeignLoad

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.database import Database

    Act = Callable[[Database[dict[str, Any]], str], None]

PREPARED = 3000

CALM = 0.1
"""Share of the processors that others may use in a round that is judged, where such come."""


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement."""

    known: float
    """The log's share in percent, by the kernel's count."""
    told: float
    """The same by the formula."""
    by_time: float
    """The same by `top` alone, for comparison."""
    foreign_share: float
    """How much others used the machine meanwhile, from 0 to 1."""


def inserts(count: int) -> Act:
    """Insert documents one by one."""

    def act(database: Database[dict[str, Any]], name: str) -> None:
        for number in range(count):
            database[name].insert_one(_document(number))

    return act


def finds(count: int) -> Act:
    """Ask for one user's newest twenty."""

    def act(database: Database[dict[str, Any]], name: str) -> None:
        for number in range(count):
            asked = database[name].find({"user_id": f"u{number % 50}"})
            list(asked.sort("timestamp", -1).limit(20))

    return act


def sums(count: int) -> Act:
    """Add up over the whole collection."""

    def act(database: Database[dict[str, Any]], name: str) -> None:
        for _ in range(count):
            list(database[name].aggregate([{"$group": {"_id": "$user_id", "n": {"$sum": "$n"}}}]))

    return act


LOADS: dict[str, tuple[Act, Act]] = {
    "alike, the application four times as much": (inserts(50), inserts(200)),
    "the log inserts, the application reads": (inserts(120), finds(120)),
    "the log inserts, the application adds up": (inserts(90), sums(2)),
}
"""Three loads: the log's block, and the application's."""


def measure(
    server: Mongod, load: str, rounds: int = 3, round_s: float = 1.5, most: int = 9
) -> list[Round]:
    """Run a load on a server of one's own, and compare: the rounds that others disturbed least.

    Where others use the machine, what waits for a processor looks like work; so more rounds are
    made then, ``most`` at most.
    """
    ours, theirs = LOADS[load]
    with open_log(f"{server.uri.rstrip('/')}/wadm", AuditConfig()) as log:
        store, database = monitor_of(log), log.location.database
        for name in ("llm_audit", "orders"):
            database[name].create_index([("user_id", 1), ("timestamp", -1)])
            database[name].insert_many([_document(number) for number in range(PREPARED)])
        found: list[Round] = []
        others = ForeignLoad(server.pid)
        while len(found) < rounds or (len(found) < most and _calmest(found, rounds)[-1] >= CALM):
            others.share()
            spent = [0.0, 0.0]
            before, server_before = store.work(), store.server()
            end_s = time.monotonic() + round_s
            while time.monotonic() < end_s:
                for place, (act, name) in enumerate(((ours, "llm_audit"), (theirs, "orders"))):
                    started = _cpu_s(server.pid)
                    act(database, name)
                    spent[place] += _cpu_s(server.pid) - started
            done, server_now = store.work().since(before), store.server()
            share = share_of_work(
                done,
                (server_now.cpu_us or 0) - (server_before.cpu_us or 0),
                (server_now.syncs or 0) - (server_before.syncs or 0),
            )
            assert share is not None
            by_time = done.ours.inside_us / done.everything.inside_us
            known = 100 * spent[0] / sum(spent)
            found.append(Round(known, share.percent, 100 * by_time, others.share()))
    return sorted(found, key=lambda one: one.foreign_share)[:rounds]


def _calmest(found: list[Round], count: int) -> list[float]:
    return sorted(one.foreign_share for one in found)[:count]


def _cpu_s(pid: int) -> float:
    """Add up the time on a processor of every thread, in seconds."""
    spent_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ended meanwhile
            spent_ns += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return spent_ns / 1e9


def _document(number: int) -> dict[str, Any]:
    return {
        "user_id": f"u{number % 50}",
        "timestamp": datetime.now(UTC),
        "text": "x" * 1500,
        "n": number,
    }


def main() -> None:
    """Print each load's rounds."""
    print("| load | known | formula | `top` alone |\n|---|---|---|---|")
    for load in LOADS:
        with Mongod.start() as server:
            found = measure(server, load, rounds=5)
        middle = [
            statistics.median(getattr(one, name) for one in found)
            for name in ("known", "told", "by_time")
        ]
        print(f"| {load} | " + " | ".join(f"{value:.1f} %" for value in middle) + " |")


if __name__ == "__main__":
    main()
