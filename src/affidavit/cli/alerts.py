"""``affidavit alerts``: what fires, what fired, tests, silences, and rules for Prometheus."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.monitor.prometheus import Names as Spelling

commands = typer.Typer(
    help="What fires, tests of delivery, silences, history, and rules for Prometheus.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[
    Path | None,
    typer.Option("--out", help="Write into this file instead of printing.", show_default=False),
]

Names = Annotated[
    str, typer.Option("--names", help="As `affidavit metrics --names`: given, or base.")
]


@commands.command("list")
def list_(
    firing: Annotated[bool, typer.Option("--firing", help="Only what fires.")] = False,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Show each rule with its thresholds and its alerts, as `affidavit monitor` last saw them.

    Says what is wrong with the settings of targets. Exits with 1 while an alert fires, or where
    alerts could not be delivered with these settings.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.monitor.listing import rows
    from affidavit.store import alerts_of

    config, now = common.settings(collection), datetime.now(UTC)
    targets, mistake = _targets(config)
    with common.opened(uri, config) as log:
        store = alerts_of(log)
        state, acts = store.peek()
        silences = store.silences(now)
        found = [row for row in rows(config, state) if not firing or row["state"] == "firing"]
        log.note_access("alerts list", {}, len(found))
    looked_at = state.get("looked_at")
    if json:
        output.as_json(
            {
                "alerts": found,
                "silences": [asdict(each) for each in silences],
                "acting": acts,
                "looked_at": looked_at,
                "waiting": len(state.get("due", ())),
                "targets": targets,
                "targets_mistake": mistake,
            }
        )
    else:
        output.table(
            ("rule", "subject", "state", "level", "value", "warning", "critical", "since"),
            [_cells(row) for row in found],
            wrapped=("value",),
        )
        for each in silences:
            output.say(
                f"silence {each.name}: {each.rule} {each.subject} until "
                f"{output.moment(each.until)} UTC, by {each.by}: {each.reason}"
            )
        if acts is None:
            output.note("Nobody watches this log: run `affidavit monitor` as a service.")
        if mistake is None:
            output.note(f"Alerts go to: {', '.join(targets)}.")
        else:
            output.note(f"Alerts cannot be delivered with these settings. {mistake}")
    if mistake is not None or any(row["state"] == "firing" for row in found):
        raise typer.Exit(FOUND_WRONG)


def _targets(config: AuditConfig) -> tuple[list[str], str | None]:
    """Name the targets of the settings, or the mistake in them."""
    from affidavit.errors import ConfigError, MissingExtra
    from affidavit.monitor.notify.configured import targets_of

    try:
        return [target.name for target in targets_of(config)], None
    except (ConfigError, MissingExtra) as error:
        return [], str(error)


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    from affidavit.monitor.message import number

    unknown = row.get("unknown")
    limits = (
        number(row["thresholds"][level], row["unit"]) if level in row["thresholds"] else None
        for level in ("warning", "critical")
    )
    said = row["said"] if unknown is None else f"not known: {unknown}"
    return (row["rule"], row["subject"], row["state"], row["level"], said, *limits, row["since"])


@commands.command("test")
def trial(
    uri: common.Uri = None, collection: common.Collection = None, json: common.Json = False
) -> None:
    """Send a test message to every target of the settings, once. Exits with 1 if one fails."""
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.monitor.message import trial as message_of
    from affidavit.monitor.notify.base import DeliveryFailed
    from affidavit.monitor.notify.configured import targets_of
    from affidavit.store import monitor_of

    config = common.settings(collection)
    with common.opened(uri, config) as log:  # no question is asked: it is for the log's name
        message = message_of(monitor_of(log).log, datetime.now(UTC))
    done: list[dict[str, str | None]] = []
    again = False
    for target in targets_of(config):
        try:
            target.send(message)
        except DeliveryFailed as error:
            done.append({"target": target.name, "failure": str(error)})
            again = again or not error.final
        else:
            done.append({"target": target.name, "failure": None})
    if json:
        output.as_json(done)
    else:
        for each in done:
            why = each["failure"]
            output.say(f"{each['target']}: {'taken' if why is None else f'FAILED: {why}'}")
        if again:
            output.note("A test is sent once. An alert would be tried again for about two hours.")
    if any(each["failure"] for each in done):
        raise typer.Exit(FOUND_WRONG)


@commands.command("silence")
def silence(
    rule: Annotated[
        str | None, typer.Argument(help="Which rule; * for all.", show_default=False)
    ] = None,
    subject: Annotated[str, typer.Option("--subject", help="Only this subject.")] = "*",
    last: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 7d.")] = "2h",
    reason: Annotated[str, typer.Option("--reason", help="Why; noted in the ledger.")] = "",
    end: Annotated[
        str | None,
        typer.Option("--end", help="End this silence instead.", metavar="NAME", show_default=False),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Tell nothing of some alerts for a while. What goes on when it ends is told then.

    The ledger notes who silenced what; firing and resolving are noted there all the same.
    """
    from affidavit._monitor_settings import THRESHOLDS
    from affidavit.cli import _output as output
    from affidavit.errors import ConfigError
    from affidavit.monitor import listing
    from affidavit.store import alerts_of

    config, now = common.settings(collection), datetime.now(UTC)
    if (rule is None) == (end is None):
        msg = "Name a rule to silence, or a silence with --end; `affidavit alerts list` shows both."
        raise ConfigError(msg)
    common.checked(rule, "RULE", ("*", *THRESHOLDS))
    span = _span(last, now)
    with common.opened(uri, config) as log:
        store = alerts_of(log)
        if rule is not None:
            made = listing.silence(store, rule, subject, span, _who(), reason, now)
        else:
            made = listing.end(store, str(end), now)
    if json:
        output.as_json(asdict(made))
    elif end is not None:
        output.say(f"Silence {made.name} has ended.")
    else:
        until = output.moment(made.until)
        output.say(f"Silence {made.name}: {made.rule} {made.subject} until {until} UTC.")


