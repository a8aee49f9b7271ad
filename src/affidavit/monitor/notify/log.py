"""Alerts as lines of this process's own log."""

from __future__ import annotations

import logging
from typing import Final

from affidavit.monitor.notify.base import Message

logger: Final = logging.getLogger("affidavit.alerts")


class LogTarget:
    """Writes one line for each message: resolutions as INFO, the rest as WARNING or ERROR."""

    name = "log"

    def send(self, message: Message) -> None:
        """Log the title."""
        level = logging.ERROR if message.data.get("level") == "critical" else logging.WARNING
        if message.data.get("what") in {"resolved", "test"}:
            level = logging.INFO
        logger.log(level, "%s", message.title)
