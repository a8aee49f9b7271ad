"""Monitoring: metrics and alerts as they are, writers, the database's indexes, and what fired."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from affidavit.anchors.configured import anchors_of
from affidavit.anchors.health import look as look_at_anchors
from affidavit.console import limits, watched
from affidavit.console.api import problems
from affidavit.console.doors import Allowed, AllowedMetrics
from affidavit.console.forms import form_of
from affidavit.console.gauges import Gauges
from affidavit.console.ranges import Range, read_range
from affidavit.console.render import render, wants_partial, words_of
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import AffidavitError, ConfigError, StoreError, StoreUnavailable
from affidavit.monitor import listing
from affidavit.monitor.advice import accepted_plans, advise, plan_findings
from affidavit.monitor.history import read, step_for
from affidavit.monitor.rules import rules_of
from affidavit.sealer.health import look as look_at_sealing

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.monitor.sample import Sample
    from affidavit.store.monitoring import MonitorStore
    from affidavit.store.questions import LogStatus

router = APIRouter(include_in_schema=False)

VIEWS: Final = ("now", "writers", "database", "history")
_HISTORY: Final = 200
_WEEK: Final = timedelta(days=7)
_ADVICE_S: Final = 60.0
"""How old the advice about indexes may be: each question of the read side is explained for it."""

_LONGEST: Final = 500


def gauges_of(request: Request) -> Gauges:
    """Give the readings that this process shares."""
    state = request.app.state
    found: Gauges | None = getattr(state, "gauges", None)
    if found is None:
        found = state.gauges = Gauges(state.backend)
    return found


@router.get("/monitoring")
async def page(request: Request, visitor: Visitor = Allowed(Right.ALERTS)) -> Response:
    """Show one view of monitoring."""
    return await _page(request, visitor)


async def _page(
    request: Request, visitor: Visitor, status_code: int = 200, **more: Any
) -> Response:
    backend = cast("Backend", request.app.state.backend)
    wanted = request.query_params.get("view", "")
    view = wanted if wanted in VIEWS else "now"
    span = read_range(request.query_params, "24h")
    alone = wants_partial(request) and request.query_params.get("part") == "figures"
    shows = {
        "now": _figures if alone else _now,
        "writers": _writers,
        "database": _database,
        "history": _history,
    }
    words = words_of(request)
    names = {name: words(f"monitoring.line.{name}") for name in ("mean", "high", *_LEVELS)}
    asked_all = request.query_params.get("all", "")
    found = await run(shows[view], backend, visitor, span, gauges_of(request), names)
    return render(
        request,
        "monitoring.html",
        partial="_monitoring_figures.html" if alone else None,
        visitor=visitor,
        status_code=status_code,
        view=view,
        views=VIEWS,
        span=span,
        all=asked_all if asked_all in _ALL else "",
        most=limits.SHOWN,
        said=lambda value, unit: limits.value(value, unit, words),
        limit=lambda rule, level: limits.limit(rule, level, words),
        **{"typed": {}, "wrong": None, "trials": None, **found, **more},
    )


_LEVELS: Final = ("warning", "critical")
_ALL: Final = ("alerts", "budgets")
"""Lists of which all is shown when an address asks for it."""


class _Parts:
    """Gathers what a page shows; a part that cannot be had is said, and the rest goes on."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.away = False
        """Whether the database does not answer: then nothing more is asked, each ask would wait."""

    def get(self, ask: Callable[[], Any], otherwise: Any = None) -> Any:
        """Ask; what is withheld or away is noted once."""
        if self.away:
            return otherwise
        try:
            return ask()
        except AffidavitError as error:
            self.away = isinstance(error, StoreUnavailable)
            if str(error) not in self.missing:
                self.missing.append(str(error))
            return otherwise


