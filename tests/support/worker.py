"""A process that records calls and notes each one it was promised, to be killed at any moment.

Run as ``python -m tests.support.worker run JSON`` (one worker, obeys lines on standard input) or
``python -m tests.support.worker zygote`` (imports everything once, then forks a worker for each
``JSON`` line it reads and prints the worker's process id).

After each call that returned, one line goes to the file of acknowledgements by a single ``write``
to a descriptor opened before: it survives a SIGKILL. A line is
``<P|N> <call_id> <monotonic seconds at return> <milliseconds the caller waited>``: ``P`` when the
record was promised (stored or in the spool) before the call returned, ``N`` when nothing was. Under
``on_failure="refuse"`` there is a line with ``I`` too, when the model may be called: from then on
the intent is promised.

Commands on standard input: ``stats`` (answers with the numbers as JSON), ``pause``, ``resume``,
``kill-writer`` (the writer thread gets an unexpected exception), ``lift-limit`` (the disk is
no longer full), ``fork N`` (a child made by ``os.fork`` records N calls and ends), ``stop`` (ends,
drains, and prints the last numbers).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import random
import resource
import sys
import threading
import time
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from affidavit import AsyncAuditLogger, AuditLogger, AuditUnavailable, _awaiting
from affidavit._engine.ticket import State, Ticket

MODES: dict[str, dict[str, Any]] = {
    "direct": {},
    "batch": {"batch_writes": True, "flush_interval": 1.0},
    "high_volume": {"batch_writes": True, "async_writes": True, "flush_interval": 1.0},
    "async": {"async_writes": True},
}
"""The four rows of the guarantees."""


@dataclass
class Job:
    """What a worker does.

    ``rate`` is calls a second over all threads, 0 for as many as go; ``calls`` ends the threads
    after so many calls each, 0 for no end; ``call_s`` is how long the model takes, which is not
    counted as waiting. ``file_limit_bytes`` caps each file the process may
    write from then on, which is how a full disk looks to it.
    """

    uri: str
    spool_dir: str
    acks: str
    mode: str = "direct"
    threads: int = 2
    rate: float = 200.0
    calls: int = 0
    call_s: float = 0.0
    facade: str = "sync"
    text_bytes: int = 600
    seed: int = 0
    file_limit_bytes: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """The job as one line."""
        return json.dumps(asdict(self))

    def logger_settings(self) -> dict[str, Any]:
        """Keyword settings of the logger."""
        return {**MODES[self.mode], "spool_dir": self.spool_dir, **self.settings}


_state: ContextVar[State] = ContextVar("state", default=State.QUEUED)
"""How the last wait of this thread or task ended: the public face does not tell a caller."""


def watch_waits() -> None:
    """Note the state each wait for a ticket ended with."""
    plain, plain_async = Ticket.wait, _awaiting.settled

    def wait(self: Ticket, timeout_s: float) -> State:
        state = plain(self, timeout_s)
        _state.set(state)
        return state

    async def settled(ticket: Ticket, timeout_s: float) -> State:
        state = await plain_async(ticket, timeout_s)
        _state.set(state)
        return state

    Ticket.wait = wait  # type: ignore[method-assign]
    _awaiting.settled = settled


class Worker:
    """Threads (or tasks) that record calls until told to stop."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.acks = os.open(job.acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.stopping = threading.Event()
        self.going = threading.Event()
        self.going.set()
        self.promises = job.mode in {"direct", "batch"}
        self.refuses = job.settings.get("on_failure") == "refuse"
        self.random = random.Random(job.seed)
        self.text = "x" * 64 + "Analyze BTCUSDT and say what the indicators mean. " * 400

    def note(self, call_id: str, started_s: float, kind: str = "") -> None:
        """Write the line of a call that returned, or of another ``kind``."""
        now_s = time.monotonic()
        if not kind:
            kind = "P" if self.promises and _state.get() >= State.SPOOLED else "N"
        line = f"{kind} {call_id} {now_s:.6f} {(now_s - started_s) * 1000:.3f}\n"
        os.write(self.acks, line.encode())

    def request(self, number: int) -> dict[str, Any]:
        """What one call asks."""
        size = self.random.randrange(40, 2 * self.job.text_bytes)
        return {
            "provider": "anthropic",
            "model": "small",
            "message": self.text[:size],
            "user_id": f"user_{number % 7}",
            "fields": {"symbol": "BTCUSDT", "number": number},
        }

    def answer(self) -> dict[str, Any]:
        """What one call gives."""
        size = self.random.randrange(40, 2 * self.job.text_bytes)
        return {
            "text": self.text[:size],
            "input_tokens": 120,
            "output_tokens": 60,
            "cost_usd": "0.00042",
        }


