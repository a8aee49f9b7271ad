"""The overview: figures, what became of records, the state of the proof, and its live stream."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from affidavit.console.overview import Figures, _figures
from affidavit.console.pages import overview
from affidavit.console.visitor import Scope
from affidavit.demo.mongod import Mongod
from tests.support.console import serving
from tests.support.pages import Pages, body, furnished, words
from tests.support.rooms import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from affidavit.tally.sums import Sums
    from tests.support.servers import GivenServer

pytestmark = pytest.mark.requirement("R13", "R25")


@pytest.fixture(scope="module")
def pages(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    """One service over one small log."""
    with furnished(mongod.uri, tmp_path_factory.mktemp("overview")) as found:
        yield found


def test_it_shows_calls_cost_failures_latency_and_security_events(pages: Pages) -> None:
    """The figures are those of what was recorded."""
    with pages.served.client() as client:
        page = words(body(client.get("/?wait=1&last=1h")))
    assert "Calls 63 " in page
    assert "Cost $0.6123" in page
    assert "Failures 1 1.59" in page
    assert "Security events 1 " in page
    assert "Latency, 95th percentile" in page
    assert SECRET not in page


def test_it_says_what_became_of_records_and_how_far_the_proof_is(pages: Pages) -> None:
    """Losses are a green zero, and the level of the proof stands beside its age."""
    with pages.served.client() as client:
        page = body(client.get("/?wait=1"))
    losses = page.partition('class="counters"')[2].partition("</dl>")[0]
    assert losses.count('class="good"') == 3
    assert "Recorded" in words(losses)
    assert "leaves, checkpoint" in words(page)


def test_a_time_without_calls_says_what_to_do(pages: Pages) -> None:
    """An empty page offers a longer time, and how to record the first call."""
    with pages.served.client() as client:
        page = words(body(client.get("/?wait=1&since=2020-01-01T00:00&until=2020-01-02T00:00")))
    assert "No calls in this time" in page
    assert "affidavit.instrument" in page


def test_a_time_that_cannot_be_read_is_said_and_stays_typed(pages: Pages) -> None:
    """The usual time is shown instead."""
    with pages.served.client() as client:
        page = body(client.get("/?wait=1&since=2026-11-23T12:00&until=2026-11-22T12:00"))
    assert "could not be read" in words(page)
    assert 'value="2026-11-23T12:00"' in page
    assert "Calls 63 " in words(page)


def test_somebody_of_one_department_sees_its_figures_alone(pages: Pages) -> None:
    """Nothing in the address widens it."""
    token = pages.served.token_of("viewer", departments=("sales",))
    with pages.served.client(token) as client:
        page = words(body(client.get("/?wait=1&last=1h&departments=support")))
    assert "Calls 1 " in page
    assert "Failures 1 100" in page
    assert "Security events 0 " in page


def test_charts_have_a_table_and_an_address_to_zoom(pages: Pages) -> None:
    """Whoever sees no drawing has the numbers."""
    with pages.served.client() as client:
        page = body(client.get("/?wait=1&last=24h"))
    assert page.count('<figure class="chart"') == 3
    assert page.count("Show as a table") == 3
    assert "/?since=SINCE&amp;until=UNTIL" in page.replace("&#38;", "&amp;").replace(
        "\\u0026", "&amp;"
    )


def test_a_page_is_shown_at_once_and_its_figures_when_they_are_there(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first byte does not wait for sums; without scripts there is a way to wait for them."""
    monkeypatch.setattr(overview, "SOON_S", 0.0)
    with pages.served.client() as client:
        page = body(client.get("/?last=14h"))
        assert "being added up" in words(page)
        assert 'href="/?last=14h&amp;wait=1"' in page
        assert "Calls 63 " in words(body(client.get("/?last=14h&wait=1")))
        monkeypatch.setattr(overview, "SOON_S", 30.0)
        part = client.get("/?last=14h", headers={"HX-Request": "true"})
        assert "<html" not in part.text
        assert "Calls 63 " in words(body(part))


def test_figures_come_again_by_themselves(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event holds the same figures as the page, and goes to whoever is logged in alone."""
    monkeypatch.setattr(overview, "EVERY_S", 0.05)
    with (
        pages.served.client() as client,
        client.stream("GET", "/live?last=1h") as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        found = ""
        for line in stream.iter_lines():
            found += line
            if "event: figures" in found and line == "":
                break
    assert "63" in words(found)
    with pages.served.client("") as client:
        assert client.get("/live").status_code == httpx.codes.SEE_OTHER


def test_streams_are_bounded(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many open pages are told to do without, and places come back."""
    monkeypatch.setattr(overview, "EVERY_S", 0.05)
    monkeypatch.setattr(overview, "OF_ONE", 1)
    streams = overview.streams_of(pages.served.app)
    _until(lambda: streams.count == 0)  # that of the test before has to be noticed
    with pages.served.client() as client, client.stream("GET", "/live") as first:
        lines = first.iter_lines()  # kept: without it the stream is closed
        assert next(lines).startswith("retry")
        assert "event: full" in client.get("/live").text
    _until(lambda: streams.count == 0)


def test_many_pages_at_once_ask_the_database_once(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures are shared by whoever sees the same."""
    asked: list[float] = []
    asking = overview.asking_of(pages.served.app)
    made = _figures

    def counted(sums: Sums) -> Figures:
        asked.append(time.monotonic())
        return made(sums)

    monkeypatch.setattr("affidavit.console.overview._figures", counted)
    span = overview.asked_range({"last": "13h"})
    threads = [
        threading.Thread(target=lambda: asking.overview(span, Scope(), charts=False))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(asked) == 2  # now, and the time before


@pytest.mark.serial
def test_without_a_database_pages_say_so_and_recover(tmp_path: Path) -> None:
    """No trace and no white page: what is missing is said, and all comes back by itself."""
    with Mongod.start() as server:
        uri = server.database_uri("wadm")
        with (
            serving(uri, audit={"spool_dir": str(tmp_path / "s")}) as served,
            served.client() as client,
        ):
            body(client.get("/?wait=1"))
            server.kill()
            _until(lambda: client.get("/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE)
            for path in ("/?wait=1", "/calls"):
                away = client.get(path)
                assert away.status_code in {httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE}
                assert "not answered" in words(body(away, away.status_code))
            server.restart()
            _until(lambda: client.get("/readyz").status_code == httpx.codes.OK)
            assert "could not be read" not in words(body(client.get("/?wait=1")))


def _until(met: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 30
    while not met():
        assert time.monotonic() < until_s, "it did not come to that in time"
        time.sleep(0.1)
