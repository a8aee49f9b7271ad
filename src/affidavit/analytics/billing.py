"""Reading a provider's own export of usage or cost: pure functions of text.

Exports are sums by hour or day, of a model, an API key, a project. Their columns have changed over
the years and differ between what the console gives and what the API gives, so each meaning has
several names here. What cannot be read is an error that names file, line and column, and never a
guess: a number with a separator in it may be a thousand, or a decimal.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, Overflow
from typing import Any, Final, Literal

from affidavit.errors import ConfigError

Provider = Literal["openai", "anthropic"]
PROVIDERS: Final[tuple[Provider, ...]] = ("openai", "anthropic")

EXACT: Final = Context(prec=100, traps=[Inexact, Overflow])
"""Sums of money are exact, or an error."""

MOST_ROWS: Final = 1_000_000
MOST_BYTES: Final = 64 * 1024**2
_SHOWN: Final = 40
_WHOLE: Final = re.compile(r"[0-9]{1,15}(\.0{1,9})?")
_MONEY: Final = re.compile(r"[-+]?[0-9]{1,15}(\.[0-9]{1,25})?([eE][-+]?[0-9]{1,2})?")
_SECONDS: Final = re.compile(r"[0-9]{10}(\.0+)?")
_ZERO: Final = Decimal(0)
_HALF_CENT: Final = Decimal("0.005")
_ROUNDING: Final = frozenset({"anthropic"})
"""Whose console rounds the cost of each line to cents."""

_TIME: Final = "day"
_MODEL: Final = "model"
_NAMES: Final[Mapping[Provider, Mapping[str, tuple[str, ...]]]] = {
    "openai": {
        _TIME: (
            "start_time_iso", "start_time", "date", "usage_date", "usage_date_utc", "timestamp",
        ),
        _MODEL: ("model", "snapshot_id", "line_item"),
        "requests": ("num_model_requests", "num_requests", "n_requests", "requests"),
        "input_tokens": (
            "input_tokens", "n_context_tokens_total", "n_context_tokens", "prompt_tokens",
        ),
        "output_tokens": (
            "output_tokens", "n_generated_tokens_total", "n_generated_tokens", "completion_tokens",
        ),
        "cost_usd": ("amount_value", "cost_usd", "cost_in_usd", "cost", "amount"),
        "currency": ("amount_currency", "currency"),
    },
    "anthropic": {
        _TIME: ("usage_date_utc", "usage_date", "date", "starting_at"),
        _MODEL: ("model_version", "model"),
        "requests": ("request_count", "requests"),
        "input_tokens": ("usage_input_tokens_no_cache", "uncached_input_tokens", "input_tokens"),
        "output_tokens": ("usage_output_tokens", "output_tokens"),
        "cost_usd": ("cost_usd",),
        "currency": ("currency",),
    },
}  # fmt: skip
"""What each meaning is called, the first that is there counts."""

_MORE_INPUT: Final = (
    "usage_input_tokens_cache_write", "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h", "usage_input_tokens_cache_read",
    "cache_creation_input_tokens", "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens", "cache_read_input_tokens",
)  # fmt: skip
"""Anthropic counts cached tokens apart; here they belong to the input, as in the records."""

_MEASURES: Final = ("requests", "input_tokens", "output_tokens", "cost_usd")
_NO_MODEL: Final = frozenset({"", "--", "-", "null", "none", "n/a"})
_OTHERWISE: Final = ("cost_type", "usage_type", "line_item")
"""What a line without a model is about."""

_DATED: Final = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d|\d{4}|latest)$")


@dataclass(slots=True)
class Billed:
    """What the provider counts for a day and model; None where the export does not say."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    rounding_usd: Decimal = _ZERO
    """By so much the cost may be off because the export rounds its amounts."""

    def add(self, said: Mapping[str, Any], rounding: Decimal = _ZERO) -> None:
        """Add a line of the export."""
        for name in ("requests", "input_tokens", "output_tokens"):
            if said.get(name) is not None:
                setattr(self, name, (getattr(self, name) or 0) + said[name])
        if said.get("cost_usd") is not None:
            self.cost_usd = EXACT.add(self.cost_usd or _ZERO, said["cost_usd"])
            self.rounding_usd = EXACT.add(self.rounding_usd, rounding)


