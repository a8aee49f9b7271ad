"""Building the documents of records: what the application said, in the stored shape.

Pure functions from arguments to a ``dict``; the field names come from the sample document (R3).
Nothing here waits, locks or raises on odd values.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from affidavit import context
from affidavit.event import DIMENSIONS, SCHEMA_VERSION, Document, EventType, Status
from affidavit.pipeline.snapshot import decimal_text

_REQUEST_OWN: Final = frozenset(
    {"message", "message_length", "messages", "provider", "model", "parameters"}
)
_RESPONSE_OWN: Final = frozenset(
    {"text", "response_length", "provider_used", "tokens_used", "cost_usd", "processing_time_ms"}
)
_SHORT: Final = 256
"""Characters up to which a field of the application is repeated in the outcome, for questions."""


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


def who(dimensions: Mapping[str, Any], defaults: Mapping[str, Any]) -> Document:
    """Tell who calls, and from where: given here, by the context, or by the settings.

    Absent dimensions are left out, but for ``user_id``.
    """
    around = context.current()
    known: Document = {"user_id": None}
    for name in DIMENSIONS:
        value = dimensions.get(name)
        if value is None:
            value = around.get(name)
            if value is None:
                value = defaults.get(name)
                if value is None:
                    continue
        known[name] = value
    address = dimensions.get("ip_address", around.get("ip_address"))
    agent = dimensions.get("user_agent", around.get("user_agent"))
    if address is not None or agent is not None:
        known["client_info"] = {"ip_address": address, "user_agent": agent}
    return known


def envelope(
    event_type: EventType, status: Status | None, call_id: str | None, known: Document
) -> Document:
    """Start a record: kind, time, who and where (from :func:`who`)."""
    # The encoder writes the text of these enumerations' members.
    if call_id is None:
        document = {"event_type": event_type, "timestamp": now_ms(), **known}
    else:
        document = {
            "event_type": event_type,
            "call_id": call_id,
            "timestamp": now_ms(),
            **known,
        }
    if status is not None:
        document["status"] = status
    document["schema_version"] = SCHEMA_VERSION
    return document


def request_data(
    provider: str,
    model: str | None,
    message: str | None,
    messages: Sequence[Any] | None,
    parameters: Mapping[str, Any] | None,
    fields: Mapping[str, Any] | None,
) -> tuple[Document, Document]:
    """Build what was sent: whole for the intent, and without the text for the outcome.

    A field of the application named like one of ours becomes ``app_<name>``.
    """
    length = text_length(message, messages)
    whole: Document = {"message": message, "message_length": length}
    if messages is not None:
        whole["messages"] = messages
    whole["provider"] = provider
    brief: Document = {"message_length": length, "provider": provider}
    if model is not None:
        whole["model"] = brief["model"] = model
    if parameters is not None:
        whole["parameters"] = parameters
    if isinstance(fields, Mapping):
        for name, value in fields.items():
            key = f"app_{name}" if name in _REQUEST_OWN else name
            whole[key] = value
            if _is_short(value):
                brief[key] = value
    return whole, brief


def response_data(
    *,
    text: Any,
    provider_used: str,
    tokens_used: int | None,
    cost_usd: object,
    processing_time_ms: float,
    tool_calls: object,
    fields: Mapping[str, Any] | None,
) -> Document:
    """Build what came back; a field named like one of ours becomes ``app_<name>``."""
    document: Document = {} if text is None else {"text": text}
    document["response_length"] = len(text) if isinstance(text, str) else None
    document["provider_used"] = provider_used
    document["tokens_used"] = tokens_used
    document["cost_usd"] = decimal_text(cost_usd)
    document["processing_time_ms"] = processing_time_ms
    if tool_calls is not None:
        document["tool_calls"] = tool_calls
    if isinstance(fields, Mapping):
        for name, value in fields.items():
            document[f"app_{name}" if name in _RESPONSE_OWN else name] = value
    return document


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


def text_length(message: object, messages: object) -> int | None:
    """Count the characters sent: of the message, or of all texts of the conversation."""
    if isinstance(message, str):
        return len(message)
    if not isinstance(messages, list | tuple):
        return None
    total = 0
    for turn in messages:
        content = turn.get("content") if isinstance(turn, Mapping) else None
        if isinstance(content, str):
            total += len(content)
        elif isinstance(content, list | tuple):
            total += sum(
                len(part["text"])
                for part in content
                if isinstance(part, Mapping) and isinstance(part.get("text"), str)
            )
    return total


def _is_short(value: object) -> bool:
    if value is None or value is True or value is False:
        return True
    if isinstance(value, str):
        return len(value) <= _SHORT
    if isinstance(value, list):
        return len(value) <= 20 and all(_is_short(item) for item in value)  # noqa: PLR2004 - a short list
    return isinstance(value, int | float)
