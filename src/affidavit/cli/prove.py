"""``affidavit prove`` and ``affidavit export``: evidence for somebody who has nothing of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from affidavit.cli import _common as common

Out = Annotated[Path, typer.Option("--out", help="A folder that does not exist yet.")]


def prove(
    call_id: Annotated[str, typer.Argument(metavar="CALL_ID", help="The call's id.")],
    out: Out,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Write what is recorded of one call, and the proof of it, into a folder.

    The folder holds content, and a page on verifying it without this program. The reading is
    noted in the ledger.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.evidence.bundle import write_bundle

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        records = list(log.seals.of_call(call_id))
        log.note_access("prove", {"call_id": call_id}, len(records))
        if not records:
            output.note(f"No call {call_id} in this log. `affidavit search` lists calls.")
            raise typer.Exit(FOUND_WRONG)
        about = write_bundle(log.seals, call_id, records, out)
    if json:
        output.as_json(about)
        return
    output.say(f"{len(about['records'])} records with their proofs are in {out}.")
    for row in about["left_out"]:
        output.say(f"  without proof: {row['event_type']} {row['id']}: {row['why']}")
    output.note("README.txt there says how to verify them. Give the log's key on another way.")


def export(
    out: Out,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Write the whole log into a folder: JSON Lines, tiles, and a manifest of counts and hashes.

    The manifest is signed where the log's key is on this host. The reading is noted in the ledger.
    """
    from affidavit.cli import _output as output
    from affidavit.errors import SealError
    from affidavit.evidence.export import write_export
    from affidavit.sealer.keys import open_key

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        log.note_access("export", {}, None)
        try:
            signer = open_key(log.seals, config, create=False).signer
        except SealError:
            signer = None
        progress = _tell if sys.stderr.isatty() else None
        manifest = write_export(log.seals, out, signer=signer, progress=progress)
    if json:
        output.as_json(manifest)
        return
    for name, row in manifest["files"].items():
        if "count" in row:
            output.say(f"{row['count']:>12,} {name}")
    output.say(f"The log, {manifest['size']:,} leaves, is in {out}.")
    if signer is None:
        output.note("The log's key is not on this host, so the manifest is not signed.")


def _tell(name: str, count: int) -> None:
    sys.stderr.write(f"\r{name}: {count:,}\x1b[K")
    sys.stderr.flush()
