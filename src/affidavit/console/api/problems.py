"""Errors as problem+json (RFC 9457): what is wrong and what to do, and nothing from inside.

Every answer with an error of the API is made here. Texts of the driver, tracebacks and values that
a client sent never get out: an error that nobody expected says only what kind it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from affidavit.console.doors import Refusal
from affidavit.errors import (
    AffidavitError,
    AuditUnavailable,
    ConfigError,
    MissingExtra,
    SealError,
    SpoolError,
    StoreRefused,
    StoreUnavailable,
)

MEDIA_TYPE: Final = "application/problem+json"

RETRY_S: Final = 2
"""Seconds after which to try again what the database did not answer."""

_log: Final = logging.getLogger("affidavit")
_LONGEST: Final = 600
_MOST: Final = 20
"""Errors of one request that are listed."""


@dataclass
class Problem(Refusal):
    """A refusal with further members, such as ``limit_bytes`` or ``errors``."""

    more: Mapping[str, Any] = field(default_factory=dict)


def body_of(refusal: Refusal) -> dict[str, Any]:
    """Write a refusal as a problem document."""
    name = "".join(c if c.isalnum() else "-" for c in refusal.title.lower())
    more = refusal.more if isinstance(refusal, Problem) else {}
    return {
        "type": f"urn:affidavit:problem:{name}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
        **more,
    }


def answer(refusal: Refusal) -> Response:
    """Make the response of a refusal."""
    headers = {"Cache-Control": "no-store", **refusal.headers}
    body = json.dumps(body_of(refusal), ensure_ascii=True)
    return Response(body, refusal.status, headers, MEDIA_TYPE)


def refusal_of(error: BaseException) -> Refusal:
    """Say an exception in the words of the API."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return _validation(error)
    if isinstance(error, HTTPException):
        return _http(error)
    if isinstance(error, AffidavitError):
        return _ours(error)
    # The text could hold content of a record, or an address with a password.
    _log.error("affidavit: a request failed with %s.", type(error).__name__)
    detail = (
        f"Something unexpected happened ({type(error).__name__}). This is a fault of the program; "
        "please report what you asked for. Nothing was recorded by this request unless it was "
        "acknowledged."
    )
    return Refusal(500, "Unexpected error", detail)


def bad_request(detail: str, **more: Any) -> Problem:
    """Say that a request makes no sense, and how to write it."""
    return Problem(400, "Bad request", detail, more=more)


def not_found(what: str) -> Problem:
    """Say that something is not there, or not for this visitor: both look the same."""
    return Problem(404, "Not found", what)


def too_large(what: str, limit_bytes: int) -> Problem:
    """Say that a body is too large, and how large it may be."""
    detail = f"{what} is larger than {limit_bytes} bytes. Send less at a time."
    return Problem(413, "Too large", detail, more={"limit_bytes": limit_bytes})


def busy(detail: str, retry_s: int = RETRY_S) -> Problem:
    """Say that the service has too much to do, and when to come again."""
    headers = {"Retry-After": str(retry_s)}
    return Problem(503, "Busy", detail, headers, more={"retry_after_s": retry_s})


def _ours(error: AffidavitError) -> Refusal:
    text = str(error)[:_LONGEST]
    if isinstance(error, ConfigError):
        return bad_request(text)
    if isinstance(error, StoreRefused):
        return Refusal(502, "The database refuses", text)
    if isinstance(error, StoreUnavailable | AuditUnavailable | SpoolError):
        headers = {"Retry-After": str(RETRY_S)}
        return Refusal(503, "The database is away", text, headers)
    if isinstance(error, SealError):
        return Refusal(409, "Not sealed", text)
    if isinstance(error, MissingExtra):
        return Refusal(501, "Not installed", text)
    return Refusal(500, "Not done", text)


def _validation(error: RequestValidationError) -> Refusal:
    """Name what is wrong with parameters. Pydantic's texts are its own, values stay inside."""
    found = []
    for each in error.errors()[:_MOST]:
        place, *path = [str(part)[:80] for part in each.get("loc", ("request",))]
        found.append({"where": place, "name": ".".join(path), "what": _what(each)})
    named = ", ".join(sorted({each["name"] for each in found if each["name"]})) or "the request"
    detail = f"Not understood: {named}. The member errors says what is expected of each."
    return Problem(422, "Bad request", detail, more={"errors": found})


def _what(each: Mapping[str, Any]) -> str:
    """Say what is expected, by the kind of error: its text may repeat what was sent."""
    context = each.get("ctx", {})
    kind = str(each.get("type", "invalid"))
    limits = {
        name: context[name]
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "expected")
        if name in context
    }
    said = ", ".join(f"{name} {value}" for name, value in limits.items())
    return f"{kind} ({said})" if said else kind


def _http(error: HTTPException) -> Refusal:
    status = error.status_code
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Not done"
    details = {
        404: "There is nothing at this address. /api/v1/openapi.json lists what there is.",
        405: "This address does not take this method; the header Allow names those it takes.",
    }
    headers = dict(error.headers or {})
    return Refusal(status, title, details.get(status, f"{title}."), headers)
