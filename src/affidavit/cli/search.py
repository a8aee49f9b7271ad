"""``affidavit search``: calls and events by their dimensions, newest first, in pages."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError

_RANGE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,12})?)?\.\.(\d{1,15}(?:\.\d{1,12})?)?", re.ASCII)


def search(  # noqa: PLR0913, PLR0917 - one parameter for each option
    text: Annotated[
        str | None,
        typer.Argument(help="Text to find in requests, answers and errors.", show_default=False),
    ] = None,
    user: common.User = None,
    department: common.Department = None,
    event_type: common.Kind = None,
    provider: common.Provider = None,
    model: common.Model = None,
    status: common.Status = None,
    since: common.Since = None,
    until: common.Until = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Only this tenant.", show_default=False)
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", help="Only this one.", show_default=False)
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", help="Only this service.", show_default=False)
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", help="Only this session.", show_default=False)
    ] = None,
    conversation: Annotated[
        str | None, typer.Option("--conversation", help="Only this one.", show_default=False)
    ] = None,
    error: Annotated[
        str | None,
        typer.Option("--error", help="Failed with this kind of error.", show_default=False),
    ] = None,
    finish_reason: Annotated[
        str | None,
        typer.Option("--finish-reason", help="Ended for this reason.", show_default=False),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            "--cost", help="Dollars, from..to: 0.01..0.5, 1.. or ..1.", show_default=False
        ),
    ] = None,
    took: Annotated[
        str | None,
        typer.Option("--took", help="Milliseconds, from..to.", show_default=False),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Tokens, from..to.", show_default=False)
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field", help="Only name=value of your own fields; repeatable.", show_default=False
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Rows.")] = 50,
    cursor: Annotated[
        str | None,
        typer.Option("--cursor", help="Go on where a page ended.", show_default=False),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    legacy_timezone: common.Timezone = None,
    json: common.Json = False,
) -> None:
    """Find calls and events, newest first. The reading is noted in the ledger."""
    from affidavit.cli import _output as output
    from affidavit.cli._rows import CALLS, COLUMNS, CORRECTED, line, shortened
    from affidavit.store import prices_of
    from affidavit.store.questions import SearchFilter

    if text is not None and not text.strip():
        msg = "The text to look for is empty. Give a word of it, or leave it out to see all calls."
        raise ConfigError(msg)
    start, end = common.span(since, until)
    cost_from, cost_to = _range(cost, "--cost")
    took_from, took_to = _range(took, "--took")
    tokens_from, tokens_to = _range(tokens, "--tokens")
    wanted = SearchFilter(
        user_id=user,
        department=department,
        event_type=event_type,
        provider=provider,
        model=model,
        status=common.checked(status, "--status", common.STATUSES),
        since=start,
        until=end,
        text=text,
        tenant=tenant,
        environment=environment,
        service=service,
        session_id=session,
        conversation_id=conversation,
        error_type=error,
        finish_reason=finish_reason,
        cost_min_usd=cost_from,
        cost_max_usd=cost_to,
        latency_min_ms=None if took_from is None else float(took_from),
        latency_max_ms=None if took_to is None else float(took_to),
        tokens_min=None if tokens_from is None else int(tokens_from),
        tokens_max=None if tokens_to is None else int(tokens_to),
        fields=dict(_own(each) for each in field or ()),
    )
    with common.reading(uri, common.settings(collection, legacy_timezone)) as log:
        page = log.reader.search(wanted, limit, cursor)
        log.note_access("search", wanted.as_details(), len(page.rows))
        calls = [str(row.get("call_id")) for row in page.rows if row.get("event_type") in CALLS]
        fixed = {} if json or not calls else prices_of(log).corrections(calls)
    if json:
        output.as_json({"rows": page.rows, "next": page.next})
        return
    output.table(COLUMNS, shortened([line(row, fixed) for row in page.rows]))
    if fixed:
        output.note(f"{CORRECTED} corrected; `affidavit show` of the id has what was recorded.")
    if not page.rows:
        output.note("Nothing found." if page.next is None else "Nothing found so far.")
    if page.next is not None:
        output.note(f"There is more: repeat with --cursor {page.next}")


def _range(text: str | None, option: str) -> tuple[Decimal | None, Decimal | None]:
    """Read a range; either end may be missing."""
    if text is None:
        return None, None
    found = _RANGE.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        msg = f"{option} {text!r} is no range. Write 10..500, 10.. or ..500."
        raise ConfigError(msg)
    low, high = (Decimal(end) if end else None for end in found.groups())
    if low is not None and high is not None and low > high:
        msg = f"{option} {text!r} ends before it begins. Exchange its ends."
        raise ConfigError(msg)
    return low, high


def _own(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name.strip():
        msg = f"--field {text!r} chooses nothing. Write --field symbol=ABC."
        raise ConfigError(msg)
    return name.strip(), value
