"""A month's report: what it says, as sections. How it looks is in :mod:`.rendering`.

Every figure comes from a question that can be asked by itself (``affidavit stats``, ``status``,
``verify``); :mod:`.month` asks them all for one month of the reporting time zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from affidavit.analytics.answers import EMPTY, Answer, Row, money, plain
from affidavit.analytics.month import NONE, TOP, Figures, Integrity
from affidavit.event import Document, LedgerEvent

MOST_LISTED: Final = 100
"""Ledger records that a report lists one by one."""

_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Table:
    """Texts in rows; ``numbers`` are the columns to align at the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: sentences, then tables."""

    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A month, as sections to read and as figures for programs."""

    month: str
    timezone: str
    since: datetime
    until: datetime
    made_at: datetime
    origin: str | None
    """The log's name; None where nobody has sealed it."""
    sections: tuple[Section, ...]
    figures: Mapping[str, Any]
    """Every answer, and the counts, as plain values."""
    whole: bool
    """Whether the month is over, and nothing was left out."""


def build(found: Figures, integrity: Integrity) -> Report:
    """Write the report."""
    over = found.until <= found.now
    sections = (
        _summary(found, integrity),
        _costs(found),
        _use(found),
        _performance(found),
        _incidents(found),
        _losses(found),
        _integrity(found, integrity),
        _how(found),
    )
    return Report(
        found.month,
        found.zone,
        found.since,
        found.until,
        found.now.astimezone(UTC),
        integrity.origin,
        sections,
        _plain(found, integrity),
        over and not found.missing,
    )


# -- sections --------------------------------------------------------------------------------------


def _summary(found: Figures, integrity: Integrity) -> Section:
    cost, use = found.answers["cost by model"].totals, found.answers["usage by department"].totals
    speed = found.answers["performance by model"].totals
    hits = found.answers["limits by user"].totals
    severe = sum(n for _, s, n in found.happened.security if s in {"high", "critical"})
    every = sum(n for _, _, n in found.happened.security)
    rows = (
        ("calls", f"{cost.calls:,}"),
        ("cost", f"{_money(cost.cost_usd)} USD{_against(cost.change)}"),
        ("calls without a price", f"{cost.unpriced:,}"),
        ("users", f"{use.users:,}"),
        ("tokens", f"{use.tokens:,}"),
        ("failed", f"{speed.failed:,} ({_share(speed.failure_rate)})"),
        ("latency p50 / p95", f"{_ms(speed.latency_p50_ms)} / {_ms(speed.latency_p95_ms)} ms"),
        ("rate limits hit", f"{hits.hits:,}"),
        ("security events", f"{every:,}, {severe:,} of them high or critical"),
        ("records known to be lost", f"{found.happened.lost:,}"),
        ("integrity", _verdict(integrity)),
    )
    lines = []
    if found.until > found.now:
        lines.append(f"The month is not over: this is its state of {_time(found.now)}.")
    lines += found.missing
    return Section("Summary", tuple(lines), (Table("", ("", ""), rows, frozenset({1})),))


def _costs(found: Figures) -> Section:
    tables = []
    for name, title in (
        ("cost by model", "By provider and model"),
        ("cost by department", "By department"),
        ("cost by user", f"By user, the {TOP} that cost most"),
        ("cost by day", "By day"),
    ):
        tables.append(_cost_table(title, found.answers[name]))
    for name in ("budget by department", "budget by user"):
        if name in found.answers:
            columns = ("", "budget USD", "actual USD", "used", "at the month's end USD", "state")
            rows = [
                (_key(row), _usd(row.budget_usd), _usd(row.actual_usd), _share(row.used),
                 _usd(row.projected_usd), row.state)
                for row in found.answers[name].rows
            ]  # fmt: skip
            numbers = frozenset({1, 2, 3, 4})
            tables.append(Table(name.capitalize(), columns, tuple(rows), numbers))
    total = found.answers["cost by model"].totals
    spent = f"The calls of the month cost {_money(total.cost_usd)} USD{_against(total.change)}."
    lines = [f"{spent} Amounts are exact sums of what each call cost."]
    if total.unpriced:
        lines.append(
            f"{total.unpriced:,} calls have no price and count as nothing; affidavit prices "
            "unpriced lists them."
        )
    if total.estimated:
        lines.append(f"The cost of {total.estimated:,} calls is estimated.")
    return Section("Costs", tuple(lines), tuple(tables))


