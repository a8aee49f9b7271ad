"""A reader that hangs up, as ``head`` does, must not stop a command in the middle of its work.

What is written after that goes nowhere. So ``affidavit setup | head`` finishes the set-up, and each
command exits with the code it would have had. Those that follow (``tail -f``) ask
:func:`reader_is_gone` and end.
"""

from __future__ import annotations

import contextlib
import io
import select
import sys
from typing import Any, Final, TextIO

_CLOSED: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL


class _Outlet(io.FileIO):
    """A descriptor to write to, which swallows everything once its reader has hung up."""

    def write(self, data: Any, /) -> int:
        """Write, or pretend to."""
        with contextlib.suppress(BrokenPipeError):
            return super().write(data)
        return memoryview(data).nbytes


def outlive_readers() -> None:
    """Make this process's standard output and error survive their readers."""
    sys.stdout, sys.stderr = _patient(sys.stdout), _patient(sys.stderr)


def _patient(stream: TextIO) -> TextIO:
    # Below all buffers: at exit the interpreter flushes them once more, and others (click, rich)
    # write past the stream into its buffer.
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # closed from the start, or a test's
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        # An unbuffered stream (standard error) has a buffer here: each line must leave it.
        line_buffering=stream.line_buffering or stream.write_through,
        write_through=stream.write_through,
    )


def reader_is_gone() -> bool:
    """Whether nobody can read any more what goes to standard output."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):  # no descriptor, such as in a test
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & _CLOSED for _descriptor, event in poll.poll(0))
