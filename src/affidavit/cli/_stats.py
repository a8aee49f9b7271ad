"""Answers as tables for people, and as JSON and CSV for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from affidavit.analytics.answers import EMPTY, Answer, Row
from affidavit.cli import _output as output
from affidavit.cli._fitting import CUT, distinct, percent, percents

Shown = Mapping[str, str]

_COST: Final = {
    "calls": "calls",
    "tokens": "tokens",
    "cost_usd": "cost USD",
    "share": "share %",
    "per_call_usd": "a call USD",
    "previous_usd": "before USD",
    "change": "change %",
    "unpriced": "unpriced",
}
_CALLS: Final = {
    "at": "time (UTC)",
    "call_id": "call",
    "user": "user",
    "model": "model",
    "status": "status",
    "tokens": "tokens",
    "latency_ms": "took ms",
    "cost_usd": "cost USD",
    "share": "share %",
    "all_calls": "all calls",
    "all_usd": "all USD",
}
_BUDGET: Final = {
    "state": "state",
    "budget_usd": "budget USD",
    "actual_usd": "actual USD",
    "used": "used %",
    "projected_usd": "projected USD",
}
_USAGE: Final = {
    "calls": "calls",
    "share": "share %",
    "users": "users",
    "sessions": "sessions",
    "failed": "failed",
    "tokens": "tokens",
    "input_tokens": "in tokens",
    "output_tokens": "out tokens",
    "prompt_chars_p50": "prompt p50 chars",
    "prompt_chars_p99": "prompt p99 chars",
    "answer_chars_p50": "answer p50 chars",
    "answer_chars_p99": "answer p99 chars",
}
_PEOPLE: Final = {
    "state": "state",
    "calls": "calls",
    "calls_before": "before calls",
    "first_at": "first (UTC)",
    "last_at": "last (UTC)",
}
_LIMITS: Final = {
    "limit_type": "limit",
    "hits": "hits",
    "calls": "calls",
    "per_100_calls": "hits per 100 calls",
    "last_at": "last (UTC)",
}
_PERFORMANCE: Final = {
    "calls": "calls",
    "failed": "failed",
    "failure_rate": "failure %",
    "aborted": "aborted",
    "latency_p50_ms": "p50 ms",
    "latency_p90_ms": "p90 ms",
    "latency_p95_ms": "p95 ms",
    "latency_p99_ms": "p99 ms",
    "first_token_p50_ms": "first token p50 ms",
    "first_token_p95_ms": "first token p95 ms",
    "tokens_per_s_p50": "tokens/s p50",
    "retried": "retried",
    "empty": "empty",
    "cut": "cut off",
    "scores": "scores",
}
_PROVIDERS: Final = {
    "calls": "calls",
    "cost_per_call": "a call USD",
    "cost_per_1k_tokens_usd": "1k tokens USD",
    "latency_p50_ms": "p50 ms",
    "latency_p95_ms": "p95 ms",
    "latency_mean_ms": "mean ms",
    "failure_rate": "failure %",
    "empty_rate": "empty %",
    "cut_rate": "cut off %",
    "scores": "scores",
}
_WHAT_IF: Final = {
    "calls": "calls",
    "compared": "compared calls",
    "input_tokens": "in tokens",
    "cached_tokens": "cached tokens",
    "output_tokens": "out tokens",
    "actual_usd": "actual USD",
    "what_if_usd": "what if USD",
    "difference_usd": "difference USD",
    "change": "change %",
}
_COLUMNS: Final[Mapping[str, Shown]] = {
    "cost": _COST,
    "calls": _CALLS,
    "budget": _BUDGET,
    "usage": _USAGE,
    "people": _PEOPLE,
    "limits": _LIMITS,
    "performance": _PERFORMANCE,
    "providers": _PROVIDERS,
    "what_if": _WHAT_IF,
}
_PERCENT: Final = " %"
_CHOSEN: Final = ("user", "model")
"""Columns of the dearest calls that hold names."""
_LEFT: Final = frozenset({"state", "status", "user", "model", "call", "limit", "scores"})


def as_json(answer: Answer[Any, Any]) -> None:
    """Print an answer as JSON."""
    sys.stdout.write(answer.as_json() + "\n")
    output.flush()


def as_csv(answer: Answer[Any, Any]) -> None:
    """Print the rows as CSV; notes go beside it."""
    sys.stdout.write(answer.as_csv())
    output.flush()
    for note in answer.notes:
        output.note(note)


def table(answer: Answer[Any, Any]) -> None:
    """Print rows, totals, and below them what a reader must know."""
    columns = _COLUMNS[answer.question]
    names = list(answer.rows[0].key) if answer.rows else []
    known = {f.name for f in fields(answer.rows[0] if answer.rows else answer.totals)}
    listed = [name for name in columns if name in known]
    heads = [*names, *(columns[name] for name in listed)]
    short = distinct(text for row in answer.rows for text in _names(row))
    lines: list[list[object]] = [
        [
            *(_named(text and short[text]) for text in row.key.values()),
            *(_shortened(row, name, columns, short) for name in listed),
        ]
        for row in answer.rows
    ]
    moved = _add_up(answer, listed, lines)
    if answer.rows and answer.question not in {"people", "calls"}:
        total = [_cell(answer.totals, name, columns) for name in listed]
        lines.append([*(["all", *[""] * (len(names) - 1)] if names else []), *total])
    right = [columns[name] for name in listed if columns[name] not in _LEFT]
    wrapped = [columns[name] for name in listed if _is_wordy(answer, name)]
    if lines:
        output.table(heads, lines, right=right, wrapped=wrapped)
    else:
        output.say("No rate limit was hit." if answer.question == "limits" else "No calls.")
    for line in _below(answer, columns):
        output.say(line)
    if moved:
        output.say("Shares are rounded so that they add up; --json has more digits.")
    if any(text.count(CUT) > name.count(CUT) for name, text in short.items()):
        output.say("Long names are shortened in their middle; --json has them whole.")


def _add_up(answer: Answer[Any, Any], listed: list[str], lines: list[list[object]]) -> bool:
    """Write the shares so that they add up; tell whether one is not what it would be alone."""
    if "share" not in listed:
        return False
    at = listed.index("share") - len(listed)
    alone = [row.share for row in answer.rows]
    shares = percents(alone)
    for line, share in zip(lines, shares, strict=False):
        line[at] = share
    return shares != [None if part is None else percent(part) for part in alone]


def _names(row: Row) -> Iterator[str]:
    """Give the names of a row that others chose, and that may be of any length."""
    values = (*row.key.values(), *(getattr(row, name, None) for name in _CHOSEN))
    yield from (value for value in values if isinstance(value, str))


def _shortened(row: Row, name: str, columns: Shown, short: Mapping[str, str]) -> object:
    value = _cell(row, name, columns)
    return short[value] if name in _CHOSEN and isinstance(value, str) else value


def _named(value: object) -> object:
    """Write a key; an empty text is another one than none."""
    return EMPTY if value == "" else value


def _is_wordy(answer: Answer[Any, Any], name: str) -> bool:
    """Whether a column is of several figures: an interval, or scores."""
    values = (getattr(row, name, None) for row in (*answer.rows, answer.totals))
    return any(hasattr(value, "low") or isinstance(value, Mapping) for value in values)


def _below(answer: Answer[Any, Any], columns: Shown) -> list[str]:
    zone = ZoneInfo(answer.timezone)
    ends = [f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (answer.since, answer.until)]
    lines = [f"{ends[0]} to {ends[1]}, {answer.timezone}; from {answer.source}."]
    if answer.question in {"people", "calls"}:
        named = [f for f in fields(answer.totals) if f.name != "key"]
        values = (
            f"{columns.get(f.name, f.name)} {_cell(answer.totals, f.name, columns)}" for f in named
        )
        lines.insert(0, ", ".join(values))
    elif answer.question == "usage":
        new, lapsed = map(output.cell, (answer.totals.new_users, answer.totals.lapsed_users))
        lines.insert(0, f"new users {new}, lapsed {lapsed}")
    return [*lines, *answer.notes]


def _cell(row: Row, name: str, columns: Shown) -> object:
    """Write one value; those whose column ends in percent are parts of one."""
    value = getattr(row, name, None)
    if value is None:  # a mean without an interval is a mean still
        value = getattr(row, f"{name}_usd", None)
    is_part = columns.get(name, "").endswith(_PERCENT)
    if hasattr(value, "low"):
        return _between(value, percent if is_part else _figure)
    if isinstance(value, Mapping):
        return _scores(value)
    if is_part:
        return None if value is None else percent(float(value))
    if isinstance(value, Decimal):
        return _grouped(value.quantize(Decimal("1E-6")) if abs(value) >= 1 else value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value


def _grouped(value: Decimal) -> str:
    """Write an amount with separators between its thousands."""
    whole, mark, rest = output.money(value).partition(".")
    return f"{int(whole):,}{mark}{rest}" if len(whole) > 3 else f"{whole}{mark}{rest}"  # noqa: PLR2004 - thousands


def _between(found: Any, write: Callable[[float], str]) -> str:
    # Without spaces: where the line breaks, it breaks before the interval and not inside it.
    return f"{write(found.value)} ({write(found.low)}\N{EN DASH}{write(found.high)})"


def _figure(value: float) -> str:
    return output.figure(float(f"{value:.4g}") + 0.0)  # there is no -0 for people


def _scores(scores: Mapping[str, Any]) -> str | None:
    written = []
    for name, score in scores.items():
        if hasattr(score, "low"):
            written.append(f"{name} {_between(score, _figure)}, n={score.n}")
        elif score is not None:
            written.append(f"{name} {_figure(score.mean)}, n={score.n}")
    return "; ".join(written) or None
