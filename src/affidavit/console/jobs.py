"""Long work in the background: a verification, an export. Its progress, its end, and its result.

The work runs on a thread of the process that was asked. What is known of it is kept in the
service's collection too, so that other processes, and this one after a restart, show it; one that
has not been heard of for a while was cut off with its process. Cancelling works from every process:
it is noted there, and the work looks at its next step.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from affidavit.errors import AffidavitError, ConfigError, StoreError
from affidavit.integrity.errors import IntegrityError

if TYPE_CHECKING:
    from fastapi import Request

    from affidavit.console.visitor import Visitor
    from affidavit.store.serving import ServiceStore

State = Literal["running", "done", "failed", "cancelled", "cut off"]

KEPT: Final = timedelta(days=90)
SILENT: Final = timedelta(seconds=60)
"""A running job that has not been heard of for so long was cut off."""

_TELL_S: Final = 2.0
_LONGEST: Final = 600
_log: Final = logging.getLogger("affidavit")


class CancelledError(Exception):
    """Somebody has asked that the work ends."""


class Tell(Protocol):
    """Says how far work is. Raises CancelledError where it is to end."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """``total`` is 0 where it is not known."""


Work = Callable[[Tell], Mapping[str, Any]]
"""Does it and gives the result, as plain values."""


@dataclass(slots=True)
class Job:
    """One piece of work, as it is."""

    kind: str
    name: str
    by: str
    by_id: str
    """The account that began it; in older ones the id of the session or token."""
    made_at: datetime
    wanted: Mapping[str, Any]
    state: State = "running"
    step: str = ""
    done: int = 0
    total: int = 0
    ended_at: datetime | None = None
    error: str | None = None
    result: Mapping[str, Any] | None = None
    heard_at: datetime | None = None

    @property
    def part(self) -> float | None:
        """How much of it is done; None where that is not known."""
        return min(1.0, self.done / self.total) if self.total else None

    def is_of(self, visitor: Visitor) -> bool:
        """Whether a visitor began it: the same account, whatever the name."""
        return self.by_id in visitor.ids

    def may_be_ended_by(self, visitor: Visitor) -> bool:
        """Whether a visitor may cancel it: who began it, and who sees the whole log."""
        return visitor.scope.everything or self.is_of(visitor)

    @property
    def took_s(self) -> float:
        """Seconds since it began, or that it took."""
        return ((self.ended_at or datetime.now(UTC)) - self.made_at).total_seconds()

    def as_document(self) -> dict[str, Any]:
        """Write it down. The result is a text: it may hold names that a document cannot have."""
        fields = ("by", "by_id", "state", "step", "done", "total", "ended_at", "error", "heard_at")
        written = None if self.result is None else json.dumps(self.result, default=str)
        told = {name: getattr(self, name) for name in fields}
        return {**told, "began_at": self.made_at, "wanted": dict(self.wanted), "result": written}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Job:
        """Read what was written down."""
        result = document.get("result")
        job = cls(
            kind=str(document["kind"]),
            name=str(document["name"]),
            by=str(document.get("by", "")),
            by_id=str(document.get("by_id", "")),
            made_at=document.get("began_at") or document["made_at"],
            wanted=document.get("wanted") or {},
            state=document.get("state", "cut off"),
            step=str(document.get("step", "")),
            done=int(document.get("done", 0)),
            total=int(document.get("total", 0)),
            ended_at=document.get("ended_at"),
            error=document.get("error"),
            result=None if result is None else json.loads(result),
            heard_at=document.get("heard_at"),
        )
        heard = job.heard_at or job.made_at
        if job.state == "running" and datetime.now(UTC) - heard > SILENT:
            job.state = "cut off"
        return job


@dataclass(slots=True)
class _Running:
    job: Job
    stop: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """Begins work and knows what became of it. Any number of threads may ask."""

    def __init__(self, store: Callable[[], ServiceStore]) -> None:
        """``store`` gives the service's collection, or raises StoreError while it is away."""
        self._store = store
        self._held: dict[tuple[str, str], _Running] = {}
        self._lock = threading.Lock()

    def begin(self, kind: str, by: tuple[str, str], wanted: Mapping[str, Any], work: Work) -> Job:
        """Begin work on a thread. Raises ConfigError while another of its kind runs here.

        ``by`` is the visitor's name and account.
        """
        name, now = secrets.token_hex(8), datetime.now(UTC)
        running = _Running(Job(kind, name, *by, now, dict(wanted), heard_at=now))
        with self._lock:
            if any(k == kind and r.job.state == "running" for (k, _), r in self._held.items()):
                msg = "One of these is running already. Wait for it, or cancel it."
                raise ConfigError(msg)
            self._forget()
            self._held[kind, name] = running
        self._keep(running.job)
        thread = threading.Thread(
            target=self._run, args=(running, work), name=f"affidavit-{kind}", daemon=True
        )
        thread.start()
        return running.job

    def find(self, kind: str, name: str) -> Job | None:
        """Give one; None where there is none, or it was too long ago. Raises StoreError."""
        with self._lock:
            running = self._held.get((kind, name))
        if running is not None:
            return running.job
        document = self._store().get(kind, name)
        return None if document is None else Job.read(document)

    def newest(self, kind: str, limit: int = 20) -> list[Job]:
        """Give the newest of a kind, from every process. Raises StoreError."""
        found = {each.name: each for each in map(Job.read, self._store().all(kind, limit=limit))}
        with self._lock:
            here = [r.job for (k, _), r in self._held.items() if k == kind]
        found |= {job.name: job for job in here}
        return sorted(found.values(), key=lambda job: job.made_at, reverse=True)[:limit]

    def cancel(self, kind: str, name: str) -> None:
        """Ask that work ends, wherever it runs. Raises StoreError where that cannot be noted."""
        with self._lock:
            running = self._held.get((kind, name))
        if running is not None:
            running.stop.set()
            return
        self._store().put(f"{kind} cancelled", name, {}, datetime.now(UTC) + timedelta(hours=1))

    # -- the thread ------------------------------------------------------------------------------

    def _run(self, running: _Running, work: Work) -> None:
        job = running.job
        try:
            result = work(self._teller(running))
        except CancelledError:
            self._end(job, "cancelled")
        except (AffidavitError, IntegrityError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._end(job, "failed", error=why[:_LONGEST])
        except Exception as error:
            # It must not stay running for ever; and the text could hold content of a record.
            _log.error("affidavit: %s in the background failed: %s", job.kind, type(error).__name__)
            self._end(job, "failed", error=f"It failed unexpectedly ({type(error).__name__}).")
        else:
            self._end(job, "done", result=result)

    def _end(
        self,
        job: Job,
        state: State,
        *,
        error: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        job.error, job.result, job.ended_at = error, result, datetime.now(UTC)
        job.heard_at = job.ended_at
        job.state = state
        self._keep(job)

    def _teller(self, running: _Running) -> Tell:
        job, kept_s = running.job, time.monotonic()

        def tell(step: str, done: int, total: int) -> None:
            nonlocal kept_s
            job.step, job.done, job.total = step, done, total
            if time.monotonic() - kept_s >= _TELL_S:
                kept_s, job.heard_at = time.monotonic(), datetime.now(UTC)
                self._keep(job)
                with contextlib.suppress(StoreError):
                    if self._store().remove(f"{job.kind} cancelled", job.name) is not None:
                        running.stop.set()
            if running.stop.is_set():
                raise CancelledError

        return tell

    def _keep(self, job: Job) -> None:
        """Write it down; where that cannot be, this process knows it all the same."""
        with contextlib.suppress(StoreError):
            self._store().put(job.kind, job.name, job.as_document(), job.made_at + KEPT)

    def _forget(self) -> None:
        """Leave out what has ended long ago; the store has it."""
        ended = [key for key, held in self._held.items() if held.job.state != "running"]
        for key in ended[:-_HELD]:
            del self._held[key]


_HELD: Final = 20
"""Ended jobs that a process remembers by itself."""


def jobs_of(request: Request) -> Jobs:
    """Give the background work of the process that was asked."""
    state = request.app.state
    found: Jobs | None = getattr(state, "jobs", None)
    if found is None:
        backend = state.backend
        found = state.jobs = Jobs(lambda: backend.service)
    return found
