"""``affidavit monitor``: watch the log, keep the history of its metrics, and tell alerts."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.monitor.run import Looked


def monitor(
    once: Annotated[
        bool, typer.Option("--once", help="Look once, tell what is to be told, and end.")
    ] = False,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Watch the log until stopped: sample metrics, keep their history, send alerts.

    Several may run: one acts, the others stand by. Reads no content of records. With --once it
    exits with 1 while an alert fires, and with 3 where the database does not answer.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._alerting import monitor_for
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.errors import StoreUnavailable
    from affidavit.store import alerts_of

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        watching = monitor_for(config, log)
        if not once:
            output.note(f"Watching {log.dataset}; Ctrl-C ends it.")
            _stay(watching, float(config.monitor_every_s), json=json)
            return
        try:
            done = watching.step()
        finally:
            watching.close()
        _tell(done, json=json)
        if not done.reached:
            raise StoreUnavailable(done.why)
        state, _ = alerts_of(log).peek()
    if any(alert["phase"] == "firing" for alert in state.get("alerts", ())):
        raise typer.Exit(FOUND_WRONG)


def _stay(watching: Any, every_s: float, *, json: bool) -> None:
    import time

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        while not stop.is_set():
            began_s = time.monotonic()
            _tell(watching.step(), json=json, quiet=True)
            stop.wait(max(1.0, every_s - (time.monotonic() - began_s)))
    finally:
        watching.close()


def _tell(done: Looked, *, json: bool, quiet: bool = False) -> None:
    from affidavit.cli import _output as output

    if json:
        output.as_json(_plain(done), indent=None)
        return
    for event in done.changes:
        subject = f" ({event.key.subject})" if event.key.subject else ""
        silenced = ", silenced" if event.silenced else ""
        output.say(
            f"{output.moment(event.at)} {event.what.value} {event.key.rule}{subject}: "
            f"{event.level.value}{silenced}"
        )
    for target, why in done.delivered.failed:
        output.note(f"not delivered to {target}: {why}")
    if not quiet and not done.acting:
        output.say("Another process acts; this one stands by.")
    elif not quiet and done.reached and not done.changes:
        output.say("Nothing changed.")
    output.flush()


def _plain(done: Looked) -> dict[str, Any]:
    return {
        "acting": done.acting,
        "reached": done.reached,
        "changes": [
            {
                "at": event.at,
                "what": event.what.value,
                "rule": event.key.rule,
                "subject": event.key.subject,
                "level": event.level.value,
                "value": event.value,
                "silenced": event.silenced,
            }
            for event in done.changes
        ],
        "told": len(done.notices),
        "delivered": done.delivered.sent,
        "failed": [{"target": target, "why": why} for target, why in done.delivered.failed],
        "waiting": len(done.delivered.waiting),
    }
