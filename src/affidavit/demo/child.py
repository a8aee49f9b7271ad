"""Child processes that cannot outlive the process that started them.

``PR_SET_PDEATHSIG`` alone is not enough: the kernel sends that signal when the *thread* that
created the child ends, so a server started from a worker thread would die with the thread.
So a small guard process stands between: its parent is the whole process, it notices when
that parent is gone, and it takes the child with it. The child in turn is bound to the guard's
only thread, so a guard that is killed takes the child along too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from affidavit.errors import AffidavitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

_GUARD = Path(__file__).with_name("_guard.py")


class ChildFailed(AffidavitError):  # noqa: N818 - a state, named as operators say it
    """A child process could not be started. The text holds the cause."""


class Child:
    """One running child process, with its output in a file.

    The child gets a process group of its own, so that Ctrl-C in a terminal reaches only the
    process that owns it, which then stops the child in the right order.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """Start ``command`` in ``directory``; what it prints is appended to ``log``.

        Raises:
            ChildFailed: the program could not be executed.
        """
        self.log = log
        with log.open("ab") as output:
            # -I and -S: the guard needs nothing but the standard library and must start fast.
            self._guard = subprocess.Popen(  # noqa: S603 - our own guard and command
                [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                env=None if env is None else dict(env),
                cwd=directory,
                start_new_session=True,
            )
        assert self._guard.stdout is not None  # noqa: S101 - PIPE was asked for above
        with self._guard.stdout as pipe:
            word = pipe.readline().decode("utf-8", "replace").strip()
        if not word.isdigit():
            self._guard.wait()
            msg = f"cannot run {command[0]}: {word or 'the guard process ended early'}"
            raise ChildFailed(msg)
        self.pid = int(word)

    def returncode(self) -> int | None:
        """The exit code (negative: the signal that ended it), or None while it runs."""
        return _code(self._guard.poll())

    def running(self) -> bool:
        """Whether the child is still there (a frozen one is)."""
        return self._guard.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the child; one that has ended is left in peace."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end and return the exit code; None when ``timeout_s`` went by."""
        try:
            return _code(self._guard.wait(timeout_s))
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """SIGKILL, and wait until the child is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self, timeout_s: float = 20.0) -> int | None:
        """Ask it to end (SIGTERM), and SIGKILL it when it has not done so in time."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.wait(timeout_s) is None:
            self.kill()
        return self.returncode()

    def tail(self, lines: int = 8) -> str:
        """The last lines of its output, for an error text."""
        try:
            text = self.log.read_text("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Nothing more to do: it runs since it was made."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the child."""
        self.stop()


def announce(path: Path, text: str) -> None:
    """In a child: tell the parent something (an address) by a file, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, "utf-8")
    draft.replace(path)


def announced(path: Path, *, child: Child, timeout_s: float, what: str) -> str:
    """In the parent: wait for what the child announces.

    Raises:
        ChildFailed: the child ended, or ``timeout_s`` went by.
    """
    wait_until(path.exists, child=child, timeout_s=timeout_s, what=what)
    return path.read_text("utf-8")


def wait_until(ready: Callable[[], object], *, child: Child, timeout_s: float, what: str) -> None:
    """Call ``ready()`` until it is true.

    Raises:
        ChildFailed: the child ended, or ``timeout_s`` went by.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = 0.02
    while not ready():
        if not child.running():
            msg = f"{what} ended with code {child.returncode()} while starting:\n{child.tail()}"
            raise ChildFailed(msg)
        if time.monotonic() > deadline:
            msg = f"{what} did not answer within {timeout_s:g} s. Its output ends with:\n"
            raise ChildFailed(msg + child.tail())
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.25)


def _code(guard_code: int | None) -> int | None:
    """The child's exit code from the guard's: above 128 the child was ended by a signal."""
    if guard_code is not None and guard_code > 128:  # noqa: PLR2004 - the shells' convention
        return 128 - guard_code
    return guard_code
