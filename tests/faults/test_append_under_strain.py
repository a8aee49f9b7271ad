"""The store's write side when a batch is sent again, and when the line is slow."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson.objectid import ObjectId
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from affidavit import AuditConfig
from affidavit.errors import StoreUnavailable
from affidavit.event import Dest
from affidavit.store import connect
from affidavit.store.base import STORED, Encoded, Outcome
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from pymongo.database import Database
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    from affidavit.demo.mongod import Mongod
    from tests.support.servers import GivenServer


class Finds(CommandListener):
    """Counts the questions."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: CommandStartedEvent) -> None:
        """Count a question for records."""
        self.count += event.command_name == "find" and event.command["find"] == "llm_audit"

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Not of interest."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Not of interest."""


def record(seq: int, dest: Dest = Dest.RECORDS, writer: str = "strain", **more: Any) -> Encoded:
    """A valid record."""
    identity = ObjectId()
    kind = "security_event" if dest is Dest.RECORDS else "writer_start"
    document = {
        "_id": identity,
        "event_type": kind,
        "timestamp": bson.datetime_ms.DatetimeMS(seq),
        "schema_version": 1,
        "writer": writer,
        "seq": seq,
        **more,
    }
    return Encoded(dest, identity.binary, seq, bson.encode(document))


@pytest.mark.requirement("R6")
def test_a_batch_sent_again_is_compared_with_a_handful_of_questions(
    mongod: Mongod | GivenServer, database: Database[dict[str, Any]]
) -> None:
    """After an outage whole batches may be there already; one question each would take too long."""
    finds = Finds()
    client: MongoClient[dict[str, Any]] = MongoClient(mongod.uri, event_listeners=[finds])
    with client, contextlib.closing(connect(client[database.name], AuditConfig())) as store:
        store.prepare(10)
        batch = [record(seq) for seq in range(600)]
        assert store.append(batch[:500], 10) == [STORED] * 500
        other = Encoded(Dest.RECORDS, batch[3].record_id, 3, record(3, writer="x").body)
        forged = bson.decode(other.body) | {"_id": ObjectId(batch[3].record_id)}
        same_id = Encoded(Dest.RECORDS, batch[3].record_id, 3, bson.encode(forged))
        same_seq = record(5)
        finds.count = 0
        verdicts = store.append([*batch, same_id, same_seq], 10)
    assert verdicts[:600] == [STORED] * 600
    assert [(v.outcome, v.reason) for v in verdicts[600:]] == [
        (Outcome.REJECTED, "id_conflict"),
        (Outcome.REJECTED, "seq_conflict"),
    ]
    assert finds.count <= 3
    assert database["llm_audit"].count_documents({}) == 600


@pytest.mark.requirement("R6")
@pytest.mark.serial
def test_a_batch_for_two_collections_takes_one_timeout_in_all(private_mongod: Mongod) -> None:
    """Records and ledger records of one batch share the time, as their caller does."""
    line = Proxy(private_mongod.port)
    uri = f"mongodb://127.0.0.1:{line.port}/strain"
    with line, contextlib.closing(connect(uri, AuditConfig())) as store:
        store.prepare(20)
        store.append([record(0), record(1, Dest.LEDGER)], 5)
        line.delay(0.4, "down")
        started_s = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.append(
                [record(2), record(3), record(4, Dest.LEDGER), record(5, Dest.LEDGER)], 0.6
            )
        took_s = time.monotonic() - started_s
        line.heal()
    assert took_s < 0.75
