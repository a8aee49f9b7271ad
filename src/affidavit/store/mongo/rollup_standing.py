"""How far a log and its rollups are at a moment: what all plans of that moment are made from.

None of it depends on what is asked, so the questions of one page are planned from one look, and
their answers are of one moment: the cells at one serial number, and what was not in them then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from affidavit.event import EPOCH, LedgerEvent
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.mongo.rollup_cells import Cells
from affidavit.store.mongo.rollup_tail import Run, Tail

SENT_WITHIN: Final = timedelta(seconds=2)
"""In which a writer sends the leaf batch of a record; what is older is in the answer."""

BUSY: Final = "Calls are being added to the rollups at this moment."

SMALL = 20_000
"""Documents up to which the records are asked: they are added up as quickly, to the last second."""

Ends: TypeAlias = "tuple[datetime, datetime] | None"
"""The first and the last time in a slot; None where it is empty."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The side that answers, and what is not in its cells."""

    side: str
    zone: str
    serial: int
    """Of the last group that was added to the cells."""
    floor: datetime | None
    """Nothing from before is in the cells."""
    as_of: datetime
    tail: tuple[Run, ...]
    """Records that are not in the cells yet."""
    old_from: datetime | None
    """From when on there may be documents of older loggers; None where set-up found none."""
    ends: dict[tuple[str, datetime], Ends] = field(default_factory=dict)
    """What was read of the slots at the ends of spans, by shape and start."""

    def has_old(self, until: datetime) -> bool:
        """Whether documents of another logger may be from before that."""
        # Their times are local: a day more.
        return self.old_from is not None and self.old_from - timedelta(days=1) < until


class Stand:
    """Looks how far one log and its rollups are; for any number of threads."""

    def __init__(self, location: Location, cells: Cells, tail: Tail) -> None:
        self._location, self._cells, self._tail = location, cells, tail

    def look(self) -> Standing | str:
        """Look now; a text says why rollups cannot answer, an empty one that they need not."""
        if self._is_small():
            return ""
        state = self._cells.state()
        if state is None:
            return "There are no rollups yet: `affidavit rollups run` makes them."
        if state["pending"] is not None:
            return BUSY
        as_of = datetime.now(UTC) - SENT_WITHIN
        tail = self._tail.look(state)
        if isinstance(tail, str):
            return tail
        return Standing(
            state["_id"],
            state["zone"],
            state["serial"],
            state.get("since"),
            as_of,
            tail,
            self._old_from(),
        )

    def is_still(self, standing: Standing) -> bool:
        """Whether the cells are at rest, and those of that moment."""
        now = self._cells.state() or {"_id": "", "serial": 0, "pending": None}
        return (now["_id"], now["serial"], now["pending"]) == (standing.side, standing.serial, None)

    def _is_small(self) -> bool:
        """Whether there are few records, by the server's own count."""
        records = self._location.database[self._location.names.records]
        with translated("count the records"):
            return records.estimated_document_count(maxTimeMS=5000) < SMALL

    def _old_from(self) -> datetime | None:
        """Ask set-up whether it has found documents of another logger."""
        adoption = Ledger(self._location).newest(LedgerEvent.ADOPTION)
        if adoption is None:
            return None
        first = adoption["details"].get("first")
        return first if isinstance(first, datetime) else EPOCH
