"""A record that is nested deeper than MongoDB takes stops nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson.objectid import ObjectId

from affidavit import AuditLogger
from affidavit.config import AuditConfig
from affidavit.event import Dest
from affidavit.store import connect
from affidavit.store.base import Encoded, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

pytestmark = pytest.mark.requirement("R8", "R9")


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = "the innermost"
    for _ in range(depth):
        value = [value]
    return value


def test_a_deep_conversation_is_cut_and_stored(
    database: Database[dict[str, Any]], mongodb_uri: str, tmp_path: Path
) -> None:
    """It is marked, and the record behind it is stored too."""
    with AuditLogger(mongodb_uri, spool_dir=str(tmp_path), seal="off") as audit:
        for depth in (1, 200, 400):
            with audit.call(
                provider="p", message="m", messages=[nested(depth)], parameters={"a": nested(depth)}
            ) as call:
                call.complete(text="answer", tool_calls=[{"deep": nested(depth)}])
        assert audit.flush(20)
        assert audit.stats().dead_lettered == 0
    odd = [record.get("odd") for record in database["llm_audit"].find().sort("seq", 1)]
    assert odd == [None, None, *[["too_deep"]] * 4]


def test_a_document_that_the_server_cannot_read_is_refused_alone(
    database: Database[dict[str, Any]],
) -> None:
    """Its neighbours in the batch are stored."""
    store = connect(database, AuditConfig())
    store.prepare(10)
    batch = []
    for seq, depth in ((1, 1), (2, 300), (3, 1)):
        record_id = ObjectId()
        body = {"_id": record_id, "event_type": "annotation", "x": nested(depth)}
        batch.append(Encoded(Dest.RECORDS, record_id.binary, seq, bson.encode(body)))
    outcomes = [verdict.outcome for verdict in store.append(batch, 10)]
    assert outcomes == [Outcome.STORED, Outcome.REJECTED, Outcome.STORED]
    assert [verdict.outcome for verdict in store.append(batch[1:2], 10)] == [Outcome.REJECTED]
