"""A limit on the whole of a delivery, whatever a target waits for: a resolver, a server, a plug-in.

The monitor's own loop must go on. A delivery that is over its time counts as failed; its thread is
left to end by itself, and until it has, the target takes nothing else.
"""

from __future__ import annotations

import threading
from typing import Final

from affidavit.monitor.notify.base import DeliveryFailed, Message, Target

LIMIT_S: Final = 15.0


class Bounded:
    """A target whose deliveries take no longer than that."""

    def __init__(self, target: Target, limit_s: float = LIMIT_S) -> None:
        self._target = target
        self._limit_s = limit_s
        self._left: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The target's own."""
        return self._target.name

    def send(self, message: Message) -> None:
        """Deliver, within the limit. Raises DeliveryFailed."""
        if self._left is not None and self._left.is_alive():
            msg = f"{self.name} is still busy with the message before."
            raise DeliveryFailed(msg)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                self._target.send(message)
            except BaseException as error:  # it is raised again below
                failed.append(error)

        thread = threading.Thread(target=run, name="affidavit-notify", daemon=True)
        thread.start()
        thread.join(self._limit_s)
        if thread.is_alive():
            self._left = thread
            msg = f"{self.name} took longer than {self._limit_s:g} s."
            raise DeliveryFailed(msg)
        if failed and isinstance(failed[0], DeliveryFailed):
            raise failed[0]
        if failed:  # a fault of ours or of a plug-in; its text may hold an address
            msg = f"{self.name} failed ({type(failed[0]).__name__})."
            raise DeliveryFailed(msg) from failed[0]
