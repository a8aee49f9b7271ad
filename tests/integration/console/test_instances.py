"""Two processes of `affidavit serve` on one log: sessions, work in the background, and a kill."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from affidavit import AuditConfig
from affidavit.store import open_log
from bench.analytics_load import Calls, Writer
from tests.integration.console.test_serve import LINK, TOLD, Running, is_ready, service, wait_until
from tests.support.pages import csrf, words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

pytestmark = [pytest.mark.requirement("R13"), pytest.mark.serial]

WHOLE = {"kind": "content", "reason": "complaint 4711 of a customer"}
CALLS = 15_000
"""So many that an export of them takes seconds, and is stopped in the middle on a busy machine."""


@contextmanager
def browser(url: str, cookie: str) -> Iterator[httpx.Client]:
    """Somebody with a session's cookie, at one of the instances."""
    headers = {"Cookie": cookie}
    with httpx.Client(base_url=url, headers=headers, timeout=60, follow_redirects=True) as client:
        yield client


def exports(client: httpx.Client) -> list[dict[str, Any]]:
    """What an instance says of all exports, newest first."""
    answer = client.get("/api/v1/exports")
    assert answer.status_code == httpx.codes.OK, answer.text
    found: list[dict[str, Any]] = answer.json()["exports"]
    return found


def begun(running: Running, client: httpx.Client, there: httpx.Client) -> str:
    """Begin an export, and stop the process in the middle of it; gives the export's name.

    The process is let run for some milliseconds at a time until the other one sees the export.
    """
    form = {"csrf": csrf(client.get("/calls?last=24h")), "last": "24h", **WHOLE}
    before = {each["name"] for each in exports(there)}
    sent = threading.Thread(target=_send, args=(client, form), daemon=True)
    sent.start()
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        time.sleep(0.01)
        running.process.send_signal(signal.SIGSTOP)
        found = [each["name"] for each in exports(there) if each["name"] not in before]
        if found:
            return str(found[0])
        running.process.send_signal(signal.SIGCONT)
    raise AssertionError("the export did not begin in time")


def _send(client: httpx.Client, form: dict[str, str]) -> None:
    """Send the form; the process may be killed before it answers."""
    with contextlib.suppress(httpx.HTTPError):
        client.post("/calls/exports", data=form, follow_redirects=False)


def ready(running: Running) -> str:
    """Wait until it serves; its address."""
    url = running.found(TOLD)
    wait_until(lambda: is_ready(url), 60)
    return url


def silence(database: Database[dict[str, Any]], name: str) -> None:
    """Let the time pass after which work that is not heard of was cut off."""
    long_ago = {"$set": {"heard_at": datetime.now(UTC) - timedelta(minutes=2)}}
    changed = database.llm_audit_service.update_one({"name": name}, long_ago)
    assert changed.modified_count == 1


def again(client: httpx.Client, name: str) -> dict[str, Any]:
    """Make an export again by the button of its row, and wait for it."""
    page = client.get("/calls/exports")
    assert "cut off" in words(page.text)
    assert f'action="/calls/exports/{name}/again"' in page.text
    client.post(f"/calls/exports/{name}/again", data={"csrf": csrf(page), **WHOLE})
    wait_until(lambda: exports(client)[0]["state"] == "done", 60)
    return exports(client)[0]


def test_two_instances_are_one_service(
    mongodb_uri: str, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    """A session is good at both; work of one is seen, ended and repeated at the other."""
    with open_log(mongodb_uri, AuditConfig()) as log:
        log.apply(log.plan())
    writer = Writer("instances0001", database)
    writer.start()
    source = Calls(1, 1000, users=9)
    now = datetime.now(UTC)
    for number in range(CALLS):
        writer.call(*source.call(now - timedelta(seconds=CALLS - number)))
    writer.flush()
    common = {"AFFIDAVIT_SPOOL_DIR": str(tmp_path / "spool")}
    with (
        service(
            tmp_path / "a", "--uri", mongodb_uri, "--state-dir", str(tmp_path / "sa"), **common
        ) as first,
        service(
            tmp_path / "b", "--uri", mongodb_uri, "--state-dir", str(tmp_path / "sb"), **common
        ) as second,
    ):
        one, other, link = ready(first), ready(second), first.found(LINK)
        answer = httpx.post(f"{one}/login/first", data={"key": link.partition("?key=")[2]})
        cookie = answer.headers["set-cookie"].partition(";")[0]
        with browser(one, cookie) as here, browser(other, cookie) as there:
            assert there.get("/settings").url.path == "/settings"

            # Cancelled from the other side while it runs.
            begun(first, here, there)
            running = exports(there)[0]
            assert (running["state"], running["instance"]) == ("running", one)
            page = there.get("/calls/exports")
            assert "under way" in words(page.text)
            name = running["name"]
            there.post(f"/calls/exports/{name}/cancel", data={"csrf": csrf(page)})
            time.sleep(2.5)
            first.process.send_signal(signal.SIGCONT)
            wait_until(lambda: exports(there)[0]["state"] == "cancelled", 30)

            # Killed in the middle: the other one says so, and makes it again.
            begun(first, here, there)
            first.process.kill()
            first.process.wait()
            lost = exports(there)[0]
            assert lost["name"] != name
            assert lost["state"] == "running"
            silence(database, lost["name"])
            assert exports(there)[0]["state"] == "cut_off"
            made = again(there, lost["name"])
            assert (made["file"], made["filter"]) == ("here", lost["filter"])
            lines = there.get(f"/api/v1/exports/{made['name']}/file").text.splitlines()
            assert len(lines) == made["rows"] == CALLS

            # A restart of the killed one knows it too.
            with (
                service(
                    tmp_path / "c",
                    "--uri",
                    mongodb_uri,
                    "--state-dir",
                    str(tmp_path / "sa"),
                    **common,
                ) as third,
                browser(ready(third), cookie) as back,
            ):
                states = [each["state"] for each in exports(back)]
                assert states == ["done", "cut_off", "cancelled"]
                assert exports(back)[0]["file"] == "elsewhere"
                assert other in words(back.get("/calls/exports").text)
        assert second.end() == 0
        assert "Traceback" not in second.err
