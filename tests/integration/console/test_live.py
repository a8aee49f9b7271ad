"""A stream of events ends with what let its reader in."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.console.auth import doorman
from affidavit.console.pages import overview
from affidavit.console.visitor import Role
from tests.conftest import with_database
from tests.support.console import Served, serving
from tests.support.servers import GivenServer, fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from affidavit.demo.mongod import Mongod

pytestmark = pytest.mark.requirement("R13")


@pytest.fixture(scope="module")
def served(
    mongod: Mongod | GivenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One service for all of these."""
    with (
        fresh_database(mongod.uri) as database,
        serving(
            with_database(mongod.uri, database.name),
            audit={"spool_dir": str(tmp_path_factory.mktemp("live"))},
        ) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds as tenths of them, to wait less."""
    monkeypatch.setattr(overview, "EVERY_S", 0.1)
    monkeypatch.setattr(overview, "LOOK_AGAIN_S", 0.2)
    monkeypatch.setattr(doorman, "REMEMBERED_S", 0.2)


@contextmanager
def reading(client: httpx.Client) -> Iterator[Iterator[str]]:
    """Read a stream from its first event on."""
    with client.stream("GET", "/live?last=1h") as stream:
        lines = stream.iter_lines()
        for line in lines:
            if line.startswith("event: figures"):
                break
        yield lines


def ends(lines: Iterator[str], within_s: float = 10.0) -> bool:
    """Whether a stream ends soon."""
    until_s = time.monotonic() + within_s
    return all(time.monotonic() < until_s for _ in lines)


def kept(served: Served, token: str) -> tuple[str, Any]:
    """The id of a token, and where the service keeps it, for an act of another instance."""
    log = served.backend.log
    return f"token:{token.split('_')[1]}", log.location.database[log.location.names.service]


def test_a_stream_goes_on_while_its_token_works(served: Served) -> None:
    """The plain case: it is looked at again, many times, and goes on."""
    with served.client() as client, reading(client) as lines:
        assert not ends(lines, 2.0)


@pytest.mark.parametrize("how", ["ended", "ended elsewhere", "expired", "role", "scope", "gone"])
def test_a_stream_ends_with_its_token(served: Served, how: str) -> None:
    """Ended here or by another instance, over, or of another role or scope by now."""
    token = served.token_of(Role.VIEWER)
    name, collection = kept(served, token)
    now = datetime.now(UTC)
    changes: dict[str, dict[str, Any]] = {
        "ended elsewhere": {"ended_at": now, "ended_by": "another"},
        "expired": {"ends_at": now - timedelta(seconds=1)},
        "role": {"role": "writer"},
        "scope": {"scope": {"departments": ["research"]}},
    }
    with served.client(token) as client, reading(client) as lines:
        if how == "ended":
            with served.client() as admin:
                assert admin.delete(f"/api/v1/tokens/{name.partition(':')[2]}").is_success
        elif how == "gone":
            collection.delete_one({"_id": name})
        else:
            collection.update_one({"_id": name}, {"$set": changes[how]})
        assert ends(lines)
    assert served.backend.doorman.attempts.wait_s("127.0.0.1") == 0


@pytest.mark.parametrize("how", ["log-out", "its token", "expired", "role"])
def test_a_stream_ends_with_its_session(served: Served, how: str) -> None:
    """By whoever reads, by an administrator, by time, or when the role is another."""
    token = served.token_of(Role.VIEWER)
    name, collection = kept(served, token)
    with served.browser(token) as browser:
        cookie = browser.cookies[served.backend.doorman.cookie]
        with reading(browser) as lines:
            found = served.backend.doorman.sessions.find(cookie)
            assert found is not None
            if how == "log-out":
                served.backend.doorman.sessions.end(cookie)
            elif how == "its token":
                with served.client() as admin:
                    assert admin.delete(f"/api/v1/tokens/{name.partition(':')[2]}").is_success
            else:
                over = {"until": datetime.now(UTC) - timedelta(seconds=1)}
                change = over if how == "expired" else {"role": "writer"}
                collection.update_one({"_id": f"session:{found.hash}"}, {"$set": change})
            assert ends(lines)


def test_a_stream_that_is_left_open_is_no_use_of_a_session(served: Served) -> None:
    """Who has gone home with the page open is logged out at the end of the idle time."""
    with served.browser(served.token_of(Role.VIEWER)) as browser:
        cookie = browser.cookies[served.backend.doorman.cookie]
        found = served.backend.doorman.sessions.find(cookie)
        assert found is not None
        _, collection = kept(served, served.token)
        old = datetime.now(UTC) - timedelta(minutes=30)
        where = {"_id": f"session:{found.hash}"}
        collection.update_one(where, {"$set": {"seen_at": old}})
        time.sleep(0.3)  # what is remembered of the session is forgotten
        with reading(browser):
            pass  # a stream ends after some minutes, and the browser opens the next one
        with reading(browser) as lines:
            assert not ends(lines, 1.0)
            assert abs(collection.find_one(where)["seen_at"] - old) < timedelta(seconds=1)
            collection.update_one(where, {"$set": {"seen_at": old - timedelta(minutes=31)}})
            assert ends(lines)
