"""Legal holds: records that nobody may erase for now.

A hold is a pair of ledger records, one that sets it and one that ends it; nothing is changed. The
ledger never expires, so it does not name the user or call that is held: it has a keyed hash of the
name, with the key beside it. Whoever knows the name can ask whether it is meant; the list of holds
shows no names.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from affidavit.errors import ConfigError
from affidavit.event import LedgerEvent
from affidavit.store.erasing import LedgerStore

KINDS: Final = ("user", "call", "record", "all")
_FIELDS: Final = {"user": ("user_id",), "call": ("call_id",), "record": ("_id",)}


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold that is in force."""

    id: str
    of: str
    """``user``, ``call``, ``record`` or ``all``."""
    key: bytes
    marks: frozenset[bytes]
    reason: str
    since: datetime | None
    by: Mapping[str, Any]
    """Who set it, as the ledger has it."""

    def covers(self, document: Mapping[str, Any]) -> bool:
        """Whether a stored record is held."""
        if self.of == "all":
            return True
        values = (document.get(name) for name in _FIELDS.get(self.of, ()))
        return any(_mark(self.key, str(value)) in self.marks for value in values if value)


def _mark(key: bytes, name: str) -> bytes:
    return hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")


def add(store: LedgerStore, of: str, names: Sequence[str], reason: str) -> str:
    """Set a hold on what has one of these names, all of them names of the same; give its id."""
    key = secrets.token_bytes(16)
    name = f"hold-{secrets.token_hex(6)}"
    marks = [_mark(key, each) for each in names]
    details = {"hold": name, "action": "add", "of": of, "key": key, "marks": marks}
    store.note(LedgerEvent.HOLD, {**details, "reason": reason})
    return name


def release(store: LedgerStore, name: str, reason: str) -> None:
    """End a hold. Raises ConfigError where none of that name is in force."""
    if not any(hold.id == name for hold in in_force(store.ledger(LedgerEvent.HOLD))):
        msg = f"No hold {name} is in force. `affidavit hold list` shows them."
        raise ConfigError(msg)
    store.note(LedgerEvent.HOLD, {"hold": name, "action": "release", "reason": reason})


def in_force(documents: Iterable[Mapping[str, Any]]) -> list[Hold]:
    """Read the holds that are in force from the ledger's records, oldest first."""
    held: dict[str, Hold] = {}
    for document in documents:
        details = document.get("details") or {}
        name = str(details.get("hold"))
        if details.get("action") == "release":
            held.pop(name, None)
        elif details.get("action") == "add":
            marks = frozenset(bytes(mark) for mark in details.get("marks") or ())
            since = document.get("timestamp")
            held[name] = Hold(
                id=name,
                of=str(details.get("of")),
                key=bytes(details.get("key") or b""),
                marks=marks,
                reason=str(details.get("reason") or ""),
                since=since if isinstance(since, datetime) else None,
                by=document.get("actor") or {},
            )
    return list(held.values())
