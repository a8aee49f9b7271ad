"""Real MongoDB servers for the tests: one that is started, or one that is there already."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

SERVER_VARIABLE = "AFFIDAVIT_TEST_MONGODB_URI"


@dataclass(frozen=True, slots=True)
class GivenServer:
    """A server that someone else runs: it has an address, and can not be stopped or killed."""

    uri: str


def given_server() -> GivenServer | None:
    """The server named by the environment, if any."""
    uri = os.environ.get(SERVER_VARIABLE)
    return GivenServer(uri) if uri else None


def new_database_name() -> str:
    """A name that no other test, worker or run uses."""
    return f"affidavit_test_{secrets.token_hex(6)}"


@contextmanager
def fresh_database(uri: str) -> Iterator[Database[dict[str, Any]]]:
    """A database of one's own on the server, dropped afterwards with its `_audit` neighbour.

    Its client sees UTC-aware times, and is closed at the end.
    """
    from pymongo import MongoClient

    name = new_database_name()
    client: MongoClient[dict[str, Any]] = MongoClient(
        uri, tz_aware=True, serverSelectionTimeoutMS=10_000
    )
    with client:
        yield client[name]
        for dropped in (name, f"{name}_audit"):
            client.drop_database(dropped)
