"""The log that the tamper campaign works on: real loggers, a real sealer, a real MongoDB.

It is recorded as over twelve days, with loggers that come and go, and sealed as it grows. Then all
of it is kept as raw documents, and put back after each act where the act has touched it. The copy
that is tampered with has plain indexes: whoever may do all this may drop the unique ones first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import time_machine
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from affidavit import AuditConfig, AuditLogger
from affidavit.anchors.attest import hold_against_anchors
from affidavit.anchors.configured import anchors_of
from affidavit.anchors.run import anchor_newest
from affidavit.canonical import CONTENT
from affidavit.canonical.values import epoch_ms
from affidavit.integrity.findings import Report
from affidavit.integrity.note import Signer
from affidavit.integrity.trust import Trust
from affidavit.integrity.verify import verify
from affidavit.lifecycle import erasure
from affidavit.sealer.keys import LogKey
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import connect_seals, open_log
from affidavit.store.erasing import Chosen
from tests.support.timestamps import Authority
from tests.support.witness import Witness

if TYPE_CHECKING:
    from pymongo.database import Database

Docs = dict[str, Any]
DAYS: Final = 12
ERASED_DAY: Final = 1
TTL_DAYS: Final = 90
SAVED_DAY: Final = 10
"""After this day the auditor saves a checkpoint; two more days come after it."""

NAMES: Final = (
    "llm_audit",
    "llm_audit_ledger",
    "llm_audit_leaf_batches",
    "llm_audit_seals",
    "llm_audit_tiles",
)
RECORDS, LEDGER, BATCHES, SEALS, TILES = NAMES
_START: Final = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)

Snapshot = dict[str, list[RawBSONDocument]]


class Log(NamedTuple):
    """A finished log: its parts, and what an auditor holds outside of it."""

    whole: Snapshot
    days: list[Snapshot]
    """The database as it was at the end of each day."""
    regrown: list[Snapshot]
    """An older day put back, after which the application and the sealer went on."""
    key: Signer
    saved: str
    ends: datetime
    config: AuditConfig
    """With the keys of a witness and of a timestamp authority, whose receipts are in the store."""


def build(database: Database[Docs], spool: Path, origin: str = "affidavit/tamper") -> Log:
    """Record and seal for some days, and once more from an older backup on."""
    key = Signer(origin)
    with Witness(key.vkey) as witness, Authority(spool / "ca") as authority:
        config = AuditConfig(
            anchor_witnesses=f"{witness.url} {witness.vkey}",
            anchor_tsa=authority.url,
            anchor_tsa_ca=str(authority.ca_file),
        )
        return _built(database, spool, key, config)


def _built(database: Database[Docs], spool: Path, key: Signer, config: AuditConfig) -> Log:
    days: list[Snapshot] = []
    saved = ""
    for day in range(DAYS):
        at = _START + timedelta(days=day)
        _record_and_seal(database, spool, key, at, 9 if day else 24)
        if day == ERASED_DAY:
            _erase(database, at + timedelta(minutes=6))
        if day >= SAVED_DAY:
            done = anchor_newest(connect_seals(database, config), anchors_of(config))
            assert [each.failure for each in done] == [None, None]
        days.append(snapshot(database))
        if day == SAVED_DAY:
            newest = database[SEALS].find_one({"items": {"$exists": True}}, sort=[("size", -1)])
            assert newest is not None
            saved = str(newest["cp"])
    ends = _START + timedelta(days=DAYS - 1, minutes=10)
    regrown = []
    for day in (3, 8):
        restore(database, days[day], NAMES)
        for later in range(4):
            _record_and_seal(database, spool, key, ends + timedelta(hours=later), 20)
        regrown.append(snapshot(database))
    return Log(days[-1], days, regrown, key, saved, ends, config)


def _record_and_seal(
    database: Database[Docs], spool: Path, key: Signer, at: datetime, calls: int
) -> None:
    config = AuditConfig(
        spool_dir=str(spool), seal="off", ttl_days=TTL_DAYS, service="tamper", auto_setup=True
    )
    with time_machine.travel(at, tick=True):
        with AuditLogger(database, config) as audit:
            for number in range(calls):
                _call(audit, number)
            audit.rate_limit_exceeded(limit_type="requests", user_id="u", current_usage={"n": 9})
            audit.security_event(kind="blocked", user_id="u", details={"at": [1, 2.5, b"\x00"]})
        seal(database, key, at + timedelta(minutes=5))


def _erase(database: Database[Docs], at: datetime) -> None:
    """Erase a user's content, and some of another's; the next day's seal holds the announcement."""
    with time_machine.travel(at, tick=True), open_log(database, AuditConfig()) as log:
        for user, groups in (("u1", CONTENT), ("u2", {"request", "response"})):
            planned = erasure.plan(log.erasing, Chosen(users=(user,)), groups)
            assert erasure.carry_out(log.erasing, planned, "on request").erased


def _call(audit: AuditLogger, number: int) -> None:
    fields = {"symbol": "BTC", "share": 0.25, "deep": {"list": [1, None, "x"]}, "n": 2**60}
    with audit.call(
        provider="p", model="m", message=f"question {number}", user_id=f"u{number % 5}",
        department="desk", session_id="s", fields=fields,
    ) as call:  # fmt: skip
        if number % 8 == 7:
            call.fail("the model did not answer")
        else:
            call.complete(
                text=f"answer {number}", input_tokens=number, output_tokens=5, cost_usd="0.0000123"
            )


def seal(database: Database[Docs], key: Signer, at: datetime) -> None:
    """Seal what is there, as a sealer at that time."""
    store = connect_seals(database, AuditConfig())
    if store.identity() is None:
        store.claim(key.name, key.vkey)
    sealer = Sealer(store, lambda: LogKey(key), where="service", clock=lambda: at)
    seal_once(sealer)


def snapshot(database: Database[Docs]) -> Snapshot:
    """Keep every document as it is."""
    raw = database.with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
    return {name: list(raw[name].find()) for name in NAMES}


def restore(database: Database[Docs], kept: Snapshot, names: Iterable[str]) -> None:
    """Put collections back to what was kept."""
    for name in names:
        database[name].delete_many({})
        if kept[name]:
            database[name].insert_many(kept[name])


def plain_copy(database: Database[Docs], log: Log) -> None:
    """Fill an empty database with the log, with indexes that forbid nothing."""
    for name in (RECORDS, LEDGER):
        database[name].create_index([("writer", 1), ("seq", 1)])
    database[BATCHES].create_index([("w", 1), ("s0", 1)])
    database[LEDGER].create_index([("event_type", 1), ("timestamp", 1)])
    restore(database, log.whole, NAMES)


def check(
    database: Database[Docs], log: Log, *, outside: bool = True, later: timedelta | None = None
) -> Report:
    """Verify, as the auditor would: with the key and the checkpoint that lie outside."""
    trust = Trust(log.key.vkey, "vkey", log.saved) if outside else Trust()
    now_ms = epoch_ms(log.ends + (later or timedelta(hours=1)))
    store = connect_seals(database, log.config)
    report = verify(store, trust, now_ms=now_ms)
    hold_against_anchors(store, log.config, report)
    return report
