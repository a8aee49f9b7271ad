"""The tamper campaign: ``python -m tests.faults.tamper --acts 2000 --out FILE``.

Random acts by an administrator on a real MongoDB, one at a time; after each the log is verified
with the key and a checkpoint that lie outside, and put back. Every act must be found, and nothing
may be found in a log that nobody touched, or out of which records expired; else the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pymongo

from affidavit.anchors.configured import anchors_of
from affidavit.demo.mongod import Mongod
from affidavit.integrity.findings import Verdict
from tests.faults import tamper_acts, tamper_reasons
from tests.faults.campaign import commit
from tests.faults.tamper_acts import CLEAN, EARLY, LATER, Act
from tests.faults.tamper_log import NAMES, Log, build, check, plain_copy, restore
from tests.support.servers import fresh_database

Docs = dict[str, Any]

SHARES: Final[dict[Act, int]] = {**tamper_acts.SHARES, **tamper_reasons.SHARES}
"""How many of each kind, of 125."""

_HOW_TO_READ: Final = """\
## How to read it

The log is of real loggers, sealed by a real sealer over twelve days (their clock is set back).
After the eleventh the auditor saves a checkpoint. For each act the database is tampered with,
verified with that checkpoint and the log's key, and put back.

- **Found**: the verification reported something, by a finding, by the verdict *unconfirmed* (exit
  code 21), or by an anchor that shows nothing any more (*receipt*). **Missed** must be 0.
- **Accused**: something was reported although nobody had tampered. Must be 0.
- **Named as**: the kinds of finding, with how often each was among those of an act. One act can be
  seen in several ways: a batch that was signed again is a foreign key, and its leaves do not lead
  to the signed root.

An edit changes or removes the value at one path, drawn uniformly over every path of every stored
document of the collection, lists and nested documents included. Not drawn are `sent_at` of a
batch, `created_at` of the identity, and of a seal `at`, `mark`, `by`, `state`, `full_at` and the
`late` of an item: they steer the work of sealing, and no record is judged by them.

An administrator who may write to the ledger, and has it sealed like everything else, can give
reasons for what is gone. These acts do: a record is called lost (by a made-up writer that starts,
by a command, or in the name of a silent writer), retention is made shorter, an erasure is
announced, another logger's records are taken over. A reason that is not believed is a finding; one
that could be true came after the saved checkpoint, and is *unconfirmed*.

Receipts of a witness and of a timestamp authority stand among the seals. They cannot be forged; one
that was changed or removed shows nothing, and the verification says of which anchor.

Made-up records are dated at least a day before the end of the log. One that is dated after the
newest checkpoint is not told from a record that waits for the sealer: it is counted as such. A lie
that the application itself wrote is sealed like the truth.

