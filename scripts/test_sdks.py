"""Run the tests of capture with the oldest versions of the SDKs that are supported.

`make test` runs them with the newest, from the lock. This makes an environment of its own under
``build/`` with the locked dependencies and the old SDKs over them, and so needs the package index.
Arguments: ``--newest`` takes the newest that the index has instead; others go to pytest.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = {"openai": "1.92.0", "anthropic": "0.49.0"}
"""What the extras `openai` and `anthropic` ask for at least; a test compares them."""

TESTS = ["tests/golden", "tests/integration/capture", "tests/unit/capture"]
NEWEST_ONLY = "tests/integration/capture/test_provider.py"
"""Holds the canned provider against what the newest SDKs make of it; not about capture."""


def locked(names: set[str]) -> list[str]:
    """The lines of the development lock, without hashes and without these packages."""
    lines = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.partition("\\")[0].strip() for line in lines if re.match(r"[a-z]", line)]
    return [line for line in pinned if line.partition("==")[0] not in names]


def main(arguments: list[str]) -> int:
    """Make the environment and run the tests; 1 when one failed."""
    newest = "--newest" in arguments
    versions = dict.fromkeys(OLDEST, "") if newest else OLDEST
    home = ROOT / "build" / ("sdks-newest" if newest else "sdks-oldest")
    if not (home / "bin" / "python").exists():
        venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    wanted = home / "wanted.txt"
    # Old SDKs want other versions of what they share with ours: only they decide on those.
    theirs = set(OLDEST)
    wanted.write_text("\n".join(locked(theirs)), encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--no-deps", "--requirement", str(wanted)], check=True)
    sdks = [f"{name}=={version}" if version else name for name, version in versions.items()]
    subprocess.run([*install, "--upgrade", *sdks], check=True)
    subprocess.run([*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
                   check=True)  # fmt: skip
    listed = [python, "-m", "pip", "list", "--disable-pip-version-check", "--format=freeze"]
    found = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    print(*(line for line in found.splitlines() if line.partition("==")[0] in OLDEST), flush=True)
    given = [argument for argument in arguments if argument != "--newest"]
    command = [python, "-m", "pytest", "-q", f"--ignore={NEWEST_ONLY}", *(given or TESTS)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
