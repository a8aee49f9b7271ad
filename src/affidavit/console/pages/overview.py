"""The overview: how much, how well, what was lost, and whether it can be trusted."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from affidavit.console.doors import Allowed
from affidavit.console.overview import Asking, Overview, asked_range
from affidavit.console.ranges import Range
from affidavit.console.render import fragment, render, words_of
from affidavit.console.roles import Right
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor

if TYPE_CHECKING:
    from fastapi import FastAPI

    from affidavit.console.backend import Backend

router = APIRouter(include_in_schema=False)

EVERY_S: Final = 5.0
"""Between two events of a page that is live."""

LONGEST_S: Final = 300.0
"""How long one stream lasts; the browser opens another, and is looked at again."""

LOOK_AGAIN_S: Final = 10.0
"""Between two looks at whether who reads a stream still may."""

SOON_S: Final = 0.1
"""A page that cannot be answered so soon is shown at once, and its figures when they are there."""

AT_ONCE: Final = 64
"""Streams of this process."""

OF_ONE: Final = 6
"""Streams of one visitor."""


class Streams:
    """Counts the streams that are open, so that there are never too many."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[str, int] = {}

    def take(self, who: str) -> bool:
        """Take a place; False where there is none left."""
        with self._lock:
            mine = self._open.get(who, 0)
            if mine >= OF_ONE or sum(self._open.values()) >= AT_ONCE:
                return False
            self._open[who] = mine + 1
            return True

    def leave(self, who: str) -> None:
        """Give a place back."""
        with self._lock:
            left = self._open.get(who, 1) - 1
            if left:
                self._open[who] = left
            else:
                self._open.pop(who, None)

    @property
    def count(self) -> int:
        """How many are open."""
        return sum(self._open.values())


def asking_of(app: FastAPI) -> Asking:
    """Give the one that asks for overviews, with what it keeps."""
    found: Asking | None = getattr(app.state, "overviews", None)
    if found is None:
        found = app.state.overviews = Asking(cast("Backend", app.state.backend))
    return found


def streams_of(app: FastAPI) -> Streams:
    """Give the count of open streams."""
    found: Streams | None = getattr(app.state, "streams", None)
    if found is None:
        found = app.state.streams = Streams()
    return found


@router.get("/")
async def page(request: Request, visitor: Visitor = Allowed(Right.METADATA)) -> Response:
    """Show the overview."""
    span = asked_range(request.query_params)
    asking, waits = asking_of(request.app), request.query_params.get("wait") == "1"
    found = None
    if waits or not asking.is_busy(span, visitor.scope):
        with anyio.move_on_after(math.inf if waits else SOON_S):
            # What is begun goes on in its thread, and is kept for who asks for it next.
            found = await run(asking.overview, span, visitor.scope)
    if found is None:
        return render(
            request,
            "overview.html",
            partial="_overview_later.html",
            visitor=visitor,
            range=span,
            found=None,
            later=span.address("/"),
            waiting=span.address("/", wait="1"),
        )
    t = words_of(request)
    zoom = "/?since=SINCE&until=UNTIL"
    drawn = found.series
    charts = (
        [
            (f"chart-{name}", t(f"overview.{name}"), drawn.chart(name, t(f"overview.{name}"), zoom))
            for name in ("calls", "failed", "cost_usd")
        ]
        if drawn is not None
        else []
    )
    return render(
        request,
        "overview.html",
        partial="_overview_body.html",
        visitor=visitor,
        charts=charts,
        live=found.range.address("/live"),
        **_context(request, found),
    )


@router.get("/live")
async def live(request: Request, visitor: Visitor = Allowed(Right.METADATA)) -> Response:
    """Send the figures again and again, as server-sent events."""
    span = asked_range(request.query_params)
    streams = streams_of(request.app)
    if not streams.take(visitor.id):
        return Response("event: full\ndata: \n\n", media_type="text/event-stream")
    return StreamingResponse(
        _events(request, visitor, span, streams),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(
    request: Request, visitor: Visitor, span: Range, streams: Streams
) -> AsyncIterator[bytes]:
    asking, until_s = asking_of(request.app), time.monotonic() + LONGEST_S
    doorman = cast("Backend", request.app.state.backend).doorman
    last, looked_s = "", time.monotonic()
    try:
        yield b"retry: 5000\n\n"
        while time.monotonic() < until_s:
            await anyio.sleep(EVERY_S)
            if await request.is_disconnected():
                break
            if time.monotonic() - looked_s >= LOOK_AGAIN_S:
                if not await doorman.still(request, visitor):
                    break  # the browser asks again, and is told why
                looked_s = time.monotonic()
            moving = asked_range(span.query)
            found = await run(asking.overview, moving, visitor.scope, charts=False)
            context = _context(request, found)
            made = fragment(request, "_overview_figures.html", visitor, **context)
            if made == last:
                yield b": nothing new\n\n"
                continue
            last = made
            lines = "".join(f"data: {line}\n" for line in made.splitlines() if line.strip())
            yield f"event: figures\n{lines}\n".encode()
    finally:
        streams.leave(visitor.id)


def _context(request: Request, found: Overview) -> dict[str, Any]:
    """Give what the figures are drawn from."""
    stats = cast("Backend", request.app.state.backend).audit.stats()
    counters = found.counters
    own = {"queued": stats.queued, "spooled": stats.spooled}
    return {"found": found, "range": found.range, "counters": counters, "own": own}
