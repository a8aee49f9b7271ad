"""Who may keep what: files for ever, what the log holds for nobody."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from fastapi.routing import APIRoute

from affidavit.console.assets import assets
from tests.support.pages import REASON, Pages, furnished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.demo.mongod import Mongod
    from tests.support.servers import GivenServer

pytestmark = pytest.mark.requirement("R13")

TILE = "/api/v1/log/tile/0/000.p/9"
MAY_BE_KEPT = (
    *("/static", "/favicon.ico"),
    *(
        "/api/v1/log/tile",
        "/api/v1/log/checkpoint",
        "/api/v1/log/vkey",
    ),  # five seconds, or for ever
)


@pytest.fixture(scope="module")
def pages(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    """One service over one small log."""
    with furnished(mongod.uri, tmp_path_factory.mktemp("caching")) as found:
        yield found


def test_what_the_log_holds_is_kept_by_nobody(pages: Pages) -> None:
    """Every page and answer, also an error, says so; whoever may see it, and whoever may not."""
    paths = {
        route.path.replace("{call_id}", pages.talk).replace("{question}", "cost")
        for route in pages.served.app.routes
        for route in getattr(getattr(route, "original_router", None), "routes", [route])
        if isinstance(route, APIRoute) and "GET" in route.methods
    }
    paths |= {f"/api/v1/calls/{pages.talk}?content=true&reason=a-case", "/nowhere", "/api/v1/none"}
    asked = [p for p in sorted(paths) if "{" not in p and not p.startswith(MAY_BE_KEPT)]
    assert len(asked) > 40
    wrong = []
    for token in (None, pages.served.token_of("viewer"), ""):
        with pages.served.client(token) as client:
            for path in asked:
                with client.stream("GET", path) as answer:
                    if "no-store" not in answer.headers.get("cache-control", ""):
                        wrong.append((path, answer.status_code, dict(answer.headers)))
    assert wrong == []
    with pages.served.client() as client:
        shown = client.post(f"/calls/{pages.talk}", data={"reason": REASON})
        assert "no-store" in shown.headers["cache-control"]
        assert "etag" not in shown.headers


def test_files_are_kept_for_ever_and_asked_for_once(pages: Pages) -> None:
    """Each form has a tag of its own, which is known again."""
    with pages.served.client("") as client:
        for asset in assets().values():
            packed = client.get(asset.url, headers={"Accept-Encoding": "gzip"})
            plain = client.get(asset.url, headers={"Accept-Encoding": "gzip;q=0"})
            assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert packed.headers["vary"] == "Accept-Encoding"
            assert packed.headers["content-encoding"] == "gzip"
            assert "content-encoding" not in plain.headers
            assert packed.content == plain.content == gzip.decompress(asset.zipped)
            assert packed.headers["etag"] != plain.headers["etag"]
            for tag in (packed.headers["etag"], f'"x", W/{plain.headers["etag"]}', "*"):
                again = client.get(asset.url, headers={"If-None-Match": tag})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["cache-control"] == packed.headers["cache-control"]
            assert client.get(asset.url, headers={"If-None-Match": '"x"'}).status_code == 200
            head = client.head(asset.url)
            assert (head.status_code, head.content) == (200, b"")
        gone = client.get("/static/000000000000/app.css")
        assert (gone.status_code, gone.headers["cache-control"]) == (404, "no-store")


def test_the_mark_is_where_browsers_look_for_it(pages: Pages) -> None:
    """Without log-in, for a day, with what keeps browsers from running anything in it."""
    with pages.served.client("") as client:
        found = client.get("/favicon.ico")
        assert found.status_code == 200
        assert found.headers["content-type"] == "image/svg+xml"
        assert found.headers["cache-control"] == "public, max-age=86400"
        assert found.headers["content-security-policy"].startswith("default-src 'self'")
        assert b"<svg" in found.content
        tag = {"If-None-Match": found.headers["etag"]}
        assert client.get("/favicon.ico", headers=tag).status_code == 304
        assert client.head("/favicon.ico").status_code == 200


def test_tiles_are_kept_for_ever_by_whoever_was_let_in(pages: Pages) -> None:
    """No cache gives them to others; the tag is of what they hold; a 304 needs the right."""
    with pages.served.client() as client:
        found = client.get(TILE)
        assert found.status_code == 200, found.text
        assert found.headers["cache-control"] == "private, max-age=31536000, immutable"
        tag = {"If-None-Match": f'"x", {found.headers["etag"]}'}
        assert client.get(TILE, headers=tag).status_code == 304
        other = client.get("/api/v1/log/tile/0/000.p/8")
        assert other.headers["etag"] != found.headers["etag"]
        missing = client.get("/api/v1/log/tile/0/999")
        assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-store")
    for token, status in (("", 401), (pages.served.token_of("viewer"), 403)):
        with pages.served.client(token) as client:
            refused = client.get(TILE, headers={"If-None-Match": "*"})
            assert (refused.status_code, refused.headers["cache-control"]) == (status, "no-store")
