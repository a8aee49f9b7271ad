"""A monitor of a real log, which posts to a real receiver.

Time is this process's own: a test moves it on for the monitor and for loggers alike. The server
keeps its own, by which it judges leases; what is timed by a monotonic clock takes as long as it
takes.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import time_machine

from affidavit.config import AuditConfig
from affidavit.monitor.asked import questions_of
from affidavit.monitor.configured import Samples, looker_of, spent_in
from affidavit.monitor.history import History
from affidavit.monitor.notify.configured import targets_of
from affidavit.monitor.rules import rules_of
from affidavit.monitor.run import Looked, Monitor, Post
from affidavit.store import alerts_of, monitor_of, open_log
from tests.support.receivers import HttpReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from affidavit import AuditLogger
    from affidavit.store.mongo.log import MongoLog

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
EVERY_S = 30.0


class Watch:
    """Looks every 30 simulated seconds, and remembers what arrived."""

    def __init__(
        self,
        log: MongoLog,
        config: AuditConfig,
        receiver: HttpReceiver,
        traveller: time_machine.Traveller,
    ) -> None:
        self.receiver = receiver
        self.store = alerts_of(log)
        self._log, self._config = log, config
        self._traveller = traveller
        self._passed_s = 0.0
        self.monitor = self.started()

    def started(self) -> Monitor:
        """A monitor of the same log, as another process would have it."""
        log, config = self._log, self._config
        rules, monitoring = rules_of(config), monitor_of(log)
        looker = looker_of(config, log)
        looker.clock_s = self.seconds
        given = config.given()
        return Monitor(
            self.store,
            Samples(looker, History(monitoring)),
            rules,
            targets_of(config),
            questions_of(config, rules, self.store, monitoring, spent_in(log)),
            Post(
                log=monitoring.log,
                holder=secrets.token_hex(4),
                host="host-1",
                every_s=EVERY_S,
                repeat_s=float(given.get("alert_repeat_s", 0)),
                clock_s=self.seconds,
            ),
        )

    def restart(self) -> None:
        """End the monitor in order, and go on with another."""
        self.monitor.close()
        self.monitor = self.started()

    def look(self, after_s: float = EVERY_S, times: int = 1) -> Looked:
        """Look so often, each time so many seconds later."""
        for _ in range(times):
            self._traveller.shift(after_s)
            self._passed_s += max(0.0, after_s)
            done = self.monitor.step()
        return done

    def run(self, for_s: float) -> None:
        """Let it do what the command does for so long: looks, and between them the question."""
        passed_s = 0.0
        while passed_s < for_s:
            self.monitor.tick()
            step_s = max(0.05, self.monitor.wait_s())
            self._traveller.shift(step_s)
            self._passed_s += step_s
            passed_s += step_s

    def seconds(self) -> float:
        """A clock that is never set back."""
        return time.monotonic() + self._passed_s

    @property
    def ids(self) -> list[str]:
        """The id of each post, in order."""
        return [posted.headers["webhook-id"] for posted in self.receiver.posted]

    def told(self, rule: str, subject: str | None = None) -> list[tuple[str, str]]:
        """What arrived at the receiver about a rule, in order."""
        bodies = [json.loads(posted.body) for posted in self.receiver.posted]
        return [
            (body["what"], body["level"])
            for body in bodies
            if body["rule"] == rule and subject in {None, body["subject"]}
        ]


@contextmanager
def watching(uri: Any, settings: Mapping[str, Any] | None = None) -> Iterator[Watch]:
    """Watch a log, by its address or over a client, with these settings."""
    with HttpReceiver() as receiver:
        given: Any = {
            "alert_webhooks": receiver.url(),
            "alert_webhook_secret": SECRET,
            "alert_private_addresses": True,
            **(settings or {}),
        }
        config = AuditConfig(**given)
        travelling = time_machine.travel(datetime.now(UTC), tick=True)
        with open_log(uri, config) as log, travelling as traveller:
            yield Watch(log, config, receiver, traveller)


def beat(audit: AuditLogger) -> None:
    """Let a logger leave a heartbeat now, not within ten seconds."""
    running = audit._engine._running
    assert running is not None
    assert running.shipper.beat("running")


def until(holds: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end_s:
            msg = f"{what} did not come within {timeout_s:g} s"
            raise AssertionError(msg)
        time.sleep(0.05)
