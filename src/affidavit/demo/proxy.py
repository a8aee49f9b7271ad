"""A TCP proxy on loopback whose line can be cut: an outage of a server that is not ours to kill."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_BLOCK_BYTES = 64 * 1024


class Proxy:
    """Passes connections on to one target until :meth:`cut`, and again after :meth:`restore`.

    While it is cut, open connections are closed and new ones are closed at once.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, host: str, port: int) -> None:
        """Listen on a free port and pass on to ``host:port``."""
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_cut = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        """Close what is open and refuse what comes."""
        with self._lock:
            self._is_cut = True
            for line in self._open:
                _end(line)
            self._open.clear()

    def restore(self) -> None:
        """Pass connections on again."""
        with self._lock:
            self._is_cut = False

    def stop(self) -> None:
        """Cut, and stop listening."""
        self.cut()
        _end(self._listener)

    def __enter__(self) -> Self:
        """The running proxy."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=10)
        except OSError:
            _end(near)
            return
        far.settimeout(None)
        for line in (near, far):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            refused = self._is_cut
            if not refused:
                self._open |= {near, far}
        if refused:
            _end(near)
            _end(far)
            return
        threading.Thread(target=self._pump, args=(far, near), daemon=True).start()
        self._pump(near, far)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK_BYTES):
                sink.sendall(block)
        with self._lock:
            self._open -= {source, sink}
        _end(source)
        _end(sink)


def _end(line: socket.socket) -> None:
    """Close a socket so that a thread waiting in it wakes up."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()
