"""What a message is, and what a way to deliver it must do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


class DeliveryFailed(Exception):  # noqa: N818 - a state, named as operators say it
    """A message was not taken. The text holds no secret and nothing the other side sent.

    ``final`` says that trying again is of no use.
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


@dataclass(frozen=True, slots=True)
class Message:
    """One notice, ready to be sent."""

    id: str
    """The same each time it is tried, so that a receiver can leave out what comes twice."""
    title: str
    """One line."""
    text: str
    """A few lines."""
    at: datetime
    data: dict[str, Any]
    """The same for programs: plain values."""
    line: str = ""
    """All of it on one line, without names of people; the title stands in where it is empty."""


class Target(Protocol):
    """A way to deliver."""

    @property
    def name(self) -> str:
        """A short name without secrets; two targets never share one."""

    def send(self, message: Message) -> None:
        """Deliver a message, within seconds. Raises DeliveryFailed."""
