"""``/api/v1/calls``: searching, and one call with its records and its proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads annotations

from affidavit.console.api import paging
from affidavit.console.api.problems import not_found
from affidavit.console.api.proving import prove
from affidavit.console.api.writing import answer, reason_of, require
from affidavit.console.doors import Allowed
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.store.questions import CallRecords, Page, SearchFilter

if TYPE_CHECKING:
    from affidavit.console.backend import Backend

router = APIRouter(prefix="/api/v1/calls", tags=["calls"])

CallId = Annotated[str, Path(min_length=1, max_length=100, description="The call's id.")]

_LIST: Final = paging.names(paging.FILTERS, paging.PAGES, paging.CONTENT)
_ONE: Final = paging.names(paging.CONTENT)


def backend_of(request: Request) -> Backend:
    """Give the door to the log."""
    return cast("Backend", request.app.state.backend)


@router.get(
    "",
    summary="Find calls and events",
    openapi_extra=paging.described(paging.FILTERS, paging.PAGES, paging.CONTENT, own=True),
    responses={
        200: {"description": "The member rows, newest first; next is the cursor, or null."},
        400: {"description": "A parameter is not understood."},
        403: {"description": "No right to content, which text and content need."},
    },
)
async def search(request: Request, visitor: Visitor = Allowed(Right.METADATA)) -> Response:
    """Find calls and events by any of their dimensions, newest first, in pages.

    Rows hold metadata only, unless `content=true` is asked with a reason. The reading is noted in
    the ledger before anything is given out. Only what the token may see is ever found.
    """
    given = paging.single(request.query_params, _LIST, own=True)
    content = paging.flag_of(given, "content")
    reason = reason_of(request, visitor) if content else None
    limit, cursor = paging.limit_of(given), paging.cursor_of(given)
    chosen = {n: v for n, v in given.items() if n not in {*paging.PAGES, *paging.CONTENT}}
    wanted = paging.read_filter(chosen, visitor.scope)
    if wanted.text is not None:
        require(visitor, Right.CONTENT)
    page = await run(find, backend_of(request), visitor, wanted, limit, cursor, reason)
    return answer({"rows": page.rows, "next": page.next})


def find(
    backend: Backend,
    visitor: Visitor,
    wanted: SearchFilter,
    limit: int,
    cursor: str | None,
    reason: str | None,
) -> Page:
    """Search, and note it before anything is given out; with content only where there is a reason.

    Raises ConfigError for a cursor that no search gave, StoreError.
    """
    from affidavit.store import metadata_of

    content = reason is not None
    page = backend.log.reader.search(
        wanted, limit, cursor, content=content or wanted.text is not None
    )
    details = wanted.as_details() | ({"reason": reason, "content": True} if content else {})
    backend.note(visitor, "api search", details, len(page.rows))
    if content:
        return page
    return Page(tuple(metadata_of(row) for row in page.rows), page.next)


@router.get(
    "/{call_id}",
    summary="Give one call",
    openapi_extra=paging.described(paging.CONTENT),
    responses={
        200: {"description": "The call, its single records and annotations."},
        404: {"description": "There is none, or not for this token."},
    },
)
async def one(
    request: Request, call_id: CallId, visitor: Visitor = Allowed(Right.METADATA)
) -> Response:
    """Give everything about a call; its texts only with `content=true` and a reason.

    The reading is noted in the ledger before the call is given out.
    """
    given = paging.single(request.query_params, _ONE)
    reason = reason_of(request, visitor) if paging.flag_of(given, "content") else None
    found = await run(read, backend_of(request), visitor, call_id, reason)
    if found is None:
        raise no_call()
    return answer(found)


def read(
    backend: Backend, visitor: Visitor, call_id: str, reason: str | None
) -> CallRecords | None:
    """Read a call within what the visitor may see, and note it before anything is given out."""
    from affidavit.store import metadata_of

    content = reason is not None
    found = backend.log.reader.call(call_id, within(visitor), content=content)
    details: dict[str, Any] = {"call_id": call_id}
    if content:
        details |= {"reason": reason, "content": True}
    backend.note(visitor, "api call", details, int(found is not None))
    if found is None or content:
        return found
    return CallRecords(
        metadata_of(found.call),
        None if found.intent is None else metadata_of(found.intent),
        tuple(map(metadata_of, found.outcomes)),
        tuple(map(metadata_of, found.annotations)),
    )


@router.get(
    "/{call_id}/proof",
    summary="Prove that a call is in the log",
    responses={
        200: {"description": "For each record its entry, leaf and proof, and the checkpoint."},
        404: {"description": "There is no such call, or not for this token."},
        409: {"description": "Nothing is sealed yet, or a proof does not hold."},
    },
)
async def proof(
    request: Request, call_id: CallId, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Prove each record of a call: an entry, its place, and the way to the newest checkpoint.

    Entries hold commitments and no text. Each proof was checked before it was given out. Compare
    `vkey` with the log's key as you know it from elsewhere.
    """
    paging.single(request.query_params, ())
    backend = backend_of(request)
    seen = await run(read, backend, visitor, call_id, None)
    if seen is None:
        raise no_call()
    name = str(seen.call.get("call_id") or call_id)
    found = await run(prove, backend.log.seals, name, visitor.scope)
    return answer(found)


def within(visitor: Visitor) -> SearchFilter:
    """Give what a visitor may see, as a search has it."""
    return SearchFilter(departments=visitor.scope.departments, tenants=visitor.scope.tenants)


def no_call() -> Exception:
    """Say that there is no such call, in the same words where it may not be seen."""
    return not_found("No call of this id can be seen here. GET /api/v1/calls lists those that can.")