def _span(last: str, now: datetime) -> timedelta:
    from affidavit.errors import ConfigError
    from affidavit.monitor.listing import LONGEST, SHORTEST

    since = common.when(last, "--for")
    span = timedelta(0) if since is None else now - since
    if not SHORTEST <= span <= LONGEST:
        msg = f"--for {last!r} must lie between 30s and 366d: a silence has an end."
        raise ConfigError(msg)
    return span


def _who() -> str:
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in small containers
        return f"uid {os.getuid()}"


@commands.command("history")
def history(
    since: common.Since = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most.")] = 100,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Show what fired, resolved and could not be delivered; the last 7 days, newest first.

    Kept for 90 days; the ledger keeps each firing and resolution for good.
    """
    from affidavit.cli import _output as output
    from affidavit.store import alerts_of

    config = common.settings(collection)
    start = common.when(since, "--since") or datetime.now(UTC) - timedelta(days=7)
    with common.opened(uri, config) as log:
        found = alerts_of(log).history(start, limit)
        log.note_access("alerts history", {"since": start}, len(found))
    if json:
        output.as_json(list(found))
        return
    output.table(
        ("at", "what", "rule", "subject", "level", "value", "silenced", "target", "why"),
        [
            tuple(
                entry.get(name)
                for name in (
                    *("at", "what", "rule", "subject", "level", "value", "silenced"),
                    *("target", "why"),
                )
            )
            for entry in found
        ],
        wrapped=("why",),
    )


@commands.command("prometheus-rules")
def prometheus_rules(out: Out = None, names: Names = "given") -> None:
    """Print alerting rules for Prometheus, made from the thresholds of the settings."""
    from affidavit.monitor.promql import rule_file
    from affidavit.monitor.rules import rules_of

    _print(rule_file(rules_of(common.settings()), _spelling(names)), out)


@commands.command("dashboard")
def dashboard(out: Out = None, names: Names = "given") -> None:
    """Print a dashboard for Grafana as JSON; it shows every metric of `affidavit metrics`."""
    import json

    from affidavit.monitor.promql import dashboard as made
    from affidavit.monitor.rules import rules_of

    _print(json.dumps(made(rules_of(common.settings()), _spelling(names)), indent=2) + "\n", out)


def _spelling(names: str) -> Spelling:
    common.checked(names, "--names", ("given", "base"))
    return "base" if names == "base" else "given"


def _print(text: str, out: Path | None) -> None:
    from affidavit.cli import _output as output
    from affidavit.errors import ConfigError

    if out is None:
        output.raw(text.rstrip("\n"))
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"--out {out} cannot be written ({error.strerror})."
        raise ConfigError(msg) from error
    output.say(f"wrote {out}")
