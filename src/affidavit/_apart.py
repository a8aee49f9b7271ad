"""Calls that begin in one place and end in another: callbacks, generators.

What ``with audit.call(...)`` does around a block, in two steps. The code in between is not known,
so these do not say that a call is under way there (:data:`affidavit.context.in_call`).
"""

from __future__ import annotations

from affidavit import _awaiting, _records
from affidavit._call import CallState


def begin(call: CallState) -> None:
    """Record the intent, as entering a block does. Raises AuditUnavailable under ``refuse``."""
    call.begin()
    call.facade._enter_blocking(call)  # noqa: SLF001 - the logger's half of a call


def end(call: CallState, error: BaseException | None = None) -> None:
    """Record the outcome, as leaving a block does."""
    call.left_by(error)
    call.facade._leave_blocking(call)  # noqa: SLF001 - as above


async def abegin(call: CallState) -> None:
    """As :func:`begin`, without holding up the event loop."""
    call.begin()
    await _awaiting.enter(call.facade, call)


async def aend(call: CallState, error: BaseException | None = None) -> None:
    """As :func:`end`, without holding up the event loop."""
    call.left_by(error)
    await _awaiting.leave(call.facade, call)


def announce(call: CallState) -> None:
    """Record the intent and wait for nothing: where nobody could stop the call, or may block."""
    call.begin()
    call.facade._enqueue(call.intent_id, call.intent)  # noqa: SLF001 - as above


def abandon(call: CallState, error: BaseException) -> None:
    """Record that nobody waits for the call any more; itself waits for nothing."""
    call.left_by(error)
    facade = call.facade
    if facade._listeners:  # noqa: SLF001 - as above
        facade._tell(call)  # noqa: SLF001 - as above
    facade._enqueue(_records.new_id(), call.outcome)  # noqa: SLF001 - as above
