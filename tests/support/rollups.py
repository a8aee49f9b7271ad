"""Sealing what lies in a database, whatever it is, and folding it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from affidavit import canonical
from affidavit.analytics.keeper import Keeper
from affidavit.config import AuditConfig
from affidavit.integrity.leaves import FIRST, build
from affidavit.integrity.note import Signer
from affidavit.sealer.run import seal_once
from affidavit.store import open_log
from tests.support.sealing import sealer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pymongo.database import Database

    from affidavit.store.mongo.log import MongoLog

    Log = Database[dict[str, Any]]

_SIGNERS: dict[str, Signer] = {}


def set_up(database: Log, **settings: Any) -> MongoLog:
    """A log that is set up, and keeps its records for long."""
    chosen = {"ttl_days": 20_000, "reporting_timezone": "Europe/Madrid", **settings}
    log = open_log(database, AuditConfig(**chosen))
    log.apply(log.plan())
    return log


def send_leaves(database: Log, most: int = 100, name: str = "llm_audit") -> None:
    """Leave a batch for each run of numbers that has none; leaves are drawn, nobody checks them."""
    batches = database[f"{name}_leaf_batches"]
    known = {
        (batch["w"], seq)
        for batch in batches.find()
        for seq in range(batch["s0"], batch["s0"] + batch["n"])
    }
    stored = database[name].find(
        {"seq": {"$exists": True}}, {"writer": 1, "seq": 1, "timestamp": 1}
    )
    new = sorted(
        ((d["writer"], d["seq"], d["timestamp"]) for d in stored
         if (d["writer"], d["seq"]) not in known),
        key=lambda each: each[:2],
    )  # fmt: skip
    for run in _runs(new, most):
        writer, first, _ = run[0]
        signer = _SIGNERS.setdefault(writer, Signer(writer))
        times = [canonical.epoch_ms(at.replace(tzinfo=UTC)) for _, _, at in run]
        made = build(
            writer, first, os.urandom(32 * len(run)), times, bytes(len(run)), FIRST, signer
        )
        batches.insert_one({**made.as_document(), "sent_at": datetime.now(UTC)})


def _runs(
    numbers: Iterable[tuple[str, int, datetime]], most: int
) -> Iterator[list[tuple[str, int, datetime]]]:
    run: list[tuple[str, int, datetime]] = []
    for each in numbers:
        if run and (each[0] != run[-1][0] or each[1] != run[-1][1] + 1 or len(run) == most):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def keeper(log: MongoLog, **more: Any) -> Keeper:
    """A keeper of a log's rollups."""
    return Keeper(log.seals, log.rollups, **more)


def fold(log: MongoLog, database: Log, *, most: int = 100) -> int:
    """Seal and fold everything that is stored; returns how many calls were folded."""
    send_leaves(database, most)
    seal_once(sealer_of(log.seals))
    return keeper(log).catch_up()


def cells(database: Log, side: str = "a") -> dict[str, dict[str, Any]]:
    """Every cell by its id, as it is stored."""
    return {cell["_id"]: cell for cell in database[f"llm_audit_rollups_{side}"].find()}
