"""Answers as JSON: times in RFC 3339, money and ids as texts, bytes in base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec
from fastapi.responses import Response

from affidavit.analytics.answers import money
from affidavit.console import reasons
from affidavit.console.api.paging import wrong
from affidavit.console.doors import Refusal
from affidavit.console.roles import MEANS, Right, may, roles_with

if TYPE_CHECKING:
    from fastapi import Request

    from affidavit.console.visitor import Visitor

REASON_HEADER: Final = "x-access-reason"


def _other(value: Any) -> Any:
    if isinstance(value, bool | int):  # the database's own kind of integers
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return str(value)


def encode(value: Any) -> bytes:
    """Write a value as JSON."""
    return msgspec.json.encode(plain(value), enc_hook=_other)


def plain(value: Any) -> Any:
    """Write money as people do, without a power of ten; the rest stays."""
    if isinstance(value, Decimal):
        return money(value)
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Make a response; it is for this visitor only, and not kept by anybody between."""
    told = {"Cache-Control": "no-store", **(headers or {})}
    return Response(encode(value), status, told, "application/json")


def reason_of(request: Request, visitor: Visitor) -> str:
    """Give why content is read. Raises Refusal without the right to content, or a reason."""
    require(visitor, Right.CONTENT)
    return checked(request.headers.get(REASON_HEADER) or request.query_params.get("reason") or "")


def checked(given: str) -> str:
    """Give a reason for reading content as it is noted. Raises Problem where it says nothing."""
    if reasons.problem(given) is not None:
        raise wrong(
            "reason",
            f"must say why content is read, in {reasons.SHORTEST} to {reasons.LONGEST} "
            "characters that can be seen; the header X-Access-Reason does as well",
        )
    return reasons.told(given)


def require(visitor: Visitor, right: Right) -> None:
    """Ask for a right that only some uses of a route need. Raises Refusal."""
    if not may(visitor.role, right):
        others = ", ".join(roles_with(right))
        what = f"The role {visitor.role} has no right to {MEANS[right]}."
        raise Refusal(403, "Not allowed", f"{what} Roles that have it: {others}.")
