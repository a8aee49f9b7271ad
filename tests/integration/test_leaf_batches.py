"""Every stored record has one signed leaf, whatever way it went to the database."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import bson
import pytest

from affidavit import AuditConfig, AuditLogger, canonical
from affidavit.cli import run
from affidavit.event import Dest
from affidavit.integrity.leaves import check, from_document
from affidavit.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pymongo.database import Database

Docs = dict[str, Any]
MODES = {
    "direct": AuditConfig(),
    "batch": AuditConfig(batch_writes=True, flush_interval=0.3),
    "async": AuditConfig(async_writes=True),
    "high_volume": AuditConfig(batch_writes=True, async_writes=True, flush_interval=0.3),
}


def one_call(audit: AuditLogger, text: str = "answer") -> None:
    """Record one call, with a field of every kind."""
    fields = {"symbol": "BTC", "share": 0.25, "großes": ["~x", None, {"deep": 1.5}], "n": 2**60}
    with audit.call(provider="p", model="m", message="hello", user_id="u", fields=fields) as call:
        call.complete(text=text, input_tokens=3, output_tokens=5, cost_usd="0.0000123")


def leaves(batches: Iterable[Docs]) -> dict[tuple[str, int], bytes]:
    """Leaf by writer and number; each batch is checked, and no number may come twice."""
    found: dict[tuple[str, int], bytes] = {}
    for document in batches:
        plain = {name: value for name, value in document.items() if name != "sent_at"}
        batch = from_document(plain)
        check(batch)
        for place in range(batch.n):
            key = (batch.w, batch.s0 + place)
            assert key not in found
            found[key] = batch.h[32 * place : 32 * place + 32]
    return found


def proved(records: Iterable[Docs], ledger: Iterable[Docs]) -> dict[tuple[str, int], bytes]:
    """Leaf by writer and number, made again from what is stored."""
    return {
        (document["writer"], document["seq"]): canonical.leaf_hash(entry)
        for dest, documents in (("records", records), ("ledger", ledger))
        for document in documents
        if (entry := canonical.entry_of(document, dest)) is not None
    }


@pytest.mark.requirement("R20", "R21")
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("mode", MODES)
def test_each_stored_record_has_its_leaf(
    mode: str, compress: bool, mongodb_uri: str, database: Database[Docs]
) -> None:
    """The entry made again from what MongoDB gives back has the very hash that was signed."""
    if compress:  # blocks that do not compress by themselves, so that fields are
        database.create_collection(
            "llm_audit", storageEngine={"wiredTiger": {"configString": "block_compressor=snappy"}}
        )
    with AuditLogger(mongodb_uri, MODES[mode], compress_large_fields=compress) as audit:
        threads = [
            threading.Thread(target=lambda: [one_call(audit, "long " * 2000) for _ in range(15)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        audit.security_event(kind="attack", user_id="u", details={"at": [1, 2.5, b"\x00"]})
    made = proved(
        database.llm_audit.find(),
        database.llm_audit_ledger.find({"event_type": {"$regex": "^writer"}}),
    )
    assert len(made) == 60 * 2 + 1 + 2  # and the writer's start and stop
    for _ in range(40):
        signed = leaves(database.llm_audit_leaf_batches.find())
        if signed.items() >= made.items():
            break
        # A slow close leaves batches in the spool; the next process brings them.
        with AuditLogger(mongodb_uri):
            time.sleep(0.5)
    assert signed.items() >= made.items()


@pytest.mark.requirement("R20", "R6")
def test_leaves_wait_in_the_spool_with_their_records(tmp_path: Path) -> None:
    """What is replayed, in this process or by the next one, brings the leaves it had at first."""
    store = MemoryStore("memory:leaves")
    config = AuditConfig(spool_dir=str(tmp_path), write_timeout=0.2)
    with AuditLogger(store, config) as audit:
        one_call(audit)
        store.unavailable = True
        for _ in range(20):
            one_call(audit)
    assert not store.leaf_batches or len(leaves(store.leaf_batches.values())) < 42
    store.unavailable = False
    with AuditLogger(store, config) as audit:
        one_call(audit)
        assert audit.flush(20)
        deadline = threading.Event()
        for _ in range(100):
            if len(store.documents()) == 44:
                break
            deadline.wait(0.1)
    signed = leaves(store.leaf_batches.values())
    made = proved(store.documents(), store.documents(Dest.LEDGER))
    assert len(made) >= 44 + 3
    assert signed == made


@pytest.mark.requirement("R20", "R6")
def test_records_do_not_wait_for_a_place_for_their_leaves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An older set-up that has no room or no right for leaf batches still takes records."""
    from affidavit.errors import StoreRefused

    class Older(MemoryStore):
        def append_leaves(self, batches: object, timeout_s: float) -> None:
            raise StoreRefused("MongoDB refuses the operation (code 13, Unauthorized).")

    store = Older("memory:older")
    with AuditLogger(store, spool_dir=str(tmp_path)) as audit:
        one_call(audit)
        assert audit.flush(10)
    with AuditLogger(store, spool_dir=str(tmp_path)) as audit:
        one_call(audit)
    assert len(store.documents()) == 4
    assert "affidavit setup" in caplog.text
    assert not list(tmp_path.glob("*/*.db"))


@pytest.mark.requirement("R20")
def test_a_batch_of_leaves_has_no_hole(tmp_path: Path) -> None:
    """Numbers of one batch follow each other; the batches of a writer name the one before."""
    store = MemoryStore("memory:chain")
    with AuditLogger(store, MODES["high_volume"], spool_dir=str(tmp_path)) as audit:
        for _ in range(1500):
            one_call(audit)
    batches = sorted(
        (
            from_document({k: v for k, v in d.items() if k != "sent_at"})
            for d in store.leaf_batches.values()
        ),
        key=lambda batch: batch.s0,
    )
    assert [b.s0 for b in batches[1:]] == [b.s0 + b.n for b in batches[:-1]]
    assert [b.prev for b in batches[1:]] == [b.digest for b in batches[:-1]]
    assert max(batch.n for batch in batches) <= 1000
    assert len(bson.encode({"h": batches[0].h})) > 32


@pytest.mark.requirement("R20")
def test_what_a_command_notes_in_the_ledger_has_its_leaf_too(
    mongodb_uri: str, database: Database[Docs], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Set-up and each reading leave a ledger record, signed by a key of that command."""
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", mongodb_uri)
    monkeypatch.chdir(tmp_path)
    assert run(["setup"]) == 0
    assert run(["tail", "--json"]) == 0
    made = proved([], database.llm_audit_ledger.find())
    assert len(made) == 2
    assert leaves(database.llm_audit_leaf_batches.find()) == made
