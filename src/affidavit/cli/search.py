"""``affidavit search``: calls and events by their dimensions, newest first, in pages."""

from __future__ import annotations

from typing import Annotated

import typer

from affidavit.cli import _common as common


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
    from affidavit.cli._rows import COLUMNS, line
    from affidavit.store.questions import SearchFilter

    start, end = common.span(since, until)
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
    )
    with common.opened(uri, common.settings(collection, legacy_timezone)) as log:
        page = log.reader.search(wanted, limit, cursor)
        log.note_access("search", wanted.as_details(), len(page.rows))
    if json:
        output.as_json({"rows": page.rows, "next": page.next})
        return
    output.table(COLUMNS, map(line, page.rows))
    if not page.rows:
        output.note("Nothing found." if page.next is None else "Nothing found so far.")
    if page.next is not None:
        output.note(f"There is more: repeat with --cursor {page.next}")
