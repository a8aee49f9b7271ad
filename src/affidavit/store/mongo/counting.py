"""What a call counts for, in MongoDB's words: the rules of :mod:`affidavit.tally.facts` once more.

A contract suite holds the two together. Times of a zone are computed here and given to the server
as offsets, so that its own table of zones, which may be older, decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from bson.decimal128 import Decimal128

from affidavit.event import EventType, Status
from affidavit.store.analytics import SumQuestion
from affidavit.tally.facts import (
    AMOUNT,
    CORRECTION,
    CUT_OFF,
    FIELD,
    KEYS,
    LONGEST_AMOUNT,
    MAX_COUNT,
    MAX_MS,
    MAX_USD,
    text_of,
)
from affidavit.tally.sketch import LARGEST, LN_GAMMA, NUDGE, SMALLEST, ZERO
from affidavit.tally.times import TimeUnit, local_key, offsets

Expression = Any
Stages = list[dict[str, Any]]

FINISHED: Final = (EventType.LLM_REQUEST.value, EventType.LLM_RESPONSE.value)
_DAY: Final = timedelta(days=1)
_NULL: Final = {"$literal": None}
_NANO: Final = Decimal128("1E+9")
_NUMBERS: Final = ["int", "long", "double", "decimal"]
_TRUNCATED: Final = frozenset({"day", "week", "month"})
_TOP_LEVEL: Final = frozenset(
    {"user_id", "department", "tenant", "environment", "service", "session_id"}
)
"""Keys that have one place in a record, which an index may hold."""


# -- which records -------------------------------------------------------------------------------


def ceil_ms(moment: datetime) -> datetime:
    """Round up to milliseconds, in which the database counts: no comparison changes by it."""
    return moment + timedelta(microseconds=-moment.microsecond % 1000)


def within(question: SumQuestion) -> dict[str, datetime]:
    """Write the span as a condition on a time."""
    return {"$gte": ceil_ms(question.since), "$lt": ceil_ms(question.until)}


def calls(question: SumQuestion, legacy: ZoneInfo | None) -> dict[str, Any]:
    """Choose finished calls by what an index knows; :func:`chosen` chooses exactly."""
    span = within(question)
    if legacy is not None:  # an old document's time is local: look at a day more on both sides
        span = {"$gte": span["$gte"] - _DAY, "$lt": span["$lt"] + _DAY}
    return {
        "timestamp": span,
        "event_type": {"$in": list(FINISHED)},
        "success": {"$in": [True, False]},
        **_by_index(question),
    }


def corrections(question: SumQuestion) -> dict[str, Any]:
    """Choose corrections of calls of that time; each was written after its call."""
    return {
        "event_type": CORRECTION,
        "timestamp": {"$gte": ceil_ms(question.since)},
        "effective_at": within(question),
        "details.cost_nano_diff": {"$type": ["int", "long"]},
        **_by_index(question),
    }


def _by_index(question: SumQuestion) -> dict[str, Any]:
    allowed = {name: {"$in": _all_spellings(each)} for name, each in question.within.items()}
    filtered = {
        name: None if value is None else {"$in": _spellings(value)}
        for name, value in question.filters.items()
    }
    both = {**allowed, **filtered}
    return {name: condition for name, condition in both.items() if name in _TOP_LEVEL}


def chosen(question: SumQuestion, legacy: ZoneInfo | None = None) -> Stages:
    """Choose exactly, among documents that :func:`named` has given ``at``, ``f0``, …, ``w0``, …."""
    conditions: list[Any] = [
        {"$in": [f"$f{n}", {"$literal": [None] if value is None else _spellings(value)}]}
        for n, value in enumerate(question.filters.values())
    ]
    conditions += [
        {"$in": [f"$w{n}", {"$literal": _all_spellings(allowed)}]}
        for n, allowed in enumerate(question.within.values())
    ]
    found: Stages = []
    if legacy is not None:
        found.append({"$match": {"at": within(question)}})
    if conditions:
        found.append({"$match": {"$expr": {"$and": conditions}}})
    return found


def _all_spellings(texts: Iterable[str]) -> list[Any]:
    return [value for text in texts for value in _spellings(text)]


def _spellings(text: str) -> list[Any]:
    """List the values that have this text: an older logger's user may be a number."""
    found: list[Any] = [text]
    if text in {"true", "false"}:
        found.append(text == "true")
    try:
        number = Decimal128(text)
    except ArithmeticError:
        return found
    if text_of(number) == text:
        found += [number, float(text)]
    return found


# -- keys ----------------------------------------------------------------------------------------