@dataclass(slots=True)
class Export:
    """One or more files of a provider, added up by day and model."""

    provider: Provider
    by: dict[tuple[date, str], Billed] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """How the export writes a model."""
    by_day: dict[date, Billed] = field(default_factory=dict)
    """Costs of which the export does not say the model."""
    days: set[date] = field(default_factory=set)
    told: dict[str, set[date]] = field(default_factory=dict)
    """Which days each measure was told of, to notice a day that two files tell."""
    covered: dict[str, set[date]] = field(default_factory=dict)
    """Days of the files that have a column for the measure, whichever rows are taken.

    A file may have the column and no day: then it tells of the days that :meth:`covers` names.
    """
    unmatched: list[str] = field(default_factory=list)
    """Files of which no row was the one that was chosen by column."""
    rows: int = 0

    def covers(self, day: date) -> None:
        """Let every measure be told of a day: the export covers it, and has no line for it."""
        self.days.add(day)
        for days in self.covered.values():
            days.add(day)

    @property
    def measures(self) -> list[str]:
        """What the export tells at all."""
        return [name for name in _MEASURES if name in self.covered]


def family(model: str) -> str:
    """Give the name by which a model is compared: ``Claude Haiku 4.5`` is ``claude-haiku-4-5``.

    Versions by date are one model here: exports of cost do not tell them apart.
    """
    name = re.sub(r"[\s_.]+", "-", model.strip().lower()).strip("-")
    while (shorter := _DATED.sub("", name)) != name:
        name = shorter
    first, *rest = name.split("-")
    if first == "claude":  # claude-3-5-sonnet and Claude Sonnet 3.5
        rest.sort(key=str.isdigit)
    return "-".join((first, *rest))


def read_export(
    export: Export, name: str, data: bytes, only: Mapping[str, str] | None = None
) -> None:
    """Add a file to an export. ``name`` is how errors call it; ``only`` chooses rows by column.

    Raises ConfigError, naming line and column, for what is no such export.
    """
    rows = _rows(name, _decoded(name, data))
    line, header = next(rows, (1, []))
    columns = _columns(export.provider, name, header, only or {})
    told: dict[str, set[date]] = {}
    taken = Export(export.provider)
    matched = False
    for line, cells in rows:
        if not any(cells):
            continue
        if len(cells) != len(header):
            msg = f"{name}, line {line}: {len(cells)} cells, and the first line has {len(header)}."
            raise ConfigError(msg)
        row = _Row(name, line, dict(zip(header, cells, strict=True)))
        matched |= _add(taken, row, columns, only or {}, told)
    if only and taken.days and not matched:
        taken.unmatched.append(name)
    for measure in _MEASURES:
        if measure in columns:
            taken.covered[measure] = set(taken.days)
    for measure, days in told.items():
        twice = days & export.told.get(measure, set())
        if twice:
            msg = (
                f"{name}: another file tells {measure} of {min(twice)} too, so it would count "
                "twice. Give each day in one file of each kind."
            )
            raise ConfigError(msg)
        export.told.setdefault(measure, set()).update(days)
    _merge(export, taken)


def _merge(export: Export, taken: Export) -> None:
    for key, billed in taken.by.items():
        _add_billed(export.by.setdefault(key, Billed()), billed)
    for day, billed in taken.by_day.items():
        _add_billed(export.by_day.setdefault(day, Billed()), billed)
    export.names = {**taken.names, **export.names}
    export.days |= taken.days
    for measure, days in taken.covered.items():
        export.covered.setdefault(measure, set()).update(days)
    export.unmatched += taken.unmatched
    export.rows += taken.rows


def _add_billed(to: Billed, billed: Billed) -> None:
    to.add({name: getattr(billed, name) for name in _MEASURES}, billed.rounding_usd)


# -- lines -----------------------------------------------------------------------------------------


def _decoded(name: str, data: bytes) -> str:
    if len(data) > MOST_BYTES:
        msg = f"{name} has more than {MOST_BYTES // 1024**2} MiB. Export a shorter time."
        raise ConfigError(msg)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        msg = f"{name}, line {line}: no text in UTF-8. Take the file as the provider gave it."
        raise ConfigError(msg) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        msg = f"{name}, line {line}: a zero byte. Take the file as the provider gave it."
        raise ConfigError(msg)
    return text


