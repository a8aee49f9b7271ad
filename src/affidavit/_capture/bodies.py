"""Reading an answer that came whole: at once, or later, on the writer's thread.

To read an answer takes longer than everything else an application waits for when its call is over.
So a short one travels to the writer as it came, and is read there, before redaction like all that
is recorded (:data:`affidavit.pipeline.build.READERS`).
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Final

import msgspec

from affidavit._capture import generic, media
from affidavit._capture.asked import Answer, Dialect
from affidavit._capture.media import describe
from affidavit._capture.wire import decode
from affidavit.pipeline import build, snapshot

MAX_BODY: Final = 8 * 1024**2
"""Bytes of a body that are kept to read its JSON; a larger one is described by size and hash."""

LATER: Final = 16 * 1024
"""Bytes up to which an answer is read later. Of a long one, such as embeddings, the record keeps
little: it would only fill the queue."""

_JSON: Final = frozenset({b"{", b"["})
_UNSAID: Final = frozenset({"", "text/plain", "text/html"})
"""Types under which some servers send JSON; a file is never taken for an answer."""

_log: Final = logging.getLogger("affidavit")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def media_type_of(content_type: str) -> str:
    """Give the type alone, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def read_whole(dialect: Dialect, kind: str, media_type: str, body: bytes) -> Answer:
    """Read an answer that is no stream of events: JSON, text, or binary content."""
    if media_type.endswith("json") or (body[:1] in _JSON and media_type in _UNSAID):
        try:
            return dialect.parse_response(kind, decode(body))
        except (ValueError, RecursionError):
            pass
    if not body:
        return Answer()
    if media_type == "text/plain" or (media_type.startswith("text/") and len(body) <= MAX_BODY):
        return Answer(text=body.decode("utf-8", "replace"))
    family = media_type.partition("/")[0]
    kind = family if family in {"image", "audio", "video"} else "file"
    extra: dict[str, Any] = {"content": describe(body, kind, media_type or None)}
    if body[:1] == b"{":
        extra |= generic.results(body)
    return Answer(extra=extra)


def told(answer: Answer | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Say what a record tells of an answer: what ``complete()`` takes, and further fields."""
    if answer is None:
        return {}, {}
    if answer.text is not None:
        answer.text = media.text(answer.text)
    return answer.report(), answer.fields()


def read_later(dialect: Dialect) -> None:
    """Let the writer of this process read answers of that dialect."""
    build.READERS[dialect.package] = functools.partial(_read, dialect)


def _read(dialect: Dialect, kind: str, media_type: str, body: bytes) -> build.Read:
    """Read what was left unread. Never raises: what cannot be read is logged and left out."""
    try:
        answer = read_whole(dialect, kind, media_type, body)
        report, fields = told(answer)
    except Exception as error:
        # The error's own text could hold content of the answer: its type must do.
        _log.error("affidavit: an answer could not be read (%s).", type(error).__name__)
        return build.Read({}, {}, None, ())
    try:  # what a caller's snapshot takes the quick way
        _encode((report, fields))
    except Exception:
        careful = _decode(snapshot.take({"report": report, "fields": fields}, plain=False))
        report, fields = careful["report"], careful["fields"]
        return build.Read(report, fields, answer.error, careful.get("odd", ()))
    return build.Read(report, fields, answer.error, ())
