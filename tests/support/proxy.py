"""A TCP proxy on loopback with faults: cut, refuse, delay, black hole, in one direction or both.

It runs an event loop in a thread of its own. A black hole holds what was sent and delivers it when
the line heals, also for a client that gave up meanwhile: that is what a real network does, and it
makes writes arrive late, after they were sent again on another connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

Direction = Literal["up", "down"]
"""``up`` is from the client to the server."""

_BLOCK = 64 * 1024
_BOTH: tuple[Direction, Direction] = ("up", "down")


class Proxy:
    """Passes TCP connections on to one address, as long as no fault is switched on.

    Attributes:
        port: where it listens on 127.0.0.1; stays the same through all faults.
    """

    def __init__(self, port: int) -> None:
        """Listen on a free port and pass on to 127.0.0.1:``port``."""
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._lines: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._open: dict[Direction, asyncio.Event] = {}
        self._delay_s: dict[Direction, float] = dict.fromkeys(_BOTH, 0.0)
        self._server: asyncio.Server | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._do(self._begin())

    # -- faults ----------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every open connection; new ones are still taken."""
        self._do(self._reset())

    def refuse(self) -> None:
        """Reset every open connection and refuse new ones, as a dead server does."""
        self._do(self._shut())

    def black_hole(self, *directions: Direction) -> None:
        """Let nothing through in these directions (default both); connections stay open."""
        for direction in directions or _BOTH:
            self._call(self._open[direction].clear)

    def delay(self, delay_s: float, *directions: Direction) -> None:
        """Hold each block for ``delay_s`` seconds in these directions (default both)."""
        for direction in directions or _BOTH:
            self._delay_s[direction] = delay_s

    def heal(self) -> None:
        """End every fault; what a black hole held is delivered now."""
        self.delay(0.0)
        for direction in _BOTH:
            self._call(self._open[direction].set)
        self._do(self._listen())

    def stop(self) -> None:
        """End everything and join the thread."""
        if self._loop.is_closed():
            return
        self._do(self._shut())
        self._call(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

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

    # -- on the loop -----------------------------------------------------------------------------

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _call(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    async def _begin(self) -> None:
        for direction in _BOTH:
            self._open[direction] = asyncio.Event()
            self._open[direction].set()
        await self._listen()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, backlog=256, reuse_address=True
            )

    async def _shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._reset()

    async def _reset(self) -> None:
        tasks = list(self._lines)
        for task in tasks:
            for writer in self._lines[task]:
                writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines[task] = (near_out,)
        far_out = None
        try:
            far, far_out = await asyncio.open_connection("127.0.0.1", self._target)
            self._lines[task] = (near_out, far_out)
            await asyncio.gather(self._pump(near, far_out, "up"), self._pump(far, near_out, "down"))
        except (OSError, asyncio.CancelledError):
            pass  # the server is gone, or the line was cut: the other end learns it below
        finally:
            del self._lines[task]
            for writer in (near_out, far_out):
                if writer is not None:
                    writer.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Direction
    ) -> None:
        while True:
            try:
                block = await source.read(_BLOCK)
            except OSError:
                block = b""
            if self._delay_s[direction]:
                await asyncio.sleep(self._delay_s[direction])
            await self._open[direction].wait()
            try:
                if not block:
                    sink.write_eof()
                    return
                sink.write(block)
                await sink.drain()
            except OSError:
                # One end is gone. Bytes for the other one, held by a black hole, still go out.
                with contextlib.suppress(OSError, RuntimeError):
                    sink.transport.abort()
                return
