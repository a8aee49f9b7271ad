"""A provider's refusal for too many requests, as callbacks tell it: by the SDK's exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from affidavit._capture import limits
from affidavit.event import EventType

if TYPE_CHECKING:
    from affidavit._call import CallState

TOO_MANY: Final = 429

_HEADERS: Final = (
    ("x-ratelimit-{field}-{what}", ("requests", "tokens")),
    (
        "anthropic-ratelimit-{what}-{field}",
        ("requests", "input-tokens", "output-tokens", "tokens"),
    ),
)
"""How providers name their headers; many take OpenAI's names."""


def note(call: CallState, error: BaseException) -> None:
    """Record which limit a call met, where its error says so. Waits for nothing, never raises."""
    try:
        response: Any = getattr(error, "response", None)
        status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
        if status != TOO_MANY:
            return
        headers = {name.lower(): value for name, value in getattr(response, "headers", {}).items()}
        told: dict[str, Any] = {}
        for pattern, whats in _HEADERS:
            told = limits.read(headers, pattern, whats)
            if told["limit_type"] != "unknown":
                break
    except Exception:  # an error of another shape: then nothing is known of the limit
        return
    told["provider"], told["model"] = call.arguments[:2]
    told["http_status"] = status
    recorder = call.facade
    record_id, build = recorder._event(  # noqa: SLF001 - the logger's half of a record
        EventType.RATE_LIMIT_EXCEEDED,
        {},
        {"limit_type": told.pop("limit_type"), "details": told},
        success=False,
        call_id=call.call_id,
    )
    recorder._enqueue(record_id, build)  # noqa: SLF001 - as above
