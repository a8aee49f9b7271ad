"""``affidavit store``: what to consider about indexes, and baselines of performance."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affidavit.cli import _common as common

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.monitor.baseline import Baseline
    from affidavit.store.monitoring import IndexUse, MonitorStore, Plan

commands = typer.Typer(
    help="Indexes and performance of the log's database. Changes nothing by itself.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
baseline = typer.Typer(
    help="Latency with auditing off and on, kept and compared.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
commands.add_typer(baseline, name="baseline")

_WEEK = timedelta(days=7)
_LEAST = 100


@commands.command("indexes")
def indexes(
    accept: Annotated[
        bool, typer.Option("--accept", help="Take the present plans for right from now on.")
    ] = False,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Show indexes with size and use, plans of the read side, and what to consider.

    Nothing is made or dropped: the exact commands are shown, for you to run. Exits with 1 when a
    plan has got worse, or something is missing.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.monitor.advice import (
        accept_plans,
        accepted_plans,
        advise,
        plan_findings,
    )
    from affidavit.store import monitor_of

    config = common.settings(collection)
    now = datetime.now(UTC)
    with common.opened(uri, config) as log:
        store = monitor_of(log)
        # Uses are read before plans: running questions to explain them counts as use.
        used = store.indexes()
        plans = store.plans(run=True)
        unseen: list[str] = []
        sizes = _or_said(store.sizes, unseen)
        shapes = _or_said(
            lambda: store.slow_shapes(now - _WEEK, config.slow_query_threshold), unseen
        )
        accepted = _accepted(accepted_plans, store, unseen)
        if accept:
            accept_plans(store, plans)
            accepted = {plan.shape: plan.index for plan in plans}
    advice = advise(used, plans, shapes, sizes, now)
    findings = plan_findings(plans, accepted, [index.name for index in used])
    if json:
        told = {
            "indexes": [asdict(index) for index in used],
            "plans": [asdict(plan) for plan in plans],
            "advice": [asdict(each) for each in advice],
            "plan_findings": [asdict(each) for each in findings],
            "not_seen": unseen,
        }
        output.as_json(told)
    else:
        _tables(used, plans, config)
        for each in advice:
            output.say("")
            output.say(f"{each.kind.upper()} {each.about}: {each.why}")
            for line in (*each.evidence, f"cost: {each.cost}"):
                output.say(f"  {line}")
            for line in each.commands:
                output.say(f"  → {line}")
        for finding in findings:
            output.say("")
            output.say(f"PLAN {finding.shape}: {finding.text}")
        if not advice and not findings:
            output.say("")
            output.say("There is nothing to consider.")
        for why in unseen:
            output.note(f"Not seen: {why}")
    if findings or any(each.kind == "missing" for each in advice):
        raise typer.Exit(FOUND_WRONG)


def _tables(used: Any, plans: Any, config: AuditConfig) -> None:
    from affidavit.cli import _output as output

    def row(index: IndexUse) -> tuple[object, ...]:
        keys = ", ".join(f"{name} {way}" for name, way in index.keys)
        since = "" if index.since is None else f"{index.since:%Y-%m-%d}"
        return (index.collection, index.name, keys, index.size_bytes, index.uses, since)

    columns = ("collection", "index", "keys", "bytes", "uses", "since")
    output.table(columns, [row(index) for index in used])
    output.say("")

    def planned(plan: Plan) -> tuple[object, ...]:
        way = "reads everything" if plan.scans else plan.index
        return (plan.shape, way, plan.keys, plan.examined, plan.returned)

    asked = ("question", "answered by", "keys looked at", "documents", "returned")
    output.table(asked, [planned(plan) for plan in plans])
    output.say("")
    output.say(
        f"The setting index_optimization is {str(config.index_optimization).lower()}: it decides "
        "whether set-up makes the index outcome_costs, and nothing else."
    )


def _or_said(ask: Any, unseen: list[str]) -> Any:
    """Ask; what is withheld is said, and the rest goes on."""
    from affidavit.errors import StoreRefused

    try:
        return ask()
    except StoreRefused as error:
        unseen.append(str(error))
        return []


def _accepted(ask: Any, store: MonitorStore, unseen: list[str]) -> dict[str, str | None]:
    found = _or_said(lambda: ask(store), unseen)
    return found or {}


@baseline.command("record")
def record(
    calls: Annotated[
        int, typer.Option("--calls", min=_LEAST, max=20_000, help="Calls with auditing off and on.")
    ] = 400,
    label: Annotated[str, typer.Option("--label", help="A word to know it by.")] = "",
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Measure calls and database operations with auditing off and on, and keep the result.

    Works in collections of its own and drops them, so it needs a user who may make and drop some.
    Load on the database while it runs is measured with it.
    """
    from importlib.metadata import version

    from affidavit.cli import _output as output
    from affidavit.cli._probe import measure
    from affidavit.monitor.baseline import KIND, Baseline, overhead
    from affidavit.monitor.configured import looker_of
    from affidavit.monitor.sample import sample

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        looker = looker_of(config, log)
        before = looker.take(fresh=True)
        series = measure(config, log, common.address(uri), calls)
        made = sample(before, looker.take(fresh=True))
        found = Baseline(made.at, label, version("affidavit"), series, made.ones())
        name = looker.store.add_note(KIND, found.as_document())
    if json:
        output.as_json({"kept": name, "differences": [asdict(each) for each in overhead(found)]})
        return
    _show(overhead(found), ("off", "on"))
    output.note(f"Kept as {name}. `affidavit store baseline compare` holds it against the first.")


