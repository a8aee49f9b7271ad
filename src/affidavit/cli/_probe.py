"""Measuring for `affidavit store baseline record`: calls with auditing off and on, in turns."""

from __future__ import annotations

import secrets
import tempfile
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from affidavit.config import AuditConfig
    from affidavit.store.mongo.log import MongoLog

TURN: Final = 20
"""Calls in a row with auditing off, and then on: what else goes on hits both alike."""

_WARM_UP: Final = 20


def measure(config: AuditConfig, log: MongoLog, address: str, calls: int) -> dict[str, list[float]]:
    """Measure in collections of its own, which are dropped at the end.

    A call is one write of a small document with the database's own answer, in the place of what an
    application does. Raises StoreRefused where this user may not make and drop collections.
    """
    from affidavit import AuditLogger
    from affidavit.config import AuditConfig as Settings
    from affidavit.store import scratch_of

    name = f"{log.location.names.records}_baseline_{secrets.token_hex(4)}"
    with scratch_of(log, name) as operation, tempfile.TemporaryDirectory() as spool:
        settings = Settings.load(config, collection=name, seal="off", guard="off", spool_dir=spool)
        with AuditLogger(address, settings) as audit:
            audit.flush()

            def audited(timed: Callable[[], float]) -> float:
                with audit.call(provider="baseline", model="none", message="A question.") as call:
                    took_ms = timed()
                    call.complete(text="An answer.", input_tokens=4, output_tokens=3)
                return took_ms

            return _in_turns(operation, audited, calls)


def _in_turns(
    operation: Callable[[], None],
    audited: Callable[[Callable[[], float]], float],
    calls: int,
) -> dict[str, list[float]]:
    def timed() -> float:
        started_s = time.perf_counter()
        operation()
        return 1000 * (time.perf_counter() - started_s)

    found: dict[str, list[float]] = {
        name: [] for name in ("call_off", "call_on", "database_off", "database_on")
    }
    for number in range(-_WARM_UP, calls):
        for mode in ("off", "on"):
            for _ in range(TURN if number >= 0 else 1):
                if len(found[f"call_{mode}"]) >= calls:
                    break
                started_s = time.perf_counter()
                inside_ms = timed() if mode == "off" else audited(timed)
                took_ms = 1000 * (time.perf_counter() - started_s)
                if number >= 0:
                    found[f"call_{mode}"].append(took_ms)
                    found[f"database_{mode}"].append(inside_ms)
        if len(found["call_on"]) >= calls:
            break
    return found
