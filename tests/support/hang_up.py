"""Running the command with a reader that has hung up, as ``head`` does after its lines."""

from __future__ import annotations

import os
import subprocess
import sys


def run_into_closed_pipe(
    *arguments: str, errors_too: bool = False, timeout_s: float = 60.0
) -> tuple[int, str]:
    """Exit code, and what the command says on standard error (nothing with ``errors_too``).

    Each line is written at once, so that the first meets the closed pipe.
    """
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "affidavit.cli", *arguments],
            check=False,
            stdout=write_end,
            stderr=write_end if errors_too else subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            text=True,
            timeout=timeout_s,
        )
    finally:
        os.close(write_end)
    return ended.returncode, ended.stderr or ""
