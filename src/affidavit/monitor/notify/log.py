"""Alerts as lines of this process's own log."""

from __future__ import annotations

import logging
from typing import Final

from affidavit.monitor.notify.base import Message

logger: Final = logging.getLogger("affidavit.alerts")


class LogTarget:
    """Writes one line for each message: critical ones as ERROR, everything else as WARNING.

    Resolutions are warnings too. Python shows no INFO unless it is told to, and whoever has read
    that something is wrong must be able to read that it is over.
    """

    name = "log"

    def send(self, message: Message) -> None:
        """Log what it is about, the value, the threshold, since when, and what to do."""
        ended = message.data.get("what") in {"resolved", "test"}
        critical = message.data.get("level") == "critical" and not ended
        level = logging.ERROR if critical else logging.WARNING
        logger.log(level, "%s", message.line or message.title)
