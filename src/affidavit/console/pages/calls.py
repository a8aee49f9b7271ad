"""The list of calls: filters, charts, saved views, and the panel beside it.

Rows are metadata. A search for a text needs the right to content, since it tells what is in one;
every list is noted in the ledger before it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from affidavit.console import views
from affidavit.console.doors import Allowed, Refusal
from affidavit.console.filtering import (
    GROUPS,
    KINDS,
    STATUSES,
    Narrowed,
    is_drawn,
    read_narrowed,
)
from affidavit.console.forms import form_of
from affidavit.console.kept import Kept
from affidavit.console.pages.call import beside
from affidavit.console.render import render, wants_partial, words_of
from affidavit.console.roles import Right, may
from affidavit.console.rows import Row, row
from affidavit.console.series import Series, series
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import AffidavitError, ConfigError, StoreError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from affidavit.console.backend import Backend

router = APIRouter(include_in_schema=False)

PAGE: Final = 50
_CHARTS_S: Final = 10.0
_LONGEST_ID: Final = 200
_ENDS: Final = frozenset({"since", "until"})


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a list."""

    rows: tuple[Row, ...] = ()
    next: str | None = None
    problem: str | None = None
    """What is wrong with what was asked, in words."""
    missing: str | None = None
    """Why nothing could be read, in words."""


@router.get("/calls")
async def page(request: Request, visitor: Visitor = Allowed(Right.METADATA)) -> Response:
    """Show the list, or the part of it that htmx asks for."""
    backend = cast("Backend", request.app.state.backend)
    asked = read_narrowed(request.query_params, visitor.scope)
    cursor = request.query_params.get("cursor") or None
    found = await run(search, backend, visitor, asked, cursor)
    chosen = request.query_params.get("open", "")[:_LONGEST_ID]
    opened = await run(beside, backend, visitor, chosen) if chosen else None
    # The list's own note covers the charts above it: without a list there are none.
    listed = found.problem is None and found.missing is None
    drawn = listed and request.query_params.get("charts") == "1"
    t = words_of(request)
    wrong = found.problem is not None and not wants_partial(request)
    return render(
        request,
        "calls.html",
        partial="_calls_list.html",
        visitor=visitor,
        status_code=400 if wrong else 200,
        **_about(request, asked, found),
        opened=opened,
        chosen=chosen,
        charts=await run(_charts, request.app, asked, t) if drawn else None,
    )


@router.get("/calls/charts")
async def charts(request: Request, visitor: Visitor = Allowed(Right.METADATA)) -> Response:
    """Give the charts above the list."""
    asked = read_narrowed(request.query_params, visitor.scope)
    made = await run(_noted_charts, request.app, visitor, asked, words_of(request))
    return render(
        request, "_calls_charts.html", visitor=visitor, charts=made, **_about(request, asked, None)
    )


@router.get("/calls/views")
async def saved(request: Request, visitor: Visitor = Allowed(Right.METADATA)) -> Response:
    """List one's own saved views."""
    backend = cast("Backend", request.app.state.backend)
    mine = await run(views.own, backend.service, visitor)
    named = request.query_params.get("order") == "name"
    return render(
        request,
        "calls_views.html",
        partial="_calls_views.html",
        visitor=visitor,
        views=views.by_name(mine) if named else mine,
        named=named,
    )


@router.post("/calls/views")
async def save(request: Request, visitor: Visitor = Allowed(Right.METADATA)) -> Response:
    """Save the filters of a list under a name, and go to its address."""
    form = await form_of(request)
    backend = cast("Backend", request.app.state.backend)
    asked = read_narrowed(form, visitor.scope)
    title = form.get("title", "")
    try:
        view = await run(views.save, backend.service, visitor, title, asked.query())
    except ConfigError as error:
        found = await run(search, backend, visitor, asked, None)
        return render(
            request,
            "calls.html",
            visitor=visitor,
            status_code=400,
            **{**_about(request, asked, found), "title": title, "title_problem": str(error)},
            opened=None,
            chosen="",
            charts=None,
        )
    return RedirectResponse(f"/calls/views/{view.id}", 303)