def _cost_table(title: str, answer: Answer[Any, Any]) -> Table:
    columns = ("", "calls", "tokens", "cost USD", "share", "per call USD", "month before USD")
    rows = [
        (_key(row), f"{row.calls:,}", f"{row.tokens:,}", _usd(row.cost_usd), _share(row.share),
         _usd(row.per_call_usd), _usd(row.previous_usd))
        for row in answer.rows
    ]  # fmt: skip
    total = answer.totals
    rows.append((
        _ALL, f"{total.calls:,}", f"{total.tokens:,}", _usd(total.cost_usd), "",
        _usd(total.per_call_usd), _usd(total.previous_usd),
    ))  # fmt: skip
    return Table(title, columns, tuple(rows), frozenset(range(1, len(columns))))


def _use(found: Figures) -> Section:
    answer = found.answers["usage by department"]
    columns = ("department", "calls", "users", "sessions", "input tokens", "output tokens",
               "prompt p50 / p99", "answer p50 / p99")  # fmt: skip

    def line(name: str, row: Any) -> tuple[str, ...]:
        return (
            name, f"{row.calls:,}", f"{row.users:,}", f"{row.sessions:,}",
            f"{row.input_tokens:,}", f"{row.output_tokens:,}",
            f"{_count(row.prompt_chars_p50)} / {_count(row.prompt_chars_p99)}",
            f"{_count(row.answer_chars_p50)} / {_count(row.answer_chars_p99)}",
        )  # fmt: skip

    rows = [line(_key(row), row) for row in answer.rows]
    rows.append(line(_ALL, answer.totals))
    table = Table("By department", columns, tuple(rows), frozenset(range(1, len(columns))))
    totals, lines = answer.totals, []
    if totals.new_users is not None and totals.lapsed_users is not None:
        lines.append(
            f"{totals.users:,} users: {totals.new_users:,} are new, and {totals.lapsed_users:,} of "
            "those of the month before had no call. Lengths are characters."
        )
    return Section("Use", tuple(lines), (table,))


def _performance(found: Figures) -> Section:
    answer = found.answers["performance by model"]
    columns = ("provider, model", "calls", "failed", "aborted", "p50 ms", "p95 ms", "p99 ms",
               "first token p50 ms", "tokens/s", "retried", "empty", "cut off")  # fmt: skip

    def line(name: str, row: Any) -> tuple[str, ...]:
        return (
            name, f"{row.calls:,}", f"{row.failed:,} ({_share(row.failure_rate)})",
            f"{row.aborted:,}", _ms(row.latency_p50_ms), _ms(row.latency_p95_ms),
            _ms(row.latency_p99_ms), _ms(row.first_token_p50_ms), _ms(row.tokens_per_s_p50),
            f"{row.retried:,}", f"{row.empty:,}", f"{row.cut:,}",
        )  # fmt: skip

    rows = [line(_key(row), row) for row in answer.rows]
    rows.append(line(_ALL, answer.totals))
    tables = [Table("By provider and model", columns, tuple(rows), frozenset(range(1, 12)))]
    if found.errors:
        errors = sorted(found.errors.items(), key=lambda each: (-each[1], each[0]))
        told = tuple((kind, f"{count:,}") for kind, count in errors[:TOP])
        tables.append(Table("Failures by error", ("error", "calls"), told, frozenset({1})))
    lines = ("Times are of calls that succeeded, and within two percent.",)
    return Section("Performance", lines, tuple(tables))


def _incidents(found: Figures) -> Section:
    tables = []
    limits = found.answers["limits by user"]
    if limits.rows and limits.rows[0].key:
        columns = ("user", "limit", "hits", "calls", "hits by 100 calls", "last")
        rows = [
            (_key(row), row.limit_type, f"{row.hits:,}", f"{row.calls:,}",
             "-" if row.per_100_calls is None else f"{row.per_100_calls:.2f}", _time(row.last_at))
            for row in limits.rows
        ]  # fmt: skip
        title = f"Rate limits, the {TOP} users that hit most"
        tables.append(Table(title, columns, tuple(rows), frozenset({2, 3, 4})))
    if found.happened.security:
        events = tuple((kind, sev, f"{n:,}") for kind, sev, n in found.happened.security)
        named = ("kind", "severity", "events")
        tables.append(Table("Security events", named, events, frozenset({2})))
    listed = [record for record in found.happened.notable if record.get("event_type") in _FAULTS]
    if listed:
        tables.append(_ledger_table("Faults, outages and alerts", listed))
    lines = [] if tables else ["No rate limit was hit, no security event recorded, no fault noted."]
    lines += _cut_off(found, listed)
    return Section("Incidents", tuple(lines), tuple(tables))


