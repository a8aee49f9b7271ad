"""``POST /api/v1/records``: recording from an application in any language."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from affidavit.console.api import shapes
from affidavit.console.api.bodies import Bodies
from affidavit.console.api.intake import Ack, Intake, Taken, judge, worst
from affidavit.console.api.problems import RETRY_S, Problem
from affidavit.console.api.recording import Made, NotRecordable, made
from affidavit.console.doors import Allowed
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Scope, Visitor

if TYPE_CHECKING:
    from affidavit.console.backend import Backend

router = APIRouter(prefix="/api/v1", tags=["ingest"])

IN_THREAD: Final = 256 * 1024
"""Bytes of a body from which it is read in a thread, so that others are answered meanwhile."""

_LINES: Final = ("application/x-ndjson", "application/jsonl", "application/ndjson")
_MEDIA: Final = ("application/json", *_LINES)
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "description": "One document, an array of them, or one on each line (NDJSON); 1,000 at most.",
    "content": {
        "application/json": {
            "schema": {
                "oneOf": [
                    {"$ref": "#/components/schemas/Record"},
                    {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": shapes.MOST_RECORDS,
                        "items": {"$ref": "#/components/schemas/Record"},
                    },
                ]
            }
        },
        "application/x-ndjson": {"schema": {"type": "string"}},
    },
}


def bodies_of(request: Request) -> Bodies:
    """Give what reads bodies for this application."""
    state = request.app.state
    found: Bodies | None = getattr(state, "bodies", None)
    if found is None:
        found = state.bodies = Bodies(state.backend.serve.max_body_bytes)
    return found


def intake_of(request: Request) -> Intake:
    """Give the one way into the logger for this application."""
    state = request.app.state
    found: Intake | None = getattr(state, "intake", None)
    if found is None:
        found = state.intake = Intake(cast("Backend", state.backend))
    return found


@router.post(
    "/records",
    summary="Record calls and events",
    status_code=201,
    openapi_extra={"requestBody": _BODY},
    responses={
        200: {"description": "All of it was there already."},
        201: {"description": "All of it is stored."},
        202: {"description": "All of it is kept, not all in the database yet: see stored."},
        400: {"description": "Something is not understood; nothing was recorded."},
        403: {"description": "The token may not write this; nothing was recorded."},
        413: {"description": "Too large; the member limit_bytes says how large it may be."},
        415: {"description": "A media type or an encoding that is not known."},
        503: {
            "description": "No room, a loss, or a limited token names a call while the database "
            "is away; Retry-After says when to send it again."
        },
    },
)
async def records(
    request: Request,
    ack: Annotated[
        Ack,
        Query(
            description="durable: answer when it is in the database, or on this host's disk. "
            "queued: answer at once."
        ),
    ] = "durable",
    visitor: Visitor = Allowed(Right.INGEST),
) -> Response:
    """Take documents in, all of them or none.

    An `_id` that the client chose (24 hexadecimal digits) is recorded once: sent again it is a
    `duplicate`, and its content does not matter. A call's `_id` is its `call_id`. While the
    database is away records go to this host's spool, and the answer says `spooled`; they follow by
    themselves.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in _MEDIA:
        detail = f"Send one of {', '.join(_MEDIA)}; this is none of them."
        raise Problem(415, "Media type not known", detail, {"Accept-Post": ", ".join(_MEDIA)})
    body = await bodies_of(request).read(request)
    if len(body) < IN_THREAD:
        documents, single = _made(body, kind in _LINES, visitor.scope)
    else:
        documents, single = await run(_made, body, kind in _LINES, visitor.scope)
    intake = intake_of(request)
    documents = await _checked(intake, documents, visitor.scope)
    return _answer(await intake.record(documents, ack), documents, single=single)


def _made(body: bytes, lines: bool, scope: Scope) -> tuple[list[Made], bool]:
    try:
        found, single = shapes.read(body, lines=lines)
    except shapes.Unreadable as error:
        raise _unreadable(error.errors) from error
    now = datetime.now(UTC)
    documents: list[Made] = []
    errors: list[dict[str, Any]] = []
    forbidden = False
    for number, record in enumerate(found):
        try:
            documents.append(made(record, scope, now))
        except NotRecordable as error:
            forbidden |= error.forbidden
            if len(errors) < shapes.MOST_ERRORS:
                errors.append({"record": number, "field": error.field, "what": error.what})
    if errors:
        raise _unreadable(errors, 403 if forbidden else 400)
    return documents, single


async def _checked(intake: Intake, documents: list[Made], scope: Scope) -> list[Made]:
    """Let nobody write about a call that they may not see; one that is not there yet may be.

    While the database is away, what names another document's call waits: whose that is, nobody can
    tell. Whole calls are taken, and marked.
    """
    judged = await judge(intake, documents, scope)
    if judged.wrong:
        errors = [
            {
                "record": number,
                "field": "_id" if documents[number].about is None else "call_id",
                "what": "this token may not write about it",
            }
            for number in judged.wrong
        ]
        raise _unreadable(errors[: shapes.MOST_ERRORS], 403)
    if judged.uncertain:
        raise _uncertain(judged.uncertain)
    return judged.documents


def _uncertain(numbers: list[int]) -> Problem:
    what = "it cannot be checked whose call it is"
    errors = [
        {"record": number, "field": "call_id", "what": what}
        for number in numbers[: shapes.MOST_ERRORS]
    ]
    detail = (
        f"In record {numbers[0]}, call_id: {what}, because the database does not answer, and this "
        "token is limited to departments or tenants. Nothing was recorded. Send it again after "
        f"{RETRY_S} s; whole calls (type call) are taken meanwhile."
    )
    headers = {"Retry-After": str(RETRY_S)}
    more = {"errors": errors, "retry_after_s": RETRY_S}
    return Problem(503, "Not checked", detail, headers, more=more)


def _unreadable(errors: list[dict[str, Any]], status: int = 400) -> Problem:
    first = errors[0]
    where = f"record {first['record']}" if first["record"] is not None else "the body"
    what = f"{first['field']}: {first['what']}" if first["field"] else first["what"]
    title = "Not allowed" if status == 403 else "Not a record"  # noqa: PLR2004 - HTTP's own
    detail = f"In {where}, {what}. Nothing was recorded. The member errors lists what is wrong."
    return Problem(status, title, detail, more={"errors": errors})


def _answer(taken: list[Taken], documents: list[Made], *, single: bool) -> Response:
    least = worst(taken)
    if single:
        one = taken[0]
        body: dict[str, Any] = {"id": one.id, "type": documents[0].type, "stored": one.stored}
    else:
        counts: dict[str, int] = {}
        for each in taken:
            counts[each.stored] = counts.get(each.stored, 0) + 1
        body = {
            "stored": least,
            "counts": counts,
            "records": [
                {"id": each.id, "type": of.type, "stored": each.stored}
                for each, of in zip(taken, documents, strict=True)
            ],
        }
    if least == "lost":
        detail = (
            "Some of it is lost: neither the database nor the spool nor memory took it. It is "
            "counted. Send it again with the same ids."
        )
        headers = {"Retry-After": str(RETRY_S)}
        raise Problem(503, "Not kept", detail, headers, more=body)
    status = {"stored": 201, "duplicate": 200}.get(least, 202)
    return JSONResponse(body, status)
