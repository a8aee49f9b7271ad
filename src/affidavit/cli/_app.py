"""The commands and their names. Their modules import what they need when they run."""

from __future__ import annotations

from typing import Annotated

import typer

from affidavit.cli import (
    alerts,
    anchor,
    checkpoint,
    config,
    dead_letters,
    demo,
    doctor,
    erase,
    hold,
    import_,
    keys,
    metrics,
    monitor,
    prices,
    prove,
    reconcile,
    redact,
    report,
    rollups,
    said,
    seal,
    search,
    serve,
    setup,
    show,
    stats,
    status,
    store,
    tail,
    timeline,
    tokens,
    verify,
)

_HELP = """The audit log of your LLM calls.

Every reading is noted in the log's ledger. Exit codes: 0 fine; 1 something was found that needs
doing; 2 wrong arguments or configuration; 3 the database does not answer; 4 it refuses.
"""

# Plain help texts: rendering them with rich would triple the time of --help.
app = typer.Typer(
    name="affidavit",
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"affidavit {version('affidavit')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the whole command."""


app.command("tail")(tail.tail)
app.command("search")(search.search)
app.command("show")(show.show)
app.command("timeline")(timeline.timeline)
app.command("said")(said.said)
app.command("status")(status.status)
app.command("metrics")(metrics.metrics)
app.command("stats")(stats.stats)
app.command("reconcile")(reconcile.reconcile)
app.command("report")(report.report)
app.command("setup")(setup.setup)
app.add_typer(store.commands, name="store")
app.command("doctor")(doctor.doctor)
app.command("seal")(seal.seal)
app.command("checkpoint")(checkpoint.checkpoint)
app.command("anchor")(anchor.anchor)
app.add_typer(keys.commands, name="keys")
app.command("verify")(verify.verify)
app.command("prove")(prove.prove)
app.command("export")(prove.export)
app.command("import")(import_.import_)
app.command("erase")(erase.erase)
app.add_typer(hold.commands, name="hold")
app.command("monitor")(monitor.monitor)
app.command("serve")(serve.serve)
app.add_typer(tokens.commands, name="tokens")
app.add_typer(alerts.commands, name="alerts")
app.command("config")(config.config)
app.add_typer(prices.commands, name="prices")
app.add_typer(rollups.commands, name="rollups")
app.add_typer(redact.commands, name="redact")
app.add_typer(dead_letters.commands, name="dead-letters")
app.command("demo")(demo.demo)
