"""Run the tests in two rounds: side by side what can be, then alone what measures or kills.

Further arguments go to pytest as they are, for example ``-k spool`` or ``tests/unit``. Each round
saves its results for ``python -m tests.support.requirements``. The last line counts both rounds.

Exit code: 0 when every test passed and at least one ran, else 1.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".cache" / "results"

# Two cores is what CI has; tests that share a server or a file are kept together by xdist_group.
ROUNDS = {
    "parallel": ["-m", "not serial", "-n", "2", "--dist", "loadgroup"],
    "serial": ["-m", "serial", "-n", "0"],
}
NOTHING_COLLECTED = 5


def run_round(name: str, arguments: list[str]) -> bool:
    """Run one round; True when nothing in it failed."""
    command = [sys.executable, "-m", "pytest", *ROUNDS[name], *arguments]
    command.append(f"--results={RESULTS / f'{name}.json'}")
    print(f"--- {name} tests", flush=True)
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    return code in {0, NOTHING_COLLECTED}


def count() -> Counter[str]:
    """The outcomes of all rounds: passed, failed, skipped."""
    outcomes: Counter[str] = Counter()
    for path in RESULTS.glob("*.json"):
        outcomes.update(row["outcome"] for row in json.loads(path.read_text(encoding="utf-8")))
    return outcomes


def main(arguments: list[str]) -> int:
    """Run both rounds, also when the first one fails, so that one run shows everything."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    if "--quiet" in arguments:
        arguments = ["-q" if argument == "--quiet" else argument for argument in arguments]
    verdicts = [run_round(name, arguments) for name in ROUNDS]
    outcomes = count()
    skipped = f", {outcomes['skipped']} skipped" if outcomes["skipped"] else ""
    print(f"total: {outcomes['passed']} passed, {outcomes['failed']} failed{skipped}")
    if not outcomes:
        print("No test ran.", file=sys.stderr)
        return 1
    return 0 if all(verdicts) and not outcomes["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
