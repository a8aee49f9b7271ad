"""Alerts in words: for people, and as plain values for programs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from affidavit.monitor.alerts import Event, What
from affidavit.monitor.notify.base import Message
from affidavit.monitor.rules import Rule

_WORDS: Final = {
    What.FIRING: "{level}",
    What.LEVEL: "now {level}",
    What.REPEATED: "still {level}",
    What.RESOLVED: "resolved",
}
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_MANY: Final = 10_000
"""From here on every digit is written: no exponent."""

_STEP: Final = 1024


def event_id(log: str, event: Event, kind: str) -> str:
    """Name an event: the same log, alert, kind and time give the same id."""
    parts = (log, kind, event.key.rule, event.key.subject, event.what.value, event.at.isoformat())
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def message_of(entry: Mapping[str, Any], rules: Mapping[str, Rule], log: str) -> Message:
    """Write a notice that waits in the outbox as a message."""
    rule = rules.get(entry["rule"])
    at = entry["at"]
    listed: Sequence[Mapping[str, Any]] = entry.get("alerts") or [entry]
    count = int(entry.get("count", 1))
    state = _state(entry).upper()
    first = _line(listed[0]["subject"])
    who = f" ({first}{f' and {count - 1} more' if count > 1 else ''})" if first else ""
    data = {
        "type": "affidavit.alert",
        "id": entry["id"],
        "log": log,
        "rule": entry["rule"],
        **_plain(entry, rule),
        "at": _iso(at),
        "count": count,
        "alerts": [_plain(each, rule) for each in listed],
    }
    lines, said = [], ""
    if rule is not None:
        title = f"{rule.title[0].upper()}{rule.title[1:]}"
        do = [] if entry["what"] == What.RESOLVED.value else [rule.do]
        lines = [*_body(title, listed, count, rule), *do]
        said = " ".join([f": {_in_short(title, listed, count, rule)}", *do])
        data |= {"title": rule.title, "unit": rule.unit, "do": rule.do}
    lines += [f"Log {log}, {_moment(at)}.", f"Notice {entry['id']}."]
    name = f"[{state}] {entry['rule']}"
    unnamed = "" if rule is not None and rule.personal else who
    return Message(
        entry["id"],
        f"{name}{who} in {log}",
        "\n".join(lines),
        at,
        data,
        line=f"{name}{unnamed} in {log}{said}",
    )


def _body(title: str, listed: Sequence[Mapping[str, Any]], count: int, rule: Rule) -> Iterator[str]:
    """Say what is so: of one alert in a sentence, of several in a list of the first."""
    if count == 1:
        yield f"{title}: {_said(listed[0], rule)}."
        yield from (f"{text}." for text in _since(listed[0]))
        return
    yield f"{title}: {count} of them."
    for each in listed:
        parts = [_said(each, rule), _state(each), *_since(each)]
        yield f"- {_line(each['subject'])}: {', '.join(parts)}"
    if count > len(listed):
        yield f"- and {count - len(listed)} more: `affidavit alerts list` shows all."


def _in_short(title: str, listed: Sequence[Mapping[str, Any]], count: int, rule: Rule) -> str:
    """Say the same in one sentence, without names where they are of people."""
    if count == 1:
        return f"{title}: {', '.join([_said(listed[0], rule), *_since(listed[0])])}."
    if rule.personal:
        worst = number(listed[0]["value"], rule.unit)
        return f"{title}: {count} of them, up to {worst}. `affidavit alerts list` names them."
    each = [f"{_line(one['subject'])} {number(one['value'], rule.unit)}" for one in listed]
    more = f", and {count - len(listed)} more" if count > len(listed) else ""
    return f"{title}: {', '.join(each)}{more}."


def _plain(one: Mapping[str, Any], rule: Rule | None) -> dict[str, Any]:
    """Give one alert as plain values."""
    since = one.get("since")
    return {
        "subject": one["subject"],
        "what": one["what"],
        "level": one["level"],
        "value": one["value"],
        "threshold": None if rule is None else rule.thresholds.get(one["level"]),
        "since": None if since is None else _iso(since),
    }


def _state(one: Mapping[str, Any]) -> str:
    return _WORDS[What(one["what"])].format(level=one["level"])


def _since(one: Mapping[str, Any]) -> list[str]:
    since = one.get("since")
    if since is None:
        return []
    ended = one["what"] == What.RESOLVED.value
    return [f"begun at {_moment(since)}" if ended else f"since {_moment(since)}"]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def trial(log: str, at: datetime) -> Message:
    """Write the message of ``affidavit alerts test``."""
    name = hashlib.sha256(f"test\0{log}\0{at.isoformat()}".encode()).hexdigest()[:24]
    data = {"type": "affidavit.test", "id": name, "log": log, "what": "test", "at": at.isoformat()}
    text = f"A test by `affidavit alerts test`. Nothing is wrong.\nLog {log}."
    title = f"[TEST] alerts of {log}"
    return Message(name, title, text, at, data, line=f"{title}: nothing is wrong.")


def number(value: float | None, unit: str) -> str:
    """Write a value with its unit, as one would say it."""
    if value is None:
        return "unknown"
    if unit == "bytes":
        size, index = value, 0
        while abs(size) >= _STEP and index < len(_UNITS) - 1:
            size, index = size / _STEP, index + 1
        return f"{size:.4g} {_UNITS[index]}"
    space = "" if unit == "%" else " "
    said = f"{value:,.0f}" if abs(value) >= _MANY else f"{value:.4g}"
    return f"{said}{space}{unit}"


def _said(one: Mapping[str, Any], rule: Rule) -> str:
    """Give a value beside its threshold."""
    now, limit = number(one["value"], rule.unit), rule.thresholds.get(one["level"])
    if limit is None:
        return now
    than = "from" if rule.at_least else "above"
    return f"{now} (alerts {than} {number(limit, rule.unit)})"


def _line(text: str) -> str:
    """Put a name that came from outside on one line, at a length that fits."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain if len(plain) <= 100 else plain[:99] + "…"  # noqa: PLR2004 - a line's length
