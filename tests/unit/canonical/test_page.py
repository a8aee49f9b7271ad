"""The page for outsiders says of every field what the program does with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from affidavit.canonical import GROUPS, record

pytestmark = pytest.mark.requirement("R21")

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "entry.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_every_clear_value_is_on_the_page() -> None:
    """Under its name in the entry, with the field it is made of."""
    said = {row[0].strip("`"): row[1].strip("`") for row in rows("In clear")}
    assert said.pop("v") == "1"
    assert said.pop("col").startswith("records")
    made = {shown: name for name, (shown, _) in record._CLEAR.items()}
    made |= {s: f"response_data.{name}" for name, (s, _) in record._RESPONSE_CLEAR.items()}
    assert said == made


def test_every_group_is_on_the_page() -> None:
    """With the fields that are in it, and no other."""
    said = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows("Groups")}
    assert said.keys() == GROUPS
    for group in set(record._GROUPED.values()):
        assert said[group] == {n for n, g in record._GROUPED.items() if g == group}
    assert said["request"] == record._REQUEST_OWN | {"request_data"}
    own = record._RESPONSE_OWN - record._RESPONSE_CLEAR.keys()
    assert said["response"] == own | {"response_data"}


def test_what_is_exempt_is_on_the_page() -> None:
    """Three fields, and nothing else."""
    assert {"salt", "salts", "erased"} == record.EXEMPT
    assert "but for `salt`, `salts` and `erased`" in " ".join(PAGE.split())
