"""What commands share: options, opening the log, and reading times."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.config import AuditConfig
    from affidavit.store.mongo.log import MongoLog

Uri = Annotated[
    str | None,
    typer.Option(
        "--uri", help="Address with database (else AFFIDAVIT_MONGODB_URI).", show_default=False
    ),
]
Collection = Annotated[
    str | None,
    typer.Option("--collection", help="Records collection (else llm_audit).", show_default=False),
]
Timezone = Annotated[
    str | None,
    typer.Option(
        "--legacy-timezone", help="Zone of an older logger's local times.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
User = Annotated[str | None, typer.Option("--user", help="Only this user.", show_default=False)]
Department = Annotated[
    str | None, typer.Option("--department", help="Only this department.", show_default=False)
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--event-type",
        help="llm_request, rate_limit_exceeded, security_event, …",
        show_default=False,
    ),
]
Provider = Annotated[
    str | None, typer.Option("--provider", help="Only this provider.", show_default=False)
]
Model = Annotated[str | None, typer.Option("--model", help="Only this model.", show_default=False)]
Status = Annotated[
    str | None,
    typer.Option("--status", help="initiated, completed, failed or aborted.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", help="From: 30m, 24h, 7d, 2026-11-01 or a full time (UTC).", show_default=False
    ),
]
Until = Annotated[
    str | None, typer.Option("--until", help="Up to, as --since.", show_default=False)
]

STATUSES: Final = ("initiated", "completed", "failed", "aborted")
_AGO: Final = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def settings(
    collection: str | None = None, legacy_timezone: str | None = None, **more: Any
) -> AuditConfig:
    """Resolve the settings: these options over the environment over affidavit.toml."""
    from affidavit.config import AuditConfig

    given = {"collection": collection, "legacy_timezone": legacy_timezone, **more}
    chosen: Any = {name: value for name, value in given.items() if value is not None}
    return AuditConfig.load(**chosen)


def address(uri: str | None) -> str:
    """Find the address of the database, or raise ConfigError with where to put it."""
    from affidavit.config import mongodb_uri

    found = mongodb_uri(uri)
    if not found:
        msg = (
            "No database given. Use --uri mongodb://host/database, or set AFFIDAVIT_MONGODB_URI, "
            "or mongodb_uri in affidavit.toml."
        )
        raise ConfigError(msg)
    return found


@contextmanager
def opened(uri: str | None, config: AuditConfig) -> Iterator[MongoLog]:
    """Open the log, and close it after the command."""
    from affidavit.store import open_log

    with open_log(address(uri), config) as log:
        yield log


@contextmanager
def reading(uri: str | None, config: AuditConfig) -> Iterator[MongoLog]:
    """Open a log that is to be read; raises ConfigError where none is, and writes nothing there."""
    with opened(uri, config) as log:
        log.check_there()
        yield log


def when(text: str | None, option: str) -> datetime | None:
    """Read a time: ``2h`` ago, a date, or ISO 8601; without a zone it is UTC."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago:
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        moment = datetime.fromisoformat(text.strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment.astimezone(UTC)  # at the ends of the calendar there may be no such time
    except (ValueError, OverflowError) as error:
        msg = f"{option} {text!r} is no time. Write 30m, 24h, 7d, 2026-11-01 or 2026-11-01T09:30."
        raise ConfigError(msg) from error
    return moment


def span(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Read ``--since`` and ``--until``; a span that ends before it begins is an error."""
    start, end = when(since, "--since"), when(until, "--until")
    if start is not None and end is not None and start >= end:
        msg = (
            f"--since {since!r} ({_minute(start)}) does not lie before --until {until!r} "
            f"({_minute(end)}), so nothing can lie between them. Exchange or correct them."
        )
        raise ConfigError(msg)
    return start, end


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def checked(value: str | None, option: str, allowed: tuple[str, ...]) -> str | None:
    """Check an option of a fixed vocabulary."""
    if value is not None and value not in allowed:
        msg = f"{option} {value!r} is unknown. Use one of {', '.join(allowed)}."
        raise ConfigError(msg)
    return value
