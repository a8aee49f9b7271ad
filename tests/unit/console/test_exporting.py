"""How the cells of an export are written."""

from __future__ import annotations

import pytest

from affidavit.console.exporting import _cell

pytestmark = pytest.mark.requirement("R13")


@pytest.mark.parametrize("sign", "=+-@\t\r\uff1d\uff0b\uff0d\uff20")
def test_no_sign_of_a_formula_begins_a_cell(sign: str) -> None:
    """Spreadsheets of East Asia read full-width signs as the others."""
    assert _cell(f"{sign}cmd()").startswith("'")