@baseline.command("compare")
def compare(
    with_: Annotated[
        str | None,
        typer.Option("--with", help="Label or date of an older one.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the report (Markdown) here.", show_default=False),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    json: common.Json = False,
) -> None:
    """Compare the newest baseline with an older one, by default the first that was kept.

    Exits with 1 when something is slower than then, as far as the measurements can show it.
    """
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG
    from affidavit.errors import ConfigError
    from affidavit.monitor.baseline import (
        KIND,
        Baseline,
        change,
        growth_mb_a_week,
        overhead,
        report,
    )
    from affidavit.store import monitor_of

    config = common.settings(collection)
    with common.opened(uri, config) as log:
        store = monitor_of(log)
        kept = [Baseline.from_document(each) for each in store.notes(KIND, 1000)]
        name = store.log
    if not kept:
        msg = "There is no baseline yet. `affidavit store baseline record` makes one."
        raise ConfigError(msg)
    newest, before = kept[0], _older(kept, with_)
    changed = [] if before is None else change(before, newest)
    if out is not None:
        out.write_text(report(name, newest, before), encoding="utf-8")
        output.note(f"Wrote {out}.")
    if json:
        told = {
            "now": {"at": newest.at, "label": newest.label},
            "then": None if before is None else {"at": before.at, "label": before.label},
            "overhead": [asdict(each) for each in overhead(newest)],
            "change": [asdict(each) for each in changed],
            "growth_mb_a_week": None if before is None else growth_mb_a_week(before, newest),
        }
        output.as_json(told)
    else:
        _show(overhead(newest), ("off", "on"))
        if before is None:
            output.note("There is one baseline only, so there is nothing to compare it with.")
        else:
            output.say("")
            output.say(f"since {before.at:%Y-%m-%d %H:%M} UTC {before.label}".rstrip())
            _show(changed, ("then", "now"))
            growth = growth_mb_a_week(before, newest)
            output.say(f"growth: {'not known' if growth is None else f'{growth:.2f} MB a week'}")
    if any(each.shown and each.low_ms > 0 for each in changed):
        raise typer.Exit(FOUND_WRONG)


def _older(kept: list[Baseline], wanted: str | None) -> Baseline | None:
    from affidavit.errors import ConfigError

    older = kept[1:]
    if wanted is None:
        return older[-1] if older else None
    for each in older:
        if wanted in {each.label, f"{each.at:%Y-%m-%d}"}:
            return each
    msg = f"--with {wanted!r} is neither the label nor the date of an older baseline."
    raise ConfigError(msg)


def _show(found: Any, names: tuple[str, str]) -> None:
    from affidavit.cli import _output as output
    from affidavit.monitor.baseline import SAID, verdict

    columns = ("what", "percentile", *(f"{name} ms" for name in names), "difference ms", "95 %", "")
    rows = [
        (
            SAID.get(each.what, each.what),
            each.percentile,
            *(f"{value:.3f}" for value in (each.before_ms, each.after_ms)),
            f"{each.difference_ms:+.3f}",
            f"{each.low_ms:+.3f} to {each.high_ms:+.3f}",
            verdict(each),
        )
        for each in found
    ]
    output.table(columns, rows)
