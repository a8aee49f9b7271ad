"""``/api/v1/reports``: monthly reports, as they were made and signed."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from affidavit.console import reporting
from affidavit.console.api import paging
from affidavit.console.api.calls import backend_of
from affidavit.console.api.problems import not_found
from affidavit.console.api.writing import answer
from affidavit.console.doors import Allowed
from affidavit.console.jobs import jobs_of
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor

router = APIRouter(prefix="/api/v1", tags=["reports"])

Name = Annotated[
    str,
    Path(
        pattern="^[0-9]{4}-[0-9]{2}(-[0-9a-f]{8})?$",
        description="The report's name: its month, and more where somebody asked for it.",
    ),
]

JobName = Annotated[str, Path(pattern="^[0-9a-f]{1,32}$", description="The work's name.")]

_MISSING: Final = {"description": "There is none of that name."}


class NewReport(BaseModel):
    """Which month is reported on."""

    model_config = ConfigDict(extra="forbid")

    month: str = Field(
        default="last",
        max_length=20,
        description="2026-11, this or last, in the reporting time zone.",
        examples=["2026-11"],
    )


@router.get("/reports", summary="List monthly reports")
async def list_(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Give the reports there are, newest first: those of the clock are called by their month."""
    reporting.whole_log_only(visitor)
    paging.single(request.query_params, ())
    return answer({"reports": await run(reporting.listed, backend_of(request))})


@router.post("/reports", status_code=202, summary="Make a month's report")
async def start(
    request: Request, wanted: NewReport, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Begin to make a report beside those there are.

    Answers with the work; look at it again, where Location says, until its state is `done`.
    """
    reporting.whole_log_only(visitor)
    paging.single(request.query_params, ())
    work = await run(reporting.begin_work, backend_of(request), visitor, wanted.month)
    by, asked = (visitor.name, visitor.account), {"month": wanted.month}
    job = await run(jobs_of(request).begin, reporting.JOB, by, asked, work)
    place = f"/api/v1/reports/jobs/{job.name}"
    return answer(reporting.job_shown(job), 202, {"Location": place})


@router.get(
    "/reports/jobs/{job}", summary="How far the making of a report is", responses={404: _MISSING}
)
async def making(
    request: Request, job: JobName, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Give its state, and the report's name when it is done.

    `running`, `done`, `failed`, or `cut_off` where its process ended before it.
    """
    reporting.whole_log_only(visitor)
    paging.single(request.query_params, ())
    found = await run(jobs_of(request).find, reporting.JOB, job)
    if found is None:
        raise not_found("There is no such work, or it was too long ago.")
    return answer(reporting.job_shown(found))


@router.get("/reports/{name}", summary="A monthly report", responses={404: _MISSING})
async def one(
    request: Request, name: Name, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Give what it says, as sections and tables. The reading is noted in the ledger before."""
    reporting.whole_log_only(visitor)
    paging.single(request.query_params, ())
    document = await run(reporting.read, backend_of(request), visitor, name)
    return answer({**reporting.shown(document), "sections": document["sections"]})


@router.get(
    "/reports/{name}/file",
    summary="The files of a monthly report",
    response_class=Response,
    responses={404: _MISSING},
)
async def file(
    request: Request, name: Name, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Give a zip: HTML, Markdown, figures, manifest and its signature, and the log's key.

    `affidavit report --check` checks the unpacked folder. The reading is noted before.
    """
    reporting.whole_log_only(visitor)
    paging.single(request.query_params, ())
    return await run(reporting.download, backend_of(request), visitor, name)
