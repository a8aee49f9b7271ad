"""``affidavit tail``: the newest records, and those that follow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common
from affidavit.cli._pipe import reader_is_gone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EVERY_S = 1.0


def tail(  # noqa: PLR0913, PLR0917 - one parameter for each option
    limit: Annotated[int, typer.Option("--lines", "-n", min=1, max=1000, help="Records.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new records until Ctrl-C.")
    ] = False,
    user: common.User = None,
    department: common.Department = None,
    event_type: common.Kind = None,
    provider: common.Provider = None,
    model: common.Model = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    legacy_timezone: common.Timezone = None,
    json: common.Json = False,
) -> None:
    """Show the newest calls and events, oldest of them first. The reading is noted once."""
    from affidavit.store.questions import SearchFilter

    wanted = SearchFilter(
        user_id=user, department=department, event_type=event_type, provider=provider, model=model
    )
    seen: set[Any] = set()
    with common.reading(uri, common.settings(collection, legacy_timezone)) as log:
        rows, since = log.reader.tail(wanted, seen, None, limit)
        asked = {**wanted.as_details(), "lines": limit, "follow": follow}
        log.note_access("tail", asked, len(rows))
        _print(rows, json=json, header=True)
        try:
            while follow and not reader_is_gone():
                time.sleep(_EVERY_S)
                rows, since = log.reader.tail(wanted, seen, since)
                _print(rows, json=json, header=False)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


def _print(rows: Iterable[Mapping[str, Any]], *, json: bool, header: bool) -> None:
    from affidavit.cli import _output as output
    from affidavit.cli._rows import COLUMNS, line
    from affidavit.cli._text import shorten

    if json:
        for row in rows:
            output.as_json(row, indent=None)
        return
    # Fixed widths: a table that grows cannot be laid out again.
    widths = (23, 10, 9, 16, 20, 6, 10, 7, 24)
    titles: list[tuple[object, ...]] = [COLUMNS] if header else []
    for cells in (*titles, *map(line, rows)):
        *short, text = (output.cell(value) for value in cells)
        fixed = (f"{shorten(value, w):{w}s}" for value, w in zip(short, widths, strict=True))
        output.say("  ".join((*fixed, text)).rstrip())
    output.flush()
