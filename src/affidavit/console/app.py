"""Everything tied together: the application that uvicorn runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from affidavit import __version__
from affidavit.console.backend import Backend, run
from affidavit.console.doors import Refusal, is_for_programs

if TYPE_CHECKING:
    from affidavit.config import AuditConfig
    from affidavit.console.config import ServeConfig


def create_app(serve: ServeConfig, config: AuditConfig, uri: str) -> FastAPI:
    """Make the application. Raises ConfigError for settings that cannot be used."""
    backend = Backend(serve, config, uri)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await run(backend.close)

    app = FastAPI(
        title="Affidavit",
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.backend = backend
    app.state.serve = serve
    app.exception_handler(Refusal)(_refused)
    app.add_api_route("/healthz", _alive, include_in_schema=False)
    app.add_api_route("/readyz", _ready, include_in_schema=False)
    for room in ("api", "pages"):
        name = f"affidavit.console.{room}"
        if find_spec(name) is not None:
            module = __import__(name, fromlist=["routers"])
            for router in getattr(module, "routers", list)():
                app.include_router(router)
    return app


async def _alive() -> Response:
    """Say that this process runs."""
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    """Say whether the database answers, and the spool takes records while it does not."""
    backend: Backend = request.app.state.backend
    answers = await run(backend.answers)
    stats = backend.audit.stats()
    found = {"database": answers, "queued": stats.queued, "spooled": stats.spooled}
    return JSONResponse(found, 200 if answers else 503)


async def _refused(request: Request, error: Exception) -> Response:
    """Answer a program with problem+json, and a person who is nobody yet with the log-in page."""
    assert isinstance(error, Refusal)  # noqa: S101 - registered for nothing else
    path = request.url.path
    if error.status == HTTPStatus.UNAUTHORIZED and not is_for_programs(path):
        wanted = path + (f"?{request.url.query}" if request.url.query else "")
        target = f"/login?next={quote(wanted, safe='')}" if request.method == "GET" else "/login"
        if request.headers.get("HX-Request") == "true":
            return Response(status_code=error.status, headers={"HX-Redirect": target})
        return RedirectResponse(target, HTTPStatus.SEE_OTHER)
    body = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    return JSONResponse(
        body, error.status, dict(error.headers), media_type="application/problem+json"
    )
