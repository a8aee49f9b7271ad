"""Fixtures of the browser's tests: one log for all, a browser and a service for each file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from affidavit.console.visitor import Role
from tests.support import browser as support
from tests.support.console import Served, serving
from tests.support.console_log import ConsoleLog

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
WIDE = (1440, 900)
NARROW = (360, 740)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[support.Stock]:
    """100,000 calls, sealed and folded, on a server of their own."""
    with support.stocked(tmp_path_factory.mktemp("stock")) as made:
        yield made


@pytest.fixture(scope="module")
def served(stock: support.Stock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service on that log."""
    folder = tmp_path_factory.mktemp("service")
    with serving(stock.uri, audit=stock.settings, state_dir=folder) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. Its loop ends with the file: tests with a loop of their own run after it."""
    with sync_playwright() as playwright, support.browsing(playwright) as running:
        yield running


@pytest.fixture(scope="module")
def cookies(served: Served) -> dict[str, tuple[str, str]]:
    """The name and value of a session's cookie for each role that was somebody already."""
    del served  # they are of that service
    return {}


@pytest.fixture
def visit(
    chromium: Browser, served: Served, cookies: dict[str, tuple[str, str]]
) -> Iterator[Visit]:
    """Open pages as somebody; at the end nothing may have been said against any of them."""
    with ExitStack() as stack:
        made = Visit(chromium, served, stack, cookies)
        yield made
        made.check()


class Visit:
    """Opens contexts that are logged in, each with its own log of complaints."""

    def __init__(
        self,
        chromium: Browser,
        served: Served,
        stack: ExitStack,
        cookies: dict[str, tuple[str, str]],
    ) -> None:
        self._chromium, self._served, self._stack = chromium, served, stack
        self._cookies = cookies
        self._logs: list[ConsoleLog] = []

    def __call__(
        self,
        role: Role | str | None = Role.ADMIN,
        size: tuple[int, int] = WIDE,
        **options: Any,
    ) -> Page:
        """Give an empty page of somebody with this role; ``None``: of nobody yet."""
        width, height = size
        asked: dict[str, Any] = {
            "base_url": self._served.url,
            "viewport": {"width": width, "height": height},
            "locale": "en-GB",
            "timezone_id": "Europe/Madrid",
            "accept_downloads": True,
        }
        context = self._chromium.new_context(**{**asked, **options})
        self._stack.callback(context.close)
        context.set_default_timeout(20_000)
        log = ConsoleLog(context, self._served.url)
        self._logs.append(log)
        if role is not None:
            self._log_in(context, Role(role))
        return context.new_page()

    def _log_in(self, context: BrowserContext, role: Role) -> None:
        """Give a context a session's cookie, opened as the form does."""
        if role.value not in self._cookies:
            token = self._served.token_of(role, name=f"Test {role.value}")
            with self._served.browser(token) as client:
                (cookie,) = client.cookies.jar
                assert cookie.value is not None
                self._cookies[role.value] = (cookie.name, cookie.value)
        name, value = self._cookies[role.value]
        context.add_cookies([{"name": name, "value": value, "url": self._served.url}])

    def allow(self, *texts: str) -> None:
        """Let complaints with these texts pass, of the pages opened so far."""
        for log in self._logs:
            log.allow(*texts)

    def check(self) -> None:
        """Fail where a page complained, or asked another host for anything."""
        for log in self._logs:
            log.check()


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keep a picture of a page in build/screenshots."""

    def take(page: Page, name: str, *, whole: bool = True) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        page.screenshot(path=SHOTS / f"{plain}.png", full_page=whole, animations="disabled")

    return take
