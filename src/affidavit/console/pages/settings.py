"""Settings: tokens and sessions, what each role may do, the configuration in force, its history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from affidavit.config import SETTINGS, without_password
from affidavit.console.auth.sessions import Session
from affidavit.console.auth.tokens import DEFAULT_DAYS, MOST_DAYS, Token
from affidavit.console.backend import Backend, run
from affidavit.console.doors import Allowed, Refusal
from affidavit.console.figures import DASH
from affidavit.console.forms import form_of
from affidavit.console.render import render, words_of
from affidavit.console.roles import RIGHTS, Right, may
from affidavit.console.visitor import Role, Scope, Visitor
from affidavit.errors import ConfigError, StoreError

router: Final = APIRouter(include_in_schema=False)

_DAYS: Final = (1, 7, 30, DEFAULT_DAYS, 180, MOST_DAYS)
_SECRETS: Final = frozenset({"oidc_client_secret"})
_MOST_NAMES: Final = 100
_WIDER: Final = (
    "It sees departments or tenants that you do not. An administrator without limits can end it."
)


@dataclass(frozen=True, slots=True)
class Line:
    """A setting as it is in force."""

    name: str
    value: str
    source: str
    effect: str = ""
    is_default: bool = True


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who may come in."""

    tokens: Sequence[Token] = ()
    sessions: Sequence[Session] = ()


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
        name, role, scope, days = _asked(form)
        _check_scope(visitor, scope)
        await run(_check_name, backend, name, scope)
        # Noted first: nobody comes in by a token that the ledger does not know of.
        wanted = {"name": name, "role": role.value, "days": days, **scope.as_document()}
        await run(backend.note, visitor, "token make", wanted, 1)
        text, token = await run(
            backend.doorman.tokens.make, name, role, scope, by=visitor.name, days=days
        )
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
    doorman = backend.doorman
    token = await run(doorman.tokens.get, public)
    if token is not None and not visitor.scope.covers(token.scope):
        raise Refusal(403, "Not allowed", _WIDER)
    await run(backend.note, visitor, "token end", {"id": public[:40]}, 1)
    if await run(doorman.tokens.end, public, by=visitor.name) is None:
        raise Refusal(404, "Not found", "There is no token of this id that has not ended.")
    await run(doorman.sessions.end_of_token, public)
    doorman.forget_token(public)
    return RedirectResponse("/settings#tokens", HTTPStatus.SEE_OTHER)


@router.post("/settings/sessions/{public}/end")
async def end_session(
    request: Request, public: str, visitor: Visitor = Allowed(Right.TOKENS)
) -> Response:
    """End somebody's session."""
    backend: Backend = request.app.state.backend
    wider = [
        s for s in await run(backend.doorman.sessions.all) if not visitor.scope.covers(s.scope)
    ]
    if any(each.id == public for each in wider):
        raise Refusal(403, "Not allowed", _WIDER)
    await run(backend.note, visitor, "session end", {"id": public[:40]}, 1)
    if await run(backend.doorman.sessions.end_by_id, public) is None:
        raise Refusal(404, "Not found", "There is no session of this id any more.")
    backend.doorman.forget_session(public)
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
    accounts = Accounts()
    if may(visitor.role, Right.TOKENS):
        accounts = await run(_accounts, backend)
    t = words_of(request)
    return render(
        request,
        "settings.html",
        visitor=visitor,
        status_code=status,
        accounts=accounts,
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
        history=await run(_history, backend),
    )


def _accounts(backend: Backend) -> Accounts:
    return Accounts(backend.doorman.tokens.all(), backend.doorman.sessions.all())


def _asked(form: Mapping[str, str]) -> tuple[str, Role, Scope, int]:
    """Read the form of a new token. Raises ConfigError."""
    try:
        role = Role(form.get("role", ""))
        days = int(form.get("days", ""))
    except ValueError as error:
        raise ConfigError("Choose a role, and how many days the token lasts.") from error
    if not 1 <= days <= MOST_DAYS:
        msg = f"A token lasts from 1 to {MOST_DAYS} days."
        raise ConfigError(msg)
    scope = Scope(_names(form.get("departments", "")), _names(form.get("tenants", "")))
    return form.get("name", "").strip(), role, scope, days


def _check_scope(visitor: Visitor, scope: Scope) -> None:
    """Keep a token within what its maker may see. Raises ConfigError."""
    if not visitor.scope.covers(scope):
        msg = (
            "You see some departments or tenants only, so a token of yours is limited to those. "
            "Name them, or ask an administrator without limits."
        )
        raise ConfigError(msg)


def _check_name(backend: Backend, name: str, scope: Scope) -> None:
    """Keep people apart: views and readings are kept by name. Raises ConfigError, StoreError."""
    now = datetime.now(UTC)
    for token in backend.doorman.tokens.all():
        if token.name == name and token.works(now) and token.scope != scope:
            msg = (
                "A token of this name is limited to other departments or tenants. Choose another "
                "name: what somebody has read and saved is kept by it."
            )
            raise ConfigError(msg)


def _names(text: str) -> tuple[str, ...] | None:
    """Read names with commas between them; none: no limit."""
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    if len(names) > _MOST_NAMES:
        msg = f"A token is limited to {_MOST_NAMES} departments or tenants at most."
        raise ConfigError(msg)
    return names or None


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
    held = asdict(backend.serve)
    return [
        Line(name, "***" if name in _SECRETS and value else _written(value), "argument")
        for name, value in held.items()
    ]


def _written(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or DASH
    return json.dumps(value, default=str, ensure_ascii=False)


def _history(backend: Backend) -> list[dict[str, Any]]:
    """Give what the ledger says of set-up and changed settings; nothing where it cannot be read."""
    try:
        found = backend.log.changes()
    except StoreError:
        return []
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
        for document in found
    ]


def _who(actor: object) -> str:
    if not isinstance(actor, Mapping):
        return ""
    who = actor.get("visitor") or actor.get("os_user") or actor.get("service") or ""
    host = actor.get("host")
    return f"{who} @ {host}" if host and who else str(who or host or "")
