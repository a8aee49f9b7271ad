"""Run the tests of alerts by Apprise with the real package, in an environment of its own.

Apprise is an extra and not among the locked dependencies. This makes an environment under
``build/`` and so needs the package index. Arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

TESTS = ["tests/integration/with_apprise.py"]

WANTED = (
    "apprise>=1.9",
    # What the package and the tests' own support need.
    "cryptography",
    "hypothesis",
    "msgspec",
    "pymongo",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "rich",
    "typer",
)


def main(arguments: list[str]) -> int:
    """Make the environment and run the tests; 1 when one failed."""
    home = ROOT / "build" / "apprise"
    python = str(home / "bin" / "python")
    if not Path(python).exists():
        venv.create(home, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *WANTED], check=True)
    version = "from importlib.metadata import version as v; print('apprise', v('apprise'))"
    subprocess.run([python, "-c", version], check=True)
    # Apprise leaves sockets open, for which the project's own tests would fail.
    command = [python, "-m", "pytest", "-q", "-o", "filterwarnings=default", *(arguments or TESTS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
