"""A sample of the canary campaign: one mode, and the control that shows that the search finds."""

from __future__ import annotations

import pytest

from tests.faults.canary import Round, control

pytestmark = [pytest.mark.requirement("R21"), pytest.mark.serial, pytest.mark.timeout(400)]


def test_no_secret_is_left_anywhere() -> None:
    """Through every field and path: in no file, document, log or output."""
    round_ = Round("high_volume", seed=101)
    outcome = round_.run()
    round_.clean()
    assert outcome.found == []
    assert outcome.records > 50
    assert outcome.dead_letters > 0
    assert outcome.spooled_files > 0


def test_the_search_finds_what_is_there() -> None:
    """With redaction off, every secret shows in spool, documents and output."""
    assert control(seed=102) == []
