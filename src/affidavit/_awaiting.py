"""Entering and leaving a call without holding up the event loop; for any logger, of either kind.

Records are encoded and enqueued on the loop, and acknowledgements come back through
``loop.call_soon_threadsafe``. The asynchronous facade waits this way, and so do captured clients
that are asynchronous, whichever logger they were given.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from affidavit import _records
from affidavit._engine import State, Ticket
from affidavit._engine.inbox import Item
from affidavit._engine.ticket import SLICE_S
from affidavit.errors import AuditUnavailable
from affidavit.event import Dest, Document
from affidavit.pipeline.build import Parts

if TYPE_CHECKING:
    from affidavit._call import CallState
    from affidavit._recorder import Recorder


GRACE_S: Final = 1.0
"""Beyond ``write_timeout``: time for the spool's fsync before a caller stops waiting."""


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


async def settled(ticket: Ticket, timeout_s: float) -> State:
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


async def put(
    recorder: Recorder,
    record_id: bytes,
    build: Callable[[], Document | Parts],
    *,
    plain: bool,
    wait: bool,
) -> Ticket | None:
    """Hand a record over; waits for room at most ``queue_wait``, without holding up the loop."""
    engine = recorder._engine  # noqa: SLF001 - half of the logger that may not block
    ticket = Ticket() if wait else None
    snapshot = recorder._snapshot(build, plain=plain)  # noqa: SLF001 - as above
    item = Item(Dest.RECORDS, record_id, snapshot, ticket, time.monotonic())
    while not engine.try_put(item):
        if time.monotonic() - item.at_s >= recorder.config.queue_wait:
            engine.give_up(item)
            break
        try:
            await asyncio.sleep(0.002)
        except BaseException:  # cancelled while waiting for room: one last try, then counted
            if not engine.try_put(item):
                engine.give_up(item)
            raise
    return ticket


async def enter(recorder: Recorder, call: CallState) -> None:
    """Send the intent; under ``on_failure="refuse"`` wait until it is durable.

    Raises:
        AuditUnavailable: the intent is not durable, and the model must not be asked.
    """
    if not recorder._enabled:  # noqa: SLF001 - as above
        return
    started_s = time.monotonic()
    ticket = await put(
        recorder,
        call.intent_id,
        call.intent,
        plain=call.is_plain(),
        wait=recorder._refuse,  # noqa: SLF001 - as above
    )
    if ticket is None:
        return
    state = await settled(ticket, recorder._write_timeout_s + GRACE_S)  # noqa: SLF001 - as above
    call.waited_s = time.monotonic() - started_s
    try:
        recorder._check_intent(state)  # noqa: SLF001 - as above
    except AuditUnavailable as error:
        call.fail(error)
        await put(recorder, _records.new_id(), call.outcome, plain=call.is_plain(), wait=False)
        raise


async def leave(recorder: Recorder, call: CallState) -> None:
    """Send the outcome, and wait for it as the logger's mode says."""
    if not recorder._enabled:  # noqa: SLF001 - as above
        return
    if recorder._listeners:  # noqa: SLF001 - as above
        recorder._tell(call)  # noqa: SLF001 - as above
    # Even a cancelled task must get its outcome into the queue: the put itself comes first
    # and does not await while there is room.
    ticket = await put(
        recorder,
        _records.new_id(),
        call.outcome,
        plain=call.is_plain(),
        wait=recorder._waits,  # noqa: SLF001 - as above
    )
    if ticket is not None:
        left_s = recorder._write_timeout_s - call.waited_s  # noqa: SLF001 - as above
        await settled(ticket, max(0.0, left_s) + GRACE_S)
