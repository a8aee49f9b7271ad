"""The guard: a tripwire for connections to a model provider outside an audited call.

An audit hook of the interpreter sees each ``socket.connect``. It knows which addresses are a
provider's from the name look-ups before: for an asynchronous client these run in another thread,
which does not see the caller's context, so that only the connection itself can be judged.

A hook cannot be removed. Switching off is a flag, and a switched-off hook costs one comparison.

It finds calls that somebody forgot, not somebody who hides: connections that are open already, a
proxy, name look-ups and connections in C (gRPC, c-ares, curl) and other processes escape it.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from affidavit import context, providers
from affidavit.errors import UnauditedEgress

if TYPE_CHECKING:
    from affidavit._recorder import Recorder

Mode = Literal["record", "refuse", "off"]
"""Record a security event; record it and stop the connection; or neither."""

KIND: Final = "unaudited_egress"
"""``kind`` of the security event."""

OWN_HOST: Final = "own"
"""``provider`` in the event of a connection to one of ``guard_hosts``."""

MAX_LEARNED: Final = 4096
"""Addresses remembered; a process that meets more starts over."""

_log: Final = logging.getLogger("affidavit")

_OURS: Final = ("pymongo", "affidavit._engine", "affidavit.store")
"""Modules whose connections are those of the log itself, or of a database: no model's."""


class _Watch(NamedTuple):
    """One activation: who records, and what is watched."""

    recorder: Recorder
    mode: Mode
    own: tuple[providers.Place, ...]

    def wants(self, host: str) -> bool:
        """Whether the addresses of this host need to be known."""
        return providers.provider_of(host) is not None or any(
            pattern.fullmatch(host) for pattern, _ in self.own
        )

    def provider(self, host: str, port: object) -> str | None:
        """Name the provider that listens there; None where nothing is watched."""
        for pattern, only in self.own:
            if (only is None or only == port) and pattern.fullmatch(host):
                return providers.provider_of(host) or OWN_HOST
        return providers.provider_of(host)


_now: _Watch | None = None
"""The activation that counts: the newest. None switches the hook off."""

_watches: list[_Watch] = []
_learned: dict[str, str] = {}
_changing: Final = threading.Lock()
_thread: Final = threading.local()
_hooked: list[bool] = []


def activate(recorder: Recorder, mode: Mode, hosts: str | None = None) -> None:
    """Watch this process's connections, and record in ``recorder`` those that nobody audits.

    ``hosts`` are hosts of models of your own, with ``*`` and a port where wanted, separated by
    commas: ``"llm.internal, *.models.example:8443, 127.0.0.1:11434"``. The newest activation
    counts; :func:`deactivate` brings back the one before. Raises ConfigError for a wrong host.
    """
    if mode == "off":
        deactivate(recorder)
        return
    watch = _Watch(recorder, mode, providers.parse_hosts(hosts))
    with _changing:
        _watches[:] = [other for other in _watches if other.recorder is not recorder]
        _watches.append(watch)
        _follow()


def deactivate(recorder: Recorder | None = None) -> None:
    """Stop watching for this recorder, or for all."""
    with _changing:
        _watches[:] = [
            other for other in _watches if recorder is not None and other.recorder is not recorder
        ]
        _follow()


def mode() -> Mode:
    """Tell what the guard of this process does now."""
    return "off" if _now is None else _now.mode


def _follow() -> None:
    """Let the newest activation count. Called under the lock."""
    global _now, _look_up  # noqa: PLW0603 - there is one interpreter, and one hook in it
    _now = _watches[-1] if _watches else None
    if _now is None:
        if socket.getaddrinfo is _look_up:  # else somebody wrapped it in turn, and ours stays below
            socket.getaddrinfo = _original_look_up
            _look_up = None
        _learned.clear()
        return
    if _look_up is None:
        _wrap_look_up()
    _wrap_uvloop()
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_hook)


# -- learning addresses --------------------------------------------------------------------------

_original_look_up = socket.getaddrinfo
_look_up: Callable[..., Any] | None = None


def _wrap_look_up() -> None:
    """Put a wrapper around ``socket.getaddrinfo``: the hook sees the question, not the answer."""
    global _original_look_up, _look_up  # noqa: PLW0603 - one of each per process
    _original_look_up = original = socket.getaddrinfo

    @wraps(original)
    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        _thread.asking = True
        try:
            found = original(host, *args, **options)
        finally:
            _thread.asking = False
        _learn(host, found)
        return found

    _look_up = look_up
    socket.getaddrinfo = look_up


