"""The list of calls: filters, pages, charts, saved views, exports, and what it never shows."""

from __future__ import annotations

import re
import shutil
import time
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from tests.support.console import serving
from tests.support.pages import REASON, Pages, body, csrf, furnished, words
from tests.support.rooms import HOSTILE, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from affidavit.demo.mongod import Mongod
    from tests.support.servers import GivenServer

pytestmark = pytest.mark.requirement("R13", "R18")
_ROW = re.compile(r'class="row-link" href="([^"]+)"')


@pytest.fixture(scope="module")
def pages(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    """One service over one small log."""
    with furnished(mongod.uri, tmp_path_factory.mktemp("calls")) as found:
        yield found


def rows(page: str) -> list[str]:
    """Ids of the calls in a list, in its order."""
    links = map(unescape, _ROW.findall(page))
    return [parse_qs(urlsplit(link).query)["open"][0] for link in links]


def test_a_list_has_metadata_and_no_content(pages: Pages) -> None:
    """No word of a request, an answer or an error is in a list, for no role."""
    for role in ("viewer", "analyst", "auditor", "admin"):
        with pages.served.client(pages.served.token_of(role)) as client:
            text = client.get("/calls?event_type=all").text
        assert SECRET not in text
        assert "jane.doe" not in text


def test_pages_follow_each_other_without_a_gap(pages: Pages) -> None:
    """Every call is on exactly one page, newest first."""
    seen: list[str] = []
    address = "/calls?last=24h"
    with pages.served.client() as client:
        while address:
            page = body(client.get(address))
            seen += rows(page)
            found = re.search(r'rel="next" href="([^"]+)"', page)
            address = unescape(found[1]) if found else ""
    assert len(seen) == len(set(seen)) == 63
    assert seen[-1] == pages.talk


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("department=sales", 1),
        ("status=failed", 1),
        ("status=completed&department=research", 2),
        ("user_id=ana", 1),
        ("tenant=acme", 1),
        ("session_id=s-talk", 1),
        ("provider=anthropic&model=claude", 1),
        ("error_type=TimeoutError", 1),
        ("cost_min_usd=0.012", 1),
        ("cost_min_usd=0,012", 1),
        ("tokens_min=700&tokens_max=800", 1),
        ("field:symbol=ABC", 1),
        ("own_name=symbol&own_value=ABC", 1),
        ("event_type=security_event", 1),
        ("event_type=annotation", 1),
        ("text=42.5", 1),
        ("user_id=nobody", 0),
        ("user_id[$ne]=x", 50),
        ("user_id=%7B%22%24ne%22%3Anull%7D", 0),
    ],
)
def test_each_filter_narrows_the_list(pages: Pages, query: str, count: int) -> None:
    """What is asked is what is shown; operators of a database are plain texts."""
    with pages.served.client() as client:
        page = body(client.get(f"/calls?last=24h&{query}"))
    assert len(rows(page)) == count


def test_a_filter_is_a_chip_that_can_be_taken_away(pages: Pages) -> None:
    """Removing one keeps the others and the time."""
    with pages.served.client() as client:
        page = body(client.get("/calls?last=24h&department=research&user_id=ana"))
    chips = dict(
        re.findall(r'class="chip-name">([^<]+)<.*?class="chip-x" href="([^"]+)"', page, re.DOTALL)
    )
    assert chips.keys() == {"Department", "User"}
    without = parse_qs(urlsplit(unescape(chips["Department"])).query)
    assert without == {"user_id": ["ana"], "last": ["24h"]}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("cost_min_usd=lots", "A number from 0 on"),
        ("status=perhaps", "Choose one of the list"),
        ("user_id=" + "x" * 501, "At most 500 characters"),
        ("tokens_min=1.5", "A number from 0 on"),
        ("own_name=$where&own_value=1", "letters, digits"),
        ("cursor=nonsense", "cursor"),
    ],
)
def test_what_cannot_be_read_is_told_beside_its_field(pages: Pages, query: str, said: str) -> None:
    """Nothing is shown by mistake, and what was typed is still in the form."""
    with pages.served.client() as client:
        page = body(client.get(f"/calls?{query}"), 400)
    assert said in words(page)
    assert not rows(page)
    name, _, typed = query.partition("=")
    if name.startswith(("cost", "tokens")):
        assert f'name="{name}" type="text" value="{typed}"' in page


def test_a_text_is_looked_for_by_those_who_may_read(pages: Pages) -> None:
    """A viewer is told that the role may not; the page is otherwise the same."""
    with pages.served.client(pages.served.token_of("viewer")) as client:
        page = body(client.get("/calls?text=42.5"), 400)
    assert "your role may not" in words(page)
    assert not rows(page)


