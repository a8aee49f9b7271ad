"""``affidavit import``: put an export back, into an empty place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.integrity.findings import Report


def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `export` has written.")],
    *,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="A checkpoint that was saved before.", show_default=False
        ),
    ] = None,
    vkey: Annotated[
        str | None,
        typer.Option(
            "--vkey", help="The log's key, as it is known beforehand.", show_default=False
        ),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Put an exported log into an empty database: to move it, or to restore it.

    The export is verified first, and the imported log afterwards, against the same checkpoint:
    nothing is hashed or signed anew. Can be repeated when it was interrupted. Refuses a place that
    holds anything else. Needs the roles of a writer and of a sealer, and in a database that is not
    set up the set-up role. Exits as `affidavit verify` does where one of the two does not hold.
    """
    from affidavit.cli import _output as output
    from affidavit.errors import ConfigError
    from affidavit.evidence.folder import ExportFolder
    from affidavit.integrity.errors import IntegrityError
    from affidavit.integrity.trust import Trust
    from affidavit.lifecycle.importing import bring_in
    from affidavit.store import connect

    config = common.settings(collection)
    known = vkey if vkey is not None else config.seal_vkey
    export = ExportFolder(folder)
    try:
        saved = None if checkpoint is None else checkpoint.read_text(encoding="utf-8")
        trust = Trust(known, "vkey" if vkey is not None else "configuration", saved)
        report = _verified(export, trust)
        export.check_manifest(report, trust.keys)
    except (IntegrityError, OSError, ValueError) as error:
        raise ConfigError(str(error)) from error
    _refuse(report, "Nothing was imported: the export does not hold.")
    with common.opened(uri, config) as log:
        log.restoring.check_free(export.identity() or {})
        store = connect(common.address(uri), config)
        try:
            store.prepare(60)
        finally:
            store.close()
        done = bring_in(export, log.restoring, log.erasing, _progress())
        report = _verified(log.seals, Trust(report.vkey, "vkey", export.checkpoint))
    if json:
        output.as_json({
            "origin": done.origin, "size": done.size, "read": dict(done.read),
            "new": dict(done.new), "verification": report.as_dict(),
        })  # fmt: skip
    else:
        for name, count in sorted(done.read.items()):
            output.say(f"{done.new[name]:>12,} of {count:,} {name} were new")
    _refuse(report, "The import is there, and does not hold: see `affidavit verify`.")
    if not json:
        output.say(f"The log {done.origin}, {done.size:,} leaves, is here, and it holds.")
        output.note("To go on with it, give the sealer the log's key; docs/how-to/moving.md.")


def _verified(reader: Any, trust: Any) -> Report:
    from datetime import UTC, datetime

    from affidavit.integrity.verify import verify

    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return verify(reader, trust, now_ms=now_ms, progress=_progress("leaves verified"))


def _refuse(report: Report, why: str) -> None:
    """End with the verification's exit code where it found something, or there is nothing."""
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG

    if report.clean and report.size:
        return
    for finding in report.findings[:20]:
        output.note(f"{finding.kind.value.upper()}  {finding.text}")
    output.note(why)
    raise typer.Exit(report.exit_code or FOUND_WRONG)


def _progress(counted: str | None = None) -> Any:
    if not sys.stderr.isatty():
        return None

    def tell(first: Any, second: int) -> None:
        said = f"{first:,} {counted}" if counted else f"{first}: {second:,}"
        sys.stderr.write(f"\r{said}\x1b[K")
        sys.stderr.flush()

    return tell
