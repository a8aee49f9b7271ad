"""``affidavit tokens``: who may come in to the service, without a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.console.visitor import Role

commands = typer.Typer(
    help="Tokens of the HTTP service: make one, list them, end one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DAYS = 90


@commands.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the person or program.")],
    *,
    role: Annotated[str, typer.Option("--role", help="writer, viewer, analyst, auditor or admin.")],
    department: Annotated[
        list[str] | None,
        typer.Option(
            "--department", help="See this department only; again for more.", show_default=False
        ),
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option("--tenant", help="See this tenant only; again for more.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option("--days", help="Until it ends: 1 to 366.")] = DAYS,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Make a token and print it, this once: the store keeps its hash.

    Needs the database rights of the service. The making is noted in the ledger, with who ran this.
    """
    from affidavit.cli import _output as output
    from affidavit.console.auth import granting
    from affidavit.console.auth.tokens import Tokens
    from affidavit.console.visitor import Scope
    from affidavit.store import service_of

    scope = Scope(
        granting.names(department or (), "departments"), granting.names(tenant or (), "tenants")
    )
    wanted = granting.Grant(name, _role(role), scope, days).checked()
    with common.opened(uri, common.settings(collection)) as log:
        text, made = granting.grant(
            Tokens(service_of(log)), wanted, by=_me(), within=Scope(), note=log.note_access
        )
    if json:
        output.as_json({"token": text, **_row(made)})
        return
    output.say(text)
    output.note(
        f"It is shown this once. {made.name}: {made.role}, until {output.moment(made.until)} UTC. "
        f"`affidavit tokens revoke {made.id}` ends it."
    )


@commands.command("list")
def list_(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that ended within a year.")
    ] = False,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """List tokens, newest first: role, limits, last use and end. Their secrets are not kept."""
    from affidavit.cli import _output as output
    from affidavit.console.auth.tokens import Tokens
    from affidavit.store import service_of

    with common.opened(uri, common.settings(collection)) as log:
        found = [_row(each) for each in Tokens(service_of(log)).all()]
        rows = [row for row in found if everything or row["state"] == "works"]
        log.note_access("token list", {}, len(rows))
    if json:
        output.as_json(rows)
        return
    columns = ("id", "name", "role", "departments", "tenants", "state", "used_at", "until")
    output.table(
        ("id", "name", "role", "departments", "tenants", "state", "last used (UTC)", "until (UTC)"),
        [[_cell(row[name]) for name in columns] for row in rows],
    )
    left_out = len(found) - len(rows)
    output.note(f"{len(rows)} tokens." + (f" --all shows {left_out} more." if left_out else ""))


@commands.command("revoke")
def revoke(
    public: Annotated[str, typer.Argument(metavar="ID", help="Its id, from list.")],
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """End a token for good, and the sessions that it opened.

    Services that run hear of it within five seconds.
    """
    from affidavit.cli import _output as output
    from affidavit.console.auth import granting
    from affidavit.console.auth.sessions import Sessions
    from affidavit.console.auth.tokens import Tokens, public_id
    from affidavit.console.visitor import Scope
    from affidavit.store import service_of

    with common.opened(uri, common.settings(collection)) as log:
        store = service_of(log)
        ended = granting.revoke(
            Tokens(store),
            Sessions(store),
            public_id(public),
            by=_me(),
            within=Scope(),
            note=log.note_access,
        )
    if json:
        output.as_json(_row(ended))
    else:
        output.say(f"{ended.prefix} ({ended.name}) has ended.")


def _role(text: str) -> Role:
    from affidavit.console.visitor import Role

    return Role(common.checked(text, "--role", tuple(role.value for role in Role)) or "")


def _me() -> str:
    """Name who runs this, as the ledger does."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in small containers
        user = f"uid {os.getuid()}"
    return f"{user} @ {socket.gethostname()}"


def _row(token: Any) -> dict[str, Any]:
    from datetime import UTC, datetime

    from affidavit.console.auth import granting

    return granting.shown(token, datetime.now(UTC))


def _cell(value: Any) -> Any:
    return ", ".join(value) or "none" if isinstance(value, list) else value
