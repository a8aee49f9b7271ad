"""Settings: tokens and sessions, what each role may do, the configuration in force, its history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from affidavit.config import SETTINGS, without_password
from affidavit.console import accounts
from affidavit.console.auth.granting import Grant, names
from affidavit.console.auth.tokens import DEFAULT_DAYS, MOST_DAYS, Token
from affidavit.console.backend import Backend, run
from affidavit.console.doors import Allowed
from affidavit.console.figures import DASH
from affidavit.console.forms import form_of
from affidavit.console.render import render, words_of
from affidavit.console.roles import RIGHTS, Right, may
from affidavit.console.settings import shown
from affidavit.console.visitor import Role, Scope, Visitor
from affidavit.errors import ConfigError, StoreError

router: Final = APIRouter(include_in_schema=False)

_DAYS: Final = (1, 7, 30, DEFAULT_DAYS, 180, MOST_DAYS)


@dataclass(frozen=True, slots=True)
class Line:
    """A setting as it is in force."""

    name: str
    value: str
    source: str
    effect: str = ""
    is_default: bool = True


@router.get("/settings")
async def show(request: Request, visitor: Visitor = Allowed(Right.SETTINGS)) -> Response:
    """Show everything; tokens and sessions only to whoever may end them."""
    return await _page(request, visitor)


@router.post("/settings/tokens")
async def make_token(request: Request, visitor: Visitor = Allowed(Right.TOKENS)) -> Response:
    """Make a token, and show it this once."""
    backend: Backend = request.app.state.backend
    form = await form_of(request)
    try:
        text, token = await run(accounts.make, backend, visitor, _asked(form))
    except ConfigError as error:
        return await _page(
            request, visitor, status=HTTPStatus.BAD_REQUEST, form=form, error=str(error)
        )
    return await _page(request, visitor, made=(text, token))


@router.post("/settings/tokens/{public}/end")
async def end_token(
    request: Request, public: str, visitor: Visitor = Allowed(Right.TOKENS)
) -> Response:
    """End a token, and the sessions that it opened."""
    backend: Backend = request.app.state.backend
    await run(accounts.end, backend, visitor, public)
    return RedirectResponse("/settings#tokens", HTTPStatus.SEE_OTHER)


@router.post("/settings/sessions/{public}/end")
async def end_session(
    request: Request, public: str, visitor: Visitor = Allowed(Right.TOKENS)
) -> Response:
    """End somebody's session."""
    backend: Backend = request.app.state.backend
    await run(accounts.end_session, backend, visitor, public)
    return RedirectResponse("/settings#sessions", HTTPStatus.SEE_OTHER)


async def _page(
    request: Request,
    visitor: Visitor,
    *,
    status: int = HTTPStatus.OK,
    form: Mapping[str, str] | None = None,
    error: str | None = None,
    made: tuple[str, Token] | None = None,
) -> Response:
    backend: Backend = request.app.state.backend
    held, history, missing = await run(_held, backend, visitor)
    t = words_of(request)
    return render(
        request,
        "settings.html",
        visitor=visitor,
        status_code=status,
        accounts=held,
        form=form or {},
        error=error,
        made=made,
        address=backend.address,
        roles=list(Role),
        rights=list(Right),
        rights_of=RIGHTS,
        role_names=[t(f"role.{role.value}") for role in Role],
        role_options=[(role.value, t(f"role.{role.value}")) for role in Role],
        day_options=[(str(days), t("settings.in_days", count=days)) for days in _DAYS],
        default_days=DEFAULT_DAYS,
        config=_config(backend),
        service=_service(backend),
        uri=without_password(backend.uri),
        history=history,
        missing=missing,
    )


def _held(
    backend: Backend, visitor: Visitor
) -> tuple[accounts.Accounts | None, list[dict[str, Any]] | None, str | None]:
    """Ask the database for tokens, sessions and history; None for what it does not give, and why.

    The configuration in force needs no database, and is shown all the same.
    """
    held: accounts.Accounts | None = None
    try:
        backend.pulse.check()  # nobody waits for what is known to be away
        if may(visitor.role, Right.TOKENS):
            held = accounts.accounts(backend, visitor)
        return held, _history(backend), None
    except StoreError as error:
        return held, None, str(error)


def _asked(form: Mapping[str, str]) -> Grant:
    """Read the form of a new token. Raises ConfigError."""
    try:
        role = Role(form.get("role", ""))
        days = int(form.get("days", ""))
    except ValueError as error:
        raise ConfigError("Choose a role, and how many days the token lasts.") from error
    limits = ((name, form.get(name, "")) for name in ("departments", "tenants"))
    # A field that was left empty means all, as stands beside it; blanks and commas mean nothing.
    scope = Scope(*(names(text.split(","), name) if text else None for name, text in limits))
    return Grant(form.get("name", ""), role, scope, days)


def _config(backend: Backend) -> list[Line]:
    """Give the settings of the log without what is secret in them."""
    held = backend.config
    values = held.public()
    return [
        Line(
            name,
            _written(values[name]),
            held.source(name),
            setting.effect,
            values[name] == setting.default,
        )
        for name, setting in SETTINGS.items()
    ]


def _service(backend: Backend) -> list[Line]:
    """Give the settings of the service itself."""
    return [
        Line(name, _written(value), source, setting.effect, value == setting.default)
        for name, value, source, setting in shown(backend.serve)
    ]


def _written(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or DASH
    return json.dumps(value, default=str, ensure_ascii=False)


def _history(backend: Backend) -> list[dict[str, Any]]:
    """Give what the ledger says of set-up and changed settings. Raises StoreError."""
    return [
        {
            "at": document.get("timestamp", datetime.now(UTC)),
            "kind": str(document.get("event_type", "")),
            "who": _who(document.get("actor")),
            "details": [
                (str(name), _written(value))
                for name, value in (document.get("details") or {}).items()
                if value not in (None, [], {})
            ],
        }
        for document in backend.log.changes()
    ]


def _who(actor: object) -> str:
    if not isinstance(actor, Mapping):
        return ""
    who = actor.get("visitor") or actor.get("os_user") or actor.get("service") or ""
    host = actor.get("host")
    return f"{who} @ {host}" if host and who else str(who or host or "")
