"""The contract of a store, for each implementation."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson.objectid import ObjectId

from affidavit.config import AuditConfig
from affidavit.event import CALL_UNCHECKED, Dest
from affidavit.store import Store, connect, seals_beside
from affidavit.store.base import Encoded, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requirement("R2", "R6", "R8")

WRITER = "contract0001"


@pytest.fixture(params=["memory", "mongodb", "replica set"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each kind of store, empty and prepared."""
    if request.param == "memory":
        opened = connect(f"memory:{request.node.nodeid}", AuditConfig())
    else:
        fixture = "database" if request.param == "mongodb" else "replica_database"
        opened = connect(request.getfixturevalue(fixture), AuditConfig())
    opened.prepare(30)
    yield opened
    opened.close()


def record(seq: int, dest: Dest = Dest.RECORDS, **more: Any) -> Encoded:
    """A small valid record."""
    identity = ObjectId()
    document: dict[str, Any] = {
        "_id": identity,
        "event_type": "annotation" if dest is Dest.RECORDS else "writer_start",
        "timestamp": bson.datetime_ms.DatetimeMS(1_800_000_000_000 + seq),
        "user_id": "u",
        "schema_version": 1,
        "details": {},
        "writer": WRITER,
        "seq": seq,
        **more,
    }
    return Encoded(dest, identity.binary, seq, bson.encode(document))


def outcomes(store: Store, batch: list[Encoded]) -> list[str]:
    """Append, and say what became of each in words."""
    return [
        v.reason if v.outcome is Outcome.REJECTED else "stored" for v in store.append(batch, 10)
    ]


def test_what_is_appended_is_present(store: Store) -> None:
    """One, many, and both destinations."""
    assert outcomes(store, [record(0)]) == ["stored"]
    mixed = [record(1), record(2, Dest.LEDGER), record(3)]
    assert outcomes(store, mixed) == ["stored"] * 3
    assert store.present(WRITER, Dest.RECORDS, 0, 10) == {0, 1, 3}
    assert store.present(WRITER, Dest.RECORDS, 2, 10) == {3}
    assert store.present(WRITER, Dest.LEDGER, 0, 10) == {2}
    assert store.present("somebody", Dest.RECORDS, 0, 10) == set()


def test_appending_again_changes_nothing(store: Store) -> None:
    """A replay after an answer that never came is harmless, alone or in a batch."""
    batch = [record(n) for n in range(5)]
    assert outcomes(store, batch) == ["stored"] * 5
    assert outcomes(store, [*batch, record(9)]) == ["stored"] * 6
    assert outcomes(store, batch[:1]) == ["stored"]
    assert len(store.present(WRITER, Dest.RECORDS, 0, 10)) == 6


def test_the_same_id_with_other_content_is_a_conflict(store: Store) -> None:
    """Nothing is overwritten."""
    first = record(0)
    store.append([first], 10)
    document = bson.decode(first.body) | {"user_id": "other"}
    forged = first._replace(body=bson.encode(document))
    assert outcomes(store, [forged]) == ["id_conflict"]
    assert outcomes(store, [record(1), forged]) == ["stored", "id_conflict"]
    assert outcomes(store, [first]) == ["stored"]


def call_of(seq: int, department: str, tenant: str | None = None) -> tuple[Encoded, ObjectId]:
    """The intent of a call, and its id."""
    identity = ObjectId()
    who = {"department": department} | ({} if tenant is None else {"tenant": tenant})
    more = {"event_type": "llm_request", "status": "initiated", "call_id": str(identity), **who}
    intent = record(seq, **more, request_data={})
    body = bson.encode(bson.decode(intent.body) | {"_id": identity})
    return Encoded(Dest.RECORDS, identity.binary, seq, body), identity


def unchecked(seq: int, call: ObjectId, **who: str) -> Encoded:
    """An outcome as the service makes it while it cannot tell whose the call is."""
    plain = bson.decode(record(seq, event_type="llm_response", status="completed").body)
    identity = plain.pop("_id")
    marked = {"_id": identity, CALL_UNCHECKED: True, **plain, "call_id": str(call), **who}
    return Encoded(Dest.RECORDS, identity.binary, seq, bson.encode(marked))


