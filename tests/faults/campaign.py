"""The fault campaign: ``python -m tests.faults.campaign --kills 1000 --out FILE``.

Kills, cuts, fills and stops, counts after each round, and prints a table. The exit code is 1 if any
promise was broken. It can be stopped with Ctrl-C, and ends by itself after ``--minutes``: the table
then says how many kills there really were.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pymongo

from tests.faults import kinds
from tests.faults.stage import Row, Stage
from tests.support.worker import MODES

Kind = Callable[[Stage, str, int], Row]

SHARES: Final[dict[Kind, float]] = {
    kinds.application: 0.40,
    kinds.application_in_outage: 0.34,
    kinds.mongod: 0.12,
    kinds.both: 0.08,
    kinds.primary: 0.06,
}
"""How the kills are divided; each kind's are divided evenly over the four modes."""

WHOLE: Final = 500
"""From so many kills on, the other faults run at their full length too."""

_COLUMNS: Final = (
    ("Fault", "kind"),
    ("Mode", "mode"),
    ("Faults", "faults"),
    ("Calls returned", "returned"),
    ("Promised", "promised"),
    ("Present", "present"),
    ("Twice", "duplicates"),
    ("Promised and lost", "lost_promised"),
    ("Records counted lost", "lost"),
    ("Most by one process", "worst_loss"),
    ("Oldest lost call", "oldest_lost_ms"),
    ("Longest wait", "longest_wait_ms"),
    ("p95 wait", "p95_wait_ms"),
    ("Errors of count", "errors"),
)


_HOW_TO_READ: Final = """\
## How to read it

A worker process records calls of two records each, intent and outcome, and writes one line after
each call that returned; the line survives a SIGKILL. Afterwards the database, the spool and the
dead letters are counted, and compared with those lines and with the numbers of every writer.

- **Promised**: the call returned after the store or the spool had its records. The modes
  `high volume` and `async` promise nothing and wait for nothing.
- **Twice**: records with the same call and kind, or with the same writer and number.
- **Promised and lost**: must be 0 in every row.
- **Records counted lost**: what was only in memory when a process was killed, as counted by the
  process that took over its spool. In the waiting modes these are records of calls that had not
  returned. A full spool with full memory and an absent database loses records, and counts them.
- **Oldest lost call**: how long before the kill the oldest lost call had returned. The bound is
  100 ms while the store answers, and one `write_timeout` (1 s) more in the moment in which it stops
  answering; a busy machine adds what it adds.
- **Longest wait**, **p95 wait**: of a caller for one call's auditing, the time of the model's
  answer not counted; a process that is stopped waits all the while. In the rows of an outage at
  100 calls/s the p95 is of the calls after the first; its limit is 5 ms, or four times what one
  commit of the disk took meanwhile.
- **Errors of count**: recorded = queued + stored + spooled + dead + lost, for each writer and both
  collections; stored is what is really there; nothing waits at the end; each writer's numbers are
  told once. Must be 0.

`make campaign-faults` repeats all of it; CI runs a sample of about 50 kills.
"""


@dataclass
class Result:
    """What a campaign found."""

    seed: int
    rows: list[Row] = field(default_factory=list)
    took_s: float = 0.0
    ended_early: bool = False

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(row.kills for row in self.rows)

    @property
    def broken(self) -> list[str]:
        """Every broken promise, as a sentence."""
        return [f"{row.kind}, {row.mode}: {error}" for row in self.rows for error in row.errors]


def plan(kills: int) -> Iterator[tuple[Kind, str, float]]:
    """What to do, in order: kind, mode, and how many times or how long."""
    whole = kills >= WHOLE
    for kind, share in SHARES.items():
        for mode in MODES:
            yield kind, mode, max(1, round(kills * share / len(MODES)))
    steady: dict[Kind, float] = {
        kinds.network: 40 if whole else 4,
        kinds.mongod_stopped: 60 if whole else 4,
        kinds.application_stopped: 60 if whole else 3,
        kinds.disk_full: 10 if whole else 3,
        kinds.spool_full: 10 if whole else 3,
        kinds.no_disk: 5 if whole else 2,
        kinds.forked: 20 if whole else 3,
        kinds.writer_dies: 40 if whole else 6,
        kinds.outage: 30 if whole else 6,
    }
    for kind, amount in steady.items():
        for mode in MODES:
            yield kind, mode, amount