def _rows(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for count, cells in enumerate(reader):
            if count > MOST_ROWS:
                msg = f"{name} has more than {MOST_ROWS:,} lines. Export a shorter time."
                raise ConfigError(msg)
            stripped = [cell.strip() for cell in cells]
            yield line, [_column(c) for c in stripped] if count == 0 else stripped
            line = reader.line_num + 1
    except csv.Error as error:
        msg = f"{name}, line {line}: no CSV that can be read ({error})."
        raise ConfigError(msg) from error


def _column(title: str) -> str:
    return re.sub(r"[\s()]+", "_", title.lower()).strip("_")


def _columns(
    provider: Provider, name: str, header: Sequence[str], only: Mapping[str, str]
) -> dict[str, str]:
    """Find the column of each meaning."""
    found: dict[str, str] = {}
    for meaning, names in _NAMES[provider].items():
        held = [title for title in names if title in header]
        if held:
            found[meaning] = held[0]
    there = ", ".join(_shown(title) for title in header[:20]) or "none"
    if _TIME not in found:
        wanted = ", ".join(_NAMES[provider][_TIME])
        msg = f"{name}, line 1: no column with the day ({wanted}). There are: {there}."
        raise ConfigError(msg)
    if not any(measure in found for measure in _MEASURES):
        msg = f"{name}, line 1: no column with requests, tokens or cost. There are: {there}."
        raise ConfigError(msg)
    for title in (*found.values(), *only):
        if header.count(title) > 1:
            msg = f"{name}, line 1: the column {_shown(title)} is there twice."
            raise ConfigError(msg)
        if title not in header:
            msg = f"{name}, line 1: no column {_shown(title)}. There are: {there}."
            raise ConfigError(msg)
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    """One line, whose cells are read with their place in mind."""

    name: str
    line: int
    cells: Mapping[str, str]

    def wrong(self, column: str, wanted: str) -> ConfigError:
        held = _shown(self.cells[column])
        return ConfigError(
            f"{self.name}, line {self.line}, column {column}: {held} is no {wanted}."
        )

    def day(self, column: str) -> date:
        text = self.cells[column]
        try:
            if _SECONDS.fullmatch(text):
                return datetime.fromtimestamp(int(text.partition(".")[0]), UTC).date()
            at = datetime.fromisoformat(text.removesuffix(" UTC").replace("/", "-"))
            found = (at.astimezone(UTC) if at.tzinfo else at).date()
        except (ValueError, OverflowError) as error:
            raise self.wrong(column, "day or time (2026-11-01, or seconds since 1970)") from error
        if not 2015 <= found.year < 2200:  # noqa: PLR2004 - no model was billed before or after
            raise self.wrong(column, "day of this century")
        return found

    def whole(self, column: str) -> int | None:
        text = self.cells[column]
        if not text:
            return None
        if not _WHOLE.fullmatch(text):
            raise self.wrong(column, "whole number without separators")
        return int(text.partition(".")[0])

    def money(self, column: str) -> tuple[Decimal | None, Decimal]:
        """Read an amount, and by how much it is off if it was rounded to cents."""
        text = self.cells[column].removeprefix("$")
        if not text:
            return None, _ZERO
        if not _MONEY.fullmatch(text):
            raise self.wrong(column, "amount of dollars (1234.56, without other separators)")
        decimals = text.partition(".")[2]
        in_cents = len(decimals) <= 2 and "e" not in text.lower()  # noqa: PLR2004 - as cents have
        return Decimal(text), _HALF_CENT if in_cents else _ZERO


def _add(
    taken: Export,
    row: _Row,
    columns: Mapping[str, str],
    only: Mapping[str, str],
    told: dict[str, set[date]],
) -> bool:
    """Add a line; False where it is not one of those that were chosen."""
    day = row.day(columns[_TIME])
    taken.days.add(day)
    if any(row.cells[column] != value for column, value in only.items()):
        return False
    said: dict[str, Any] = {
        measure: row.whole(columns[measure])
        for measure in ("requests", "input_tokens", "output_tokens")
        if measure in columns
    }
    if taken.provider == "anthropic" and said.get("input_tokens") is not None:
        more = (row.whole(column) for column in _MORE_INPUT if column in row.cells)
        said["input_tokens"] += sum(count or 0 for count in more)
    rounding = _ZERO
    if "cost_usd" in columns:
        said["cost_usd"], rounding = row.money(columns["cost_usd"])
        rounding = rounding if taken.provider in _ROUNDING else _ZERO
        currency = columns.get("currency")
        if currency and said["cost_usd"] and row.cells[currency].lower() not in {"usd", ""}:
            raise row.wrong(currency, "currency that is compared: the log counts US dollars")
    for measure in _MEASURES:
        if measure in columns:
            told.setdefault(measure, set()).add(day)
    if not any(said.values()):
        return True
    taken.rows += 1
    name = _model(row, columns)
    if name is None:
        taken.by_day.setdefault(day, Billed()).add(said, rounding)
        return True
    key = family(name)
    taken.names.setdefault(key, name)
    taken.by.setdefault((day, key), Billed()).add(said, rounding)
    return True


def _model(row: _Row, columns: Mapping[str, str]) -> str | None:
    """Tell the model of a line, or what else it is about; None where it does not say."""
    column = columns.get(_MODEL)
    text = row.cells[column] if column else ""
    if column == "line_item":
        text = text.split(", ")[0]  # "gpt-4o-mini-2024-07-18, cached input"
    if text.lower() not in _NO_MODEL:
        return text
    named = (row.cells.get(other, "") for other in _OTHERWISE)
    return next((other for other in named if other.lower() not in _NO_MODEL), None)


def _shown(text: str) -> str:
    """Show what stands in a cell, short and harmless to a terminal."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
