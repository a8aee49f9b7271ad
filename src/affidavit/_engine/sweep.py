"""The sweep: flags calls that were begun and never ended.

An intent without an outcome means that the application died in mid-call, or that its outcome was
lost. After an hour such a call gets an annotation of kind ``no_outcome``. The call's own records
stay as they are, and a late outcome still counts. Two processes that sweep at the same moment may
both flag a call; one flag says as much as two.
"""

from __future__ import annotations

import random
import time
from typing import Final

from affidavit._engine.core import Core, logger
from affidavit.errors import StoreError
from affidavit.event import NO_OUTCOME

SWEEP_AFTER_S: Final = 60.0 + 60.0 * random.random()  # noqa: S311 - spreads processes in time
"""Seconds after start until the first sweep; a short run does none."""

SWEEP_EVERY_S: Final = 600.0
OPEN_FOR_MS: Final = 3_600_000
"""A call may take an hour before it counts as never ended."""

LOOK_BACK_MS: Final = 48 * 3_600_000
LIMIT: Final = 1000
_TIMEOUT_S: Final = 10.0


class Sweeper:
    """Owns how far this process has looked; lives on the shipper's thread."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._done_until_ms = 0

    def run(self) -> int:
        """Flag what is open in the time not looked at yet; returns how many calls that were."""
        now_ms = time.time_ns() // 1_000_000
        until_ms = now_ms - OPEN_FOR_MS
        since_ms = max(self._done_until_ms, now_ms - LOOK_BACK_MS)
        try:
            found = self._core.store.open_intents(since_ms, until_ms, LIMIT, _TIMEOUT_S)
        except StoreError as error:
            logger.warning("affidavit: the sweep for calls without an outcome failed: %s", error)
            return 0
        for call_id in found:
            self._core.annotate(call_id, NO_OUTCOME, {"open_for_ms": OPEN_FOR_MS})
        if len(found) < LIMIT:
            self._done_until_ms = until_ms
        return len(found)
