"""What tables of people round and shorten: shares that add up, names that stay distinct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from math import floor
from typing import Final

from affidavit.cli._text import escape
from affidavit.cli._widths import width

LONGEST: Final = 40
"""Cells of a terminal that a name takes at most: a UUID and a model with its date are shorter."""
CUT: Final = "…"
_TENTHS: Final = 1000
"""Of a percent in a whole."""


def percent(part: float) -> str:
    """Write a part as percent with one decimal; never as -0.0."""
    return f"{round(100 * part, 1) + 0.0:.1f}"


def percents(parts: Sequence[float | None]) -> list[str | None]:
    """Write shares of one whole as percent, so that those that are shown add up to their sum.

    Each is rounded down, and what is left goes to those that lost most: none is off by more than
    a tenth of a percent.
    """
    values = {at: part * _TENTHS for at, part in enumerate(parts) if part is not None}
    # Shares have six decimals: one that is whole but for those must not lose a tenth.
    down = {at: floor(value + 1e-6) for at, value in values.items()}
    missing = round(sum(values.values())) - sum(down.values())
    for at in sorted(values, key=lambda at: down[at] - values[at])[: max(0, missing)]:
        down[at] += 1
    return [f"{down[at] / 10:.1f}" if at in down else None for at in range(len(parts))]


def distinct(names: Iterable[str], longest: int = LONGEST) -> dict[str, str]:
    """Shorten long names in their middle; two that differ stay different.

    Where the beginning and the end of two are the same, a part of a hash stands between them.
    """
    whole = {name: escape(name) for name in {*names}}
    long = [name for name, text in whole.items() if width(text) > longest]
    cut = {name: middle(whole[name], longest) for name in long}
    times = Counter(cut.values())
    made = {name: text for name, text in whole.items() if name not in cut}
    taken = {*made.values()}
    for name in sorted(long):
        shown = cut[name]
        digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        size = 4
        while shown in taken or (times[shown] > 1 and shown == cut[name]):
            shown = middle(whole[name], longest, f"{CUT}{digest[:size]}")
            size += 1
        taken.add(shown)
        made[name] = shown
    return made


def middle(text: str, longest: int, mark: str = "") -> str:
    """Cut a text out of its middle, so that it takes ``longest`` cells at most."""
    between = f"{mark}{CUT}"
    room = longest - width(between)
    head = _fitting(text, room - room // 2)
    tail = _fitting(text[::-1], room // 2)[::-1]
    return f"{head}{between}{tail}"


def _fitting(text: str, room: int) -> str:
    kept = text[:room]
    while width(kept) > room:
        kept = kept[:-1]
    return kept
