"""What both facades share: settings, the engine, building records, and looking at the log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar, Unpack

from affidavit import _records, context
from affidavit._awaiting import GRACE_S
from affidavit._call import CallState
from affidavit._engine import Engine, State, Stats, Ticket
from affidavit._engine.core import Core
from affidavit._engine.inbox import Item
from affidavit.config import AuditConfig, Settings, mongodb_uri
from affidavit.errors import AuditUnavailable, ConfigError
from affidavit.event import Dest, Document, EventType
from affidavit.pipeline.build import Parts
from affidavit.pipeline.snapshot import take
from affidavit.store import connect, open_log, rollups_sharing, seals_sharing

if TYPE_CHECKING:
    from affidavit.analytics.facade import Analytics
    from affidavit.sealer.inprocess import InProcessSealer

_log: Final = logging.getLogger("affidavit")

_RECORDS: Final = Dest.RECORDS

_SEAL_TIMEOUT_S: Final = 5.0
"""Seconds that one question of a sealer inside an application may take."""

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C")

AnnotationKind = Literal["score", "review", "decision"]
Severity = Literal["low", "medium", "high", "critical"]


class Dimensions(TypedDict, total=False):
    """Who and where, for one record; over those of the context."""

    user_id: str | None
    department: str | None
    tenant: str | None
    environment: str | None
    service: str | None
    session_id: str | None
    conversation_id: str | None
    ip_address: str | None
    user_agent: str | None


def check_dimensions(given: Mapping[str, Any]) -> None:
    """Raise TypeError for a keyword that is no dimension, naming where it belongs."""
    if not context.KNOWN.issuperset(given):
        unknown = given.keys() - context.KNOWN
        names = ", ".join(sorted(unknown))
        msg = f"Unknown keyword {names}. Fields of your own go into fields={{...}}."
        raise TypeError(msg)


def _sealer(core: Core) -> InProcessSealer | None:
    """Give a writer the thread that seals the log while nobody else does."""
    store = seals_sharing(core.store, core.second_connection, _SEAL_TIMEOUT_S)
    if store is None:
        return None
    # Here, on the application's thread: a fork must not meet a background thread that imports.
    from affidavit.analytics.keeper import Keeper
    from affidavit.analytics.upkeep import PIECE, Turns
    from affidavit.anchors.beside import beside_sealing
    from affidavit.sealer.inprocess import InProcessSealer
    from affidavit.tally.pace import Gentle

    rollups = rollups_sharing(core.store, core.config, core.second_connection, _SEAL_TIMEOUT_S)
    turns = None
    if rollups is not None:
        turns = Turns(Keeper(store, rollups, most_leaves=PIECE, pace=Gentle()))
    beside = beside_sealing(store, core.config)
    return InProcessSealer(
        store, core.config, core.prepared, lambda: core.breaker.is_open, turns, beside
    )


class Recorder:
    """What both facades share: settings, the engine, and building records."""

    def __init__(
        self,
        target: object = None,
        config: AuditConfig | None = None,
        *,
        uri: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """See :class:`AuditLogger`."""
        self.config = AuditConfig.load(config, **settings)
        if target is None:
            target = mongodb_uri(uri)
            if target is None:
                msg = (
                    "No database given. Pass a URI or a client to AuditLogger(...), or set "
                    "AFFIDAVIT_MONGODB_URI."
                )
                raise ConfigError(msg)
        self._enabled = self.config.enabled
        self._listeners: tuple[Callable[[CallState], None], ...] = ()
        self._defaults = {
            name: value
            for name in ("department", "tenant", "environment", "service")
            if (value := getattr(self.config, name)) is not None
        }
        self._refuse = self.config.on_failure == "refuse"
        self._waits = not self.config.async_writes
        self._write_timeout_s = self.config.write_timeout
        self._enough = (
            State.SPOOLED
            if self.config.durable == "spool" or self.config.batch_writes
            else State.STORED
        )
        where, resolved = target, self.config
        self._open_log = lambda: open_log(where, resolved, uri)
        self._asked: Analytics | None = None
        # Opened once per process: wrong targets show here, a forked child opens its own.
        first = [connect(where, resolved, uri)]
        self._engine = Engine(
            lambda: first.pop() if first else connect(where, resolved, uri),
            resolved,
            accompany=_sealer if resolved.seal == "auto" else None,
        )
        if self._enabled:
            if self.config.redaction == "off":
                _log.warning(
                    "affidavit: texts are stored as they are (redaction='off'), with the secrets "
                    "and personal data they hold. docs/how-to/redaction.md shows the choices."
                )
            self._engine.start(check=self._refuse)
            if self.config.guard != "off":
                from affidavit.capture import guard

                guard.activate(self, self.config.guard, self.config.guard_hosts)

    # -- building and submitting -----------------------------------------------------------------

    def _submit(
        self, record_id: bytes, build: Callable[[], Document | Parts], *, plain: bool, wait: bool
    ) -> Ticket | None:
        """Build, snapshot and enqueue; whatever goes wrong here must not reach the application."""
        try:  # as _snapshot does, without the price of another call
            snapshot = take(build(), plain=plain)
        except Exception:
            snapshot = self._snapshot(build, plain=plain)
        return self._engine.submit(_RECORDS, record_id, snapshot, wait=wait)

    def _snapshot(self, build: Callable[[], Document | Parts], *, plain: bool) -> bytes:
        try:
            return take(build(), plain=plain)
        except Exception as error:
            # The error's own text could hold content of the record: its type must do.
            kind = type(error).__name__
            _log.error("affidavit: a record could not be built (%s); content withheld.", kind)
            return take(_records.withheld(kind), plain=True)

    def _event(
        self,
        event_type: EventType,
        dimensions: Mapping[str, Any],
        details: Mapping[str, Any],
        **more: object,
    ) -> tuple[bytes, Callable[[], Document]]:
        """Prepare a record that is not a call: its id, and how to build it."""

        def build() -> Document:
            document = _records.event(event_type, dimensions, self._defaults)
            document.update({k: v for k, v in more.items() if v is not None})
            document["details"] = {k: v for k, v in details.items() if v is not None}
            return document

        return _records.new_id(), build

    def _rate_limit(
        self, limit_type: str, usage: object, details: object, dimensions: Mapping[str, Any]
    ) -> tuple[bytes, Callable[[], Document]]:
        return self._event(
            EventType.RATE_LIMIT_EXCEEDED,
            dimensions,
            {"limit_type": limit_type, "current_usage": usage, "details": details},
            success=False,
        )

    def _security(
        self,
        kind: str,
        severity: str,
        details: object,
        call_id: str | None,
        dimensions: Mapping[str, Any],
    ) -> tuple[bytes, Callable[[], Document]]:
        return self._event(
            EventType.SECURITY_EVENT,
            dimensions,
            {"kind": kind, "severity": severity, "details": details},
            call_id=call_id,
        )

    def _enqueue(self, record_id: bytes, build: Callable[[], Document | Parts]) -> None:
        """Hand a record over and wait for nothing, not even for room in the queue.

        For code that must not block, such as an audit hook. A full queue counts it as lost.
        """
        if not self._enabled:
            return
        snapshot = self._snapshot(build, plain=False)
        item = Item(_RECORDS, record_id, snapshot, None, time.monotonic())
        if not self._engine.try_put(item):
            self._engine.give_up(item)

    def _on_outcome(self, listener: Callable[[CallState], None]) -> Callable[[], None]:
        """Have each call told to ``listener`` when it is over; returns what stops that."""
        self._listeners = (*self._listeners, listener)

        def stop() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

        return stop

    @property
    def is_listened_to(self) -> bool:
        """Whether somebody wants to know of each call when it is over."""
        return bool(self._listeners)

    def _tell(self, call: CallState) -> None:
        for listener in self._listeners:
            listener(call)

    def _observe(self, function: F | None, options: tuple[Any, ...]) -> F | Callable[[F], F]:
        from affidavit.capture.observe import Options, observed

        chosen = Options(*options)
        if function is not None:
            return observed(self, function, chosen)
        return lambda wanted: observed(self, wanted, chosen)

    def _unguard(self) -> None:
        """Switch off the guard that this logger switched on."""
        guard = sys.modules.get("affidavit.capture.guard")
        if guard is not None:
            guard.deactivate(self)

    def _annotation(
        self, call_id: str, kind: str, name: str, value: object, ref: str | None, note: str | None
    ) -> tuple[bytes, Callable[[], Document]]:
        return self._event(
            EventType.ANNOTATION,
            {},
            {"kind": kind, "name": name, "value": value, "ref": ref, "note": note},
            call_id=call_id,
        )

    def _check_intent(self, state: State) -> None:
        if state < self._enough:
            msg = (
                f"The intent of this call is not durable ({state.name.lower()}), and "
                "on_failure='refuse': do not call the model. Bring the database back "
                "(`affidavit doctor`), or set durable='spool' or on_failure='spool'."
            )
            raise AuditUnavailable(msg)

    # -- a call, for whoever may block: also a synchronous client of AsyncAuditLogger.wrap ---------

    def _enter_blocking(self, call: CallState) -> None:
        if not self._enabled:
            return
        started_s = time.monotonic()
        ticket = self._submit(call.intent_id, call.intent, plain=call.is_plain(), wait=self._refuse)
        if ticket is None:
            return
        state = ticket.wait(self._write_timeout_s + GRACE_S)
        call.waited_s = time.monotonic() - started_s
        try:
            self._check_intent(state)
        except AuditUnavailable as error:
            call.fail(error)
            self._submit(_records.new_id(), call.outcome, plain=call.is_plain(), wait=False)
            raise

    def _leave_blocking(self, call: CallState) -> None:
        if not self._enabled:
            return
        if self._listeners:
            self._tell(call)
        ticket = self._submit(
            _records.new_id(), call.outcome, plain=call.is_plain(), wait=self._waits
        )
        if ticket is not None:
            ticket.wait(max(0.0, self._write_timeout_s - call.waited_s) + GRACE_S)

    # -- clients of SDKs ---------------------------------------------------------------------------

    def wrap(self, client: C) -> C:
        """Record everything that a client of the openai or anthropic SDK does, and return it.

        The client itself is changed, and so are copies that ``with_options()`` makes of it. Any of
        their clients will do, synchronous or not: this logger never blocks an event loop for one.
        A client that is wrapped again, or in an instrumented process, still records once.

        Raises TypeError for anything else.
        """
        from affidavit import capture

        capture.wrap(client, self)
        return client

    # -- looking at it ---------------------------------------------------------------------------

    def _questions(self) -> Analytics:
        """Give what answers questions about the log, over connections of its own for a URI."""
        if self._asked is None:
            from affidavit.analytics.facade import Analytics

            self._asked = Analytics(self._open_log)
        return self._asked

    def _stop_asking(self) -> None:
        if self._asked is not None:
            self._asked.close()

    def stats(self) -> Stats:
        """Give this process's numbers: recorded, queued, stored, spooled, dead-lettered, lost."""
        return self._engine.stats()

    def context(
        self,
        *,
        user_id: str | None = None,
        department: str | None = None,
        tenant: str | None = None,
        session_id: str | None = None,
        conversation_id: str | None = None,
        ip_address: str | None = None,
        user_agent: str | None = None,
    ) -> AbstractContextManager[None]:
        """Say who is calling, for every record made inside the ``with`` block."""
        return context.scope(
            {
                "user_id": user_id,
                "department": department,
                "tenant": tenant,
                "session_id": session_id,
                "conversation_id": conversation_id,
                "ip_address": ip_address,
                "user_agent": user_agent,
            }
        )
