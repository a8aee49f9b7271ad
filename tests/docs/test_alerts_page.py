"""The page on alerts: its settings are accepted, and its table is the defaults."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from affidavit import AuditConfig
from affidavit._monitor_settings import THRESHOLDS, read_budgets, read_thresholds
from tests.docs import pages

PAGE = Path("docs/how-to/alerts.md")
_SIZES = {"MB": 1024**2, "GB": 1024**3}

pytestmark = pytest.mark.requirement("R23", "R24")


def number(cell: str) -> float | None:
    """A cell of the table: empty, a number, or a size."""
    text, _, unit = cell.strip().partition(" ")
    return float(text) * _SIZES.get(unit, 1) if text else None


def test_every_rule_stands_in_the_table_with_its_defaults() -> None:
    """Names, both levels and the wait; in the order of the settings."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|$",
                      pages.prose(PAGE), re.MULTILINE)  # fmt: skip
    told = {
        name: (number(warning), number(critical), number(for_s) or 0.0)
        for names, warning, critical, for_s in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    assert told == {n: (t.warning, t.critical, t.for_s) for n, t in THRESHOLDS.items()}
    assert list(told) == list(THRESHOLDS)


def test_the_settings_on_the_page_are_accepted_as_they_stand() -> None:
    """Each block of TOML is a file that works."""
    blocks = pages.blocks(PAGE, "toml")
    assert len(blocks) == 5
    for block in blocks:
        config = AuditConfig(**tomllib.loads(block.text))
        assert read_thresholds(config.monitoring_thresholds)
        assert read_budgets(config.budgets)


def test_the_documents_thresholds_are_the_same_in_each_form_of_the_page() -> None:
    """In Python, as tables, and pasted into a text; and they are the defaults."""
    (python,) = pages.blocks(PAGE, "python")
    names: dict[str, Any] = {}
    exec(python.text, names)  # noqa: S102 - an example of our own page
    given = names["MONITORING_THRESHOLDS"]
    tables, pasted = (
        AuditConfig(**tomllib.loads(block.text)).monitoring_thresholds
        for block in pages.blocks(PAGE, "toml")
        if "daily_requests" in block.text
    )
    assert tables == given
    assert pasted == {name: given[name] for name in ("daily_requests", "storage_growth_rate")}
    assert read_thresholds(given) == read_thresholds(tables) == THRESHOLDS