`make campaign-tamper` repeats all of it; CI runs 200 acts.
"""


@dataclass
class Row:
    """What became of one kind of act."""

    kind: str
    what: str
    clean: bool
    acts: int = 0
    found: int = 0
    named: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Result:
    """What a campaign found."""

    seed: int
    leaves: int = 0
    records: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    took_s: float = 0.0
    verify_s: float = 0.0

    @property
    def acts(self) -> int:
        """How many acts there were, those that must be clean included."""
        return sum(row.acts for row in self.rows.values())

    @property
    def wrong(self) -> list[str]:
        """Every act that was missed, and every false accusation."""
        return [f"{row.kind}: {text}" for row in self.rows.values() for text in row.wrong]


def plan(acts: int, rng: random.Random) -> Iterator[Act]:
    """Which acts, in what order: each kind by its share, and at least one of 40, mixed."""
    whole, least = sum(SHARES.values()), acts // 40
    drawn = [
        act for act, share in SHARES.items() for _ in range(max(-(-share * acts // whole), least))
    ]
    rng.shuffle(drawn)
    yield from drawn


def run(uri: str, acts: int, seed: int, *, quiet: bool = True) -> Result:
    """Carry the campaign out on a server."""
    result, rng, began_s = Result(seed), random.Random(seed), time.monotonic()
    with (
        fresh_database(uri) as growing,
        fresh_database(uri) as victim,
        TemporaryDirectory(prefix="affidavit-tamper-") as spool,
    ):
        log = build(growing, Path(spool))
        plain_copy(victim, log)
        untouched = check(victim, log)
        result.leaves, result.records = untouched.size, untouched.counts["matched"]
        for number, act in enumerate(plan(acts, rng), 1):
            one(victim, log, act, rng, result)
            if not quiet and number % 100 == 0:
                passed_s = time.monotonic() - began_s
                print(
                    f"{passed_s:6.0f} s  {number:5d} acts, {len(result.wrong)} wrong",
                    file=sys.stderr,
                    flush=True,
                )
        if check(victim, log).exit_code:
            text = "the log was not put back to what it was"
            result.rows["nothing"].wrong.append(text)
    result.took_s = time.monotonic() - began_s
    return result


def one(victim: Any, log: Log, act: Act, rng: random.Random, result: Result) -> None:
    """Do one act, verify, note, and put the log back."""
    name, clean = act.__name__, act in CLEAN
    row = result.rows.setdefault(name, Row(name, str(act.__doc__).strip().rstrip("."), clean))
    done = act(victim, log, rng)
    began_s = time.monotonic()
    report = check(victim, log, later=EARLY if act in LATER else None)
    result.verify_s += time.monotonic() - began_s
    row.acts += 1
    seen = [kind.value for kind in report.kinds]
    seen += ["unconfirmed"] if report.verdict is Verdict.UNCONFIRMED else []
    seen += (
        ["receipt"] if report.clean and len(report.anchored) < len(anchors_of(log.config)) else []
    )
    row.found += bool(seen)
    row.named.update(seen)
    if bool(seen) is clean:
        told = "; ".join([*(finding.text for finding in report.findings[:2]), *seen])
        row.wrong.append(f"{done.what or 'untouched'}: {told or 'nothing was found'}")
    restore(victim, log.whole, [name for name in NAMES if name in done.touched])


def table(result: Result) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| Act | What | Acts | Found | Missed | Accused | Named as |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    order = [act.__name__ for act in SHARES]
    for row in sorted(result.rows.values(), key=lambda row: order.index(row.kind)):
        missed = "-" if row.clean else str(row.acts - row.found)
        accused = str(row.found) if row.clean else "-"
        named = ", ".join(f"`{kind}` {count}" for kind, count in row.named.most_common()) or "-"
        lines.append(
            f"| {row.kind.replace('_', ' ')} | {row.what} | {row.acts} | "
            f"{'-' if row.clean else row.found} | {missed} | {accused} | {named} |"
        )
    return "\n".join(lines)


def page(result: Result, tested: str, server: str) -> str:
    """The whole page for the documentation."""
    harmful = [row for row in result.rows.values() if not row.clean]
    acts, found = sum(row.acts for row in harmful), sum(row.found for row in harmful)
    accused = sum(row.found for row in result.rows.values() if row.clean)
    return f"""<!-- Written by `make campaign-tamper`; do not edit. -->
# Tamper campaign

{datetime.now(UTC).date().isoformat()}, commit `{tested}`: **{acts:,} acts** of {len(harmful)} \
kinds on a log of {result.leaves:,} leaves in MongoDB {server} (Linux, Python \
{platform.python_version()}, PyMongo {pymongo.version}, {len(os.sched_getaffinity(0))} cores), \
seed {result.seed}, in {result.took_s / 60:.1f} minutes.

Found against a checkpoint kept outside: **{found:,} of {acts:,}**. Verifications of a log that \
nobody had tampered with, expired records included: {result.acts - acts:,}; of these accused: \
**{accused}**.

{table(result)}

{_HOW_TO_READ}"""


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.tamper", description=__doc__)
    parser.add_argument("--acts", type=int, default=200, help="about how many acts")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats the acts")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the page there")
    asked = parser.parse_args(arguments)
    tested = commit()  # before: others may commit while it runs
    with Mongod.start() as server, pymongo.MongoClient[Docs](server.uri) as client:
        version = client.server_info()["version"]
        result = run(server.uri, asked.acts, asked.seed, quiet=False)
    print(table(result))
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(page(result, tested, version), "utf-8")
    for text in result.wrong:
        print(f"wrong: {text}", file=sys.stderr)
    each_ms = result.verify_s / max(result.acts, 1) * 1000
    print(f"{result.acts} acts, {len(result.wrong)} wrong; {each_ms:.0f} ms each", file=sys.stderr)
    return 1 if result.wrong or not result.rows else 0


if __name__ == "__main__":
    sys.exit(main())
