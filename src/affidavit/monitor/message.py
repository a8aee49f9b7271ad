"""Alerts in words: for people, and as plain values for programs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
_STEP: Final = 1024


def event_id(log: str, event: Event, kind: str) -> str:
    """Name an event: the same log, alert, kind and time give the same id."""
    parts = (log, kind, event.key.rule, event.key.subject, event.what.value, event.at.isoformat())
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def message_of(entry: Mapping[str, Any], rules: Mapping[str, Rule], log: str) -> Message:
    """Write a notice that waits in the outbox as a message."""
    rule = rules.get(entry["rule"])
    what = What(entry["what"])
    state = _WORDS[what].format(level=entry["level"]).upper()
    subject = f" ({_line(entry['subject'])})" if entry["subject"] else ""
    name = f"{entry['rule']}{subject}"
    at = entry["at"]
    data = {
        "type": "affidavit.alert",
        "id": entry["id"],
        "log": log,
        "rule": entry["rule"],
        "subject": entry["subject"],
        "what": what.value,
        "level": entry["level"],
        "at": at.astimezone(UTC).isoformat(),
        "value": entry["value"],
    }
    lines = []
    if rule is not None:
        limit = rule.thresholds.get(entry["level"])
        said = _said(rule, entry["value"], limit, ended=what is What.RESOLVED)
        lines += [f"{rule.title[0].upper()}{rule.title[1:]}: {said}."]
        lines += [] if what is What.RESOLVED else [rule.do]
        data |= {"title": rule.title, "unit": rule.unit, "threshold": limit, "do": rule.do}
    lines += [f"Log {log}, {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.", f"Notice {entry['id']}."]
    return Message(entry["id"], f"[{state}] {name} in {log}", "\n".join(lines), at, data)


def trial(log: str, at: datetime) -> Message:
    """Write the message of ``affidavit alerts test``."""
    name = hashlib.sha256(f"test\0{log}\0{at.isoformat()}".encode()).hexdigest()[:24]
    data = {"type": "affidavit.test", "id": name, "log": log, "what": "test", "at": at.isoformat()}
    text = f"A test by `affidavit alerts test`. Nothing is wrong.\nLog {log}."
    return Message(name, f"[TEST] alerts of {log}", text, at, data)


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
    return f"{value:.4g}{space}{unit}"


def _said(rule: Rule, value: float | None, limit: float | None, *, ended: bool) -> str:
    now = number(value, rule.unit)
    if limit is None or ended:
        return now
    than = "from" if rule.at_least else "above"
    return f"{now} (alerts {than} {number(limit, rule.unit)})"


def _line(text: str) -> str:
    """Put a name that came from outside on one line, at a length that fits."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain if len(plain) <= 100 else plain[:99] + "…"  # noqa: PLR2004 - a line's length
