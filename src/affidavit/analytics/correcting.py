"""Writing corrections the way every record goes: numbered, proved, spooled when need be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from affidavit._engine import Engine, State
from affidavit.analytics.reprice import Written
from affidavit.config import AuditConfig
from affidavit.errors import StoreRefused
from affidavit.event import Dest, Document
from affidavit.pipeline.snapshot import take
from affidavit.store.base import Store

SERVICE: Final = "affidavit prices"
"""``service`` of this writer in the ledger and among the heartbeats."""

_WAIT_S: Final = 60.0
_CLOSE_S: Final = 30.0
_NOT_TAKEN: Final = (
    "MongoDB does not take the first correction, so no more are sent. Either another run prices "
    "the same calls at this moment, or the set-up is of an older version: run `affidavit setup`. "
    "`affidavit dead-letters list` says which."
)


class Corrector:
    """A writer of its own for one run; it starts with the first corrections."""

    def __init__(self, opened: Callable[[AuditConfig], Store], config: AuditConfig) -> None:
        self._engine: Engine | None = None
        self._opened = opened
        # What a correction holds was redacted when the call was recorded; tokens of people in it
        # must stay the same tokens, and a number of nano-dollars is nobody's card.
        changed: dict[str, Any] = {
            "redaction": "off", "identity": "plain", "said_key": None, "seal_public_key": None,
            "pricing": "off", "seal": "off", "guard": "off", "enabled": True, "service": SERVICE,
            "batch_writes": False, "async_writes": False, "on_failure": "spool",
        }  # fmt: skip
        self._config = AuditConfig(**{**config.given(), **changed})

    def __call__(self, corrections: Sequence[tuple[bytes, Document]]) -> Written:
        """Write some and wait for what becomes of them.

        The first goes alone: raises StoreRefused where the database does not take it, so that not
        thousands become dead letters.
        """
        if self._engine is None:
            self._engine = Engine(lambda: self._opened(self._config), self._config)
            self._engine.start()
            first = self._write(self._engine, corrections[:1])
            if first.refused:
                raise StoreRefused(_NOT_TAKEN)
            rest = self._write(self._engine, corrections[1:])
            return Written(*(a + b for a, b in zip(first, rest, strict=True)))
        return self._write(self._engine, corrections)

    @staticmethod
    def _write(engine: Engine, corrections: Sequence[tuple[bytes, Document]]) -> Written:
        tickets = [
            engine.submit(Dest.RECORDS, identity, take(document, plain=False), wait=True)
            for identity, document in corrections
        ]
        states = [State.LOST if each is None else each.wait(_WAIT_S) for each in tickets]
        stored = sum(state is State.STORED for state in states)
        refused = sum(state in {State.DEAD, State.LOST} for state in states)
        return Written(stored, len(states) - stored - refused, refused)

    def close(self) -> None:
        """Send what waits, and end the writer in order."""
        if self._engine is not None:
            self._engine.close(_CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self.close()
