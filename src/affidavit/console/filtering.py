"""What a list of calls is narrowed to: read from its address, and written into others. Pure.

Values are texts of a bounded length, compared as they are; nothing in an address becomes a part of
a question to the database but the names that stand here. What cannot be read is told beside its
field, and what was typed stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlencode

from affidavit.console.ranges import Range, read_range
from affidavit.console.visitor import Scope
from affidavit.errors import ConfigError
from affidavit.event import EventType, Status
from affidavit.store.questions import LONGEST_VALUE, SearchFilter
from affidavit.tally.facts import FIELD

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "who": ("user_id", "department", "tenant", "session_id", "conversation_id"),
    "where": ("service", "environment", "provider", "model"),
    "how": ("event_type", "status", "error_type", "finish_reason"),
    "much": (
        "cost_min_usd",
        "cost_max_usd",
        "latency_min_ms",
        "latency_max_ms",
        "tokens_min",
        "tokens_max",
    ),
}
"""The fields of the form, in groups; a word of each is ``filter.<name>``."""

NAMES: Final = (*(name for names in GROUPS.values() for name in names), "text")
EVERYTHING: Final = "all"
"""``event_type`` of a list that has calls and every event."""

CALLS: Final = EventType.LLM_REQUEST.value
KINDS: Final = (
    CALLS,
    EVERYTHING,
    EventType.SECURITY_EVENT.value,
    EventType.RATE_LIMIT_EXCEEDED.value,
    EventType.ANNOTATION.value,
    EventType.CORRECTION.value,
)
STATUSES: Final = tuple(status.value for status in Status)
DEFAULT_TIME: Final = "7d"
_NUMBERS: Final = frozenset(GROUPS["much"])
_MOST: Final = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A search as an address asks for it."""

    wanted: SearchFilter
    """With the visitor's scope; nothing in the address widens it."""
    range: Range
    typed: Mapping[str, str]
    """The filters as they were typed, by name; ``field:<name>`` for the application's own."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """What could not be read, by name: a word below ``filter.``, or a sentence."""

    def query(self, **changed: str | None) -> dict[str, str]:
        """Write it as a query, some of it changed; None leaves a name out."""
        every: dict[str, str | None] = {**self.typed, **self.range.query, **changed}
        return {name: value for name, value in every.items() if value}

    def address(self, path: str = "/calls", **changed: str | None) -> str:
        """Write it as an address; see :meth:`query`."""
        return f"{path}?{urlencode(self.query(**changed))}"

    def without(self, name: str) -> str:
        """Write the address without one filter."""
        return f"/calls?{urlencode(self.query(**{name: None}))}"

    def having(self, name: str, value: Any) -> str:
        """Write the address narrowed to a value as well."""
        return self.address(**{name: str(value)})

    @property
    def zoom(self) -> str:
        """The address of another span, whose ends a chart puts in."""
        kept = {**self.typed}
        ends = "since=SINCE&until=UNTIL"
        return f"/calls?{urlencode(kept)}&{ends}" if kept else f"/calls?{ends}"

    @property
    def of_events(self) -> bool:
        """Whether the list is of something else than calls alone."""
        return self.typed.get("event_type", CALLS) != CALLS


def read_narrowed(query: Mapping[str, str], scope: Scope, now: datetime | None = None) -> Narrowed:
    """Read the filters and the time of an address."""
    typed = {name: text for name in NAMES if (text := query.get(name, "").strip())}
    typed |= {n: t for n, text in query.items() if n.startswith(FIELD) and (t := text.strip())}
    own, value = query.get("own_name", "").strip(), query.get("own_value", "").strip()
    if own and value:
        typed[f"{FIELD}{own}"] = value
    if typed.get("event_type") == CALLS:
        del typed["event_type"]
    problems: dict[str, str] = {}
    given: dict[str, Any] = {}
    for name in NAMES:
        if name not in typed:
            continue
        try:
            given[name] = _value(name, typed[name])
        except ValueError as error:
            problems[name] = str(error)
    kind = given.get("event_type")
    given["event_type"] = None if kind == EVERYTHING else kind or CALLS
    span = read_range(query, DEFAULT_TIME, now)
    base = SearchFilter(
        since=span.since, until=span.until, departments=scope.departments, tenants=scope.tenants
    )
    fields = {n.removeprefix(FIELD): text for n, text in typed.items() if n.startswith(FIELD)}
    try:
        wanted = replace(base, **given, fields=fields)
    except ConfigError as error:
        problems["field"] = str(error)
        wanted = replace(base, **given)
    return Narrowed(wanted, span, typed, problems)


def _value(name: str, text: str) -> Any:
    """Read one value. Raises ValueError with the word that says what is wrong."""
    if len(text) > LONGEST_VALUE:
        raise ValueError("long")
    if name == "event_type" and text not in {*KINDS, EventType.LLM_RESPONSE.value}:
        raise ValueError("choice")
    if name == "status" and text not in STATUSES:
        raise ValueError("choice")
    if name not in _NUMBERS:
        return text
    try:
        number = Decimal(text.replace(",", "."))
    except InvalidOperation as error:
        raise ValueError("number") from error
    if not number.is_finite() or not 0 <= number < _MOST:
        raise ValueError("number")
    if name.startswith("tokens"):
        if number != number.to_integral_value():
            raise ValueError("number")
        return int(number)
    return number if name.startswith("cost") else float(number)


def is_drawn(wanted: SearchFilter) -> bool:
    """Whether a chart can be made: not of texts, and not of calls that have not ended."""
    return wanted.text is None and wanted.status != Status.INITIATED
