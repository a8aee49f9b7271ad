"""Handles of the worker processes of :mod:`tests.support.worker`, to steer and to kill them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.accounts import Returned, read_acks

if TYPE_CHECKING:
    from types import TracebackType

    from tests.support.worker import Job

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = (sys.executable, "-X", "faulthandler", "-m", "tests.support.worker")


class WorkerProcess:
    """A worker that obeys; make it with a :class:`~tests.support.worker.Job`."""

    def __init__(self, job: Job, *, log: Path | None = None) -> None:
        """Start it and wait until it records. ``log`` gets its error output."""
        self.job = job
        self._log = (log or Path(job.acks).with_suffix(".log")).open("ab")
        self._process = subprocess.Popen(
            [*_PROGRAM, "run", job.as_json()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
        )
        self.pid = self._process.pid
        self.writer: str = self._answer()["writer"]

    @property
    def returned(self) -> list[Returned]:
        """The calls that returned so far."""
        return read_acks(Path(self.job.acks))

    def say(self, line: str) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        return self._answer()

    def stop(self) -> dict[str, Any]:
        """Drain, close, and return the last numbers."""
        numbers = self.say("stop")
        self._end()
        return numbers

    def kill(self) -> None:
        """SIGKILL, and reap."""
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    @property
    def said(self) -> str:
        """Its error output so far."""
        return Path(self._log.name).read_text("utf-8", "replace")

    def __enter__(self) -> Self:
        """The running worker."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill it if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended unexpectedly: {self.said[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        self._process.wait(30)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._log.close()


class Zygote:
    """Forks workers from a process that has everything imported: a kill then costs no start-up."""

    def __init__(self, log: Path) -> None:
        """Start the process that forks; ``log`` gets the workers' error output."""
        self.log = log
        self._file = log.open("ab")
        self._process = subprocess.Popen(
            [*_PROGRAM, "zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._file,
            text=True,
            bufsize=1,
        )

    def spawn(self, job: Job) -> int:
        """Fork a worker; its process id."""
        return int(self._ask(job.as_json()))

    def kill(self, pid: int) -> float:
        """SIGKILL a worker of ours and reap it; returns ``time.monotonic()`` of the kill.

        Until it is reaped, its number cannot belong to another process.
        """
        at_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        status = int(self._ask(f"reap {pid}"))
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            raise RuntimeError(f"a worker had ended by itself: {self.said[-2000:]}")
        return at_s

    @property
    def said(self) -> str:
        """The workers' error output so far."""
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait(10)
        self._file.close()

    def __enter__(self) -> Self:
        """The running process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the forking process ended: {self.said[-2000:]}")
        return answer.strip()
