"""Retention: the one step of set-up that can remove records, and so the most careful.

Never by itself: making or shortening the period of an index over records that are older than it.
MongoDB would remove them within a minute. ``--change-ttl`` confirms that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import ExecutionTimeout

from affidavit.store.mongo.indexes import SECONDS_A_DAY, Index, of_records
from affidavit.store.planning import State, Step

if TYPE_CHECKING:
    from affidavit.store.mongo.plan import Found

KEY: Final = "ttl"
_LOOK_MS: Final = 3_000


def step(found: Found, ttl_days: int, *, confirmed: bool, asked: bool = True) -> Step:
    """Plan the TTL index on ``timestamp``.

    Where nobody ``asked`` for a period, one that we once made by order is kept: a default must not
    undo a decision.
    """
    name = found.location.names.records
    index = next(index for index in of_records(ttl_days) if index.expire_s is not None)
    wanted_s = ttl_days * SECONDS_A_DAY
    what, why = f"retention of {name}: {ttl_days} days", index.why
    held = _held(found, index)
    if held is None:
        command = index.command(name)
        if confirmed or not _would_remove(found, ttl_days):
            return found.step(KEY, what, why, State.TODO, command)
        note = (
            f"there are records older than {ttl_days} days, which it would remove; "
            "`affidavit setup --change-ttl` confirms, or set a longer ttl_days"
        )
        return found.step(KEY, what, why, State.CLASH, command, note)
    period_s = held.get("expireAfterSeconds")
    command = _change(name, held["name"], wanted_s)
    if period_s == wanted_s:
        return found.step(KEY, what, why, State.DONE, command)
    ours = found.record.get("ttl_ours") and found.record.get("ttl_s") == period_s
    if ours and not (asked or confirmed):
        return found.step(KEY, what, why, State.DONE, command, f"kept as it is, {_days(period_s)}")
    longer = period_s is not None and wanted_s > period_s
    if confirmed or (ours and (longer or not _would_remove(found, ttl_days))):
        return found.step(KEY, what, why, State.TODO, command, f"now {_days(period_s)}")
    note = (
        f"index {held['name']} says {_days(period_s)} (code 85); it is kept. "
        "The command, or `affidavit setup --change-ttl`, changes it"
    )
    return found.step(KEY, what, why, State.CLASH, command, note)


def others(found: Found, ttl_days: int) -> list[Step]:
    """Report further TTL indexes on records: the shortest of all periods decides."""
    name = found.location.names.records
    wanted_s = ttl_days * SECONDS_A_DAY
    reported = []
    for held in found.indexes.get(name, ()):
        period_s = held.get("expireAfterSeconds")
        plain = list(held["key"].items()) == [("timestamp", 1)]
        if period_s is None or plain or period_s == wanted_s:
            continue
        command = _change(name, held["name"], wanted_s)
        reported.append(
            found.step(
                f"{KEY}:{held['name']}",
                f"further retention by index {held['name']}",
                "two periods on one collection: the shorter one removes records",
                State.CLASH,
                command,
                f"it says {_days(period_s)}, ttl_days says {ttl_days}",
            )
        )
    return reported


def _held(found: Found, index: Index) -> Mapping[str, Any] | None:
    for held in found.indexes.get(found.location.names.records, ()):
        if list(held["key"].items()) == list(index.keys):
            return held
    return None


def _would_remove(found: Found, ttl_days: int) -> bool:
    name = found.location.names.records
    if name not in found.indexes:
        return False
    limit = datetime.now(UTC) - timedelta(days=ttl_days)
    try:
        older = found.location.database[name].find_one(
            {"timestamp": {"$lt": limit}}, {"_id": 1}, max_time_ms=_LOOK_MS
        )
    except ExecutionTimeout:  # no index to tell quickly: then ask rather than remove
        return True
    return older is not None


def _change(name: str, index_name: str, period_s: int) -> dict[str, Any]:
    return {"collMod": name, "index": {"name": index_name, "expireAfterSeconds": period_s}}


def _days(period_s: float | None) -> str:
    return "no expiry" if period_s is None else f"{period_s / SECONDS_A_DAY:g} days"
