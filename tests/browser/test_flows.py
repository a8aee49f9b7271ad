"""What people come for, done as they do it: with a mouse, with a keyboard, in a real browser."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from affidavit.console.visitor import Role
from tests.support.browser import USER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.support.browser import Stock
    from tests.support.console import Served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.serial,
    pytest.mark.requirement("R13"),
    pytest.mark.timeout(400),  # the first test waits until 100,000 calls are written
]

LIST = "/calls?last=90d"


def asked(page: Page) -> dict[str, str]:
    """The question in the address of a page."""
    return {name: each[0] for name, each in parse_qs(urlsplit(page.url).query).items()}


def rows(page: Page) -> Any:
    """The rows of the list."""
    return page.locator("#list tbody tr")


# -- coming in and going out -----------------------------------------------------------------------


def test_the_first_administrator_comes_in_by_a_link(visit: Any, served: Served) -> None:
    """The link that the service prints opens a session once, and no second time."""
    link = f"/login/first?key={served.backend.bootstrap.make()}"
    page = visit(None)
    page.goto(link)
    page.get_by_role("button", name="Log in as administrator").click()
    expect(page.get_by_role("heading", name="Settings", level=1)).to_be_visible()
    page.context.clear_cookies()
    visit.allow("401")
    page.goto(link)
    page.get_by_role("button", name="Log in as administrator").click()
    expect(page.get_by_role("alert")).to_contain_text("used already")


def test_a_token_opens_the_page_that_was_asked_for(visit: Any, served: Served) -> None:
    """Who is sent to the log-in comes back to the page; a wrong token is told and forgotten."""
    page = visit(None)
    visit.allow("401")
    page.goto("/cost?view=providers")
    page.get_by_label("Token").fill("aff_wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown")
    page.get_by_label("Token").fill(served.token_of(Role.VIEWER))
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(r"/cost\?view=providers"))


def test_who_logs_out_is_out(visit: Any, served: Served) -> None:
    """The session ends, and the next page asks to log in."""
    page = visit(None)
    page.goto("/login")
    page.get_by_label("Token").fill(served.token_of(Role.VIEWER))
    page.get_by_role("button", name="Log in").click()
    page.locator(".side-foot summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login"))
    page.goto("/calls")
    expect(page).to_have_url(re.compile("/login"))


# -- the list --------------------------------------------------------------------------------------


def test_filters_become_chips_that_can_be_taken_away(visit: Any) -> None:
    """What was typed in the form narrows the list, stands as a chip, and goes with its cross."""
    page = visit()
    page.goto(LIST)
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("User", exact=True).fill(USER)
    page.get_by_role("button", name="Apply the filters").click()
    chips = page.get_by_role("list", name="Filters in force")
    expect(chips).to_contain_text(USER)
    expect(rows(page)).to_have_count(3)
    chips.get_by_role("link", name=re.compile("User")).click()
    expect(rows(page)).to_have_count(50)
    assert "user_id" not in asked(page)


def test_dragging_over_a_chart_zooms(visit: Any) -> None:
    """The span that was dragged over becomes the list's time."""
    page = visit()
    page.goto("/calls?last=30d")
    plot = page.locator("figure.chart .u-over").first
    plot.wait_for()
    box = plot.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=8)
    with page.expect_navigation():
        page.mouse.up()
    assert {"since", "until"} <= asked(page).keys()
    expect(rows(page)).to_have_count(50)


