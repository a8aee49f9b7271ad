"""Hostile records, no scripts, a database that is away, paper: pages hold in all of these."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from affidavit.console.visitor import Role
from tests.support.browser import HOSTILE, HUGE, USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Dialog, Page

    from tests.support.browser import Stock

pytestmark = [
    pytest.mark.browser,
    pytest.mark.serial,
    pytest.mark.requirement("R13"),
    pytest.mark.timeout(400),  # the first test waits until 100,000 calls are written
]

# Where values of records are shown. The hostile call is among the newest, so lists have it.
SHOWING: Final = {
    "overview": "/?last=24h",
    "list": "/calls?last=24h&event_type=all",
    "filtered": "/calls?last=24h&event_type=all&user_id={value}",
    "panel": "/calls?last=24h&open={hostile}",
    "call": "/calls/{hostile}",
    "proof": "/calls/{hostile}/proof",
    "linked": "/calls/{hostile}/linked",
    "cost by user": "/cost?view=spend&by=user&last=24h&user_id={value}",
    "cost by both": "/cost?view=spend&by=provider%2Cmodel&last=24h",
    "providers": "/cost?view=providers&last=24h",
    "budgets": "/cost?view=budgets",
    "what-if": "/cost?view=what-if&last=24h",
    "readings": "/integrity?view=readings&text={value}",
    "monitoring": "/monitoring",
}
_HARMLESS: Final = """() => {
  const odd = /[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u202a-\\u202e\\u2066-\\u2069]/;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    if (odd.test(node.data)) found.push(`text: ${node.data.slice(0, 60)}`);
  const alive = "main img, main script, main [onerror], main [style]";
  for (const one of document.querySelectorAll(alive))
    if (!one.closest(".uplot")) found.push(one.outerHTML.slice(0, 120));
  return found;
}"""


def harmless(page: Page) -> None:
    """Nothing on the page came to life or can turn, hide or move what is around it."""
    assert page.evaluate(_HARMLESS) == []


@pytest.mark.parametrize("name", SHOWING)
def test_hostile_values_are_text_alone(
    visit: Any, stock: Stock, shoot: Callable[..., None], name: str
) -> None:
    """No markup lives, no script runs, and characters that turn or hide are shown by a sign."""
    page = visit()
    spoken: list[str] = []

    def hush(dialog: Dialog) -> None:
        spoken.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", hush)
    address = SHOWING[name].format(value=quote(HOSTILE, safe=""), hostile=stock.hostile)
    page.goto(address)
    page.wait_for_load_state("networkidle")
    harmless(page)
    if name in {"list", "filtered", "panel", "call", "linked"}:
        expect(page.locator("main")).to_contain_text("<script>alert(1)</script>")
        expect(page.locator("main .ctl", has_text="U+202E").first).to_be_attached()
    assert spoken == []
    shoot(page, f"hostile {name}")


def test_a_hostile_conversation_is_text_alone(
    visit: Any, stock: Stock, shoot: Callable[..., None]
) -> None:
    """The same where the content itself is shown, annotations included."""
    page = visit()
    page.goto(f"/calls/{stock.hostile}")
    page.locator("#f-reason").fill("Looking at something odd")
    page.get_by_role("button", name="Show the content").click()
    said = page.get_by_role("region", name="What was said")
    expect(said).to_contain_text("<script>alert(1)</script>")
    page.wait_for_load_state("networkidle")
    harmless(page)
    shoot(page, "hostile conversation")


def test_a_megabyte_is_shown_in_part_and_counted(visit: Any, stock: Stock) -> None:
    """The page stays quick to show and to scroll; it says how much is not shown."""
    page = visit(size=(360, 740))
    page.goto(f"/calls/{stock.huge}")
    page.locator("#f-reason").fill("Looking at something long")
    page.get_by_role("button", name="Show the content").click()
    expect(page.locator(".cut")).to_have_text(f"… +{HUGE - 200_000:,}")
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")


# -- without scripts -------------------------------------------------------------------------------


def test_the_console_works_without_scripts(
    visit: Any, stock: Stock, shoot: Callable[..., None]
) -> None:
    """List, filter, next page, charts, a call, its content, its proof and its readers."""
    page = visit(Role.AUDITOR, java_script_enabled=False)
    page.goto("/calls?last=90d")
    expect(page.locator("#list tbody tr")).to_have_count(50)
    shoot(page, "no scripts calls")
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#list tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Show charts").click()
    expect(page.locator("svg.chart-still").first).to_be_visible()
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("User", exact=True).fill(USER)
    page.get_by_role("button", name="Apply the filters").click()
    expect(page.locator("#list tbody tr")).to_have_count(3)
    page.locator(".row-link").nth(1).click()
    expect(page.locator("#panel .panel")).to_be_visible()
    page.goto(f"/calls/{stock.talk}")
    page.locator("#f-reason").fill("Without any scripts")
    page.get_by_role("button", name="Show the content").click()
    expect(page.get_by_text("Two invoices of Acme are open")).to_be_visible()
    shoot(page, "no scripts call")
    page.goto(f"/calls/{stock.talk}")
    page.get_by_role("link", name="Show who viewed this").click()
    expect(page.locator("#readers")).to_contain_text("Without any scripts")
    page.get_by_role("link", name="Verify now").click()
    expect(page.locator("#proof")).to_contain_text("Proved")


# -- on paper --------------------------------------------------------------------------------------


def test_a_call_is_printed_without_what_is_for_the_screen(
    visit: Any, stock: Stock, shoot: Callable[..., None]
) -> None:
    """Navigation and buttons are not on paper; the call and its proof are, dark on white."""
    page = visit(Role.AUDITOR, color_scheme="dark")
    page.goto(f"/calls/{stock.talk}/proof")
    page.wait_for_load_state("networkidle")
    page.emulate_media(media="print")
    for hidden in (page.get_by_role("navigation", name="Pages"), page.get_by_text("Verify now")):
        expect(hidden).to_be_hidden()
    expect(page.locator("#proof")).to_contain_text("Proved")
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert max(map(int, re.findall(r"\d+", ink)[:3])) < 80
    assert min([255, *map(int, re.findall(r"\d+", paper)[:3])]) > 240 or paper.endswith(", 0)")
    shoot(page, "print call")
