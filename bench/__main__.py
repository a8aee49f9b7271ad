"""``python -m bench``: run the sections, print the tables, write the documents if asked."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench import claims
from bench.measure import Effort
from bench.report import HEAD, Figure, as_markdown, as_text, machine, today

SECTIONS: Final = {
    "caller": "caller's cost per call, burst and paced, in every mode",
    "throughput": "acknowledged records/s, 1 and 32 callers",
    "sustained": "records/s until stored, high volume",
    "loop_lag": "event-loop lag at 500 calls/s",
    "foreground": "other work on the same database",
    "share": "share of a 1,200 ms call",
    "storage": "bytes a call",
    "writes": "what batching, compression and truncation save",
    "redaction": "the writer's time for redacting clean text",
    "views": "how fast the views answer",
    "wrapping": "what capturing an SDK's client costs",
    "integrity": "what proving the log costs",
    "sealing": "how fast the log is sealed",
    "verifying": "how fast the log is verified",
    "serving": "recording over HTTP",
    "console": "how fast the console's pages are",
}
ROOT: Final = Path(__file__).parents[1]


def main() -> int:
    """Run; 0 when everything was measured, whether targets were met or missed; else 2."""
    arguments = _arguments()
    effort = Effort[arguments.effort.upper()]
    if arguments.section:
        return _section(arguments.section, Path(arguments.result), effort)
    chosen = arguments.only or list(SECTIONS)
    figures: list[Figure] = []
    failed: list[str] = []
    started_s = time.monotonic()
    for name in chosen:
        _say(f"{name}: {SECTIONS[name]}")
        found = _run_apart(name, effort)
        if found is None:
            failed.append(name)
        figures += found or []
    took_s = time.monotonic() - started_s
    if arguments.json:
        print(json.dumps(_as_json(figures, failed, took_s), indent=2, ensure_ascii=False))
    else:
        print(_as_tables(figures, took_s, effort))
    for name in failed:
        _say(f"{name} FAILED: it gives no figures; see above")
    if arguments.out:
        _write(Path(arguments.out), figures, took_s, effort)
    return 2 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, help="only this section; may be repeated"
    )
    parser.add_argument(
        "--quick",
        dest="effort",
        action="store_const",
        const="quick",
        help="a look of a minute or two; the noise is large",
    )
    parser.add_argument(
        "--effort", choices=[e.name.lower() for e in Effort], help=argparse.SUPPRESS
    )
    parser.set_defaults(effort="full")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--out", metavar="FOLDER", help="write benchmarks.md and claims.md there")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    return parser.parse_args()


def _section(name: str, result: Path, effort: Effort) -> int:
    """Be the process of one section: measure, and leave the figures in a file."""
    figures: list[Figure] = importlib.import_module(f"bench.{name}").run(effort)
    result.write_text(json.dumps([figure.as_dict() for figure in figures]), "utf-8")
    return 0


def _run_apart(name: str, effort: Effort) -> list[Figure] | None:
    """Run one section in a process of its own; None if it failed."""
    with tempfile.TemporaryDirectory(prefix="affidavit-bench-") as folder:
        result = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "bench", "--section", name, "--result", str(result)]
        # Settings of the person who runs it must not colour the result.
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AFFIDAVIT_")}
        clean["XDG_STATE_HOME"] = folder
        command += ["--effort", effort.name.lower()]
        ended = subprocess.run(command, cwd=ROOT, env=clean, check=False)
        if ended.returncode or not result.exists():
            return None
        return [Figure(**values) for values in json.loads(result.read_text("utf-8"))]


def _as_json(figures: list[Figure], failed: list[str], took_s: float) -> dict[str, object]:
    by_key = {figure.key: figure for figure in figures}
    return {
        "date": today(),
        "machine": machine(),
        "took_s": round(took_s),
        "failed": failed,
        "figures": [figure.as_dict() for figure in figures],
        "claims": [
            dict(zip(("claim", "measured", "holds"), row, strict=True))
            for row in claims.rows(by_key)
        ],
    }


def _as_tables(figures: list[Figure], took_s: float, effort: Effort) -> str:
    by_key = {figure.key: figure for figure in figures}
    parts = [
        _about(took_s, effort),
        as_text(HEAD, [figure.cells() for figure in figures]),
        "MB a month",
        as_text(claims.PROJECTION_HEAD, claims.projection_rows(by_key)),
        "The document's claims",
        as_text(claims.HEAD, claims.rows(by_key)),
        _verdict(figures),
    ]
    return "\n\n".join(parts)


def _about(took_s: float, effort: Effort) -> str:
    kind = effort.of("whole run", "quick look, noisy", "test of the benchmark itself")
    return f"{today()}, {machine()}, {kind}, {took_s / 60:.1f} minutes"


def _verdict(figures: list[Figure]) -> str:
    with_target = [figure for figure in figures if figure.met is not None]
    missed = [figure.what for figure in with_target if not figure.met]
    text = f"{len(with_target) - len(missed)} of {len(with_target)} targets met."
    return text + "".join(f"\nMissed: {what}" for what in missed)


def _write(folder: Path, figures: list[Figure], took_s: float, effort: Effort) -> None:
    """Write the two documents; the command writes them, nobody edits them."""
    by_key = {figure.key: figure for figure in figures}
    about = _about(took_s, effort)
    folder.mkdir(parents=True, exist_ok=True)
    table = as_markdown(HEAD, [figure.cells() for figure in figures])
    verdict = _verdict(figures).replace("\n", "\n\n")
    (folder / "benchmarks.md").write_text(
        f"# Benchmarks\n\nWritten by `make bench` (`python -m bench --out docs`): {about}.\n\n"
        f"{_METHOD}\n\n{table}\n\n{verdict}\n",
        "utf-8",
    )
    projections = as_markdown(claims.PROJECTION_HEAD, claims.projection_rows(by_key))
    table = as_markdown(claims.HEAD, claims.rows(by_key))
    (folder / "claims.md").write_text(
        "# The analysis document's claims, measured\n\nWritten by `make bench` "
        f"(`python -m bench --out docs`): {about}.\n\n{_CLAIMS}\n\n{table}\n\n"
        f"## Storage at the document's volumes\n\n{_PROJECTIONS}\n\n{projections}\n",
        "utf-8",
    )
    _say(f"wrote {folder / 'benchmarks.md'} and {folder / 'claims.md'}")


_METHOD: Final = """\
Ours and raw PyMongo are measured in the same run, on the same `mongod`, in turns (A B, then B A),
and the medians over rounds are shown. A ratio is the median of the ratios of single rounds. Look at
ratios rather than at absolute figures: those belong to the machine. A call is two records of ours
with 2 KB of prompt and 2.5 KB of answer unless it says otherwise; each module under `bench/` says
exactly what it does. A missed target is shown as missed."""

_CLAIMS: Final = """\
The document this project started from (an analysis of an audit logger written by hand) claims the
figures on the left. What holds and what does not is shown as it was measured."""

_PROJECTIONS: Final = """\
Data and indexes of the records, in 30 days, without expiry. Heartbeats add a constant of at most
24 hours, and the ledger some records a day. In brackets: beside the document's 100 MB a month of
main data."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
