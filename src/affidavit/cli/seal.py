"""``affidavit seal``: order, hash and sign what the writers wrote."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.sealer.sealing import Sealed, Sealer
    from affidavit.store.mongo.log import MongoLog
    from affidavit.store.sealing import SealStore

KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="The log's private key (else seal_key_file).", metavar="FILE"),
]


def seal(
    once: Annotated[
        bool, typer.Option("--once", help="Seal everything there is, and end; for a schedule.")
    ] = False,
    rolling: Annotated[
        bool,
        typer.Option(
            "--rolling/--no-rolling",
            help="Verify the log again and again, slowly (rolling_percent); not with --once.",
        ),
    ] = True,
    key_file: KeyFile = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Seal the log until stopped: new records become leaves of one tree, which is signed.

    The first to seal makes the log's key; see `affidavit keys`. Several may run. Exits with 1 when
    the key is not the log's, or with --once when leaf batches had to be refused.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.sealer.run import seal_once

    config = settings(collection, key_file)
    with common.opened(uri, config) as log:
        store = log.seals
        sealer = sealer_of(store, config)
        if not once:
            _stay(log, sealer, config, rolling=rolling, json=json)
            return
        seals: list[Sealed] = []
        seal_once(sealer, seals.append)
        _fold(log)
    if json:
        output.as_json(summed(seals))
    else:
        for each in seals:
            output.say(line(each))
        if not seals:
            output.say("Nothing is new.")
    if any(each.refused for each in seals):
        raise typer.Exit(FOUND_WRONG)


def settings(collection: str | None, key_file: Path | None) -> AuditConfig:
    """Resolve the settings with the options of commands that use the log's key."""
    return common.settings(collection, seal_key_file=None if key_file is None else str(key_file))


def sealer_of(store: SealStore, config: AuditConfig) -> Sealer:
    """Make a sealer, which makes or finds the log's key at once."""
    from affidavit.sealer import keys
    from affidavit.sealer.sealing import Sealer
    from affidavit.sealer.seen import Seen

    made = Sealer(
        store, lambda: keys.open_key(store, config), where="service", seen=Seen(store.dataset)
    )
    existed = store.identity() is not None
    key = made.key
    if not existed:
        from affidavit.cli import _output as output

        where = f" in {key.path}" if key.path is not None else ""
        output.note(f"Made the key of the log {key.origin}{where}. Keep a backup: without it the")
        output.note("log cannot grow. Its public half, to give to whoever verifies:")
        output.note(key.vkey)
    return made


def summed(seals: list[Sealed]) -> dict[str, Any]:
    """Add up several seals."""
    names = ("leaves", "batches", "rebuilt", "gaps", "late", "refused")
    last = seals[-1] if seals else None
    return {
        "seals": len(seals),
        **{name: sum(getattr(each, name) for each in seals) for name in names},
        "size": None if last is None else last.size,
        "checkpoint": None if last is None else last.checkpoint,
    }


def line(done: Sealed) -> str:
    """Say in words what was sealed."""
    parts = [f"seal {done.k}: {done.leaves} leaves in {done.batches} batches, {done.size} in all"]
    if done.rebuilt:
        parts.append(f"{done.rebuilt} batches built again")
    if done.late:
        parts.append(f"{done.late} late")
    if done.gaps:
        parts.append(f"{done.gaps} numbers never came")
    if done.refused:
        parts.append(f"{done.refused} batches REFUSED")
    return ", ".join(parts)


def _fold(log: MongoLog) -> None:
    """Bring rollups up with what is sealed; a user who may not seals all the same."""
    from affidavit.analytics.keeper import Keeper
    from affidavit.cli import _output as output
    from affidavit.errors import StoreRefused

    try:
        Keeper(log.seals, log.rollups).catch_up()
    except StoreRefused as error:
        output.note(f"Rollups are not kept up. {error}")


def _stay(log: MongoLog, sealer: Sealer, config: AuditConfig, *, rolling: bool, json: bool) -> None:
    from affidavit.analytics.keeper import Keeper
    from affidavit.analytics.upkeep import Upkeep
    from affidavit.anchors.attest import hold_against_anchors
    from affidavit.anchors.configured import anchors_of
    from affidavit.anchors.schedule import Schedule
    from affidavit.cli import _output as output
    from affidavit.cli.anchor import line as anchored
    from affidavit.sealer.rolling import Rolling
    from affidavit.sealer.run import Runner

    store, stop = log.seals, threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def tell(done: Sealed) -> None:
        if json:
            output.as_json(done, indent=None)
        else:
            output.say(line(done))
            output.flush()

    output.note(f"Sealing {sealer.key.origin}; Ctrl-C ends it.")
    anchors = anchors_of(config)
    schedule = Schedule(
        store,
        anchors,
        config.anchor_every_s,
        tell=lambda done: output.note(anchored(done)),
        complain=output.note,
    )
    verifying = Rolling(
        store,
        lambda: sealer.key.vkey,
        config.rolling_percent if rolling else 0,
        where="service",
        tell=output.note,
        hold=lambda report: hold_against_anchors(store, config, report),
        first_s=5.0,
    )
    with schedule, verifying, Upkeep(Keeper(log.seals, log.rollups), complain=output.note):
        Runner(store, sealer, stop, where="service").run(tell, complain=output.note)
