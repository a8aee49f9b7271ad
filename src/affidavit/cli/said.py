"""``affidavit said``: did this text ever reach a model?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from affidavit.analytics.forensics import Match

_MOST_BYTES = 1024**2


def said(  # noqa: PLR0913 - one parameter for each option
    text: Annotated[
        str | None,
        typer.Argument(help="The text; better --file, which no list of processes shows."),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A file with the text; - is standard input."),
    ] = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="Search the stored texts, also with said_key.")
    ] = False,
    since: common.Since = None,
    until: common.Until = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    legacy_timezone: common.Timezone = None,
    json: common.Json = False,
) -> None:
    """Find requests that had a text: by keyed hashes with said_key, else in what is stored.

    Exits with 0 where it was found, with 1 where not. The reading is noted in the ledger, with a
    hash of the text and its length, and never the text.
    """
    from affidavit.analytics import forensics
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.pipeline.said import fingerprints_of

    wanted = _given(text, file)
    if not wanted.strip():
        msg = (
            "The text is empty, and every request would have it. Give some words of it, or a file "
            "that holds them."
        )
        raise ConfigError(msg)
    start, end = common.span(since, until)
    config = common.settings(collection, legacy_timezone)
    prints = fingerprints_of(config)
    with common.reading(uri, config) as log:
        by = None if stored else prints
        found = forensics.said(log.forensics, wanted, by, start, end)
        asked = {**forensics.asked_of(wanted, prints), "since": start, "until": end}
        told = {name: value for name, value in asked.items() if value is not None}
        log.note_access("said", told, len(found.matches))
    for remark in found.notes:
        output.note(remark)
    if json:
        output.as_json(found)
    elif found.matches:
        output.table(_COLUMNS, map(_line, found.matches))
    if not found.matches:
        output.note("No request with this text was found.")
        raise typer.Exit(FOUND_WRONG)


_COLUMNS = ("time (UTC)", "found", "hashes", "user", "model", "call", "text")


def _line(match: Match) -> tuple[object, ...]:
    from affidavit.cli._output import moment
    from affidavit.cli._rows import summary

    request = match.request
    return (
        moment(request.get("timestamp")),
        match.verdict,
        match.numbers,
        request.get("user_id"),
        request.get("model") or request.get("provider"),
        request.get("call_id") or request.get("_id"),
        summary(request),
    )


def _given(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        msg = "Give a text, or --file with one (--file - reads standard input)."
        raise ConfigError(msg)
    if text is not None:
        return text
    assert file is not None  # noqa: S101 - one of the two was given
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            msg = f"{file} is larger than 1 MiB. Look for a part of it."
            raise ConfigError(msg)
        return data.decode("utf-8-sig")
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror})."
        raise ConfigError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{file} is no text in UTF-8 (byte {error.start})."
        raise ConfigError(msg) from error
