"""Alerts by Apprise: chat, push, SMS and whatever else it knows. An extra."""

from __future__ import annotations

from typing import Any

from affidavit.errors import ConfigError, MissingExtra
from affidavit.monitor.notify.base import DeliveryFailed, Message


class AppriseTarget:
    """Hands each message to one of Apprise's addresses."""

    def __init__(self, url: str, number: int) -> None:
        """``number`` tells this address from the others, since it may not be shown.

        Raises MissingExtra without the package, and ConfigError for an address it does not know.
        """
        try:
            import apprise
        except ImportError as error:
            msg = "alert_apprise needs Apprise: pip install 'affidavit[apprise]'."
            raise MissingExtra(msg) from error
        self._sender: Any = apprise.Apprise()
        self._kinds = {
            "critical": apprise.NotifyType.FAILURE,
            "warning": apprise.NotifyType.WARNING,
            "resolved": apprise.NotifyType.SUCCESS,
        }
        self.name = f"apprise {number}"
        if not self._sender.add(url):
            msg = f"alert_apprise: address {number} is none that Apprise knows."
            raise ConfigError(msg)

    def send(self, message: Message) -> None:
        """Send it; Apprise says only whether it worked."""
        resolved = message.data.get("what") == "resolved"
        kind = "resolved" if resolved else str(message.data.get("level"))
        try:
            done = self._sender.notify(
                title=message.title,
                body=message.text,
                notify_type=self._kinds.get(kind, self._kinds["warning"]),
            )
        except Exception as error:  # a plug-in of Apprise; its text may hold the address
            msg = f"{self.name} failed ({type(error).__name__})."
            raise DeliveryFailed(msg) from error
        if not done:
            msg = f"{self.name} did not take it."
            raise DeliveryFailed(msg)
