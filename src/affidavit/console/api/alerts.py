"""``/api/v1/alerts``: what fires, what fired, silences, and tests of delivery."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads annotations
from pydantic import BaseModel, ConfigDict, Field

from affidavit._monitor_settings import THRESHOLDS
from affidavit.console.api import paging
from affidavit.console.api.calls import backend_of
from affidavit.console.api.paging import Parameter, wrong
from affidavit.console.api.problems import bad_request, not_found
from affidavit.console.api.writing import answer
from affidavit.console.doors import Allowed, Refusal
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.console.watched import may_silence, send_trials
from affidavit.errors import ConfigError
from affidavit.monitor import listing

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.store.alerting import KeptSilence

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

MOST: Final = 1000
_HISTORY: Final = {
    "since": Parameter(
        str,
        "From this time on; the last 7 days by default.",
        {"type": "string", "examples": ["2026-11-23T09:30:00Z", "24h"]},
    ),
    "limit": Parameter(
        str, "At most; 100 by default.", {"type": "integer", "minimum": 1, "maximum": MOST}
    ),
}
_NOT_YOURS: Final = (
    "You see a part of the log only, and a silence keeps everybody from being told. Budgets of "
    "departments that you see can be silenced; ask an administrator without limits for the rest."
)
_PERSONAL: Final = "budget_user"
"""The rule whose subjects are people: those who may see only a part of the log see none of them."""


class NewSilence(BaseModel):
    """Which alerts are to be quiet, for how long and why."""

    model_config = ConfigDict(extra="forbid")

    rule: str = Field(max_length=100, description="A rule's name; * for all.", examples=["*"])
    subject: str = Field(default="*", max_length=500, description="Only this subject; * for all.")
    for_s: int = Field(ge=30, le=366 * 86_400, description="Seconds until it ends.")
    reason: str = Field(default="", max_length=500, description="Why; noted in the ledger.")


@router.get("", summary="List rules, alerts and silences")
async def list_(request: Request, visitor: Visitor = Allowed(Right.ALERTS)) -> Response:
    """Give each rule with its thresholds and alerts, as the monitor last saw them."""
    paging.single(request.query_params, ())
    return answer(await run(_list, backend_of(request), visitor))


def _list(backend: Backend, visitor: Visitor) -> dict[str, Any]:
    state, acts = backend.alerts.peek()
    silences = backend.alerts.silences(datetime.now(UTC))
    rows = listing.rows(backend.config, state)
    if not visitor.scope.everything:
        rows = [row for row in rows if _is_shown(row, visitor)]
        silences = [each for each in silences if each.subject == "*"]
    backend.note(visitor, "api alerts", {}, len(rows))
    return {
        "alerts": rows,
        "silences": [asdict(each) for each in silences],
        "acting": acts,
        "looked_at": state.get("looked_at"),
        "waiting": len(state.get("due", ())),
    }


def _is_shown(row: dict[str, Any], visitor: Visitor) -> bool:
    """Whether somebody who sees a part of the log may see an alert about a user or department."""
    rule, subject = row.get("rule"), row.get("subject")
    if rule == _PERSONAL:
        return not subject
    if rule == "budget_department" and subject:
        departments = visitor.scope.departments
        return departments is None or subject in departments
    return True


@router.get(
    "/history",
    summary="List what fired and resolved",
    openapi_extra=paging.described(_HISTORY),
)
async def history(request: Request, visitor: Visitor = Allowed(Right.ALERTS)) -> Response:
    """Give what fired, resolved and could not be delivered, newest first; kept for 90 days."""
    given = paging.single(request.query_params, _HISTORY)
    limit = paging.limit_of(given, MOST, 100)
    try:
        since = paging.moment(given["since"]) if "since" in given else None
    except (ValueError, OverflowError) as error:
        raise wrong("since", paging.A_TIME) from error
    start = since or datetime.now(UTC) - timedelta(days=7)
    return answer(await run(_history, backend_of(request), visitor, start, limit))


def _history(backend: Backend, visitor: Visitor, since: datetime, limit: int) -> dict[str, Any]:
    found = list(backend.alerts.history(since, limit))
    if not visitor.scope.everything:
        found = [entry for entry in found if _is_shown(entry, visitor)]
    backend.note(visitor, "api alerts history", {"since": since}, len(found))
    return {"history": found}


@router.post(
    "/silences",
    status_code=201,
    summary="Silence alerts for a while",
    responses={400: {"description": "There is no such rule."}},
)
async def silence(
    request: Request, wanted: NewSilence, visitor: Visitor = Allowed(Right.SILENCE)
) -> Response:
    """Tell nothing of some alerts for a while; firing and resolving are noted all the same."""
    paging.single(request.query_params, ())
    if wanted.rule not in {"*", *THRESHOLDS}:
        raise bad_request(
            f"There is no such rule. One of: *, {', '.join(THRESHOLDS)}.",
            errors=[{"where": "body", "name": "rule", "what": "unknown"}],
        )
    if not may_silence(visitor.scope, wanted.rule, wanted.subject):
        raise Refusal(403, "Not allowed", _NOT_YOURS)
    made = await run(_silence, backend_of(request), visitor, wanted)
    return answer(asdict(made), 201)


def _silence(backend: Backend, visitor: Visitor, wanted: NewSilence) -> KeptSilence:
    span = timedelta(seconds=wanted.for_s)
    return listing.silence(
        backend.alerts,
        wanted.rule,
        wanted.subject,
        span,
        visitor.name,
        wanted.reason,
        datetime.now(UTC),
    )


@router.delete(
    "/silences/{name}",
    summary="End a silence now",
    responses={404: {"description": "There is none of that name that has not ended."}},
)
async def end(
    request: Request,
    name: Annotated[str, Path(min_length=1, max_length=100)],
    visitor: Visitor = Allowed(Right.SILENCE),
) -> Response:
    """End a silence; what still fires is told again."""
    paging.single(request.query_params, ())
    held = await run(backend_of(request).alerts.silences, datetime.now(UTC))
    if any(
        each.name == name and not may_silence(visitor.scope, each.rule, each.subject)
        for each in held
    ):
        raise Refusal(403, "Not allowed", _NOT_YOURS)
    try:
        ended = await run(listing.end, backend_of(request).alerts, name, datetime.now(UTC))
    except ConfigError as error:
        raise not_found("There is no silence of that name that has not ended.") from error
    return answer(asdict(ended))


@router.post("/test", summary="Send a test message to every target")
async def trial(request: Request, visitor: Visitor = Allowed(Right.SILENCE)) -> Response:
    """Send a test message to every target of the settings, once; say what each answered."""
    paging.single(request.query_params, ())
    return answer(await run(_test, backend_of(request), visitor))


def _test(backend: Backend, visitor: Visitor) -> dict[str, Any]:
    backend.note(visitor, "api alerts test", {}, None)
    done = [{"target": name, "failure": why} for name, why in send_trials(backend)]
    return {"targets": done}