class SyncWorker(Worker):
    """The synchronous facade, in threads."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.audit = AuditLogger(job.uri, **job.logger_settings())
        self.threads = [
            threading.Thread(target=self.loop, args=(n,), daemon=True) for n in range(job.threads)
        ]

    def start(self) -> None:
        """Begin recording."""
        for thread in self.threads:
            thread.start()

    def loop(self, thread_number: int) -> None:
        """Record calls at the job's rate."""
        job, number = self.job, thread_number
        pause_s = job.threads / job.rate if job.rate else 0.0
        next_s = time.monotonic() + self.random.random() * pause_s
        while not self.stopping.is_set() and (not job.calls or number // job.threads < job.calls):
            if pause_s:
                time.sleep(max(0.0, next_s - time.monotonic()))
                next_s = max(next_s + pause_s, time.monotonic() - 1.0)
            self.going.wait()
            with contextlib.suppress(AuditUnavailable):
                self.one(number)
            number += job.threads

    def one(self, number: int) -> None:
        """Record one call and note it."""
        _state.set(State.QUEUED)
        asked, started_s = self.request(number), time.monotonic()
        with self.audit.call(**asked) as call:
            if self.refuses:
                self.note(call.call_id, started_s, "I")
            if self.job.call_s:
                time.sleep(self.job.call_s)
                started_s += self.job.call_s
            call.complete(**self.answer())
        self.note(call.call_id, started_s)

    def finish(self) -> dict[str, Any]:
        """Stop recording, send what waits, close; the last numbers."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(10)
        flushed = self.audit.flush(30)
        numbers = {**self.audit.stats().as_dict(), "flushed": flushed}
        self.audit.close()
        return numbers


class AsyncWorker(Worker):
    """The asynchronous facade, in tasks on a loop in a thread."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.audit = self.on_loop(self._open())

    def on_loop(self, work: Any) -> Any:
        """Run a coroutine on the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    async def _open(self) -> AsyncAuditLogger:
        return AsyncAuditLogger(self.job.uri, **self.job.logger_settings())

    def start(self) -> None:
        """Begin recording."""
        self.tasks = [
            asyncio.run_coroutine_threadsafe(self.task(n), self.loop)
            for n in range(self.job.threads)
        ]

    async def task(self, task_number: int) -> None:
        """Record calls at the job's rate."""
        job, number = self.job, task_number
        pause_s = job.threads / job.rate if job.rate else 0.0
        next_s = time.monotonic() + self.random.random() * pause_s
        while not self.stopping.is_set() and (not job.calls or number // job.threads < job.calls):
            await asyncio.sleep(max(0.0, next_s - time.monotonic()) if pause_s else 0.0)
            next_s = max(next_s + pause_s, time.monotonic() - 1.0)
            while not self.going.is_set():  # noqa: ASYNC110 - set from another thread
                await asyncio.sleep(0.005)
            _state.set(State.QUEUED)
            asked, started_s = self.request(number), time.monotonic()
            async with self.audit.call(**asked) as call:
                if job.call_s:
                    await asyncio.sleep(job.call_s)
                    started_s += job.call_s
                call.complete(**self.answer())
            self.note(call.call_id, started_s)
            number += job.threads

    def finish(self) -> dict[str, Any]:
        """Stop recording, send what waits, close; the last numbers."""
        self.stopping.set()
        for task in self.tasks:
            task.result(10)
        flushed = self.on_loop(self.audit.flush(30))
        numbers = {**self.audit.stats().as_dict(), "flushed": flushed}
        self.on_loop(self.audit.close())
        return numbers


def begin(job: Job) -> SyncWorker | AsyncWorker:
    """Make a worker in this process and start it."""
    worker = AsyncWorker(job) if job.facade == "async" else SyncWorker(job)
    if job.file_limit_bytes:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_limit_bytes, hard))
    worker.start()
    return worker


def kill_writer(worker: SyncWorker | AsyncWorker) -> None:
    """Let the writer thread die of an exception that nobody expects."""
    thread = worker.audit._engine._running.writer.thread  # type: ignore[union-attr]
    assert thread is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
    )


def fork_child(worker: SyncWorker, calls: int) -> None:
    """Fork while the parent's threads are at work; the child records and closes, then ends."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    for number in range(calls):
        worker.one(number)
    worker.audit.close()
    os._exit(0)


def obey(worker: SyncWorker | AsyncWorker, line: str) -> dict[str, Any] | None:
    """Carry out one command; the answer is printed."""
    command, _, argument = line.strip().partition(" ")
    if command == "stats":
        return worker.audit.stats().as_dict()
    if command == "pause":
        worker.going.clear()
    elif command == "resume":
        worker.going.set()
    elif command == "lift-limit":
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    elif command == "kill-writer":
        kill_writer(worker)
    elif command == "fork" and isinstance(worker, SyncWorker):
        fork_child(worker, int(argument))
    return {"done": command}


def run(job: Job) -> None:
    """One worker that obeys lines on standard input."""
    worker = begin(job)
    print(json.dumps({"writer": worker.audit.stats().writer, "pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        if line.strip() == "stop":
            break
        print(json.dumps(obey(worker, line)), flush=True)
    print(json.dumps(worker.finish()), flush=True)


def zygote() -> None:
    """Fork a worker for each job read; a fork of a process without threads is as good as new."""
    import affidavit.store.mongo.setup  # noqa: F401 - loaded once, for all children

    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "reap":
            print(os.waitpid(int(rest), 0)[1], flush=True)
            continue
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            os.close(0)
            begin(Job(**json.loads(line)))
            while os.getppid() == parent:  # nobody is left behind by a campaign that is killed
                time.sleep(0.2)
            os._exit(1)
        print(pid, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    watch_waits()
    if sys.argv[1] == "zygote":
        zygote()
    else:
        run(Job(**json.loads(sys.argv[2])))
