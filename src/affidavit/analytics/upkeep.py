"""Keeping rollups up beside a sealer: now and then, and never in its way.

The command has a thread for it; a sealer inside an application does a small piece after a step.
Whatever goes wrong here leaves sealing alone: rollups can be made at any later time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Self

from affidavit.analytics.keeper import Keeper
from affidavit.errors import AffidavitError, StoreRefused, StoreUnavailable

EVERY_S: Final = 15.0
"""Pause between two looks. Many calls of one user then make one write; and questions go to the
records only where rollups are behind by more than a minute."""

REST_S: Final = 600.0
"""Pause after a refusal: rights do not change by the minute."""

LEAVE_S: Final = 20.0
"""Seconds given to a group under way when the service ends; it is finished by the next one."""

PIECE: Final = 1_000
"""Leaves that a sealer inside an application takes at a time; a seal is never split."""


class Upkeep:
    """Keeps up while it is entered, on a thread of its own."""

    def __init__(
        self,
        keeper: Keeper,
        complain: Callable[[str], None] | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        """``complain`` hears once of each reason why rollups are not kept up."""
        self._turns = Turns(keeper, every_s)
        self._complain = complain or (lambda _: None)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="affidavit-rollups", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        told = ""
        while not self._stop.is_set():
            self._turns.turn()
            if self._turns.trouble and self._turns.trouble != told:
                self._complain(self._turns.trouble)
            told = self._turns.trouble
            self._stop.wait(self._turns.wait_s())


class Turns:
    """Does one group when one is due. Never raises; for one thread."""

    def __init__(self, keeper: Keeper, every_s: float = EVERY_S) -> None:
        self._keeper = keeper
        self._every_s = every_s
        self._next_s = 0.0
        self.trouble = ""
        """Why rollups are not kept up; empty while they are."""

    def wait_s(self) -> float:
        """Tell in how many seconds the next turn is due."""
        return max(0.0, self._next_s - time.monotonic())

    def turn(self) -> None:
        """Apply a group if it is time; go on at once where there may be more."""
        if self.wait_s() > 0:
            return
        pause_s, self.trouble = self._every_s, ""
        try:
            if self._keeper.step() is not None:
                pause_s = 0.0 if self._keeper.more else self._every_s
        except StoreUnavailable as error:
            self.trouble = str(error)
        except StoreRefused as error:
            self.trouble, pause_s = f"Rollups are not kept up. {error}", REST_S
        except AffidavitError as error:
            self.trouble = str(error)
        except Exception as error:
            # Sealing must go on; the error's own text could hold anything.
            self.trouble = f"Keeping rollups failed ({type(error).__name__})."
        self._next_s = time.monotonic() + pause_s
