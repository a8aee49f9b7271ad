"""How sealing is getting on, for ``affidavit status`` and ``affidavit doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from affidavit.event import Document
from affidavit.integrity.findings import level_of, lies_beside
from affidavit.integrity.reader import is_seal
from affidavit.sealer.intake import LOOK_BACK
from affidavit.sealer.outcome import OUTCOME
from affidavit.store.sealing import SealStore

LATE: Final = timedelta(minutes=5)
"""So long after it was sent, a leaf batch that is not sealed is a fault."""


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the log's sealing."""

    origin: str | None
    """The log's name; None where nobody has claimed the log."""
    size: int
    """Leaves in the newest checkpoint."""
    checkpoint_age_s: float | None
    sealer: Document | None
    """Which process was seen last: ``host``, ``pid``, ``program``, ``where``."""
    sealer_age_s: float | None
    lag_s: float
    """Age of the oldest leaf batch that is not sealed; 0 where all are."""
    waiting: int
    """Leaf batches that are not sealed."""
    level: str | None
    """``self-attested`` or ``separated``, as a verification judges the key; None before the first
    seal. A verification sees the whole log, and may know more from outside."""
    refused: int
    """Batches that the newest seal names as wrong."""
    verified_age_s: float | None = None
    """Since the whole log was last verified where it is sealed; None: it was not yet."""
    damage: str | None = None
    """What the newest such verification found, in words; None where nothing."""
    excuses: str | None = None
    """What it took as reasons for what is gone, that the one before had not; None where nothing."""
    odd: str | None = None
    """The newest document among the seals, where it is no seal: nothing can be sealed then."""
    beside: bool = False
    """Whether the key lies on a host that writes records: whoever holds that host can sign another
    history."""


def look(store: SealStore, now: datetime, vkey: str | None = None) -> Health:
    """Look at the log's newest seal, at marks of sealers, and at what waits. Raises StoreError.

    ``vkey`` is the key of the settings, known from outside; without one the log is self-attested.
    """
    identity, last, mark = store.identity(), store.last_seal(), store.sealer_seen()
    odd = None if last is None or is_seal(last) else ascii(last.get("_id"))[:80]
    if odd is not None:  # what it says is not taken for anything
        last = None
    by = last.get("by") if last is not None else None
    sealer, age_s = by, _age_s(last, now)
    mark_age_s = _age_s(mark, now)
    if mark is not None and mark_age_s is not None and (age_s is None or mark_age_s < age_s):
        sealer, age_s = {k: mark.get(k) for k in ("host", "pid", "program", "where")}, mark_age_s
    waiting = [] if odd is not None else _waiting(store, last)
    verified = store.newest_receipt(f"{OUTCOME}:")
    beside = isinstance(by, dict) and lies_beside(by, _hosts(store))
    pinned = vkey is not None and vkey in {
        str(each.get("vkey")) for each in (identity, last) if each
    }
    return Health(
        origin=None if identity is None else str(identity["origin"]),
        size=0 if last is None else int(last["size"]),
        checkpoint_age_s=_age_s(last, now),
        sealer=sealer,
        sealer_age_s=age_s,
        lag_s=max(0.0, (now - min(waiting)).total_seconds()) if waiting else 0.0,
        waiting=len(waiting),
        level=level_of(pinned=pinned, beside=beside).value if isinstance(by, dict) else None,
        refused=_count(last.get("refused")) if last is not None else 0,
        verified_age_s=_age_s(verified, now),
        damage=_damage(verified),
        excuses=_excuses(verified),
        odd=odd,
        beside=beside,
    )


def _waiting(store: SealStore, last: Document | None) -> list[datetime]:
    """Give when the batches were sent that are not sealed."""
    mark = last.get("mark") if last is not None else None
    since = mark - LOOK_BACK if isinstance(mark, datetime) else None
    names = {name.id: name.sent_at for name in store.batch_names(since)}
    sealed = store.sealed(list(names))
    return [sent_at for name, sent_at in names.items() if name not in sealed]


def _hosts(store: SealStore) -> set[object]:
    """Name the hosts that have written within a day, by their heartbeats."""
    return {beat.get("host") for beat in store.writers().values()}


def _damage(verified: Document | None) -> str | None:
    found = None if verified is None else verified.get("found")
    if not isinstance(found, dict) or not found:
        return None
    told = ", ".join(f"{count} {kind}" for kind, count in found.items())
    return f"{told}. First: {(verified or {}).get('first')}"


def _excuses(verified: Document | None) -> str | None:
    said = None if verified is None else verified.get("excused_by")
    return None if not isinstance(said, list) or not said else "; ".join(map(str, said))


def _count(value: object) -> int:
    return len(value) if isinstance(value, list) else 0


def _age_s(document: Document | None, now: datetime) -> float | None:
    at = document.get("at") if document is not None else None
    return max(0.0, (now - at).total_seconds()) if isinstance(at, datetime) else None


def ago(age_s: float) -> str:
    """Write an age in the unit that one would say."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if age_s >= 2 * size:
            return f"{age_s / size:.0f} {unit} ago"
    return f"{age_s:.0f} s ago"