def run(kills: int, seed: int, minutes: float, only: str | None = None) -> Result:
    """Carry the plan out, with a line of progress for each step."""
    result, began_s = Result(seed), time.monotonic()
    try:
        with Stage(seed) as stage:
            for kind, mode, amount in plan(kills):
                name = getattr(kind, "__name__", "")
                if only is not None and name != only:
                    continue
                if time.monotonic() - began_s > minutes * 60:
                    result.ended_early = True
                    break
                if kind is not kinds.primary:
                    stage.drop_set()
                step_s = time.monotonic()
                row = kind(stage, mode, int(amount))
                result.rows.append(row)
                print(
                    f"{time.monotonic() - began_s:6.0f} s  {result.kills:5d} kills  {row.kind}, "
                    f"{mode}: {row.present} of {row.returned} present, {row.lost} counted lost, "
                    f"{len(row.errors)} errors ({time.monotonic() - step_s:.0f} s)",
                    file=sys.stderr,
                    flush=True,
                )
    except KeyboardInterrupt:
        result.ended_early = True
    result.took_s = time.monotonic() - began_s
    return result


def cell(row: Row, name: str) -> str:
    """One cell of the table."""
    value = getattr(row, name)
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, float):
        digits = 1 if name == "p95_wait_ms" else 0
        return f"{value:,.{digits}f} ms" if value else "-"
    if name == "promised" and not value and row.mode in {"high_volume", "async"}:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("_", " ")


def table(rows: list[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| " + " | ".join(title for title, _name in _COLUMNS) + " |"]
    numbers = len(_COLUMNS) - 2
    lines.append("|---|---|" + "---:|" * numbers)
    lines += [
        "| " + " | ".join(cell(row, name) for _title, name in _COLUMNS) + " |" for row in rows
    ]
    return "\n".join(lines)


def commit() -> str:
    """The commit that was tested."""
    found = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def page(result: Result, tested: str, server: str) -> str:
    """The whole page for the documentation."""
    total = {
        name: sum(getattr(row, name) for row in result.rows)
        for name in ("faults", "returned", "promised", "present", "duplicates", "lost_promised")
    }
    verdict = (
        "No promise was broken."
        if not result.broken
        else "**Promises were broken:**\n\n" + "\n".join(f"- {text}" for text in result.broken)
    )
    early = " It was stopped early." if result.ended_early else ""
    return f"""<!-- Written by `make campaign-faults`; do not edit. -->
# Fault campaign

{datetime.now(UTC).date().isoformat()}, commit `{tested}`: **{result.kills:,} kills** and \
{total["faults"] - result.kills:,} other faults in {result.took_s / 60:.0f} minutes on \
{len(os.sched_getaffinity(0))} cores (Linux, Python {platform.python_version()}, PyMongo \
{pymongo.version}, MongoDB {server}), seed {result.seed}.{early}

{total["returned"]:,} calls returned to their callers; {total["promised"]:,} of them with the \
promise that the record is kept. Promised and lost: **{total["lost_promised"]}**. Stored twice: \
**{total["duplicates"]}**. {verdict}

{table(result.rows)}

{_HOW_TO_READ}"""


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="about how many processes to kill")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats the moments")
    parser.add_argument("--minutes", type=float, default=240.0, help="end after so many")
    parser.add_argument("--only", metavar="KIND", help="one kind, by its function's name")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the page there")
    asked = parser.parse_args(arguments)
    tested = commit()  # before: others may commit while it runs
    result = run(asked.kills, asked.seed, asked.minutes, asked.only)
    if asked.json:
        numbers = {"commit": tested, "kills": result.kills, "seed": result.seed}
        print(json.dumps({**numbers, "rows": [asdict(row) for row in result.rows]}, indent=2))
    else:
        print(table(result.rows))
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(page(result, tested, _server_version()), "utf-8")
    for text in result.broken:
        print(f"broken: {text}", file=sys.stderr)
    print(f"{result.kills} kills, {len(result.broken)} broken promises", file=sys.stderr)
    return 1 if result.broken or not result.rows else 0


def _server_version() -> str:
    from affidavit.demo.mongod import find_mongod

    said = subprocess.run(
        [str(find_mongod()), "--version"], capture_output=True, text=True, check=False
    )
    return said.stdout.partition("version v")[2].split()[0] if said.stdout else "unknown"


if __name__ == "__main__":
    sys.exit(main())
