"""What goes on beside the answers: sealing, rollups, verification, anchors, monitoring, reports.

Several instances on one log act once: whoever seals leaves marks and the others wait for these to
end, rollups and seals have unique keys, anchors go by their receipts, and the monitor and the
monthly reports by a lease each.
All of it is over connections of its own, so that no page waits for it, and none of it stops the
service: what cannot be done is told to the Python log once, and tried again.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from affidavit.analytics.keeper import Keeper
from affidavit.analytics.upkeep import PIECE, Turns
from affidavit.anchors.beside import beside_sealing
from affidavit.console.auth.bootstrap import PATH
from affidavit.console.reporting import make_due
from affidavit.errors import AffidavitError, StoreRefused
from affidavit.monitor.configured import monitor_for
from affidavit.monitor.notify.configured import targets_of
from affidavit.monitor.rules import rules_of
from affidavit.sealer.inprocess import InProcessSealer
from affidavit.store import open_log, service_of
from affidavit.tally.pace import Gentle

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.monitor.run import Monitor
    from affidavit.store.mongo.log import MongoLog

CONNECTIONS: Final = 4
RETRY_S: Final = 2.0
REST_S: Final = 600.0
"""Pause after a refusal: rights do not change by the minute."""

REPORT_EVERY_S: Final = 600.0
"""How often it is looked whether a month's report is due."""

FINISH_S: Final = 5.0
"""Seconds for sealing what came last."""

_log: Final = logging.getLogger("affidavit")


class Schedules:
    """The threads beside a service. Raises ConfigError for wrong settings of monitoring."""

    def __init__(self, backend: Backend, tell_link: Callable[[str], None] | None = None) -> None:
        """``tell_link`` is given the first administrator's link, where one is needed."""
        self._backend = backend
        self.tell_link = tell_link
        self.new_link = False
        """Whether a link is made although somebody came in by one before."""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sealer: InProcessSealer | None = None
        self._told: set[str] = set()
        self._log: MongoLog | None = None
        if backend.serve.schedules:
            rules_of(backend.config)
            targets_of(backend.config)
            self._log = open_log(backend.uri, backend.config, connections=CONNECTIONS)

    def start(self) -> None:
        """Start what is to go on."""
        named: dict[str, Callable[[], bool]] = {}
        if self.tell_link is not None:
            named["link"] = self._make_link
        if self._log is not None:
            named["sealing"] = self._begin_sealing
            named["monitor"] = self._watch
            named["reports"] = self._report
        for name, work in named.items():
            thread = threading.Thread(
                target=self._until_done, args=(name, work), name=f"affidavit-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Tell all of it to end, and wait for the monitor, which gives its lease back."""
        self._stop.set()
        if self._sealer is not None:
            self._sealer.stop()
        for thread in self._threads:
            thread.join(FINISH_S)

    def finish(self) -> None:
        """After the last record was sent: seal it, if this process seals. Close the connections."""
        if self._sealer is not None:
            self._sealer.finish(time.monotonic() + FINISH_S)
        if self._log is not None:
            self._log.close()

    # -- threads ---------------------------------------------------------------------------------

    def _until_done(self, name: str, work: Callable[[], bool]) -> None:
        """Try again and again until the work says that it is done, or it is to end."""
        while not self._stop.is_set():
            pause_s = RETRY_S
            try:
                if work():
                    return
            except StoreRefused as error:
                self._complain(f"{name}: {error}")
                pause_s = REST_S
            except AffidavitError as error:
                self._complain(f"{name}: {error}")
            except Exception as error:
                # The service must live, and the error's own text could hold anything.
                self._complain(f"{name} failed ({type(error).__name__}); it is tried again.")
                pause_s = REST_S
            self._stop.wait(pause_s)

    def _make_link(self) -> bool:
        bootstrap, tell = self._backend.bootstrap, self.tell_link
        if tell is not None and (self.new_link or bootstrap.is_needed()):
            tell(f"{self._backend.address}{PATH}?key={bootstrap.make()}")
        return True

    def _begin_sealing(self) -> bool:
        log, config = self._log, self._backend.config
        if log is None or config.seal != "auto":
            return True
        seals, ready = log.seals, threading.Event()  # raises while no server answers
        self._sealer = InProcessSealer(
            seals,
            config,
            ready,
            lambda: False,
            Turns(Keeper(seals, log.rollups, most_leaves=PIECE, pace=Gentle())),
            beside_sealing(seals, config),
        )
        ready.set()
        self._sealer.start("serve")
        if self._stop.is_set():
            self._sealer.stop()
        return True

    def _watch(self) -> bool:
        assert self._log is not None  # noqa: S101 - the thread is not started without
        watching = monitor_for(self._backend.config, self._log)
        try:
            while not self._stop.is_set():
                self._look(watching)
                self._stop.wait(watching.wait_s())
        finally:
            watching.close()
        return True

    def _report(self) -> bool:
        """Make each month's report when it is due."""
        assert self._log is not None  # noqa: S101 - the thread is not started without
        service, config = service_of(self._log), self._backend.config
        holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        while not self._stop.is_set():
            made = make_due(self._log, config, service, holder, datetime.now(UTC))
            if made is not None:
                _log.info("affidavit: the report of %s was made", made)
            self._stop.wait(REPORT_EVERY_S)
        return True

    def _look(self, watching: Monitor) -> None:
        done = watching.tick()
        if done is None:
            return
        for event in done.changes:  # not of whom: a budget's alert names a user
            _log.info("affidavit: alert %s %s", event.what.value, event.key.rule)
        for target, why in done.delivered.failed:
            self._complain(f"an alert was not delivered to {target}: {why}")

    def _complain(self, why: str) -> None:
        if why not in self._told:
            self._told.add(why)
            _log.warning("affidavit: %s", why)
