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
from affidavit.console.threads import AT_ONCE, run
from affidavit.console.visitor import Visitor
from affidavit.errors import StoreError
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
        self.log: MongoLog = open_log(uri, config, connections=AT_ONCE)
        """The read side: search, calls, forensics, seals. Opened once."""
        self.analytics = Analytics(lambda: self.log)
        # The schedules of this process seal; a second sealer in its logger would only stand by.
        writing = {**config.given(), "seal": "off"} if serve.schedules else config.given()
        self.audit = AuditLogger(uri, AuditConfig(**writing))
        """For what comes in over HTTP; ``audit.stats()`` tells its queue and spool."""
        self.service: ServiceStore = service_of(self.log)
        self.address = serve.public_url or f"http://{serve.host}:{serve.port}"
        """How browsers reach this service; told anew once the port is open."""
        self.doorman = Doorman(serve, self.service)
        self.bootstrap = Bootstrap(self.service)
        self.oidc = Oidc(serve, self.service, lambda: self.address) if serve.oidc else None
        self.monitor: MonitorStore = monitor_of(self.log)
        self.alerts: AlertStore = alerts_of(self.log)
        self._closing = threading.Lock()
        self._closed = False

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
        by = {
            "visitor": visitor.name,
            "role": visitor.role.value,
            "how": visitor.how,
            "visitor_id": visitor.id,
        }
        self.log.note_access(command, wanted, count, by)

    def answers(self) -> bool:
        """Whether the database answers now."""
        try:
            self.service.get("probe", "probe")
        except StoreError:
            return False
        return True

    def close(self) -> None:
        """Drain the logger and close the connections. Once."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self.audit.close(_CLOSE_S)
        self.analytics.close()
        self.log.close()
