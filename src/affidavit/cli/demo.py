"""``affidavit demo``: the main job on real servers, with an outage in the middle."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.errors import MissingExtra

if TYPE_CHECKING:
    from affidavit.demo.run import Demo, Llm, Report

_PACKAGES = ("anthropic", "fastapi", "openai", "uvicorn")
_CONSOLE = ("jinja2", "joserfc", "python_multipart")
_LLMS = ("canned", "real")
_LOG_COLUMNS = 110


def demo(
    uri: Annotated[
        str | None,
        typer.Option(
            "--uri",
            help="A MongoDB of your own (else AFFIDAVIT_MONGODB_URI, else one is started). The "
            "demo writes to the database that the URI names, affidavit_demo if it names none.",
            show_default=False,
        ),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm",
            help="real: a small model on this machine. canned: an endpoint with known usage. "
            "Default: LLM in the environment, else real where it is installed.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="direct (the default of the library) or high-volume.")
    ] = "direct",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON; progress goes to stderr.")
    ] = False,
    serve: Annotated[
        bool | None,
        typer.Option(
            help="Keep the servers at the end until Ctrl-C, with the console in a browser. "
            "Default: on a terminal, without --json."
        ),
    ] = None,
    pairs: Annotated[
        int, typer.Option(help="Pairs of calls in the measurement of the overhead; 0: none.")
    ] = 60,
) -> None:
    """Audit a small trading assistant on a real MongoDB, break the database, and count.

    Then edit a cost and delete a record as an administrator could, and verify the log against the
    checkpoint that was saved before. With --uri both are put back, and the log's key and the
    checkpoint stay. Takes about a minute. Exits with 1 when anything that was called is not stored,
    or anything that was done to the log is not found.
    """
    _need_extras()
    # A terminated demo must stop its servers as one that ends by itself does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from rich.console import Console

    from affidavit.config import mongodb_uri
    from affidavit.demo.render import as_json as to_json
    from affidavit.demo.render import further, show
    from affidavit.demo.run import Demo, Options

    # A log file is no 80 columns wide: only a terminal has a width of its own.
    width = None if sys.stdout.isatty() and not as_json else _LOG_COLUMNS
    progress = Console(stderr=as_json, highlight=False, width=width)
    if serve is None:
        serve = not as_json and sys.stdout.isatty()
    running: Demo | None = None
    try:
        options = Options(
            uri=mongodb_uri(uri), llm=_choose(llm), audit=_profile(profile), pairs=pairs
        )
        running = Demo(options, lambda line: progress.print(f"· {line}", markup=False))
        report = running.run()
        if as_json:
            sys.stdout.write(to_json(report) + "\n")
            sys.stdout.flush()
        else:
            show(report, progress)
        link = running.open_console() if serve and _has_console() else ""
        text = ""
        if not as_json:
            text = further(report, running.address, serving=serve, console=link)
        _finish(running, report, text, serve=serve)
    except KeyboardInterrupt:
        progress.print("Stopping.")
        raise typer.Exit(130) from None
    finally:
        if running is not None:
            running.close()


def _finish(running: Demo, report: Report, text: str, *, serve: bool) -> None:
    """Say where to look further, wait for Ctrl-C where that is wanted, and exit."""
    if text:
        sys.stdout.write(f"\n{text}\n")
        sys.stdout.flush()
    if not report.ok:
        sys.stderr.write(f"\nLogs and spool of this run are kept in {running.keep()}\n")
    if serve:
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.stderr.write("\nStopping.\n")
    raise typer.Exit(0 if report.ok else 1)


def _need_extras() -> None:
    """Raise MissingExtra when the demo's own dependencies are not installed."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        msg = (
            f"the demo needs {', '.join(missing)}, which the library does not. Run: "
            'pip install "affidavit[demo]"'
        )
        raise MissingExtra(msg)


def _has_console() -> bool:
    """Whether what the console needs is installed."""
    return all(importlib.util.find_spec(name) is not None for name in _CONSOLE)


def _choose(asked: str | None) -> Llm:
    """The model to use: the option, the environment, else the real one where it is installed."""
    from affidavit.demo.real_model import ModelNotFound, find_model

    name = asked or os.environ.get("LLM") or ""
    if name and name not in _LLMS:
        msg = f"{name!r} is no model of the demo: use canned or real (--llm, or LLM=...)"
        raise typer.BadParameter(msg)
    if name:
        return "real" if name == "real" else "canned"
    try:
        find_model()
    except ModelNotFound:
        return "canned"
    return "real"


def _profile(name: str) -> dict[str, Any]:
    """The settings of a profile, as far as the demo uses it."""
    if name == "direct":
        return {}
    if name == "high-volume":
        # One database for the demo, and no half minute of waiting for the first batch.
        return {"batch_writes": True, "async_writes": True, "flush_interval": 1.0}
    msg = f"{name!r} is no profile: use direct or high-volume"
    raise typer.BadParameter(msg)