_LOSSES: Final = frozenset(
    {LedgerEvent.RECORDS_LOST, LedgerEvent.DEAD_LETTER, LedgerEvent.SPOOL_ADOPTED}
)
_CHANGES: Final = frozenset(
    {
        LedgerEvent.CONFIG_CHANGED,
        LedgerEvent.KEY_ROTATION,
        LedgerEvent.ERASURE,
        LedgerEvent.HOLD,
        LedgerEvent.ADOPTION_CLOSED,
        LedgerEvent.LOG_IMPORTED,
    }
)
_FAULTS: Final = frozenset(LedgerEvent) - _LOSSES - _CHANGES
"""The store gives none of the ordinary kinds."""


def _losses(found: Figures) -> Section:
    happened = found.happened
    listed = [record for record in happened.notable if record.get("event_type") in _LOSSES]
    lines = ["No writer that ended this month counted a record as lost."]
    if happened.lost:
        lines = [f"{happened.lost:,} records are known to be lost."]
    if happened.lost_running:
        lines.append(
            f"Writers that still run have lost {happened.lost_running:,} since they began."
        )
    if happened.unfinished:
        lines.append(f"{happened.unfinished:,} calls were begun and never ended.")
    else:
        lines.append("No call was found that was begun and never ended.")
    lines += _cut_off(found, listed)
    tables = (_ledger_table("What the ledger says of them", listed),) if listed else ()
    return Section("Losses", tuple(lines), tables)


def _integrity(found: Figures, integrity: Integrity) -> Section:
    rows = [
        ("log", integrity.origin or "nobody has sealed this log"),
        ("key", integrity.vkey or "-"),
        ("newest checkpoint", f"{integrity.size:,} leaves, {_time(integrity.sealed_at)}"),
        ("sealing", f"{integrity.level or '-'}; {integrity.waiting:,} leaf batches wait"
                    + (f", the oldest for {integrity.lag_s:,.0f} s" if integrity.waiting else "")),
        *(("anchor", text) for text in integrity.anchors or ("none is configured here",)),
        ("verified beside the sealing", _watched(integrity)),
        *([("new reasons for what is gone", integrity.excuses)] if integrity.excuses else []),
        ("verification", _verdict(integrity)),
    ]  # fmt: skip
    if integrity.verified is not None:
        rows += [
            (str(name), f"{count:,}")
            for name, count in integrity.verified.get("counts", {}).items()
            if count
        ]
        rows += [("finding", str(text)) for text in integrity.verified.get("findings", ())]
        rows += [("reason", str(text)) for text in integrity.verified.get("excuses", ())]
        rows += [("not looked at", str(text)) for text in integrity.verified.get("limits", ())]
    tables = [Table("When this report was made", ("", ""), tuple(rows))]
    changes = [record for record in found.happened.notable if record.get("event_type") in _CHANGES]
    if changes:
        tables.append(_ledger_table("Changes to the log", changes))
    if found.happened.readings:
        told = tuple((who, by, f"{n:,}") for who, by, n in found.happened.readings)
        title = "Who has read the log this month"
        tables.append(Table(title, ("who", "command", "times"), told, frozenset({2})))
    lines = []
    if integrity.verified is None:
        lines.append(
            "The log was not verified for this report. affidavit report --verify does that, and "
            "affidavit verify --checkpoint does it against a checkpoint that was saved outside."
        )
    lines += _cut_off(found, changes)
    return Section("Integrity", tuple(lines), tuple(tables))


