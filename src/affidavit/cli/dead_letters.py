"""``affidavit dead-letters``: records the database refused, on this machine, with the reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from affidavit.cli import _common as common

commands = typer.Typer(
    help="Records the database refused, kept on this machine with the reason.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

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
    from affidavit._engine.retry import dead_letters
    from affidavit.cli import _output as output

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        found = dead_letters(config, log.dataset).all(writer)
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

    from affidavit._engine.retry import dead_letters
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        kept = dead_letters(config, log.dataset).all()
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
    from affidavit._engine.retry import dead_letters
    from affidavit._engine.retry import retry as send_again
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.store import connect

    config = common.settings(collection)
    store = connect(common.address(uri), config)
    try:
        kept = dead_letters(config, store.dataset)
        done = send_again(store, kept, kept.all(writer))
    finally:
        store.close()
    if done.stored or done.refused:
        with common.opened(uri, config) as log:
            log.note_retry(len(done.stored), len(done.refused))
            for name in sorted({letter.writer for letter in done.stored}):
                log.correct_retried(name, kept.retried(name))
    if json:
        refused = [
            {"writer": letter.writer, "seq": letter.record.seq, "reason": reason}
            for letter, reason in done.refused
        ]
        output.as_json({"stored": len(done.stored), "refused": refused})
    else:
        output.say(f"{len(done.stored)} stored, {len(done.refused)} refused again.")
        for letter, reason in done.refused[:20]:
            output.say(f"  {letter.writer} {letter.record.seq}: {reason}")
    if done.refused:
        raise typer.Exit(FOUND_WRONG)
