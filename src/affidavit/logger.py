"""``AuditLogger``: the facade an application uses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from affidavit import context
from affidavit._awaiting import GRACE_S
from affidavit._call import CallState
from affidavit._recorder import (
    AnnotationKind,
    Dimensions,
    F,
    Recorder,
    Severity,
    check_dimensions,
)
from affidavit.event import Document

if TYPE_CHECKING:
    from affidavit.analytics.facade import Analytics


class Call(CallState):
    """An audited call as a context manager; see :meth:`AuditLogger.call`."""

    __slots__ = ()

    def __enter__(self) -> Self:
        self.begin()
        self.facade._enter(self)  # noqa: SLF001 - the other half of this class
        context.call_begins()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        context.call_ends()
        self.left_by(error)
        self.facade._leave(self)  # noqa: SLF001 - the other half of this class


class AuditLogger(Recorder):
    """Records calls to language models in MongoDB.

    ``target`` is a URI, or an existing ``MongoClient``, ``Database`` or ``Collection`` whose pool
    is then shared; without one, ``AFFIDAVIT_MONGODB_URI`` counts. ``config`` and keyword settings
    go over ``AFFIDAVIT_*`` variables and ``affidavit.toml``. Thread-safe, and correct after a fork.

    Raises ConfigError for wrong settings. A database that is away is a warning, and an error
    (AuditUnavailable) only under ``on_failure="refuse"``. Recording itself never raises, but for
    AuditUnavailable on entering :meth:`call` under ``refuse``.
    """

    def call(
        self,
        *,
        provider: str,
        model: str | None = None,
        message: str | None = None,
        messages: Sequence[Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        **dimensions: Unpack[Dimensions],
    ) -> Call:
        """Audit one call to a model: a ``with`` block around it.

        ``fields`` are the application's own. ``dimensions`` say who and where (``user_id``,
        ``department``, ``tenant``, ``environment``, ``service``, ``session_id``,
        ``conversation_id``, ``ip_address``, ``user_agent``) and go over those of the context.
        """
        if not context.KNOWN.issuperset(dimensions):
            check_dimensions(dimensions)
        return Call(
            (provider, model, message, messages, parameters),
            fields,
            dimensions,
            self._defaults,
            self,
        )

    _enter = Recorder._enter_blocking  # noqa: SLF001 - our own base class
    _leave = Recorder._leave_blocking  # noqa: SLF001 - as above

    def _record(self, record_id: bytes, build: Callable[[], Document]) -> str:
        if self._enabled:
            ticket = self._submit(record_id, build, plain=False, wait=self._waits)
            if ticket is not None:
                ticket.wait(self._write_timeout_s + GRACE_S)
        return record_id.hex()

    def rate_limit_exceeded(
        self,
        *,
        limit_type: str,
        current_usage: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        **dimensions: Unpack[Dimensions],
    ) -> str:
        """Record that somebody hit a limit; returns the record's id."""
        check_dimensions(dimensions)
        return self._record(*self._rate_limit(limit_type, current_usage, details, dimensions))

    def security_event(
        self,
        *,
        kind: str,
        severity: Severity = "medium",
        details: Mapping[str, Any] | None = None,
        call_id: str | None = None,
        **dimensions: Unpack[Dimensions],
    ) -> str:
        """Record an attack, a bypass attempt or abuse; returns the record's id."""
        check_dimensions(dimensions)
        return self._record(*self._security(kind, severity, details, call_id, dimensions))

    def annotate(
        self,
        call_id: str,
        *,
        kind: AnnotationKind,
        name: str,
        value: object = None,
        ref: str | None = None,
        note: str | None = None,
    ) -> str:
        """Attach a score, a review or a decision to a call; returns the record's id.

        The call's own records stay as they are: an annotation is a record of its own.
        """
        return self._record(*self._annotation(call_id, kind, name, value, ref, note))

    @overload
    def observe(self, function: F, /) -> F: ...

    @overload
    def observe(
        self,
        function: None = None,
        /,
        *,
        provider: str = ...,
        model: str | None = ...,
        name: str | None = ...,
        arguments: bool | Collection[str] = ...,
        result: bool = ...,
        fields: Mapping[str, Any] | None = ...,
        **dimensions: Unpack[Dimensions],
    ) -> Callable[[F], F]: ...

    def observe(
        self,
        function: F | None = None,
        /,
        *,
        provider: str = "function",
        model: str | None = None,
        name: str | None = None,
        arguments: bool | Collection[str] = True,
        result: bool = True,
        fields: Mapping[str, Any] | None = None,
        **dimensions: Unpack[Dimensions],
    ) -> F | Callable[[F], F]:
        """Record each call of a function: ``@audit.observe``, or ``@audit.observe(model="m")``.

        Plain functions, coroutines, generators and asynchronous generators. ``arguments`` are all
        recorded (True), none, or those named; ``result`` says whether what it gives is kept;
        ``name`` stands for the function's own. An exception that leaves it makes the call failed,
        cancellation or a generator closed early makes it aborted.
        """
        check_dimensions(dimensions)
        return self._observe(
            function, (provider, model, name, arguments, result, fields, dimensions)
        )

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send everything recorded so far; False if it is not all in the store in time.

        What is not in the store then is in the spool, and follows by itself.
        """
        return self._engine.flush(timeout_s)

    @property
    def analytics(self) -> Analytics:
        """Questions about finished calls: cost, use, speed, quality; see docs/how-to/analytics.md.

        Answers are of what is stored: `flush()` first, where this process batches.
        """
        return self._questions()

    def close(self, timeout_s: float = 5.0) -> None:
        """Drain and stop. What cannot be sent in time stays in the spool for the next process."""
        self._unguard()
        self._stop_asking()
        self._engine.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
