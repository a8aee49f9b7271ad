"""``affidavit stats``: calls and cost by group."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.store.questions import GroupBy

_NAMES = {"user": "user_id"}


def stats(
    by: Annotated[
        str, typer.Option("--by", help="provider, user, department, model or status.")
    ] = "provider",
    since: common.Since = "30d",
    until: common.Until = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Count finished calls and add up their cost, exactly. The reading is noted in the ledger."""
    from affidavit.cli import _output as output
    from affidavit.store.questions import GroupBy

    name = _NAMES.get(by, by)
    allowed = tuple(g for g in get_args(GroupBy) if g not in _NAMES.values())
    group: GroupBy = common.checked(name, "--by", (*allowed, *_NAMES.values()))  # type: ignore[assignment]
    start, end = common.span(since, until)
    with common.opened(uri, common.settings(collection)) as log:
        rows = log.reader.usage(group, start, end)
        log.note_access("stats", {"by": group, "since": start, "until": end}, len(rows))
    if json:
        output.as_json({"by": group, "since": start, "until": end, "groups": rows})
        return
    total = sum((row.cost_usd for row in rows), Decimal(0))
    shown: list[tuple[object, ...]] = [
        (row.group, row.calls, row.failed, row.tokens, row.cost_usd, row.mean_ms) for row in rows
    ]
    shown.append(
        (
            "all",
            sum(r.calls for r in rows),
            sum(r.failed for r in rows),
            sum(r.tokens for r in rows),
            total,
            None,
        )
    )
    output.table((by, "calls", "failed", "tokens", "cost USD", "mean ms"), shown)
