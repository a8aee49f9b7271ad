"""``affidavit anchor``: tell somebody outside how large the log is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.anchors.run import Outcome


def anchor(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the receipts into this folder too.", show_default=False),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Hand the newest checkpoint to every anchor in the settings; for a schedule.

    `affidavit seal` as a service does it by itself, every anchor_every_s. Holds no content, so
    nothing is noted in the ledger. Exits with 1 where an anchor failed, or nothing is sealed.
    """
    from affidavit.anchors.configured import anchors_of
    from affidavit.anchors.run import anchor_newest
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.errors import ConfigError

    config = common.settings(collection)
    anchors = anchors_of(config)
    if not anchors:
        msg = (
            "No anchor is configured. Set anchor_directory, anchor_witnesses or anchor_tsa; "
            "docs/how-to/anchors.md."
        )
        raise ConfigError(msg)
    with common.opened(uri, config) as log:
        outcomes = anchor_newest(log.seals, anchors)
    written = [] if out is None else _write(out, outcomes)
    if json:
        output.as_json([_plain(each) for each in outcomes])
    else:
        for each in outcomes:
            output.say(line(each))
        for path in written:
            output.say(f"wrote {path}")
    if any(each.failure is not None for each in outcomes):
        raise typer.Exit(FOUND_WRONG)


def line(done: Outcome) -> str:
    """Say in words what became of a try."""
    if done.failure is not None:
        return f"FAILED   {done.anchor}: {done.failure}"
    from affidavit.cli import _output as output

    time = None if done.receipt is None else done.receipt.time
    seen = "" if time is None else f", seen {output.moment(time)} UTC"
    return f"anchored {done.anchor}: {done.size} leaves{seen}"


def _plain(done: Outcome) -> dict[str, Any]:
    receipt = done.receipt
    found: dict[str, Any] = {
        "anchor": done.anchor,
        "kind": done.kind,
        "at": done.at,
        "size": done.size,
        "failure": done.failure,
    }
    if receipt is not None:
        found |= {"time": receipt.time, "place": receipt.place, "checkpoint": receipt.note}
    return found


def _write(folder: Path, outcomes: list[Outcome]) -> list[Path]:
    """Write each receipt into a file of its own; one that is there stays as it is."""
    from affidavit.anchors.base import name_hash
    from affidavit.errors import ConfigError

    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in outcomes:
            if each.receipt is None:
                continue
            stem = f"{each.size}-{each.at:%Y%m%dT%H%M%SZ}-{each.kind}-{name_hash(each.anchor)[:8]}"
            files = {f"{stem}.checkpoint": each.receipt.note.encode()}
            if each.receipt.token is not None:
                files[f"{stem}.tsr"] = each.receipt.token
            for name, data in files.items():
                with (folder / name).open("xb") as file:
                    file.write(data)
                written.append(folder / name)
    except OSError as error:
        msg = f"--out {folder} cannot be written ({error.strerror}). The receipts are in the store."
        raise ConfigError(msg) from error
    return written
