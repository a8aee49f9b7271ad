"""``affidavit hold``: records that nobody may erase for now."""

from __future__ import annotations

from typing import Annotated

import typer

from affidavit.cli import _common as common

commands = typer.Typer(
    help="Legal holds: records that may not be erased for now.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Reason = Annotated[
    str | None,
    typer.Option("--reason", help="Goes into the ledger: a case, not a name.", show_default=False),
]


@commands.command("add")
def add(
    *,
    user: Annotated[
        str | None, typer.Option("--user", help="Records of this user.", show_default=False)
    ] = None,
    call: Annotated[
        list[str] | None,
        typer.Option("--call", help="Records of this call; can be repeated.", show_default=False),
    ] = None,
    record: Annotated[
        list[str] | None,
        typer.Option("--record", help="This record; can be repeated.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every record.")] = False,
    reason: Reason = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Set a hold: `affidavit erase` refuses what it covers. Expiry goes on; docs/how-to/erasure.md.

    The ledger keeps a keyed hash of what is held, and not the name.
    """
    from affidavit.cli import _output as output
    from affidavit.errors import ConfigError
    from affidavit.lifecycle import asked, holds

    config = common.settings(collection)
    given = {"user": user, "call": call, "record": record, "all": everything}
    chosen = [of for of, value in given.items() if value]
    if len(chosen) != 1:
        msg = "Say what to hold with one of --user, --call, --record and --all."
        raise ConfigError(msg)
    names = list(asked.forms_of(user, config)) if user else [*(call or ()), *(record or ())]
    said = asked.reason_of(reason)
    with common.opened(uri, config) as log:
        name = holds.add(log.erasing, chosen[0], names, said)
    if json:
        output.as_json({"hold": name, "of": chosen[0]})
    else:
        output.say(f"{name} is in force.")


@commands.command("list")
def list_(
    uri: common.Uri = None, collection: common.Collection = None, json: common.Json = False
) -> None:
    """List the holds that are in force: since when, by whom, why. Shows no names."""
    from affidavit.cli import _output as output
    from affidavit.event import LedgerEvent
    from affidavit.lifecycle import holds

    with common.opened(uri, common.settings(collection)) as log:
        found = holds.in_force(log.erasing.ledger(LedgerEvent.HOLD))
    columns = ("hold", "of", "since (UTC)", "by", "reason")
    rows = [(h.id, h.of, h.since, f"{h.by.get('os_user')}@{h.by.get('host')}", h.reason)
            for h in found]  # fmt: skip
    if json:
        output.as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        output.table(columns, rows)
        output.note(f"{len(rows)} holds.")


@commands.command("release")
def release(
    name: Annotated[str, typer.Argument(metavar="HOLD", help="Its name, from list.")],
    reason: Reason = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
) -> None:
    """End a hold."""
    from affidavit.cli import _output as output
    from affidavit.lifecycle import asked, holds

    said = asked.reason_of(reason)
    with common.opened(uri, common.settings(collection)) as log:
        holds.release(log.erasing, name, said)
    output.say(f"{name} is released.")
