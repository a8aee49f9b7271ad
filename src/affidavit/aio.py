"""``AsyncAuditLogger``: the same methods, awaiting. A thin facade over the one engine.

Nothing here blocks the event loop; :mod:`._awaiting` is how it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from affidavit import _awaiting, context
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
    from affidavit.analytics.facade import AsyncAnalytics


class AsyncCall(CallState):
    """An audited call as an asynchronous context manager."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        self.begin()
        await self.facade._enter(self)  # noqa: SLF001 - the other half of this class
        context.call_begins()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        context.call_ends()
        self.left_by(error)
        await self.facade._leave(self)  # noqa: SLF001 - the other half of this class


class AsyncAuditLogger(Recorder):
    """The asynchronous facade; targets, settings and guarantees are those of ``AuditLogger``.

    An existing ``AsyncMongoClient`` needs its address beside it: ``uri="mongodb://…"``.
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
    ) -> AsyncCall:
        """Audit one call: an ``async with`` block; see :meth:`AuditLogger.call`."""
        check_dimensions(dimensions)
        return AsyncCall(
            (provider, model, message, messages, parameters),
            fields,
            dimensions,
            self._defaults,
            self,
        )

    async def _enter(self, call: CallState) -> None:
        await _awaiting.enter(self, call)

    async def _leave(self, call: CallState) -> None:
        await _awaiting.leave(self, call)

    async def _record(self, record_id: bytes, build: Callable[[], Document]) -> str:
        if self._enabled:
            ticket = await _awaiting.put(self, record_id, build, plain=False, wait=self._waits)
            if ticket is not None:
                await _awaiting.settled(ticket, self._write_timeout_s + GRACE_S)
        return record_id.hex()

    async def rate_limit_exceeded(
        self,
        *,
        limit_type: str,
        current_usage: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        **dimensions: Unpack[Dimensions],
    ) -> str:
        """Record that somebody hit a limit; returns the record's id."""
        check_dimensions(dimensions)
        return await self._record(*self._rate_limit(limit_type, current_usage, details, dimensions))

    async def security_event(
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
        return await self._record(*self._security(kind, severity, details, call_id, dimensions))

    async def annotate(
        self,
        call_id: str,
        *,
        kind: AnnotationKind,
        name: str,
        value: object = None,
        ref: str | None = None,
        note: str | None = None,
    ) -> str:
        """Attach a score, a review or a decision to a call; returns the record's id."""
        return await self._record(*self._annotation(call_id, kind, name, value, ref, note))

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
        """Record each call of an ``async def`` function; see :meth:`AuditLogger.observe`."""
        check_dimensions(dimensions)
        return self._observe(
            function, (provider, model, name, arguments, result, fields, dimensions)
        )

    async def flush(self, timeout_s: float = 10.0) -> bool:
        """Send everything recorded so far; False if it is not all in the store in time."""
        return await asyncio.to_thread(self._engine.flush, timeout_s)

    @property
    def analytics(self) -> AsyncAnalytics:
        """Questions about finished calls, which threads answer; see ``AuditLogger.analytics``."""
        from affidavit.analytics.facade import AsyncAnalytics

        return AsyncAnalytics(self._questions())

    async def close(self, timeout_s: float = 5.0) -> None:
        """Drain and stop. What cannot be sent in time stays in the spool for the next process."""
        self._unguard()
        await asyncio.to_thread(self._stop_asking)
        await asyncio.to_thread(self._engine.close, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
