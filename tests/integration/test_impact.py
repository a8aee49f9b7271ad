"""The share of the database's work that is the log's, under loads whose share is known."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from tests.support.known_share import LOADS, measure

if TYPE_CHECKING:
    from affidavit.demo.mongod import Mongod

pytestmark = [pytest.mark.requirement("R25", "R33"), pytest.mark.serial]


@pytest.mark.parametrize("load", LOADS)
def test_the_share_is_told_within_five_points(private_mongod: Mongod, load: str) -> None:
    """Known is what the kernel counts of the server's processor time in each one's blocks."""
    rounds = measure(private_mongod, load)
    off = [abs(each.told - each.known) for each in rounds]
    assert statistics.median(off) <= 5.0, rounds
