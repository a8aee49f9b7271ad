"""``/api/v1/exports``: what a search finds as a file, made in the background; and evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from affidavit.console import exporting, reasons
from affidavit.console.api import paging
from affidavit.console.api.calls import CallId, backend_of, no_call, read
from affidavit.console.api.writing import answer, checked, reason_of, require
from affidavit.console.doors import Allowed
from affidavit.console.jobs import jobs_of
from affidavit.console.roles import Right
from affidavit.console.seeing import records_of
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.store.questions import LONGEST_VALUE, MAX_FIELDS
from affidavit.tally.facts import FIELD

if TYPE_CHECKING:
    from affidavit.console.backend import Backend

router = APIRouter(prefix="/api/v1", tags=["exports"])

Name = Annotated[str, Path(pattern="^[0-9a-f]{1,32}$", description="The export's name.")]

_MOST_PARAMETERS: Final = len(paging.FILTERS) + MAX_FIELDS


class NewExport(BaseModel):
    """Which calls are exported, how, and why."""

    model_config = ConfigDict(extra="forbid")

    filter: dict[str, Annotated[str, Field(max_length=LONGEST_VALUE)]] = Field(
        default_factory=dict,
        max_length=_MOST_PARAMETERS,
        description="Parameters of GET /api/v1/calls, such as since and department.",
        examples=[{"since": "24h", "department": "research"}],
    )
    format: exporting.Format = Field(
        default="jsonl", description="csv has metadata only, jsonl whole calls where asked."
    )
    content: bool = Field(default=False, description="Requests and answers too; needs a reason.")
    reason: str | None = Field(default=None, max_length=reasons.LONGEST)


@router.post(
    "/exports",
    status_code=202,
    summary="Export what a search finds",
    responses={400: {"description": "The filter is not understood."}},
)
async def start(
    request: Request, wanted: NewExport, visitor: Visitor = Allowed(Right.EXPORT)
) -> Response:
    """Begin an export of exactly what `GET /api/v1/calls` finds with the same parameters.

    Answers with the job; look at it again until its state is `done`.
    """
    paging.single(request.query_params, ())
    for name in wanted.filter:
        if name not in paging.FILTERS and not name.startswith(FIELD):
            raise paging.wrong("filter", "has a parameter that is not one of GET /api/v1/calls")
    if wanted.content and wanted.format == "csv":
        raise paging.wrong("format", "csv has metadata only; ask for jsonl with content")
    if "text" in wanted.filter and not wanted.content:
        raise paging.wrong("content", "must be true where a text is looked for")
    reason = None
    if wanted.content:
        require(visitor, Right.CONTENT)
        reason = checked(wanted.reason) if wanted.reason else reason_of(request, visitor)
    asked = exporting.Wanted(wanted.filter, wanted.format, reason)
    job = await run(exporting.begin, backend_of(request), jobs_of(request), visitor, asked)
    return answer(
        exporting.shown(backend_of(request), job), 202, {"Location": f"/api/v1/exports/{job.name}"}
    )


@router.get("/exports", summary="List exports")
async def list_(request: Request, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Give the newest exports of what the token may see."""
    paging.single(request.query_params, ())
    found = await run(exporting.listed, backend_of(request), jobs_of(request), visitor)
    return answer({"exports": found})


@router.get(
    "/exports/{name}",
    summary="How far an export is",
    responses={404: {"description": "There is none of that name."}},
)
async def one(request: Request, name: Name, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Give its state, and its rows so far.

    `running`, `done`, `failed`, `cancelled`, or `cut_off` where its process ended before it. `file`
    says where the file of one that is done is: `here`, `elsewhere` (with `instance`), or `gone`.
    """
    paging.single(request.query_params, ())
    job = await run(exporting.found, jobs_of(request), visitor, name)
    return answer(exporting.shown(backend_of(request), job))


@router.get(
    "/exports/{name}/manifest",
    summary="The manifest of an export",
    responses={409: {"description": "It is not done, or lies on another host."}},
)
async def manifest(
    request: Request, name: Name, visitor: Visitor = Allowed(Right.EXPORT)
) -> Response:
    """Give filter, counts and hashes of what was exported."""
    paging.single(request.query_params, ())
    job = await run(exporting.found, jobs_of(request), visitor, name)
    path = await run(exporting.file, backend_of(request), visitor, job, "manifest")
    return FileResponse(path, headers={"Cache-Control": "no-store"}, media_type="application/json")


@router.get(
    "/exports/{name}/file",
    summary="The file of an export",
    response_class=FileResponse,
    responses={409: {"description": "It is not done, or lies on another host."}},
)
async def file(request: Request, name: Name, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Give the file. The reading is noted in the ledger before."""
    paging.single(request.query_params, ())
    job = await run(exporting.found, jobs_of(request), visitor, name)
    path = await run(exporting.file, backend_of(request), visitor, job, "data")
    return FileResponse(
        path,
        headers={"Cache-Control": "no-store"},
        media_type=exporting.media_type(path),
        filename=f"affidavit-{name}{path.suffix}",
    )


@router.delete("/exports/{name}", status_code=204, summary="Cancel an export")
async def cancel(
    request: Request, name: Name, visitor: Visitor = Allowed(Right.EXPORT)
) -> Response:
    """Ask that it ends, wherever it runs; one that is done stays for its day."""
    paging.single(request.query_params, ())
    await run(exporting.cancel, jobs_of(request), visitor, name)
    return Response(status_code=204)


@router.get(
    "/calls/{call_id}/bundle",
    tags=["calls"],
    summary="Evidence of a call, as a zip file",
    openapi_extra=paging.described(paging.REASON),
    response_class=Response,
    responses={
        404: {"description": "There is no such call, or not for this token."},
        409: {"description": "Nothing of it is sealed yet, or it does not hold."},
    },
)
async def bundle(
    request: Request, call_id: CallId, visitor: Visitor = Allowed(Right.EXPORT)
) -> Response:
    """Give the records of a call with their proofs, and a page on verifying them.

    It holds content, so a reason is needed; the reading is noted in the ledger before.
    """
    paging.single(request.query_params, paging.REASON)
    reason = reason_of(request, visitor)
    packed = await run(_bundle, backend_of(request), visitor, call_id, reason)
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": 'attachment; filename="affidavit-bundle.zip"',
    }
    return Response(packed, headers=headers, media_type="application/zip")


def _bundle(backend: Backend, visitor: Visitor, call_id: str, reason: str) -> bytes:
    from affidavit.console.evidencing import bundle as packed

    seen = read(backend, visitor, call_id, reason)
    if seen is None:
        raise no_call()
    name = str(seen.call.get("call_id") or call_id)
    seals = backend.log.seals
    records = records_of(seals, name, visitor.scope)
    return packed(seals, name, records, backend.state_dir)
