"""Prometheus' own checker, which reads what we write for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``promtool`` with a text on its standard input.

    Raises FileNotFoundError where there is none; ``make setup`` brings it.
    """
    taken = ROOT / "build" / "promtool"
    command = shutil.which("promtool") or str(taken)
    return subprocess.run(
        [command, *arguments], check=False, capture_output=True, input=text, text=True, timeout=60
    )
