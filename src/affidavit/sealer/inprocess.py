"""A sealer inside an application: for those that run no other.

A thread of a logger looks whether anybody seals. While nobody was seen for a minute, it does it
itself, if the log's key is on this host or there is none yet, and the database user may insert
seals; else it does nothing, and says so at level INFO only. It uses the second of the logger's two
connections, one question at a time.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from affidavit.analytics.upkeep import Turns
from affidavit.config import AuditConfig
from affidavit.errors import AffidavitError, StoreRefused, StoreUnavailable
from affidavit.sealer import keys
from affidavit.sealer.keys import LogKey
from affidavit.sealer.run import MARK_EVERY_S, SEEN_WITHIN
from affidavit.sealer.sealing import Sealer, this_process
from affidavit.sealer.seen import Seen
from affidavit.store.sealing import SealStore

WHERE: Final = "in-process"
EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 20.0
"""Pause before looking again whether somebody seals."""

REST_S: Final = 600.0
"""Pause after a refusal: rights and keys do not change by the minute."""

FIRST_LOOK_S: Final = 0.5
"""Longest pause before the first look; drawn, so that workers started together take turns."""

LEAST_S: Final = 0.5
"""With less time left on closing, nothing is sealed any more."""

_log: Final = logging.getLogger("affidavit")


class Beside(Protocol):
    """What works on a thread of its own while this process seals."""

    def start(self) -> None:
        """Start the thread."""

    def stop(self) -> None:
        """Tell the thread to end, without waiting."""


class InProcessSealer:
    """Seals from a logger's own thread; started, stopped and finished by its engine."""

    def __init__(
        self,
        store: SealStore,
        config: AuditConfig,
        ready: threading.Event,
        is_away: Callable[[], bool],
        rollups: Turns | None = None,
        beside: Callable[[Callable[[], str]], Sequence[Beside]] = lambda _: (),
    ) -> None:
        """``ready``: the store is set up. ``is_away``: it does not answer at the moment.

        ``rollups`` are kept up by whoever seals. ``beside`` makes, with a function that tells the
        log's key, what is started when this process begins to seal.
        """
        self._store = store
        self._config = config
        self._ready = ready
        self._is_away = is_away
        self._rollups = rollups
        self._make_beside = beside
        self._beside: Sequence[Beside] = ()
        self._by = this_process(WHERE)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sealer: Sealer | None = None
        self._next_mark_s = 0.0
        self._told = ""

    def start(self, name: str) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self._run, name=f"affidavit-sealer-{name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end; it does so after the question under way."""
        self._stop.set()
        self._stop_beside()

    def finish(self, deadline_s: float) -> None:
        """On closing, after the last leaf batch was sent: seal it if this process seals.

        Waits until ``deadline_s``, a monotonic time, at most. Never raises.
        """
        self.stop()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        thread.join(max(0.0, deadline_s - time.monotonic()))
        left_s = deadline_s - time.monotonic()
        if thread.is_alive() or left_s < LEAST_S or self._is_away() or not self._ready.is_set():
            return
        patient: Any = self._store
        patient.timeout_s = left_s
        with contextlib.suppress(Exception):
            if self._sealer is None and self._may_begin():
                self._begin()
            if self._sealer is not None:
                self._sealer.step()
                self._mark("stopped")

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        self._stop.wait(random.uniform(0.0, FIRST_LOOK_S))  # noqa: S311 - only to spread a start
        while not self._stop.is_set():
            try:
                pause_s = self._turn()
            except StoreUnavailable:
                pause_s = LOOK_EVERY_S
            except AffidavitError as error:
                self._rest(str(error))
                pause_s = REST_S
            except Exception as error:
                # Nothing here may trouble the application; the text could hold anything.
                self._rest(f"Sealing failed ({type(error).__name__}).")
                pause_s = REST_S
            self._stop.wait(pause_s)

    def _turn(self) -> float:
        """Do what is due, and tell how long to wait then."""
        if not self._ready.is_set() or self._is_away():
            return EVERY_S
        if self._sealer is None:
            if not self._may_begin():
                return LOOK_EVERY_S
            self._begin()
            self._start_beside()
        sealer = self._sealer
        assert sealer is not None  # noqa: S101 - _begin has made it
        lost = sealer.lost
        sealer.step()
        if sealer.lost > lost:  # another one seals, and one is enough
            self._sealer = None
            self._stop_beside()
            return LOOK_EVERY_S
        if time.monotonic() >= self._next_mark_s:
            self._mark("running")
        if sealer.more:
            return 0.0
        if self._rollups is not None:
            self._rollups.turn()
        return EVERY_S

    def _may_begin(self) -> bool:
        """Whether no other sealer was seen for a minute."""
        now, last, mark = datetime.now(UTC), self._store.last_seal(), self._store.sealer_seen()
        if mark is not None and mark.get("state") == "stopped":
            if last is not None and _who(mark) == _who(last.get("by")):
                return True  # the one that sealed last has said that it ends
            mark = None
        return not any(
            isinstance(at := found.get("at"), datetime) and now - at < SEEN_WITHIN
            for found in (last, mark)
            if found is not None
        )

    def _begin(self) -> None:
        existed = self._store.identity() is not None
        key = keys.open_key(self._store, self._config)
        if not existed and key.path is not None:
            _log.info(
                "affidavit: made the key of this log in %s. Keep a backup: without it the log "
                "cannot grow.",
                key.path,
            )
        self._sealer = Sealer(
            self._store, self._reopen, where=WHERE, seen=Seen(self._store.dataset)
        )
        self._mark("running")

    def _start_beside(self) -> None:
        self._beside = self._make_beside(lambda: self._reopen().vkey)
        for each in self._beside:
            each.start()
        if self._stop.is_set():  # in the meantime
            self._stop_beside()

    def _stop_beside(self) -> None:
        for each in self._beside:
            each.stop()

    def _reopen(self) -> LogKey:
        return keys.open_key(self._store, self._config, create=False)

    def _mark(self, state: str) -> None:
        self._next_mark_s = time.monotonic() + MARK_EVERY_S
        with contextlib.suppress(StoreRefused):
            self._store.mark_sealer({**self._by, "state": state})

    def _rest(self, why: str) -> None:
        self._sealer = None
        self._stop_beside()
        if why != self._told:
            self._told = why
            _log.info("affidavit: this process does not seal the log. %s", why)


def _who(document: object) -> tuple[object, object]:
    said = document if isinstance(document, dict) else {}
    return said.get("host"), said.get("pid")
