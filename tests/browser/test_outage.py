"""A database that is killed under an open console: pages say so, and come back by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from affidavit import AuditConfig, AuditLogger
from affidavit.console.visitor import Role
from affidavit.store import open_log
from tests.support.console import serving
from tests.support.console_log import ConsoleLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser

    from affidavit.demo.mongod import Mongod

pytestmark = [pytest.mark.browser, pytest.mark.serial, pytest.mark.requirement("R13")]

PAGES = ("/?last=24h", "/calls", "/cost", "/integrity", "/reports", "/monitoring", "/settings")


def test_pages_tell_an_outage_and_recover(
    chromium: Browser, private_mongod: Mongod, tmp_path: Path, shoot: Callable[..., None]
) -> None:
    """With the database away each page stands and says what is missing; then all is well."""
    uri = private_mongod.database_uri("affidavit_outage")
    settings: dict[str, Any] = {"spool_dir": str(tmp_path / "spool"), "seal": "off"}
    with open_log(uri, AuditConfig(**settings)) as log:
        log.apply(log.plan())
    with AuditLogger(uri, AuditConfig(**settings)) as audit:
        with audit.call(provider="p", model="m", message="hello", user_id="ana") as call:
            call.complete(text="hello", cost_usd="0.01")
        audit.flush(10)
    with serving(uri, audit=settings, state_dir=tmp_path / "state") as served:
        context = chromium.new_context(
            base_url=served.url, viewport={"width": 1440, "height": 900}, locale="en-GB"
        )
        heard = ConsoleLog(context, served.url)
        page = context.new_page()
        page.goto("/login")
        page.get_by_label("Token").fill(served.token_of(Role.ADMIN))
        page.get_by_role("button", name="Log in").click()
        page.goto("/calls")
        expect(page.locator("#list tbody tr")).to_have_count(1)
        private_mongod.kill()
        heard.allow("503", "EventSource")
        page.wait_for_timeout(4500)  # the service asks every two seconds, and waits two
        for path in PAGES:
            page.goto(path)
            said = page.locator(".banner")
            expect(said.first).to_be_visible()
            text = page.locator("body").inner_text()
            assert "Traceback" not in text
            assert "pymongo" not in text.lower()
            expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
            shoot(page, f"outage {path.strip('/?').partition('?')[0] or 'overview'}")
        private_mongod.restart()
        page.wait_for_timeout(6000)
        page.goto("/calls")
        expect(page.locator("#list tbody tr")).to_have_count(1, timeout=20_000)
        expect(page.locator(".banner.bad")).to_have_count(0)
        heard.check()
        context.close()
