"""The OpenAPI description: what FastAPI writes, with the shapes of records and of problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from affidavit.console.api import routers, shapes
from affidavit.console.api.problems import MEDIA_TYPE
from affidavit.console.doors import Door
from affidavit.console.roles import roles_with

if TYPE_CHECKING:
    from fastapi import FastAPI

_PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "What is wrong, and what to do (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "The cause and the next step."},
        "limit_bytes": {"type": "integer"},
        "retry_after_s": {"type": "integer"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
_EVERYWHERE: Final = {
    "401": "Nobody is logged in: send `Authorization: Bearer <token>`.",
    "403": "The role has no right to this; the detail names those that have.",
    "429": "Too often; Retry-After says when to come again.",
    "503": "The database is away, or there is no room; Retry-After says when to come again.",
}
_OLD: Final = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """Write the description once, and give it from then on."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=(
                "Times are RFC 3339 in UTC, money is a decimal text of US dollars, ids are texts. "
                "Errors are problem+json. Lists go by cursor: pass `next` as `cursor`."
            ),
            routes=app.routes,
        )
        for route in (route for router in routers() for route in router.routes):
            if isinstance(route, APIRoute):
                _say_right(made, route)
        app.openapi_schema = _completed(made)
    return app.openapi_schema


def _say_right(made: dict[str, Any], route: APIRoute) -> None:
    """Say of an operation which right it asks for, and which roles have it."""
    doors = [each.call for each in route.dependant.dependencies if isinstance(each.call, Door)]
    for method in route.methods or ():
        operation = made["paths"][route.path_format][method.lower()]
        for right in (door.right for door in doors if door.right is not None):
            operation["x-right"] = right.value
            operation["x-roles"] = [role.value for role in roles_with(right)]


def _completed(made: dict[str, Any]) -> dict[str, Any]:
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _OLD:
        schemas.pop(name, None)
    record, parts = shapes.schemas()
    schemas |= {"Record": record, **parts, "Problem": _PROBLEM}
    components["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token: `affidavit tokens create`, or the page of settings.",
        }
    }
    made["security"] = [{"token": []}]
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for path in made["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            if "422" in responses:
                responses["422"] = {"description": "A parameter or the body is not understood."}
            for status, what in _EVERYWHERE.items():
                responses.setdefault(status, {"description": what})
            responses.setdefault("400", {"description": "Something is not understood."})
            for status in responses:
                if status >= "400":
                    responses[status] |= problem
    return made
