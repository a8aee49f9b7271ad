"""``affidavit checkpoint``: the newest signed statement of what the log holds."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Annotated

import typer

from affidavit.cli import _common as common


def checkpoint(
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it to this file.", show_default=False)
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Print the newest signed checkpoint. Keep it outside the database, to verify against later.

    Holds no content, so nothing is noted in the ledger. Exits with 1 where the log has none.
    """
    from affidavit.cli import _output as output
    from affidavit.errors import SealError
    from affidavit.integrity.checkpoint import open_checkpoint
    from affidavit.integrity.errors import IntegrityError
    from affidavit.integrity.note import VerifierKey
    from affidavit.sealer.tree import broken

    with common.opened(uri, common.settings(collection)) as log:
        last = log.seals.last_seal()
    if last is None:
        msg = "This log has no checkpoint yet. `affidavit seal --once` makes the first."
        raise SealError(msg)
    try:
        found = open_checkpoint(last["cp"], VerifierKey.parse(last["vkey"])).checkpoint
    except (IntegrityError, KeyError, TypeError) as error:
        raise broken(last) from error
    if out is not None:
        out.write_text(last["cp"], encoding="utf-8")
    if json:
        output.as_json({
            "origin": found.origin,
            "size": found.size,
            "root": b64encode(found.root).decode(),
            "at": last["at"],
            "vkey": last["vkey"],
            "checkpoint": last["cp"],
        })  # fmt: skip
    elif out is not None:
        output.say(f"{found.size} leaves, {output.moment(last['at'])} UTC, to {out}")
    else:
        typer.echo(last["cp"], nl=False)
