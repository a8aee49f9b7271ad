"""One audited call: what the application reports about it, shared by both facades."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypedDict, Unpack

from affidavit import _records
from affidavit.event import Document, EventType, Status
from affidavit.pipeline.snapshot import is_plain

_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "finish_reason",
    "time_to_first_token_ms",
)

_REQUEST: Final = EventType.LLM_REQUEST
_RESPONSE: Final = EventType.LLM_RESPONSE
_INITIATED: Final = Status.INITIATED
_COMPLETED: Final = Status.COMPLETED
_ABORTED: Final = Status.ABORTED

ABORTING: Final = (CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
"""Leaving by one of these is an abort by the caller's side, not a failure of the call."""


class RequestArguments(NamedTuple):
    """What the application sends to the model."""

    provider: str
    model: str | None
    message: str | None
    messages: Sequence[Any] | None
    parameters: Mapping[str, Any] | None


class Report(TypedDict, total=False):
    """What an application may report of an answer; None means "not known".

    Token counts are the provider's, ``input_tokens`` with the cached ones included; ``cost_usd`` is
    dollars, as Decimal, text, int or float.
    """

    text: str | None
    provider_used: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    tokens_used: int | None
    cost_usd: Decimal | str | float | None
    finish_reason: str | None
    time_to_first_token_ms: float | None
    tool_calls: Sequence[Any] | None
    fields: Mapping[str, Any] | None


_REPORTABLE: Final = frozenset(Report.__annotations__)


class CallState:
    """What is known of a call so far. Not thread-safe: one call belongs to one task or thread.

    Attributes:
        call_id: 24 hexadecimal digits; every record of this call carries it.
    """

    __slots__ = (
        "_arguments",
        "_asked_plain",
        "_defaults",
        "_dimensions",
        "_error",
        "_fields",
        "_reported",
        "_request_brief",
        "_request_fields",
        "_started_s",
        "_status",
        "_who",
        "call_id",
        "intent_id",
        "waited_s",
    )

    def __init__(
        self,
        arguments: RequestArguments,
        fields: Mapping[str, Any] | None,
        dimensions: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> None:
        self.intent_id = _records.new_id()
        self.call_id = self.intent_id.hex()
        self._arguments = arguments
        self._request_fields = fields
        self._dimensions = dimensions
        self._defaults = defaults
        self._who: Document | None = None
        self._asked_plain: bool | None = None
        self._request_brief: Document = {}
        self._reported: dict[str, Any] = {}
        self._fields: dict[str, Any] = {}
        self._status: Status | None = None
        self._error: tuple[str, str] | None = None
        self._started_s = time.perf_counter()
        self.waited_s = 0.0

    # -- what the application says ---------------------------------------------------------------

    def partial(self, **report: Unpack[Report]) -> None:
        """Note what has arrived so far, without finishing; later values replace earlier ones."""
        if not report.keys() <= _REPORTABLE:
            names = ", ".join(sorted(report.keys() - _REPORTABLE))
            msg = f"Unknown keyword {names}. Fields of your own go into fields={{...}}."
            raise TypeError(msg)
        fields = report.pop("fields", None)
        for name, value in report.items():
            if value is not None:
                self._reported[name] = value
        if isinstance(fields, Mapping):
            self._fields.update(fields)

    def complete(self, **report: Unpack[Report]) -> None:
        """Say that the call succeeded; takes what :meth:`partial` takes. Sent on leaving."""
        self.partial(**report)
        self._status = _COMPLETED

    def fail(self, error: BaseException | str, **report: Unpack[Report]) -> None:
        """Say that the call failed; an exception that leaves the block does this by itself."""
        self.partial(**report)
        self._status = Status.FAILED
        self._note_error(error)

    def left_by(self, error: BaseException | None) -> None:
        """Settle the status on leaving the block."""
        if self._status is not None:
            return
        if error is None:
            self._status = Status.ABORTED
            self._error = ("NoOutcome", "The block ended without complete() or fail().")
        else:
            self._status = Status.ABORTED if isinstance(error, ABORTING) else Status.FAILED
            self._note_error(error)

    def _note_error(self, error: BaseException | str) -> None:
        if isinstance(error, BaseException):
            try:
                text = str(error)
            except Exception:
                text = ""
            self._error = (type(error).__name__, text or type(error).__name__)
        else:
            self._error = ("Error", str(error))

    # -- the two records -------------------------------------------------------------------------

    def intent(self) -> Document:
        """Build the record that is written before the model is asked."""
        document = _records.envelope(_REQUEST, _INITIATED, self.call_id, self._known_of_caller())
        arguments = self._arguments
        whole, self._request_brief = _records.request_data(*arguments, self._request_fields)
        document["provider"] = arguments.provider
        if arguments.model is not None:
            document["model"] = arguments.model
        document["request_data"] = whole
        self._started_s = time.perf_counter()
        return document

    def outcome(self) -> Document:
        """Build the record that is written when the call is over."""
        took_ms = round((time.perf_counter() - self._started_s) * 1000, 3)
        status = self._status or _ABORTED
        document = _records.envelope(_RESPONSE, status, self.call_id, self._known_of_caller())
        report = self._reported
        document["success"] = status is _COMPLETED
        document["error_message"] = None
        if self._error is not None:
            document["error_type"], document["error_message"] = self._error
        provider, model = report.get("provider_used"), report.get("model")
        provider = self._arguments.provider if provider is None else provider
        model = self._arguments.model if model is None else model
        document["provider"] = provider
        if model is not None:
            document["model"] = model
        for name in _COUNTS:
            value = report.get(name)
            if value is not None:
                document[name] = value
        document["request_data"] = self._request_brief
        cost = report.get("cost_usd")
        document["response_data"] = response = _records.response_data(
            text=report.get("text"),
            provider_used=provider,
            tokens_used=_tokens_used(report),
            cost_usd=cost,
            processing_time_ms=took_ms,
            tool_calls=report.get("tool_calls"),
            fields=self._fields,
        )
        if cost is not None and response["cost_usd"] is None:
            document["odd"] = ["cost_not_a_number"]
        return document

    def _known_of_caller(self) -> Document:
        """Who and where, looked up once: both records of a call say the same."""
        if self._who is None:
            self._who = _records.who(self._dimensions, self._defaults)
        return self._who

    def is_plain(self) -> bool:
        """Whether the application's own fields can be snapshot the quick way."""
        if self._asked_plain is None:
            asked = self._request_fields
            self._asked_plain = asked is None or (type(asked) is dict and is_plain(asked))
        return self._asked_plain and (not self._fields or is_plain(self._fields))


def _tokens_used(report: Mapping[str, Any]) -> int | None:
    given = report.get("tokens_used")
    if given is not None:
        return int(given) if isinstance(given, int) else None
    asked, answered = report.get("input_tokens"), report.get("output_tokens")
    if asked is None and answered is None:
        return None
    asked, answered = 0 if asked is None else asked, 0 if answered is None else answered
    both = isinstance(asked, int) and isinstance(answered, int)
    return asked + answered if both else None
