"""Exports of what a list shows: begun from the list, made in the background, fetched here."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from affidavit.console import exporting
from affidavit.console.api.writing import require
from affidavit.console.doors import Allowed, Refusal
from affidavit.console.figures import iso
from affidavit.console.filtering import Narrowed, read_narrowed
from affidavit.console.forms import form_of
from affidavit.console.jobs import jobs_of
from affidavit.console.pages.call import reason_problem
from affidavit.console.render import render
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from affidavit.console.backend import Backend

router = APIRouter(include_in_schema=False)

KINDS: Final = ("csv", "jsonl", "content")
"""What can be chosen: metadata as a table, metadata as JSON Lines, or whole calls."""

_LONGEST_NAME: Final = 32


@router.get("/calls/exports")
async def page(request: Request, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """List the exports of what the visitor may see."""
    return await _page(request, visitor)


@router.post("/calls/exports")
async def begin(request: Request, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Begin an export of exactly what the list shows that the form came from."""
    form = await form_of(request)
    asked = read_narrowed(form, visitor.scope)
    kind = form.get("kind", "")
    reason = form.get("reason", "")
    problem = None
    if asked.problems or asked.range.problem is not None:
        problem = "filter"
    elif kind not in KINDS:
        problem = "kind"
    elif kind == "content":
        problem = reason_problem(reason)
    elif asked.wanted.text is not None:
        problem = "text"
    if problem is None:
        wanted = exporting.Wanted(
            parameters(asked),
            "csv" if kind == "csv" else "jsonl",
            " ".join(reason.split()) if kind == "content" else None,
        )
        backend = cast("Backend", request.app.state.backend)
        try:
            await run(exporting.begin, backend, jobs_of(request), visitor, wanted)
        except (ConfigError, Refusal) as error:
            problem = error.detail if isinstance(error, Refusal) else str(error)
        else:
            return RedirectResponse("/calls/exports", 303)
    about = {"asked": asked, "kind": kind, "reason": reason, "problem": problem}
    return await _page(request, visitor, status_code=400, **about)


@router.post("/calls/exports/{name}/cancel")
async def cancel(request: Request, name: str, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Ask that an export ends."""
    jobs = jobs_of(request)
    await run(exporting.cancel, jobs, visitor, name[:_LONGEST_NAME])
    return RedirectResponse("/calls/exports", 303)


@router.post("/calls/exports/{name}/again")
async def again(request: Request, name: str, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Make an export again, here; one of whole calls with the reason of whoever does so."""
    backend, jobs = cast("Backend", request.app.state.backend), jobs_of(request)
    job = await run(exporting.found, jobs, visitor, name[:_LONGEST_NAME])
    reason: str | None = None
    if job.wanted.get("content"):
        require(visitor, Right.CONTENT)
        reason = (await form_of(request)).get("reason", "")
        problem = reason_problem(reason)
        if problem is not None:
            return await _page(request, visitor, status_code=400, problem=problem)
        reason = " ".join(reason.split())
    try:
        await run(exporting.again, backend, jobs, visitor, job, reason)
    except (ConfigError, Refusal) as error:
        told = error.detail if isinstance(error, Refusal) else str(error)
        return await _page(request, visitor, status_code=400, problem=told)
    return RedirectResponse("/calls/exports", 303)


def parameters(asked: Narrowed) -> dict[str, str]:
    """Write what a list shows as parameters of the HTTP interface, both ends of its time fixed."""
    found: dict[str, str] = {}
    for name, value in asked.wanted.as_details().items():
        if isinstance(value, datetime):
            found[name] = iso(value)
        elif isinstance(value, float | Decimal):
            found[name] = f"{value:f}"
        elif not isinstance(value, list):
            found[name] = str(value)
    return found


async def _page(
    request: Request, visitor: Visitor, *, status_code: int = 200, **about: Any
) -> Response:
    backend = cast("Backend", request.app.state.backend)
    rows = await run(exporting.listed, backend, jobs_of(request), visitor)
    known: dict[str, Any] = {"asked": None, "kind": "csv", "reason": "", "problem": None}
    return render(
        request,
        "exports.html",
        partial="_exports_list.html",
        visitor=visitor,
        status_code=status_code,
        exports=rows,
        running=any(row["state"] == "running" for row in rows),
        **{**known, **about},
    )
