"""The console at a million calls: the first byte of each page, and what a list asks the database.

The service runs in a process of its own. Each page is asked for several times, over a month of
calls whose end moves by a second each time, so that no answer is one that was kept; the median
stands beside the limit. Operations are counted where the driver sends them, without the pings that
ask whether the database is there. Assets are those that a first visit of a page loads, as sent.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from pymongo import monitoring

from affidavit.analytics.keeper import Keeper
from affidavit.config import AuditConfig
from affidavit.demo.mongod import Mongod
from affidavit.sealer import keys
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import open_log
from bench.analytics_load import END, load
from bench.measure import Effort
from bench.report import Figure
from bench.servers import Helper, spool_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CALLS: Final = 1_000_000
TEXT: Final = 600
FIRST_MS: Final = 150
LIST_MS: Final = 100
OPERATIONS: Final = 5
ASSETS: Final = 150 * 1024
_MONTH: Final = timedelta(days=30)

PAGES: Final[Mapping[str, str]] = {
    "overview": "/?{span}",
    "calls": "/calls?{span}",
    "calls of a user": "/calls?{span}&user_id=user_00003",
    "call": "/calls/{call}",
    "cost": "/cost?{span}",
    "cost of providers": "/cost?view=providers&{span}",
    "cost, map of use": "/cost?view=use&{span}",
    "integrity": "/integrity",
    "integrity, losses": "/integrity?view=losses&{span}",
    "integrity, readings": "/integrity?view=readings",
    "reports": "/reports",
    "monitoring": "/monitoring",
    "monitoring, writers": "/monitoring?view=writers",
    "settings": "/settings",
    "log-in": "/login",
}
MOVES: Final[Mapping[str, str]] = {
    "the next page": "/calls?{span}&cursor={cursor}",
    "a row opened beside the list": "/calls/{call}/glance?{span}",
}


def run(effort: Effort) -> list[Figure]:
    """Load, seal and fold a log, and look at every page of it."""
    calls = effort.of(CALLS, 20_000, 400)
    with ExitStack() as stack:
        server = stack.enter_context(Mongod.start())
        with server.client() as client:
            client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig="cache_size=2G")
        folder = stack.enter_context(spool_folder())
        uri = server.database_uri("bench_console")
        _fill(uri, folder, calls)
        helper = stack.enter_context(Helper("bench.console", uri, folder))
        looker = _Looker(helper, effort.of(15, 7, 2))
        stack.callback(looker.close)
        size = f"at {calls:,} calls"
        figures = [looker.page(name, path, size) for name, path in PAGES.items()]
        figures += [looker.move(name, path, size) for name, path in MOVES.items()]
        return [*figures, looker.operations(), looker.assets()]


def _settings(folder: str) -> AuditConfig:
    return AuditConfig(
        ttl_days=3650, seal="off", seal_key_file=f"{folder}/log.key", spool_dir=f"{folder}/spool"
    )


def _fill(uri: str, folder: str, calls: int) -> None:
    config = _settings(folder)
    with open_log(uri, config) as log:
        log.apply(log.plan())
        load(uri, calls, TEXT)
        seal_once(Sealer(log.seals, lambda: keys.open_key(log.seals, config), where="service"))
        Keeper(log.seals, log.rollups).catch_up()


class _Looker:
    """A browser's requests without a browser: one connection, logged in."""

    def __init__(self, helper: Helper, runs: int) -> None:
        self._helper, self._runs = helper, runs
        parts = urlsplit(helper.hello["url"])
        self._host, self._port = parts.hostname or "", parts.port
        self._connection = http.client.HTTPConnection(self._host, self._port, timeout=120)
        self._cookie = ""
        body = urlencode({"token": helper.hello["token"]})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer, _, _ = self._ask("POST", "/login", body, kind)
        self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        page = self._read(f"/calls?{self._span(0)}")
        call = re.search(r"/calls/([0-9a-f]{24})/glance", page)
        cursor = re.search(r"[?&;]cursor=([^&\"]+)", page)
        assert call is not None, "the list has no call"
        assert cursor is not None, "the list has no next page"
        self._known = {"call": call[1], "cursor": cursor[1]}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def page(self, name: str, path: str, size: str) -> Figure:
        """Measure the first byte of a page."""
        took, first_ms, operations = self._times(path)
        return Figure(
            f"console.page.{name}",
            f"page {name}, first byte, {size}",
            took,
            "ms",
            target=f"≤ {FIRST_MS} ms",
            met=took <= FIRST_MS,
            note=f"the first time {first_ms:.0f} ms; {operations} database operations at most",
        )

    def move(self, name: str, path: str, size: str) -> Figure:
        """Measure a step in the list, whole, as htmx asks for it."""
        took, _, operations = self._times(path, {"HX-Request": "true"}, whole=True)
        return Figure(
            f"console.move.{name}",
            f"list, {name}, {size}",
            took,
            "ms",
            target=f"≤ {LIST_MS} ms",
            met=took <= LIST_MS,
            note=f"the whole answer; {operations} database operations at most",
        )

    def operations(self) -> Figure:
        """Count what the list asks of the database, at most."""
        counts = [self._times(PAGES[name])[2] for name in ("calls", "calls of a user")]
        most = max(counts)
        return Figure(
            "console.operations",
            "database operations of a list page",
            most,
            "",
            target=f"≤ {OPERATIONS}",
            met=most <= OPERATIONS,
        )

    def assets(self) -> Figure:
        """Add up what a first visit transfers: styles, scripts and signs, and the page itself."""
        page = self._read(f"/calls?{self._span(0)}")
        found = set(re.findall(r"(?:href|src)=\"(/static/[^\"#]+)", page))
        zipped = {"Accept-Encoding": "gzip"}
        sizes = {path: len(self._ask("GET", path, "", zipped)[2]) for path in found}
        total = sum(sizes.values())
        return Figure(
            "console.assets",
            "assets of a first visit, gzipped",
            total / 1024,
            "KiB",
            target=f"≤ {ASSETS // 1024} KiB",
            met=total <= ASSETS,
            note=f"{len(sizes)} files",
        )

    def _times(
        self, path: str, headers: Mapping[str, str] | None = None, *, whole: bool = False
    ) -> tuple[float, float, int]:
        """Median and first milliseconds, and the most database operations of any."""
        took, counts = [], []
        for number in range(self._runs):
            self._helper.ask("begin")
            asked = path.format(span=self._span(number), **self._known)
            _, times, _ = self._ask("GET", asked, "", headers or {})
            took.append(times[whole])
            counts.append(self._helper.ask("count"))
        return statistics.median(took), took[0], max(counts)

    def _span(self, number: int) -> str:
        until = END - timedelta(seconds=number)
        return urlencode({"since": (until - _MONTH).isoformat(), "until": until.isoformat()})

    def _read(self, path: str) -> str:
        return self._ask("GET", path, "", {})[2].decode()

    def _ask(
        self, method: str, path: str, body: str, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, tuple[float, float], bytes]:
        """Ask; milliseconds to the first byte and to the last."""
        sent = {"Cookie": self._cookie, "Accept": "text/html", **headers}
        start_s = time.perf_counter()
        self._connection.request(method, path, body or None, sent)
        answer = self._connection.getresponse()
        first = answer.read(1)
        first_ms = (time.perf_counter() - start_s) * 1000
        data = first + answer.read()
        whole_ms = (time.perf_counter() - start_s) * 1000
        if answer.status >= http.client.BAD_REQUEST:
            msg = f"{quote(path)} answered {answer.status}: {data[:300]!r}"
            raise RuntimeError(msg)
        return answer, (first_ms, whole_ms), data


