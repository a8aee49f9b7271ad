"""Fixtures and marks for every test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from affidavit import context
from affidavit.demo.mongod import Mongod
from tests.support import results_plugin
from tests.support.servers import SERVER_VARIABLE, GivenServer, fresh_database, given_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

MARKS = (
    "requirement(*ids): the requirements that this test shows, as in requirement('R8', 'R6')",
    "browser: looks at the console with Debian's Chromium, in pages of 100,000 calls",
    "serial: runs alone, after the parallel tests: it measures time or kills servers",
    "real_model: needs the small language model of the development dependencies",
)

# A shared machine makes any deadline a coin toss; in CI a failure must repeat.
hypothesis.settings.register_profile(
    "affidavit", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True
)
hypothesis.settings.load_profile("affidavit")


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option of our own."""
    parser.addoption("--results", metavar="FILE", help="save each test's requirements and result")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks, and the collector of results where it is asked for."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    results_plugin.register(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Check the requirement marks."""
    results_plugin.attach_requirements(items)


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test has a state directory of its own, none of the user's settings, and no open call."""
    context.in_call.set(0)  # a test before may have left one open on purpose
    for name in list(os.environ):
        if name.startswith("AFFIDAVIT_") and name != SERVER_VARIABLE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def mongod() -> Iterator[Mongod | GivenServer]:
    """A MongoDB server for this worker: the one in the environment, else one that is started.

    Only its ``uri`` may be used, and nobody stops it. A test that wants to kill a server takes
    ``private_mongod``.
    """
    given = given_server()
    if given is not None:
        yield given
        return
    with Mongod.start() as server:
        yield server


@pytest.fixture(scope="session")
def replica_set() -> Iterator[Mongod]:
    """A replica set of one node for this worker: majority, transactions, change streams."""
    with Mongod.start(replica_set="rs0") as server:
        yield server


@pytest.fixture
def private_mongod() -> Iterator[Mongod]:
    """A server for one test alone, to kill, freeze and restart."""
    with Mongod.start() as server:
        yield server


@pytest.fixture
def database(mongod: Mongod | GivenServer) -> Iterator[Database[dict[str, Any]]]:
    """An empty database on the standalone server, dropped after the test."""
    with fresh_database(mongod.uri) as fresh:
        yield fresh


@pytest.fixture
def replica_database(replica_set: Mongod) -> Iterator[Database[dict[str, Any]]]:
    """An empty database on the replica set, dropped after the test."""
    with fresh_database(replica_set.uri) as fresh:
        yield fresh


@pytest.fixture
def mongodb_uri(mongod: Mongod | GivenServer, database: Database[dict[str, Any]]) -> str:
    """The URI of the test's own database, as an application would write it."""
    return with_database(mongod.uri, database.name)


def with_database(uri: str, name: str) -> str:
    """The URI with ``name`` as its default database; a login stays valid where it was defined."""
    before, mark, options = uri.partition("?")
    scheme, _, rest = before.partition("://")
    hosts = rest.partition("/")[0]
    if "@" in hosts and "authSource=" not in options:
        options = "&".join(filter(None, [options, "authSource=admin"]))
        mark = "?"
    return f"{scheme}://{hosts}/{name}{mark}{options}"
