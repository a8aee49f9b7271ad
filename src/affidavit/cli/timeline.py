"""``affidavit timeline``: everything of a user, a session, an address, a reference or a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from affidavit.store.forensics import Entry, Forensics, Trail

_LENGTH: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_COLUMNS: Final = ("time (UTC)", "kind", "status", "user", "address", "id", "text")


def timeline(  # noqa: PLR0913, PLR0917 - one parameter for each option
    user: Annotated[
        str | None, typer.Option("--user", help="All of this user.", show_default=False)
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="All of this session.", show_default=False)
    ] = None,
    ip: Annotated[
        str | None, typer.Option("--ip", help="All from this address.", show_default=False)
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option(
            "--ref", help="Calls that annotations link to this order, ticket, …", show_default=False
        ),
    ] = None,
    around: Annotated[
        str | None,
        typer.Option(
            "--around", help="Everything around a time, or a record's id.", show_default=False
        ),
    ] = None,
    window: Annotated[
        str, typer.Option("--window", help="With --around: so long before and after.")
    ] = "10m",
    shared: Annotated[
        bool,
        typer.Option(
            "--shared", help="Who else used the address, or the addresses of the user, instead."
        ),
    ] = False,
    since: common.Since = None,
    until: common.Until = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Entries.")] = 200,
    cursor: Annotated[
        str | None,
        typer.Option("--cursor", help="Go on where a page ended.", show_default=False),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    legacy_timezone: common.Timezone = None,
    json: common.Json = False,
) -> None:
    """Show what is recorded of somebody or of a moment, oldest first, and who has read of it.

    Calls, rate limits, security events, annotations, and readings by people. The reading is noted
    in the ledger.
    """
    from affidavit.analytics import forensics
    from affidavit.cli import _output as output
    from affidavit.store.forensics import Trail

    start, end = common.span(since, until)
    trail = Trail(user, session, ip, ref, start, end)
    _check(trail, around, shared=shared)
    with common.reading(uri, common.settings(collection, legacy_timezone)) as log:
        store = log.forensics
        if around is not None:
            trail = forensics.around(_moment(store, around), _length(window))
        trail, remark = forensics.bounded(trail, datetime.now(UTC))
        asked = {**trail.as_details(), **({"around": around} if around else {})}
        if shared:
            rows = store.sharers(trail)
            log.note_access("timeline --shared", asked, len(rows))
        else:
            page = store.timeline(trail, limit, cursor)
            log.note_access("timeline", asked, len(page.entries))
    if remark is not None:
        output.note(remark)
    if json:
        output.as_json(rows if shared else page)
    elif shared:
        columns = ("address", "user", "records", "first (UTC)", "last (UTC)")
        output.table(columns, ((r.ip_address, r.user_id, r.records, r.first, r.last) for r in rows))
    else:
        lines = [line for entry in page.entries for line in _lines(entry, trail)]
        output.table(_COLUMNS, lines, wrapped=("text",))
        if not lines:
            output.note("Nothing found." if page.next is None else "Nothing found so far.")
        if page.next is not None:
            output.note(f"There is more: repeat with --cursor {page.next}")


def _check(trail: Trail, around: str | None, *, shared: bool) -> None:
    if around is not None and (trail.named or trail.since or trail.until):
        msg = "--around shows everything of its window: leave out the other choices."
        raise ConfigError(msg)
    if around is None and not trail.named:
        msg = "Say what to follow: --user, --session, --ip, --ref, or --around a time or record."
        raise ConfigError(msg)
    if trail.ref is not None and (trail.user_id or trail.session_id or trail.ip_address):
        msg = "--ref leads to annotations, which belong to calls: leave out the other choices."
        raise ConfigError(msg)
    if shared and not (trail.user_id or trail.ip_address):
        msg = "--shared asks about addresses: give --ip, or --user for all of that user's."
        raise ConfigError(msg)


def _moment(store: Forensics, around: str) -> datetime:
    try:
        found = common.when(around, "--around")
    except ConfigError:
        found = store.moment(around)
        if found is None:
            msg = (
                f"--around {around!r} is neither a time nor the id of a record in this log. Write "
                "2026-11-01T09:30, 2h (ago), or an id that `affidavit search` shows."
            )
            raise ConfigError(msg) from None
    if found is None:
        msg = "--around needs a time or an id."
        raise ConfigError(msg)
    return found


def _length(text: str) -> timedelta:
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        msg = f"--window {text!r} is no length of time. Write 30s, 10m, 2h or 1d."
        raise ConfigError(msg)
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def _lines(entry: Entry, trail: Trail) -> Iterator[tuple[object, ...]]:
    """Give the lines of one entry; what is linked to it is indented."""
    yield _line(entry.record, ledger=entry.source == "ledger")
    sign = "← " if trail.ref is not None else "→ "
    for record in entry.linked:
        time, kind, *rest = _line(record)
        yield (time, f"{sign}{kind}", *rest)


def _line(record: Mapping[str, Any], *, ledger: bool = False) -> tuple[object, ...]:
    from affidavit.cli._output import moment
    from affidavit.cli._rows import KINDS, summary

    kind = str(record.get("event_type"))
    client = record.get("client_info")
    address = client.get("ip_address") if isinstance(client, dict) else None
    user, text = record.get("user_id"), summary(record)
    if ledger:
        actor, details = record.get("actor") or {}, record.get("details") or {}
        user = actor.get("os_user") or actor.get("service")
        asked = details.get("filter") or {}
        told = " ".join(f"{name}={value}" for name, value in asked.items())
        text = f"{details.get('command', '')} {told}".strip() or text
    identity = record.get("call_id") or record.get("_id")
    named = KINDS.get(kind, kind) if not ledger else kind
    return (
        moment(record.get("timestamp")),
        named,
        record.get("status"),
        user,
        address,
        identity,
        text,
    )
