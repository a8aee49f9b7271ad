"""``AsyncAuditLogger``: the same methods, awaiting. A thin facade over the one engine.

Nothing here blocks the event loop: records are encoded and enqueued on it, and acknowledgements
come back through ``loop.call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack

from affidavit import _records
from affidavit._call import CallState
from affidavit._engine import State, Ticket
from affidavit._engine.inbox import Item
from affidavit._engine.ticket import SLICE_S
from affidavit.errors import AuditUnavailable
from affidavit.event import Dest, Document
from affidavit.logger import (
    GRACE_S,
    AnnotationKind,
    Dimensions,
    Recorder,
    Severity,
    check_dimensions,
)
from affidavit.pipeline.build import Parts


class AsyncCall(CallState):
    """An audited call as an asynchronous context manager."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        self.begin()
        await self.facade._enter(self)  # noqa: SLF001 - the other half of this class
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.left_by(error)
        await self.facade._leave(self)  # noqa: SLF001 - the other half of this class


class _Mailbox:
    """Brings acknowledgements to one event loop: one wake-up for all records of a batch.

    Engine threads post; the loop's own thread delivers. Waking a loop writes to a socket, which for
    each record of a batch would take as long as the batch's own work.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake = weakref.WeakMethod(loop.call_soon_threadsafe)
        self._settled: deque[asyncio.Event] = deque()
        self._called = False

    def post(self, done: asyncio.Event) -> None:
        """Have ``done`` set on the loop."""
        self._settled.append(done)
        wake = self._wake()
        if self._called or wake is None:
            return
        self._called = True
        # A loop that is closed has nobody waiting any more.
        with contextlib.suppress(RuntimeError):
            wake(self._deliver)

    def _deliver(self) -> None:
        self._called = False  # before the first is taken: what comes from now on calls again
        while self._settled:
            self._settled.popleft().set()


_mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox] = (
    weakref.WeakKeyDictionary()
)


async def _settled(ticket: Ticket, timeout_s: float) -> State:
    """Wait for a ticket without holding up the loop."""
    if ticket.state is not State.QUEUED:
        return ticket.state
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    mailbox = _mailboxes.get(loop)
    if mailbox is None:
        mailbox = _mailboxes[loop] = _Mailbox(loop)
    ticket.when_settled(partial(mailbox.post, done))
    while timeout_s > 0:  # in slices, as in Ticket.wait
        slice_s = min(timeout_s, SLICE_S)
        try:
            async with asyncio.timeout(slice_s):
                await done.wait()
            break
        except TimeoutError:
            timeout_s -= slice_s
    return ticket.state


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

    async def _put(
        self, record_id: bytes, build: Callable[[], Document | Parts], *, plain: bool, wait: bool
    ) -> Ticket | None:
        ticket = Ticket() if wait else None
        snapshot = self._snapshot(build, plain=plain)
        item = Item(Dest.RECORDS, record_id, snapshot, ticket, time.monotonic())
        while not self._engine.try_put(item):
            if time.monotonic() - item.at_s >= self.config.queue_wait:
                self._engine.give_up(item)
                break
            try:
                await asyncio.sleep(0.002)
            except BaseException:  # cancelled while waiting for room: one last try, then counted
                if not self._engine.try_put(item):
                    self._engine.give_up(item)
                raise
        return ticket

    async def _enter(self, call: AsyncCall) -> None:
        if not self._enabled:
            return
        started_s = time.monotonic()
        ticket = await self._put(
            call.intent_id, call.intent, plain=call.is_plain(), wait=self._refuse
        )
        if ticket is None:
            return
        state = await _settled(ticket, self._write_timeout_s + GRACE_S)
        call.waited_s = time.monotonic() - started_s
        try:
            self._check_intent(state)
        except AuditUnavailable as error:
            call.fail(error)
            await self._put(_records.new_id(), call.outcome, plain=call.is_plain(), wait=False)
            raise

    async def _leave(self, call: AsyncCall) -> None:
        if not self._enabled:
            return
        # Even a cancelled task must get its outcome into the queue: the put itself comes first
        # and does not await while there is room.
        ticket = await self._put(
            _records.new_id(), call.outcome, plain=call.is_plain(), wait=self._waits
        )
        if ticket is not None:
            await _settled(ticket, max(0.0, self._write_timeout_s - call.waited_s) + GRACE_S)

    async def _record(self, record_id: bytes, build: Callable[[], Document]) -> str:
        if self._enabled:
            ticket = await self._put(record_id, build, plain=False, wait=self._waits)
            if ticket is not None:
                await _settled(ticket, self._write_timeout_s + GRACE_S)
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

    async def flush(self, timeout_s: float = 10.0) -> bool:
        """Send everything recorded so far; False if it is not all in the store in time."""
        return await asyncio.to_thread(self._engine.flush, timeout_s)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Drain and stop. What cannot be sent in time stays in the spool for the next process."""
        await asyncio.to_thread(self._engine.close, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