@router.get("/calls/views/{key}")
async def view(request: Request, key: str, visitor: Visitor = Allowed(Right.METADATA)) -> Response:
    """Go to what a saved view shows: its address is the permalink."""
    backend = cast("Backend", request.app.state.backend)
    found = await run(views.find, backend.service, key[:_LONGEST_ID], visitor)
    if found is None:
        raise Refusal(404, "Not found", words_of(request)("views.missing"))
    return RedirectResponse(f"/calls?{urlencode({**found.query, 'view': found.id})}", 303)


@router.post("/calls/views/{key}/remove")
async def forget(
    request: Request, key: str, visitor: Visitor = Allowed(Right.METADATA)
) -> Response:
    """Remove one's own view."""
    backend = cast("Backend", request.app.state.backend)
    if not await run(views.remove, backend.service, key[:_LONGEST_ID], visitor):
        raise Refusal(404, "Not found", words_of(request)("views.missing"))
    return RedirectResponse("/calls/views", 303)


def search(backend: Backend, visitor: Visitor, asked: Narrowed, cursor: str | None) -> Found:
    """Find a page of rows, and note it. Never raises StoreError."""
    wanted = asked.wanted
    if wanted.text is not None and not may(visitor.role, Right.CONTENT):
        return Found(problem="text")
    if asked.problems:
        return Found(problem="fields")
    try:
        # Only a text is looked for in contents; what is shown of a row is metadata in any case.
        content = wanted.text is not None
        page = backend.log.reader.search(wanted, PAGE, cursor, content=content)
        backend.note(visitor, "console calls", wanted.as_details(), len(page.rows))
    except ConfigError as error:
        return Found(problem=str(error))
    except StoreError as error:
        return Found(missing=str(error))
    return Found(tuple(map(row, page.rows)), page.next)


def _about(request: Request, asked: Narrowed, found: Found | None) -> dict[str, Any]:
    return {
        "asked": asked,
        "range": asked.range,
        "found": found,
        "groups": GROUPS,
        "kinds": KINDS,
        "statuses": STATUSES,
        "drawable": is_drawn(asked.wanted) and not asked.problems,
        "cursor": request.query_params.get("cursor") or None,
        "saved_view": request.query_params.get("view", "")[:_LONGEST_ID],
        "title": "",
        "title_problem": None,
    }


def _kept_of(app: FastAPI) -> Kept:
    found: Kept | None = getattr(app.state, "charts", None)
    if found is None:
        found = app.state.charts = Kept()
    return found


def _noted_charts(
    app: FastAPI, visitor: Visitor, asked: Narrowed, t: Any
) -> list[tuple[str, str, dict[str, Any]]] | str:
    """Give charts that were asked for alone; those of a list are covered by the list's own note."""
    made = _charts(app, asked, t)
    if not isinstance(made, str):
        backend = cast("Backend", app.state.backend)
        try:
            backend.note(visitor, "console charts", asked.wanted.as_details(), None)
        except StoreError as error:
            return f"{t('calls.no_charts')} {error}"
    return made


def _charts(app: FastAPI, asked: Narrowed, t: Any) -> list[tuple[str, str, dict[str, Any]]] | str:
    """Give the charts of a list as id, title and data; or say why there are none."""
    if asked.problems or not is_drawn(asked.wanted):
        return str(t("calls.not_drawn"))
    backend = cast("Backend", app.state.backend)
    details = {k: str(v) for k, v in asked.wanted.as_details().items() if k not in _ENDS}
    ends = asked.range.preset or (asked.range.since, asked.range.until)
    key = (tuple(sorted(details.items())), ends)
    try:
        made: Series = _kept_of(app).get(
            key, _CHARTS_S, lambda: series(backend.log, asked.wanted, asked.range)
        )
    except AffidavitError as error:
        return f"{t('calls.no_charts')} {error}"
    names = ("calls",) if asked.of_events else ("calls", "failed", "cost_usd")
    return [
        (
            f"chart-{name}",
            t(f"calls.chart.{name}"),
            made.chart(name, t(f"calls.{name}"), asked.zoom),
        )
        for name in names
    ]
