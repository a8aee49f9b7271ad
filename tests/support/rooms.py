"""A small sealed log with two departments and hostile names, for the pages of the console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affidavit import AuditConfig, AuditLogger
from affidavit.integrity.note import Signer
from affidavit.sealer.keys import LogKey
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import connect_seals

if TYPE_CHECKING:
    from pathlib import Path

    from pymongo.database import Database

HOSTILE = '<script>alert(1)</script>\x1b[31m\u202e"=cmd|x'
"""A name with markup, a terminal's escape, an override of direction, and a formula."""

SECRET = "what was said and nobody may see in a list"


@dataclass(frozen=True)
class Room:
    """What the log holds."""

    calls: dict[str, list[str]]
    """Ids of calls by department."""
    key: Signer
    checkpoint: str


def sealed(database: Database[dict[str, Any]], key: Signer) -> str:
    """Seal what there is; give the newest checkpoint."""
    store = connect_seals(database, AuditConfig())
    if store.identity() is None:
        store.claim(key.name, key.vkey)
    seal_once(Sealer(store, lambda: LogKey(key), where="service"))
    last = store.last_seal()
    assert last is not None
    return str(last["cp"])


def furnish(database: Database[dict[str, Any]], folder: Path) -> Room:
    """Record calls of two departments, some without a price, and seal them."""
    calls: dict[str, list[str]] = {"research": [], "sales": []}
    people = {"research": ["ana", HOSTILE], "sales": ["bob"]}
    with AuditLogger(database, seal="off", spool_dir=str(folder / "spool")) as audit:
        for department, users in people.items():
            for number in range(6):
                with audit.call(
                    provider="openai" if number % 2 else "anthropic",
                    model="m-small" if number % 3 else HOSTILE,
                    message=SECRET,
                    user_id=users[number % len(users)],
                    department=department,
                    tenant="acme",
                ) as call:
                    cost = None if number == 5 else f"0.{number + 1:03d}"
                    call.complete(text=SECRET, input_tokens=100, output_tokens=20, cost_usd=cost)
                calls[department].append(str(call.call_id))
        audit.flush(10)
    key = Signer("affidavit/rooms")
    return Room(calls, key, sealed(database, key))
