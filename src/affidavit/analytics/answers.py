"""The one shape of answers, and how it is written as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeVar

from affidavit.analytics.questions import Request
from affidavit.store.analytics import Source
from affidavit.tally.times import WEEKDAYS

EMPTY: Final = '""'
"""How an empty text is written where none is an empty field."""

_HOUR: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:00[+-]\d\d:\d\d", re.ASCII)
"""How the key of an hour is written."""

FORMULA: Final = (
    *("=", "+", "-", "@", "\t", "\r"),
    *("\uff1d", "\uff0b", "\uff0d", "\uff20"),
)
"""What a spreadsheet takes for the beginning of a formula: full-width signs, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group. Which call it holds stands in ``key``, under the names that were asked."""

    key: Mapping[str, str | None] = field(default_factory=dict)


R = TypeVar("R", bound=Row)
T = TypeVar("T", bound=Row)


@dataclass(frozen=True, slots=True)
class Answer(Generic[R, T]):
    """Rows, their totals, and what a reader must know to trust them."""

    question: str
    """``cost``, ``usage``, …"""
    asked: Mapping[str, Any]
    """Keys, filters and times, as the ledger notes them."""
    rows: tuple[R, ...]
    """The largest first; where a key is a time, in its order."""
    totals: T
    """Of all rows, also of those beyond ``top``."""
    since: datetime
    """Included; ``until`` is not."""
    until: datetime
    timezone: str
    """The reporting time zone: days and months are its own."""
    source: Literal["rollups", "records"]
    """``rollups`` or ``records``."""
    as_of: datetime
    """What was stored by then is counted."""
    notes: tuple[str, ...] = ()
    """What the sums leave out, what of them is a guess, why it was not quicker."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values: money as decimal texts, times in ISO 8601."""
        made: dict[str, Any] = plain(
            {
                "question": self.question,
                "asked": self.asked,
                "since": self.since,
                "until": self.until,
                "timezone": self.timezone,
                "source": self.source,
                "as_of": self.as_of,
                "notes": self.notes,
            }
        )
        made["rows"] = [flat(row) for row in self.rows]
        made["totals"] = flat(self.totals)
        return made

    def as_json(self, *, indent: int | None = 2) -> str:
        """Write it as JSON, in ASCII: control characters come out as escapes."""
        return json.dumps(self.as_dict(), indent=indent)

    def as_csv(self) -> str:
        """Write the rows as CSV (RFC 4180), with a line of names; no totals.

        A text that a spreadsheet would take for a formula gets an apostrophe in front, and what
        cannot be printed is written as an escape. An empty field stands for none; an empty text is
        two quotation marks, as in the tables.
        """
        rows = [flat(row) for row in self.rows]
        out = io.StringIO()
        written = csv.writer(out)
        empty = dict.fromkeys(self.asked.get("by", ())) | flat(self.totals)
        columns = [name for name in (rows[0] if rows else empty) if name != "key"]
        written.writerow(columns)
        for row in rows:
            written.writerow([_cell(row[name]) for name in columns])
        return out.getvalue()


def answer(
    question: str, request: Request, source: Source, rows: Sequence[R], totals: T, *notes: str
) -> Answer[R, T]:
    """Put an answer together; cuts the rows at what was asked, and says so."""
    said = list(notes)
    shown = tuple(rows[: request.top])
    if len(shown) < len(rows):
        said.append(f"{len(rows) - len(shown)} more rows are not shown; the totals include them.")
    kept = request.kept_since
    if kept is not None and request.span.since < kept:
        said.append(
            f"Records from before {kept:%Y-%m-%d %H:%M} UTC have expired, and do not count."
        )
    if request.span.until > request.now:
        said.append("The time asked for is not over yet.")
    return Answer(
        question,
        request.details,
        shown,
        totals,
        request.span.since,
        request.span.until,
        request.zone,
        source.name,
        source.as_of,
        (*source.notes, *said),
    )


def flat(row: Row) -> dict[str, Any]:
    """Write a row as one mapping: its keys by name, then its values."""
    key = dict(row.key)
    whole = {"key": next(iter(key.values())) if len(key) == 1 else list(key.values())}
    named: dict[str, Any] = {**(whole if key else {}), **key}
    values = {f.name: getattr(row, f.name) for f in fields(row) if f.name != "key"}
    written: dict[str, Any] = plain(named | values)
    return written


def plain(value: Any) -> Any:
    """Turn a value into what JSON has."""
    if isinstance(value, Decimal):
        return money(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def money(amount: Decimal, *, marks: bool = False) -> str:
    """Write an exact amount without the zeros at its end; ``marks`` stand between thousands."""
    text = f"{amount:,f}" if marks else f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def order(request: Request, rows: list[R], size: Mapping[int, int]) -> list[R]:
    """Sort rows: those of times by time, others with the largest first.

    ``size`` has what counts, by the row's identity.
    """
    if request.by_time:
        return sorted(rows, key=lambda row: [_place(text) for text in row.key.values()])
    return sorted(rows, key=lambda row: (-size[id(row)], [str(v) for v in row.key.values()]))


def _place(text: str | None) -> tuple[int, str]:
    if text in WEEKDAYS:
        return WEEKDAYS.index(text), ""
    if text is not None and _HOUR.fullmatch(text):  # the clock shows one hour of a year twice
        text = f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%dT%H:%M}"
    return 7, text or ""


def ratio(part: float, whole: float) -> float | None:
    """Divide, to six places; None where there is nothing to divide by."""
    return round(part / whole, 6) if whole else None


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    if not value:
        return EMPTY
    shown = value if value.isprintable() else "".join(map(_printable, value))
    return f"'{shown}" if value.startswith(FORMULA) and not _is_number(value) else shown


def _printable(character: str) -> str:
    return character if character.isprintable() else f"\\u{ord(character):04x}"


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdigit()
