"""From what an SDK gave back to the id of its call."""

from __future__ import annotations

from typing import Any, Final

MARK: Final = "_affidavit_call_id"
_EXTENSION: Final = "affidavit_call_id"
_INNER: Final = (
    "response",
    "request",
    "http_response",
    "_response",
    "_raw_stream",
    "_raw_response",
)
_DEPTH: Final = 3


def call_id(response: Any) -> str | None:
    """Tell the id of the call that gave this answer: 24 hexadecimal digits.

    Takes what a captured client returned (an answer, a stream, a page, a raw response), a stream
    helper of the SDK, or the exception that it raised. Every record of the call has this id in
    ``call_id``. None for what did not come from a captured client, and for plain values (a text, a
    list, None), which carry nothing; ask ``with_raw_response`` for the response there.
    """
    return _find(response, 0)


def _find(thing: Any, depth: int) -> str | None:
    known = getattr(thing, "__dict__", None)
    if not isinstance(known, dict):
        return None
    found = known.get(MARK)
    if found is None:
        extensions = known.get("extensions")
        found = extensions.get(_EXTENSION) if isinstance(extensions, dict) else None
    if isinstance(found, str):
        return found
    if depth < _DEPTH:
        for name in _INNER:
            inner = known.get(name)
            if inner is not None and (found := _find(inner, depth + 1)) is not None:
                return found
        cause = getattr(thing, "__cause__", None)
        if cause is not None:
            return _find(cause, depth + 1)
    return None


def mark(result: Any, response: Any, call: str) -> None:
    """Note the call's id on an answer, where that changes nothing for anybody. Never raises.

    An HTTP response takes it as an extension, a model or an exception as a private attribute, which
    neither dumps nor comparisons of it show.
    """
    try:
        if response is not None:
            response.extensions[_EXTENSION] = call
            # An error of a stream knows its request only.
            request = getattr(response, "_request", None)
            if request is not None:
                request.extensions[_EXTENSION] = call
        if isinstance(result, BaseException) or hasattr(type(result), "model_fields"):
            result.__dict__[MARK] = call
    except Exception:
        return
