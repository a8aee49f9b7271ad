"""Who watches a log, in words, for `status` and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Watched:
    """Who watches a log, and what that one saw last."""

    by: str | None
    """Host, process and a random name; None where nobody does."""
    looked_at: datetime | None
    firing: int
    """How many alerts fire."""
    pending: int

    def words(self, now: datetime) -> str:
        """Say it in a line."""
        if self.by is None and self.looked_at is None:
            return "nobody watches this log; `affidavit monitor` does"
        age_s = 0.0 if self.looked_at is None else (now - self.looked_at).total_seconds()
        seen = f"looked {max(0.0, age_s):.0f} s ago"
        who = f"{self.by} watches" if self.by is not None else "nobody watches at the moment"
        return f"{who}, {seen}: {self.firing} alerts fire, {self.pending} pending"