@pytest.mark.requirement("R9")
def test_an_unchecked_outcome_of_another_s_call_is_refused(store: Store) -> None:
    """Alone, in a batch with others, behind a refused intent; its own call's is stored."""
    theirs, call = call_of(0, "research", "north")
    assert outcomes(store, [theirs]) == ["stored"]
    planted = unchecked(1, call, department="sales", tenant="north")
    assert outcomes(store, [planted]) == ["call_conflict"]
    other_tenant = unchecked(2, call, department="research")
    intent = theirs._replace(seq=3, body=bson.encode(bson.decode(theirs.body) | {"seq": 3}))
    mine, own = call_of(4, "sales")
    honest = unchecked(5, own, department="sales")
    batch = [record(6), intent, planted, mine, honest, other_tenant, record(7, Dest.LEDGER)]
    assert outcomes(store, batch) == [
        *("stored", "id_conflict", "call_conflict", "stored", "stored", "call_conflict", "stored")
    ]
    assert outcomes(store, [honest]) == ["stored"]
    assert outcomes(store, [unchecked(8, call, department="research", tenant="north")]) == [
        "stored"
    ]
    assert store.present(WRITER, Dest.RECORDS, 0, 10) == {0, 4, 5, 6, 8}


@pytest.mark.requirement("R9")
def test_an_unchecked_outcome_that_is_stored_is_found_again(store: Store) -> None:
    """Its call came later, and is another's: what is stored does not become a dead letter too."""
    theirs, call = call_of(0, "research")
    early = unchecked(1, call, department="sales")
    assert outcomes(store, [early]) == ["stored"]
    assert outcomes(store, [theirs]) == ["stored"]
    assert outcomes(store, [early]) == ["stored"]
    assert outcomes(store, [record(2), early]) == ["stored"] * 2


def test_a_number_is_used_once(store: Store) -> None:
    """Two records under one (writer, seq) are refused by the store itself."""
    assert outcomes(store, [record(0)]) == ["stored"]
    assert outcomes(store, [record(0)]) == ["seq_conflict"]
    assert outcomes(store, [record(1), record(0), record(2)]) == [
        "stored",
        "seq_conflict",
        "stored",
    ]


def test_one_refused_record_does_not_hold_up_the_others(store: Store) -> None:
    """Each record has a verdict of its own, in order."""
    store.append([record(5)], 10)
    batch = [record(n) for n in (4, 5, 6, 5, 7)]
    assert outcomes(store, batch) == [
        "stored",
        "seq_conflict",
        "stored",
        "seq_conflict",
        "stored",
    ]


def test_many_threads_may_append_at_once(store: Store) -> None:
    """Eight threads, nothing lost."""

    def append(start: int) -> None:
        for n in range(start, start + 20):
            assert outcomes(store, [record(n)]) == ["stored"]

    threads = [threading.Thread(target=append, args=(n * 100,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.present(WRITER, Dest.RECORDS, 0, 10)) == 160


def test_a_heartbeat_is_kept(store: Store) -> None:
    """It needs no number; the newest one is what is known of its writer."""
    now = datetime.now(UTC)
    for state, at in (("running", now), ("stopped", now + timedelta(seconds=1))):
        beat = {"_id": ObjectId(), "writer": WRITER, "state": state, "at": at}
        store.heartbeat(bson.encode(beat), 10)
    seals = seals_beside(store)
    assert seals is not None
    assert seals.writers()[WRITER]["state"] == "stopped"


def test_calls_without_an_outcome_are_found(store: Store) -> None:
    """Only those in the time asked for, and neither ended nor flagged."""
    ids = [f"{n:024x}" for n in range(4)]
    intents = [record(n, event_type="llm_request", call_id=ids[n]) for n in range(4)]
    ended = record(10, event_type="llm_response", call_id=ids[1])
    flagged = record(11, call_id=ids[2], kind="no_outcome")
    assert outcomes(store, [*intents, ended, flagged]) == ["stored"] * 6
    start = 1_800_000_000_000
    assert store.open_intents(start, start + 100, 10, 10) == [ids[0], ids[3]]
    assert store.open_intents(start, start + 100, 1, 10) == [ids[0]]
    assert store.open_intents(start + 1, start + 3, 10, 10) == []


def test_preparing_again_is_harmless(store: Store) -> None:
    """Every worker of an application prepares at its start."""
    store.prepare(30)
    store.prepare(30)
    assert outcomes(store, [record(1)]) == ["stored"]


def test_the_dataset_has_a_name_without_secrets(store: Store) -> None:
    """It names the place, for the folder of the spool."""
    assert store.dataset
    assert "@" not in store.dataset


def test_a_store_knows_its_own_name_and_no_other(store: Store) -> None:
    """Spools under the one are taken over, those of another collection or host are not."""
    assert store.is_same_log(store.dataset)
    assert not store.is_same_log(f"{store.dataset}_other")
    assert not store.is_same_log("elsewhere:1/wadm.llm_audit")
