"""Every page, as people look at it: light and dark, on a telephone and on a wide screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.axe import barriers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.support.browser import Stock

pytestmark = [
    pytest.mark.browser,
    pytest.mark.serial,
    pytest.mark.requirement("R13"),
    pytest.mark.timeout(400),  # the first test waits until 100,000 calls are written
]

PAGES: Final = {
    "overview": "/?last=30d",
    "calls": "/calls?last=30d",
    "calls panel": "/calls?last=24h&open={talk}",
    "calls none": "/calls?last=1h&user_id=nobody-of-that-name",
    "views": "/calls/views",
    "exports": "/calls/exports",
    "call": "/calls/{talk}",
    "proof": "/calls/{talk}/proof",
    "cost": "/cost?last=30d",
    "cost providers": "/cost?view=providers&last=30d",
    "cost budgets": "/cost?view=budgets",
    "cost use": "/cost?view=use&last=30d",
    "cost what-if": "/cost?view=what-if&last=30d",
    "integrity": "/integrity",
    "integrity verify": "/integrity?view=verify",
    "integrity losses": "/integrity?view=losses",
    "integrity readings": "/integrity?view=readings",
    "integrity evidence": "/integrity?view=evidence",
    "reports": "/reports",
    "monitoring": "/monitoring",
    "monitoring writers": "/monitoring?view=writers",
    "monitoring database": "/monitoring?view=database",
    "monitoring history": "/monitoring?view=history&last=30d",
    "settings": "/settings",
    "missing": "/calls/000000000000000000000000",
}
OPEN: Final = {"login": "/login", "first": "/login/first?key=x"}
SIZES: Final = ((1440, 900), (360, 740))
THEMES: Final = ("light", "dark")
PICTURES: Final = {(1440, "light"), (1440, "dark"), (360, "light")}
# What takes more room than the window has, other than what scrolls by itself.
_WIDER: Final = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  const apart = (one) => { for (let up = one.parentElement; up; up = up.parentElement)
    if (getComputedStyle(up).overflowX !== "visible") return true; return false; };
  return [...document.body.querySelectorAll("*")]
    .filter((one) => one.getBoundingClientRect().right > root.clientWidth + 1 && !apart(one))
    .map((one) => one.tagName + "." + one.className).slice(0, 10);
}"""
_CUT: Final = (
    """() => document.documentElement.scrollWidth > document.documentElement.clientWidth"""
)


def look(page: Page, name: str, shoot: Callable[..., None]) -> list[str]:
    """Take pictures of the page in all four ways, and give what is wrong in any."""
    wrong = []
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(60)  # charts are drawn anew
            if (width, theme) in PICTURES:
                shoot(page, f"{name} {width} {theme}")
            wrong += [f"{width} {theme} {each}" for each in barriers(page)]
        if page.evaluate(_CUT):
            wrong.append(f"{width}: scrolls sideways: {page.evaluate(_WIDER)}")
    return wrong


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_barrier(
    visit: Any, stock: Stock, shoot: Callable[..., None], name: str
) -> None:
    """Axe finds nothing in either theme on either screen, and nothing scrolls sideways."""
    page = visit(reduced_motion="reduce")
    if name == "missing":
        visit.allow("404")
    page.goto(PAGES[name].format(talk=stock.talk))
    page.wait_for_load_state("networkidle")
    assert page.locator("h1").count() == 1
    assert "Affidavit" in page.title()
    wrong = look(page, name, shoot)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", OPEN)
def test_the_way_in_has_no_barrier(visit: Any, shoot: Callable[..., None], name: str) -> None:
    """The same of the pages that anybody sees."""
    page = visit(None, reduced_motion="reduce")
    page.goto(OPEN[name])
    assert page.locator("h1").count() == 1
    wrong = look(page, name, shoot)
    assert not wrong, "\n".join(wrong)


def test_a_conversation_has_no_barrier(
    visit: Any, stock: Stock, shoot: Callable[..., None]
) -> None:
    """The same of a call whose content is shown."""
    page = visit(reduced_motion="reduce")
    page.goto(f"/calls/{stock.talk}")
    page.get_by_label("Reason").first.fill("Looking at every page")
    page.get_by_role("button", name="Show the content").click()
    page.get_by_text("Acme are open").first.wait_for()
    page.wait_for_load_state("networkidle")
    wrong = look(page, "conversation", shoot)
    assert not wrong, "\n".join(wrong)


@pytest.mark.requirement("R37")
def test_a_months_report_has_no_barrier(visit: Any, shoot: Callable[..., None]) -> None:
    """Made with the keyboard, waited for, and read; the same of it."""
    page = visit("auditor", reduced_motion="reduce")
    page.goto("/reports")
    page.get_by_label("Month", exact=True).fill("this")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="20").first.click(timeout=60_000)
    page.get_by_role("heading", name="Summary").wait_for()
    wrong = look(page, "report", shoot)
    assert not wrong, "\n".join(wrong)


def test_the_list_of_keys_has_no_barrier(visit: Any, shoot: Callable[..., None]) -> None:
    """The same of the dialog that lists the keys, which a question mark opens."""
    page = visit(reduced_motion="reduce")
    page.goto("/calls/exports")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    wrong = look(page, "keys", shoot)
    assert not wrong, "\n".join(wrong)


# Texts that lose letters: out of their box to the right, or a word that was broken in two.
_LOST: Final = """() => {
  const all = (wanted) => [...document.querySelectorAll(wanted)];
  const left = (one) => {
    const range = document.createRange();
    range.selectNodeContents(one);
    return range.getBoundingClientRect().left;
  };
  const lines = (one) =>
    one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight);
  return [
    ...all(".side nav a").filter((one) => one.scrollWidth > one.clientWidth),
    ...all(".tile-value.word").filter((one) => !/ /.test(one.textContent) && lines(one) > 1.9),
    ...all("caption:not(.hidden)").filter((one) => left(one) > innerWidth / 2),
    ...all(".calls-table, .heat").filter((one) => innerWidth > 1400
      && one.scrollWidth > one.parentElement.clientWidth),
  ].map((one) => one.textContent.trim().slice(0, 60));
}"""


@pytest.mark.parametrize("path", ["/calls?last=30d", "/cost?view=use&last=90d", "/integrity"])
def test_longer_words_of_spanish_are_not_cut(visit: Any, path: str) -> None:
    """Names of pages, levels, the title of the map and the notes of a list are seen whole."""
    page = visit(locale="es-ES", reduced_motion="reduce")
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate(_LOST) == [], width


def test_pages_are_spanish_for_who_asks_for_it(visit: Any, shoot: Callable[..., None]) -> None:
    """A browser that wants Spanish gets it, numbers included, and axe finds nothing."""
    page = visit(locale="es-ES", reduced_motion="reduce")
    page.goto("/?last=30d")
    page.wait_for_load_state("networkidle")
    assert page.locator("html").get_attribute("lang") == "es"
    assert page.get_by_role("link", name="Llamadas").first.is_visible()
    wrong = look(page, "overview es", shoot)
    assert not wrong, "\n".join(wrong)
