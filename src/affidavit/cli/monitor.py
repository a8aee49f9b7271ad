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
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.errors import StoreUnavailable
    from affidavit.monitor.configured import monitor_for
    from affidavit.store import alerts_of

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        watching = monitor_for(config, log)
        if not once:
            output.note(f"Watching {log.dataset}; Ctrl-C ends it.")
            _stay(watching, json=json)
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


def _stay(watching: Any, *, json: bool) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    before: Looked | None = None
    try:
        while not stop.is_set():
            done = watching.tick()
            if done is not None:
                if not _is_old_news(done, before):
                    _tell(done, json=json, before=before, quiet=True)
                before = done
            stop.wait(watching.wait_s())
    finally:
        watching.close()


def _is_old_news(done: Looked, before: Looked | None) -> bool:
    """Whether it says once more that the database is away: that is asked every two seconds."""
    again = before is not None and not before.reached and not done.reached
    return again and not (done.changes or done.notices or done.delivered.failed)


def _tell(done: Looked, *, json: bool, before: Looked | None = None, quiet: bool = False) -> None:
    from affidavit.cli import _output as output

    if json:
        output.as_json(_plain(done), indent=None)
        return
    if quiet:
        _tell_changed(done, before)
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
        output.say(_standing_by(done))
    elif not quiet and done.reached and not done.changes:
        output.say("Nothing changed.")
    output.flush()


def _tell_changed(done: Looked, before: Looked | None) -> None:
    """Say who acts, and whether the database answers, at the first look and when it changes."""
    from affidavit.cli import _output as output

    if not done.reached and (before is None or before.reached):
        output.note(f"The database does not answer; it is asked again and again. {done.why}")
    if done.reached and before is not None and not before.reached:
        output.note("The database answers again.")
    if done.reached and (before is None or (before.acting, before.by) != (done.acting, done.by)):
        output.note("This process acts." if done.acting else _standing_by(done))


def _standing_by(done: Looked) -> str:
    by = f" ({done.by})" if done.by else ""
    return f"Another process acts{by}; this one stands by, and acts when that one is gone."


def _plain(done: Looked) -> dict[str, Any]:
    return {
        "acting": done.acting,
        "by": done.by or None,
        "reached": done.reached,
        "why": done.why or None,
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
