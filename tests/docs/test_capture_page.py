"""The versions of the SDKs: the page, the extras, the locked ones and the script say the same."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from scripts.test_sdks import OLDEST
from tests.docs import pages

PAGE = "docs/how-to/capture.md"
SDKS = ["openai", "anthropic"]


def _row(name: str) -> list[str]:
    """The versions in a row of the page's table, in the order of the SDKs."""
    found = re.search(
        rf"^\| {name} \| (.*) \|$", (pages.ROOT / PAGE).read_text("utf-8"), re.MULTILINE
    )
    assert found is not None
    return found[1].split(" | ")


@pytest.mark.requirement("R1")
def test_the_oldest_sdks_stated_are_those_that_are_tested_and_asked_for() -> None:
    """The page, the script behind `make test-sdks`, and the extras."""
    assert _row("oldest supported") == [OLDEST[name] for name in SDKS]
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra in (*SDKS, "demo"):
        for requirement in map(Requirement, project["optional-dependencies"][extra]):
            if requirement.name in OLDEST:
                (bound,) = requirement.specifier
                assert (bound.operator, Version(bound.version)) == (
                    ">=",
                    Version(OLDEST[requirement.name]),
                )


@pytest.mark.requirement("R1")
def test_the_newest_sdks_stated_are_those_of_the_lock() -> None:
    """Whoever renews the lock renews the page."""
    lock = (pages.ROOT / "requirements" / "dev.txt").read_text("utf-8")
    locked = dict(re.findall(r"^([a-z][\w.-]*)==(\S+)", lock, re.MULTILINE))
    assert _row("newest tested") == [locked[name] for name in SDKS]
