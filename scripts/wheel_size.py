"""Download what `pip install affidavit` would download, and add up the bytes.

The tests bound the same figure without a network, from the installed files; this is the real one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "run.txt"
LIMIT_BYTES = 25 * 1000 * 1000


def main() -> int:
    """Print each wheel's size and the sum; 1 when the sum is over the limit."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--require-hashes", "--requirement", str(LOCK)]
        subprocess.run([*command, "--dest", directory], check=True)
        sizes = {path.name: path.stat().st_size for path in Path(directory).iterdir()}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{size:>12,}  {name}")
    total = sum(sizes.values())
    print(f"{total:>12,}  bytes in {len(sizes)} wheels (limit {LIMIT_BYTES:,})")
    return 0 if total <= LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
