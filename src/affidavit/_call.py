"""One audited call: what the application reports about it, shared by both facades."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypedDict, Unpack

from affidavit import _records, context
from affidavit.event import Status
from affidavit.pipeline import build
from affidavit.pipeline.snapshot import is_plain

_COMPLETED: Final = Status.COMPLETED.value
_FAILED: Final = Status.FAILED.value
_ABORTED: Final = Status.ABORTED.value

ABORTING: Final = (CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
"""Leaving by one of these is an abort by the caller's side, not a failure of the call."""


Arguments: TypeAlias = tuple[
    str, str | None, str | None, Sequence[Any] | None, Mapping[str, Any] | None
]
"""What the application sends to the model: provider, model, message, messages, parameters."""


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
        facade: the logger that made it.
    """

    __slots__ = (
        "_arguments",
        "_around",
        "_asked_plain",
        "_begun",
        "_defaults",
        "_dimensions",
        "_error",
        "_fields",
        "_length",
        "_reported",
        "_request_brief",
        "_request_fields",
        "_started_s",
        "_status",
        "call_id",
        "facade",
        "intent_id",
        "waited_s",
    )

    def __init__(
        self,
        arguments: Arguments,
        fields: Mapping[str, Any] | None,
        dimensions: Mapping[str, Any],
        defaults: Mapping[str, Any],
        facade: Any = None,
    ) -> None:
        self.facade = facade
        self.intent_id = _records.new_id()
        self.call_id = self.intent_id.hex()
        self._arguments = arguments
        self._request_fields = fields
        self._dimensions = dimensions
        self._defaults = defaults
        self._around: Mapping[str, Any] | None = None
        self._length: int | None = None
        self._asked_plain: bool | None = None
        self._begun = False
        self._request_brief: dict[str, Any] = {}
        self._reported: dict[str, Any] = {}
        self._fields: dict[str, Any] = {}
        self._status: str | None = None
        self._error: tuple[str, str] | None = None
        self._started_s = time.perf_counter()
        self.waited_s = 0.0

    # -- what the application says ---------------------------------------------------------------

    def partial(self, **report: Unpack[Report]) -> None:
        """Note what has arrived so far, without finishing; later values replace earlier ones."""
        if not _REPORTABLE.issuperset(report):
            names = ", ".join(sorted(report.keys() - _REPORTABLE))
            msg = f"Unknown keyword {names}. Fields of your own go into fields={{...}}."
            raise TypeError(msg)
        fields = report.pop("fields", None)
        if not self._reported:
            self._reported = {**report}
        else:
            self._reported.update({k: v for k, v in report.items() if v is not None})
        if isinstance(fields, Mapping):
            self._fields.update(fields)

    def complete(self, **report: Unpack[Report]) -> None:
        """Say that the call succeeded; takes what :meth:`partial` takes. Sent on leaving."""
        if self._reported or not _REPORTABLE.issuperset(report):
            self.partial(**report)
        else:  # the usual case, without handing everything on once more
            fields = report.pop("fields", None)
            self._reported = {**report}
            if type(fields) is dict or isinstance(fields, Mapping):
                self._fields.update(fields)
        self._status = _COMPLETED

    def fail(self, error: BaseException | str, **report: Unpack[Report]) -> None:
        """Say that the call failed; an exception that leaves the block does this by itself."""
        self.partial(**report)
        self._status = _FAILED
        self._note_error(error)

    def left_by(self, error: BaseException | None) -> None:
        """Settle the status on leaving the block."""
        if self._status is not None:
            return
        if error is None:
            self._status = _ABORTED
            self._error = ("NoOutcome", "The block ended without complete() or fail().")
        else:
            self._status = Status.ABORTED if isinstance(error, ABORTING) else _FAILED
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

    @property
    def arguments(self) -> Arguments:
        """What the application sends: provider, model, message, messages, parameters."""
        return self._arguments

    # -- the two records -------------------------------------------------------------------------

    def intent(self) -> build.Parts:
        """Say what the record before the model is asked consists of."""
        arguments = self._arguments
        message = arguments[2]
        # The application may change its own list and dictionary before the call is over.
        self._length = (
            len(message) if type(message) is str else build.text_length(message, arguments[3])
        )
        fields = self._request_fields
        if isinstance(fields, dict) or isinstance(fields, Mapping):  # noqa: SIM101 - the quick one first
            self._request_brief = brief = dict(fields)
            for name, value in fields.items():
                if type(value) is str and len(value) > build.SHORT:
                    del brief[name]
        self._around = context.current()
        self._started_s = time.perf_counter()
        return (
            build.INTENT,
            self.call_id,
            time.time_ns() // 1_000_000,
            self._dimensions,
            self._around,
            self._defaults,
            arguments,
            self._length,
            self._request_fields,
        )

    def outcome(self) -> build.Parts:
        """Say what the record after the call consists of."""
        took_ms = round((time.perf_counter() - self._started_s) * 1000, 3)
        return (
            build.OUTCOME,
            self.call_id,
            time.time_ns() // 1_000_000,
            self._dimensions,
            context.current() if self._around is None else self._around,
            self._defaults,
            *self._arguments[:2],
            self._length,
            self._request_brief,
            self._status or _ABORTED,
            self._error,
            self._reported,
            self._fields,
            took_ms,
        )

    def begin(self) -> None:
        """Note that the block is entered; again, as in a loop of retries, it is another call."""
        if not self._begun:
            self._begun = True
            return
        self.intent_id = _records.new_id()
        self.call_id = self.intent_id.hex()
        self._reported, self._fields = {}, {}
        self._status = self._error = None
        self.waited_s = 0.0

    def is_plain(self) -> bool:
        """Whether the application's own fields can be snapshot the quick way."""
        if self._asked_plain is None:
            asked = self._request_fields
            self._asked_plain = asked is None or (type(asked) is dict and is_plain(asked))
        return self._asked_plain and (not self._fields or is_plain(self._fields))
