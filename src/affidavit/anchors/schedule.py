"""Anchoring now and then, on a thread of its own: an anchor that hangs must not hold up sealing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Self

from affidavit.anchors.base import Anchor
from affidavit.anchors.run import Outcome, anchor_due
from affidavit.errors import AffidavitError
from affidavit.store.sealing import SealStore

LOOK_EVERY_S: Final = 10.0
"""Pause between two looks whether a try is due."""

LEAVE_S: Final = 20.0
"""Seconds given to a try under way when the service ends."""


class Schedule:
    """Anchors while it is entered, or from start to stop.

    Several processes on one log take turns by the receipts.
    """

    def __init__(
        self,
        store: SealStore,
        anchors: Sequence[Anchor],
        every_s: float,
        tell: Callable[[Outcome], None] | None = None,
        complain: Callable[[str], None] | None = None,
    ) -> None:
        """``tell`` hears of each try; ``complain`` once of each reason why none can be made."""
        self._store = store
        self._anchors = anchors
        self._every_s = every_s
        self._tell = tell or (lambda _: None)
        self._complain = complain or (lambda _: None)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(LEAVE_S)

    def start(self) -> None:
        """Start the thread, where there is an anchor."""
        if self._anchors:
            self._thread = threading.Thread(target=self._run, name="affidavit-anchors", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end, and do not wait for a try under way."""
        self._stop.set()

    def _run(self) -> None:
        told = ""
        while not self._stop.is_set():
            trouble = ""
            try:
                for outcome in anchor_due(self._store, self._anchors, self._every_s):
                    self._tell(outcome)
            except AffidavitError as error:
                trouble = str(error)
            except Exception as error:
                # The thread must live: whatever this is, the next try may be better. The error's
                # own text could hold anything.
                trouble = f"Anchoring failed ({type(error).__name__})."
            if trouble and trouble != told and not self._stop.is_set():
                # After a stop whoever started this may have closed the store under a try under
                # way: that is no trouble of the anchors.
                self._complain(trouble)
            told = trouble
            self._stop.wait(min(LOOK_EVERY_S, self._every_s))