# -- in the other process --------------------------------------------------------------------------


class _Counter(monitoring.CommandListener):
    """Counts what is sent to the database, without what the service does beside requests."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Count one."""
        beside = str(event.command.get(event.command_name, "")).endswith("_writers")
        if event.command_name not in {"ping", "endSessions"} and not beside:
            self.count += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""


def _questions() -> Iterator[Any]:
    for line in sys.stdin:
        yield json.loads(line)


def _serve(uri: str, folder: str) -> None:
    """Be the service, until standard input ends."""
    counter = _Counter()
    monitoring.register(counter)
    from affidavit.console.app import create_app
    from affidavit.console.config import ServeConfig
    from affidavit.console.listen import address_of, listening, server_of
    from affidavit.console.visitor import Role, Scope

    serve = ServeConfig(port=0, schedules=False, requests_per_minute=10_000_000)
    sock = listening(serve)
    app = create_app(serve, _settings(folder), uri)
    running = server_of(serve, app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    backend = app.state.backend
    token, _ = backend.doorman.tokens.make("bench", Role.ADMIN, Scope(), by="bench")
    print(json.dumps({"url": address_of(serve, sock), "token": token}), flush=True)
    for question in _questions():
        if question == "begin":
            counter.count = 0
        print(counter.count, flush=True)
    running.should_exit = True
    thread.join(30)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
