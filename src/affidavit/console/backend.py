"""The one door from the service to the log. Synchronous: routes call it through :func:`run`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from affidavit.analytics.facade import Analytics
from affidavit.config import AuditConfig
from affidavit.console.auth.bootstrap import Bootstrap
from affidavit.console.auth.doorman import Doorman
from affidavit.console.auth.oidc import Oidc
from affidavit.console.config import ServeConfig
from affidavit.console.pulse import Pulse
from affidavit.console.threads import AT_ONCE, run
from affidavit.console.visitor import Visitor
from affidavit.logger import AuditLogger
from affidavit.store import alerts_of, monitor_of, open_log, service_of

if TYPE_CHECKING:
    from affidavit.store.alerting import AlertStore
    from affidavit.store.mongo.log import MongoLog
    from affidavit.store.monitoring import MonitorStore
    from affidavit.store.serving import ServiceStore

__all__ = ["Backend", "run"]

_CLOSE_S: Final = 10.0


class Backend:
    """What pages and the HTTP interface ask of the rest. Any number of threads may ask.

    Raises ConfigError for settings or an address that cannot be used; no I/O happens on opening but
    that of the logger, which waits for nobody.
    """

    def __init__(self, serve: ServeConfig, config: AuditConfig, uri: str) -> None:
        self.serve = serve
        self.config = config
        self.uri = uri
        self._log = open_log(uri, config, connections=AT_ONCE)
        self._analytics = Analytics(lambda: self._log)
        # The schedules of this process seal; a second sealer in its logger would only stand by.
        writing = {**config.given(), "seal": "off"} if serve.schedules else config.given()
        self.audit = AuditLogger(uri, AuditConfig(**writing))
        """For what comes in over HTTP; ``audit.stats()`` tells its queue and spool."""
        self._service = service_of(self._log)
        self._monitor, self._alerts = monitor_of(self._log), alerts_of(self._log)
        self.pulse = Pulse(self._alerts)
        """Whether the database answers."""
        self.address = serve.public_url or f"http://{serve.host}:{serve.port}"
        """How browsers reach this service; told anew once the port is open."""
        self.doorman = Doorman(serve, self._service, self.pulse)
        self.bootstrap = Bootstrap(self._service)
        self.oidc = Oidc(serve, self._service, lambda: self.address) if serve.oidc else None
        self._closing = threading.Lock()
        self._closed = False

    # While the database is known to be away, asking for any of these raises StoreUnavailable at
    # once: a page that asks six questions does not wait six times.

    @property
    def log(self) -> MongoLog:
        """The read side: search, calls, forensics, seals. Opened once."""
        self.pulse.check()
        return self._log

    @property
    def analytics(self) -> Analytics:
        """Questions about finished calls."""
        self.pulse.check()
        return self._analytics

    @property
    def service(self) -> ServiceStore:
        """Tokens, sessions, saved views, jobs."""
        self.pulse.check()
        return self._service

    @property
    def monitor(self) -> MonitorStore:
        """Metrics and their history."""
        self.pulse.check()
        return self._monitor

    @property
    def alerts(self) -> AlertStore:
        """The state of alerts, silences and history."""
        self.pulse.check()
        return self._alerts

    @property
    def state_dir(self) -> Path:
        """Where this service may keep files of its own, such as exports; made at first use."""
        from affidavit.spool.owner import default_directory

        spools = Path(self.config.spool_dir) if self.config.spool_dir else default_directory()
        path = self.serve.state_dir or spools.parent / "affidavit-serve"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def note(
        self, visitor: Visitor, command: str, wanted: Mapping[str, Any], count: int | None
    ) -> None:
        """Note in the ledger who read what; call it before anything is given out.

        ``wanted`` holds the filter, and a ``reason`` where one was given. Raises StoreError where
        the note could not be stored: nothing is read unseen.
        """
        self.log.note_access(command, wanted, count, visitor.as_actor())

    def drain(self) -> None:
        """Send what came in; what cannot be sent in time stays in the spool."""
        self.audit.close(_CLOSE_S)

    def close(self) -> None:
        """Drain, and close the connections. Once."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self.pulse.stop()
        self.drain()
        self._analytics.close()
        self._log.close()
