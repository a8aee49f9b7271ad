"""Ids and times of records, and the documents of events that are not calls."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from typing import Any

from affidavit import context
from affidavit.event import SCHEMA_VERSION, Document, EventType
from affidavit.pipeline import build


def now_ms() -> int:
    """Tell the time in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> bytes:
    """Make the id of a record, in the form of an ObjectId: time, this process, a running number.

    A third of the price of ``ObjectId()``; a caller pays it twice a call.
    """
    number = next(_numbers) & 0xFFFFFF
    return (int(time.time()) << 64 | _process_part | number).to_bytes(12, "big")


def _new_process() -> None:
    """Choose what tells the ids of this process from those of others; again after a fork."""
    global _process_part, _numbers  # noqa: PLW0603 - one of each per process
    _process_part = int.from_bytes(os.urandom(5), "big") << 24
    _numbers = itertools.count(int.from_bytes(os.urandom(3), "big"))


_process_part: int
_numbers: itertools.count[int]
_new_process()
os.register_at_fork(after_in_child=_new_process)


def event(
    event_type: EventType, dimensions: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Document:
    """Start the record of an event that is not a call; who and where also from the context."""
    who = build.known(dimensions, context.current(), defaults)
    return build.envelope(event_type.value, None, None, now_ms(), who)


def withheld(reason: str) -> Document:
    """Build the record that stands where one could not be built: the event is never lost."""
    return {
        "event_type": EventType.SECURITY_EVENT.value,
        "timestamp": now_ms(),
        "user_id": None,
        "schema_version": SCHEMA_VERSION,
        "details": {"kind": "unrecordable_content", "severity": "medium", "reason": reason},
        "odd": [f"withheld_{reason}"],
    }
