"""Parameters of lists: which calls, how many, and where to go on. Everything comes in as text.

Nothing but what the table below knows gets through: an unknown name, or one that is given twice,
is an error, so that a filter with a mistake in its name does not quietly show everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from affidavit.console import reasons
from affidavit.console.api.problems import Problem, bad_request
from affidavit.event import EventType, Status
from affidavit.store.questions import LONGEST_VALUE, SearchFilter
from affidavit.tally.facts import FIELD

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

    from affidavit.console.visitor import Scope

MOST_ROWS: Final = 200
ROWS: Final = 50
_LONGEST_CURSOR: Final = 64 * 1024

A_TIME: Final = "must be a time, as 2026-11-23T09:30:00Z, 2026-11-23 or 24h"

_AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WHOLE: Final = re.compile(r"[0-9]{1,15}")
_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: how it is read, and what the reference says of it."""

    read: Callable[[str], Any]
    what: str
    schema: Mapping[str, Any]


def moment(text: str) -> datetime:
    """Read a time: RFC 3339, a day of UTC, or so long ago, as ``24h``. Raises ValueError."""
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
    found = datetime.fromisoformat(text.strip())
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found.astimezone(UTC)


def _text(text: str) -> str:
    if not text or len(text) > LONGEST_VALUE:
        msg = f"must have 1 to {LONGEST_VALUE} characters"
        raise ValueError(msg)
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            msg = f"must be one of {', '.join(allowed)}"
            raise ValueError(msg)
        return text

    return read


