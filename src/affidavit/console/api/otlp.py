"""``POST /v1/traces``: GenAI spans of any OpenTelemetry SDK or collector become records.

OTLP over HTTP, protobuf or JSON. A span that is no call to a model is passed over. One that is sent
again, as exporters do after a failure, is recorded once: ids come from trace and span.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from affidavit.capture.otel.read import read
from affidavit.capture.otel.receive import SCOPE, dimensions, parts
from affidavit.console.api import spans
from affidavit.console.api.ingest import IN_THREAD, bodies_of, intake_of
from affidavit.console.api.intake import judge, worst
from affidavit.console.api.problems import RETRY_S
from affidavit.console.api.recording import AHEAD, EARLIEST, Made, Part, later_id
from affidavit.console.doors import Allowed, Refusal
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Scope, Visitor
from affidavit.event import DIMENSIONS

router = APIRouter(tags=["ingest"])

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
OWN: Final = "affidavit."
"""Prefix of attributes, of a span or its resource, that say who and where: affidavit.department."""

_INVALID: Final = 3
"""``INVALID_ARGUMENT`` of google.rpc.Code."""
_UNAVAILABLE: Final = 14
_ENVIRONMENT: Final = ("deployment.environment.name", "deployment.environment")
_LONGEST: Final = 500


@router.post(
    "/v1/traces",
    summary="Receive traces by OTLP/HTTP",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
                JSON: {"schema": {"type": "object"}},
            },
        }
    },
    responses={
        200: {"description": "Taken; partialSuccess says what of it was not."},
        400: {"description": "The body is no export of traces; do not send it again."},
        413: {"description": "Too large."},
        503: {"description": "No room; Retry-After says when to send it again."},
    },
)
async def traces(request: Request, visitor: Visitor = Allowed(Right.INGEST)) -> Response:
    """Record the spans that are calls to a model, old and new names of attributes alike.

    Who and where come from `service.name`, `user.id`, `session.id`, `deployment.environment.name`,
    and from attributes named `affidavit.department`, `affidavit.tenant` and so on, of the span or
    of its resource.
    """
    kind = request.headers.get("content-type", PROTOBUF).partition(";")[0].strip().lower()
    as_json = kind == JSON
    if kind not in {PROTOBUF, JSON}:
        return _status(415, _INVALID, f"Send {PROTOBUF} or {JSON}.", as_json=True)
    try:
        body = await bodies_of(request).read(request)
        reader = spans.from_json if as_json else spans.from_protobuf
        found = reader(body) if len(body) < IN_THREAD else await run(reader, body)
        documents, refused = calls_of(found, visitor.scope, datetime.now(UTC))
        intake = intake_of(request)
        judged = await judge(intake, documents, visitor.scope)
        refused += ["the token may not write about its call"] * len(judged.wrong)
        wrong = set(judged.wrong)
        documents = [each for n, each in enumerate(judged.documents) if n not in wrong]
        taken = await intake.record(documents, "durable") if documents else []
    except spans.NotOtlp as error:
        return _status(400, _INVALID, str(error), as_json=as_json)
    except Refusal as error:
        code = _UNAVAILABLE if error.status == 503 else _INVALID  # noqa: PLR2004 - HTTP's own
        return _status(error.status, code, error.detail, as_json=as_json, headers=error.headers)
    if taken and worst(taken) == "lost":
        text = "Some spans found no room. Send them again."
        headers = {"Retry-After": str(RETRY_S)}
        return _status(503, _UNAVAILABLE, text, as_json=as_json, headers=headers)
    why = "" if not refused else f"{len(refused)} spans were not recorded: {refused[0]}."
    if not as_json:
        return Response(spans.response_protobuf(len(refused), why), media_type=PROTOBUF)
    partial = {"rejectedSpans": str(len(refused)), "errorMessage": why}
    answer = {"partialSuccess": partial} if refused else {}
    return Response(msgspec.json.encode(answer), media_type=JSON)


def calls_of(found: list[spans.Span], scope: Scope, now: datetime) -> tuple[list[Made], list[str]]:
    """Make records of the spans that are calls to a model; and say why some are not recorded."""
    documents: list[Made] = []
    refused: list[str] = []
    for span in found:
        if span.scope == SCOPE:
            continue
        try:
            said = read(span.attributes, [(event.name, event.attributes) for event in span.events])
            if said is None:
                continue
            who = _who(span, dimensions(span, said), scope)
            _check_times(span, now)
            call_id = _id(span.place)
            intent, outcome = parts(span, said, call_id.hex(), who, {}, {})
        except _NotTaken as error:
            refused.append(str(error))
        except Exception as error:  # the text could hold content of the span
            refused.append(f"it could not be read ({type(error).__name__})")
        else:
            both = (Part(call_id, intent, False), Part(later_id(call_id), outcome, False))
            whose = who.get("department"), who.get("tenant")
            documents.append(Made("call", call_id, both, chosen=True, whose=whose))
    return documents, refused


class _NotTaken(Exception):  # noqa: N818 - what became of a span
    """Why a span is not recorded."""


def _who(span: spans.Span, who: dict[str, Any], scope: Scope) -> dict[str, Any]:
    told: list[Mapping[str, Any]] = [span.attributes, span.resource.attributes]
    for name in DIMENSIONS:
        value = next((each[OWN + name] for each in told if each.get(OWN + name)), None)
        if value is not None:
            who[name] = str(value)
    if "environment" not in who:
        for name in _ENVIRONMENT:
            if span.resource.attributes.get(name):
                who["environment"] = str(span.resource.attributes[name])
                break
    for name, allowed in (("department", scope.departments), ("tenant", scope.tenants)):
        if allowed is not None and name not in who and len(allowed) == 1:
            who[name] = allowed[0]
        if allowed is not None and who.get(name) not in allowed:
            msg = f"the token may write for its own {name} only; set the attribute {OWN}{name}"
            raise _NotTaken(msg)
    return {name: value[:_LONGEST] for name, value in who.items()}


def _check_times(span: spans.Span, now: datetime) -> None:
    first_ns = int(EARLIEST.timestamp()) * 1_000_000_000
    last_ns = int((now + AHEAD).timestamp()) * 1_000_000_000
    if not first_ns <= span.start_time <= last_ns or not (
        span.end_time == 0 or span.start_time <= span.end_time <= last_ns
    ):
        msg = "its times lie before 2000, in the future, or end before they begin"
        raise _NotTaken(msg)


def _id(place: spans.Place) -> bytes:
    """Derive a call's id from its span: the same span again has the same id."""
    if not (place.trace_id and place.span_id):
        msg = "it has no trace id or no span id"
        raise _NotTaken(msg)
    return sha256(f"span\0{place.trace_id:032x}{place.span_id:016x}".encode()).digest()[:12]


def _status(
    status: int,
    code: int,
    message: str,
    *,
    as_json: bool,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer an error as OTLP does."""
    if as_json:
        body = msgspec.json.encode({"code": code, "message": message})
        return Response(body, status, dict(headers or {}), JSON)
    return Response(spans.status_protobuf(code, message), status, dict(headers or {}), PROTOBUF)