def _now(
    backend: Backend, visitor: Visitor, span: Range, gauges: Gauges, names: dict[str, str]
) -> dict[str, Any]:
    """Ask for metrics, alerts, silences, and the history of the five."""
    parts = _Parts()
    state, acting = parts.get(partial(_alerts, backend), ({}, None))
    rules = parts.get(lambda: rules_of(backend.config), ())
    rows = watched.seen(parts.get(lambda: listing.rows(backend.config, state), []), visitor.scope)
    silences = parts.get(lambda: backend.alerts.silences(datetime.now(UTC)), [])
    if any(row["subject"] for row in rows):  # subjects may be people
        parts.get(lambda: backend.note(visitor, "alerts list", {}, len(rows)))
    sample: Sample | None = parts.get(lambda: gauges.now(patient=False))
    figures = watched.figures(sample, rules, rows)
    step = step_for(span.since, span.until)
    alerts, budgets = limits.parted(rows)
    charts = []
    for each in figures:
        points = parts.get(partial(_points, backend, each.name, span, step), [])
        charts.append((each.name, watched.chart(each.name, points, each.limits, names)))
    return {
        "figures": figures,
        "charts": charts,
        "rows": alerts,
        "budgets": budgets,
        "silences": [s for s in silences if watched.seen([_row_of(s)], visitor.scope)],
        "acting": acting,
        "looked_at": state.get("looked_at"),
        "others": watched.others(sample, visitor.scope),
        "at": None if sample is None else sample.at,
        "missing": parts.missing,
        "rules": {rule.name: rule for rule in rules},
        "spans": tuple(watched.SPANS),
    }


def _figures(
    backend: Backend, visitor: Visitor, span: Range, gauges: Gauges, names: dict[str, str]
) -> dict[str, Any]:
    """Ask for the five metrics alone; a page that is looked at does so every half minute."""
    del span, names
    parts = _Parts()
    state, acting = parts.get(partial(_alerts, backend), ({}, None))
    rules = parts.get(lambda: rules_of(backend.config), ())
    rows = watched.seen(parts.get(lambda: listing.rows(backend.config, state), []), visitor.scope)
    sample: Sample | None = parts.get(gauges.now)
    return {
        "figures": watched.figures(sample, rules, rows),
        "at": None if sample is None else sample.at,
        "acting": acting,
        "looked_at": state.get("looked_at"),
        "missing": parts.missing,
    }


def _alerts(backend: Backend) -> tuple[dict[str, Any], str | None]:
    return backend.alerts.peek()


def _status(backend: Backend) -> LogStatus:
    return backend.log.reader.status()


def _points(backend: Backend, name: str, span: Range, step: int) -> Any:
    return read(backend.monitor, name, span.since, span.until, step)


def _row_of(silence: Any) -> dict[str, str]:
    return {"rule": silence.rule, "subject": "" if silence.subject == "*" else silence.subject}


def _writers(
    backend: Backend, visitor: Visitor, span: Range, gauges: Gauges, names: dict[str, str]
) -> dict[str, Any]:
    """Ask who writes, who seals, and how old the anchors are."""
    del visitor, span, gauges, names
    parts, now = _Parts(), datetime.now(UTC)
    status = parts.get(partial(_status, backend))
    if status is None:
        return {"status": None, "health": None, "anchors": [], "missing": parts.missing}
    config = backend.config
    health = parts.get(lambda: look_at_sealing(backend.log.seals, now, config.seal_vkey))
    anchors = parts.get(
        lambda: look_at_anchors(backend.log.seals, anchors_of(config), config.anchor_every_s, now),
        [],
    )
    return {"status": status, "health": health, "anchors": anchors, "missing": parts.missing}


def _database(
    backend: Backend, visitor: Visitor, span: Range, gauges: Gauges, names: dict[str, str]
) -> dict[str, Any]:
    """Give indexes, plans, slow questions and advice, as they were within the last minute."""
    del visitor, span, names
    return gauges.kept("database", _ADVICE_S, lambda: _advised(backend))


def _advised(backend: Backend) -> dict[str, Any]:
    """Ask for indexes, the plans of the read side, slow questions, and what to consider."""
    parts, now = _Parts(), datetime.now(UTC)
    store: MonitorStore | None = parts.get(lambda: backend.monitor)
    if store is None:
        empty: dict[str, Any] = dict.fromkeys(("indexes", "sizes", "shapes", "plans"), ())
        said = {"advice": (), "judged": (), "slow_ms": 0, "slow_why": None}
        return {**empty, **said, "at": now, "missing": parts.missing}
    # Uses are read before plans: explaining a question may count as a use of its index.
    used = parts.get(store.indexes, [])
    sizes = parts.get(store.sizes, [])
    plans = parts.get(lambda: store.plans(run=False), [])
    slow_ms = backend.config.slow_query_threshold
    slow = _Parts()  # a profiler that is off is usual, and no fault
    slow.away = parts.away
    shapes = slow.get(lambda: store.slow_shapes(now - _WEEK, slow_ms), [])
    accepted = parts.get(lambda: accepted_plans(store), {})
    return {
        "indexes": used,
        "sizes": sizes,
        "shapes": shapes,
        "plans": plans,
        "advice": advise(used, plans, shapes, sizes, now),
        "judged": plan_findings(plans, accepted, [index.name for index in used] or None),
        "slow_ms": slow_ms,
        "slow_why": next(iter(slow.missing), None),
        "at": now,
        "missing": parts.missing,
    }


