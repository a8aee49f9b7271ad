"""How wide the columns of a table are: figures are shown whole, or not in a table at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

GAP: Final = 2
"""Spaces between two columns."""
TEXT: Final = 26
"""What is left of a text at least: an id and a model's name with its date are that long."""


def fitted(
    columns: Sequence[str], cells: Sequence[Sequence[str]], kinds: Sequence[str], room: int
) -> list[int] | None:
    """Give a width for each column, or None where they do not fit into ``room`` characters.

    A column is of a ``figure`` (never narrower than its widest one), of ``words`` (breaks between
    them) or of ``text`` (breaks anywhere). Headings break between words.
    """
    full, least = [], []
    for number, (name, kind) in enumerate(zip(columns, kinds, strict=True)):
        values = [row[number] for row in cells]
        widest = max(map(width, values), default=0)
        head = max(map(width, name.split()), default=0)
        full.append(max(widest, width(name)))
        if kind == "words":
            words = (word for value in values for word in value.split())
            least.append(max(head, min(TEXT, max(map(width, words), default=0))))
        else:
            least.append(max(head, min(TEXT, widest) if kind == "text" else widest))
    left = room - GAP * (len(columns) - 1)
    if sum(least) > left:
        return None
    while (over := sum(full) - left) > 0:
        # The widest give way first, down to what the next one has or to their least.
        wide = max(now for now, small in zip(full, least, strict=True) if now > small)
        at = [i for i, now in enumerate(full) if now == wide and now > least[i]]
        below = max((now for now in full if now < wide), default=0)
        step = min(wide - max(below, *(least[i] for i in at)), -(-over // len(at)))
        for i in at:
            full[i] -= max(1, step)
    return full


def width(text: str) -> int:
    """Give the cells of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
