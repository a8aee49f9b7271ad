"""A log in which nothing is yet: every page stands in both languages and says what to do next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.config import AuditConfig
from affidavit.store import open_log
from tests.support.console import serving
from tests.support.pages import body, words

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

pytestmark = pytest.mark.requirement("R13")

PAGES = (
    *("/?wait=1", "/calls", "/calls/views", "/calls/exports", "/cost", "/cost?view=providers"),
    *("/cost?view=use", "/cost?view=budgets", "/cost?view=what-if", "/cost?view=unpriced"),
    *("/integrity", "/integrity?view=verify", "/integrity?view=losses", "/integrity?view=readings"),
    *("/integrity?view=evidence", "/monitoring", "/monitoring?view=writers"),
    *("/monitoring?view=database", "/monitoring?view=history", "/settings"),
)
ODD = re.compile(r"\b(?:NaN|inf|None|undefined|Infinity|Traceback)\b")
NEXT = {
    "/?wait=1": ("two lines in your application", "dos líneas"),
    "/calls": ("record the first call", "registre la primera llamada"),
    "/cost": ("record the first call", "registre la primera llamada"),
    "/integrity": ("affidavit seal", "affidavit seal"),
    "/calls/exports": ("Narrow the list of calls", "exporta"),
}


@pytest.mark.parametrize("older", [False, True])
def test_every_page_of_an_empty_log_says_what_to_do_next(
    mongodb_uri: str, database: Database[dict[str, Any]], tmp_path: Path, older: bool
) -> None:
    """Fresh, or set up before the service had a collection of its own: no error, no odd number."""
    if older:
        with open_log(mongodb_uri, AuditConfig()) as log:
            log.apply(log.plan())
        database.drop_collection("llm_audit_service")
    settings = {"spool_dir": str(tmp_path / "spool")}
    with (
        serving(mongodb_uri, audit=settings, state_dir=tmp_path / "state") as served,
        served.browser() as client,
    ):
        for place, language in enumerate(("en", "es")):
            for path in PAGES:
                page = words(body(client.get(path, headers={"Accept-Language": language})))
                assert ODD.search(page) is None, (path, ODD.search(page))
                told = NEXT.get(path, ("", ""))[place].lower()
                assert told in page.lower(), (path, page)
