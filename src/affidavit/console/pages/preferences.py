"""Language and theme: kept in the browser, in two cookies that hold nothing else."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse

from affidavit.console.doors import Allowed
from affidavit.console.language import LANGUAGES
from affidavit.console.render import LANGUAGE_COOKIE, THEME_COOKIE, THEMES
from affidavit.console.roles import Right
from affidavit.console.visitor import Visitor

router = APIRouter(include_in_schema=False)

_YEAR_S = 365 * 86_400


@router.post("/preferences")
async def preferences(
    request: Request,
    visitor: Annotated[Visitor, Allowed(Right.METADATA)],  # noqa: ARG001 - for the door alone
    language: Annotated[str, Form(max_length=8)] = "",
    theme: Annotated[str, Form(max_length=8)] = "",
    back: Annotated[str, Form(alias="next", max_length=4000)] = "/",
) -> RedirectResponse:
    """Keep what was chosen, and go back; what is unknown is left out."""
    answer = RedirectResponse(local(back), 303)
    chosen = ((LANGUAGE_COOKIE, language, tuple(LANGUAGES)), (THEME_COOKIE, theme, THEMES))
    for name, value, known in chosen:
        if value in known:
            answer.set_cookie(
                name,
                value,
                max_age=_YEAR_S,
                path="/",
                httponly=True,
                samesite="lax",
                secure=request.url.scheme == "https",
            )
    return answer


def local(path: str) -> str:
    """Keep an address to this service: anything else becomes the overview."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if plain and path.isprintable() and "\\" not in path else "/"