def _time(text: str) -> datetime:
    try:
        return moment(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(A_TIME) from error


def _decimal(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        msg = "must be a number, 0 or more"
        raise ValueError(msg)
    try:
        return Decimal(text)
    except InvalidOperation as error:
        msg = "must be a number, 0 or more"
        raise ValueError(msg) from error


def _float(text: str) -> float:
    return float(_decimal(text))


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        msg = "must be a whole number, 0 or more"
        raise ValueError(msg)
    return int(text)


_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": LONGEST_VALUE}
_NUMERIC: Final = {"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,15})?$"}
_INTEGER: Final = {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}
_TIME: Final = {"type": "string", "examples": ["2026-11-23T09:30:00Z", "24h"]}
_KINDS: Final = tuple(kind.value for kind in EventType)
_STATUSES: Final = tuple(status.value for status in Status)

FILTERS: Final[Mapping[str, Parameter]] = {
    "since": Parameter(_time, "From this time on: RFC 3339, a day (UTC), or 24h ago.", _TIME),
    "until": Parameter(_time, "Up to this time, which is not included.", _TIME),
    "user_id": Parameter(_text, "Of this user.", _TEXT),
    "department": Parameter(_text, "Of this department.", _TEXT),
    "tenant": Parameter(_text, "Of this tenant.", _TEXT),
    "environment": Parameter(_text, "Of this environment.", _TEXT),
    "service": Parameter(_text, "Of this service.", _TEXT),
    "session_id": Parameter(_text, "Of this session.", _TEXT),
    "conversation_id": Parameter(_text, "Of this conversation.", _TEXT),
    "event_type": Parameter(
        _one_of(*_KINDS), "Only this kind of record.", {"type": "string", "enum": list(_KINDS)}
    ),
    "status": Parameter(
        _one_of(*_STATUSES), "Calls of this status.", {"type": "string", "enum": list(_STATUSES)}
    ),
    "provider": Parameter(_text, "Of this provider.", _TEXT),
    "model": Parameter(_text, "Of this model.", _TEXT),
    "error_type": Parameter(_text, "Failed with this kind of error.", _TEXT),
    "finish_reason": Parameter(_text, "Ended for this reason.", _TEXT),
    "cost_min_usd": Parameter(_decimal, "Cost so many dollars or more.", _NUMERIC),
    "cost_max_usd": Parameter(_decimal, "Cost so many dollars or less.", _NUMERIC),
    "latency_min_ms": Parameter(_float, "Took so many milliseconds or more.", _NUMERIC),
    "latency_max_ms": Parameter(_float, "Took so many milliseconds or less.", _NUMERIC),
    "tokens_min": Parameter(_whole, "Used so many tokens or more.", _INTEGER),
    "tokens_max": Parameter(_whole, "Used so many tokens or less.", _INTEGER),
    "text": Parameter(
        _text,
        "Holds this text, whatever the case. Needs the right to content.",
        _TEXT,
    ),
}
"""Every filter of a search by its parameter. A field of the application's own is ``field:<name>``.
"""


def read_filter(given: Mapping[str, str], scope: Scope) -> SearchFilter:
    """Read a search within what somebody may see.

    ``given`` has names of :data:`FILTERS` and ``field:<name>`` only. Raises Problem, or ConfigError
    for the name of a field that is none.
    """
    found: dict[str, Any] = {}
    own: dict[str, str] = {}
    for name, text in given.items():
        if name.startswith(FIELD):
            own[name.removeprefix(FIELD)] = text
            continue
        try:
            found[name] = FILTERS[name].read(text)
        except ValueError as error:
            raise wrong(name, str(error)) from error
    since, until = found.get("since"), found.get("until")
    if since is not None and until is not None and since >= until:
        raise wrong("since", "must lie before until")
    return SearchFilter(**found, fields=own, departments=scope.departments, tenants=scope.tenants)


def single(query: QueryParams, allowed: Collection[str], *, own: bool = False) -> dict[str, str]:
    """Give the parameters of a query, each once. Raises Problem for others."""
    found: dict[str, str] = {}
    for name, value in query.multi_items():
        if name not in allowed and not (own and name.startswith(FIELD)):
            known = ", ".join((*allowed, f"{FIELD}<name>") if own else allowed)
            raise bad_request(
                f"A parameter is not known here. Known are {known or 'none'}.",
                errors=[{"where": "query", "name": name[:80], "what": "unknown"}],
            )
        if name in found:
            raise wrong(name[:80], "is given twice")
        found[name] = value
    return found


def limit_of(given: Mapping[str, str], most: int = MOST_ROWS, usual: int = ROWS) -> int:
    """Read how many rows are wanted. Raises Problem."""
    text = given.get("limit")
    if text is None:
        return usual
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= most:
        raise wrong("limit", f"must be a whole number from 1 to {most}")
    return int(text)


def cursor_of(given: Mapping[str, str]) -> str | None:
    """Read where to go on. Raises Problem."""
    text = given.get("cursor")
    if text is not None and not 0 < len(text) <= _LONGEST_CURSOR:
        raise wrong("cursor", "is not one that a page gave")
    return text


def flag_of(given: Mapping[str, str], name: str) -> bool:
    """Read a yes or no. Raises Problem."""
    text = given.get(name, "false")
    if text not in {"true", "false"}:
        raise wrong(name, "must be true or false")
    return text == "true"


def wrong(name: str, what: str) -> Problem:
    """Say what is wrong with a parameter, without repeating it."""
    return bad_request(
        f"The parameter {name} {what}.", errors=[{"where": "query", "name": name, "what": what}]
    )


# -- for the reference -----------------------------------------------------------------------------

PAGES: Final[Mapping[str, Parameter]] = {
    "limit": Parameter(
        str,
        f"Rows of one page; {ROWS} by default.",
        {"type": "integer", "minimum": 1, "maximum": MOST_ROWS},
    ),
    "cursor": Parameter(str, "The member next of the page before.", {"type": "string"}),
}
REASON: Final[Mapping[str, Parameter]] = {
    "reason": Parameter(
        str,
        "Why content is read; noted in the ledger. The header X-Access-Reason does as well.",
        {"type": "string", "minLength": reasons.SHORTEST, "maxLength": reasons.LONGEST},
    ),
}
CONTENT: Final[Mapping[str, Parameter]] = {
    "content": Parameter(
        str,
        "Give requests and answers too. Needs the right to content, and a reason.",
        {"type": "string", "enum": ["true", "false"]},
    ),
    **REASON,
}


def described(*tables: Mapping[str, Parameter], own: bool = False) -> dict[str, Any]:
    """Write parameters for the OpenAPI description of a route."""
    listed: list[dict[str, Any]] = [
        {"name": name, "in": "query", "description": each.what, "schema": dict(each.schema)}
        for table in tables
        for name, each in table.items()
    ]
    if own:
        listed.append(
            {
                "name": "fields",
                "in": "query",
                "description": f"Fields of the application's own, as {FIELD}symbol=ABC.",
                "style": "form",
                "explode": True,
                "schema": {
                    "type": "object",
                    "maxProperties": 8,
                    "propertyNames": {"pattern": f"^{FIELD}[A-Za-z_][A-Za-z0-9_-]{{0,63}}$"},
                    "additionalProperties": _TEXT,
                },
            }
        )
    return {"parameters": listed}


def names(*tables: Iterable[str]) -> tuple[str, ...]:
    """Put the names of some tables together."""
    return tuple(name for table in tables for name in table)