def test_a_pattern_is_a_plain_text_and_takes_no_time(pages: Pages) -> None:
    """A pattern that would take for ever is looked for as it stands."""
    began_s = time.monotonic()
    with pages.served.client() as client:
        page = body(client.get("/calls?last=24h&text=" + quote("(a+)+$" * 50)))
    assert not rows(page)
    assert time.monotonic() - began_s < 10


def test_hostile_names_are_only_text(pages: Pages) -> None:
    """In the list, the chips, the panel and the addresses of filters."""
    with pages.served.client() as client:
        page = body(client.get("/calls?last=24h&user_id=" + quote(HOSTILE)))
        assert rows(page) == [pages.hostile]
        panel = body(client.get(f"/calls/{pages.hostile}/glance"))
    for text in (page, panel):
        assert "&lt;script&gt;" in text
        assert "ESC" in text
        assert "U+202E" in text


def test_a_scope_cannot_be_widened(pages: Pages) -> None:
    """A filter on another department finds nothing; its calls are not there."""
    token = pages.served.token_of("auditor", departments=("sales",))
    with pages.served.client(token) as client:
        assert rows(body(client.get("/calls?last=24h"))) == [pages.failed]
        for query in ("department=research", "departments=research", "event_type=all"):
            assert set(rows(body(client.get(f"/calls?last=24h&{query}")))) <= {pages.failed}
        gone = words(body(client.get(f"/calls/{pages.talk}/glance")))
        assert "no such call" in gone
        assert client.get(f"/calls/{pages.talk}").status_code == httpx.codes.NOT_FOUND


def test_every_list_is_noted_with_what_was_asked(pages: Pages) -> None:
    """Who looked for what, and how much came of it."""
    before = len(pages.noted("console calls"))
    with pages.served.client(pages.served.token_of("viewer", name="Vera")) as client:
        body(client.get("/calls?last=24h&department=sales"))
    noted = pages.noted("console calls")
    assert len(noted) == before + 1
    last = max(noted, key=lambda record: record["timestamp"])
    assert last["actor"]["visitor"] == "Vera"
    assert last["details"]["filter"]["department"] == "sales"
    assert last["details"]["count"] == 1


@pytest.mark.requirement("R20")
def test_a_list_asks_the_database_five_times_at_most(pages: Pages) -> None:
    """Whatever it holds: two for the rows, two for the note, one for who asks."""
    database = pages.database
    with pages.served.browser() as client:
        for query in ("last=24h", "last=24h&status=completed", "last=24h&department=research"):
            database.command("profile", 2)
            try:
                body(client.get(f"/calls?{query}"))
            finally:
                database.command("profile", 0)
            mine = {"ns": {"$not": {"$regex": "system[.]profile|_writers|_alerts|_monitor"}}}
            asked = [f"{each['op']} {each['ns']}" for each in database["system.profile"].find(mine)]
            database.drop_collection("system.profile")
            assert 2 <= len(asked) <= 5, asked