def _wrap_uvloop() -> None:
    """Look at what uvloop does in C, where no hook is asked: name look-ups and connections.

    Its loop is a class of Python, whose two methods get a wrapper. They stay wrapped, and let
    everything pass while the guard is off. A uvloop that is imported later is not seen.
    """
    loop: Any = getattr(sys.modules.get("uvloop"), "Loop", None)
    if loop is None or hasattr(loop.create_connection, "__wrapped__"):
        return
    look_up, connect = loop.getaddrinfo, loop.create_connection

    @wraps(look_up)
    async def getaddrinfo(self: Any, host: Any, *args: Any, **options: Any) -> Any:
        found = await look_up(self, host, *args, **options)
        _learn(host, found)
        return found

    @wraps(connect)
    async def create_connection(
        self: Any, protocol: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        watch = _now
        if watch is not None and host is not None and not context.in_call.get():
            _connecting(watch, (host, port))
        return await connect(self, protocol, host, port, **options)

    loop.getaddrinfo, loop.create_connection = getaddrinfo, create_connection


def _learn(host: object, found: Any) -> None:
    """Remember whose addresses these are. The last look-up of an address counts."""
    watch = _now
    if watch is None or not isinstance(host, str | bytes) or not host:
        return
    try:
        name = providers.plain_host(host)
        wanted = watch.wants(name)
        for *_, address in found:
            number = _number(address[0])
            if number == name:  # an address was asked for by itself: nothing new
                continue
            if wanted:
                if len(_learned) >= MAX_LEARNED:
                    _learned.clear()
                _learned[number] = name
            else:  # a shared address, as of a content network, is now somebody else's
                _learned.pop(number, None)
    except Exception as error:
        _complain(error)


def _number(text: object) -> str:
    """Write an address in one way: without a zone, IPv4 inside IPv6 as IPv4."""
    if isinstance(text, bytes | bytearray):  # a socket takes these, too
        text = text.decode("utf-8", "replace")
    plain = providers.plain_host(str(text))
    if plain[:1].isdecimal() and ":" not in plain:
        try:  # 127.1 and 0x7f.0.0.1 are addresses for a socket
            return socket.inet_ntoa(socket.inet_aton(plain))
        except OSError:
            return plain
    if ":" not in plain:
        return plain
    try:
        inner = ipaddress.IPv6Address(plain)
    except ValueError:
        return plain
    return str(inner.ipv4_mapped or inner)


# -- the hook ------------------------------------------------------------------------------------


def _hook(event: str, args: tuple[Any, ...]) -> None:
    # Called for every audited event of the interpreter, so the usual case is two comparisons.
    if event == "socket.connect":
        watch = _now
        if watch is not None and not context.in_call.get():
            _connecting(watch, args[1])
    elif event == "socket.getaddrinfo" and _now is not None:
        _asked_around_us(_now, args)


def _asked_around_us(watch: _Watch, args: tuple[Any, ...]) -> None:
    """Look up once more what was asked past our wrapper, by ``from socket import getaddrinfo``."""
    if getattr(_thread, "asking", False) or not isinstance(args[0], str | bytes):
        return
    if not watch.wants(providers.plain_host(args[0])):
        return
    _thread.asking = True
    try:
        _learn(args[0], _original_look_up(*args))
    except OSError:  # then the caller's own look-up fails too, and nothing will be connected
        return
    finally:
        _thread.asking = False


def _connecting(watch: _Watch, address: Any) -> None:
    if not isinstance(address, tuple) or len(address) < 2:  # noqa: PLR2004 - host and port; else a Unix socket
        return
    try:
        number, port = _number(address[0]), address[1]
        host = _learned.get(number, number)
        provider = watch.provider(host, port) or watch.provider(number, port)
        if provider is None or _is_ours():
            return
    except Exception as error:
        _complain(error)
        return
    try:
        details = {
            "provider": provider,
            "host": host,
            "port": port,
            "program": Path(next(iter(sys.argv), "")).name or "python",
            "pid": os.getpid(),
            "source": _source(),
            "stopped": watch.mode == "refuse",
        }
        event = watch.recorder._security(KIND, "high", details, None, {})  # noqa: SLF001 - a hook may not wait
        watch.recorder._enqueue(*event)  # noqa: SLF001 - as above
    except Exception as error:
        _complain(error)
    if watch.mode == "refuse":
        raise UnauditedEgress(host, port)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the only way to the caller's frames
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_ours() -> bool:
    """Whether the log's own driver makes this connection: it must not be recorded."""
    return any(frame.f_globals.get("__name__", "").startswith(_OURS) for frame in _frames())


_LIBRARIES: Final = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_PACKAGE: Final = str(Path(__file__).parents[1])


def _source() -> str | None:
    """Name the innermost line of the application's own code on the way to the connection."""
    for frame in _frames():
        file = frame.f_code.co_filename
        if not file.startswith((*_LIBRARIES, _PACKAGE, "<")):
            module = frame.f_globals.get("__name__", "?")
            return f"{module}:{frame.f_lineno} in {frame.f_code.co_name}"
    return None


def _complain(error: Exception) -> None:
    _log.warning("affidavit: the guard could not judge a connection (%s).", type(error).__name__)
