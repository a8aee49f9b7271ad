"""Pages from templates: language, theme, filters for figures and times, partials for htmx.

Every page goes through :func:`render`. Values are escaped by the environment; what comes from a
record is written with ``|shown`` (see :mod:`affidavit.console.visible`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from affidavit import __version__
from affidavit.console import assets, figures, phrases, visible
from affidavit.console.language import LANGUAGES, Words, chosen
from affidavit.console.pages import NAV
from affidavit.console.roles import Right, may

if TYPE_CHECKING:
    from jinja2.runtime import Context
    from starlette.requests import Request

    from affidavit.console.visitor import Visitor

LANGUAGE_COOKIE: Final = "affidavit_language"
THEME_COOKIE: Final = "affidavit_theme"
THEMES: Final = ("system", "light", "dark")

_HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Vary": "HX-Request, Cookie, Accept-Language",
}


def render(
    request: Request,
    template: str,
    *,
    visitor: Visitor | None = None,
    partial: str | None = None,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Answer with a page; with ``partial``, a request by htmx gets that template instead.

    Templates know besides ``context``: ``visitor``, ``t`` (words), ``language``, ``theme``,
    ``asset``, ``may(right)``, ``nav``, ``path``, ``csrf``, ``now`` and ``address``.
    """
    name = partial if partial is not None and wants_partial(request) else template
    known = {**_around(request, visitor), **context}
    page = environment().get_template(name).render(known)
    return HTMLResponse(page, status_code, {**_HEADERS, **(headers or {})})


def fragment(
    request: Request, template: str, visitor: Visitor | None = None, **context: Any
) -> str:
    """Give a template's text alone, for events that a page listens to."""
    return environment().get_template(template).render({**_around(request, visitor), **context})


def wants_partial(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("HX-Request") == "true"


def words_of(request: Request) -> Words:
    """Give the words of the language that this visitor reads."""
    wanted = request.cookies.get(LANGUAGE_COOKIE)
    serve = getattr(request.app.state, "serve", None)
    default = getattr(serve, "language", None) or "en"
    return Words(chosen(wanted, request.headers.get("Accept-Language"), default))


def theme_of(request: Request) -> str:
    """Give the theme that was chosen; ``system`` follows the browser."""
    wanted = request.cookies.get(THEME_COOKIE, "system")
    return wanted if wanted in THEMES else "system"


def _around(request: Request, visitor: Visitor | None) -> dict[str, Any]:
    """Know what every template may need."""
    words = words_of(request)
    role = visitor.role if visitor is not None else None

    def allowed(right: Right | str) -> bool:
        return role is not None and may(role, Right(right))

    nav = [entry for entry in NAV if allowed(entry.right)]
    path = request.url.path
    return {
        "request": request,
        "visitor": visitor,
        "t": words,
        "language": words.language,
        "languages": LANGUAGES,
        "theme": theme_of(request),
        "themes": THEMES,
        "may": allowed,
        "nav": nav,
        "path": path,
        "here": path + (f"?{request.url.query}" if request.url.query else ""),
        "csrf": visitor.csrf if visitor is not None else getattr(request.state, "csrf", ""),
        "now": datetime.now(UTC),
        "banners": getattr(request.state, "banners", ()),
    }


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Make the templates' environment, once."""
    made = Environment(
        loader=PackageLoader("affidavit.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"asset": assets.url, "version": __version__}
    made.filters |= {
        "number": _spoken(figures.number),
        "short": _spoken(figures.short),
        "money": _spoken(figures.money),
        "exact_money": _spoken(figures.exact_money),
        "ms": _spoken(figures.milliseconds),
        "size": _spoken(figures.size),
        "percent": _spoken(figures.percent),
        "change": _spoken(figures.change),
        "seconds": figures.seconds,
        "gauge": _spoken(figures.gauge),
        "at_second": _at_second,
        "chart_top": _chart_top,
        "iso": figures.iso,
        "when": _when,
        "spoken": _spoken(phrases.said),
        "told": _told,
        "shown": visible.isolated,
        "mark": visible.mark,
        "said": visible.said,
        "bare": visible.bare,
        "json_attribute": json_attribute,
    }
    return made


def json_attribute(value: Any) -> str:
    """Write plain values as JSON; as an attribute's value it is escaped like any other text."""
    return json.dumps(value, separators=(",", ":"), default=str)


def _at_second(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _chart_top(data: Mapping[str, Any]) -> float:
    """Find the highest point of a chart: of stacked series, of their sums."""
    rows = zip(*(one["values"] for one in data["series"]), strict=True)
    known = ([value for value in row if value is not None] for row in rows)
    join = sum if data["kind"] == "stacked" else max
    return max((float(join(row)) for row in known if row), default=0.0)


@pass_context
def _told(context: Context, value: Any, limit: int = visible.LONGEST) -> Markup:
    """Write a sentence of the program in the visitor's language, as safe as one of a record.

    One that is not known in that language is marked as English, for those who hear the page.
    """
    text, language = str(value), str(context.get("language", "en"))
    said = phrases.said(text, language)
    known = language == "en" or said != text or " " not in text
    opened = Markup("<bdi>") if known else Markup('<bdi lang="en">')
    return opened + visible.mark(said, limit) + Markup("</bdi>")


def _spoken(written: Callable[..., str]) -> Callable[..., str]:
    """Make a filter that writes in the visitor's language."""

    @pass_context
    def filtered(context: Context, value: Any, *more: Any) -> str:
        return written(value, *more, language=context.get("language", "en"))

    return filtered


def _when(at: Any, style: str = "full") -> str | Markup:
    """Write a time in UTC; app.js shows it in the visitor's own zone, as the style says.

    Styles: ``full``, ``short`` (no seconds), ``date``, ``ago``.
    """
    if at is None:
        return figures.DASH
    if not isinstance(at, datetime):
        return visible.isolated(at)
    moment = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    text = figures.stamp(moment)
    return Markup('<time datetime="{}" data-when="{}">{}</time>').format(
        figures.iso(moment), style, escape(text[:10] if style == "date" else text)
    )
