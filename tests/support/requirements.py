"""Which requirement is shown by which tests, and with what result.

The pytest plugin in ``tests/conftest.py`` notes the requirement marks of each test with its result
in a small JSON file per run. This module turns those files into one table. It is a program too::

    python -m tests.support.requirements            # prints the table, exits 1 on a hole

A hole is a requirement that is owed by now and has no passing test, or has a failing one.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".cache" / "results"

REQUIREMENTS = {
    "R1": "Every request, response, rate-limit hit and security event is recorded",
    "R2": "MongoDB over the application's own connection, or over a URI",
    "R3": "The document shape, with the application's own fields",
    "R4": "The four indexes, on llm_audit of the application's database",
    "R5": "Retention by TTL, 90 days by default, changeable on a live collection",
    "R6": "A store outage loses no record and breaks no LLM call",
    "R7": "The two configuration profiles, with exactly their twelve keys",
    "R8": "Direct writes: acknowledged by the store before the call returns",
    "R9": "Batch writes: 10 events or 30 s, whichever first",
    "R10": "Compression of large fields, levels to 9",
    "R11": "Truncation of fields over 10 KB; no record is skipped",
    "R12": "Async writes never block the request",
    "R13": "Cost analytics by user and by department",
    "R14": "Usage patterns",
    "R15": "Performance and quality metrics",
    "R16": "Provider comparison",
    "R17": "Anomaly detection",
    "R18": "Rate-limit tracking",
    "R19": "Security events: bypass attempts and attacks",
    "R20": "Forensic analysis after an incident",
    "R21": "Compliance reports for external auditors",
    "R22": "Latency budget: +15 ms and +1.25 % is the claim to beat",
    "R23": "Threshold alerts, warning and critical",
    "R24": "Further alerts: slow operations, growth, pool, query plans",
    "R25": "The five dashboard metrics",
    "R26": "Index optimisation from real usage",
    "R27": "Backup with its own schedule, and a restore that is proved",
    "R28": "Performance baseline before and after auditing",
    "R29": "Phase 2: a separate audit database",
    "R30": "Phase 3: a column store, partitioned by month",
    "R31": "A migration playbook, executable, verified, reversible",
    "R32": "A scaling adviser",
    "R33": "Bounded side effects on the main database",
    "R34": "A compliance audit of the audit system itself",
    "R35": "Take over the collection that is there, old logger included",
    "R36": "The storage projections, measured and printed",
    "R37": "A scheduled and on-demand report",
}
"""The requirements by their number, shortened to one line each."""

OWED = frozenset(
    {
        *(f"R{number}" for number in range(1, 17)),
        *("R18", "R22", "R23", "R24", "R25", "R26", "R28", "R33", "R35", "R36"),
    }
)
"""What must be shown by now. It grows with the product."""

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """How one test ended: ``outcome`` is ``passed``, ``failed`` or ``skipped``."""

    test: str
    outcome: str
    requirements: tuple[str, ...] = ()


@dataclass(slots=True)
class Row:
    """One requirement with the tests that show it."""

    requirement: str
    results: list[Result] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """How many of the tests ended so."""
        return sum(result.outcome == outcome for result in self.results)

    @property
    def is_hole(self) -> bool:
        """Owed, and not shown; or shown to be broken."""
        if self.count(FAILED):
            return True
        return self.requirement in OWED and not self.count(PASSED)

    @property
    def verdict(self) -> str:
        """One word for the table."""
        if self.count(FAILED):
            return "FAILED"
        if self.count(PASSED):
            return "shown"
        return "HOLE" if self.requirement in OWED else "not yet"


def requirement_number(requirement: str) -> int:
    """The number in ``R12``, for sorting."""
    return int(requirement.removeprefix("R"))


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Save the results of one run of the tests."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"test": r.test, "outcome": r.outcome, "requirements": list(r.requirements)}
        for r in results
    ]
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def read_results(directory: Path = RESULTS) -> list[Result]:
    """The results of every run saved in ``directory``."""
    found: list[Result] = []
    for path in sorted(directory.glob("*.json")):
        found += [
            Result(row["test"], row["outcome"], tuple(row["requirements"]))
            for row in json.loads(path.read_text(encoding="utf-8"))
        ]
    return found


def table(results: Iterable[Result]) -> list[Row]:
    """One row for each requirement, in order."""
    rows = {requirement: Row(requirement) for requirement in REQUIREMENTS}
    for result in results:
        for requirement in result.requirements:
            rows[requirement].results.append(result)
    return sorted(rows.values(), key=lambda row: requirement_number(row.requirement))


def render(rows: Sequence[Row]) -> str:
    """The table as text: requirement, counts, verdict, and the tests below."""
    lines: list[str] = []
    for row in rows:
        counts = f"{row.count(PASSED):4} passed {row.count(FAILED):3} failed"
        text = REQUIREMENTS[row.requirement]
        lines.append(f"{row.requirement:<4} {row.verdict:<8} {counts}  {text}")
        lines += _test_lines(row)
    return "\n".join(lines)


def _test_lines(row: Row) -> list[str]:
    """The names of a row's tests; the parameters of one test are counted, not listed."""
    cases: Counter[str] = Counter()
    failed: set[str] = set()
    for result in row.results:
        name = result.test.partition("[")[0]
        cases[name] += 1
        if result.outcome == FAILED:
            failed.add(name)
    return [
        f"       {'FAILED ' if name in failed else ''}{name}{f' ({n} cases)' if n > 1 else ''}"
        for name, n in sorted(cases.items())
    ]


def main() -> int:
    """Print the table from the last run's results; 1 when something owed is not shown."""
    results = read_results()
    if not results:
        print("No results yet: run `make test` first.", file=sys.stderr)
        return 1
    rows = table(results)
    print(render(rows))
    holes = [row.requirement for row in rows if row.is_hole]
    shown = sum(row.requirement in OWED and not row.is_hole for row in rows)
    print(f"\n{shown} of {len(OWED)} requirements owed so far are shown.")
    if holes:
        print(f"Holes: {', '.join(holes)}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
