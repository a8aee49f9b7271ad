"""``AuditLogger``: the facade an application uses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Literal, Self, TypedDict, Unpack

from affidavit import _records, context
from affidavit._call import CallState
from affidavit._engine import Engine, State, Stats, Ticket
from affidavit.config import AuditConfig, Settings, mongodb_uri
from affidavit.errors import AuditUnavailable, ConfigError
from affidavit.event import Dest, Document, EventType
from affidavit.pipeline.build import Parts
from affidavit.pipeline.snapshot import take
from affidavit.store import connect

_log: Final = logging.getLogger("affidavit")

_RECORDS: Final = Dest.RECORDS

GRACE_S: Final = 1.0
"""Beyond ``write_timeout``: time for the spool's fsync before a caller stops waiting."""

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
        # Opened once per process: wrong targets show here, a forked child opens its own.
        first = [connect(where, resolved, uri)]
        self._engine = Engine(
            lambda: first.pop() if first else connect(where, resolved, uri), resolved
        )
        if self._enabled:
            if self.config.redaction == "off":
                _log.warning(
                    "affidavit: texts are stored as they are (redaction='off'), with the secrets "
                    "and personal data they hold. docs/how-to/redaction.md shows the choices."
                )
            self._engine.start(check=self._refuse)

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

    # -- looking at it ---------------------------------------------------------------------------

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


class Call(CallState):
    """An audited call as a context manager; see :meth:`AuditLogger.call`."""

    __slots__ = ()

    def __enter__(self) -> Self:
        self.begin()
        self.facade._enter(self)  # noqa: SLF001 - the other half of this class
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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

    def _enter(self, call: Call) -> None:
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

    def _leave(self, call: Call) -> None:
        if not self._enabled:
            return
        ticket = self._submit(
            _records.new_id(), call.outcome, plain=call.is_plain(), wait=self._waits
        )
        if ticket is not None:
            ticket.wait(max(0.0, self._write_timeout_s - call.waited_s) + GRACE_S)

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

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send everything recorded so far; False if it is not all in the store in time.

        What is not in the store then is in the spool, and follows by itself.
        """
        return self._engine.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Drain and stop. What cannot be sent in time stays in the spool for the next process."""
        self._engine.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
