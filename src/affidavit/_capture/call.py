"""One captured request: from what the SDK was asked to do to what its record says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from affidavit._call import CallState
from affidavit._capture import media
from affidavit._capture.asked import Answer, Asked, Dialect
from affidavit._capture.bodies import told
from affidavit.event import Status
from affidavit.pipeline import build

CHARACTERS_PER_TOKEN: Final = 4
"""For estimates only: where a stream ended before the provider told what it costs."""

NO_END: Final = ("StreamEnded", "The provider ended the stream before its answer was whole.")
NOT_READ: Final = ("StreamClosed", "The application stopped reading before the answer was whole.")

_BRIEF: Final = ("endpoint", "operation", "stream", "server_address")


class CapturedCall(CallState):
    """A call that the hook records.

    Attributes:
        asked: the request.
        content_type: of the answer.
        dialect: how to read its answer.
        http_status: of the last attempt; None when no answer came.
        limits: headers of each 429 on the way, by the response's identity; lower-case names.
        request_id: the provider's own.
        response: the HTTP response of the last attempt, once there is one.
        retries: attempts beyond the first.
        unread: an answer that the writer is to read: dialect, kind, media type, bytes.
    """

    __slots__ = (
        "asked",
        "content_type",
        "dialect",
        "http_status",
        "limits",
        "request_id",
        "response",
        "retries",
        "stream",
        "time_to_first_token_ms",
        "unread",
    )

    def __init__(
        self, recorder: Any, dialect: Dialect, provider: str, asked: Asked, *, stream: bool
    ) -> None:
        if asked.message is not None:
            asked.message = media.text(asked.message)
        arguments = (provider, asked.model, asked.message, asked.messages, asked.parameters)
        super().__init__(arguments, asked.fields, {}, recorder._defaults, recorder)  # noqa: SLF001 - the logger whose call this is
        self.dialect = dialect
        self.asked = asked
        self.stream = stream
        self.response: Any = None
        self.http_status: int | None = None
        self.request_id: str | None = None
        self.content_type = ""
        self.retries = 0
        self.limits: dict[int, dict[str, str]] = {}
        self.time_to_first_token_ms: float | None = None
        self.unread: tuple[str, str, str, bytes] | None = None

    def intent(self) -> build.Parts:
        """Say what the record before the request consists of."""
        parts = super().intent()
        fields = self.asked.fields
        self._request_brief = {name: fields[name] for name in _BRIEF if name in fields}
        return parts

    def outcome(self) -> build.Parts:
        """Say what the record after the request consists of."""
        parts = super().outcome()
        return parts if self.unread is None else (*parts, self.unread)

    def leave_unread(self, media_type: str, body: bytes) -> None:
        """End well, with an answer that the writer reads; it may tell of a failure all the same."""
        self.settle(None, None)
        self.unread = (self.dialect.package, self.asked.kind, media_type, body)

    def is_plain(self) -> bool:
        """Say yes: everything here was JSON or is made of plain values; the rest is caught."""
        return True

    def note_response(self, response: Any) -> None:
        """Note status and ids of the HTTP response that is the answer."""
        self.response = response
        self.http_status = response.status_code
        wanted = self.dialect.request_id_headers
        best = len(wanted)
        for name, value in response.headers.raw:  # once through; each .get() would be, too
            lower = name.lower()
            if lower == b"content-type":
                self.content_type = value.decode("latin-1")
            elif lower in wanted and wanted.index(lower) < best:
                best = wanted.index(lower)
                self.request_id = value.decode("latin-1")

    def note_token(self, at_s: float) -> None:
        """Note when the first content came (``time.perf_counter``)."""
        if self.time_to_first_token_ms is None:
            self.time_to_first_token_ms = round((at_s - self._started_s) * 1000, 3)

    def settle(self, answer: Answer | None, error: BaseException | tuple[str, str] | None) -> None:
        """Take over what was answered, and how it ended; ``error`` None means well."""
        report, fields = told(answer)
        if self.http_status is not None:
            fields["http_status"] = self.http_status
        if self.request_id is not None:
            fields["request_id"] = self.request_id
        fields["retries"] = self.retries
        fields["stream"] = self.stream
        if self.time_to_first_token_ms is not None:
            report["time_to_first_token_ms"] = self.time_to_first_token_ms
        failure = answer.error if answer is not None else None
        # As complete() and partial() do, for names that are known to be right.
        self._reported, self._fields = report, fields
        if error is None and failure is None:
            self._status = Status.COMPLETED
            return
        if isinstance(error, BaseException):
            self.left_by(error)
        else:
            self._status = Status.ABORTED if error is NOT_READ else Status.FAILED
            self._error = error or failure

    def estimate(self, answer: Answer) -> None:
        """Fill in tokens that the provider did not tell, and mark the record for it."""
        if answer.usage is not None and answer.is_complete:
            return
        if answer.input_tokens is None:
            asked = (self._length or 0) + len(str(self.asked.fields.get("tools", "")))
            answer.input_tokens = -(-asked // CHARACTERS_PER_TOKEN)
        said = sum(len(text or "") for text in (answer.text, answer.reasoning, answer.refusal))
        said += sum(len(str(call.get("arguments"))) for call in answer.tool_calls or ())
        # What was told at the start of a stream is not yet what it cost.
        told = answer.output_tokens or 0
        answer.output_tokens = max(told, -(-said // CHARACTERS_PER_TOKEN))
        answer.extra["usage_estimated"] = True

    def limit_details(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Say which limit a 429 met, for its own record."""
        details = self.dialect.rate_limit(headers)
        details["provider"], details["model"] = self._arguments[0], self._arguments[1]
        details["endpoint"] = self.asked.fields.get("endpoint")
        details["http_status"] = 429
        for name in self.dialect.request_id_headers:
            if (found := headers.get(name.decode())) is not None:
                details["request_id"] = found
                break
        return details


def now_s() -> float:
    """Tell the clock by which first tokens are timed."""
    return time.perf_counter()
