"""``affidavit metrics``: what monitoring knows at this moment, or knew."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.monitor.sample import Sample
    from affidavit.store.mongo.log import MongoLog

_OVER_S = 3.0


def metrics(
    history: Annotated[
        str | None,
        typer.Option("--history", help="One metric's history instead.", show_default=False),
    ] = None,
    last: Annotated[str, typer.Option("--last", help="With --history: 90m, 24h, 7d.")] = "24h",
    over: Annotated[
        float, typer.Option("--over", min=0.0, max=3600.0, help="Seconds between two readings.")
    ] = _OVER_S,
    names: Annotated[
        str, typer.Option("--names", help="given, or base: two of them in bytes.")
    ] = "given",
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Print the metrics in Prometheus' text format; what cannot be seen is said in a comment.

    Takes two readings, since shares of the server's work need two. Reads no content of records.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._metrics import answered
    from affidavit.monitor.configured import looker_of
    from affidavit.monitor.prometheus import render
    from affidavit.monitor.sample import sample

    common.checked(names, "--names", ("given", "base"))
    config = common.settings(collection)
    with common.opened(uri, config) as log:
        if history is not None:
            _history(log, history, last, json=json)
            return
        looker = looker_of(config, log)
        before = answered(looker.take(fresh=True))
        if over:
            time.sleep(over)
        made = sample(before, answered(looker.take(fresh=True)))
        name = looker.store.log
    if json:
        output.as_json(_as_json(made, name))
    else:
        output.raw(render(made, name, "base" if names == "base" else "given").rstrip("\n"))


def _as_json(made: Sample, log: str) -> dict[str, Any]:
    from affidavit.monitor.metrics import ALL

    told = {}
    for metric in ALL:
        labelled = [
            {"labels": dict(value.labels), "value": value.value}
            for value in made.values.get(metric.name, ())
        ]
        entry: dict[str, Any] = {"value": made.one(metric.name), "unit": metric.unit}
        if metric.labels:
            entry["values"] = labelled
        if not labelled:
            entry["unknown"] = made.why(metric.name)
        if metric.name in made.notes:
            entry["note"] = made.notes[metric.name]
        told[metric.name] = entry
    return {"at": made.at, "log": log, "metrics": told}


def _history(log: MongoLog, name: str, last: str, *, json: bool) -> None:
    from affidavit.cli import _output as output
    from affidavit.errors import ConfigError
    from affidavit.monitor.history import read
    from affidavit.monitor.metrics import METRICS
    from affidavit.store import monitor_of

    if name not in METRICS:
        msg = f"--history {name!r} is no metric. One of: {', '.join(METRICS)}."
        raise ConfigError(msg)
    until = datetime.now(UTC)
    since = common.when(last, "--last") or until - timedelta(days=1)
    points = read(monitor_of(log), name, since, until)
    if json:
        output.as_json(
            {"metric": name, "unit": METRICS[name].unit, "points": [*map(asdict, points)]}
        )
        return
    rows = [(p.at, p.seconds, p.count, p.mean, p.low, p.high, p.last) for p in points]
    output.table(("at", "seconds", "samples", "mean", "lowest", "highest", "last"), rows)
    if not points:
        output.note("There is no history in this time. `affidavit monitor` keeps it.")
