"""One measured figure, and the tables made of many."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pymongo

_ANSWERS: Final = {True: "yes", False: "MISSED", None: ""}


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with what it is compared to, and the target if there is one."""

    key: str
    """A stable name, as ``caller.burst.high_volume``."""
    what: str
    value: float
    unit: str
    peer: str = ""
    """What the same run measured beside it."""
    peer_value: float | None = None
    ratio: float | None = None
    """The value over the peer's; medians of the ratios of single rounds."""
    target: str = ""
    met: bool | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data."""
        return asdict(self)

    def cells(self) -> list[str]:
        """Give one row of the table of results."""
        peer = ""
        if self.peer:
            shown = "" if self.peer_value is None else f" {number(self.peer_value)}"
            peer = f"{self.peer}{shown}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}×"
        measured = f"{number(self.value)} {self.unit}".strip()
        return [self.what, measured, peer, ratio, self.target, _ANSWERS[self.met], self.note]


HEAD: Final = ["measured", "value", "beside it, same run", "ratio", "target", "met", "note"]


def number(value: float) -> str:
    """Write a number with about three digits that matter."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.2g}"


def machine() -> str:
    """Describe the kind of machine, without naming it."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}"
    return f"{cores} cores, {system}, {python}, PyMongo {pymongo.version}"


def today() -> str:
    """Give the date, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def as_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set a table for a terminal."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)


def as_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set a table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
