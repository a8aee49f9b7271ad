"""Run a command and end it when the process that asked for it is gone. See ``child.py``.

Run as a script: ``python _guard.py PARENT_PID COMMAND...``. Prints the command's process id
as the only line on its standard output, or one line with the reason why it could not start.
Uses the standard library only and is never imported.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.1


def _die_with_the_guard() -> None:
    """In the child, before exec: SIGKILL when the guard's only thread ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _main() -> int:
    parent = int(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # A signal only has to interrupt the sleep below; the work is done in the loop.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        child = subprocess.Popen(  # noqa: S603 - the caller's own command
            sys.argv[2:],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=_prepare,  # noqa: PLW1509 - this process has one thread
        )
    except OSError as error:
        print(f"{type(error).__name__}: {error}", flush=True)  # noqa: T201 - the parent reads it
        return 127
    print(child.pid, flush=True)  # noqa: T201 - the parent reads it
    os.close(1)
    while child.poll() is None:
        if os.getppid() != parent:
            child.kill()
            child.wait()
            break
        time.sleep(_LOOK_EVERY_S)
    code = child.returncode
    return code if code >= 0 else 128 - code


def _prepare() -> None:
    """In the child, before exec: the guard's own signal settings are not for it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _die_with_the_guard()


if __name__ == "__main__":
    # os._exit: standard output is closed by now, and the interpreter would complain.
    os._exit(_main())
