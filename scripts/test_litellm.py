"""Run the tests of LiteLLM's callback with the real package, in an environment of its own.

The guard's tests with uvloop run there, too.

LiteLLM wants other versions of the SDKs than the rest of the tests, weighs 111 MB, and is no
dependency: it is not among the locked ones. This makes an environment under ``build/`` and so needs
the package index. Arguments: ``--oldest`` takes the oldest version that is supported instead of the
newest; others go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = "1.80.0"
"""What `affidavit doctor` says was tested at least."""

TESTS = [
    "tests/integration/capture/with_litellm.py",
    "tests/integration/capture/with_uvloop.py",
]

WANTED = (
    # Without these LiteLLM 1.106 has neither tools nor its local cache: both import its proxy.
    "fastapi",
    "mcp",
    "orjson",
    "soundfile",
    # The package, and what the tests' own support needs.
    "cryptography",
    "httpx",
    "hypothesis",
    "msgspec",
    "pymongo",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "rich",
    "typer",
    "uvloop",
)


def main(arguments: list[str]) -> int:
    """Make the environment and run the tests; 1 when one failed."""
    is_oldest = "--oldest" in arguments
    home = ROOT / "build" / ("litellm-oldest" if is_oldest else "litellm")
    python = str(home / "bin" / "python")
    if not Path(python).exists():
        venv.create(home, with_pip=True)
    wanted = f"litellm=={OLDEST}" if is_oldest else f"litellm>={OLDEST},<2"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, wanted, *WANTED], check=True)
    version = "from importlib.metadata import version as v; print('litellm', v('litellm'))"
    subprocess.run([python, "-c", version], check=True)
    # LiteLLM leaves sockets and loops open, for which the project's own tests would fail.
    given = [argument for argument in arguments if argument != "--oldest"] or TESTS
    command = [python, "-m", "pytest", "-q", "-o", "filterwarnings=default", *given]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