def at(legacy: ZoneInfo | None, question: SumQuestion) -> Expression:
    """Tell when a call was; shifts the local times of an older logger."""
    if legacy is None:
        return "$timestamp"
    stored = {
        "$subtract": ["$timestamp", _offset_ms("$timestamp", _local_offsets(legacy, question))]
    }
    old = {"$eq": [{"$ifNull": ["$schema_version", None]}, None]}
    return {"$cond": [old, stored, "$timestamp"]}


def _local_offsets(zone: ZoneInfo, question: SumQuestion) -> list[tuple[datetime, timedelta]]:
    """List the offsets by the local time from which they are meant, as Python reads it.

    A time that the clock shows twice means the first; one that it skips, the offset before.
    """
    listed = offsets(zone, question.since - 2 * _DAY, question.until + 2 * _DAY)
    found = [listed[0]]
    for start, offset in listed[1:]:
        found.append((start + max(offset, found[-1][1]), offset))
    return found


def _offset_ms(moment: Expression, listed: list[tuple[datetime, timedelta]]) -> Expression:
    """Choose the offset in force at a moment, in milliseconds."""
    each = [(start, offset // timedelta(milliseconds=1)) for start, offset in listed]
    if len(each) == 1:
        return each[0][1]
    branches = [
        {"case": {"$gte": [moment, start]}, "then": offset_ms}
        for start, offset_ms in reversed(each[1:])
    ]
    return {"$switch": {"branches": branches, "default": each[0][1]}}


def named(question: SumQuestion, legacy: ZoneInfo | None, *, correcting: bool = False) -> Stages:
    """Compute of each document ``at``, its keys ``k0``, …, and the values it is chosen by.

    Those of filters are ``f0``, …; those of what the asker may see are ``w0``, ….
    """
    first: dict[str, Any] = {"at": "$effective_at" if correcting else at(legacy, question)}
    for n, name in enumerate(question.filters):
        first[f"f{n}"] = value(name, correcting=correcting)
    for n, name in enumerate(question.within):
        first[f"w{n}"] = value(name, correcting=correcting)
    for n, name in enumerate(question.by):
        if not _is_time(name):
            first[f"k{n}"] = value(name, correcting=correcting)
    return [{"$set": first}, *chosen(question, None if correcting else legacy), *times(question)]


def times(question: SumQuestion) -> Stages:
    """Compute the keys that are units of time, from ``at``."""
    found: dict[str, Any] = {}
    for n, name in enumerate(question.by):
        found |= _time(n, name, question) if _is_time(name) else {}
    return [{"$set": found}] if found else []


def _is_time(name: str) -> bool:
    return name not in KEYS and not name.startswith(FIELD)


def _time(n: int, unit: str, question: SumQuestion) -> dict[str, Any]:
    listed = offsets(question.tz, question.since, question.until)
    offset_ms = _offset_ms("$at", listed)
    local = {"$add": ["$at", offset_ms]}
    if unit == "hour":
        # As UTC hours of the shifted time; the offset tells apart the hour that comes twice.
        return {f"k{n}": {"$dateTrunc": {"date": local, "unit": "hour"}}, f"o{n}": offset_ms}
    if unit in _TRUNCATED:
        whole = {"date": local, "unit": unit}
        return {
            f"k{n}": {"$dateTrunc": whole | ({"startOfWeek": "monday"} if unit == "week" else {})}
        }
    return {f"k{n}": {"$hour" if unit == "hour_of_day" else "$isoDayOfWeek": local}}


def grouped(question: SumQuestion) -> dict[str, str]:
    """Write the ``_id`` of groups."""
    fields = {f"k{n}": f"$k{n}" for n in range(len(question.by))}
    return fields | {f"o{n}": f"$o{n}" for n, name in enumerate(question.by) if name == "hour"}


def key(question: SumQuestion, found: dict[str, Any]) -> tuple[str | None, ...]:
    """Read the key of a group from its ``_id``."""
    return tuple(_key_text(name, n, found) for n, name in enumerate(question.by))


def _key_text(name: str, n: int, found: dict[str, Any]) -> str | None:
    raw = found.get(f"k{n}")
    if name in KEYS or name.startswith(FIELD):
        return text_of(raw)
    unit: TimeUnit = name  # type: ignore[assignment]  # SumQuestion has checked it
    if unit == "hour_of_day":
        return f"{raw:02d}"
    if unit == "weekday":  # the first of January 2024 was a Monday
        return local_key(unit, datetime(2024, 1, int(str(raw)), tzinfo=UTC), timedelta())
    assert isinstance(raw, datetime)  # noqa: S101 - $dateTrunc gives a date
    return local_key(unit, raw, timedelta(milliseconds=int(found.get(f"o{n}", 0))))


def value(name: str, *, correcting: bool = False) -> Expression:
    """Write a call's value for a key that is no time; null where there is none."""
    places: tuple[str, ...]
    if name == "provider":
        places = ("response_data.provider_used", "provider", "request_data.provider")
    elif name == "model":
        places = ("model", "request_data.model")
    elif name == "status":
        return {"$ifNull": ["$status", "completed"]} if correcting else status()
    elif name.startswith(FIELD):
        own = name.removeprefix(FIELD)
        places = (f"request_data.{own}", f"response_data.{own}")
    else:
        places = (name,)
    return {"$ifNull": [*(f"${place}" for place in places), None]}


def status() -> Expression:
    """Write the status: one of three, whatever an older logger called it."""
    failed = {
        "$cond": [
            {"$eq": ["$status", Status.ABORTED.value]},
            Status.ABORTED.value,
            Status.FAILED.value,
        ]
    }
    return {"$cond": [{"$eq": ["$success", True]}, Status.COMPLETED.value, failed]}


# -- numbers -------------------------------------------------------------------------------------


def count(path: str) -> Expression:
    """Read a number of things; see :func:`affidavit.tally.facts.count_of`."""
    fits = [{"$isNumber": path}, {"$gte": [path, 0]}, {"$lt": [path, MAX_COUNT]}]
    return {"$cond": [{"$and": fits}, {"$toLong": {"$trunc": path}}, _NULL]}


def ms(path: str) -> Expression:
    """Read a duration; see :func:`affidavit.tally.facts.ms_of`."""
    fits = [{"$isNumber": path}, {"$gte": [path, 0]}, {"$lt": [path, MAX_MS]}]
    return {"$cond": [{"$and": fits}, {"$toDouble": path}, _NULL]}


def dollars(path: str) -> Expression:
    """Read an amount, to nine places; see :func:`affidavit.tally.facts.nano_of`."""
    kind = {"$type": path}
    written = [
        {"$eq": [kind, "string"]},
        {"$lte": [{"$strLenCP": {"$cond": [{"$eq": [kind, "string"]}, path, ""]}}, LONGEST_AMOUNT]},
        {
            "$regexMatch": {
                "input": {"$cond": [{"$eq": [kind, "string"]}, path, ""]},
                "regex": rf"^(?:{AMOUNT.pattern.replace(chr(92) + 'd', '[0-9]')})\z",
            }
        },
    ]
    amount = {"$convert": {"input": path, "to": "decimal", "onError": None, "onNull": None}}
    bounds = [
        {"$gt": ["$$amount", Decimal128(str(-MAX_USD))]},
        {"$lt": ["$$amount", Decimal128(str(MAX_USD))]},
    ]
    return {
        "$cond": [
            {"$or": [{"$in": [kind, _NUMBERS]}, {"$and": written}]},
            {
                "$let": {
                    "vars": {"amount": amount},
                    "in": {"$cond": [{"$and": bounds}, {"$round": ["$$amount", 9]}, _NULL]},
                }
            },
            _NULL,
        ]
    }


def tokens() -> Expression:
    """Take the total that was told, else what came in and went out."""
    told, both = count("$response_data.tokens_used"), ["$incoming", "$outgoing"]
    known = {"$or": [{"$ne": [part, None]} for part in both]}
    added = {"$add": [{"$ifNull": [part, 0]} for part in both]}
    return {"$ifNull": [told, {"$cond": [known, added, _NULL]}]}


def is_cut() -> Expression:
    """Whether the answer was cut off."""
    text = {"$cond": [{"$eq": [{"$type": "$finish_reason"}, "string"]}, "$finish_reason", ""]}
    return {"$in": [{"$toLower": text}, sorted(CUT_OFF)]}


def bucket(number: Expression) -> Expression:
    """Tell the bucket of a number; see :func:`affidavit.tally.sketch.bucket_of`."""
    log = {"$divide": [{"$ln": {"$min": [number, LARGEST]}}, LN_GAMMA]}
    up = {"$toInt": {"$ceil": {"$subtract": [log, NUDGE]}}}
    return {"$cond": [{"$lt": [number, SMALLEST]}, ZERO, up]}


def nano(amount: Expression) -> Expression:
    """Turn dollars into nano-dollars, as a decimal."""
    return {"$multiply": [amount, _NANO]}
