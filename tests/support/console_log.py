"""What a browser says while it shows pages: everything that should not be there is kept.

Complaints are errors and warnings on the console (a breach of the content security policy is one),
exceptions of scripts, requests to any other host, requests that fail, and answers of 500 and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response, WebError

_LOUD = frozenset({"error", "warning", "assert"})
_ABORTED = "net::ERR_ABORTED"
"""Of a request that nobody waits for any more: a page was left, or what it gave is a download."""


class ConsoleLog:
    """Listens to a context's pages from now on."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self._host = urlsplit(url).netloc
        self.complaints: list[str] = []
        self.requests: list[str] = []
        """Addresses of all requests."""
        self._allowed: tuple[str, ...] = ()
        context.on("console", self._said)
        context.on("weberror", self._broke)
        context.on("request", self._asked)
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)

    def allow(self, *texts: str) -> None:
        """Let complaints with one of these texts pass: the test provokes them."""
        self._allowed += texts

    def check(self) -> None:
        """Fail where there was anything to complain about."""
        assert self.requests, "nothing was asked at all"
        assert not self.complaints, "\n".join(dict.fromkeys(self.complaints))

    def _note(self, text: str) -> None:
        if not any(allowed in text for allowed in self._allowed):
            self.complaints.append(text)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in _LOUD:
            self._note(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _broke(self, error: WebError) -> None:
        self._note(f"exception: {error.error}")

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob", "about"} and parts.netloc != self._host:
            self._note(f"a request to another host: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self._note(f"a request failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self._note(f"{response.status} from {response.request.method} {response.url}")
