"""How much of the processors somebody else used: a measurement of time means little beside that."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS_S = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # idle, and waiting for input or output


class ForeignLoad:
    """Measures the share of all processors that went to neither this process nor ``pids``."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._began = self._now()

    def share(self) -> float:
        """From 0 to 1, since the last question."""
        before, self._began = self._began, self._now()
        wall_s, busy_s, own_s = (new - old for new, old in zip(self._began, before, strict=True))
        return max(0.0, (busy_s - own_s) / (wall_s * (os.cpu_count() or 1)))

    def _now(self) -> tuple[float, float, float]:
        own_s = time.process_time() + sum(map(_cpu_s, self._pids))
        return time.monotonic(), _busy_s(), own_s


def _busy_s() -> float:
    line = Path("/proc/stat").read_text("ascii").splitlines()[0]
    numbers = [int(text) for text in line.split()[1:9]]
    return (sum(numbers) - sum(numbers[place] for place in _IDLE)) / _TICKS_S


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S
