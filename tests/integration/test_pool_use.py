"""How many connections of a client's pool are in use, as heartbeats tell it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from affidavit.config import AuditConfig
from affidavit.store import connect

if TYPE_CHECKING:
    from affidavit.demo.mongod import Mongod
    from tests.support.servers import GivenServer

pytestmark = pytest.mark.requirement("R24", "R25")

_SLOW = {"$expr": {"$function": {"body": "function() { sleep(1500); return true; }",
                                 "args": [], "lang": "js"}}}  # fmt: skip


def test_the_applications_own_pool_is_told_where_its_client_is_shared(
    mongod: Mongod | GivenServer, database: Any
) -> None:
    """Three of four connections wait for an answer."""
    database.orders.insert_one({})
    with MongoClient[dict[str, Any]](mongod.uri, maxPoolSize=4) as client:
        store = connect(client[database.name], AuditConfig())
        asking = [
            threading.Thread(target=client[database.name].orders.find_one, args=(_SLOW,))
            for _ in range(3)
        ]
        for thread in asking:
            thread.start()
        found = set()
        end_s = time.monotonic() + 10
        while (3, 4) not in found and time.monotonic() < end_s:
            found.add(store.pool_use())
            time.sleep(0.01)
        for thread in asking:
            thread.join()
        assert (3, 4) in found
        assert store.pool_use() == (0, 4)


def test_a_pool_without_a_bound_is_not_told(mongod: Mongod | GivenServer) -> None:
    """There is nothing that it could be a share of."""
    with MongoClient[dict[str, Any]](mongod.uri, maxPoolSize=0) as client:
        client.admin.command("ping")
        assert connect(client["wadm"], AuditConfig()).pool_use() is None