def test_htmx_gets_the_list_alone(pages: Pages) -> None:
    """A next page is no whole page."""
    with pages.served.client() as client:
        part = client.get("/calls?last=24h", headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert 'id="list"' in part.partition(">")[0]


def test_an_open_call_stands_beside_the_list_and_keeps_the_filter(pages: Pages) -> None:
    """Without scripts too; closing it goes back to the same list."""
    with pages.served.client() as client:
        page = body(client.get(f"/calls?last=24h&department=research&open={pages.talk}"))
    panel = page.partition('<aside class="panel"')[2]
    assert pages.talk in panel
    close = re.search(r'href="([^"]+)" data-close-panel', panel)
    assert close
    kept = parse_qs(urlsplit(unescape(close[1])).query)
    assert kept == {"department": ["research"], "last": ["24h"]}
    by_user = re.search(r'class="by-value" href="([^"]*user_id=ana[^"]*)"', panel)
    assert by_user
    assert "department=research" in unescape(by_user[1])


def test_charts_count_what_the_list_finds(pages: Pages) -> None:
    """By minutes or by days, the sums are those of the list."""
    with pages.served.client() as client:
        for span in ("1h", "24h", "30d"):
            page = body(client.get(f"/calls/charts?last={span}"))
            assert _sum(page, "chart-calls") == 63
            assert _sum(page, "chart-failed") == 1
        narrow = body(client.get("/calls/charts?last=24h&user_id=ana"))
        assert _sum(narrow, "chart-calls") == 1
        events = body(client.get("/calls/charts?last=24h&event_type=security_event"))
        assert _sum(events, "chart-calls") == 1
        assert "not drawn" in words(body(client.get("/calls/charts?text=x")))
        whole = body(client.get("/calls?last=24h&charts=1"))
        assert _sum(whole, "chart-calls") == 63


def test_charts_are_a_reading_like_the_list(pages: Pages) -> None:
    """Asked for alone they are noted with the filter; with the list, its own note covers them."""
    with pages.served.client() as client:
        client.get("/calls/charts?last=24h&user_id=asked-alone")
        [note] = _noted(pages, "console charts", "asked-alone")
        assert note["actor"]["visitor"] == "the tests' administrator"
        client.get("/calls?last=24h&charts=1&user_id=with-the-list")
        assert _noted(pages, "console charts", "with-the-list") == []
        assert len(_noted(pages, "console calls", "with-the-list")) == 1
        unlisted = client.get("/calls?last=24h&charts=1&cursor=none-of-this-list")
        assert 'id="chart-calls"' not in unlisted.text, "no note, no charts"


def _noted(pages: Pages, command: str, user_id: str) -> list[dict[str, Any]]:
    return [n for n in pages.noted(command) if n["details"]["filter"].get("user_id") == user_id]


def _sum(page: str, name: str) -> int:
    figure = page.partition(f'id="{name}"')[2].partition("</figure>")[0]
    cells = re.findall(r'<td class="num">([\d,]+)</td>', figure)
    return sum(int(cell.replace(",", "")) for cell in cells)


def test_a_view_is_saved_under_a_name_with_an_address_that_stays(pages: Pages) -> None:
    """It opens to the same filters, is listed, and is removed by its owner."""
    with pages.served.browser() as client:
        start = client.get("/calls?last=24h&department=research")
        form = {"csrf": csrf(start), "title": "Research <b>", "department": "research"}
        made = client.post("/calls/views", data={**form, "last": "24h"})
        assert rows(body(made)) == [pages.hostile, pages.talk]
        link = str(made.history[0].headers["location"])
        assert link.startswith("/calls/views/")
        listed = body(client.get("/calls/views"))
        assert "Research &lt;b&gt;" in listed
        assert client.get(link).url.params["department"] == "research"
        gone = client.post(f"{link}/remove", data={"csrf": csrf(start)})
        assert "No saved views yet" in words(body(gone))
        assert client.get(link).status_code == httpx.codes.NOT_FOUND


def test_views_are_listed_by_their_names_where_that_is_asked_for(pages: Pages) -> None:
    """The newest first, else by name as people look for one: accents and capitals beside it."""
    token = pages.served.token_of("viewer", name="Nora")
    with pages.served.browser(token) as client:
        for title in ("zulu", "Águila", "beta"):
            client.post("/calls/views", data={"csrf": csrf(client.get("/calls")), "title": title})
        newest = words(body(client.get("/calls/views")))
        named = words(body(client.get("/calls/views?order=name")))
    assert newest.index("beta") < newest.index("Águila") < newest.index("zulu")
    assert named.index("Águila") < named.index("beta") < named.index("zulu")


def test_a_view_without_a_name_keeps_what_was_typed(pages: Pages) -> None:
    """The error stands beside the field, the filters are kept."""
    with pages.served.browser() as client:
        token = csrf(client.get("/calls"))
        answer = client.post(
            "/calls/views", data={"csrf": token, "title": "  ", "department": "research"}
        )
    page = body(answer, 400)
    assert "1 to 80 printable characters" in words(page)
    assert 'name="department" value="research"' in page


def test_a_view_is_closed_to_who_may_see_less(pages: Pages) -> None:
    """Its filters may name what they may not see; and nobody removes another's."""
    with pages.served.browser() as client:
        made = client.post(
            "/calls/views", data={"csrf": csrf(client.get("/calls")), "title": "mine"}
        )
        link = str(made.history[0].headers["location"])
    token = pages.served.token_of("auditor", departments=("sales",))
    with pages.served.client(token) as other:
        assert other.get(link).status_code == httpx.codes.NOT_FOUND
        assert other.post(f"{link}/remove").status_code == httpx.codes.NOT_FOUND


def test_an_export_is_exactly_what_the_list_shows(pages: Pages) -> None:
    """The same rows, by the same filter; whole calls only with a reason."""
    with pages.served.browser() as client:
        page = client.get("/calls?last=24h&department=research")
        form = {"csrf": csrf(page), "department": "research", "last": "24h"}
        refused = client.post("/calls/exports", data={**form, "kind": "content", "reason": "x"})
        assert "say why you read them" in words(body(refused, 400))
        body(client.post("/calls/exports", data={**form, "kind": "jsonl"}))
        listed = _done(client)
        links = re.findall(r'href="(/api/v1/exports/[0-9a-f]+/file)"', listed)
        lines = client.get(links[0]).text.splitlines()
        assert len(lines) == 2
        assert all(SECRET not in line for line in lines)
        form["csrf"] = csrf(client.get("/calls"))
        body(client.post("/calls/exports", data={**form, "kind": "content", "reason": REASON}))
        links = re.findall(r'href="(/api/v1/exports/[0-9a-f]+/file)"', _done(client))
        assert any(SECRET in client.get(link).text for link in links)
    assert any(note["details"]["filter"].get("reason") == REASON for note in pages.noted("export"))


def test_an_export_says_where_its_file_is_and_can_be_made_again(
    pages: Pages, tmp_path: Path
) -> None:
    """No dead link: another instance is named, a lost file is told, and one form repeats it."""
    uri, backend = pages.served.backend.uri, pages.served.backend
    settings = {"spool_dir": str(tmp_path / "spool")}
    with (
        serving(uri, audit=settings, state_dir=tmp_path / "state") as other,
        pages.served.browser() as client,
        other.browser() as elsewhere,
    ):
        form = {"csrf": csrf(client.get("/calls")), "department": "sales", "kind": "csv"}
        body(client.post("/calls/exports", data=form))
        listed = _done(client)
        name = re.findall(r"/api/v1/exports/([0-9a-f]+)/file", listed)[0]
        there = body(elsewhere.get("/calls/exports"))
        assert f"/api/v1/exports/{name}/file" not in there
        assert backend.address in words(there)
        told = elsewhere.get(f"/api/v1/exports/{name}").json()
        assert (told["file"], told["instance"]) == ("elsewhere", backend.address)
        again = {"csrf": csrf(elsewhere.get("/calls/exports"))}
        body(elsewhere.post(f"/calls/exports/{name}/again", data=again))
        made = re.findall(r"/api/v1/exports/([0-9a-f]+)/file", _done(elsewhere))
        assert len(made) == 1
        first = client.get(f"/api/v1/exports/{name}/file").content
        assert elsewhere.get(f"/api/v1/exports/{made[0]}/file").content == first
        shutil.rmtree(backend.state_dir / "exports")
        gone = body(client.get("/calls/exports"))
        assert f"/api/v1/exports/{name}/file" not in gone
        assert "The file is gone" in words(gone)
        assert client.get(f"/api/v1/exports/{name}").json()["file"] == "gone"


def test_content_is_exported_again_for_a_reason_of_its_own(pages: Pages) -> None:
    """Whoever repeats an export of whole calls says why, as for the first."""
    with pages.served.browser() as client:
        form = {"csrf": csrf(client.get("/calls")), "department": "sales"}
        body(client.post("/calls/exports", data={**form, "kind": "content", "reason": REASON}))
        _done(client)
        name = client.get("/api/v1/exports").json()["exports"][0]["name"]
        path = f"/calls/exports/{name}/again"
        refused = client.post(path, data={"csrf": form["csrf"], "reason": "x"})
        assert "say why you read them" in words(body(refused, 400))
        body(client.post(path, data={"csrf": form["csrf"], "reason": "a reason of its own"}))
        _done(client)
    told = [note["details"]["filter"].get("reason") for note in pages.noted("export")]
    assert "a reason of its own" in told


def _done(client: httpx.Client) -> str:
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        listed = body(client.get("/calls/exports"))
        if "under way" not in words(listed):
            return listed
        time.sleep(0.1)
    raise AssertionError("the export did not end in time")


def test_exports_need_their_right(pages: Pages) -> None:
    """Neither a viewer nor an analyst sees the menu, or begins one."""
    for role in ("viewer", "analyst"):
        with pages.served.client(pages.served.token_of(role)) as client:
            assert "/calls/exports" not in client.get("/calls").text
            answer = client.post("/calls/exports", data={"kind": "csv"})
            assert answer.status_code == httpx.codes.FORBIDDEN


def test_spanish_is_spoken_where_the_browser_asks_for_it(pages: Pages) -> None:
    """Words, numbers and money; a choice in the menu stays."""
    with pages.served.browser() as client:
        page = client.get("/calls", headers={"Accept-Language": "es-ES,es;q=0.9"})
        assert '<html lang="es"' in page.text
        assert "Llamadas" in words(body(page))
        assert "US$" in page.text
        form = {"csrf": csrf(page), "language": "es", "theme": "dark", "next": "/calls"}
        chosen = client.post("/preferences", data=form)
        assert '<html lang="es" data-theme="dark"' in chosen.text
        form["next"] = "//evil.example/x"
        assert str(client.post("/preferences", data=form).url).startswith(pages.served.url)
