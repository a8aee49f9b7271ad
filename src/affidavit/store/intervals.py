"""Records counted by interval of time: what a chart above a list shows. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

MOST: Final = 2000
"""Intervals that one question may have."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What came to its end within one interval; intervals without anything are not given."""

    at: datetime
    """Where it begins."""
    count: int
    failed: int
    cost_usd: Decimal
