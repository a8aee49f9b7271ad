"""``/api/v1/tokens``: who may come in. As on the page of settings, and with the same limits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response  # noqa: TC002 - FastAPI reads annotations
from pydantic import BaseModel, ConfigDict, Field

from affidavit.console import accounts
from affidavit.console.api import paging
from affidavit.console.api.calls import backend_of
from affidavit.console.api.writing import answer
from affidavit.console.auth.granting import LONGEST, MOST_NAMES, Grant, names, shown
from affidavit.console.auth.tokens import DEFAULT_DAYS, MOST_DAYS, MOST_NAME
from affidavit.console.doors import Allowed
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Role, Scope, Visitor

if TYPE_CHECKING:
    from affidavit.console.backend import Backend

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"])

Name = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Names = Annotated[list[Name], Field(min_length=1, max_length=MOST_NAMES)]


class NewToken(BaseModel):
    """Who it is for, what it may do, and for how long."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1, max_length=MOST_NAME, description="Of one person or program; shown in lists."
    )
    role: Role = Field(description="What it may do.")
    departments: Names | None = Field(
        default=None, description="See these departments only; null for all of them."
    )
    tenants: Names | None = Field(
        default=None, description="See these tenants only; null for all of them."
    )
    days: int = Field(
        default=DEFAULT_DAYS, ge=1, le=MOST_DAYS, description="Days until it ends by itself."
    )


@router.get("", summary="List tokens")
async def list_(request: Request, visitor: Visitor = Allowed(Right.TOKENS)) -> Response:
    """Give the tokens that see nothing which yours does not, newest first, without their secrets.

    Those that ended are listed for a year.
    """
    paging.single(request.query_params, ())
    return answer({"tokens": await run(_list, backend_of(request), visitor)})


def _list(backend: Backend, visitor: Visitor) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    found = [shown(each, now) for each in accounts.accounts(backend, visitor).tokens]
    backend.note(visitor, "token list", {}, len(found))
    return found


@router.post(
    "",
    status_code=201,
    summary="Make a token",
    responses={
        201: {"description": "The member token is its text, told this once."},
        400: {"description": "It would see more than yours, or its name is another's."},
    },
)
async def create(
    request: Request, wanted: NewToken, visitor: Visitor = Allowed(Right.TOKENS)
) -> Response:
    """Make a token and give its text, this once: the store keeps its hash.

    A visitor who is limited to departments or tenants makes tokens with those limits only.
    """
    paging.single(request.query_params, ())
    scope = Scope(_read(wanted.departments, "departments"), _read(wanted.tenants, "tenants"))
    grant = Grant(wanted.name, wanted.role, scope, wanted.days)
    text, token = await run(accounts.make, backend_of(request), visitor, grant)
    return answer(
        {"token": text, **shown(token, datetime.now(UTC))},
        201,
        {"Location": f"/api/v1/tokens/{token.id}"},
    )


@router.delete(
    "/{public}",
    summary="End a token",
    responses={
        403: {"description": "It sees departments or tenants that yours does not."},
        404: {"description": "There is none of this id that has not ended."},
    },
)
async def end(
    request: Request,
    public: Annotated[str, Path(pattern="^[0-9a-f]{1,20}$", description="The token's id.")],
    visitor: Visitor = Allowed(Right.TOKENS),
) -> Response:
    """End a token for good, and the sessions that it opened. Other instances hear within 5 s."""
    paging.single(request.query_params, ())
    ended = await run(accounts.end, backend_of(request), visitor, public)
    return answer(shown(ended, datetime.now(UTC)))


def _read(given: list[str] | None, what: str) -> tuple[str, ...] | None:
    return None if given is None else names(given, what)
