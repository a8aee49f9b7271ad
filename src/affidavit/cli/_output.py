"""Tables for people and JSON for programs, from the same values."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from affidavit.cli._text import escape, shorten
from affidavit.cli._widths import fitted, width

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 200
_GROUPED = 10_000
"""From here on a number has no decimals, and separators between its thousands."""


def console(*, stderr: bool = False) -> Console:
    """Make a console that takes nothing in a text as markup."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    wrapped: Sequence[str] = (),
    right: Sequence[str] = (),
) -> None:
    """Print a table. Nothing is cut off: what is wider than its column goes on in the next line.

    Columns named in ``wrapped`` hold words, and give way first to others. Figures never break; they
    stand to the right: known columns by themselves, and those named in ``right``. Where the screen
    is too narrow for figures and names, the table is written row by row, a line a value.
    """
    from rich.table import Table
    from rich.text import Text

    out = console()
    cells = [[escape(cell(value)) for value in row] for row in rows]
    figures = {
        name
        for name in columns
        if name in right or name.endswith((" ms", "tokens", "calls", "failed", "cost USD"))
    }
    kinds = ["words" if n in wrapped else "figure" if n in figures else "text" for n in columns]
    widths = fitted(columns, cells, kinds, out.width)
    if widths is None:
        _rows(columns, cells)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        shown.add_column(
            name,
            overflow="fold",
            justify="right" if name in figures else "left",
            width=widths[number],
        )
    for row in cells:
        shown.add_row(*map(Text, row))
    out.print(shown)


def _rows(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of a name and a value, an empty line between two rows."""
    names = max(map(width, columns))
    for number, row in enumerate(cells):
        if number:
            raw("")
        for name, value in zip(columns, row, strict=True):
            if value:
                raw(f"{name.strip():{names}}  {value}")


def say(text: str) -> None:
    """Print one line of our own words."""
    sys.stdout.write(f"{escape(text)}\n")


def raw(text: str) -> None:
    """Print one line that has been escaped already."""
    sys.stdout.write(f"{text}\n")


def flush() -> None:
    """Hand on what was printed, for a reader that waits while the command goes on."""
    sys.stdout.flush()


def note(text: str) -> None:
    """Print one line beside the result, where it does not disturb a program that reads it."""
    sys.stderr.write(f"{escape(text)}\n")


def cell(value: object) -> str:
    """Write a value for a table."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal | float):
        return money(value) if isinstance(value, Decimal) else figure(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=_json, ensure_ascii=False)
    return str(value)


def figure(value: float) -> str:
    """Write a measured number for people: no power of ten where there is none in their heads."""
    return f"{value:,.0f}" if abs(value) >= _GROUPED else f"{value + 0.0:g}"


def money(value: Decimal) -> str:
    """Write an exact amount without the zeros at its end."""
    text = f"{value:f}" if value else "0"  # an amount may be a zero with a sign
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment(value: object) -> str:
    """Write a time in UTC, to the millisecond; anything else as it is."""
    if not isinstance(value, datetime):
        return "-" if value is None else shorten(escape(str(value)), 23)
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def as_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON: times in ISO 8601, money and ids as texts, bytes in base64."""
    # ASCII only: control characters and bidirectional marks come out as \\u escapes.
    sys.stdout.write(json.dumps(value, indent=indent, default=_json, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value).replace(" ", "T") + "Z"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)
