"""How the anchors are getting on, for ``affidavit status`` and ``affidavit doctor``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from affidavit.anchors.base import Anchor
from affidavit.anchors.run import FAILURE, newest_of
from affidavit.event import Document
from affidavit.integrity.reader import size_of
from affidavit.sealer.health import ago
from affidavit.store.sealing import SealStore

LATE: Final = 3
"""So many intervals without a receipt are a fault."""


@dataclass(frozen=True, slots=True)
class AnchorState:
    """One anchor that is configured here."""

    anchor: str
    kind: str
    size: int | None
    """Leaves of the newest receipt; None without one."""
    age_s: float | None
    failure: str | None
    """Why the last try failed; None where it did not."""
    failure_age_s: float | None
    shrunk: bool
    """Whether the log is now smaller than the receipt says."""
    late: bool
    """Whether the newest receipt is too old, or there is none after so long."""

    @property
    def wrong(self) -> bool:
        """Whether something needs doing."""
        return self.failure is not None or self.shrunk or self.late


def look(
    store: SealStore, anchors: Iterable[Anchor], every_s: float, now: datetime
) -> list[AnchorState]:
    """Look at the newest receipt and failure of each anchor. Raises StoreError."""
    last = store.last_seal()
    size = 0 if last is None else size_of(last.get("size"))
    return [_state(store, each, size, every_s, now) for each in anchors]


def _state(
    store: SealStore, anchor: Anchor, size: int, every_s: float, now: datetime
) -> AnchorState:
    receipt, failure = newest_of(store, anchor), newest_of(store, anchor, FAILURE)
    age_s, failure_age_s = _age_s(receipt, now), _age_s(failure, now)
    failed = failure_age_s is not None and (age_s is None or failure_age_s < age_s)
    size_then = None if receipt is None else receipt.get("size")
    anchored = size_then if isinstance(size_then, int) else None  # whatever stands there
    return AnchorState(
        anchor=anchor.name,
        kind=anchor.kind,
        size=anchored,
        age_s=age_s,
        failure=str(failure.get("text")) if failure is not None and failed else None,
        failure_age_s=failure_age_s if failed else None,
        shrunk=anchored is not None and anchored > size,
        late=age_s is not None and age_s > LATE * every_s,
    )


def _age_s(document: Document | None, now: datetime) -> float | None:
    at = document.get("at") if document is not None else None
    return max(0.0, (now - at).total_seconds()) if isinstance(at, datetime) else None


def words(state: AnchorState) -> str:
    """Say what the newest receipt shows, how old it is, and what went wrong since."""
    if state.size is None or state.age_s is None:
        parts = ["no receipt yet"]
    else:
        parts = [f"{state.size} leaves {ago(state.age_s)}"]
    if state.shrunk:
        parts.append("the log has FEWER leaves now: it was rolled back or cut off")
    if state.failure is not None:
        parts.append(f"FAILED {ago(state.failure_age_s or 0.0)}: {state.failure}")
    elif state.late:
        parts.append("too long ago: does a sealer run with these settings?")
    return "; ".join(parts)
