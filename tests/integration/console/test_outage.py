"""A killed database: every page and route answers in words of ours, and shows what it can."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.conftest import with_database
from tests.support.console import serving
from tests.support.pages import words
from tests.support.watching import until

if TYPE_CHECKING:
    from pathlib import Path

    from affidavit.demo.mongod import Mongod

pytestmark = pytest.mark.requirement("R13")

PAGES = (
    *("/", "/calls", "/calls/0123", "/calls/views", "/calls/exports", "/cost", "/cost?view=use"),
    *("/integrity", "/integrity?view=verify", "/integrity?view=losses", "/integrity?view=readings"),
    *("/integrity?view=evidence", "/monitoring", "/monitoring?view=writers"),
    *("/monitoring?view=database", "/monitoring?view=history", "/settings"),
)
ROUTES = (
    *("/api/v1/calls", "/api/v1/alerts", "/api/v1/exports", "/api/v1/analytics/cost"),
    "/api/v1/tokens",
    *("/api/v1/log/checkpoint", "/api/v1/log/identity", "/metrics", "/readyz"),
)
INSIDE = re.compile(r"pymongo|Traceback|\b[A-Z]\w+(?:Error|Timeout|Reconnect|Failure)\b")
"""What only a programmer reads: the driver, a trace, the name of a class."""


def test_no_page_route_or_log_names_a_class_of_the_driver(
    private_mongod: Mongod, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Just after the database died, and when that is known; settings show what is in force."""
    caplog.set_level(logging.INFO)
    uri = with_database(private_mongod.uri, "away")
    with (
        serving(uri, audit={"spool_dir": str(tmp_path)}, state_dir=tmp_path) as served,
        served.browser() as client,
        served.client() as api,
    ):
        assert client.get("/settings").status_code == httpx.codes.OK
        assert api.get("/api/v1/alerts").status_code == httpx.codes.OK
        private_mongod.kill()
        api.post("/api/v1/records", json={})
        for _ in range(2):
            for ask, path in [(client, each) for each in PAGES] + [(api, each) for each in ROUTES]:
                answer = ask.get(path)
                assert answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR, path
                found = INSIDE.search(answer.text)
                assert found is None, (path, answer.text[found.start() - 200 :][:400])
            until(lambda: served.backend.pulse.away_since is not None, "that it is known")
        began_s = time.monotonic()
        assert api.get("/api/v1/tokens").status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert time.monotonic() - began_s < 2  # seconds; it takes five to find it out
        answer = client.get("/settings")
        assert answer.status_code == httpx.codes.OK
        read = words(answer.text)
        for told in ("batch_size", "Configuration in force", "has not answered since"):
            assert told in read
        assert "No tokens yet" not in read
        assert "Nothing is noted yet" not in read
    said = "\n".join(record.getMessage() for record in caplog.records if "affidavit" in record.name)
    assert "does not answer" in said
    assert INSIDE.search(said) is None, said
