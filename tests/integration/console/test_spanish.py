"""Every page of a filled log in Spanish: no sentence of it is the English one."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.console.visitor import Role
from tests.conftest import with_database
from tests.integration.console.test_pages_monitoring import look
from tests.support.console import Served, serving
from tests.support.pages import csrf
from tests.support.rooms import HOSTILE, SECRET, Room, furnish
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from affidavit.demo.mongod import Mongod

pytestmark = pytest.mark.requirement("R13")

Given = tuple[Served, Room]

PAGES = (
    *("/?wait=1&last=30d", "/calls?last=30d", "/calls/views", "/calls/exports", "/calls/{call}"),
    *("/calls/{call}/proof", "/calls/{call}/readers", "/calls/{call}/linked"),
    *("/cost?last=30d", "/cost?view=providers", "/cost?view=use", "/cost?view=budgets"),
    *("/cost?view=unpriced", "/cost?view=calls", "/cost?month=2026-99"),
    "/cost?view=what-if&provider_to=openai&model_to=gpt-5",
    *("/integrity", "/integrity?view=verify", "/integrity?view=verify&job={job}"),
    *("/integrity?view=losses", "/integrity?view=readings", "/integrity?view=evidence"),
    *("/reports", "/reports/{report}", "/monitoring", "/monitoring?view=writers"),
    *("/monitoring?view=database", "/monitoring?view=history", "/settings"),
    *("/calls/000000000000000000000000", "/calls?since=never", "/reports/none"),
    *("/integrity/verify/none/result.json", "/calls/exports/none/file", "/nowhere"),
)

SAME = (
    *(SECRET, "affidavit setup", "Affidavit", HOSTILE[:12]),
    # Commands, settings and values as they are written.
    *("affidavit report", "affidavit verify", "affidavit stats"),
    *("python3 affidavit_verify.py", "sh check.sh", "db.getCollection"),
    # Details of the ledger by the names that they have there.
    *(" · ", "verdict complete"),
)
"""What may be the same in both: texts of records, and what is typed as it stands."""

_LONGEST_WORDS = 3
_WORD = re.compile(r"[A-Za-záéíóúñüÁÉÍÓÚÑ¿¡]{2,}")
_TOLD = ("title", "aria-label", "placeholder", "alt")
_CODE = frozenset({"code", "pre", "script", "style", "kbd", "option"})


class Visible(HTMLParser):
    """Gathers what people see or hear of a page: text by text, without what is code."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self._parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is told by attributes, and whether code begins."""
        given = dict(attrs)
        code = tag in _CODE or "mono" in (given.get("class") or "").split()
        if tag not in {"bdi", "b", "strong", "time", "span", "code", "a"} or code:
            self._end()
        if given.get("class") != "ctl":  # the name of a character
            self.texts += [given[name] or "" for name in _TOLD if given.get(name)]
        if tag not in {"input", "meta", "link", "br", "img", "use", "rect", "hr", "col"}:
            self._open.append((tag, code))

    def handle_endtag(self, tag: str) -> None:
        """Note that a text ends."""
        if tag not in {"bdi", "b", "strong", "time", "span", "code", "a"}:
            self._end()
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Gather texts outside of code."""
        if not any(code for _, code in self._open):
            self._parts.append(data)

    def _end(self) -> None:
        text = " ".join("".join(self._parts).split())
        self._parts = []
        if text:
            self.texts.append(text)


def sentences(page: str) -> set[str]:
    """Sentences and labels of a page of more than three words."""
    reader = Visible()
    reader.feed(page)
    reader.close()
    parts = {part for text in reader.texts for part in re.split(r"(?<=[.!?:;]) ", text)}
    return {part for part in parts if _words(part) > _LONGEST_WORDS}


def _words(text: str) -> int:
    return sum(bool(_WORD.fullmatch(each.strip(".,:;!?()"))) for each in text.split())


@pytest.fixture(scope="module")
def filled(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Given]:
    """A sealed log with a budget that is over, silences, and samples of a monitor."""
    folder = tmp_path_factory.mktemp("spanish")
    (folder / "anchors").mkdir()
    budgets = json.dumps({"user": {"ana": "0.001"}, "department": {"sales": "0.001"}})
    settings = {
        "spool_dir": str(folder / "served"),
        "budgets": budgets,
        "anchor_directory": str(folder / "anchors"),
    }
    with fresh_database(mongod.uri) as database:
        held = furnish(database, folder)
        uri = with_database(mongod.uri, database.name)
        with serving(uri, audit=settings, state_dir=folder / "state") as served:
            look(served)
            yield served, held


def worked(client: httpx.Client, path: str, data: dict[str, str], done: str) -> str:
    """Begin a work by a form, wait for it, and give what names it on the page."""
    form = client.get(path.partition("/begin")[0])
    client.post(path, data={"csrf": csrf(form), **data})
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        found = re.search(done, client.get(path).text)
        if found:
            return found[1]
        time.sleep(0.1)
    msg = f"{path} was not done in time"
    raise AssertionError(msg)


def test_no_sentence_of_a_page_is_the_same_in_both_languages(filled: Given) -> None:
    """Reasons, refusals, reports and settings are read in Spanish as well."""
    served, room = filled
    with served.browser() as client:
        report = worked(client, "/reports", {"month": "this"}, r'href="/reports/([^"/]+)"')
        begun = client.post("/integrity/verify", data={"csrf": csrf(client.get("/reports"))})
        job = re.search(r"job=([0-9a-zA-Z_-]+)", str(begun.url))
        assert job is not None, begun.url
        names = {"call": room.calls["research"][0], "report": report, "job": job[1]}
        wrong = [
            (path, same) for path in PAGES for same in told_twice(client, path.format(**names))
        ]
    assert not wrong, "\n".join(f"{path}: {same}" for path, same in wrong)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST])
def test_refusals_are_in_the_language_of_who_is_refused(filled: Given, role: Role) -> None:
    """Pages that a role may not see say so, and why, in Spanish."""
    served, _ = filled
    paths = ("/settings", "/integrity", "/reports", "/monitoring", "/cost")
    with served.browser(served.token_of(role)) as client:
        wrong = [(path, same) for path in paths for same in told_twice(client, path)]
    assert not wrong, "\n".join(f"{path}: {same}" for path, same in wrong)


def told_twice(client: httpx.Client, path: str) -> list[str]:
    """Sentences that a page has in both languages, other than what may be the same."""
    found: list[Any] = []
    for language in ("en", "es"):
        answer = client.get(path, headers={"Accept-Language": language})
        assert answer.status_code < 500, (path, answer.text[:500])
        found.append(sentences(answer.text))
    same = found[0] & found[1]
    return sorted(each for each in same if not any(part in each for part in SAME))
