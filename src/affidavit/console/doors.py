"""What stands before each route: who asks, and whether they may.

``Allowed(Right.X)`` is a dependency of FastAPI's: it gives the :class:`Visitor`, or raises a
:class:`Refusal`, which :mod:`.app` turns into problem+json for programs and into the log-in page
for people. A route has exactly one, or is named in :data:`OPEN`; a test holds every route to it.

A session, which a browser sends by itself, needs the token against forged requests with every
method that changes something: the form field ``csrf`` or the header ``X-CSRF-Token``.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi import Depends, Request

from affidavit.console.roles import MEANS, Right, may, roles_with
from affidavit.console.visitor import Role, Scope, Visitor

if TYPE_CHECKING:
    from affidavit.console.backend import Backend

OPEN: Final = frozenset(
    {
        *("/healthz", "/readyz", "/login", "/login/first", "/login/oidc", "/login/oidc/back"),
        *("/static", "/favicon.ico"),
    }
)
"""Paths that nobody must log in for."""

_PROGRAMS: Final = ("/api/", "/v1/", "/metrics")

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


def is_for_programs(path: str) -> bool:
    """Whether a path is asked for by programs, which are answered with problem+json."""
    return path.startswith(_PROGRAMS)


@dataclass
class Refusal(Exception):  # noqa: N818 - what is answered, not a fault
    """A request that is not carried out: the HTTP status, and what to do."""

    status: int
    title: str
    detail: str
    """The cause and the next step."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Door:
    """Lets in who has the right. Two of the same right are the same dependency."""

    right: Right | None
    """None: everybody who is logged in."""

    async def __call__(self, request: Request) -> Visitor:
        """Give the visitor, who is kept in ``request.state.visitor`` too."""
        visitor = await visitor_of(request)
        if self.right is not None and not may(visitor.role, self.right):
            others = ", ".join(roles_with(self.right))
            raise Refusal(
                403,
                "Not allowed",
                f"The role {visitor.role} has no right to {MEANS[self.right]}. "
                f"Roles that have it: {others}. An administrator can make a token with one.",
            )
        return visitor


@dataclass(frozen=True, slots=True)
class MetricsDoor(Door):
    """Lets in who may see metadata; and a program of this machine, where the settings say so."""

    async def __call__(self, request: Request) -> Visitor:
        """Give the visitor; who has no token where none is needed sees nobody's costs."""
        backend = cast("Backend", request.app.state.backend)
        if backend.serve.open_metrics and "authorization" not in request.headers:
            return Visitor("metrics", Role.VIEWER, Scope((), ()), "open", "open", "open")
        return await Door.__call__(self, request)


def Allowed(right: Right) -> Any:  # noqa: N802 - stands in signatures like a type
    """Give the dependency that asks for a right; its value is the :class:`Visitor`."""
    return Depends(Door(right))


def AllowedMetrics() -> Any:  # noqa: N802 - as above
    """Give the dependency of the metrics: the right to metadata, or a setting that opens them."""
    return Depends(MetricsDoor(Right.METADATA))


def LoggedIn() -> Any:  # noqa: N802 - as above
    """Give the dependency of what everybody may who is logged in."""
    return Depends(Door(None))


async def visitor_of(request: Request) -> Visitor:
    """Give who asks, whatever they may do. Raises :class:`Refusal` where nobody is logged in."""
    known: Visitor | None = getattr(request.state, "visitor", None)
    if known is not None:
        return known
    backend = cast("Backend", request.app.state.backend)
    visitor = await backend.doorman.visitor(request)
    if backend.pulse.away_since is not None:
        request.state.banners = (away_banner(request, backend.pulse.away_since),)
    if visitor.how == "session" and request.method not in SAFE:
        await _check_forgery(request, visitor)
    request.state.visitor = visitor
    request.state.csrf = visitor.csrf
    return visitor


@dataclass(frozen=True, slots=True)
class Banner:
    """A note across the page."""

    kind: str
    text: str


def away_banner(request: Request, since: datetime) -> Banner:
    """Say that the database is away, in the visitor's language."""
    from affidavit.console.render import words_of  # it knows the pages, which know this module

    return Banner("bad", words_of(request)("trouble.banner", at=f"{since:%H:%M:%S}"))


async def _check_forgery(request: Request, visitor: Visitor) -> None:
    given: object = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith(_FORMS):
        given = (await request.form()).get(CSRF_FIELD)
    # As bytes: texts that are not ASCII cannot be compared in constant time.
    told = given.encode() if isinstance(given, str) else b""
    if not hmac.compare_digest(told, visitor.csrf.encode()):
        raise Refusal(
            403,
            "The form is not from this session",
            "The token against forged requests is missing or of another session. "
            "Load the page again and repeat what you did.",
        )
