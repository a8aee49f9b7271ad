"""``affidavit rollups``: the sums that questions about calls are answered from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from collections.abc import Callable

    from affidavit.store.mongo.log import MongoLog

commands = typer.Typer(
    help="Sums of calls, kept beside the log, that questions are answered from.",
    no_args_is_help=True,
)

From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Leave out days before this one: 30d, 2026-11-01. Questions about them go to the "
        "records.",
        show_default=False,
    ),
]


@commands.command()
def status(
    uri: common.Uri = None, collection: common.Collection = None, json: common.Json = False
) -> None:
    """Say how far rollups are, and how much they hold.

    Exits with 1 when there are none, or when they are more than a minute behind the seals.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG

    with common.opened(uri, common.settings(collection)) as log:
        said = _said(log)
    if json:
        output.as_json(said)
    else:
        for line in _lines(said):
            output.say(line)
    if said["side"] is None or said["late"]:
        raise typer.Exit(FOUND_WRONG)


@commands.command()
def run(
    uri: common.Uri = None, collection: common.Collection = None, json: common.Json = False
) -> None:
    """Bring rollups up with what is sealed, and end.

    `affidavit seal` does this by itself; it takes the sealer's role.
    """
    from affidavit.analytics.keeper import Keeper
    from affidavit.cli import _output as output

    with common.opened(uri, common.settings(collection)) as log:
        calls = Keeper(log.seals, log.rollups).catch_up(_progress(json=json))
        said = {"calls": calls, **_said(log)}
    if json:
        output.as_json(said)
    else:
        output.say(f"{calls} calls added." if calls else "Nothing is new.")


@commands.command()
def rebuild(
    since: From = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Make rollups anew from the log; the present ones answer until that is done.

    The same records give the same rollups. What has expired is in the present ones at most until
    its day has expired, and is not in the new ones. Only one rebuilding at a time.
    """
    from zoneinfo import ZoneInfo

    from affidavit.analytics import keeper
    from affidavit.cli import _output as output
    from affidavit.tally.times import local_day, start_of_day

    start = common.when(since, "--from")
    with common.opened(uri, common.settings(collection)) as log:
        if start is not None:
            zone = ZoneInfo(log.reporting_timezone)
            start = start_of_day(local_day(start, zone), zone)
        calls = keeper.rebuild(log.seals, log.rollups, start, _progress(json=json))
        said = {"calls": calls, **_said(log)}
    if json:
        output.as_json(said)
    else:
        output.say(f"Rollups are made anew, of {calls} calls.")


def _progress(*, json: bool) -> Callable[[int, int], None] | None:
    from affidavit.cli import _output as output

    if json:
        return None
    return lambda k, calls: output.note(f"seal {k}: {calls} calls")


def _said(log: MongoLog) -> dict[str, Any]:
    """Gather what there is to say."""
    rollups, seals = log.rollups, log.seals
    current, last = rollups.current(), seals.last_seal()
    sealed = -1 if last is None else int(last["_id"])
    state = None if current is None else rollups.state(current["side"])
    if state is None:
        return {"side": None, "sealed": sealed, "late": sealed >= 0}
    first = next(iter(seals.seals(state["k"] + 1)), None)
    waits = None if first is None else datetime.now(UTC) - first["at"]
    return {
        "side": state["_id"],
        "timezone": state["zone"],
        "since": state["since"],
        "k": state["k"],
        "sealed": sealed,
        "at": state["at"],
        "folded_at": state["folded_at"],
        "late": waits is not None and waits > timedelta(minutes=1),
        "missing": sum(int(numbers[-1]) for numbers in state["missing"]),
        "cells": rollups.sizes(state["_id"]),
    }


def _lines(said: dict[str, Any]) -> list[str]:
    if said["side"] is None:
        return ["There are no rollups. `affidavit rollups run` makes them; so does the sealer."]
    reached = f"up to seal {said['k']} of {said['sealed']}, in days of {said['timezone']}"
    lines = [
        f"Rollups hold the log {reached}.",
        ", ".join(f"{count} {what}" for what, count in said["cells"].items()),
    ]
    if said["since"] is not None:
        lines.append(
            f"They begin with {said['since']:%Y-%m-%d %H:%M} UTC; the records tell the rest."
        )
    if said["missing"]:
        lines.append(f"{said['missing']} sealed records are not stored yet; they are looked for.")
    if said["late"]:
        lines.append("They are more than a minute behind, so questions go to the records.")
    return lines
