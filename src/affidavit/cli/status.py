"""``affidavit status``: what the writers of the last 24 hours say, added up."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common
from affidavit.cli._pipe import reader_is_gone

if TYPE_CHECKING:
    from affidavit.anchors.health import AnchorState
    from affidavit.cli._alerting import Watched
    from affidavit.config import AuditConfig
    from affidavit.sealer.health import Health
    from affidavit.store.mongo.log import MongoLog
    from affidavit.store.questions import LogStatus

_COUNTS = ("recorded", "queued", "stored", "spooled", "replayed", "dead_lettered", "lost")
_EVERY_S = 1.0


def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="Again every second until Ctrl-C.")
    ] = False,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Show each writer's counters, their sums, sealing, anchors, and who watches. Reads no records.

    With --watch on a terminal: the metrics and the writers on one screen, until Ctrl-C.
    Exits with 1 when records were lost or refused, a running writer is silent, an anchor fails, or
    the verification beside the sealer found something.
    """
    from affidavit.cli._errors import FOUND_WRONG

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        if watch and not json and sys.stdout.isatty():
            from affidavit.cli import _output as output
            from affidavit.cli import _watch

            _watch.watch(config, log, output.console())
            return
        found, anchors = log.reader.status(), _anchors(config, log)
        health = _sealing(config, log)
        _print(found, health, anchors, _watched(log), json=json, again=watch)
        try:
            while watch and not reader_is_gone():
                time.sleep(_EVERY_S)
                found, anchors = log.reader.status(), _anchors(config, log)
                _print(found, _sealing(config, log), anchors, _watched(log), json=json, again=True)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None
    wrong = found.totals.get("lost", 0) or found.totals.get("dead_lettered", 0)
    silent = any(writer.silent for writer in found.writers)
    damaged = health is not None and health.damage is not None
    if wrong or silent or damaged or any(each.wrong for each in anchors or ()):
        raise typer.Exit(FOUND_WRONG)


def _anchors(config: AuditConfig, log: MongoLog) -> list[AnchorState] | None:
    """Look at the anchors; where their settings are wrong, say so and go on."""
    from affidavit.cli import _output as output
    from affidavit.cli._anchors import states
    from affidavit.errors import ConfigError

    try:
        return states(config, log)
    except ConfigError as error:
        output.note(f"anchors are not looked at: {error}")
        return None


def _sealing(config: AuditConfig, log: MongoLog) -> Health | None:
    """Look at the sealing; None where this user may not."""
    from affidavit.errors import StoreRefused
    from affidavit.sealer.health import look

    try:
        return look(log.seals, datetime.now(UTC), config.seal_vkey)
    except StoreRefused:
        return None


def _watched(log: MongoLog) -> Watched | None:
    """Look at who watches the log; None where this user may not."""
    from affidavit.cli._alerting import Watched
    from affidavit.errors import StoreRefused
    from affidavit.store import alerts_of

    try:
        state, acts = alerts_of(log).peek()
    except StoreRefused:
        return None
    phases = [alert.get("phase") for alert in state.get("alerts", ())]
    return Watched(acts, state.get("looked_at"), phases.count("firing"), phases.count("pending"))


def _print(
    found: LogStatus,
    health: Health | None,
    anchors: list[AnchorState] | None,
    watched: Watched | None,
    *,
    json: bool,
    again: bool,
) -> None:
    from affidavit.cli import _output as output

    if json:
        writers = [{"age_s": w.age_s, "silent": w.silent, **w.heartbeat} for w in found.writers]
        summed: dict[str, Any] = {"totals": found.totals, "unaccounted": found.unaccounted}
        said = {
            "writers": writers,
            **summed,
            "sealing": health,
            "anchors": anchors,
            "monitor": watched,
        }
        output.as_json(said, indent=None if again else 2)
        return
    if health is not None:
        from affidavit.cli._sealing import alarm, words

        output.say(f"sealing: {words(health)}")
        found_wrong = alarm(health)
        if found_wrong is not None:
            output.say(found_wrong)
    for each in anchors or ():
        from affidavit.anchors.health import words as anchored

        output.say(f"anchor {each.anchor}: {anchored(each)}")
    if watched is not None:
        output.say(f"monitor: {watched.words(datetime.now(UTC))}")
    columns = ("writer", "service", "host", "state", "seen", *_COUNTS, "p50 ms", "p95 ms", "p99 ms")
    rows: list[tuple[object, ...]] = []
    for writer in found.writers:
        beat = writer.heartbeat
        counters, latency = beat.get("counters", {}), beat.get("latency_ms", {})
        rows.append(
            (
                writer.writer,
                beat.get("service") or beat.get("program"),
                beat.get("host"),
                "SILENT" if writer.silent else _state(beat),
                f"{writer.age_s:.0f} s ago",
                *(counters.get(name, 0) for name in _COUNTS),
                *(latency.get(name) for name in ("p50", "p95", "p99")),
            )
        )
    total = ("all", "", "", "", "", *(found.totals.get(name, 0) for name in _COUNTS), "", "", "")
    output.table(columns, [*rows, total])
    output.flush()
    if not found.writers:
        output.note("No writer has been heard in the last 24 hours.")
    if found.unaccounted:
        # A heartbeat is a moment: a record between two counters is not a lost one.
        output.note(f"{found.unaccounted} records were on their way when the counters were read.")


def _state(beat: dict[str, Any]) -> str:
    away = beat.get("breaker") == "open"
    return f"{beat.get('state')}, store away" if away else str(beat.get("state"))
