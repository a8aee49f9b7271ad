"""Coming in and going out: with a token, by the first administrator's link, by OIDC."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from affidavit.console.auth.doorman import address_of
from affidavit.console.auth.oidc import WAIT
from affidavit.console.backend import Backend, run
from affidavit.console.doors import LoggedIn, Refusal
from affidavit.console.forms import form_of
from affidavit.console.render import render, words_of
from affidavit.console.roles import Right, may
from affidavit.console.threads import run_elsewhere
from affidavit.console.visitor import Role, Scope, Visitor

if TYPE_CHECKING:
    from affidavit.console.auth.sessions import Session

router: Final = APIRouter(include_in_schema=False)

_OIDC_COOKIE: Final = "affidavit_oidc"
_OIDC_PATH: Final = "/login/oidc"
_LONGEST: Final = 2000
_SPACE: Final = 0x20


@router.get("/login")
async def ask(request: Request, next: str = "/") -> Response:  # noqa: A002 - its name in addresses
    """Show how to come in."""
    return _page(request, local(next))


@router.post("/login")
async def by_token(request: Request) -> Response:
    """Open a session with a token."""
    backend: Backend = request.app.state.backend
    form = await form_of(request)
    target, t, address = local(form.get("next", "/")), words_of(request), address_of(request)
    backend.pulse.check()
    backend.doorman.check_attempts(address)
    token = await run(backend.doorman.tokens.find, form.get("token", "").strip())
    if token is None:
        if form.get("token"):
            backend.doorman.attempts.failed(address)
        return _page(request, target, t("login.wrong"), HTTPStatus.UNAUTHORIZED)
    if not may(token.role, Right.METADATA):
        return _page(request, target, t("login.writer"), HTTPStatus.FORBIDDEN)
    await run(backend.doorman.tokens.used, token)
    cookie, session = await run(
        backend.doorman.sessions.open,
        token.name,
        token.role,
        token.scope,
        by=f"token:{token.id}",
        until=token.until,
    )
    return _welcome(request, target, cookie, session)


@router.get("/login/first")
async def ask_first(request: Request, key: str = "") -> Response:
    """Show the first administrator's form; looking at a link does not use it up."""
    return render(request, "login_first.html", bare_page=True, key=key[:100], error=None)


@router.post("/login/first")
async def by_link(request: Request) -> Response:
    """Open the first administrator's session, once."""
    backend: Backend = request.app.state.backend
    form, address = await form_of(request), address_of(request)
    backend.pulse.check()
    backend.doorman.check_attempts(address)
    if not await run(backend.bootstrap.use, form.get("key", "")):
        if form.get("key"):
            backend.doorman.attempts.failed(address)
        return render(
            request,
            "login_first.html",
            status_code=HTTPStatus.UNAUTHORIZED,
            bare_page=True,
            key="",
            error=words_of(request)("login.first_wrong"),
        )
    cookie, session = await run(
        backend.doorman.sessions.open, "administrator", Role.ADMIN, Scope(), by="link"
    )
    return _welcome(request, "/settings#tokens", cookie, session)


@router.get("/login/oidc")
async def elsewhere(request: Request, next: str = "/") -> Response:  # noqa: A002 - as above
    """Send the browser to the issuer."""
    backend: Backend = request.app.state.backend
    oidc = backend.oidc
    if oidc is None:
        raise Refusal(404, "Not found", "Log-in at another place is not configured.")
    backend.doorman.check_begins(address_of(request))
    backend.pulse.check()
    started = await run_elsewhere(oidc.start, local(next))
    answer = RedirectResponse(started.address, HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        _OIDC_COOKIE,
        started.browser,
        max_age=int(WAIT.total_seconds()),
        path=_OIDC_PATH,
        secure=backend.serve.secure,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/login/oidc/back")
async def back(request: Request) -> Response:
    """Take who comes back from the issuer."""
    backend: Backend = request.app.state.backend
    oidc, address = backend.oidc, address_of(request)
    if oidc is None:
        raise Refusal(404, "Not found", "Log-in at another place is not configured.")
    backend.doorman.check_attempts(address)
    backend.pulse.check()
    browser = request.cookies.get(_OIDC_COOKIE, "")
    try:
        person = await run_elsewhere(oidc.finish, dict(request.query_params), browser)
    except Refusal as refusal:
        backend.doorman.attempts.failed(address)
        return _page(request, "/", refusal.detail, refusal.status)
    cookie, session = await run(
        backend.doorman.sessions.open,
        person.name,
        person.role,
        person.scope,
        by="oidc",
        account=person.account,
    )
    answer = _welcome(request, person.target, cookie, session)
    answer.delete_cookie(_OIDC_COOKIE, path=_OIDC_PATH)
    return answer


@router.post("/logout")
async def leave(request: Request, visitor: Visitor = LoggedIn()) -> Response:
    """End the session."""
    backend: Backend = request.app.state.backend
    doorman = backend.doorman
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    if visitor.how == "session":
        await run(doorman.sessions.end, request.cookies.get(doorman.cookie, ""))
        doorman.forget_session(visitor.id)
        answer.delete_cookie(
            doorman.cookie, path="/", secure=backend.serve.secure, httponly=True, samesite="lax"
        )
    return answer


def local(target: str) -> str:
    """Give a path of this service to go on to; whatever leads elsewhere becomes the first page."""
    odd = any(ord(letter) < _SPACE or letter == "\\" for letter in target)
    leads_away = not target.startswith("/") or target.startswith("//")
    return "/" if odd or leads_away or len(target) > _LONGEST or target == "/login" else target


def _page(
    request: Request, target: str, error: str | None = None, status: int = HTTPStatus.OK
) -> Response:
    backend: Backend = request.app.state.backend
    elsewhere = f"/login/oidc?{urlencode({'next': target})}" if backend.oidc is not None else None
    return render(
        request,
        "login.html",
        status_code=status,
        bare_page=True,
        target=target,
        error=error,
        elsewhere=elsewhere,
        issuer=backend.oidc.shown if backend.oidc is not None else None,
    )


def _welcome(request: Request, target: str, cookie: str, session: Session) -> Response:
    backend: Backend = request.app.state.backend
    answer = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        backend.doorman.cookie,
        cookie,
        max_age=max(1, int((session.until - session.made_at).total_seconds())),
        path="/",
        secure=backend.serve.secure,
        httponly=True,
        samesite="lax",
    )
    return answer
