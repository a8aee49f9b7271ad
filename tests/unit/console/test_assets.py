"""The console's own files: vendored ones as they were published, small, and never inline."""

from __future__ import annotations

import gzip
import re
from hashlib import sha256
from pathlib import Path

import pytest

from affidavit.console import assets, figures

pytestmark = pytest.mark.requirement("R13")
ROOM = Path(figures.__file__).parent
VENDOR = ROOM / "static" / "vendor"
FIRST_LOAD = 150 * 1024
_ROW = re.compile(
    r"^\| `([^`]+)` \| `([^`]+)` \| ([\d.]+) \| (\S+) \| `([^`]+)` \| `([0-9a-f]{64})` \|$",
    re.MULTILINE,
)
_TEMPLATES = sorted((ROOM / "templates").glob("*.html"))


def test_vendored_files_are_those_that_were_published() -> None:
    """Each has a package, a version, a licence with its text, and a sum that holds."""
    rows = _ROW.findall((VENDOR / "README.md").read_text(encoding="utf-8"))
    named = {row[0] for row in rows}
    texts = {row[4] for row in rows}
    assert {path.name for path in VENDOR.iterdir()} == named | texts | {"README.md"}
    for name, _package, _version, licence, text, digest in rows:
        assert sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
        assert licence in {"0BSD", "MIT"}
        assert (VENDOR / text).stat().st_size > 200


def test_a_first_load_is_small() -> None:
    """Everything together, gzipped, is at most 150 KB."""
    total = sum(len(asset.zipped) for asset in assets.assets().values())
    assert total <= FIRST_LOAD, f"{total:,} bytes"


def test_an_address_holds_the_hash_and_finds_the_file() -> None:
    """A file is found by its own address alone, and zipped is the same."""
    for asset in assets.assets().values():
        found = assets.find(asset.url.removeprefix("/static/"))
        assert found is asset
        assert gzip.decompress(asset.zipped) == asset.data
    assert assets.find("000000000000/app.css") is None
    assert assets.find("../../render.py") is None
    assert assets.find("") is None


@pytest.mark.parametrize("path", _TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_anything_inline(path: Path) -> None:
    """No script, style or handler in a page: the policy of contents lets none run."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert "<style" not in text
    assert not re.search(r"\s(?:style|on[a-z]+)\s*=", text)
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    assert not re.search(r"hx-(?:on|vals)[:=]", text)
    assert "| safe" not in text
    assert "|safe" not in text


def test_every_form_that_posts_has_the_token() -> None:
    """No form is left that a session would refuse."""
    for path in _TEMPLATES:
        text = path.read_text(encoding="utf-8")
        forms = re.findall(r"<form\b[^>]*method=\"post\".*?</form>", text, re.DOTALL)
        for form in forms:
            if 'action="/login' in form:
                continue  # nobody has a session yet
            assert "csrf" in form, f"{path.name}: {form[:120]}"


def test_own_scripts_reach_no_other_host_and_evaluate_nothing() -> None:
    """What we wrote asks this service alone."""
    for name in ("app.js", "charts.js"):
        text = (ROOM / "static" / name).read_text(encoding="utf-8")
        assert "http://" not in text
        assert "https://" not in text
        assert "eval(" not in text
        assert "new Function" not in text
