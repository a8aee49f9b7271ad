"""A log that an older version set up and no newer one has touched: every page stands on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import with_database
from tests.integration.console.test_empty_log import ODD
from tests.integration.console.test_empty_log import PAGES as EMPTY_PAGES
from tests.support.console import serving
from tests.support.pages import body, csrf, words
from tests.support.rooms import furnish
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

    from affidavit.demo.mongod import Mongod

pytestmark = pytest.mark.requirement("R13")

PAGES = (
    *EMPTY_PAGES,
    *("/calls/{call}", "/calls/{call}/proof", "/calls/{call}/readers", "/calls/{call}/linked"),
    *("/reports", "/cost?view=calls", "/cost?last=30d&by=user", "/calls?department=research"),
)
LATER = ("service", "monitor", "metrics")
"""Collections that set-ups of version 4 did not make."""


def made_older(database: Database[dict[str, Any]]) -> None:
    """Leave what version 4 left: no later collections, no indexes of departments and tenants."""
    for name in LATER:
        database.drop_collection(f"llm_audit_{name}")
    for name in ("department_1_timestamp_-1", "tenant_1_timestamp_-1"):
        database.llm_audit.drop_index(name)
    older = {"$set": {"details.setup_version": 4}}
    changed = database.llm_audit_ledger.update_many({"event_type": "setup"}, older)
    assert changed.modified_count


@pytest.mark.parametrize("auto_setup", [True, False])
def test_every_page_stands_on_a_log_that_an_older_version_set_up(
    mongod: Mongod | GivenServer, tmp_path: Path, auto_setup: bool
) -> None:
    """With or without the setting that lets the service make what is missing; a report as well."""
    settings = {"spool_dir": str(tmp_path / "spool"), "auto_setup": auto_setup}
    with fresh_database(mongod.uri) as database:
        room = furnish(database, tmp_path)
        made_older(database)
        uri = with_database(mongod.uri, database.name)
        with (
            serving(uri, audit=settings, state_dir=tmp_path / "state") as served,
            served.browser() as client,
        ):
            for path in PAGES:
                place = path.format(call=room.calls["research"][0])
                answer = client.get(place, headers={"Accept-Language": "en"})
                page = words(body(answer))
                assert ODD.search(page) is None, (path, ODD.search(page))
                assert "could not be had" not in page, (path, page)
                assert "could not be read" not in page, (path, page)
            form = csrf(client.get("/calls?last=30d"))
            saved = client.post("/calls/views", data={"csrf": form, "title": "mine"})
            assert re.search(r"[?&]view=", str(saved.url)), saved.text[:500]
