"""Where outcomes of rolling verifications are kept; apart, so that to look at them costs little."""

from __future__ import annotations

from typing import Final

OUTCOME: Final = "verified"
"""What ids of outcomes among the seals begin with."""
