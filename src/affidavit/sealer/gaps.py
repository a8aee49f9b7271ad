"""Numbers that did not come: when to wait no longer, and which of them have a record after all.

A number is waited for while its writer may still bring it: for a grace of a minute, and as long as
the writer lives and has something spooled, for ten at most. What comes later is sealed as late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from affidavit.event import Document
from affidavit.sealer.cover import Cover, Span

GRACE: Final = timedelta(seconds=60)
"""How long a number is waited for; and after so long without a heartbeat a writer is silent."""

PATIENCE: Final = timedelta(minutes=10)
"""How long a number is waited for at most while its writer lives."""


@dataclass(slots=True)
class Watch:
    """Since when numbers are missing."""

    since: dict[tuple[str, int], datetime] = field(default_factory=dict)
    """By writer and the end of the hole: the end is what a later batch began with."""

    def note(self, writer: str, cover: Cover, now: datetime) -> None:
        """Look at a writer's holes as they are now."""
        ends = {(writer, end) for _, end in cover.holes()}
        for gone in [key for key in self.since if key[0] == writer and key not in ends]:
            del self.since[gone]
        for key in ends:
            self.since.setdefault(key, now)

    def forget(self, writer: str) -> None:
        """Look no more at a writer."""
        for gone in [key for key in self.since if key[0] == writer]:
            del self.since[gone]

    def writers(self) -> set[str]:
        """Name the writers with holes."""
        return {writer for writer, _ in self.since}

    def ripe(self, writer: str, cover: Cover, beat: Document | None, now: datetime) -> list[Span]:
        """List the holes that are not waited for any longer; ``beat`` is the newest heartbeat."""
        found = []
        for span in cover.holes():
            waited = now - self.since.setdefault((writer, span[1]), now)
            if waited >= PATIENCE or (waited >= GRACE and not may_come(beat, now)):
                found.append(span)
        return found


def is_silent(beat: Document, now: datetime) -> bool:
    """Whether a writer has stopped, or was not heard for the grace."""
    at = beat.get("at")
    age = now - at if isinstance(at, datetime) else GRACE
    return age >= GRACE


def may_come(beat: Document | None, now: datetime) -> bool:
    """Whether a writer lives and has something that waits to be sent."""
    if beat is None or beat.get("state") == "stopped" or is_silent(beat, now):
        return False
    return bool(beat.get("spool_bytes")) or beat.get("breaker") == "open"


def split_runs(numbers: Iterable[int], start: int, end: int) -> tuple[list[Span], list[Span]]:
    """Split ``start`` to ``end`` into runs of those numbers, which ascend, and runs of others."""
    there: list[Span] = []
    absent: list[Span] = []
    at = start
    for number in numbers:
        if number > at:
            absent.append((at, number))
        if there and there[-1][1] == number:
            there[-1] = (there[-1][0], number + 1)
        else:
            there.append((number, number + 1))
        at = number + 1
    if at < end:
        absent.append((at, end))
    return there, absent


def silent_writers(beats: Mapping[str, Document], now: datetime) -> list[str]:
    """Name those of the last 24 hours that are silent."""
    return sorted(writer for writer, beat in beats.items() if is_silent(beat, now))
