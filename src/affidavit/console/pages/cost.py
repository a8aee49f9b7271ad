"""Costs and providers: what a finance lead asks, each answer with its downloads.

One question for each view. An answer that was shown is kept for a while, so that its download is
the same to the last figure; whoever comes later, or to another process, gets it asked anew for the
same span of time.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from affidavit.console import costs
from affidavit.console.api import problems
from affidavit.console.costs import Asked
from affidavit.console.doors import Allowed
from affidavit.console.render import render, wants_partial, words_of
from affidavit.console.roles import Right
from affidavit.console.seeing import analytics_of
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from affidavit.analytics.answers import Answer
    from affidavit.console.backend import Backend

router = APIRouter(include_in_schema=False)

_KEPT: Final = 64
_KEPT_S: Final = 600.0
_MODELS: Final = 300
_TYPES: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


class Answers:
    """Answers that were shown, for as long as somebody may download them. For any thread."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[Any, ...], tuple[float, Answer[Any, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, key: tuple[Any, ...], answer: Answer[Any, Any]) -> None:
        """Keep one; the oldest goes."""
        with self._lock:
            self._held[key] = time.monotonic(), answer
            while len(self._held) > _KEPT:
                self._held.popitem(last=False)

    def find(self, key: tuple[Any, ...]) -> Answer[Any, Any] | None:
        """Give one that is not too old."""
        with self._lock:
            at, answer = self._held.get(key, (0.0, None))
        return answer if answer is not None and time.monotonic() - at < _KEPT_S else None


_answers: Final = Answers()
_NO_BOOK: Final[dict[str, list[str]]] = {"providers": [], "models": []}
_NOTHING: Final[Mapping[str, Any]] = {
    "download": "",
    "columns": (),
    "map": None,
    "chart": None,
    "hours": [f"{hour:02d}" for hour in range(24)],
}


@router.get("/cost")
async def page(request: Request, visitor: Visitor = Allowed(Right.COST)) -> Response:
    """Show one view of what was spent."""
    asked = costs.read(request.query_params)
    backend = cast("Backend", request.app.state.backend)
    answer, problem, missing, book = None, None, None, _NO_BOOK
    try:
        answer = await run(costs.ask, asked, analytics_of(backend, visitor))
        if asked.view == "what-if":
            book = await run(_models, backend, asked.other[0])
    except ConfigError as error:
        problem = str(error)
    except StoreError as error:
        missing = str(error)
    known: dict[str, Any] = {"asked": asked, "answer": answer, "problem": problem}
    known |= {"missing": missing, "book": book}
    known |= {"views": costs.VIEWS, "links": _links(asked), "choices": _choices(asked, request)}
    if answer is not None:
        query = asked.fixed(answer)
        _answers.keep(_key(visitor, query), answer)
        known |= {"download": urlencode(query), "columns": costs.COLUMNS[asked.view]}
        known["map"] = costs.heat(answer, asked.measure) if asked.view == "use" else None
        known["chart"] = _chart(asked, answer, words_of(request)("cost.col.cost_usd"))
    # htmx shows nothing of an answer that is an error.
    wrong = problem is not None and not wants_partial(request)
    return render(
        request,
        "cost.html",
        visitor=visitor,
        status_code=400 if wrong else 200,
        **{**_NOTHING, **known},
    )


@router.get("/cost/answer.{form}")
async def download(request: Request, form: str, visitor: Visitor = Allowed(Right.COST)) -> Response:
    """Give the answer that was shown as CSV or JSON."""
    if form not in _TYPES:
        raise problems.not_found("Answers are given as answer.csv and answer.json.")
    asked = costs.read(request.query_params)
    backend = cast("Backend", request.app.state.backend)
    held = _answers.find(_key(visitor, dict(request.query_params)))
    if held is not None:
        wanted = {"question": held.question, **held.asked, "form": form}
        await run(backend.note, visitor, "analytics download", wanted, len(held.rows))
        answer = held
    else:
        found = await run(costs.ask, asked, analytics_of(backend, visitor))
        if found is None:
            raise problems.bad_request("A what-if needs provider_to and model_to.")
        answer = found
    name = f"affidavit-{asked.view}-{answer.since:%Y%m%d}-{answer.until:%Y%m%d}.{form}"
    body = answer.as_csv() if form == "csv" else answer.as_json()
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-store",
    }
    return Response(body, 200, headers, _TYPES[form])


def _key(visitor: Visitor, query: Mapping[str, str]) -> tuple[Any, ...]:
    """Name an answer: whoever sees other calls gets another one."""
    return visitor.scope, tuple(sorted(query.items()))


def _links(asked: Asked) -> dict[str, str]:
    """Write the address of each view, for the same time and the same calls."""
    kept = {name: text for name, text in asked.query.items() if name not in {"view", "by", "who"}}
    return {view: f"/cost?{urlencode({'view': view, **kept})}" for view in costs.VIEWS}


def _choices(asked: Asked, request: Request) -> list[tuple[str, str, str]]:
    """List what calls are chosen by: a name, its value, and the address without it."""
    t = words_of(request)
    return [
        (
            t(f"cost.key.{name}"),
            value,
            "/cost?" + urlencode({k: v for k, v in asked.query.items() if k != name}),
        )
        for name, value in asked.where.items()
    ]


def _chart(asked: Asked, answer: Answer[Any, Any], name: str) -> dict[str, Any] | None:
    """Draw an answer by days or longer times; others are tables with bars."""
    from datetime import datetime
    from zoneinfo import ZoneInfo

    if asked.view != "spend" or asked.by != "day" or not answer.rows:
        return None
    zone = ZoneInfo(answer.timezone)
    days = [str(row.key["day"]) for row in answer.rows]
    return {
        "kind": "bars",
        "unit": "usd",
        "x": [int(datetime.fromisoformat(day).replace(tzinfo=zone).timestamp()) for day in days],
        "step_s": 86_400,
        "series": [{"name": name, "values": [float(r.cost_usd) for r in answer.rows], "tone": "1"}],
        "zoom": None,
    }


def _models(backend: Backend, provider: str) -> dict[str, list[str]]:
    """List the providers of the price book, and the models of the one that is chosen."""
    from affidavit.pricing import load, read_overrides

    book = load(read_overrides(backend.config.price_overrides))
    chosen = [model.id for model in book.models(provider)] if provider else []
    return {
        "providers": sorted({model.provider for model in book.models()}),
        "models": sorted(set(chosen))[:_MODELS],
    }
