"""What a check found: plain data for ``affidavit doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    WRONG = "wrong"
    """Needs doing; ``remedy`` says what."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: Level
    text: str
    remedy: str = ""