def test_a_panel_opens_beside_the_list_and_walks_with_it(visit: Any) -> None:
    """J and K go through the rows, Enter opens, the panel follows, Esc closes; filters stay."""
    page = visit()
    page.goto("/calls?last=90d&provider=openai")
    first, second = (rows(page).nth(at).locator(".row-link") for at in (0, 1))
    expect(first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    panel = page.locator("#panel .panel")
    expect(panel).to_be_visible()
    opened = asked(page)["open"]
    page.keyboard.press("j")
    page.wait_for_function("was => !location.search.includes(was)", arg=opened)
    expect(rows(page).nth(1)).to_have_class(re.compile("selected"))
    expect(second).to_have_attribute("href", re.compile(asked(page)["open"]))
    page.keyboard.press("k")
    page.wait_for_function("was => location.search.includes(was)", arg=opened)
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    assert asked(page) == {"last": "90d", "provider": "openai"}
    page.reload()
    expect(rows(page)).to_have_count(50)


def test_a_value_of_a_call_becomes_a_filter(visit: Any, stock: Stock) -> None:
    """The sign beside a fact lists the calls that share it."""
    page = visit()
    page.goto(f"/calls?last=90d&open={stock.talk}")
    page.get_by_role("link", name="Filter by this value of Session").click()
    expect(rows(page)).to_have_count(2)
    assert asked(page)["session_id"] == "browser-session"


def test_pages_follow_one_another(visit: Any) -> None:
    """The next page has other rows, its address shows them again, and back goes back."""
    page = visit()
    page.goto(LIST)
    first = rows(page).first.locator(".row-link").get_attribute("href")
    page.get_by_role("link", name="Next").click()
    page.wait_for_url(re.compile("cursor="))
    expect(rows(page).first.locator(".row-link")).not_to_have_attribute("href", str(first))
    expect(rows(page)).to_have_count(50)
    page.reload()
    expect(rows(page)).to_have_count(50)
    page.go_back()
    expect(rows(page).first.locator(".row-link")).to_have_attribute("href", str(first))


def test_a_saved_view_has_an_address_for_others(visit: Any) -> None:
    """Filters saved under a name open from the menu, and by their address for somebody else."""
    page = visit()
    page.goto("/calls?last=90d&provider=anthropic&status=failed")
    page.get_by_text("Saved views", exact=True).click()
    page.locator("#f-title").fill("Failures of one provider")
    page.get_by_role("button", name="Save these filters").click()
    page.goto("/calls/views")
    link = page.get_by_role("link", name="Failures of one provider").first.get_attribute("href")
    other = visit(Role.VIEWER)
    other.goto(str(link))
    wanted = {"last": "90d", "provider": "anthropic", "status": "failed"}
    assert wanted.items() <= asked(other).items()
    expect(rows(other)).not_to_have_count(0)


def test_what_is_filtered_is_exported(visit: Any) -> None:
    """The file has exactly the rows of the filter, and a manifest beside it."""
    page = visit()
    page.goto(f"/calls?last=90d&user_id={USER}")
    page.get_by_text("Export", exact=True).click()
    page.get_by_label("Metadata as CSV").check()
    page.get_by_role("button", name="Export what the list shows").click()
    newest = page.locator("tbody tr").first
    file = newest.get_by_role("link", name="Download")
    file.wait_for()
    with page.expect_download() as got:
        file.click()
    found = list(csv.DictReader(io.StringIO(got.value.path().read_text("utf-8"))))
    assert len(found) == 3
    assert {row["user_id"] for row in found} == {USER}
    manifest = newest.get_by_role("link", name="Manifest").get_attribute("href")
    assert '"sha256"' in page.request.get(str(manifest)).text()


# -- one call --------------------------------------------------------------------------------------


def test_content_is_shown_to_who_says_why_and_that_is_seen(visit: Any, stock: Stock) -> None:
    """A reason opens the conversation; the page then names the reader and the reason."""
    page = visit(Role.AUDITOR)
    page.goto(f"/calls/{stock.talk}")
    expect(page.get_by_text("Acme are open")).to_have_count(0)
    page.locator("#f-reason").fill("Complaint 4711 of Acme")
    page.get_by_role("button", name="Show the content").click()
    expect(page.get_by_text("Two invoices of Acme are open")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("ana.perez@example.com")
    expect(page.get_by_text("find_invoices").first).to_be_visible()
    page.goto(f"/calls/{stock.talk}")
    seen = page.locator("#readers")
    expect(seen).to_contain_text("Complaint 4711 of Acme")
    expect(seen).to_contain_text("Test auditor")


def test_a_reason_that_is_too_short_stays_in_its_field(visit: Any, stock: Stock) -> None:
    """Nothing is shown, the page says what is wrong, and what was typed is still there."""
    page = visit(Role.AUDITOR)
    visit.allow("400")
    page.goto(f"/calls/{stock.talk}")
    page.locator("#f-reason").fill("no")
    page.get_by_role("button", name="Show the content").click()
    expect(page.locator("#f-reason")).to_have_value("no")
    expect(page.locator("#f-reason")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Acme are open")).to_have_count(0)


def test_a_call_is_verified_in_place(visit: Any, stock: Stock) -> None:
    """The page shows the proof where it stands, and gives it as a file."""
    page = visit(Role.AUDITOR)
    page.goto(f"/calls/{stock.talk}")
    page.get_by_role("link", name="Verify now").click()
    proof = page.locator("#proof")
    expect(proof).to_contain_text("Proved: every record is in the log as it was written")
    assert page.url.endswith(stock.talk)
    with page.expect_download() as got:
        proof.get_by_role("link", name="Download").first.click()
    assert got.value.path().read_text("utf-8").startswith("c2sp.org/tlog-proof")


def test_evidence_of_a_call_is_a_file(visit: Any, stock: Stock) -> None:
    """With a reason, the call's records and proofs are packed for somebody else."""
    page = visit(Role.AUDITOR)
    page.goto(f"/calls/{stock.talk}")
    box = page.locator("details", has=page.locator("#f-evidence"))
    box.locator("summary").click()
    page.locator("#f-evidence").fill("For the court")
    with page.expect_download() as got:
        box.get_by_role("button").click()
    assert len(zipfile.ZipFile(got.value.path()).namelist()) > 1


# -- the auditor's room ----------------------------------------------------------------------------


def test_the_log_is_verified_against_a_saved_checkpoint(
    visit: Any, stock: Stock, tmp_path: Path, shoot: Callable[..., None]
) -> None:
    """A checkpoint that was saved elsewhere is uploaded, progress is shown, and a verdict."""
    saved = tmp_path / "saved.checkpoint"
    saved.write_text(stock.checkpoint, "utf-8")
    page = visit(Role.AUDITOR)
    page.goto("/integrity?view=verify")
    page.get_by_label("Checkpoint saved elsewhere").set_input_files(saved)
    page.get_by_label("Records to read").select_option("1000")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#job progress")).to_be_visible()
    shoot(page, "verification under way")
    verdict = page.locator("#job .verdict")
    expect(verdict).to_contain_text("Nothing is wrong", timeout=60_000)
    shoot(page, "verification done")


def test_a_checkpoint_of_another_log_is_refused(visit: Any, tmp_path: Path) -> None:
    """The page says what is wrong with it; nothing begins."""
    page = visit(Role.AUDITOR)
    visit.allow("400")
    saved = tmp_path / "other.checkpoint"
    saved.write_text("another/log\n5\nAAAA\n", "utf-8")
    page.goto("/integrity?view=verify")
    page.get_by_label("Checkpoint saved elsewhere").set_input_files(saved)
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_role("alert")).to_be_visible()


# -- settings, monitoring --------------------------------------------------------------------------


def test_a_token_is_made_and_works_over_http(visit: Any, served: Served) -> None:
    """It is shown once, and opens the HTTP API until it is ended."""
    page = visit()
    page.goto("/settings")
    made = page.locator("#tokens form").last
    made.get_by_label("Name").fill("nightly report")
    made.get_by_label("Role").select_option("viewer")
    made.get_by_role("button", name="Make the token").click()
    token = page.locator("#new-token").inner_text()
    with served.client(token) as client:
        assert client.get("/api/v1/calls").status_code == httpx.codes.OK
    page.goto("/settings")
    expect(page.locator("#new-token")).to_have_count(0)
    page.get_by_role("button", name="End nightly report").click()
    expect(page.get_by_role("button", name="End nightly report")).to_have_count(0)
    with served.client(token) as client:
        assert client.get("/api/v1/calls").status_code == httpx.codes.UNAUTHORIZED


def test_an_alert_is_silenced_and_let_speak_again(visit: Any) -> None:
    """A silence has a rule, an end and a reason, is listed with who asked, and can be ended."""
    page = visit()
    page.goto("/monitoring")
    form = page.locator("form[action='/monitoring/silences']")
    form.get_by_label("Rule").select_option("records_spooled")
    form.get_by_label("Reason").fill("Work on the disks until noon")
    form.get_by_role("button", name="Silence").click()
    line = page.get_by_role("row", name=re.compile("Work on the disks"))
    expect(line).to_contain_text("Test admin")
    line.get_by_role("button").click()
    expect(page.get_by_text("Work on the disks")).to_have_count(0)


# -- language, theme, keys -------------------------------------------------------------------------


def test_language_and_theme_are_chosen_and_kept(visit: Any) -> None:
    """A choice in the menu changes the page at once and the next page, too."""
    page = visit(Role.ANALYST, color_scheme="light")
    page.goto("/calls?last=24h&provider=openai")
    page.locator(".side-foot summary").click()
    page.get_by_label("Language").select_option("es")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    expect(page.get_by_role("heading", name="Llamadas", level=1)).to_be_visible()
    assert asked(page) == {"last": "24h", "provider": "openai"}
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator(".side-foot summary").click()
    page.get_by_label("Tema").select_option("dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto("/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    expect(page.locator("html")).to_have_attribute("lang", "es")


def test_everything_is_reached_by_keys_alone(visit: Any) -> None:
    """From the skip link to a call's conversation and its proof, without a mouse."""
    page = visit(Role.AUDITOR)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page).to_have_url(re.compile("/calls"))
    page.keyboard.press("/")
    page.keyboard.type("no text like this")
    assert page.evaluate("document.activeElement.id") == "f-text"
    page.goto(f"/calls?last=90d&user_id={USER}")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#panel .panel")).to_be_visible()
    _tab_to(page, "Open")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/calls/[0-9a-f]{24}$"))
    _tab_to(page, "Reason")
    page.keyboard.type("By keys alone")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="What was said")).to_be_visible()
    _tab_to(page, "Verify now")
    page.keyboard.press("Enter")
    expect(page.locator("#proof")).to_contain_text("Proved")


def _tab_to(page: Page, wanted: str) -> None:
    """Press Tab until what is called so has the focus, which must be visible."""
    for _ in range(120):
        page.keyboard.press("Tab")
        name = page.evaluate(
            """() => {
              const one = document.activeElement;
              const label = one.labels && one.labels[0];
              return (label || one).textContent.replace("*", "").trim();
            }"""
        )
        if name == wanted:
            outline = page.evaluate(
                "getComputedStyle(document.activeElement).outlineStyle"
                " + getComputedStyle(document.activeElement).boxShadow"
            )
            assert outline != "nonenone", f"{wanted} has the focus, and nothing shows it"
            return
    raise AssertionError(f"{wanted} is not reached by Tab")


def test_figures_are_live_when_asked_to_be(visit: Any) -> None:
    """The switch opens one stream, whose figures take the place of the old ones."""
    page = visit(Role.VIEWER)
    page.goto("/?last=24h")
    page.locator("#figures").evaluate("each => { each.firstElementChild.dataset.old = '1'; }")
    page.get_by_role("button", name="Live").click()
    expect(page.locator("#figures [data-old]")).to_have_count(0, timeout=20_000)
    expect(page.locator("#figures")).to_contain_text("Calls")