def _history(
    backend: Backend, visitor: Visitor, span: Range, gauges: Gauges, names: dict[str, str]
) -> dict[str, Any]:
    """Ask what fired, what ended, and what could not be delivered."""
    del gauges, names
    parts = _Parts()
    found = parts.get(lambda: backend.alerts.history(span.since, _HISTORY), [])
    rows = watched.seen((row for row in found if row["at"] < span.until), visitor.scope)
    if found:
        wanted = {"since": span.since, "until": span.until}
        parts.get(lambda: backend.note(visitor, "alerts history", wanted, len(rows)))
    units = {rule.name: rule.unit for rule in parts.get(lambda: rules_of(backend.config), ())}
    cut = len(found) >= _HISTORY
    return {"events": rows, "units": units, "cut": cut, "missing": parts.missing}


# -- what changes something ------------------------------------------------------------------------


@router.post("/monitoring/silences")
async def silence(request: Request, visitor: Visitor = Allowed(Right.SILENCE)) -> Response:
    """Silence some alerts for a while, with a reason; both are told to the ledger."""
    backend = cast("Backend", request.app.state.backend)
    typed = {name: text[:_LONGEST].strip() for name, text in (await form_of(request)).items()}
    span = watched.SPANS.get(typed.get("for", ""))
    wrong = None
    if span is None:
        wrong = words_of(request)("monitoring.silence.no_end")
    elif not typed.get("reason"):
        wrong = words_of(request)("monitoring.silence.no_reason")
    elif not watched.may_silence(visitor.scope, typed.get("rule", ""), typed.get("subject") or "*"):
        wrong = words_of(request)("monitoring.silence.not_yours")
    else:
        try:
            await run(
                listing.silence,
                backend.alerts,
                typed.get("rule", ""),
                typed.get("subject") or "*",
                span,
                visitor.name,
                typed["reason"],
                datetime.now(UTC),
            )
        except (ConfigError, StoreError) as error:
            wrong = str(error)
    if wrong is not None:
        status = 200 if wants_partial(request) else 400
        return await _page(request, visitor, status, typed=typed, wrong=wrong)
    return RedirectResponse("/monitoring?told=silenced#silences", 303)


@router.post("/monitoring/silences/{name}/end")
async def unsilence(
    request: Request, name: str, visitor: Visitor = Allowed(Right.SILENCE)
) -> Response:
    """End a silence now; what went on meanwhile is told then."""
    backend = cast("Backend", request.app.state.backend)
    try:
        held = await run(backend.alerts.silences, datetime.now(UTC))
        for each in held:
            if each.name == name and not watched.may_silence(
                visitor.scope, each.rule, each.subject
            ):
                told = words_of(request)("monitoring.silence.not_yours")
                return await _page(request, visitor, 403, wrong=told)
        await run(listing.end, backend.alerts, name[:_LONGEST], datetime.now(UTC))
    except (ConfigError, StoreError) as error:
        return await _page(request, visitor, 400, wrong=str(error))
    return RedirectResponse("/monitoring?told=ended#silences", 303)


@router.post("/monitoring/test")
async def trial(request: Request, visitor: Visitor = Allowed(Right.SILENCE)) -> Response:
    """Send a test to every target of the settings, and show who took it."""
    backend = cast("Backend", request.app.state.backend)
    try:
        done = await run(watched.send_trials, backend)
    except ConfigError as error:
        return await _page(request, visitor, 400, wrong=str(error))
    return await _page(request, visitor, trials=done)


# -- for Prometheus --------------------------------------------------------------------------------


@router.get("/metrics")
async def metrics(
    request: Request, names: str = "given", visitor: Visitor = AllowedMetrics()
) -> Response:
    """Give the metrics in Prometheus' text format, as `affidavit metrics` prints them."""
    from affidavit.monitor.prometheus import CONTENT_TYPE
    from affidavit.monitor.prometheus import render as written

    backend = cast("Backend", request.app.state.backend)
    try:
        sample = await run(gauges_of(request).now)
    except AffidavitError as error:
        raise problems.refusal_of(error) from error
    if not visitor.scope.everything:
        sample = watched.without_spending(sample)
    text = written(sample, backend.monitor.log, "base" if names == "base" else "given")
    return Response(text, headers={"Content-Type": CONTENT_TYPE})