def _how(found: Figures) -> Section:
    notes = sorted({note for answer in found.answers.values() for note in answer.notes})
    sources = sorted({answer.source for answer in found.answers.values()})
    span = (
        f"Month {found.month} of the time zone {found.zone}: from {_time(found.since)}, to "
        f"{_time(found.until)}, which is not included."
    )
    made = (
        f"Made {_time(found.now)} from the {' and the '.join(sources)} of the log. What arrives "
        "later, out of a spool, is not in it."
    )
    how = "Each figure can be asked by itself: affidavit stats, status, timeline, verify."
    lines = [span, made, how, *notes]
    return Section("How this was made", tuple(lines))


# -- words -----------------------------------------------------------------------------------------


def _ledger_table(title: str, records: Sequence[Document]) -> Table:
    rows = [
        (_time(record.get("timestamp")), str(record.get("event_type")), _actor(record),
         _told(record.get("details")))
        for record in records[:MOST_LISTED]
    ]  # fmt: skip
    return Table(title, ("time (UTC)", "kind", "by", "what"), tuple(rows))


def _actor(record: Mapping[str, Any]) -> str:
    actor = record.get("actor")
    if not isinstance(actor, Mapping):
        return "-"
    who = actor.get("os_user") or actor.get("service") or actor.get("program") or "-"
    return f"{who} on {actor.get('host') or '-'}"


_LONGEST: Final = 160


def _told(details: Any) -> str:
    if not isinstance(details, Mapping):
        return ""
    text = ", ".join(
        f"{name}={value}"
        for name, value in details.items()
        if isinstance(value, str | int | float | bool) and name != "leaf_key"
    )
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _cut_off(found: Figures, listed: Sequence[Document]) -> list[str]:
    said = []
    if len(listed) > MOST_LISTED:
        said.append(f"{len(listed) - MOST_LISTED:,} more ledger records are not listed here.")
    if found.happened.left_out and listed:
        said.append(f"{found.happened.left_out:,} ledger records of all kinds were left out.")
    return said


def _verdict(integrity: Integrity) -> str:
    said = integrity.verified
    if said is None and integrity.damage:
        return (
            f"THE LOG DOES NOT HOLD, says the verification beside the sealing: {integrity.damage}"
        )
    if said is None:
        return "not verified for this report"
    if not integrity.size:
        return "nothing is sealed, so nothing could be verified"
    if said.get("verdict") == "unconfirmed":
        return f"NOT CONFIRMED. {said.get('says')}"
    if said.get("clean"):
        return f"verified, nothing is wrong; level: {said.get('level')}"
    kinds = ", ".join(f"{count} {kind}" for kind, count in said.get("kinds", {}).items())
    return f"THE LOG DOES NOT HOLD: {kinds}"


def _watched(integrity: Integrity) -> str:
    if integrity.watched_age_s is None:
        return "no outcome yet"
    return f"{integrity.damage or 'nothing is wrong'}, {integrity.watched_age_s / 3600:,.1f} h ago"


def _key(row: Row) -> str:
    if not row.key:
        return _ALL
    return ", ".join(NONE if value is None else value or EMPTY for value in row.key.values())


def _usd(amount: Decimal | None) -> str:
    return "-" if amount is None else _money(amount)


def _money(amount: Decimal) -> str:
    return money(amount, marks=True)


def _share(part: float | None) -> str:
    # Adding zero takes the sign from a share that rounds to nothing.
    return "-" if part is None else f"{round(100 * part, 1) + 0.0:.1f} %"


def _against(change: float | None) -> str:
    if change is None:
        return ""
    more = "more" if change >= 0 else "less"
    return f", {abs(100 * change):.1f} % {more} than the month before"


def _ms(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _time(at: Any) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(at, datetime) else "-"


def _plain(found: Figures, integrity: Integrity) -> dict[str, Any]:
    happened = found.happened
    return {
        "answers": {name: answer.as_dict() for name, answer in found.answers.items()},
        "errors": dict(sorted(found.errors.items())),
        "security": [
            {"kind": kind, "severity": severity, "events": n}
            for kind, severity, n in happened.security
        ],
        "unfinished_calls": happened.unfinished,
        "records_lost": happened.lost,
        "records_lost_by_running_writers": happened.lost_running,
        "ledger": dict(sorted(happened.ledger.items())),
        "readings": [{"who": who, "command": by, "times": n} for who, by, n in happened.readings],
        "integrity": plain(integrity),
        "missing": found.missing,
    }
