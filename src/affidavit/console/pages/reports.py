"""Monthly reports: those that the clock made, one made on demand, read here or taken along."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from affidavit.console import phrases, reporting
from affidavit.console.doors import Allowed
from affidavit.console.forms import form_of
from affidavit.console.jobs import jobs_of
from affidavit.console.render import render, words_of
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import AffidavitError, StoreUnavailable

if TYPE_CHECKING:
    from affidavit.console.backend import Backend

router = APIRouter(include_in_schema=False)

_LONGEST: Final = 40


@router.get("/reports")
async def page(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """List the reports there are."""
    return await _page(request, visitor)


@router.post("/reports")
async def begin(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Begin to make a month's report, beside those there are."""
    backend = cast("Backend", request.app.state.backend)
    reporting.whole_log_only(visitor, words_of(request)("reports.everything"))
    month = (await form_of(request)).get("month", "").strip()[:_LONGEST]
    try:
        work = await run(reporting.begin_work, backend, visitor, month)
        by = (visitor.name, visitor.account)
        await run(jobs_of(request).begin, reporting.JOB, by, {"month": month}, work)
    except AffidavitError as error:
        return await _page(request, visitor, 400, month=month, wrong=str(error))
    return RedirectResponse("/reports", 303)


@router.get("/reports/{name}")
async def one(request: Request, name: str, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Show a report. The reading is noted before."""
    backend = cast("Backend", request.app.state.backend)
    reporting.whole_log_only(visitor, words_of(request)("reports.everything"))
    document = await run(reporting.read, backend, visitor, name[:_LONGEST])
    return render(
        request,
        "report.html",
        visitor=visitor,
        report=reporting.shown(document),
        sections=phrases.sections(document["sections"], words_of(request).language),
    )


@router.get("/reports/{name}/file")
async def file(
    request: Request, name: str, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Give its files, with the signed manifest. The reading is noted before."""
    backend = cast("Backend", request.app.state.backend)
    reporting.whole_log_only(visitor, words_of(request)("reports.everything"))
    return await run(reporting.download, backend, visitor, name[:_LONGEST])


async def _page(
    request: Request, visitor: Visitor, status_code: int = 200, **more: Any
) -> Response:
    backend = cast("Backend", request.app.state.backend)
    known: dict[str, Any] = {"month": "last", "wrong": None}
    found: dict[str, Any] = {"reports": [], "jobs": [], "running": False, "missing": None}
    if visitor.scope.everything:
        try:
            found |= await run(partial(_ask, request, backend))
        except StoreUnavailable as error:  # the page says what is missing
            found["missing"] = str(error)
    return render(
        request,
        "reports.html",
        partial="_reports_list.html",
        visitor=visitor,
        status_code=status_code,
        **{**known, **found, **more},
    )


def _ask(request: Request, backend: Backend) -> dict[str, Any]:
    """Ask for the reports, and for the work that is under way or failed within the day."""
    lately = datetime.now(UTC) - timedelta(days=1)
    jobs = [
        job
        for job in jobs_of(request).newest(reporting.JOB)
        if job.state != "done" and job.made_at > lately
    ]
    reports = reporting.listed(backend)
    return {"reports": reports, "jobs": jobs, "running": any(j.state == "running" for j in jobs)}
