"""The vendored tool of the browser's tests is the one that was published."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

VENDOR = Path(__file__).parent / "vendor"
_ROW = re.compile(
    r"^\| `([^`]+)` \| `([^`]+)` \| ([\d.]+) \| (\S+) \| `([^`]+)` \| `([0-9a-f]{64})` \|$",
    re.MULTILINE,
)


def test_axe_is_the_published_one() -> None:
    """It has a package, a version, a licence with its text, and a sum that holds."""
    rows = _ROW.findall((VENDOR / "README.md").read_text("utf-8"))
    assert [row[0] for row in rows] == ["axe.min.js"]
    (name, package, version, licence, text, digest), *_ = rows
    data = (VENDOR / name).read_bytes()
    assert sha256(data).hexdigest() == digest
    assert (package, licence) == ("axe-core", "MPL-2.0")
    assert f"axe v{version}".encode() in data[:200]
    assert "Mozilla Public License" in (VENDOR / text).read_text("utf-8")
