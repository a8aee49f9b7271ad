"""``/api/v1/analytics``: the questions of ``affidavit stats``, with the same answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response

from affidavit.console.api import paging
from affidavit.console.api.calls import backend_of
from affidavit.console.api.paging import Parameter, wrong
from affidavit.console.doors import Allowed
from affidavit.console.roles import Right
from affidavit.console.seeing import analytics_of
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor

if TYPE_CHECKING:
    from affidavit.analytics.answers import Answer
    from affidavit.analytics.facade import Who
    from affidavit.console.backend import Backend

router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"])

Question = Literal[
    "cost", "calls", "budget", "usage", "people", "limits", "performance", "providers", "what_if"
]

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "cost": ("user",),
    "usage": ("user",),
    "limits": ("user",),
    "performance": ("provider", "model"),
    "providers": ("provider", "model"),
    "what_if": ("provider", "model"),
}
"""What each question is grouped by where nothing is said, as by the command."""

MOST_TOP: Final = 1000
_MOST_WHERE: Final = 16
_REPEATED: Final = frozenset({"where", "without"})
_LONGEST_VALUE: Final = 500
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": _LONGEST_VALUE}
ASKING: Final[Mapping[str, Parameter]] = {
    "by": Parameter(
        str, "Keys to group by, with commas: user, department, model, day, field:symbol.", _TEXT
    ),
    "last": Parameter(str, "So long, up to now or until: 90m, 24h, 30d (default), 4w.", _TEXT),
    "since": Parameter(str, "From then: RFC 3339, or a day of the reporting time zone.", _TEXT),
    "until": Parameter(str, "Up to then, not included; as since.", _TEXT),
    "month": Parameter(str, "A whole month: 2026-11, this or last.", _TEXT),
    "where": Parameter(str, "Only calls with key=value; may be repeated.", _TEXT),
    "without": Parameter(
        str, "Only calls that have none of this key, as department; may be repeated.", _TEXT
    ),
    "top": Parameter(str, "So many rows.", {"type": "integer", "minimum": 1, "maximum": MOST_TOP}),
    "provider": Parameter(str, "With what_if: whose prices.", _TEXT),
    "model": Parameter(str, "With what_if: which model's prices.", _TEXT),
}


@router.get(
    "/{question}",
    summary="Ask what calls cost, who uses what, how quick and how good",
    openapi_extra=paging.described(ASKING),
    responses={
        200: {"description": "What `affidavit stats --json` prints for the same question."},
        400: {"description": "The question makes no sense; the detail says how it is written."},
    },
)
async def ask(
    request: Request, question: Question, visitor: Visitor = Allowed(Right.COST)
) -> Response:
    """Answer a question of `affidavit stats`, about the calls that the token may see.

    Money is a decimal text, times are RFC 3339. The asking is noted in the ledger.
    """
    query = request.query_params
    where = _where(query.getlist("where"), query.getlist("without"))
    once = [(name, value) for name, value in query.multi_items() if name not in _REPEATED]
    given = paging.single(type(query)(once), ASKING)
    asking = _asking(given, where)
    found = await run(_ask, backend_of(request), visitor, question, given, asking)
    return Response(
        found.as_json(), headers={"Cache-Control": "no-store"}, media_type="application/json"
    )


def _ask(
    backend: Backend,
    visitor: Visitor,
    question: str,
    given: Mapping[str, str],
    asking: dict[str, Any],
) -> Answer[Any, Any]:
    """Ask within what the visitor may see. Raises Problem, ConfigError, StoreError."""
    asked = analytics_of(backend, visitor)
    by = tuple(name.strip() for name in given["by"].split(",")) if "by" in given else ()
    if question != "what_if" and not {"provider", "model"}.isdisjoint(given):
        raise wrong("provider", "goes with the question what_if; choose calls with where")
    if question == "budget":
        if any(asking[name] for name in ("last", "since", "until", "where", "top")):
            raise wrong("month", "is all that budgets take, beside by")
        if by not in {(), ("user",), ("department",)}:
            raise wrong("by", "must be user or department for budgets")
        who: Who = "department" if by == ("department",) else "user"
        return asked.budget(who, asking["month"])
    if question in {"calls", "people"}:
        if by:
            raise wrong("by", "does not go with a list of single calls or people")
        listed: Answer[Any, Any] = getattr(asked, question)(**asking)
        return listed
    keys = by or _KEYS[question]
    if question == "what_if":
        if not (given.get("provider") and given.get("model")):
            raise wrong("provider", "and model say whose prices: provider=openai&model=gpt-5-mini")
        return asked.what_if(given["provider"], given["model"], keys, **asking)
    found: Answer[Any, Any] = getattr(asked, question)(keys, **asking)
    return found


def _asking(given: Mapping[str, str], where: dict[str, str | None]) -> dict[str, Any]:
    for name, text in given.items():
        if len(text) > _LONGEST_VALUE:
            raise wrong(name, f"has {_LONGEST_VALUE} characters at most")
    top = paging.limit_of({"limit": given["top"]}, MOST_TOP) if "top" in given else None
    return {
        "last": given.get("last"),
        "since": _when(given, "since"),
        "until": _when(given, "until"),
        "month": given.get("month"),
        "where": where,
        "top": top,
    }


def _where(texts: list[str], without: list[str]) -> dict[str, str | None]:
    if len(texts) + len(without) > _MOST_WHERE:
        raise wrong("where", f"and without may be given {_MOST_WHERE} times at most")
    found: dict[str, str | None] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark or not name.strip() or len(text) > _LONGEST_VALUE:
            raise wrong("where", "chooses nothing; write where=department=research")
        found[name.strip()] = value
    for text in without:
        name = text.strip()
        if not name or "=" in name or len(text) > _LONGEST_VALUE:
            raise wrong("without", "names no key; write without=department")
        if name in found:
            raise wrong("without", "names a key that where or without names, too")
        found[name] = None
    return found


def _when(given: Mapping[str, str], name: str) -> datetime | date | None:
    """Read a time; a day alone is one of the reporting time zone."""
    text = given.get(name)
    if text is None:
        return None
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else paging.moment(text)
    except (ValueError, OverflowError) as error:
        raise wrong(name, paging.A_TIME) from error
