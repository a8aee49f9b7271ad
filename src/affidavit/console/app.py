"""Everything tied together: the application that uvicorn runs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from affidavit import __version__
from affidavit.console import api, pages, phrases
from affidavit.console.api import problems
from affidavit.console.api.describe import describe
from affidavit.console.backend import Backend, run
from affidavit.console.doors import Refusal, is_for_programs
from affidavit.console.gate import Gate
from affidavit.console.render import render, words_of
from affidavit.console.schedules import Schedules
from affidavit.errors import AffidavitError

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.console.config import ServeConfig
    from affidavit.console.language import Words

_log: Final = logging.getLogger("affidavit")

_AWAY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE})


def create_app(serve: ServeConfig, config: AuditConfig, uri: str) -> FastAPI:
    """Make the application. Raises ConfigError for settings that cannot be used."""
    backend = Backend(serve, config, uri)
    try:
        schedules = Schedules(backend)
    except AffidavitError:
        backend.close()
        raise

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        backend.pulse.start()
        schedules.start()
        try:
            yield
        finally:
            await run(schedules.stop)
            await run(backend.drain)
            await run(schedules.finish)
            await run(backend.close)

    app = FastAPI(
        title="Affidavit",
        summary="An audit log of calls to language models: adding to it, asking it, trusting it.",
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        # A path is its own; no redirect gives away where a session would be taken.
        redirect_slashes=False,
    )
    app.state.backend = backend
    app.state.serve = serve
    app.state.schedules = schedules
    app.openapi = partial(describe, app)  # type: ignore[method-assign]  # as FastAPI has it
    for kind in (Refusal, AffidavitError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _trouble)
    app.add_api_route("/healthz", _alive, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/readyz", _ready, methods=["GET", "HEAD"], include_in_schema=False)
    for router in (*api.routers(), *pages.routers()):
        app.include_router(router)
    app.state.closing = lambda: False
    app.add_middleware(Gate, serve=serve, closing=lambda: bool(app.state.closing()), fault=_trouble)
    return app


async def _alive() -> Response:
    """Say that this process runs."""
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    """Say whether the database answers, and what waits while it does not."""
    backend: Backend = request.app.state.backend
    answers = await run(backend.pulse.ask)
    status = HTTPStatus.OK if answers else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"status": "ok" if answers else "database away"}, status)


async def _trouble(request: Request, error: Exception) -> Response:
    """Answer a program with problem+json, and a person with a page; nobody with a trace."""
    refusal = problems.refusal_of(error)
    path = request.url.path
    if is_for_programs(path):
        return problems.answer(refusal)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        return _to_login(request, path)
    if request.headers.get("HX-Request") == "true":
        # htmx shows what it gets in the place of the part that was asked for.
        return problems.answer(refusal)
    t, visitor = words_of(request), getattr(request.state, "visitor", None)
    here = path + (f"?{request.url.query}" if request.url.query else "")
    away = refusal.status in _AWAY
    more: dict[str, Any] = {} if visitor is not None else {"bare_page": True}
    return render(
        request,
        "trouble.html",
        visitor=visitor,
        status_code=refusal.status,
        headers=refusal.headers,
        **more,
        status=refusal.status,
        title=_title(t, refusal),
        detail=refusal.detail,
        again=here if request.method == "GET" and away else None,
    )


def _title(t: Words, refusal: Refusal) -> str:
    if refusal.status in _AWAY:
        return t("trouble.away")
    titles = {403: t("trouble.forbidden"), 404: t("trouble.missing"), 429: t("trouble.often")}
    return titles.get(refusal.status) or phrases.said(refusal.title, t.language)


def _to_login(request: Request, path: str) -> Response:
    wanted = path + (f"?{request.url.query}" if request.url.query else "")
    target = "/login"
    if request.method == "GET" and wanted != "/":
        target = f"/login?next={quote(wanted, safe='')}"
    if request.headers.get("HX-Request") == "true":
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": target})
    return RedirectResponse(target, HTTPStatus.SEE_OTHER)
