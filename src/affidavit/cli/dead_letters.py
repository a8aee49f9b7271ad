"""``affidavit dead-letters``: records the database refused, on this machine, with the reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.spool.dead import DeadLetter, DeadLetters

commands = typer.Typer(
    help="Records the database refused, kept on this machine with the reason.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_BATCH = 500
_TIMEOUT_S = 30.0

Writer = Annotated[
    str | None, typer.Option("--writer", help="Only of this writer.", show_default=False)
]


@commands.command("list")
def list_(
    writer: Writer = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """List them: which, since when and why. Shows no content."""
    from affidavit.cli import _output as output

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        found = _kept(config, log.dataset).all(writer)
    rows = [
        (
            datetime.fromtimestamp(letter.at_ms / 1000, UTC),
            letter.writer,
            letter.record.seq,
            letter.record.record_id.hex(),
            letter.record.dest.value,
            len(letter.record.body),
            letter.reason,
        )
        for letter in found
    ]
    columns = ("refused at (UTC)", "writer", "seq", "id", "for", "bytes", "reason")
    if json:
        output.as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        output.table(columns, rows)
        output.note(f"{len(rows)} dead letters.")


@commands.command("show")
def show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The record's id, from list.")],
    uri: common.Uri = None,
    collection: common.Collection = None,
) -> None:
    """Print one record as JSON. The reading is noted in the ledger."""
    import bson

    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        kept = _kept(config, log.dataset).all()
        found = [letter for letter in kept if letter.record.record_id.hex() == identity]
        log.note_access("dead-letters show", {"id": identity}, len(found))
    if not found:
        output.note(f"No dead letter {identity} on this machine.")
        raise typer.Exit(FOUND_WRONG)
    for letter in found:
        output.as_json({"reason": letter.reason, "record": bson.decode(letter.record.body)})


@commands.command("retry")
def retry(
    writer: Writer = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Send them again, with the same bytes; what is stored leaves the list.

    Exits with 1 when some are refused again.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.store import connect
    from affidavit.store.base import Outcome

    config = common.settings(collection)
    store = connect(common.address(uri), config)
    try:
        kept = _kept(config, store.dataset)
        letters = kept.all(writer)
        again: list[tuple[DeadLetter, str]] = []
        for start in range(0, len(letters), _BATCH):
            batch = letters[start : start + _BATCH]
            verdicts = store.append([letter.record for letter in batch], _TIMEOUT_S)
            pairs = list(zip(batch, verdicts, strict=True))
            kept.forget([letter for letter, v in pairs if v.outcome is Outcome.STORED])
            again += [(letter, v.reason) for letter, v in pairs if v.outcome is not Outcome.STORED]
    finally:
        store.close()
    stored = len(letters) - len(again)
    if letters:
        with common.opened(uri, config) as log:
            log.note_retry(stored, len(again))
    if json:
        refused = [
            {"writer": letter.writer, "seq": letter.record.seq, "reason": r} for letter, r in again
        ]
        output.as_json({"stored": stored, "refused": refused})
    else:
        output.say(f"{stored} stored, {len(again)} refused again.")
        for letter, reason in again[:20]:
            output.say(f"  {letter.writer} {letter.record.seq}: {reason}")
    if again:
        raise typer.Exit(FOUND_WRONG)


def _kept(config: AuditConfig, dataset: str) -> DeadLetters:
    from affidavit.spool.dead import DeadLetters
    from affidavit.spool.owner import dataset_folder, default_directory

    directory = Path(config.spool_dir) if config.spool_dir else default_directory()
    return DeadLetters(dataset_folder(directory, dataset))
